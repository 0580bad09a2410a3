package mlflow

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
)

// param is one of the parameters that RPCs have.
type param uint8

const (
	name param = iota
	newName
	version
	key
	value
	aliasName
	source
	runID
	runLink
	description
	modelID
	stage
	filterText
	pageToken
	jobID
	tagList
	stageList
	orderBy
	archiveExisting
	maxResults
	hookURL
	secret
	hookStatus
	hookEvents
	hookEvent

	paramCount
)

type kind uint8

const (
	isString kind = iota
	isTags
	isStrings
	isBool
	isInt
	isEvents // of webhooks
	isEvent
)

// paramTypes say how each parameter is spelled. The second name is the one that
// protobuf's JSON takes too.
var paramTypes = [paramCount]struct {
	name, also string
	kind       kind
}{
	name: {"name", "", isString}, newName: {"new_name", "", isString}, version: {"version", "", isString},
	key: {"key", "", isString}, value: {"value", "", isString}, aliasName: {"alias", "", isString},
	source: {"source", "", isString}, runID: {"run_id", "runId", isString}, runLink: {"run_link", "runLink", isString},
	description: {"description", "", isString}, modelID: {"model_id", "modelId", isString}, stage: {"stage", "", isString},
	filterText: {"filter", "", isString}, pageToken: {"page_token", "pageToken", isString},
	jobID: {"deployment_job_id", "deploymentJobId", isString}, tagList: {"tags", "", isTags},
	stageList: {"stages", "", isStrings}, orderBy: {"order_by", "orderBy", isStrings},
	archiveExisting: {"archive_existing_versions", "archiveExistingVersions", isBool},
	maxResults:      {"max_results", "maxResults", isInt},
	hookURL:         {"url", "", isString}, secret: {"secret", "", isString}, hookStatus: {"status", "", isString},
	hookEvents: {"events", "", isEvents}, hookEvent: {"event", "", isEvent},
}

// field is a parameter of one RPC. The order of a schema is the order in which
// MLflow looks at them.
type field struct {
	param    param
	required bool
}

// params is what a request says. What it doesn't say is zero.
type params struct {
	text    [paramCount]string
	given   [paramCount]bool // and not null
	tags    []tag
	stages  []string
	orders  []string
	archive bool
	results int64
	events  []string // of webhooks: "model_version.created"
}

// decode reads a request as MLflow does: a GET with a query says all in the query,
// anything else in its body. What isn't known is ignored, and null is as good as
// absent.
func (c *call) decode(schema []field) error {
	if c.r.Method == http.MethodGet && c.r.URL.RawQuery != "" {
		return c.decodeQuery(schema)
	}
	if err := checkMediaType(c.r); err != nil {
		return err
	}
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	if err := api.ReadBody(c.w, c.r, buf); err != nil {
		if _, early := errors.AsType[handlers.InvalidError](err); early {
			return invalid("Bad Request. The body ended too early.")
		}
		return err
	}
	body := objectIn(buf.Bytes())
	wrong, err := c.params.read(body, schema)
	switch {
	case err != nil:
		return err
	case wrong != nil:
		return wrongType(body, schema, wrong.param)
	}
	return c.params.required(schema)
}

// checkMediaType asks for JSON where MLflow does. That also keeps web pages of
// others out: they can't send JSON without asking first, nor any other method.
func checkMediaType(r *http.Request) error {
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		return nil
	}
	given := r.Header.Get("Content-Type")
	if given == "" {
		return invalid("Bad Request. Content-Type header is missing.")
	}
	if media, _, _ := strings.Cut(given, ";"); media != "application/json" {
		return invalid("Bad Request. Content-Type must be one of ['application/json'].")
	}
	return nil
}

var lenient = jsontext.AllowDuplicateNames(true)

// objectIn gives the JSON object of a body. Old clients send it in a string; what
// is no object counts as an empty one.
func objectIn(body []byte) jsontext.Value {
	v := jsontext.Value(body)
	if !v.IsValid(lenient) {
		return nil
	}
	if v.Kind() == jsontext.KindString {
		inner, err := jsontext.AppendUnquote(nil, bytes.TrimSpace(v))
		if v = inner; err != nil || !v.IsValid(lenient) {
			return nil
		}
	}
	if v.Kind() != jsontext.KindBeginObject {
		return nil
	}
	return v
}

// read takes the parameters of a schema out of an object. wrong is the first that
// has another type than it should, nil for none.
func (p *params) read(object jsontext.Value, schema []field) (wrong *field, err error) {
	if object == nil {
		return nil, nil //nolint:nilnil // nothing is said, and nothing is wrong
	}
	var twice [paramCount]string
	dec := jsontext.NewDecoder(bytes.NewBuffer(object), lenient)
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	for dec.PeekKind() == jsontext.KindString {
		t, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		f, spelled := find(schema, t)
		raw, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue
		}
		if twice[f.param] != "" && twice[f.param] != spelled {
			info := paramTypes[f.param]
			return nil, invalid("Request specifies both '%s' and '%s'; provide only one of them.", info.name, info.also)
		}
		twice[f.param] = spelled
		if wrong == nil && !p.set(f.param, raw) {
			wrong = f
		}
	}
	return wrong, nil
}

func find(schema []field, t jsontext.Token) (*field, string) {
	spelled := t.String()
	for i := range schema {
		if info := paramTypes[schema[i].param]; spelled == info.name || (spelled == info.also && spelled != "") {
			return &schema[i], spelled
		}
	}
	return nil, ""
}

