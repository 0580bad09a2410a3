package events

import (
	"strings"
	"testing"
	"time"
)

// realistic is a version as a training pipeline registers it: some 600 bytes of
// data on the log.
func realistic() Event {
	digest := strings.Repeat("0123456789abcdef", 4)
	return Event{
		Sequence:      4721,
		ID:            eventID,
		Registry:      registryID,
		Subject:       "models/fraud/versions/8",
		Time:          time.Date(2026, 11, 23, 20, 3, 0, 120e6, time.UTC),
		Principal:     "prn_01KXFT0005",
		CorrelationID: "01KXFT0006REQUEST000000000",
		Key:           Hash{1},
		Request:       Hash{2},
		Data: VersionRegistered{
			ModelID: modelID, Version: 8, Source: "s3://models/fraud/8/", Format: "onnx", RunID: "b4f1c0ffee",
			Artifacts:  []Artifact{{Path: "model.onnx", SHA256: digest, Size: 48_123_456}},
			Code:       &Code{Repository: "https://git.example.org/fraud", Commit: "6e6d89bfd68500c9138abb768dc0916468a80684"},
			Datasets:   []Dataset{{Name: "payments-2026-10", Digest: "sha256:" + digest, Role: "train"}},
			Parameters: map[string]string{"C": "1.0", "kernel": "rbf", "class_weight": "balanced"},
			Metrics:    map[string]float64{"auc": 0.91, "f1": 0.77, "loss": 0.234},
			Tags:       map[string]string{"team": "payments"},
		},
	}
}

func BenchmarkEncode(b *testing.B) {
	e := realistic()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	s := stored(b, realistic())
	b.ReportMetric(float64(len(s.Data)), "data-bytes")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(s); err != nil {
			b.Fatal(err)
		}
	}
}
