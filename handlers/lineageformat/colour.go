package lineageformat

// colour is how a kind of nodes looks.
type colour struct{ fill, line string }

// The colours of the kinds that there are most of. Text on them is dark.
var colours = map[string]colour{
	"dataset":         {"#dbeafe", "#2563eb"},
	"dataset_version": {"#dbeafe", "#2563eb"},
	"feature":         {"#e0f2fe", "#0284c7"},
	"run":             {"#fef3c7", "#b45309"},
	"job":             {"#fef3c7", "#b45309"},
	"code":            {"#f1f5f9", "#475569"},
	"version":         {"#dcfce7", "#15803d"},
	"artifact":        {"#ecfccb", "#4d7c0f"},
	"base_model":      {"#dcfce7", "#15803d"},
	"target":          {"#f3e8ff", "#7e22ce"},
}

const withdrawnColour = "#dc2626"

func colourOf(n Node) colour {
	if c, ok := colours[n.Kind]; ok {
		return c
	}
	return colour{"#f8fafc", "#475569"}
}
