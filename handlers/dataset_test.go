package handlers

import (
	"strings"
	"testing"

	"github.com/modelog/modelog/events"
)

var lake = events.DatasetVersion{Namespace: "s3://lake", Name: "payments", Version: "7"}

func withdrawn(d events.DatasetVersion) events.Data {
	return events.DatasetWithdrawn{RegistryID: registryID, Dataset: d}
}

func datasetAt(d events.DatasetVersion) events.Resource {
	return events.Resource{Root: events.Root{Kind: events.RegistryRoot, ID: registryID}, Dataset: d.DatasetName()}
}

func TestWithdrawDataset(t *testing.T) {
	change := DatasetChange{Namespace: "s3://lake", Name: "payments", Version: "7", Reason: "no consent"}
	whole := events.DatasetVersion{Namespace: "s3://lake", Name: "payments"}
	wrong := func(edit func(*DatasetChange)) Command {
		c := change
		edit(&c)
		return &WithdrawDataset{c}
	}
	runScenarios(t, []scenario{
		{name: "a version is withdrawn", when: &WithdrawDataset{change}, then: events.DatasetWithdrawn{RegistryID: registryID, Dataset: lake, Reason: events.Plain("no consent")}},
		{name: "the same again is nothing", given: all(withdrawn(lake)), when: &WithdrawDataset{change}, so: datasetAt(lake)},
		{name: "all versions are another withdrawal", given: all(withdrawn(lake)), when: &WithdrawDataset{DatasetChange{Namespace: "s3://lake", Name: "payments"}}, then: withdrawn(whole)},
		{name: "what was reinstated can be withdrawn again", given: all(withdrawn(lake), events.DatasetReinstated{RegistryID: registryID, Dataset: lake}), when: &WithdrawDataset{DatasetChange{Namespace: "s3://lake", Name: "payments", Version: "7"}}, then: withdrawn(lake)},
		{name: "a reinstatement takes it back", given: all(withdrawn(lake)), when: &ReinstateDataset{change}, then: events.DatasetReinstated{RegistryID: registryID, Dataset: lake, Reason: events.Plain("no consent")}},
		{name: "reinstating what isn't withdrawn is nothing", given: all(withdrawn(whole)), when: &ReinstateDataset{change}, so: datasetAt(lake)},
		{name: "a name is required", when: wrong(func(c *DatasetChange) { c.Name = "" }), refused: invalid("/name required")},
		{name: "a name holds no control character", when: wrong(func(c *DatasetChange) { c.Name = "a\n" }), refused: invalid("/name no_control_characters")},
		{name: "a namespace holds no password", when: wrong(func(c *DatasetChange) { c.Namespace = "postgres://me:secret@db" }), refused: invalid("/namespace no_credentials")},
		{name: "a version of 256 characters is refused", when: wrong(func(c *DatasetChange) { c.Version = strings.Repeat("v", 256) }), refused: invalid("/version max_length")},
		{name: "a digest of 256 characters is refused", when: wrong(func(c *DatasetChange) { c.Digest = strings.Repeat("d", 256) }), refused: invalid("/digest max_length")},
		{name: "a reason of 4001 characters is refused", when: wrong(func(c *DatasetChange) { c.Reason = strings.Repeat("r", 4_001) }), refused: invalid("/reason max_length")},
	})
}

func TestAVersionOfWithdrawnDataIsNotNewlyUsed(t *testing.T) {
	trained := events.VersionRegistered{
		ModelID: fraud, Version: 1, Source: "s3://models/x", Datasets: []events.Dataset{{Name: "payments", Role: "train"}},
	}
	model := all(registered(fraud, "fraud"), trained, version(fraud, 2, ""), defined(scorer, "scorer"))
	marked := all(model, withdrawn(lake))
	refusal := func(verb string) Refusal {
		return WithdrawnDataError{Version: "fraud/1", Datasets: []string{"dataset:s3://lake:payments@7 (same_name)"}, Verb: verb}
	}
	promote := func(p Promotion) Command { return &PromoteVersion{"fraud", "1", p} }
	deploy := func(d Deployment) Command {
		d.Model, d.Ref = "fraud", "1"
		return &DeployVersion{prodScorer, d}
	}
	derived := events.VersionRegistered{ModelID: fraud, Version: 3, Source: "s3://models/y", BaseModel: &events.VersionID{ModelID: fraud, Version: 1}}
	runScenarios(t, []scenario{
		{
			name: "it isn't promoted", given: marked, when: promote(Promotion{To: "Production"}), refused: refusal("promote"),
			saying: "fraud/1 comes from withdrawn data: dataset:s3://lake:payments@7 (same_name); promote a version without it, or pass force with a reason",
		},
		{name: "it is promoted by force", given: marked, when: promote(Promotion{To: "Production", Force: true, Reason: "justified"}), then: events.VersionPromoted{ModelID: fraud, Version: 1, From: "None", To: "Production", Reason: events.Plain("justified"), Forced: true}},
		{name: "force needs a reason", given: marked, when: promote(Promotion{To: "Production", Force: true}), refused: invalid("/reason required_if_forced")},
		{name: "it can be archived", given: marked, when: promote(Promotion{To: "Archived"}), then: events.VersionArchived{ModelID: fraud, Version: 1, From: "None", To: "Archived"}},
		{name: "it isn't deployed", given: marked, when: deploy(Deployment{}), refused: refusal("deploy"), saying: "deploy a version without it"},
		{name: "it is deployed by force", given: marked, when: deploy(Deployment{Force: true, Reason: "justified"}), then: events.DeploymentDeployed{TargetID: scorer, Strategy: "all_at_once", Variants: allOf(fraud, 1), Reason: events.Plain("justified"), Forced: true}},
		{name: "it is rolled back to", given: all(model, deployed(scorer, fraud, 1), deployed(scorer, fraud, 2), withdrawn(lake)), when: &RollBack{prodScorer, Rollback{}}, then: rolledBack(scorer, 7, 6, fraud, 1)},
		{name: "another version is promoted", given: marked, when: &PromoteVersion{"fraud", "2", Promotion{To: "Production"}}, then: promoted(fraud, 2, "Production")},
		{name: "what was derived from it isn't promoted", given: all(marked, derived), when: &PromoteVersion{"fraud", "3", Promotion{To: "Production"}}, refused: WithdrawnDataError{Version: "fraud/3", Datasets: []string{"dataset:s3://lake:payments@7 (same_name)"}, Verb: "promote"}},
		{name: "it is promoted once the data is reinstated", given: all(marked, events.DatasetReinstated{RegistryID: registryID, Dataset: lake}), when: promote(Promotion{To: "Production"}), then: promoted(fraud, 1, "Production")},
	})
}

