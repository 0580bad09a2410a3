package events

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

var (
	registryID = ulid.MustParse("01KXFT0000REG1STRY00000000")
	modelID    = ulid.MustParse("01KXFT0001M0DE100000000000")
	baseID     = ulid.MustParse("01KXFT0002BASE000000000000")
	targetID   = ulid.MustParse("01KXFT0003TARGET0000000000")
	eventID    = ulid.MustParse("01KXFT0004EVENT00000000000")
	hookID     = ulid.MustParse("01KXFT0005H00K000000000000")
)

// example is an event with every attribute that an event can have.
func example(subject string, d Data) Event {
	return Event{
		Sequence:      4721,
		ID:            eventID,
		Registry:      registryID,
		Subject:       subject,
		Time:          time.Date(2026, 11, 23, 20, 3, 0, 120e6, time.UTC),
		Principal:     "prn_01KXFT0005",
		CorrelationID: "01KXFT0006REQUEST000000000",
		CausationID:   "01KXFT0007CAVSE00000000000",
		TraceParent:   "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		OriginSource:  "https://ci.example.org/builds?job=train fraud",
		OriginID:      `build "17" – 100 %`,
		Occurred:      time.Date(2026, 11, 23, 20, 2, 59, 0, time.UTC),
		Key:           Hash{0x00, 0x01, 0xfe, 15: 0xff},
		Request:       Hash{0xab, 15: 0xcd},
		Data:          d,
	}
}

