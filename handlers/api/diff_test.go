package api

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/handlers"
)

// diff reads all pages of a difference, and gives its changes in short.
func (r *registry) diff(query string) []string {
	r.Helper()
	var lines []string
	for cursor := ""; ; {
		d := decode[Diff](r.call("GET", "/v1/diff?limit=3&"+query+cursor, "").want(200))
		for _, change := range d.Changes {
			line := change.Change + " " + change.Resource + ":"
			for _, f := range change.Fields {
				if change.Change == wasChanged {
					line += fmt.Sprintf(" %s %s>%s", f.Field, string(f.Before), string(f.After))
				}
				if (change.Change == wasAdded && f.Before != nil) || (change.Change == wasRemoved && f.After != nil) {
					r.Errorf("%s has a field that was there: %+v", line, f)
				}
			}
			lines = append(lines, line)
		}
		if d.NextCursor == "" {
			return lines
		}
		cursor = "&cursor=" + d.NextCursor
	}
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestADiffTellsWhatChangedBetweenTwoMoments(t *testing.T) {
	r := newRegistry(t)
	r.seed() // ends with 7
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x"}`).want(201)
	r.call("POST", "/v1/models/fraud/versions/2/promote", `{"to":"Production","archive_existing":true}`).want(200)
	r.call("PUT", "/v1/models/fraud/aliases/champion", `{"version":2}`).want(200)
	r.call("PATCH", "/v1/models/fraud", `{"tags":{"owner":"risk"}}`).want(200)
	r.call("POST", "/v1/models", `{"name":"churn"}`).want(201)
	r.call("DELETE", "/v1/models/churn", "").want(204)
	r.call("POST", "/v1/targets/prod/scorer/deploy", `{"model":"fraud","ref":"2"}`).want(200)
	r.call("PATCH", "/v1/models/fraud", `{"description":"there and back"}`).want(200)
	r.call("PATCH", "/v1/models/fraud", `{"description":""}`).want(200)
	target := decode[Target](r.call("GET", "/v1/targets/prod/scorer", "").want(200))
	variants := func(version int) string {
		return strings.ReplaceAll(fmt.Sprintf(`[{"model":"fraud","model_id":%q,"version":%d,"role":"champion","weight":10000}]`, target.Variants[0].ModelID, version), " ", "")
	}
	before := decode[Target](r.call("GET", "/v1/targets/prod/scorer?as_of=7", "").want(200))
	now := strconv.Itoa(r.last())
	fraud := []string{
		`changed models/fraud: tags.owner >"risk" aliases.champion 1>2 latest_version 1>2`,
		`changed models/fraud/aliases/champion: version 1>2`,
		`changed models/fraud/versions/1: stage "Production">"Archived" aliases ["champion"]> deployed_to ["prod/scorer"]>`,
		`added models/fraud/versions/2:`,
	}
	scorer := fmt.Sprintf(`changed targets/prod/scorer: variants %s>%s generation 7>%d previous_generation >7 deployed_at %q>%q`,
		variants(1), variants(2), target.Generation, before.DeployedAt, target.DeployedAt)
	all := append(slices.Clone(fraud), scorer)
	for _, query := range []string{
		"from=7", "from=7&to=" + now, "from=" + url.QueryEscape(r.timeOf(7)), "from=7&as_of=" + now, "from=" + r.timeOf(7) + "&to=" + r.timeOf(r.last()),
	} {
		wantLines(t, query, r.diff(query), all...)
	}
	wantLines(t, "of the model", r.diff("from=7&resource=models/fraud"), fraud...)
	wantLines(t, "of a version", r.diff("from=7&resource=models/fraud/versions/1"), fraud[2])
	wantLines(t, "of a version by alias", r.diff("from=7&resource=models/fraud/versions/@champion"), fraud[3])
	wantLines(t, "of a version by reference", r.diff("from=7&resource=fraud/1"), fraud[2])
	wantLines(t, "of the model by name", r.diff("from=7&resource=fraud"), fraud...)
	wantLines(t, "of an alias", r.diff("from=7&resource=models/fraud/aliases/champion"), fraud[1])
	wantLines(t, "of a target", r.diff("from=7&resource=targets/prod/scorer"), scorer)
	wantLines(t, "of no time", r.diff("from=7&to=7"))
	wantLines(t, "of what came and went", r.diff("from=11&to=13"))
	wantLines(t, "of what is gone", r.diff("from=12&to=13"), "removed models/churn:")
	wantLines(t, "of what is gone, by its name", r.diff("from=12&to=13&resource=models/churn"), "removed models/churn:")
	wantLines(t, "from the beginning", r.diff("to=3"), "added models/fraud:", "added models/fraud/versions/1:")
	d := decode[Diff](r.call("GET", "/v1/diff?from=0&to=7", "").want(200))
	if d.From != (Moment{}) || d.To.Sequence != 7 || d.To.RecordedAt != r.timeOf(7) {
		t.Errorf("it is from %+v to %+v", d.From, d.To)
	}
}

// timeOf gives when an event was recorded.
func (r *registry) timeOf(sequence int) string {
	r.Helper()
	return decode[map[string]any](r.call("GET", fmt.Sprint("/v1/events/", sequence), "").want(200))["time"].(string)
}

func TestADiffThatMakesNoSenseIsRefused(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	for query, field := range map[string]string{
		"from=5&to=4": "from", "from=8": "from", "from=1&to=8": "to", "from=x": "from", "from=": "from", "from=1&to=": "to", "to=2999-01-01T00:00:00Z": "to",
		"from=2999-01-01T00:00:00Z": "from", "from=6&as_of=5": "from", "from=1&to=6&as_of=5": "to", "from=-1": "from", "since=1": "since",
		"from=1&resource=": "resource", "from=1&resource=/models/fraud": "resource", "from=1&resource=models/fraud/version/1": "resource", "from=1&limit=0": "limit", "from=1&cursor=x": "cursor",
	} {
		p := r.call("GET", "/v1/diff?"+query, "").problem(400, handlers.CodeInvalid)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != field {
			t.Errorf("%s: %+v", query, p.Errors)
		}
	}
	for query, code := range map[string]handlers.Code{
		"resource=models/churn": handlers.CodeModelNotFound, "resource=models//versions/1": handlers.CodeModelNotFound,
		"resource=models/fraud/versions/9":   handlers.CodeVersionNotFound,
		"resource=models/fraud/aliases/none": handlers.CodeVersionNotFound, "resource=targets/prod/none": handlers.CodeTargetNotFound,
		"to=1&resource=models/fraud": handlers.CodeModelNotFound,
	} {
		r.call("GET", "/v1/diff?from=0&"+query, "").problem(404, code)
	}
}

// TestADiffIsTheDifferenceOfWhatIsShown makes random writes, and compares the
// difference between any two moments with what all lists and gets show then.
func TestADiffIsTheDifferenceOfWhatIsShown(t *testing.T) {
	r := newRegistry(t)
	chance := rand.New(rand.NewPCG(7, 7))
	r.seed()
	for range 80 {
		r.write(chance)
	}
	last := r.last()
	shown := make([]map[string]string, last+1)
	for at := range shown {
		shown[at] = r.everything(at)
	}
	for range 40 {
		from := chance.IntN(last + 1)
		to := from + chance.IntN(last+1-from)
		var want []string
		paths := maps.Clone(shown[from])
		maps.Copy(paths, shown[to])
		for path := range paths {
			switch before, after := shown[from][path], shown[to][path]; {
			case before == after:
			case before == "":
				want = append(want, "added "+path)
			case after == "":
				want = append(want, "removed "+path)
			default:
				want = append(want, "changed "+path)
			}
		}
		var got []string
		for _, line := range r.diff(fmt.Sprintf("from=%d&to=%d", from, to)) {
			got = append(got, line[:strings.Index(line, ":")])
		}
		slices.Sort(want)
		slices.Sort(got)
		wantLines(t, fmt.Sprintf("from %d to %d", from, to), got, want...)
	}
}

// write makes a call that may be refused. No model is renamed or made anew, which
// would make two of one path.
func (r *registry) write(chance *rand.Rand) {
	one := func(all ...string) string { return all[chance.IntN(len(all))] }
	model, target := "/v1/models/"+one("fraud", "churn"), "/v1/targets/prod/"+one("scorer", "spare")
	version := model + "/versions/" + one("1", "2", "3", "4")
	write := [][3]string{
		{"POST", "/v1/models", `{"name":"churn"}`},
		{"POST", model + "/versions", `{"source":"s3://x"}`},
		{"POST", model + "/versions", `{"source":"s3://y"}`},
		{"PATCH", one(model, version), `{"tags":{"a":"` + one("b", "c") + `"},"description":"` + one("", "d") + `"}`},
		{"POST", version + "/promote", `{"to":"` + one("Staging", "Production") + `","archive_existing":` + one("true", "false") + `}`},
		{"POST", version + "/deprecate", `{"reason":"` + one("r", "s") + `"}`},
		{"POST", version + "/restore", `{}`},
		{"PUT", model + "/aliases/" + one("champion", "other"), `{"version":` + one("1", "2", "3") + `}`},
		{"DELETE", model + "/aliases/" + one("champion", "other"), ``},
		{"DELETE", version + "?cascade=true", ``},
		{"PUT", target, `{"description":"` + one("", "d") + `"}`},
		{"POST", target + "/deploy", `{"model":"fraud","ref":"latest","force":true,"reason":"r"}`},
		{"POST", target + "/rollback", `{}`},
		{"POST", target + "/undeploy", `{}`},
	}[chance.IntN(14)]
	r.call(write[0], write[1], write[2])
}

// everything gives what is shown as of a sequence, by path, without what goes
// along with other changes.
func (r *registry) everything(at int) map[string]string {
	r.Helper()
	all := map[string]string{}
	get := func(path string) string {
		return r.call("GET", path+"?limit=1000&as_of="+strconv.Itoa(at), "").want(200).Body.String()
	}
	for _, m := range decodeText[ModelList](r.T, get("/v1/models")).Models {
		for alias, version := range m.Aliases {
			all["models/"+m.Name+"/aliases/"+alias] = strconv.Itoa(version)
		}
		for _, v := range decodeText[VersionList](r.T, get("/v1/models/"+m.Name+"/versions")).Versions {
			beside := fmt.Sprint(v.Deprecation) // of which the pointer differs
			v.Deprecation, v.Code, v.Sequence, v.UpdatedAt = nil, nil, 0, ""
			all[fmt.Sprintf("models/%s/versions/%d", m.Name, v.Version)] = fmt.Sprintf("%+v %s", v, beside)
		}
		m.Sequence, m.UpdatedAt = 0, ""
		all["models/"+m.Name] = fmt.Sprintf("%+v", m)
	}
	for _, t := range decodeText[TargetList](r.T, get("/v1/targets")).Targets {
		t.Sequence = 0
		all["targets/"+t.Environment+"/"+t.Name] = fmt.Sprintf("%+v", t)
	}
	return all
}

func decodeText[A any](t *testing.T, text string) A {
	t.Helper()
	var a A
	if err := unmarshal(jsontext.Value(text), &a); err != nil {
		t.Fatal(err)
	}
	return a
}
