package events

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
)

// Data says what happened. Each event type is a struct of this package, named
// in the past tense; its doc comment says what it records. A Data value is
// never changed once made.
//
//sumtype:decl
type Data interface {
	// kind is the wire name after "dev.modelog.": <aggregate>.<past tense>.v<n>.
	kind() string
	// Resource names what the event is about.
	Resource() Resource
	// Summary tells people what happened, without names, which the event's
	// subject gives: "promoted from Staging to Production".
	Summary() string
}

// RootKind is the kind of thing whose events are kept in order together.
type RootKind string

// The kinds of root, spelled as in NATS subjects.
const (
	RegistryRoot     RootKind = "registry"
	ModelRoot        RootKind = "model"
	TargetRoot       RootKind = "target"
	SubscriptionRoot RootKind = "subscription"
)

// Root is the identity of a registry, a registered model, a target or a
// subscription. It is never reused, and names don't change it.
type Root struct {
	Kind RootKind  `json:"kind"`
	ID   ulid.ULID `json:"id"`
}

// Resource names what an event is about: a root, a version or an alias of a
// model, or a data set of the registry.
type Resource struct {
	Root    Root        `json:"root"`
	Version int         `json:"version,omitzero"`
	Alias   string      `json:"alias,omitempty"`
	Dataset DatasetName `json:"dataset,omitzero"`
}

const typePrefix = "dev.modelog."

// TypeOf gives the CloudEvents type of an event with this data.
func TypeOf(d Data) string { return kinds[d.kind()].typ }

// kindReader reads the data of one event type, and knows its names.
type kindReader struct {
	zero Data
	read func(r reader) (Data, error)

	typ     string // dev.modelog.version.promoted.v1
	schema  string // https://modelog.dev/schemas/version/promoted/v1.json
	subject string // version.promoted, what its NATS subject ends in
	why     why
}

// reads makes the row of an event type in its file's list of readers.
func reads[T Data]() kindReader {
	var zero T
	kind, p := zero.kind(), planOf(reflect.TypeFor[T]())
	return kindReader{
		zero: zero,
		read: func(r reader) (Data, error) {
			var d T
			err := p.read(r, reflect.ValueOf(&d).Elem())
			return d, err
		},
		typ:     typePrefix + kind,
		schema:  schemaBase + SchemaPath(kind),
		subject: kind[:strings.LastIndexByte(kind, '.')],
		why:     whyOf(reflect.TypeFor[T]()),
	}
}

// kinds has every event type that this release reads, by wire name.
var kinds = func() map[string]kindReader {
	byName := map[string]kindReader{}
	for _, list := range [][]kindReader{
		registryReaders, modelReaders, versionReaders, aliasReaders, targetReaders, deploymentReaders,
		lineageReaders, datasetReaders, subscriptionReaders,
	} {
		for _, k := range list {
			name := k.zero.kind()
			if _, twice := byName[name]; twice {
				panic("events: two readers for " + name)
			}
			byName[name] = k
		}
	}
	return byName
}()

// Kinds has a zero value of every event type by its wire name after
// "dev.modelog.", for those who generate documents from the vocabulary.
func Kinds() map[string]Data {
	zeros := make(map[string]Data, len(kinds))
	for name, k := range kinds {
		zeros[name] = k.zero
	}
	return zeros
}

// SchemaPath gives the path of the JSON Schema of an event type's data, such as
// "version/promoted/v1.json", from its wire name "version.promoted.v1".
func SchemaPath(kind string) string { return strings.ReplaceAll(kind, ".", "/") + ".json" }

const schemaBase = "https://modelog.dev/schemas/"

// logSubject gives the NATS subject of an event:
// modelog.events.<root>.<ULID>.<aggregate>.<action>. No text of a user gets in.
func logSubject(d Data) string {
	root := d.Resource().Root
	return SubjectPrefix + string(root.Kind) + "." + root.ID.String() + "." + kinds[d.kind()].subject
}

// isLogSubject says whether a subject is that of an event, without making it.
func isLogSubject(subject string, d Data) bool {
	root := d.Resource().Root
	rest, ok := strings.CutPrefix(subject, SubjectPrefix)
	kind, rest, _ := strings.Cut(rest, ".")
	id, action, _ := strings.Cut(rest, ".")
	return ok && kind == string(root.Kind) && isULID(id, root.ID) && action == kinds[d.kind()].subject
}

// SubjectPrefix begins the NATS subject of every event.
const SubjectPrefix = "modelog.events."

// count spells a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// because appends a reason, if there is one.
func because(what string, reason Text) string {
	if reason == (Text{}) {
		return what
	}
	return fmt.Sprintf("%s: %s", what, reason)
}
