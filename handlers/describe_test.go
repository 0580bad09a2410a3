package handlers

import (
	"strconv"
	"testing"

	"github.com/modelog/modelog/events"
)

func TestDescribe(t *testing.T) {
	text := func(s string) *string { return &s }
	plain := func(s string) *events.Text { return &events.Text{Plain: s} }
	tagged := events.ModelRegistered{ModelID: fraud, Name: "fraud", Description: events.Plain("old"), Tags: map[string]string{"a": "1", "b": "2"}}
	model := all(tagged, versions(fraud, 1))
	describe := func(ch Changes) Command { return &DescribeModel{"fraud", ch} }
	full := map[string]string{}
	for i := range MaxTags - 1 {
		full["t"+strconv.Itoa(i)] = ""
	}
	runScenarios(t, []scenario{
		{name: "a description changes", given: model, when: describe(Changes{Description: text("new")}), then: events.ModelDescribed{ModelID: fraud, Description: plain("new")}},
		{name: "an empty description removes it", given: model, when: describe(Changes{Description: text("")}), then: events.ModelDescribed{ModelID: fraud, Description: plain("")}},
		{
			name: "the event has only what really changes", given: model,
			when: describe(Changes{Description: text("old"), Tags: map[string]string{"a": "1", "c": "3"}, RemovedTags: []string{"b", "z"}}),
			then: events.ModelDescribed{ModelID: fraud, Tags: map[string]string{"c": "3"}, RemovedTags: []string{"b"}},
		},
		{name: "all tags go but those that are set", given: model, when: describe(Changes{AllTags: true, Tags: map[string]string{"b": "2"}}), then: events.ModelDescribed{ModelID: fraud, RemovedTags: []string{"a"}}},
		{name: "what is so already is nothing", given: model, when: describe(Changes{Description: text("old"), Tags: map[string]string{"a": "1"}, RemovedTags: []string{"z"}}), so: modelAt(fraud)},
		{name: "no change is nothing", given: model, when: describe(Changes{}), so: modelAt(fraud)},
		{name: "more than 200 tags in the end are refused", given: model, when: describe(Changes{Tags: full}), refused: invalid("/tags max_items")},
		{name: "a version is described alike", given: model, when: &DescribeVersion{"fraud", "1", Changes{Tags: map[string]string{"x": "y"}}}, then: events.VersionDescribed{ModelID: fraud, Version: 1, Tags: map[string]string{"x": "y"}}},
		{name: "a version that isn't there is not found", given: model, when: &DescribeVersion{"fraud", "2", Changes{}}, refused: NotFoundError{What: CodeVersionNotFound, Name: "fraud/2"}},
		{name: "a target gets another description", given: all(defined(scorer, "scorer")), when: &DefineTarget{prodScorer, TargetSpec{"new"}}, then: events.TargetDescribed{TargetID: scorer, Description: events.Plain("new")}},
	})
}

func TestRenameModel(t *testing.T) {
	rename := func(to string) Command { return &RenameModel{"fraud", Renaming{To: to}} }
	model := all(registered(fraud, "fraud"), versions(fraud, 1), registered(churn, "churn"))
	renamed := events.ModelRenamed{ModelID: fraud, From: "fraud", To: "card-fraud"}
	runScenarios(t, []scenario{
		{name: "a model gets another name", given: model, when: rename("card-fraud"), then: renamed},
		{name: "the name it has is nothing", given: model, when: rename("fraud"), so: modelAt(fraud)},
		{name: "a name that is taken is refused", given: model, when: rename("churn"), refused: ExistsError{What: CodeModelExists, Name: "model churn"}},
		{name: "names are held to the same rules", given: model, when: rename("a/b"), refused: invalid("/to no_slash_or_colon")},
		{name: "the old name is free", given: all(model, renamed), when: &RegisterModel{ModelSpec{Name: "fraud"}}, then: events.ModelRegistered{ModelID: newID, Name: "fraud"}},
		{name: "its versions are found under the new name", given: all(model, renamed), when: &PromoteVersion{"card-fraud", "1", Promotion{To: "Staging"}}, then: promoted(fraud, 1, "Staging")},
		{name: "and not under the old one", given: all(model, renamed), when: &PromoteVersion{"fraud", "1", Promotion{To: "Staging"}}, refused: NotFoundError{What: CodeModelNotFound, Name: "fraud"}},
	})
}

