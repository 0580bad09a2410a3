package api

import (
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
)

// appendVersion appends a version as JSON to dst: what json.Marshal gives, in
// half the time. Registrations and reads of versions are what a registry does
// most, and their answers were the largest single cost of a registration.
// TestVersionsAreWrittenAsMarshalWritesThem holds the two together.
func appendVersion(dst []byte, v *Version) ([]byte, error) {
	var keys [16]string // most maps are small
	w := jsonAppender{buf: dst, keys: keys[:0]}
	w.begin('{')
	w.str("model", v.Model)
	w.str("model_id", v.ModelID)
	w.integer("version", int64(v.Version))
	w.optional("semver", v.Semver)
	w.str("stage", v.Stage)
	w.list("aliases", v.Aliases)
	w.str("source", v.Source)
	w.optional("format", v.Format)
	objects(&w, "artifacts", v.Artifacts, func(a events.Artifact) {
		w.str("path", a.Path)
		w.str("sha256", a.SHA256)
		w.integer("size", a.Size)
	})
	w.optional("run_id", v.RunID)
	w.optional("run_link", v.RunLink)
	w.optional("logged_model", v.LoggedModel)
	if v.Code != nil {
		w.name("code")
		w.begin('{')
		w.str("repository", v.Code.Repository)
		w.optional("commit", v.Code.Commit)
		w.end('}')
	}
	objects(&w, "datasets", v.Datasets, func(d events.Dataset) {
		w.str("name", d.Name)
		w.optional("digest", d.Digest)
		w.optional("role", d.Role)
	})
	if len(v.Parameters) > 0 {
		w.texts("parameters", v.Parameters)
	}
	w.metrics(v.Metrics)
	if v.Signature != nil {
		w.value("signature", v.Signature)
	}
	w.optional("base_model", v.BaseModel)
	w.texts("tags", v.Tags)
	w.str("description", v.Description)
	if v.Deprecation != nil {
		w.value("deprecation", v.Deprecation)
	}
	if len(v.WithdrawnData) > 0 {
		w.list("withdrawn_data", v.WithdrawnData)
	}
	if len(v.DeployedTo) > 0 {
		w.list("deployed_to", v.DeployedTo)
	}
	w.str("created_at", v.CreatedAt)
	w.str("updated_at", v.UpdatedAt)
	w.optional("created_by", v.CreatedBy)
	w.name("sequence")
	w.buf = strconv.AppendUint(w.buf, v.Sequence, 10)
	w.end('}')
	return w.buf, w.err
}

// jsonAppender appends JSON. The first error stays.
type jsonAppender struct {
	buf   []byte
	comma bool // whether a value stands before the next one
	err   error
	keys  []string // of the map that is being written
}

func sortedKeys[V any](w *jsonAppender, m map[string]V) []string {
	w.keys = slices.AppendSeq(w.keys[:0], maps.Keys(m))
	slices.Sort(w.keys)
	return w.keys
}

func (w *jsonAppender) begin(c byte) {
	w.separate()
	w.buf, w.comma = append(w.buf, c), false
}

func (w *jsonAppender) end(c byte) { w.buf, w.comma = append(w.buf, c), true }

func (w *jsonAppender) separate() {
	if w.comma {
		w.buf = append(w.buf, ',')
	}
	w.comma = true
}

func (w *jsonAppender) quote(s string) {
	w.separate()
	if isPlain(s) {
		w.buf = append(append(append(w.buf, '"'), s...), '"')
		return
	}
	buf, err := jsontext.AppendQuote(w.buf, s)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.buf = buf
}

// isPlain says whether a text stands in JSON as it is: printable ASCII without
// quotes and backslashes, as most texts are.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// name begins a member, whose value comes next.
func (w *jsonAppender) name(s string) {
	w.quote(s)
	w.buf, w.comma = append(w.buf, ':'), false
}

func (w *jsonAppender) str(name, s string) {
	w.name(name)
	w.quote(s)
}

func (w *jsonAppender) optional(name, s string) {
	if s != "" {
		w.str(name, s)
	}
}

func (w *jsonAppender) integer(name string, n int64) {
	w.name(name)
	w.buf, w.comma = strconv.AppendInt(w.buf, n, 10), true
}

func (w *jsonAppender) list(name string, all []string) {
	w.name(name)
	w.begin('[')
	for _, s := range all {
		w.quote(s)
	}
	w.end(']')
}

func (w *jsonAppender) texts(name string, m map[string]string) {
	w.name(name)
	w.begin('{')
	for _, k := range sortedKeys(w, m) {
		w.str(k, m[k])
	}
	w.end('}')
}

func (w *jsonAppender) metrics(m map[string]float64) {
	if len(m) == 0 {
		return
	}
	w.name("metrics")
	w.begin('{')
	for _, k := range sortedKeys(w, m) {
		if s := spellFloat(m[k]); s != "" {
			w.str(k, s)
			continue
		}
		w.name(k)
		w.buf, w.comma = appendFloat(w.buf, m[k]), true
	}
	w.end('}')
}

// appendFloat appends a number as JSON has it (RFC 8785).
func appendFloat(dst []byte, f float64) []byte {
	if abs := math.Abs(f); f == 0 || (abs >= 1e-6 && abs < 1e21) {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	return append(dst, jsontext.Float(f).String()...)
}

// objects appends a list of objects, unless it is empty: members appends what is
// in one.
func objects[E any](w *jsonAppender, name string, all []E, members func(E)) {
	if len(all) == 0 {
		return
	}
	w.name(name)
	w.begin('[')
	for _, e := range all {
		w.begin('{')
		members(e)
		w.end('}')
	}
	w.end(']')
}

// value appends what is rare as json.Marshal writes it.
func (w *jsonAppender) value(name string, v any) {
	w.name(name)
	buf, err := appendJSON(w.buf, v)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.buf, w.comma = buf, true
}