// examples has one event of every kind, with no field of its data left empty:
// TestEveryKindHasAFilledExample holds it to that.
func examples() map[string]Event {
	all := map[string]Event{}
	for _, e := range []Event{
		example("registry", RegistryCreated{RegistryID: registryID, Level: 1, VerifierKey: "modelog.dev/log/01KXFT0000REG1STRY00000000+6b4b1a5c+AQ=="}),
		example("registry", RegistrySigningKeyChanged{
			RegistryID: registryID, VerifierKey: "modelog/01KXFT0000REG1STRY00000000+5a6c1d0e+AQlmKVBQEm9oxGyZRpBnn8Nt9HAuJ4pO2kOtcg4Jr2b5",
			Previous: "modelog/01KXFT0000REG1STRY00000000+0b1c2d3e+AXlmKVBQEm9oxGyZRpBnn8Nt9HAuJ4pO2kOtcg4Jr2b5",
		}),
		example("models/fraud", ModelRegistered{
			ModelID: modelID, Name: "fraud", Description: Plain("Scores card payments — größer is riskier"),
			Tags: map[string]string{"team": "payments", "": "the empty key", "pii": ""},
		}),
		example("models/fraud", ModelDescribed{
			ModelID: modelID, Description: &Text{Plain: "Scores transfers"}, Tags: map[string]string{"team": "risk"}, RemovedTags: []string{"pii", "team2"},
		}),
		example("models/card-fraud", ModelRenamed{ModelID: modelID, From: "fraud", To: "card-fraud", Reason: Plain("there is another one")}),
		example("models/fraud", ModelLifecycleChanged{
			ModelID: modelID, Lifecycle: Lifecycle{
				Stages: []string{"Draft", "Live", "Retired"}, Archive: "Retired",
				Transitions: [][2]string{{"Draft", "Live"}, {"Live", "Retired"}}, Exclusive: []string{"Live"},
			}, Reason: Plain("one at a time"),
		}),
		example("models/fraud", ModelDeleted{ModelID: modelID, Name: "fraud", Versions: 8, Aliases: 2, Reason: Plain("replaced")}),
		example("models/Gr%C3%B6%C3%9Fe%20100%25/versions/8", filledVersion()),
		example("models/fraud/versions/8", VersionPromoted(filledTransition("Staging", "Production"))),
		example("models/fraud/versions/8", VersionDemoted(filledTransition("Production", "Staging"))),
		example("models/fraud/versions/8", VersionArchived(filledTransition("Staging", "Archived"))),
		example("models/fraud/versions/8", VersionDescribed{
			ModelID: modelID, Version: 8, Description: &Text{Plain: "third attempt"}, Tags: map[string]string{"reviewed": "yes"}, RemovedTags: []string{"stage"},
		}),
		example("models/fraud/versions/8", VersionDeprecated{
			ModelID: modelID, Version: 8, Reason: Plain("drift"), Sunset: time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC),
			Replacement: &VersionID{ModelID: baseID, Version: 9},
		}),
		example("models/fraud/versions/8", VersionRestored{ModelID: modelID, Version: 8, Reason: Plain("it was the monitor")}),
		example("models/fraud/versions/8", VersionDeleted{ModelID: modelID, Version: 8, Aliases: []string{"challenger", "champion"}, Reason: Plain("withdrawn data")}),
		example("models/fraud/aliases/champion", AliasRemoved{ModelID: modelID, Alias: "champion", From: 8, Reason: Plain("no champion")}),
		example("models/fraud/aliases/champion", AliasAssigned{
			ModelID: modelID, Alias: "champion", From: 7, To: 8, Reason: Plain("AUC +0.02"),
		}),
		example("targets/prod/scorer", TargetDefined{
			TargetID: targetID, Environment: "prod", Name: "scorer", Description: Plain("Scores payments"),
		}),
		example("targets/prod/scorer", TargetDescribed{TargetID: targetID, Description: Plain("Scores transfers")}),
		example("targets/prod/scorer", TargetRemoved{TargetID: targetID, Environment: "prod", Name: "scorer", Reason: Plain("moved")}),
		example("targets/prod/scorer", DeploymentWithdrawn{TargetID: targetID, From: 4720, Reason: Plain("the experiment is over")}),
		example("targets/prod/scorer", DeploymentDeployed{
			TargetID: targetID, Strategy: AllAtOnce, Variants: filledVariants(), Reason: Plain("weekly release"), Forced: true,
		}),
		example("targets/prod/scorer", DeploymentRolledBack{
			TargetID: targetID, From: 4720, To: math.MaxUint64, Strategy: AllAtOnce, Variants: filledVariants(),
			Reason: Text{Sealed: &Sealed{Algorithm: "A256GCM", KeyID: "k1", Nonce: "bm9uY2U", Ciphertext: "Y2lwaGVy"}},
		}),
		example("registry", filledReport()),
		example("registry", LineageRecorded{
			RegistryID: registryID, Edges: []LineageEdge{{
				From: VersionID{modelID, 8}.Node(), To: filledDataset().Node(), Type: WasDerivedFrom, Role: "train",
			}, {
				From: filledNode(), To: filledNode(), Type: HadMember, Role: "member",
			}}, Reason: Plain("from the wiki"),
		}),
		example("datasets/s3:%2F%2Flake/payments%2F2026-10", DatasetWithdrawn{RegistryID: registryID, Dataset: filledDataset(), Reason: Plain("no consent")}),
		example("datasets/s3:%2F%2Flake/payments%2F2026-10", DatasetReinstated{RegistryID: registryID, Dataset: filledDataset(), Reason: Plain("consent found")}),
		example(hookPath, SubscriptionCreated{SubscriptionID: hookID, Settings: filledSettings(), After: math.MaxUint64}),
		example(hookPath, SubscriptionChanged{SubscriptionID: hookID, Settings: filledSettings()}),
		example(hookPath, SubscriptionPaused{SubscriptionID: hookID, Reason: Plain("the receiver moves")}),
		example(hookPath, SubscriptionResumed{SubscriptionID: hookID, Reason: Plain("it moved")}),
		example(hookPath, SubscriptionDisabled{
			SubscriptionID: hookID, Cause: CauseFailing, FailingSince: time.Date(2026, 11, 18, 8, 0, 0, 0, time.UTC), Reason: Plain("status 500"),
		}),
		example(hookPath, SubscriptionSecretRotated{
			SubscriptionID: hookID, CredentialID: eventID, Until: time.Date(2026, 11, 24, 20, 3, 0, 0, time.UTC), Reason: Plain("it leaked"),
		}),
		example(hookPath, SubscriptionDeleted{SubscriptionID: hookID, SinkHost: "https://hooks.example.com", Reason: Plain("nobody listens")}),
	} {
		all[e.Data.kind()] = e
	}
	return all
}

const hookPath = "subscriptions/01KXFT0005H00K000000000000"

func filledSettings() SubscriptionSettings {
	return SubscriptionSettings{
		Name: "on-call", Description: Plain("to the on-call channel"), Types: []string{"dev.modelog.version.promoted.v1"},
		Filters: `[{"prefix":{"subject":"models/fraud/"}}]`, SinkHost: "https://hooks.example.com", CredentialID: baseID,
		Format: FormatMLflow, MLflowEvents: []string{"model_version.created", "model_version_alias.created"}, Ordering: OrderByKey, Rate: 10, Signature: SignHMAC,
	}
}

