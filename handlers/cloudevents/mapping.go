package cloudevents

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
)

// Call is what a published event asks for: a call of the native API, or a command
// where no call fits.
type Call struct {
	Method, Path string
	Body         jsontext.Value // nil for none
	Command      handlers.Command
	pointers     map[string]string // of the call's fields and parameters in the event, where they aren't below /data
}

// row says which call a type of ours stands for. The event's subject is the path of
// the resource, and its data the body of the call, or its query if it has none.
type row struct {
	event    string   // after dev.modelog.
	subjects []string // patterns, the segments of which name what the path takes
	method   string
	path     string
	fills    []string // members of the body that the subject gives, unless they are there
}

const (
	typePrefix = "dev.modelog."

	modelSubject   = "models/{model}"
	versionSubject = "models/{model}/versions/{ref}"
	aliasSubject   = "models/{model}/aliases/{alias}"
	targetSubject  = "targets/{environment}/{name}"
)

// rows are the types of ours that are taken. Which of promoted, demoted and archived
// an event becomes is for the lifecycle to say, and whether it is defined or
// described for the target.
var rows = []row{
	{"model.registered.v1", []string{"models/{name}"}, http.MethodPost, "models", []string{"name"}},
	{"model.described.v1", []string{modelSubject}, http.MethodPatch, modelSubject, nil},
	{"model.renamed.v1", []string{modelSubject}, http.MethodPost, modelSubject + "/rename", nil},
	{"model.lifecycle_changed.v1", []string{modelSubject}, http.MethodPut, modelSubject + "/lifecycle", nil},
	{"model.deleted.v1", []string{modelSubject}, http.MethodDelete, modelSubject, nil},
	{"version.registered.v1", []string{modelSubject + "/versions/{version}", modelSubject + "/versions"}, http.MethodPost, modelSubject + "/versions", []string{"version"}},
	{"version.promoted.v1", []string{versionSubject}, http.MethodPost, versionSubject + "/promote", nil},
	{"version.demoted.v1", []string{versionSubject}, http.MethodPost, versionSubject + "/promote", nil},
	{"version.archived.v1", []string{versionSubject}, http.MethodPost, versionSubject + "/promote", nil},
	{"version.deprecated.v1", []string{versionSubject}, http.MethodPost, versionSubject + "/deprecate", nil},
	{"version.restored.v1", []string{versionSubject}, http.MethodPost, versionSubject + "/restore", nil},
	{"version.described.v1", []string{versionSubject}, http.MethodPatch, versionSubject, nil},
	{"version.deleted.v1", []string{versionSubject}, http.MethodDelete, versionSubject, nil},
	{"alias.assigned.v1", []string{aliasSubject}, http.MethodPut, aliasSubject, nil},
	{"alias.removed.v1", []string{aliasSubject}, http.MethodDelete, aliasSubject, nil},
	{"target.defined.v1", []string{targetSubject}, http.MethodPut, targetSubject, nil},
	{"target.described.v1", []string{targetSubject}, http.MethodPut, targetSubject, nil},
	{"target.removed.v1", []string{targetSubject}, http.MethodDelete, targetSubject, nil},
	{"deployment.deployed.v1", []string{targetSubject}, http.MethodPost, targetSubject + "/deploy", nil},
	{"deployment.rolled_back.v1", []string{targetSubject}, http.MethodPost, targetSubject + "/rollback", nil},
	{"deployment.withdrawn.v1", []string{targetSubject}, http.MethodPost, targetSubject + "/undeploy", nil},
	{"dataset.withdrawn.v1", datasetSubjects, http.MethodPost, "datasets/withdraw", []string{"namespace", "name"}},
	{"dataset.reinstated.v1", datasetSubjects, http.MethodPost, "datasets/reinstate", []string{"namespace", "name"}},
}

var datasetSubjects = []string{"datasets/{name}", "datasets/{namespace}/{name}"}

// Types names the types of events that are taken, those of others by their prefix.
func Types() []string {
	types := make([]string, 0, len(rows)+len(foreignRows))
	for _, r := range rows {
		types = append(types, typePrefix+r.event)
	}
	for _, f := range foreignRows {
		types = append(types, f.prefix+"*")
	}
	return types
}

// NotMappedError says that nothing in the registry follows from a type of event.
type NotMappedError struct{ Type string }

// Code is CodeEventTypeNotMapped.
func (NotMappedError) Code() handlers.Code { return handlers.CodeEventTypeNotMapped }

func (e NotMappedError) Error() string {
	return "nothing in the registry follows from an event of the type " + strconv.Quote(e.Type) + "; these are taken: " + strings.Join(Types(), ", ")
}

// Map says what an event asks for. It fails with a NotMappedError, or with a
// handlers.InvalidError with pointers into the event.
func Map(e event.Event) (Call, error) {
	if kind := jsontext.Value(e.DataEncoded).Kind(); len(e.DataEncoded) > 0 && kind != jsontext.KindBeginObject {
		return Call{}, invalid("/data", "type", "must be an object")
	}
	for _, f := range foreignRows {
		if strings.HasPrefix(e.Type(), f.prefix) {
			return f.call(e)
		}
	}
	i := slices.IndexFunc(rows, func(r row) bool { return typePrefix+r.event == e.Type() })
	if i < 0 {
		return Call{}, NotMappedError{e.Type()}
	}
	return rows[i].call(e)
}

