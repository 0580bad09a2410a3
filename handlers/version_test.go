package handlers

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/modelog/modelog/events"
)

func TestRegisterVersion(t *testing.T) {
	register := func(spec VersionSpec) Command { return &RegisterVersion{"fraud", spec} }
	first := func(e events.VersionRegistered) events.Data {
		e.ModelID, e.Version = fraud, 1
		if e.Source == "" {
			e.Source = "s3://models/x"
		}
		return e
	}
	one := all(registered(fraud, "fraud"))
	two := all(one, version(fraud, 1, "1.0.0"), version(fraud, 2, "2.1.0+build.1"))
	digest := strings.Repeat("0123456789abcdef", 4)
	signature := &events.Signature{Inputs: []events.Object{{"name": "amount", "type": "double"}}}
	runScenarios(t, []scenario{
		{name: "the first version is 1, and only its source is required", given: one, when: register(VersionSpec{Source: "s3://models/x"}), then: first(events.VersionRegistered{})},
		{
			name: "a number may be given, if it is higher than any before", given: two,
			when: register(VersionSpec{Source: "s3://models/x", Version: 7}), then: version(fraud, 7, ""),
		},
		{name: "the first number may be any", given: one, when: register(VersionSpec{Source: "s3://models/x", Version: MaxVersion}), then: version(fraud, MaxVersion, "")},
		{name: "the next number goes on from one that was given", given: all(two, version(fraud, 7, "")), when: register(VersionSpec{Source: "s3://models/x"}), then: version(fraud, 8, "")},
		{
			name: "a number that was given is taken", given: two, when: register(VersionSpec{Source: "x", Version: 2}),
			refused: RuleError{Rule: CodeVersionNumberTaken}, saying: "fraud has given the numbers up to 2",
		},
		{name: "a number in a gap is taken", given: all(two, version(fraud, 7, "")), when: register(VersionSpec{Source: "x", Version: 5}), refused: RuleError{Rule: CodeVersionNumberTaken}},
		{
			name: "the number of a version that was deleted is taken", given: all(two, events.VersionDeleted{ModelID: fraud, Version: 2}),
			when: register(VersionSpec{Source: "x", Version: 2}), refused: RuleError{Rule: CodeVersionNumberTaken},
		},
		{
			name: "after the last number there is none", given: all(one, version(fraud, MaxVersion, "")), when: register(VersionSpec{Source: "x"}),
			refused: RuleError{Rule: CodeVersionNumberTaken}, saying: "its last number",
		},
		{name: "a number is not negative", given: one, when: register(VersionSpec{Source: "x", Version: -1}), refused: invalid("/version range")},
		{name: "a number has a limit", given: one, when: register(VersionSpec{Source: "x", Version: MaxVersion + 1}), refused: invalid("/version range")},
		{name: "the next version is one more", given: two, when: register(VersionSpec{Source: "s3://models/x"}), then: version(fraud, 3, "")},
		{
			name: "versions are numbered within their model", given: all(two, registered(churn, "churn")),
			when: &RegisterVersion{"churn", VersionSpec{Source: "s3://models/x"}}, then: version(churn, 1, ""),
		},
		{
			name: "everything that was said is in the event", given: two,
			when: register(VersionSpec{
				Semver: "3.0.0-rc.1", Source: "/models/fraud/3", Format: "onnx",
				Artifacts: []events.Artifact{{Path: "model.onnx", SHA256: digest, Size: 12}}, RunID: "b4f1", RunLink: "https://tracker.example.org/#/runs/b4f1", LoggedModel: "m-5a0c",
				Code: &events.Code{Repository: "https://git.example.org/fraud", Commit: "6e6d89b"}, Datasets: []events.Dataset{{Name: "d", Digest: "sha256:" + digest, Role: "train"}, {Name: "e"}},
				Parameters: map[string]string{"C": "1.0"}, Metrics: map[string]float64{"auc": 0.91, "loss": math.Inf(1)},
				Signature: signature, BaseModel: "fraud/1", Tags: map[string]string{"team": "payments"}, Description: "third\nattempt",
			}),
			then: events.VersionRegistered{
				ModelID: fraud, Version: 3, Semver: "3.0.0-rc.1", Source: "/models/fraud/3", Format: "onnx",
				Artifacts: []events.Artifact{{Path: "model.onnx", SHA256: digest, Size: 12}}, RunID: "b4f1", RunLink: "https://tracker.example.org/#/runs/b4f1", LoggedModel: "m-5a0c",
				Code: &events.Code{Repository: "https://git.example.org/fraud", Commit: "6e6d89b"}, Datasets: []events.Dataset{{Name: "d", Digest: "sha256:" + digest, Role: "train"}, {Name: "e"}},
				Parameters: map[string]string{"C": "1.0"}, Metrics: map[string]float64{"auc": 0.91, "loss": math.Inf(1)},
				Signature: signature, BaseModel: &events.VersionID{ModelID: fraud, Version: 1}, Tags: map[string]string{"team": "payments"}, Description: events.Plain("third\nattempt"),
			},
		},
		{name: "an unknown model is not found", when: register(VersionSpec{Source: "s3://models/x"}), refused: NotFoundError{What: CodeModelNotFound, Name: "fraud"}},

		{name: "a semantic version must be whole", given: one, when: register(VersionSpec{Source: "x", Semver: "2.1"}), refused: invalid("/semver semantic_version"), saying: `"2.1"`},
		{name: "a semantic version has no v", given: one, when: register(VersionSpec{Source: "x", Semver: "v2.1.0"}), refused: invalid("/semver semantic_version")},
		{name: "a semantic version has no leading zeros", given: one, when: register(VersionSpec{Source: "x", Semver: "2.01.0"}), refused: invalid("/semver semantic_version")},
		{name: "a semantic version may be lower than the last", given: two, when: register(VersionSpec{Source: "s3://models/x", Semver: "1.0.1"}), then: version(fraud, 3, "1.0.1")},
		{name: "a semantic version is used once", given: two, when: register(VersionSpec{Source: "x", Semver: "1.0.0"}), refused: ExistsError{What: CodeSemverExists, Name: "fraud/1.0.0"}, saying: "it is version 1"},
		{name: "a semantic version differs by more than build metadata", given: two, when: register(VersionSpec{Source: "x", Semver: "2.1.0+build.2"}), refused: ExistsError{What: CodeSemverExists, Name: "fraud/2.1.0+build.2"}, saying: "it is version 2"},
		{name: "a pre-release is another semantic version", given: two, when: register(VersionSpec{Source: "s3://models/x", Semver: "2.1.0-rc.1"}), then: version(fraud, 3, "2.1.0-rc.1")},
		{
			name: "two models may have the same semantic version", given: all(two, registered(churn, "churn")),
			when: &RegisterVersion{"churn", VersionSpec{Source: "s3://models/x", Semver: "1.0.0"}}, then: version(churn, 1, "1.0.0"),
		},

		{
			name: "the base model may be of another model, by any reference", given: all(two, registered(churn, "churn"), version(churn, 1, ""), assigned(churn, "champion", 1)),
			when: register(VersionSpec{Source: "s3://models/x", BaseModel: "churn@champion"}),
			then: events.VersionRegistered{ModelID: fraud, Version: 3, Source: "s3://models/x", BaseModel: &events.VersionID{ModelID: churn, Version: 1}},
		},
		{
			name: "the base model latest is the version before, not the new one", given: two, when: register(VersionSpec{Source: "s3://models/x", BaseModel: "fraud/latest"}),
			then: events.VersionRegistered{ModelID: fraud, Version: 3, Source: "s3://models/x", BaseModel: &events.VersionID{ModelID: fraud, Version: 2}},
		},
		{name: "an unknown base model is not found", given: one, when: register(VersionSpec{Source: "x", BaseModel: "churn/1"}), refused: NotFoundError{What: CodeModelNotFound, Name: "churn"}, saying: "/base_model"},
		{name: "an unknown version of a base model is not found", given: two, when: register(VersionSpec{Source: "x", BaseModel: "fraud/9"}), refused: NotFoundError{What: CodeVersionNotFound, Name: "fraud/9"}, saying: "/base_model"},
		{name: "a base model that is no reference is refused", given: one, when: register(VersionSpec{Source: "x", BaseModel: "fraud"}), refused: invalid("/base_model reference")},
		{name: "a base model with a bad reference within the model is refused", given: two, when: register(VersionSpec{Source: "x", BaseModel: "fraud/1/2"}), refused: invalid("/base_model reference")},

		{
			name: "a base model that is longer than any reference is refused", given: two, when: register(VersionSpec{Source: "x", BaseModel: "fraud/" + strings.Repeat("1", 600)}),
			refused: invalid("/base_model max_length"),
		},
		{
			name: "a base model with a reference within the model that is too long is refused", given: two, when: register(VersionSpec{Source: "x", BaseModel: "fraud/" + strings.Repeat("1", 257)}),
			refused: invalid("/base_model max_length"),
		},

		{name: "no source is refused", given: one, when: register(VersionSpec{}), refused: invalid("/source required")},
		{name: "a source of 4096 bytes is taken", given: one, when: register(VersionSpec{Source: strings.Repeat("s", 4_096)}), then: first(events.VersionRegistered{Source: strings.Repeat("s", 4_096)})},
		{name: "a source of 4097 bytes is refused, though it has fewer characters", given: one, when: register(VersionSpec{Source: strings.Repeat("s", 4_095) + "ö"}), refused: invalid("/source max_length")},
		{name: "a source with a line break is refused", given: one, when: register(VersionSpec{Source: "s3://x\n"}), refused: invalid("/source no_control_characters")},
		{name: "a source that isn't UTF-8 is refused", given: one, when: register(VersionSpec{Source: "s3://\xff"}), refused: invalid("/source utf8")},
		{name: "a run link is no place for credentials", given: one, when: register(VersionSpec{Source: "x", RunLink: "https://me:secret@tracker.example.org/"}), refused: invalid("/run_link no_credentials")},
		{name: "run link and logged model have limits", given: one, when: register(VersionSpec{
			Source: "x", RunLink: strings.Repeat("l", 4_095) + "ö", LoggedModel: strings.Repeat("m", 256),
		}), refused: invalid("/run_link max_length", "/logged_model max_length")},
		{name: "run link and logged model are one line each", given: one, when: register(VersionSpec{
			Source: "x", RunLink: "a\nb", LoggedModel: "a\tb",
		}), refused: invalid("/run_link no_control_characters", "/logged_model no_control_characters")},
		{name: "format, run id and description have limits", given: one, when: register(VersionSpec{
			Source: "x", Format: strings.Repeat("f", 256), RunID: "a\tb", Description: strings.Repeat("d", 100_001),
		}), refused: invalid("/format max_length", "/run_id no_control_characters", "/description max_length")},
		{name: "a semantic version has a limit", given: one, when: register(VersionSpec{Source: "x", Semver: "1.0.0-" + strings.Repeat("a", 250)}), refused: invalid("/semver max_length")},
		{name: "code needs a repository", given: one, when: register(VersionSpec{Source: "x", Code: &events.Code{Commit: "6e6d89b"}}), refused: invalid("/code/repository required")},
		{name: "a commit has a limit", given: one, when: register(VersionSpec{Source: "x", Code: &events.Code{Repository: "r", Commit: strings.Repeat("c", 256)}}), refused: invalid("/code/commit max_length")},
		{name: "2001 parameters are refused", given: one, when: register(VersionSpec{Source: "x", Parameters: numbered(2_001)}), refused: invalid("/parameters max_items")},
		{name: "2001 metrics are refused", given: one, when: register(VersionSpec{Source: "x", Metrics: measured(2_001)}), refused: invalid("/metrics max_items")},
		{name: "metrics need names", given: one, when: register(VersionSpec{Source: "x", Metrics: map[string]float64{"": 1, "a\n": 2}}), refused: invalid("/metrics/ required", "/metrics/a\n no_control_characters")},
		{name: "parameters need names, and have values of limited length", given: one, when: register(VersionSpec{Source: "x", Parameters: map[string]string{"": "1", "p": strings.Repeat("v", 100_001)}}), refused: invalid("/parameters/ required", "/parameters/p max_length")},
		{name: "201 tags are refused", given: one, when: register(VersionSpec{Source: "x", Tags: numbered(201)}), refused: invalid("/tags max_items")},

		{name: "a data set without a digest or a role is taken", given: one, when: register(VersionSpec{Source: "s3://models/x", Datasets: []events.Dataset{{Name: "payments"}}}), then: first(events.VersionRegistered{Datasets: []events.Dataset{{Name: "payments"}}})},
		{name: "a data set needs a name", given: one, when: register(VersionSpec{Source: "x", Datasets: []events.Dataset{{}}}), refused: invalid("/datasets/0/name required")},
		{name: "a data set's digest begins with sha256:", given: one, when: register(VersionSpec{Source: "x", Datasets: []events.Dataset{{Name: "d", Digest: digest}}}), refused: invalid("/datasets/0/digest sha256")},
		{name: "a data set's digest is in lower case", given: one, when: register(VersionSpec{Source: "x", Datasets: []events.Dataset{{Name: "d"}, {Name: "e", Digest: "sha256:" + strings.ToUpper(digest)}}}), refused: invalid("/datasets/1/digest sha256")},
		{name: "a data set's role is a word", given: one, when: register(VersionSpec{Source: "x", Datasets: []events.Dataset{{Name: "d", Role: "Train set"}}}), refused: invalid("/datasets/0/role role_characters")},
		{name: "1001 data sets are refused", given: one, when: register(VersionSpec{Source: "x", Datasets: datasets(1_001)}), refused: invalid("/datasets max_items")},
	})
}