func TestBump(t *testing.T) {
	signature := &events.Signature{Inputs: []events.Object{{"name": "x"}}}
	data := []events.Dataset{{Name: "d"}}
	code := &events.Code{Repository: "r"}
	before := events.VersionRegistered{ModelID: fraud, Version: 1, Semver: "1.2.3", Source: "s3://x", Signature: signature, Datasets: data, Code: code}
	same := VersionSpec{Source: "s3://x", Signature: signature, Datasets: data, Code: code}
	bump := func(how string, edit func(*VersionSpec)) Command {
		s := same
		s.Bump = how
		if edit != nil {
			edit(&s)
		}
		return &RegisterVersion{"fraud", s}
	}
	then := func(number int, semver string, edit func(*events.VersionRegistered)) events.Data {
		e := before
		e.Version, e.Semver = number, semver
		if edit != nil {
			edit(&e)
		}
		return e
	}
	model := all(registered(fraud, "fraud"), before)
	runScenarios(t, []scenario{
		{name: "the first is 1.0.0", given: all(registered(fraud, "fraud")), when: bump("auto", nil), then: then(1, "1.0.0", nil)},
		{name: "major", given: model, when: bump("major", nil), then: then(2, "2.0.0", nil)},
		{name: "minor", given: model, when: bump("minor", nil), then: then(2, "1.3.0", nil)},
		{name: "patch", given: model, when: bump("patch", nil), then: then(2, "1.2.4", nil)},
		{name: "auto: the same is a patch", given: model, when: bump("auto", nil), then: then(2, "1.2.4", nil)},
		{name: "auto: another signature is major", given: model, when: bump("auto", func(s *VersionSpec) { s.Signature = &events.Signature{} }), then: then(2, "2.0.0", func(e *events.VersionRegistered) { e.Signature = &events.Signature{} })},
		{name: "auto: a signature that is absent is another", given: model, when: bump("auto", func(s *VersionSpec) { s.Signature = nil }), then: then(2, "2.0.0", func(e *events.VersionRegistered) { e.Signature = nil })},
		{name: "auto: other data is minor", given: model, when: bump("auto", func(s *VersionSpec) { s.Datasets = nil }), then: then(2, "1.3.0", func(e *events.VersionRegistered) { e.Datasets = nil })},
		{name: "auto: other code is minor", given: model, when: bump("auto", func(s *VersionSpec) { s.Code = &events.Code{Repository: "q"} }), then: then(2, "1.3.0", func(e *events.VersionRegistered) { e.Code = &events.Code{Repository: "q"} })},
		{
			name: "auto: a base model that wasn't there is minor", given: model, when: bump("auto", func(s *VersionSpec) { s.BaseModel = "fraud/1" }),
			then: then(2, "1.3.0", func(e *events.VersionRegistered) { e.BaseModel = &events.VersionID{ModelID: fraud, Version: 1} }),
		},
		{name: "the bump is from the highest, not from the newest", given: all(model, version(fraud, 2, "1.0.0")), when: bump("patch", nil), then: then(3, "1.2.4", nil)},
		{name: "also from one that was deleted", given: all(model, events.VersionDeleted{ModelID: fraud, Version: 1}), when: bump("minor", nil), then: then(2, "1.3.0", nil)},
		{name: "not together with semver", given: model, when: bump("patch", func(s *VersionSpec) { s.Semver = "3.0.0" }), refused: invalid("/bump not_with_semver")},
		{name: "no other word", given: model, when: bump("huge", nil), refused: invalid("/bump enum")},
	})
}
