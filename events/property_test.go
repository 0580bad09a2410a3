package events

import (
	"bytes"
	"maps"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// TestAnyVersionSurvivesBothForms sends random versions over the log and the
// edges: nothing is lost, and the log's bytes come back.
func TestAnyVersionSurvivesBothForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent(t, anyVersion(t))
		first, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		off, err := Decode(Stored{e.Sequence, first})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, off, sameEvent); diff != "" {
			t.Fatalf("off the log: %s", diff)
		}
		ce, err := CloudEvent(off)
		if err != nil {
			t.Fatal(err)
		}
		json, err := AppendCloudEvent(nil, ce)
		if err != nil {
			t.Fatal(err)
		}
		back, err := readEdge(json)
		if err != nil {
			t.Fatalf("%v: %s", err, json)
		}
		if diff := cmp.Diff(e, back, sameEvent); diff != "" {
			t.Fatalf("over the edges: %s", diff)
		}
		second, err := Encode(back)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatalf("msgpack, JSON, msgpack: %s", diff)
		}
	})
}

// TestEqualDataHasEqualBytes makes maps in another order, and objects with
// other spellings of their numbers.
func TestEqualDataHasEqualBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyVersion(t)
		first, err := AppendCanonical(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		if v.Signature != nil {
			for _, o := range v.Signature.Inputs {
				for k, x := range o {
					o[k] = respelled(x)
				}
			}
		}
		v.Tags = refilled(v.Tags)
		v.Parameters = refilled(v.Parameters)
		second, err := AppendCanonical(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Fatalf("%x\n%x", first, second)
		}
	})
}

// respelled is a whole number as a float, where a float has it exactly.
func respelled(x any) any {
	n, ok := x.(int64)
	if ok && n >= -1<<53 && n <= 1<<53 {
		return float64(n)
	}
	return x
}

func refilled(m map[string]string) map[string]string {
	other := make(map[string]string, 2*len(m))
	maps.Copy(other, m)
	return other
}

// anyEvent is an event with random attributes around the data.
func anyEvent(t *rapid.T, d Data) Event {
	maybeText := rapid.OneOf(rapid.Just(""), rapid.String())
	return Event{
		Sequence:      rapid.Uint64Min(1).Draw(t, "sequence"),
		ID:            anyULID(t, "id"),
		Registry:      anyULID(t, "registry"),
		Subject:       rapid.StringMatching(`[!-~]{1,40}`).Draw(t, "subject"),
		Time:          anyTime(t, "time"),
		Principal:     maybeText.Draw(t, "principal"),
		CorrelationID: maybeText.Draw(t, "correlation"),
		CausationID:   maybeText.Draw(t, "causation"),
		TraceParent:   maybeText.Draw(t, "trace"),
		OriginSource:  maybeText.Draw(t, "origin source"),
		OriginID:      maybeText.Draw(t, "origin id"),
		Occurred:      anyTime(t, "occurred"),
		Key:           Hash(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "key")),
		Request:       Hash(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "request")),
		Data:          d,
	}
}

func anyULID(t *rapid.T, label string) ulid.ULID {
	return ulid.ULID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label))
}

func anyTime(t *rapid.T, label string) time.Time {
	first, last := time.Date(1, 1, 1, 0, 0, 0, 1e6, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
	return time.UnixMilli(rapid.Int64Range(first.UnixMilli(), last.UnixMilli()).Draw(t, label)).UTC()
}

func anyVersion(t *rapid.T) VersionRegistered {
	text := rapid.String()
	texts := rapid.MapOfN(text, text, 0, 4)
	v := VersionRegistered{
		ModelID:     anyULID(t, "model"),
		Version:     rapid.Int().Draw(t, "version"),
		Semver:      text.Draw(t, "semver"),
		Source:      text.Draw(t, "source"),
		Artifacts:   rapid.SliceOfN(rapid.Make[Artifact](), 0, 3).Draw(t, "artifacts"),
		Datasets:    rapid.SliceOfN(rapid.Make[Dataset](), 0, 3).Draw(t, "data sets"),
		Code:        rapid.Ptr(rapid.Make[Code](), true).Draw(t, "code"),
		Parameters:  texts.Draw(t, "parameters"),
		Metrics:     rapid.MapOfN(text, anyFloat(), 0, 4).Draw(t, "metrics"),
		Tags:        texts.Draw(t, "tags"),
		Description: anyText(t),
	}
	if rapid.Bool().Draw(t, "has a signature") {
		objects := rapid.SliceOfN(rapid.Custom(anyObject), 0, 3)
		v.Signature = &Signature{Inputs: objects.Draw(t, "inputs"), Outputs: objects.Draw(t, "outputs")}
	}
	return v
}

func anyFloat() *rapid.Generator[float64] {
	special := rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 1, 1 << 53, 1e16, 1e21, math.MaxFloat64, math.SmallestNonzeroFloat64})
	return rapid.OneOf(rapid.Float64(), special)
}

func anyText(t *rapid.T) Text {
	if rapid.Bool().Draw(t, "sealed") {
		return Text{Sealed: rapid.Ptr(rapid.Make[Sealed](), false).Draw(t, "description")}
	}
	return Plain(rapid.String().Draw(t, "description"))
}

func anyObject(t *rapid.T) Object { return Object(anyMembers(t, 0)) }

func anyMembers(t *rapid.T, depth int) map[string]any {
	m := map[string]any{}
	for range rapid.IntRange(0, 3).Draw(t, "members") {
		m[rapid.String().Draw(t, "name")] = anyValue(t, depth)
	}
	return m
}

// anyValue gives numbers as they are read: the others are for
// TestEqualDataHasEqualBytes.
func anyValue(t *rapid.T, depth int) any {
	kinds := 7
	if depth == 3 {
		kinds = 5
	}
	switch rapid.IntRange(1, kinds).Draw(t, "kind") {
	case 1:
		return rapid.String().Draw(t, "text")
	case 2:
		return rapid.Int64().Draw(t, "integer")
	case 3:
		finite := func(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }
		return normalNumber(anyFloat().Filter(finite).Draw(t, "number"))
	case 4:
		return rapid.Bool().Draw(t, "boolean")
	case 5:
		return nil
	case 6:
		return anyMembers(t, depth+1)
	default:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			list = append(list, anyValue(t, depth+1))
		}
		return list
	}
}