func TestRecordEdges(t *testing.T) {
	model := all(registered(fraud, "fraud"), versions(fraud, 2))
	record := func(from string, kind events.LineageType, to string) Command {
		return &RecordEdges{LineageEdges{Edges: []LineageEdge{{From: from, To: to, Type: kind}}}}
	}
	recorded := events.LineageRecorded{RegistryID: registryID, Edges: []events.LineageEdge{{
		From: events.VersionID{ModelID: fraud, Version: 1}.Node(), To: lake.Node(), Type: events.WasDerivedFrom,
	}}}
	lakeID := "dataset:s3://lake:payments@7"
	registry := events.Resource{Root: events.Root{Kind: events.RegistryRoot, ID: registryID}}
	many := &RecordEdges{}
	for range MaxEdges + 1 {
		many.Recording.Edges = append(many.Recording.Edges, LineageEdge{From: "run:a", To: "run:b", Type: events.WasInformedBy})
	}
	runScenarios(t, []scenario{
		{name: "a version was derived from a data set", given: model, when: record("version:fraud/1", events.WasDerivedFrom, lakeID), then: recorded},
		{name: "what is there already is nothing", given: all(model, recorded), when: record("version:fraud/1", events.WasDerivedFrom, lakeID), so: registry},
		{name: "an edge that is there twice is recorded once", given: model, when: &RecordEdges{LineageEdges{Edges: []LineageEdge{
			{From: "version:fraud/1", To: lakeID, Type: events.WasDerivedFrom}, {From: "version:fraud/1", To: lakeID, Type: events.WasDerivedFrom},
		}}}, then: recorded},
		{name: "a run is not derived", given: model, when: record("run:a", events.WasDerivedFrom, lakeID), refused: invalid("/edges/0/type kinds"), saying: "wasDerivedFrom can't begin at a run: a data set, feature, model or artifact was derived from another one, or from code"},
		{name: "a version is not generated by a data set", given: model, when: record("version:fraud/1", events.WasGeneratedBy, lakeID), refused: invalid("/edges/0/type kinds"), saying: "can't end at a dataset_version"},
		{name: "a data set is no version of a model", given: model, when: record(lakeID, events.SpecializationOf, "version:fraud/1"), refused: invalid("/edges/0/type kinds")},
		{name: "nothing is derived from itself", given: model, when: record("version:fraud/1", events.WasDerivedFrom, "version:fraud/1"), refused: invalid("/edges/0/type not_itself")},
		{name: "what runs on a target is told by deployments", given: all(model, defined(scorer, "scorer")), when: record("target:prod/scorer", events.Used, "version:fraud/1"), refused: invalid("/edges/0/type kinds")},
		{name: "an unknown type is refused", given: model, when: record("run:a", "caused", "run:b"), refused: invalid("/edges/0/type enum")},
		{name: "an unknown kind is refused", given: model, when: record("thing:a", events.WasInformedBy, "run:b"), refused: invalid("/edges/0/from node")},
		{name: "an unknown version is not found", given: model, when: record("version:fraud/9", events.WasDerivedFrom, lakeID), refused: NotFoundError{What: CodeVersionNotFound, Name: "fraud/9"}},
		{name: "an unknown target is not found", given: model, when: record("run:a", events.Used, "target:prod/other"), refused: NotFoundError{What: CodeTargetNotFound, Name: "prod/other"}},
		{name: "no edges are refused", given: model, when: &RecordEdges{}, refused: invalid("/edges min_items")},
		{name: "1001 edges are refused", given: model, when: many, refused: invalid("/edges max_items")},
	})
}