func measured(n int) map[string]float64 {
	metrics := map[string]float64{}
	for i := range n {
		metrics[fmt.Sprintf("m%04d", i)] = float64(i)
	}
	return metrics
}

func datasets(n int) []events.Dataset {
	all := make([]events.Dataset, n)
	for i := range all {
		all[i].Name = fmt.Sprintf("d%04d", i)
	}
	return all
}

func TestArtifactsOfAVersion(t *testing.T) {
	digest := strings.Repeat("0123456789abcdef", 4)
	file := func(path string) events.Artifact { return events.Artifact{Path: path, SHA256: digest, Size: 1} }
	many := make([]events.Artifact, 1_001)
	for i := range many {
		many[i] = file(fmt.Sprintf("%04d", i))
	}
	for _, c := range []struct {
		name      string
		artifacts []events.Artifact
		refused   []string // fields with their rules, none for what is taken
	}{
		{"files in folders, with dots in their names, are taken", []events.Artifact{file("model.onnx"), file("a/b/..c"), file("..."), file("größe 日.txt")}, nil},
		{"an empty file is taken", []events.Artifact{{Path: "a", SHA256: digest}}, nil},
		{"1000 files are taken", many[:1_000], nil},
		{"1001 files are refused", many, []string{"/artifacts max_items"}},
		{"a file needs a path", []events.Artifact{file("")}, []string{"/artifacts/0/path required"}},
		{"an absolute path is refused", []events.Artifact{file("/etc/passwd")}, []string{"/artifacts/0/path relative_path"}},
		{"a path that climbs is refused at its beginning", []events.Artifact{file("../a")}, []string{"/artifacts/0/path relative_path"}},
		{"a path that climbs is refused in its middle", []events.Artifact{file("a"), file("a/../../b")}, []string{"/artifacts/1/path relative_path"}},
		{"a path that climbs is refused at its end", []events.Artifact{file("a/..")}, []string{"/artifacts/0/path relative_path"}},
		{"a path that is only .. is refused", []events.Artifact{file("..")}, []string{"/artifacts/0/path relative_path"}},
		{"a path that is there twice is refused", []events.Artifact{file("a"), file("b"), file("a")}, []string{"/artifacts/2/path unique"}},
		{"a path with a line break is refused", []events.Artifact{file("a\nb")}, []string{"/artifacts/0/path no_control_characters"}},
		{"a path of 4097 characters is refused", []events.Artifact{file(strings.Repeat("a", 4_097))}, []string{"/artifacts/0/path max_length"}},
		{"a file needs a digest", []events.Artifact{{Path: "a", Size: 1}}, []string{"/artifacts/0/sha256 sha256"}},
		{"a digest in upper case is refused", []events.Artifact{{Path: "a", SHA256: strings.ToUpper(digest)}}, []string{"/artifacts/0/sha256 sha256"}},
		{"a digest with its algorithm is refused", []events.Artifact{{Path: "a", SHA256: "sha256:" + digest}}, []string{"/artifacts/0/sha256 sha256"}},
		{"a digest of 63 digits is refused", []events.Artifact{{Path: "a", SHA256: digest[1:]}}, []string{"/artifacts/0/sha256 sha256"}},
		{"a negative size is refused", []events.Artifact{{Path: "a", SHA256: digest, Size: -1}}, []string{"/artifacts/0/size minimum"}},
		{"each file tells what is wrong with it", []events.Artifact{{}, file("/"), {Path: "b", Size: -1}}, []string{
			"/artifacts/0/path required", "/artifacts/0/sha256 sha256", "/artifacts/1/path relative_path", "/artifacts/2/sha256 sha256", "/artifacts/2/size minimum",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := (&RegisterVersion{"fraud", VersionSpec{Source: "x", Artifacts: c.artifacts}}).check()
			if len(c.refused) > 0 {
				wantRefusal(t, err, invalid(c.refused...), "")
			} else if err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// The log never forgets, so no secret may get in where one can be known.
func TestCredentialsInURIsAreRefused(t *testing.T) {
	for uri, refused := range map[string]bool{
		"s3://models/fraud/8":                         false,
		"/models/fraud@8/model.onnx":                  false,
		"models:/fraud/8":                             false,
		"https://example.org/a@b":                     false,
		"https://example.org/?to=a:b@c":               false,
		"ssh://git@example.org/fraud":                 false,
		"a//b:c@d":                                    false,
		"git@example.org:fraud.git":                   false,
		"abfss://container@account.dfs.net/fraud":     false,
		"https://user:secret@example.org/fraud":       true,
		"https://user:@example.org/fraud":             true,
		"https://token@example.org/fraud":             true,
		"HTTPS://token@example.org/fraud":             true,
		"http://:secret@example.org":                  true,
		"git+https://token@example.org/fraud":         true,
		"s3://key:secret@models/fraud":                true,
		"ftp://user:secret@example.org":               true,
		"postgres://user:secret@db/fraud":             true,
		"https://user:100%secret@example.org/":        true, // malformed, and a secret all the same
		"https://user:se cret@example.org/%zz":        true,
		"https://user:se@cret@example.org/":           true,
		"//user:secret@example.org/":                  true,
		"https://user:secret@example.org?a=b#c":       true,
		"file:///models/a:b@c":                        false,
		"C:\\models\\fraud":                           false,
		"hdfs://namenode:8020/user/models@production": false,
	} {
		t.Run(uri, func(t *testing.T) {
			for pointer, spec := range map[string]VersionSpec{
				"/source":          {Source: uri},
				"/code/repository": {Source: "x", Code: &events.Code{Repository: uri}},
			} {
				err := (&RegisterVersion{"fraud", spec}).check()
				if refused {
					wantRefusal(t, err, invalid(pointer+" no_credentials"), "must not hold credentials")
					if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "token") {
						t.Errorf("the secret is repeated: %v", err)
					}
				} else if err != nil {
					t.Errorf("refused: %v", err)
				}
			}
		})
	}
}

func TestPromoteVersion(t *testing.T) {
	promote := func(ref string, p Promotion) Command { return &PromoteVersion{"fraud", ref, p} }
	six := all(registered(fraud, "fraud"), versions(fraud, 6))
	sixth := modelAt(fraud)
	sixth.Version = 6
	staging := all(six, promoted(fraud, 6, "Staging"))
	// 1, 2, 3 and 5 in Production, 4 in Staging, 6 in None.
	crowded := all(
		six, promoted(fraud, 1, "Production"), promoted(fraud, 2, "Production"),
		promoted(fraud, 3, "Production"), promoted(fraud, 5, "Production"), promoted(fraud, 4, "Staging"),
	)
	moved := func(from, to string) events.Transition {
		return events.Transition{ModelID: fraud, Version: 6, From: from, To: to}
	}
	displacing := func(t events.Transition, displaced ...events.Range) events.Data {
		t.Displaced = displaced
		return events.VersionPromoted(t)
	}
	runScenarios(t, []scenario{
		{
			name: "a later stage is a promotion, with its reason", given: staging, when: promote("6", Promotion{To: "Production", Reason: "AUC +0.02"}),
			then: events.VersionPromoted{ModelID: fraud, Version: 6, From: "Staging", To: "Production", Reason: events.Plain("AUC +0.02")},
		},
		{name: "a stage may be skipped", given: six, when: promote("6", Promotion{To: "Production"}), then: events.VersionPromoted(moved("None", "Production"))},
		{name: "a stage is named in any case, and kept in its own", given: six, when: promote("6", Promotion{To: "sTAGING"}), then: events.VersionPromoted(moved("None", "Staging"))},
		{name: "an earlier stage is a demotion", given: all(six, promoted(fraud, 6, "Production")), when: promote("6", Promotion{To: "Staging"}), then: events.VersionDemoted(moved("Production", "Staging"))},
		{name: "back to the first stage is a demotion", given: staging, when: promote("6", Promotion{To: "none"}), then: events.VersionDemoted(moved("Staging", "None"))},
		{name: "the archive is an archiving, from wherever", given: staging, when: promote("6", Promotion{To: "Archived"}), then: events.VersionArchived(moved("Staging", "Archived"))},
		{name: "a new version can be archived", given: six, when: promote("6", Promotion{To: "archived"}), then: events.VersionArchived(moved("None", "Archived"))},
		{
			name: "out of the archive is a demotion", given: all(six, events.VersionArchived(moved("None", "Archived"))),
			when: promote("6", Promotion{To: "Production"}), then: events.VersionDemoted(moved("Archived", "Production")),
		},
		{name: "the stage that it is in already is nothing", given: staging, when: promote("6", Promotion{To: "Staging", Reason: "again"}), so: sixth},
		{name: "the first stage is where a new version is", given: six, when: promote("6", Promotion{To: "None"}), so: sixth},
		{name: "the reference may be an alias", given: all(staging, assigned(fraud, "champion", 6)), when: promote("@champion", Promotion{To: "Staging"}), so: sixth},
		{name: "the reference may be the stage it is in", given: staging, when: promote("staging", Promotion{To: "Production"}), then: events.VersionPromoted(moved("Staging", "Production"))},
		{
			name: "an unknown stage is refused with those that there are", given: six, when: promote("6", Promotion{To: "Prod"}),
			refused: invalid("/to stage"), saying: `"Prod" is not a stage of fraud; its stages are None, Staging, Production, Archived`,
		},
		{name: "a stage of 256 characters is refused", given: six, when: promote("6", Promotion{To: strings.Repeat("s", 256)}), refused: invalid("/to max_length")},
		{name: "no stage is refused", given: six, when: promote("6", Promotion{}), refused: invalid("/to required")},
		{name: "an unknown version is not found", given: six, when: promote("7", Promotion{To: "Staging"}), refused: NotFoundError{What: CodeVersionNotFound, Name: "fraud/7"}},
		{name: "an unknown model is not found", when: promote("1", Promotion{To: "Staging"}), refused: NotFoundError{What: CodeModelNotFound, Name: "fraud"}},
		{name: "a reason of 4000 characters is taken", given: six, when: promote("6", Promotion{To: "Staging", Reason: strings.Repeat("ö", 4_000)}), then: events.VersionPromoted{
			ModelID: fraud, Version: 6, From: "None", To: "Staging", Reason: events.Plain(strings.Repeat("ö", 4_000)),
		}},
		{name: "a reason of 4001 characters is refused", given: six, when: promote("6", Promotion{To: "Staging", Reason: strings.Repeat("r", 4_001)}), refused: invalid("/reason max_length")},

		{name: "without archive_existing others stay in the stage", given: crowded, when: promote("6", Promotion{To: "Production"}), then: events.VersionPromoted(moved("None", "Production"))},
		{
			name: "archive_existing displaces the others, told in ranges", given: crowded, when: promote("6", Promotion{To: "Production", ArchiveExisting: true}),
			then: displacing(moved("None", "Production"), events.Range{1, 3}, events.Range{5, 5}),
		},
		{
			name: "archive_existing with what is in the stage already displaces the others", given: all(crowded, promoted(fraud, 6, "Production")),
			when: promote("6", Promotion{To: "Production", ArchiveExisting: true}),
			then: displacing(moved("Production", "Production"), events.Range{1, 3}, events.Range{5, 5}),
		},
		{name: "archive_existing with nobody else in the stage displaces nobody", given: six, when: promote("6", Promotion{To: "Staging", ArchiveExisting: true}), then: events.VersionPromoted(moved("None", "Staging"))},
		{name: "archive_existing with what is in the stage alone is nothing", given: staging, when: promote("6", Promotion{To: "Staging", ArchiveExisting: true}), so: sixth},
		{
			name: "archive_existing leaves other models alone", given: all(six, registered(churn, "churn"), version(churn, 1, ""), promoted(churn, 1, "Production")),
			when: promote("6", Promotion{To: "Production", ArchiveExisting: true}), then: events.VersionPromoted(moved("None", "Production")),
		},
		{
			name: "archive_existing displaces on the way down, too", given: all(staging, promoted(fraud, 1, "Production")), when: promote("1", Promotion{To: "Staging", ArchiveExisting: true}),
			then: events.VersionDemoted{ModelID: fraud, Version: 1, From: "Production", To: "Staging", Displaced: []events.Range{{6, 6}}},
		},
		{name: "archive_existing is refused for the archive", given: crowded, when: promote("6", Promotion{To: "Archived", ArchiveExisting: true}), refused: invalid("/archive_existing active_stage"), saying: "Archived"},
		{name: "archive_existing is refused for the first stage", given: crowded, when: promote("4", Promotion{To: "None", ArchiveExisting: true}), refused: invalid("/archive_existing active_stage"), saying: "None"},
	})
}

// An event's consequences ride inside it, so the fold must carry them out.
func TestDisplacedVersionsAreInTheArchive(t *testing.T) {
	state := fold(all(
		registered(fraud, "fraud"), versions(fraud, 3), promoted(fraud, 1, "Production"), promoted(fraud, 2, "Production"),
		events.VersionPromoted{ModelID: fraud, Version: 3, From: "None", To: "Production", Displaced: []events.Range{{1, 2}}},
	)...)
	for number, want := range map[int]string{1: "Archived", 2: "Archived", 3: "Production"} {
		if v, _, _ := state.At(state.Applied()).Version(events.VersionID{ModelID: fraud, Version: number}); v.Stage != want {
			t.Errorf("version %d is in %s, want %s", number, v.Stage, want)
		}
	}
}