// set takes one value, and says whether it has the right type.
func (p *params) set(which param, raw jsontext.Value) (ok bool) {
	if raw.Kind() == jsontext.KindNull {
		return true
	}
	p.given[which] = true
	switch paramTypes[which].kind {
	case isString:
		p.text[which], ok = stringIn(raw)
	case isTags:
		p.tags, ok = tagsIn(raw)
	case isStrings:
		var list []string
		list, ok = stringsIn(raw)
		if which == orderBy {
			p.orders = list
		} else {
			p.stages = list
		}
	case isBool:
		p.archive = raw.Kind() == jsontext.KindTrue
		ok = p.archive || raw.Kind() == jsontext.KindFalse
	case isInt:
		text, quoted := stringIn(raw)
		if !quoted {
			text = string(raw)
		}
		p.results, ok = int64In(text)
	case isEvents:
		p.events = nil
		ok = elements(raw, func(element jsontext.Value) bool { return p.addEvent(element) })
	case isEvent:
		p.events = nil
		ok = p.addEvent(raw)
	}
	return ok
}

func stringIn(raw jsontext.Value) (string, bool) {
	if raw.Kind() != jsontext.KindString {
		return "", false
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	return string(text), err == nil
}

func stringsIn(raw jsontext.Value) (list []string, ok bool) {
	ok = elements(raw, func(element jsontext.Value) bool {
		text, ok := stringIn(element)
		list = append(list, text)
		return ok
	})
	return list, ok
}

func tagsIn(raw jsontext.Value) (list []tag, ok bool) {
	ok = elements(raw, func(element jsontext.Value) bool {
		var p params
		if element.Kind() != jsontext.KindBeginObject {
			return false
		}
		wrong, err := p.read(element, tagSchema)
		list = append(list, tag{p.text[key], p.text[value]})
		return wrong == nil && err == nil
	})
	return list, ok
}

var tagSchema = []field{{key, false}, {value, false}}

func elements(raw jsontext.Value, take func(jsontext.Value) bool) bool {
	if raw.Kind() != jsontext.KindBeginArray {
		return false
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), lenient)
	if _, err := dec.ReadToken(); err != nil {
		return false
	}
	for dec.PeekKind() != jsontext.KindEndArray {
		element, err := dec.ReadValue()
		if err != nil || !take(element) {
			return false
		}
	}
	return true
}

// int64In reads a whole number, which may be spelled as 5.0 or 5e0.
func int64In(text string) (int64, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != float64(int64(f)) || f > 1<<53 || f < -1<<53 {
		return 0, false
	}
	return int64(f), true
}

// decodeQuery reads the parameters of a GET, of which the query is all strings.
func (c *call) decodeQuery(schema []field) error {
	query, _ := url.ParseQuery(c.r.URL.RawQuery) // what can't be read is left out, as MLflow does
	var wrong error
	for _, f := range schema {
		info := paramTypes[f.param]
		values, ok := query[info.name]
		if !ok {
			continue
		}
		for i := range values {
			values[i] = strings.ToValidUTF8(values[i], "\uFFFD")
		}
		c.params.given[f.param] = true
		if err := c.params.setQuery(f.param, values); err != nil && wrong == nil {
			wrong = err
		}
	}
	if err := c.params.required(schema); err != nil {
		return err
	}
	return wrong
}

func (p *params) setQuery(which param, values []string) error {
	info := paramTypes[which]
	switch info.kind {
	case isString:
		p.text[which] = values[0]
	case isStrings:
		if which == orderBy {
			p.orders = values
		} else {
			p.stages = values
		}
	case isInt:
		var ok bool
		if p.results, ok = int64In(values[0]); !ok {
			return invalidParam(info.name, pythonJSON(values[0]), "str")
		}
	default: // no GET has one
		return invalidParam(info.name, pythonJSON(values[0]), "str")
	}
	return nil
}

// required refuses what must be said and isn't.
func (p *params) required(schema []field) error {
	for _, f := range schema {
		absent := p.text[f.param] == ""
		if paramTypes[f.param].kind == isEvents {
			absent = !p.given[f.param]
		}
		if f.required && absent {
			return invalid("%s%s", missing(paramTypes[f.param].name), seeDocs)
		}
	}
	return nil
}

// wrongType says what is wrong with a body that has a parameter of another type.
// MLflow then looks at the types and the presence of all, in the order of its
// schema.
func wrongType(object jsontext.Value, schema []field, first param) error {
	raws := map[string]jsontext.Value{}
	dec := jsontext.NewDecoder(bytes.NewBuffer(object), lenient)
	_, _ = dec.ReadToken() // it was read before
	for dec.PeekKind() == jsontext.KindString {
		t, _ := dec.ReadToken()
		spelled := t.String()
		raw, _ := dec.ReadValue()
		raws[spelled] = raw.Clone()
	}
	for _, f := range schema {
		info := paramTypes[f.param]
		raw, ok := raws[info.name]
		if !ok && !f.required {
			continue
		}
		if !ok || (f.required && string(raw) == `""`) {
			return invalid("%s%s", missing(info.name), seeDocs)
		}
		var p params
		if null := raw.Kind() == jsontext.KindNull; null || !p.set(f.param, raw) {
			return invalidParam(info.name, pythonValue(raw), pythonType(raw))
		}
	}
	info := paramTypes[first] // it was given by its other name
	return invalidParam(info.name, pythonValue(raws[info.also]), pythonType(raws[info.also]))
}