func filledTransition(from, to string) Transition {
	return Transition{
		ModelID: modelID, Version: 8, From: from, To: to,
		Displaced: []Range{{1, 3}, {7, 7}}, Reason: Plain("AUC +0.02"), Forced: true,
	}
}

func filledVariants() []Variant {
	return []Variant{
		{ModelID: modelID, Version: 8, Role: RoleChampion, Weight: 9_500},
		{ModelID: baseID, Version: 1, Role: RoleChallenger, Weight: 500},
	}
}

func filledDataset() DatasetVersion {
	return DatasetVersion{Namespace: "s3://lake", Name: "payments/2026-10", Version: "7", Digest: "sha256:" + strings.Repeat("a", 64)}
}

func filledReport() LineageReported {
	return LineageReported{
		RegistryID: registryID, Format: OpenLineage, RunID: "01890a5d-ac96-774b-bcce-b302099a8057", ParentRun: "01890a5d-ac96-774b-bcce-b302099a8056",
		Job: Job{Namespace: "airflow", Name: "train.fit"}, State: RunComplete,
		Inputs: []DatasetVersion{filledDataset()}, Outputs: []DatasetVersion{filledDataset()},
		Same:    []SameDataset{{filledDataset().DatasetName(), DatasetName{"hive://metastore", "payments"}}},
		Derived: []DerivedDataset{{filledDataset(), DatasetVersion{Namespace: "s3://lake", Name: "raw", Version: "3", Digest: "md5:y"}}},
		Code:    &Code{Repository: "https://git.example.org/fraud", Commit: "6e6d89b"},
		Marks:   []string{"producer is no URI"}, Raw: `{"eventType":"COMPLETE"}`,
	}
}

// filledNode has every field that a node can have, though none has all.
func filledNode() LineageNode {
	return LineageNode{
		Kind: DatasetVersionNode, Namespace: "s3://lake", Name: "payments", Version: "7", Digest: "md5:x",
		ModelID: modelID, Number: 8, TargetID: targetID,
	}
}

func filledVersion() VersionRegistered {
	return VersionRegistered{
		ModelID: modelID, Version: 8, Semver: "2.1.0", Source: "s3://models/fraud/8/", Format: "onnx",
		Artifacts: []Artifact{
			{Path: "model.onnx", SHA256: strings.Repeat("0123456789abcdef", 4), Size: math.MaxInt64},
			{Path: "tokenizer/vocabulary.txt", SHA256: strings.Repeat("f", 64), Size: 0},
		},
		RunID: "b4f1c0ffee", RunLink: "https://tracker.example.org/runs/b4f1c0ffee", LoggedModel: "m-5a0c7e1d",
		Code: &Code{Repository: "https://git.example.org/fraud", Commit: "6e6d89b"},
		Datasets: []Dataset{
			{Name: "payments-2026-10", Digest: "sha256:" + strings.Repeat("a", 64), Role: "train"},
			{Name: "payments-2026-11"},
		},
		Parameters: map[string]string{"C": "1.0", "kernel": "rbf", "größe": "日本語 🎉"},
		Metrics: map[string]float64{
			"auc": 0.91, "whole": 3, "tiny": math.SmallestNonzeroFloat64, "zero": math.Copysign(0, -1),
			"nan": math.NaN(), "up": math.Inf(1), "down": math.Inf(-1),
		},
		Signature: &Signature{
			Inputs: []Object{{
				"name": "amount", "type": "double", "required": true, "default": nil, "shape": []any{int64(-1), int64(3)},
				"range": map[string]any{"from": int64(0), "to": 0.5},
			}},
			Outputs: []Object{{"type": "tensor"}, {}},
			Params:  []Object{{"name": "temperature", "default": 0.7}},
		},
		BaseModel:   &VersionID{ModelID: baseID, Version: 7},
		Tags:        map[string]string{"stage": "candidate"},
		Description: Plain("second attempt"),
	}
}

func stored(tb testing.TB, e Event) Stored {
	tb.Helper()
	enc, err := Encode(e)
	if err != nil {
		tb.Fatalf("encode %s: %v", e.Type(), err)
	}
	return Stored{Sequence: e.Sequence, Encoded: enc}
}
