package api

import (
	"math"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"pgregory.net/rapid"
)

// TestVersionsAreWrittenAsMarshalWritesThem compares the writer by hand with the
// one that goes by the json tags.
func TestVersionsAreWrittenAsMarshalWritesThem(t *testing.T) {
	text := rapid.String()
	texts := rapid.SliceOfN(text, 0, 3)
	number := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, 1, 1e21, math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)}))
	version := rapid.Custom(func(t *rapid.T) Version {
		v := Version{
			Model: text.Draw(t, "model"), ModelID: text.Draw(t, "model id"), Version: rapid.Int().Draw(t, "version"),
			Semver: text.Draw(t, "semver"), Stage: text.Draw(t, "stage"), Aliases: texts.Draw(t, "aliases"),
			Source: text.Draw(t, "source"), Format: text.Draw(t, "format"), RunID: text.Draw(t, "run"),
			RunLink: text.Draw(t, "link"), LoggedModel: text.Draw(t, "logged"),
			Parameters: rapid.MapOfN(text, text, 0, 3).Draw(t, "parameters"), Metrics: rapid.MapOfN(text, number, 0, 3).Draw(t, "metrics"),
			BaseModel: text.Draw(t, "base"), Tags: rapid.MapOfN(text, text, 0, 3).Draw(t, "tags"), Description: text.Draw(t, "description"),
			DeployedTo: texts.Draw(t, "deployed"), CreatedAt: text.Draw(t, "created"), UpdatedAt: text.Draw(t, "updated"),
			CreatedBy: text.Draw(t, "by"), Sequence: rapid.Uint64().Draw(t, "sequence"),
		}
		for range rapid.IntRange(0, 2).Draw(t, "artifacts") {
			v.Artifacts = append(v.Artifacts, events.Artifact{Path: text.Draw(t, "path"), SHA256: text.Draw(t, "sha"), Size: rapid.Int64().Draw(t, "size")})
			v.Datasets = append(v.Datasets, events.Dataset{Name: text.Draw(t, "name"), Digest: text.Draw(t, "digest"), Role: text.Draw(t, "role")})
		}
		if rapid.Bool().Draw(t, "has code") {
			v.Deprecation = &Deprecation{Reason: text.Draw(t, "reason"), Since: text.Draw(t, "since"), Replacement: text.Draw(t, "replacement")}
			v.Code = &events.Code{Repository: text.Draw(t, "repository"), Commit: text.Draw(t, "commit")}
			v.Signature = &events.Signature{Inputs: []events.Object{{"name": text.Draw(t, "input"), "shape": []any{int64(-1), 0.5, nil, true}}}}
		}
		return v
	})
	rapid.Check(t, func(t *rapid.T) {
		v := version.Draw(t, "version")
		got, err := appendVersion([]byte("x"), &v)
		want, wantErr := json.Marshal(v, jsonOptions)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, want %v", err, wantErr)
		}
		if diff := cmp.Diff("x"+string(want), string(got)); err == nil && diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
