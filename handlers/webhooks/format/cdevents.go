package format

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
)

// cdKinds are the events that CDEvents has words for.
var cdKinds = map[string]bool{
	"version.registered.v1": true, "version.deleted.v1": true,
	"deployment.deployed.v1": true, "deployment.rolled_back.v1": true, "deployment.withdrawn.v1": true,
}

// CDEvents 0.4.1, the last release in which events say their subject's type, as the
// SDKs expect. Each type has a version of its own.
const (
	cdVersion = "0.4.1"
	cdType    = "application/cdevents+json"

	artifactPublished = "dev.cdevents.artifact.published.0.2.0"
	artifactDeleted   = "dev.cdevents.artifact.deleted.0.1.0"
	serviceDeployed   = "dev.cdevents.service.deployed.0.2.0"
	serviceUpgraded   = "dev.cdevents.service.upgraded.0.2.0"
	serviceRolledBack = "dev.cdevents.service.rolledback.0.2.0"
	serviceRemoved    = "dev.cdevents.service.removed.0.2.0"
)

// cdEnvelope is a CDEvent in a structured CloudEvent.
type cdEnvelope struct {
	SpecVersion  string `json:"specversion"`
	ID           string `json:"id"`
	Source       string `json:"source"`
	Type         string `json:"type"`
	Subject      string `json:"subject"`
	Time         string `json:"time"`
	ContentType  string `json:"datacontenttype"`
	PartitionKey string `json:"partitionkey"`
	Sequence     string `json:"sequence"`
	TraceParent  string `json:"traceparent,omitempty"`
	Data         cdData `json:"data"`
}

type cdData struct {
	Context cdContext `json:"context"`
	Subject cdSubject `json:"subject"`
}

type cdContext struct {
	Version   string `json:"version"`
	ID        string `json:"id"`
	Source    string `json:"source"`
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"`
}

type cdSubject struct {
	ID      string `json:"id"`
	Source  string `json:"source"`
	Type    string `json:"type"`
	Content any    `json:"content"`
}

// The contents of subjects: of an artifact, and of a service.
type (
	cdArtifact struct {
		User string `json:"user,omitempty"`
	}
	cdService struct {
		Environment cdReference `json:"environment"`
		ArtifactID  string      `json:"artifactId,omitempty"`
	}
	cdReference struct {
		ID string `json:"id"`
	}
)

// cdEvent gives the CDEvent that an event is.
func (f *Formats) cdEvent(e events.Event) ([][]byte, error) {
	kind, subject := f.cdSubject(e)
	if kind == "" {
		return nil, nil
	}
	subject.Source = e.Source()
	at := events.FormatTime(e.Happened())
	body, err := json.Marshal(cdEnvelope{
		SpecVersion: "1.0", ID: e.ID.String(), Source: e.Source(), Type: kind, Subject: subject.ID, Time: at, ContentType: cdType,
		PartitionKey: e.Data.Resource().Root.ID.String(), Sequence: events.FormatSequence(e.Sequence), TraceParent: e.TraceParent,
		Data: cdData{cdContext{cdVersion, e.ID.String(), e.Source(), kind, at}, subject},
	})
	if err != nil {
		return nil, fmt.Errorf("write the CDEvent: %w", err)
	}
	return [][]byte{body}, nil
}

// cdSubject gives the type of the CDEvent and what it is about, empty for none.
func (f *Formats) cdSubject(e events.Event) (kind string, subject cdSubject) {
	switch d := e.Data.(type) { //nolint:gochecksumtype // CDEvents has no words for the others
	case events.VersionRegistered:
		purl := f.modelURL(e.Sequence, events.VersionID{ModelID: d.ModelID, Version: d.Version})
		if d.Source != purl {
			purl += "?download_url=" + url.QueryEscape(d.Source)
		}
		return artifactPublished, cdSubject{ID: purl, Type: "artifact", Content: cdArtifact{e.Principal}}
	case events.VersionDeleted:
		purl := f.modelURL(e.Sequence, events.VersionID{ModelID: d.ModelID, Version: d.Version})
		return artifactDeleted, cdSubject{ID: purl, Type: "artifact", Content: cdArtifact{e.Principal}}
	case events.DeploymentDeployed:
		kind = serviceDeployed
		if table, _, ok := f.At(e.Sequence - 1).Routes(d.TargetID); ok && len(table.Variants) > 0 {
			kind = serviceUpgraded
		}
		return kind, f.cdService(e, d.Variants)
	case events.DeploymentRolledBack:
		return serviceRolledBack, f.cdService(e, d.Variants)
	case events.DeploymentWithdrawn:
		return serviceRemoved, f.cdService(e, nil)
	}
	return "", cdSubject{}
}

// cdService is a target: the environment that a service runs in, and its name.
func (f *Formats) cdService(e events.Event, variants []events.Variant) cdSubject {
	service := cdService{}
	names := named(e.Subject)
	service.Environment.ID = names[1]
	if v, ok := champion(variants); ok {
		service.ArtifactID = f.modelURL(e.Sequence, events.VersionID{ModelID: v.ModelID, Version: v.Version})
	}
	return cdSubject{ID: names[len(names)-1], Type: "service", Content: service}
}

// champion gives the version that a route table is known by: a CDEvent has room for one.
func champion(variants []events.Variant) (first events.Variant, ok bool) {
	for _, v := range variants {
		if v.Role == events.RoleChampion {
			return v, true
		}
	}
	if len(variants) == 0 {
		return first, false
	}
	return variants[0], true
}

// modelURL is the package URL of a version, as published CDEvents have it.
func (f *Formats) modelURL(sequence uint64, id events.VersionID) string {
	name, _ := f.At(sequence).NameOf(id.ModelID)
	return "pkg:mlflow/" + url.PathEscape(name) + "@" + strconv.Itoa(id.Version)
}
