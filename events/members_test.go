package events

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// chosen has some of the fields of VersionRegistered, for AppendMembers.
type chosen struct {
	Artifacts []Artifact         `json:"artifacts,omitempty"`
	Code      *Code              `json:"code,omitempty"`
	Metrics   map[string]float64 `json:"metrics,omitempty"`
	Signature *Signature         `json:"signature,omitempty"`
	Version   int                `json:"version"`
}

// TestMembersAreAsIfWrittenAlone compares members that were copied with the same
// ones written anew.
func TestMembersAreAsIfWrittenAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawVersion(t)
		whole, err := AppendCanonical(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		want, err := AppendCanonical([]byte("x"), chosen{e.Artifacts, e.Code, e.Metrics, e.Signature, e.Version})
		if err != nil {
			t.Fatal(err)
		}
		got := AppendMembers([]byte("x"), whole, "absent", "artifacts", "code", "metrics", "signature", "version", "zzz")
		if !bytes.Equal(want, got) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if end := skipValue(whole, 0); end != len(whole) {
			t.Fatalf("the value ends at %d of %d", end, len(whole))
		}
	})
}

func drawVersion(t *rapid.T) VersionRegistered {
	text := rapid.String()
	e := VersionRegistered{
		ModelID: modelID, Version: rapid.IntRange(1, 1<<40).Draw(t, "version"), Source: text.Draw(t, "source"),
		Tags:    rapid.MapOfN(text, text, 0, 20).Draw(t, "tags"),
		Metrics: rapid.MapOfN(text, rapid.Float64(), 0, 20).Draw(t, "metrics"),
	}
	for range rapid.SampledFrom([]int{0, 1, 15, 16, 300}).Draw(t, "artifacts") {
		e.Artifacts = append(e.Artifacts, Artifact{Path: "a", SHA256: string(slices.Repeat([]byte("0"), len(e.Artifacts)%70)), Size: rapid.Int64().Draw(t, "size")})
	}
	if rapid.Bool().Draw(t, "has code") {
		e.Code = &Code{Repository: rapid.StringN(0, -1, 70_000).Draw(t, "repository"), Commit: text.Draw(t, "commit")}
	}
	if rapid.Bool().Draw(t, "has signature") {
		e.Signature = &Signature{Inputs: []Object{{
			text.Draw(t, "name"): []any{nil, true, false, rapid.Int64().Draw(t, "whole"), 0.5, map[string]any{"deep": "er"}, text.Draw(t, "text")},
		}}}
	}
	return e
}
