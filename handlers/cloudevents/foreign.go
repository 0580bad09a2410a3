package cloudevents

import (
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
)

// foreignRow says what an event of another vocabulary stands for. The version of
// the type follows the prefix.
type foreignRow struct {
	prefix string
	call   func(event.Event) (Call, error)
}

// OpenLineage begins the types of events whose data is an OpenLineage event. Map
// gives no command for them: the dialect reads the data itself.
const OpenLineage = "io.openlineage."

// foreignRows are the types of others from which something follows here. CDEvents'
// artifacts and services are those that a package URL says to be models.
var foreignRows = []foreignRow{
	{"dev.cdevents.artifact.packaged.", artifactPublished},
	{"dev.cdevents.artifact.published.", artifactPublished},
	{"dev.cdevents.service.deployed.", serviceDeployed},
	{"dev.cdevents.service.upgraded.", serviceDeployed},
	{"dev.cdevents.service.rolledback.", serviceRolledBack},
	{"dev.cdevents.service.removed.", serviceRemoved},
	{OpenLineage, func(event.Event) (Call, error) { return Call{pointers: openLineagePointers}, nil }},
}

var openLineagePointers = map[string]string{
	"/run_id": "/data/run/runId", "/parent_run": "/data/run/facets/parent/run/runId", "/raw": "/data",
}

// cdEvent is what is read of a CDEvent (cdevents.dev, 0.3 to 0.5).
type cdEvent struct {
	Subject struct {
		ID      string `json:"id"`
		Content struct {
			Environment struct {
				ID string `json:"id"`
			} `json:"environment"`
			ArtifactID string `json:"artifactId"`
		} `json:"content"`
	} `json:"subject"`
}

const (
	subjectID     = "/data/subject/id"
	environmentID = "/data/subject/content/environment/id"
	artifactID    = "/data/subject/content/artifactId"
)

func readCDEvent(e event.Event) (ce cdEvent, err error) {
	if len(e.DataEncoded) == 0 {
		return ce, invalid("/data", "required", "is required: a CDEvent")
	}
	if err := json.Unmarshal(e.DataEncoded, &ce); err != nil {
		return ce, invalid("/data", "cdevent", "is not a CDEvent: %v", err)
	}
	if ce.Subject.ID == "" {
		return ce, invalid(subjectID, "required", "is required")
	}
	return ce, nil
}

// artifactPublished registers the version that a package URL names.
func artifactPublished(e event.Event) (Call, error) {
	ce, err := readCDEvent(e)
	if err != nil {
		return Call{}, err
	}
	model, err := parseModelURL(subjectID, ce.Subject.ID)
	if err != nil {
		return Call{}, err
	}
	spec := handlers.VersionSpec{Source: model.source}
	if number, err := strconv.Atoi(model.version); err == nil {
		spec.Version = number
	} else {
		spec.Semver = model.version
	}
	return Call{
		Command:  &handlers.RegisterVersion{Model: model.name, Spec: spec},
		pointers: map[string]string{"model": subjectID, "/version": subjectID, "/semver": subjectID, "/source": subjectID},
	}, nil
}

func serviceDeployed(e event.Event) (Call, error) {
	ce, model, err := readService(e)
	return Call{
		Command: &handlers.DeployVersion{
			Target: ce.target(), Deployment: handlers.Deployment{Model: model.name, Ref: model.version},
		},
		pointers: servicePointers,
	}, err
}

func serviceRolledBack(e event.Event) (Call, error) {
	ce, model, err := readService(e)
	return Call{
		Command:  &handlers.RollBackToVersion{Target: ce.target(), Model: model.name, Ref: model.version},
		pointers: servicePointers,
	}, err
}

func serviceRemoved(e event.Event) (Call, error) {
	ce, err := readCDEvent(e)
	return Call{Command: &handlers.Undeploy{Target: ce.target()}, pointers: servicePointers}, err
}

var servicePointers = map[string]string{
	"environment": environmentID, "name": subjectID, "/model": artifactID, "/ref": artifactID,
}

func readService(e event.Event) (ce cdEvent, model modelURL, err error) {
	if ce, err = readCDEvent(e); err == nil {
		model, err = parseModelURL(artifactID, ce.Subject.Content.ArtifactID)
	}
	return ce, model, err
}

// target names the target that a service in an environment is: ids of CDEvents may
// be paths, such as service/scorer.
func (ce cdEvent) target() projections.TargetName {
	return projections.TargetName{Environment: path.Base(ce.Subject.Content.Environment.ID), Name: path.Base(ce.Subject.ID)}
}

// modelURL is a package URL (purl) of a model's version.
type modelURL struct {
	name, version string
	source        string // where its files are
}

// parseModelURL reads pkg:mlflow/<model>@<version>, or pkg:generic with a
// download_url. The version is a number or a semantic version.
func parseModelURL(pointer, purl string) (modelURL, error) {
	fail := func(why string) (modelURL, error) {
		return modelURL{}, invalid(pointer, "model_purl", "%q %s; a model is pkg:mlflow/<model>@<version>, or pkg:generic/<model>@<version>?download_url=<source>", purl, why)
	}
	rest, ok := strings.CutPrefix(purl, "pkg:")
	if !ok {
		return fail("is not a package URL")
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	qualifiers, err := url.ParseQuery(query)
	kind, name, _ := strings.Cut(strings.Trim(rest, "/"), "/")
	at := strings.LastIndexByte(name, '@')
	if err != nil || at <= 0 || at == len(name)-1 {
		return fail("names no version")
	}
	m := modelURL{source: qualifiers.Get("download_url")}
	if m.name, err = url.PathUnescape(name[:at]); err != nil || strings.Contains(name[:at], "/") {
		return fail("has a name that is no model's")
	}
	if m.version, err = url.PathUnescape(name[at+1:]); err != nil {
		return fail("has a version that can't be read")
	}
	switch {
	case kind == "mlflow" && m.source == "":
		m.source = purl
	case kind == "generic" && m.source == "" && pointer == subjectID:
		return fail("doesn't say where the files are")
	case kind != "mlflow" && kind != "generic":
		return fail("is of a kind that isn't for models")
	}
	return m, nil
}