func TestReportLineage(t *testing.T) {
	report := LineageReport{
		Format: events.OpenLineage, RunID: "r", Job: events.Job{Namespace: "airflow", Name: "fit"}, State: events.RunComplete,
		Inputs: []events.DatasetVersion{lake}, Raw: "{}",
	}
	event := events.LineageReported{
		RegistryID: registryID, Format: events.OpenLineage, RunID: "r", Job: report.Job, State: events.RunComplete, Inputs: report.Inputs, Raw: "{}",
	}
	wrong := func(edit func(*LineageReport)) Command {
		r := report
		edit(&r)
		return &ReportLineage{r}
	}
	many := make([]events.DatasetVersion, MaxRunInputs+1)
	for i := range many {
		many[i].Name = "x"
	}
	runScenarios(t, []scenario{
		{name: "a report is kept", when: &ReportLineage{report}, then: event},
		{name: "a report is kept again", given: all(event), when: &ReportLineage{report}, then: event},
		{name: "the format is known", when: wrong(func(r *LineageReport) { r.Format = "other" }), refused: invalid("/format enum")},
		{name: "a job has a name", when: wrong(func(r *LineageReport) { r.Job.Name = "" }), refused: invalid("/job/name required")},
		{name: "a state is one of a run's", when: wrong(func(r *LineageReport) { r.State = "DONE" }), refused: invalid("/state enum")},
		{name: "an input has a name", when: wrong(func(r *LineageReport) { r.Inputs = []events.DatasetVersion{{}} }), refused: invalid("/inputs/0/name required")},
		{name: "1001 outputs are refused", when: wrong(func(r *LineageReport) { r.Outputs = many }), refused: invalid("/outputs max_items")},
	})
}

// TestNodesAreSpelledAsTheyAreRead reads each spelling, and spells what was read.
func TestNodesAreSpelledAsTheyAreRead(t *testing.T) {
	v := fold(all(registered(fraud, "fraud"), versions(fraud, 1), defined(scorer, "scorer"))...)
	view := v.At(v.Applied())
	dataset := func(namespace, name, version, digest string) events.LineageNode {
		return events.DatasetVersion{Namespace: namespace, Name: name, Version: version, Digest: digest}.Node()
	}
	for spelled, want := range map[string]events.LineageNode{
		"version:fraud/1":                 events.VersionID{ModelID: fraud, Version: 1}.Node(),
		"target:prod/scorer":              {Kind: events.TargetNode, TargetID: scorer},
		"dataset:payments":                dataset("", "payments", "", ""),
		"dataset::pay:ments":              dataset("", "pay:ments", "", ""),
		"dataset:s3://lake:payments/10":   dataset("s3://lake", "payments/10", "", ""),
		"dataset:s3://lake:a:b@7":         dataset("s3://lake", "a:b", "7", ""),
		"dataset:pg://db%3A5432:t#md5:1":  dataset("pg://db:5432", "t", "", "md5:1"),
		"dataset:a://c@h:x@7#sha256:0":    dataset("a://c@h", "x", "7", "sha256:0"),
		"dataset:file:/tmp/x%40y%23z":     dataset("file", "/tmp/x@y#z", "", ""),
		"dataset:file:%2F/tmp/x":          dataset("file", "//tmp/x", "", ""),
		"dataset:100%25:x":                dataset("100%", "x", "", ""),
		"feature:feast:f":                 {Kind: events.FeatureNode, Namespace: "feast", Name: "f"},
		"job:airflow:dag.task":            {Kind: events.JobNode, Namespace: "airflow", Name: "dag.task"},
		"run:b4f1":                        {Kind: events.RunNode, Name: "b4f1"},
		"code:git%40example.org:x@6e6d89": {Kind: events.CodeNode, Name: "git@example.org:x", Version: "6e6d89"},
		"base_model:hf/llama":             {Kind: events.BaseModelNode, Name: "hf/llama"},
		"artifact:s3://models/x":          {Kind: events.ArtifactNode, Name: "s3://models/x"},
		"artifact:#sha256:0":              {Kind: events.ArtifactNode, Digest: "sha256:0"},
	} {
		got, err := ParseNode(view, "node", spelled)
		if err != nil || got != want {
			t.Errorf("%s is read as %+v, %v, want %+v", spelled, got, err, want)
		}
		if again := NodeName(view, got); again != spelled {
			t.Errorf("%s is spelled %s", spelled, again)
		}
	}
	for _, wrong := range []string{"", "x", "dataset:", "dataset:a:", "dataset:a@", "dataset:a#", "dataset:a%", "artifact:", "run:", "thing:x", "version:fraud", "run:\n"} {
		if n, err := ParseNode(view, "node", wrong); CodeOf(err) != CodeInvalid {
			t.Errorf("%q is read as %+v, %v", wrong, n, err)
		}
	}
	if _, err := ParseNode(view, "node", "run:"+strings.Repeat("x", MaxNode)); CodeOf(err) != CodeInvalid {
		t.Errorf("a node of any length is read: %v", err)
	}
}