func (r row) call(e event.Event) (Call, error) {
	var names map[string]string
	for _, pattern := range r.subjects {
		if names = match(pattern, e.Subject()); names != nil {
			break
		}
	}
	if names == nil {
		return Call{}, invalid("/subject", "subject", "must be %s for %s, with names percent-encoded", strings.Join(r.subjects, " or "), e.Type())
	}
	call := Call{Method: r.method, Path: "/v1/" + fillPath(r.path, names), pointers: map[string]string{}}
	for name := range names {
		call.pointers[name] = "/subject"
	}
	members, err := membersOf(e.DataEncoded)
	if err != nil {
		return Call{}, err
	}
	if r.method == http.MethodDelete {
		query, err := queryOf(members)
		if len(query) > 0 {
			call.Path += "?" + query
		}
		return call, err
	}
	for _, name := range r.fills {
		if value, given := names[name]; given {
			if err := fill(members, name, value); err != nil {
				return Call{}, err
			}
		}
	}
	call.Body, err = json.Marshal(members, json.Deterministic(true))
	return call, err
}

// match reads the names of a subject that has the form of a pattern, nil for one
// that has another.
func match(pattern, subject string) map[string]string {
	want, got := strings.Split(pattern, "/"), strings.Split(subject, "/")
	if len(want) != len(got) {
		return nil
	}
	names := map[string]string{}
	for i, segment := range got {
		name, isName := strings.CutPrefix(want[i], "{")
		decoded, err := url.PathUnescape(segment)
		switch {
		case !isName && segment == want[i]:
		case !isName || err != nil || decoded == "" || decoded == "." || decoded == "..":
			return nil
		default:
			names[strings.TrimSuffix(name, "}")] = decoded
		}
	}
	return names
}

func fillPath(pattern string, names map[string]string) string {
	segments := strings.Split(pattern, "/")
	for i, segment := range segments {
		if name, isName := strings.CutPrefix(segment, "{"); isName {
			segments[i] = url.PathEscape(names[strings.TrimSuffix(name, "}")])
		}
	}
	return strings.Join(segments, "/")
}

// membersOf takes the data apart, which is an object or nothing.
func membersOf(data []byte) (map[string]jsontext.Value, error) {
	members := map[string]jsontext.Value{}
	if len(data) == 0 {
		return members, nil
	}
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, below("/data", syntaxError(err))
	}
	return members, nil
}

// fill puts what the subject says into the body. What the body says itself must be
// the same.
func fill(members map[string]jsontext.Value, name, value string) error {
	spelled, err := jsontext.AppendQuote(nil, value)
	if err != nil {
		return invalid("/subject", "utf8", "has a name that is not UTF-8")
	}
	if name == "version" {
		if number, err := strconv.Atoi(value); err != nil || number < 1 || strconv.Itoa(number) != value {
			return invalid("/subject", "version", "must end with the number that the version is to have, or with /versions for the next one")
		}
		spelled = []byte(value)
	}
	if given, there := members[name]; there {
		same := given.Clone()
		if err := same.Canonicalize(); err != nil || string(same) != string(spelled) {
			return invalid("/data/"+name, "subject", "is not what the subject says, %s", spelled)
		}
	}
	members[name] = spelled
	return nil
}

// queryOf gives the members of the data as a query: a DELETE has no body.
func queryOf(members map[string]jsontext.Value) (string, error) {
	query := url.Values{}
	for name, value := range members {
		switch value.Kind() {
		case jsontext.KindString:
			s, err := jsontext.AppendUnquote(nil, value)
			if err != nil {
				return "", invalid("/data/"+escape(name), "utf8", "must be valid Unicode")
			}
			query.Set(name, string(s))
		case jsontext.KindNumber, jsontext.KindTrue, jsontext.KindFalse:
			query.Set(name, string(value))
		default:
			return "", invalid("/data/"+escape(name), "type", "must be a string, a number or true or false")
		}
	}
	return query.Encode(), nil
}

// Located says of an error of the call where in the event the reason lies.
func (c Call) Located(fields []handlers.FieldError) []handlers.FieldError {
	located := slices.Clone(fields)
	for i, f := range fields {
		pointer, known := c.pointers[f.Pointer]
		switch {
		case known:
			located[i].Pointer = pointer
		case strings.HasPrefix(f.Pointer, "/") || f.Pointer == "":
			located[i].Pointer = "/data" + f.Pointer
		default: // a parameter of the query
			located[i].Pointer = "/data/" + f.Pointer
		}
	}
	return located
}

// OriginOf gives the identity of an event, bound to its type, subject and data. Not
// to its time: who publishes an event again, because a job ran again, may not know
// the one of the first time.
func OriginOf(e event.Event) (*handlers.Origin, error) {
	var data events.Object
	if len(e.DataEncoded) > 0 {
		if err := json.Unmarshal(e.DataEncoded, &data); err != nil {
			return nil, below("/data", invalid("", "json", "can't be kept: %v", err))
		}
	}
	content, err := events.AppendCanonical(nil, published{e.Type(), e.Subject(), data})
	if err != nil {
		return nil, invalid("/data", "canonical", "holds what can't be written down: %v", err)
	}
	return &handlers.Origin{Source: e.Source(), ID: e.ID(), Content: content}, nil
}

// published is what an identity is bound to.
type published struct {
	Type    string        `json:"type"`
	Subject string        `json:"subject,omitempty"`
	Data    events.Object `json:"data,omitempty"`
}
