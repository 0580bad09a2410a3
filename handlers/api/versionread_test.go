package api

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"pgregory.net/rapid"
)

const wholeSpec = `{"semver":"1.2.3","bump":"auto","source":"s3://a/b","format":"onnx","run_id":"r1","run_link":"https://t/r1","logged_model":"m-1","version":12,"base_model":"fraud/7",
 "description":"","code":{"repository":"https://git.example.com/x","commit":"abc"},
 "artifacts":[{"path":"m.onnx","sha256":"00","size":12},{}],"datasets":[{"name":"t","digest":"sha256:0","role":"train"}],
 "parameters":{"C":"1.0","":"x"},"tags":{},"metrics":{"auc":0.5,"n":-0,"big":1.5e+300,"small":2E-7,"i":10},
 "signature":{"inputs":[{"name":"x","shape":[-1,{"a":1}]}],"outputs":[]}}`

// checkRead compares the reader by hand with the one that goes by the json tags,
// and says whether the one by hand took it.
func checkRead(t interface {
	Helper()
	Errorf(string, ...any)
}, data []byte,
) bool {
	t.Helper()
	var got, want handlers.VersionSpec
	err := json.Unmarshal(data, &want, plainOptions)
	kept := bytes.Clone(data)
	took := readVersionSpec(kept, &got)
	if !took {
		return false
	}
	for i := range kept { // the buffer is used again
		kept[i] = '#'
	}
	if err != nil {
		t.Errorf("%s was taken; json.Unmarshal says %v", data, err)
	} else if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("%s: -want +got:\n%s", data, diff)
	}
	return true
}

func TestRegistrationsAreReadAsUnmarshalReadsThem(t *testing.T) {
	for _, plain := range []string{"{}", " { } \n", wholeSpec, `{"metrics":{},"artifacts":[],"code":{},"signature":{}}`} {
		if !checkRead(t, []byte(plain)) {
			t.Errorf("%s wasn't taken", plain)
		}
	}
	t.Run("cut short, and with one byte changed", func(t *testing.T) {
		for i := range wholeSpec {
			checkRead(t, []byte(wholeSpec[:i]))
			for _, c := range "\"\\{}[]:,0.-+eE x\x00\xff" {
				checkRead(t, []byte(wholeSpec[:i]+string(c)+wholeSpec[i+1:]))
				checkRead(t, []byte(wholeSpec[:i]+string(c)+wholeSpec[i:]))
			}
		}
	})
	t.Run("what is twice there", func(t *testing.T) {
		for member := range strings.SplitSeq(`"semver":"1"|"bump":"x"|"source":"x"|"format":"x"|"run_id":"x"|"run_link":"x"|"logged_model":"x"|"version":7|"base_model":"x"|"description":"x"|"code":{}|`+
			`"artifacts":[]|"datasets":[]|"parameters":{}|"tags":{}|"metrics":{}|"signature":{}`, "|") {
			if !checkRead(t, []byte("{"+member+"}")) || checkRead(t, []byte("{"+member+","+member+"}")) {
				t.Errorf("%s: want it taken once and not twice", member)
			}
		}
	})
	t.Run("numbers", func(t *testing.T) {
		for n := range strings.FieldsSeq("0 -0 1 -1 01 -01 00 1. .1 -.1 1.5 1.5. 1e5 1E+5 1e-5 1e 1e+ 1.e5 1.5e5 +1 - -- 1-1 1e5.5 1e999 0x1 1_0 Inf NaN 9223372036854775807 9223372036854775808") {
			checkRead(t, fmt.Appendf(nil, `{"metrics":{"m":%s}}`, n))
			checkRead(t, fmt.Appendf(nil, `{"version":%s}`, n))
			checkRead(t, fmt.Appendf(nil, `{"artifacts":[{"size":%s}]}`, n))
		}
	})
	t.Run("any that can be written", func(t *testing.T) {
		text := rapid.OneOf(rapid.StringMatching(`[ -~]{0,9}`), rapid.String())
		texts := rapid.MapOfN(text, text, 0, 3)
		rapid.Check(t, func(t *rapid.T) {
			spec := handlers.VersionSpec{
				Version: rapid.Int().Draw(t, "version"), RunLink: text.Draw(t, "link"), LoggedModel: text.Draw(t, "logged"),
				Semver: text.Draw(t, "semver"), Source: text.Draw(t, "source"), Description: text.Draw(t, "description"),
				Artifacts:  []events.Artifact{{Path: text.Draw(t, "path"), Size: rapid.Int64().Draw(t, "size")}},
				Parameters: texts.Draw(t, "parameters"), Tags: texts.Draw(t, "tags"),
				Metrics: map[string]float64{"m": rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "metric")},
			}
			data, err := json.Marshal(spec)
			if err != nil {
				t.Skip(err)
			}
			checkRead(t, data)
		})
	})
}
