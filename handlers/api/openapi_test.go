package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/modelog/modelog/handlers/webhooks/endpoints"
)

var update = flag.Bool("update", false, "write the generated documents anew")

const openapiFile = "../../schemas/openapi.json"

// TestGeneratedOpenAPIIsUpToDate compares the document that is served with the
// one that the table of routes gives.
func TestGeneratedOpenAPIIsUpToDate(t *testing.T) {
	document, err := openAPI()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(openapiFile, document, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(openapiFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(committed), string(document)); diff != "" {
		t.Errorf("schemas/openapi.json is out of date; run make generate:\n%s", diff)
	}
}

// m is a JSON object whose members are written sorted.
type m = map[string]any

func openAPI() ([]byte, error) {
	s := newSchemas()
	paths := m{}
	for _, e := range (&server{}).routes() {
		item, _ := paths[openAPIPath(e.path)].(m)
		if item == nil {
			item = m{}
			paths[openAPIPath(e.path)] = item
		}
		item[strings.ToLower(e.method)] = s.operation(e)
	}
	paths["/metrics"] = m{"get": m{
		"operationId": "metrics", "summary": "Metrics in the Prometheus text format", "tags": []string{"operations"},
		"responses": m{"200": m{"description": "The metrics", "content": m{"text/plain": m{"schema": m{"type": "string"}}}}},
	}}
	webhooks := s.webhooks()
	s.named(reflect.TypeFor[Problem]())
	if s.err != nil {
		return nil, s.err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(m{
		"openapi": "3.1.0",
		"info": m{
			"title": "modelog", "version": "1",
			"description": "A model registry that is a log. Every read takes as_of; every write takes Idempotency-Key and If-Match, and answers with the sequence of its event in Modelog-Sequence.",
			"license":     m{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":    []m{{"url": "http://127.0.0.1:7670"}},
		"paths":      paths,
		"webhooks":   webhooks,
		"security":   []m{}, // nobody is authenticated
		"components": m{"schemas": s.components, "parameters": sharedParameters(), "headers": sharedHeaders(), "responses": sharedResponses()},
	})
	return buf.Bytes(), err
}

var pathParameter = regexp.MustCompile(`\{(\w+)(?:\.\.\.)?\}`)

// openAPIPath has no word for a parameter that takes the rest of a path.
func openAPIPath(path string) string { return strings.Replace(path, "...}", "}", 1) }

var pathParameters = m{
	"model":       m{"type": "string", "minLength": 1, "maxLength": handlers.MaxName, "description": "Name of a model"},
	"ref":         m{"type": "string", "minLength": 1, "maxLength": handlers.MaxReference, "description": "A number, a semantic version, a range of them, a stage, latest, or @ and an alias"},
	"alias":       m{"type": "string", "minLength": 1, "maxLength": handlers.MaxAlias, "description": "Name of an alias"},
	"environment": m{"type": "string", "pattern": handlers.TargetPattern, "description": "Environment of a target"},
	"name":        m{"type": "string", "pattern": handlers.TargetPattern, "description": "Name of a target within its environment"},
	"principal":   m{"type": "string", "minLength": 1, "maxLength": principals.MaxName, "description": "Id of a principal, or else its name"},
	"sequence":    m{"type": "integer", "minimum": 1, "description": "Sequence of an event"},
	"id":          m{"type": "string", "pattern": "^[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}$", "description": "Id of a subscription"},
	"job":         m{"type": "string", "pattern": "^[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}$", "description": "Id of a replay"},
	"aggregate":   m{"type": "string", "description": "Aggregate of an event type, such as version"},
	"action":      m{"type": "string", "description": "Action of an event type, such as promoted"},
	"level":       m{"type": "string", "pattern": "^([0-7]|entries)$", "description": "Level of the tile, or entries"},
	"tile":        m{"type": "string", "description": "Number of the tile, in groups of three digits, and its width unless it is full: x001/234.p/56"},
	"version":     m{"type": "string", "pattern": `^v[1-9][0-9]*\.json$`, "description": "Version of the shape, such as v1.json"},
}

// operation describes one route.
func (s *shapeSchemas) operation(e endpoint) m {
	op := m{"operationId": e.name, "summary": e.summary, "tags": []string{tag(e.path)}, "responses": s.responses(e)}
	if parameters := parametersOf(e); len(parameters) > 0 {
		op["parameters"] = parameters
	}
	if e.body != nil {
		content := m{jsonMedia: m{"schema": s.named(e.body)}}
		if e.method == http.MethodPatch {
			content[patchMedia] = content[jsonMedia]
		}
		op["requestBody"] = m{"required": true, "content": content, "description": fmt.Sprintf("%d bytes at most", maxBody)}
	}
	if e.name == "publishEvents" {
		s.publishing(op)
	}
	return op
}

func tag(path string) string {
	if rest, ok := strings.CutPrefix(path, "/v1/"); ok {
		name, _, _ := strings.Cut(rest, "/")
		return name
	}
	return "operations"
}

var queryLimits = map[string]m{
	"limit":      {"minimum": 1, "maximum": maxLimit, "default": defaultLimit},
	"depth":      {"minimum": 1, "maximum": maxDepth},
	"nodes":      {"minimum": 1, "maximum": maxNodes, "default": defaultNodes},
	"paths":      {"minimum": 1, "maximum": maxPaths, "default": defaultPaths},
	"after":      {"minimum": 0},
	"if_version": {"minimum": 0},
	"reason":     {"maxLength": handlers.MaxReason},
}

// keyPattern is of a key as it is, or as a quoted string (RFC 8941).
var keyPattern = fmt.Sprintf(`^([!-~]{1,%[1]d}|"([!#-\[\]-~]|\\["\\]){1,%[1]d}")$`, handlers.MaxIdempotencyKey)

func parametersOf(e endpoint) []m {
	var parameters []m
	for _, name := range pathParameter.FindAllStringSubmatch(e.path, -1) {
		schema, ok := pathParameters[name[1]].(m)
		if !ok {
			panic("no description of the path parameter " + name[1])
		}
		parameters = append(parameters, m{"name": name[1], "in": "path", "required": true, "schema": schema})
	}
	for _, q := range e.query {
		schema := m{"type": q.kind}
		maps.Copy(schema, queryLimits[q.name])
		parameters = append(parameters, m{"name": q.name, "in": "query", "description": q.about, "schema": schema})
	}
	shared := func(names ...string) {
		for _, name := range names {
			parameters = append(parameters, m{"$ref": "#/components/parameters/" + name})
		}
	}
	switch {
	case e.media == streamMedia:
		parameters = append(parameters, m{
			"name": "Last-Event-ID", "in": "header", "description": "Go on after this sequence, the id of the last event seen", "schema": m{"type": "integer", "minimum": 0},
		})
	case e.timeless:
	case e.method == http.MethodGet:
		shared("as_of", "Modelog-Min-Sequence", "If-None-Match")
	default:
		shared("Idempotency-Key", "If-Match", "Modelog-Actor", "Modelog-Occurred-Time")
	}
	return parameters
}

func sharedParameters() m {
	header := func(name, about string, schema m) m {
		return m{"name": name, "in": "header", "description": about, "schema": schema}
	}
	return m{
		"as_of":                m{"name": "as_of", "in": "query", "description": "Answer as of a sequence, or of an RFC 3339 time, which resolves to one", "schema": m{"type": "string"}},
		"Modelog-Min-Sequence": header("Modelog-Min-Sequence", fmt.Sprintf("Wait, up to %s, until the state has this sequence", sequenceWait), m{"type": "integer", "minimum": 0}),
		"If-None-Match":        header("If-None-Match", "Answer 304 if the ETag is still this one", m{"type": "string"}),
		"Idempotency-Key": header("Idempotency-Key", "Makes the call safe to repeat: the same key with the same content is one event, for ever",
			m{"type": "string", "pattern": keyPattern}),
		"If-Match": header("If-Match", "Refuse, with 412, unless what the call changes has this ETag", m{"type": "string"}),
		"Modelog-Occurred-Time": header("Modelog-Occurred-Time", "When it happened, for those who bring a history along; at most 1 s in the future",
			m{"type": "string", "format": "date-time"}),
		"Modelog-Actor": header("Modelog-Actor", "Who asks; the log holds an opaque id only", m{"type": "string", "maxLength": principals.MaxName}),
	}
}

func sharedHeaders() m {
	return m{
		"Modelog-Sequence":    m{"description": "Sequence of the event that was written, or of the state that was read", "schema": m{"type": "integer"}},
		"Modelog-Next-Cursor": m{"description": "Cursor of the next page, absent on the last one", "schema": m{"type": "string"}},
		"Modelog-Request-Id":  m{"description": "Names the request in the server's log", "schema": m{"type": "string"}},
		"ETag":                m{"description": "Highest sequence that changed anything shown, quoted", "schema": m{"type": "string"}},
		"Location":            m{"description": "Path of what was made", "schema": m{"type": "string"}},
		"Retry-After":         m{"description": "Seconds after which to send it again", "schema": m{"type": "integer"}},
	}
}

// sharedResponses has one response for each status of the table of errors.
func sharedResponses() m {
	titles := map[int][]string{}
	for code, row := range handlers.Errors {
		titles[row.Status] = append(titles[row.Status], string(code))
	}
	responses := m{}
	for status, codes := range titles {
		slices.Sort(codes)
		about := http.StatusText(status) + "; code is " + strings.Join(codes, ", ")
		if status == http.StatusRequestEntityTooLarge {
			about += fmt.Sprintf(", for a body of more than %d bytes or an event that would have more than %d", maxBody, events.MaxEventBytes)
		}
		responses[strconv.Itoa(status)] = m{
			"description": about,
			"content":     m{"application/problem+json": m{"schema": m{"$ref": "#/components/schemas/Problem"}}},
			"headers":     m{"Modelog-Request-Id": m{"$ref": "#/components/headers/Modelog-Request-Id"}},
		}
	}
	return responses
}

func (s *shapeSchemas) responses(e endpoint) m {
	headers := []string{"Modelog-Request-Id"}
	if !e.timeless {
		headers = append(headers, "Modelog-Sequence", "ETag")
	}
	if e.status == http.StatusCreated {
		headers = append(headers, "Location")
	}
	if len(e.otherMedia) > 0 {
		headers = append(headers, "Modelog-Next-Cursor")
	}
	shown := m{}
	for _, h := range headers {
		shown[h] = m{"$ref": "#/components/headers/" + h}
	}
	success := m{"description": "As asked", "headers": shown}
	if e.answer != nil {
		content := m{cmp.Or(e.media, "application/json"): m{"schema": s.named(e.answer)}}
		if e.media == streamMedia {
			content[streamMedia] = m{"schema": m{"type": "string"}}
		}
		for _, media := range e.otherMedia {
			content[media] = m{"schema": m{"type": "string"}}
		}
		success["content"] = content
	}
	responses := m{strconv.Itoa(e.status): success}
	for _, status := range errorsOf(e) {
		responses[strconv.Itoa(status)] = m{"$ref": "#/components/responses/" + strconv.Itoa(status)}
	}
	if !e.timeless && e.method == http.MethodGet {
		responses["304"] = m{"description": "Not modified"}
	}
	return responses
}

func errorsOf(e endpoint) []int {
	switch {
	case e.media == streamMedia:
		return []int{400, 403, 429, 500, 503}
	case e.name == "startReplay" || e.name == "testSubscription" || e.name == "commitEvents" || e.name == "seekEvents":
		return []int{400, 403, 404, 409, 413, 415, 500, 503}
	case e.name == "stopReplay":
		return []int{400, 403, 404, 500, 503}
	case e.name == "pollEvents":
		return []int{400, 403, 404, 409, 429, 500, 503}
	case e.timeless && e.body != nil:
		return []int{400, 403, 413, 415, 500, 503}
	case e.timeless && strings.HasPrefix(e.path, "/v1/"):
		return []int{400, 403, 404, 500, 503}
	case e.timeless:
		return []int{403, 404, 500, 503}
	case e.path == "/v1/lineage":
		return []int{400, 403, 404, 406, 500, 503}
	case e.method == http.MethodGet:
		return []int{400, 403, 404, 500, 503}
	case e.body == nil:
		return []int{400, 403, 404, 409, 412, 422, 429, 500, 503}
	default:
		return []int{400, 403, 404, 409, 412, 413, 415, 422, 429, 500, 503}
	}
}

// shapeSchemas gathers the schemas of the shapes, by the names of their types.
type shapeSchemas struct {
	components m
	err        error
}

func newSchemas() *shapeSchemas { return &shapeSchemas{components: m{}} }

// shapes are the types that get a schema with a name.
var shapes = []reflect.Type{
	reflect.TypeFor[Model](), reflect.TypeFor[ModelList](), reflect.TypeFor[Version](), reflect.TypeFor[VersionSummary](),
	reflect.TypeFor[VersionList](), reflect.TypeFor[Alias](), reflect.TypeFor[Variant](), reflect.TypeFor[Target](),
	reflect.TypeFor[TargetList](), reflect.TypeFor[State](), reflect.TypeFor[Digest](), reflect.TypeFor[EventList](),
	reflect.TypeFor[Health](), reflect.TypeFor[Release](), reflect.TypeFor[Problem](), reflect.TypeFor[handlers.FieldError](),
	reflect.TypeFor[handlers.ModelSpec](), reflect.TypeFor[handlers.VersionSpec](), reflect.TypeFor[handlers.Promotion](),
	reflect.TypeFor[handlers.Assignment](), reflect.TypeFor[handlers.TargetSpec](), reflect.TypeFor[handlers.Deployment](),
	reflect.TypeFor[handlers.Rollback](), reflect.TypeFor[Lifecycle](), reflect.TypeFor[lifecycleBody](), reflect.TypeFor[Patch](),
	reflect.TypeFor[Deprecation](), reflect.TypeFor[handlers.Deprecation](), reflect.TypeFor[handlers.Restoration](),
	reflect.TypeFor[handlers.Renaming](), reflect.TypeFor[handlers.Withdrawal](),
	reflect.TypeFor[SigningKeyList](), reflect.TypeFor[SigningKey](), reflect.TypeFor[LogConsistency](),
	reflect.TypeFor[Verifications](), reflect.TypeFor[VerificationRun](), reflect.TypeFor[VerificationResult](), reflect.TypeFor[VerificationRequest](),
	reflect.TypeFor[Diff](), reflect.TypeFor[Moment](), reflect.TypeFor[Asked](), reflect.TypeFor[Hypothesis](), reflect.TypeFor[SupposedRequest](),
	reflect.TypeFor[WhatIf](), reflect.TypeFor[WhatIfResult](),
	reflect.TypeFor[AuditList](), reflect.TypeFor[AuditEntry](), reflect.TypeFor[AuditActor](), reflect.TypeFor[ResourceChange](), reflect.TypeFor[FieldChange](), reflect.TypeFor[Explanation](), reflect.TypeFor[ExplainedField](),
	reflect.TypeFor[Principal](), reflect.TypeFor[PrincipalList](), reflect.TypeFor[Erased](),
	reflect.TypeFor[PublishedList](), reflect.TypeFor[Published](),
	reflect.TypeFor[Subscription](), reflect.TypeFor[SubscriptionWithSecret](), reflect.TypeFor[SubscriptionList](), reflect.TypeFor[NewSubscription](),
	reflect.TypeFor[DeliveryStatus](), reflect.TypeFor[PendingDelivery](), reflect.TypeFor[AttemptList](), reflect.TypeFor[DeliveryAttempt](),
	reflect.TypeFor[DeadLetterList](), reflect.TypeFor[DeadLetter](), reflect.TypeFor[ReplayRequest](), reflect.TypeFor[Replay](), reflect.TypeFor[ReplayList](),
	reflect.TypeFor[DeliveryTest](), reflect.TypeFor[DeliveryExchange](),
	reflect.TypeFor[PolledEvents](), reflect.TypeFor[PollCommit](), reflect.TypeFor[PollSeek](), reflect.TypeFor[PollPosition](),
	reflect.TypeFor[SubscriptionPatch](), reflect.TypeFor[SecretRotation](), reflect.TypeFor[handlers.Delivery](), reflect.TypeFor[subscription.Filter](),
	reflect.TypeFor[Lineage](), reflect.TypeFor[LineageNode](), reflect.TypeFor[LineageEdge](), reflect.TypeFor[LineagePaths](),
	reflect.TypeFor[LineageImpact](), reflect.TypeFor[LineageHit](), reflect.TypeFor[LineageRecording](), reflect.TypeFor[DatasetList](),
	reflect.TypeFor[Dataset](), reflect.TypeFor[DatasetVersion](), reflect.TypeFor[WithdrawnDataset](),
	reflect.TypeFor[handlers.LineageEdges](), reflect.TypeFor[handlers.LineageEdge](), reflect.TypeFor[handlers.DatasetChange](),
	reflect.TypeFor[events.Artifact](), reflect.TypeFor[events.Code](), reflect.TypeFor[events.Dataset](), reflect.TypeFor[events.Signature](),
}

// schemaName gives the name of a type's schema. What is asked for and what is
// shown may have one name in Go.
func schemaName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[handlers.Deprecation]():
		return "Deprecate"
	case reflect.TypeFor[lifecycleBody]():
		return "LifecycleSpec"
	case reflect.TypeFor[handlers.LineageEdge]():
		return "EdgeSpec"
	case reflect.TypeFor[Dataset]():
		return "KnownDataset"
	default:
		return t.Name()
	}
}

var (
	two            = func() *int { n := 2; return &n }()
	maxTransitions = handlers.MaxStages * handlers.MaxStages
	maxStage       = handlers.MaxShort
)

// named gives a reference to the schema of a type, and makes it.
func (s *shapeSchemas) named(t reflect.Type) m {
	if t == reflect.TypeFor[jsontext.Value]() {
		return m{"type": "object"}
	}
	if t.Kind() == reflect.String { // a text of a media type of its own
		return m{"type": "string"}
	}
	name := schemaName(t)
	ref := m{"$ref": "#/components/schemas/" + name}
	if _, made := s.components[name]; made {
		return ref
	}
	s.components[name] = nil // it is being made
	if t == reflect.TypeFor[subscription.Filter]() {
		s.components[name] = filterSchema()
		return ref
	}
	special := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[jsontext.Value](): {Type: "object", Description: "A structured CloudEvent"},
		reflect.TypeFor[events.Object]():  {Type: "object"},
		reflect.TypeFor[textPatch]():      {Types: []string{"string", "null"}},
		reflect.TypeFor[tagPatch](): {
			Types: []string{"object", "null"}, AdditionalProperties: &jsonschema.Schema{Types: []string{"string", "null"}},
		},
		reflect.TypeFor[start]():                          {Types: []string{"string", "integer"}},
		reflect.TypeFor[patchOf[int]]():                   {Types: []string{"integer", "null"}},
		reflect.TypeFor[patchOf[[]string]]():              {Types: []string{"array", "null"}, Items: &jsonschema.Schema{Type: "string"}},
		reflect.TypeFor[patchOf[[]subscription.Filter]](): {Types: []string{"array", "null"}, Items: &jsonschema.Schema{Ref: "#/components/schemas/Filter"}},
		reflect.TypeFor[patchOf[protocolPatch]]():         protocolSchema(),
		reflect.TypeFor[Transitions](): {AnyOf: []*jsonschema.Schema{
			{Type: "string", Enum: []any{"any"}},
			{Type: "array", MaxItems: &maxTransitions, Items: &jsonschema.Schema{
				Type: "array", Items: &jsonschema.Schema{Type: "string", MaxLength: &maxStage}, MinItems: two, MaxItems: two,
			}},
		}},
		reflect.TypeFor[float64](): {AnyOf: []*jsonschema.Schema{{Type: "number"}, {Type: "string", Enum: []any{"NaN", "Infinity", "-Infinity"}}}},
	}
	for _, shape := range shapes {
		if shape != t && !embeds(t, shape) {
			special[shape] = &jsonschema.Schema{Ref: "#/components/schemas/" + schemaName(shape)}
		}
	}
	schema, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: special})
	if err != nil {
		s.err = err
		return ref
	}
	refine(t, schema)
	s.components[name] = schema
	for _, shape := range shapes {
		if mentions(t, shape) {
			s.named(shape)
		}
	}
	return ref
}

// embeds says whether a shape's fields are among those of t.
func embeds(t, shape reflect.Type) bool {
	f, ok := t.FieldByName(shape.Name())
	return ok && f.Anonymous && f.Type == shape
}

// mentions says whether a field of t is of a shape, or a list of it.
func mentions(t, shape reflect.Type) bool {
	for f := range t.Fields() {
		at := f.Type
		for at.Kind() == reflect.Pointer || at.Kind() == reflect.Slice {
			at = at.Elem()
		}
		if at == shape {
			return true
		}
	}
	return false
}

// refine takes back what the generator can't know: nothing here is ever null,
// answers may get new members, and requests have limits.
func refine(t reflect.Type, schema *jsonschema.Schema) {
	request := strings.Contains(t.PkgPath(), "handlers") && !strings.HasSuffix(t.PkgPath(), "/api") && t != reflect.TypeFor[handlers.FieldError]()
	request = request || t == reflect.TypeFor[lifecycleBody]() || t == reflect.TypeFor[Patch]() || t == reflect.TypeFor[VerificationRequest]() ||
		t == reflect.TypeFor[Hypothesis]() || t == reflect.TypeFor[SupposedRequest]() ||
		t == reflect.TypeFor[NewSubscription]() || t == reflect.TypeFor[SubscriptionPatch]() || t == reflect.TypeFor[SecretRotation]() ||
		t == reflect.TypeFor[ReplayRequest]() || t == reflect.TypeFor[DeliveryTest]() ||
		t == reflect.TypeFor[PollCommit]() || t == reflect.TypeFor[PollSeek]()
	if !request {
		schema.AdditionalProperties = nil
	}
	for name, p := range schema.Properties {
		if limit := limits[schemaName(t)+"."+name]; limit != nil {
			limit(p)
		}
		if t == reflect.TypeFor[Patch]() || t == reflect.TypeFor[SubscriptionPatch]() {
			continue // null removes
		}
		switch types := slices.DeleteFunc(p.Types, func(s string) bool { return s == "null" || s == "" }); len(types) {
		case 0:
			p.Types = nil
		case 1:
			p.Type, p.Types = types[0], nil
		}
	}
}

// limit is what a schema says of one field.
type limit = func(*jsonschema.Schema)

func longest(n int) limit { return func(s *jsonschema.Schema) { s.MaxLength = &n } }

func atLeast(n float64) limit { return func(s *jsonschema.Schema) { s.Minimum = &n } }

func upTo(most float64) limit {
	least := 0.0
	return func(s *jsonschema.Schema) { s.Minimum, s.Maximum = &least, &most }
}

func pattern(p string) limit { return func(s *jsonschema.Schema) { s.Pattern = p } }

func oneOf(words ...any) limit { return func(s *jsonschema.Schema) { s.Enum = words } }

func moment(s *jsonschema.Schema) { s.Format = "date-time" }

// inBytes is a text whose length is counted in bytes.
func inBytes(n int) limit {
	return func(s *jsonschema.Schema) {
		s.MaxLength, s.Description = &n, fmt.Sprintf("%d bytes of UTF-8 at most", n)
	}
}

// anything is a value of whatever kind a field has.
func anything(s *jsonschema.Schema) { *s = jsonschema.Schema{Description: "As the field is shown"} }

// entries is of a list.
func entries(n int, of ...limit) limit {
	return func(s *jsonschema.Schema) {
		s.MaxItems = &n
		for _, limit := range of {
			limit(s.Items)
		}
	}
}

// pairs is of an object whose members have names of the caller's.
func pairs(n int, of ...limit) limit {
	return func(s *jsonschema.Schema) {
		least, most := 1, handlers.MaxKey
		s.MaxProperties, s.PropertyNames = &n, &jsonschema.Schema{MinLength: &least, MaxLength: &most}
		for _, limit := range of {
			limit(s.AdditionalProperties)
		}
	}
}

// patched is a merge patch of pairs. What it removes doesn't count.
func patched(n int, of ...limit) limit {
	return func(s *jsonschema.Schema) {
		pairs(n, of...)(s)
		s.MaxProperties, s.Description = nil, fmt.Sprintf("null removes; %d remain at most", n)
	}
}

const (
	whenPattern          = "^([0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}T.+)$"
	digestPattern        = "^[0-9a-f]{64}$"
	datasetDigestPattern = "^sha256:[0-9a-f]{64}$"
)

// limits are those of the code, by shape and field.
var limits = map[string]limit{
	"NewSubscription.types":              entries(subscription.MaxTypes, words(eventTypes())),
	"NewSubscription.filters":            filterLimit,
	"NewSubscription.sink":               inBytes(endpoints.MaxSink),
	"NewSubscription.protocol":           oneOf(protocolHTTP, protocolPoll),
	"NewSubscription.name":               longest(handlers.MaxSubscriptionName),
	"NewSubscription.description":        longest(handlers.MaxDescription),
	"NewSubscription.mlflow_events":      entries(handlers.MaxSubscriptionTypes, words(handlers.MLflowEvents)),
	"NewSubscription.format":             words(handlers.DeliveryFormats),
	"NewSubscription.ordering":           words(handlers.DeliveryOrderings),
	"NewSubscription.signature":          words(handlers.SignatureSchemes),
	"NewSubscription.rate":               upTo(handlers.MaxDeliveryRate),
	"NewSubscription.start":              both(pattern("^(now|[0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}T.+)$"), about("now, the sequence of the first event to be delivered, or a time; now if absent")),
	"NewSubscription.config":             noMembers,
	"PollCommit.cursor":                  longest(maxPollCursor),
	"PollSeek.to":                        both(pattern("^(now|start|[0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}T.+)$"), about("The sequence or the time of the first event to be fetched next, start or now")),
	"ReplayRequest.from":                 both(pattern(whenPattern), about("Sequence of the first event, or a time; the subscription's beginning if absent")),
	"ReplayRequest.to":                   both(pattern(whenPattern), about("Sequence of the last event, or a time; all that there is if absent")),
	"ReplayRequest.mode":                 both(oneOf("all", "failed", "missing"), about("failed: only dead letters; missing: only what no attempt of the last fortnight has delivered")),
	"ReplayRequest.rate":                 upTo(handlers.MaxDeliveryRate),
	"SubscriptionPatch.types":            entries(subscription.MaxTypes, words(eventTypes())),
	"SubscriptionPatch.protocolsettings": settingsLimit,
	"NewSubscription.protocolsettings":   settingsLimit,
	"NewSubscription.source":             pattern("^urn:modelog:"),
	"SubscriptionPatch.filters":          filterLimit,
	"SubscriptionPatch.sink":             inBytes(endpoints.MaxSink),
	"SubscriptionPatch.rate":             upTo(handlers.MaxDeliveryRate),
	"SubscriptionPatch.name":             longest(handlers.MaxSubscriptionName),
	"SubscriptionPatch.description":      longest(handlers.MaxDescription),
	"SubscriptionPatch.mlflow_events":    entries(handlers.MaxSubscriptionTypes, words(handlers.MLflowEvents)),
	"SubscriptionPatch.format":           nullOr(handlers.DeliveryFormats),
	"SubscriptionPatch.ordering":         nullOr(handlers.DeliveryOrderings),
	"SecretRotation.valid_for":           both(pattern(`^(0|([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+)$`), about("A duration such as 24h, 168h at most; 24h if absent")),
	"SecretRotation.reason":              longest(handlers.MaxReason),
	"Delivery.reason":                    longest(handlers.MaxReason),
	"ModelSpec.name":                     longest(handlers.MaxName),
	"ModelSpec.description":              longest(handlers.MaxDescription),
	"ModelSpec.tags":                     pairs(handlers.MaxTags, longest(handlers.MaxValue)),
	"Patch.description":                  longest(handlers.MaxDescription),
	"Patch.tags":                         patched(handlers.MaxTags, longest(handlers.MaxValue)),
	"VersionSpec.source":                 inBytes(handlers.MaxSourceBytes),
	"VersionSpec.format":                 longest(handlers.MaxShort),
	"VersionSpec.semver":                 longest(handlers.MaxShort),
	"VersionSpec.bump":                   oneOf("major", "minor", "patch", "auto"),
	"VersionSpec.run_id":                 longest(handlers.MaxShort),
	"VersionSpec.run_link":               inBytes(handlers.MaxSourceBytes),
	"VersionSpec.logged_model":           longest(handlers.MaxShort),
	"VersionSpec.version":                upTo(handlers.MaxVersion),
	"VersionSpec.artifacts":              entries(handlers.MaxArtifacts),
	"VersionSpec.datasets":               entries(handlers.MaxDatasets),
	"VersionSpec.parameters":             pairs(handlers.MaxParameters, longest(handlers.MaxValue)),
	"VersionSpec.metrics":                pairs(handlers.MaxMetrics),
	"VersionSpec.base_model":             longest(handlers.MaxWhole),
	"VersionSpec.tags":                   pairs(handlers.MaxTags, longest(handlers.MaxValue)),
	"VersionSpec.description":            longest(handlers.MaxDescription),
	"Artifact.path":                      longest(handlers.MaxSourceBytes),
	"Artifact.sha256":                    pattern(digestPattern),
	"Artifact.size":                      atLeast(0),
	"Code.repository":                    inBytes(handlers.MaxSourceBytes),
	"Code.commit":                        longest(handlers.MaxShort),
	"Dataset.name":                       longest(handlers.MaxSourceBytes),
	"Dataset.digest":                     pattern(datasetDigestPattern),
	"Dataset.role":                       pattern(handlers.RolePattern),
	"ResourceChange.change":              oneOf(wasAdded, wasRemoved, wasChanged),
	"Hypothesis.requests":                entries(handlers.MaxWhatIf),
	"Hypothesis.events":                  entries(handlers.MaxWhatIf),
	"SupposedRequest.method":             oneOf(http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete),
	"WhatIfResult.outcome":               oneOf(wouldWrite, wouldKeep, wouldRefuse),
	"FieldChange.before":                 anything,
	"FieldChange.after":                  anything,
	"ExplainedField.value":               anything,
	"LineageEdges.edges":                 entries(handlers.MaxEdges),
	"LineageEdges.reason":                longest(handlers.MaxReason),
	"EdgeSpec.from":                      inBytes(handlers.MaxNode),
	"EdgeSpec.to":                        inBytes(handlers.MaxNode),
	"EdgeSpec.type":                      oneOf("used", "wasGeneratedBy", "wasDerivedFrom", "hadMember", "specializationOf", "wasInformedBy", "wasAssociatedWith"),
	"EdgeSpec.role":                      pattern(handlers.RolePattern),
	"DatasetChange.namespace":            inBytes(handlers.MaxSourceBytes),
	"DatasetChange.name":                 inBytes(handlers.MaxSourceBytes),
	"DatasetChange.version":              longest(handlers.MaxShort),
	"DatasetChange.digest":               longest(handlers.MaxShort),
	"DatasetChange.reason":               longest(handlers.MaxReason),
	"Promotion.to":                       longest(handlers.MaxShort),
	"Promotion.reason":                   longest(handlers.MaxReason),
	"Assignment.version":                 atLeast(1),
	"Assignment.if_version":              atLeast(0),
	"Assignment.reason":                  longest(handlers.MaxReason),
	"TargetSpec.description":             longest(handlers.MaxDescription),
	"Deployment.model":                   longest(handlers.MaxName),
	"Deployment.ref":                     longest(handlers.MaxReference),
	"Deployment.strategy":                oneOf(events.AllAtOnce),
	"Deployment.reason":                  longest(handlers.MaxReason),
	"Deployment.if_generation":           atLeast(0),
	"Rollback.to":                        atLeast(0),
	"Rollback.reason":                    longest(handlers.MaxReason),
	"Deprecate.reason":                   longest(handlers.MaxReason),
	"Deprecate.sunset":                   moment,
	"Deprecate.replacement":              longest(handlers.MaxWhole),
	"Restoration.reason":                 longest(handlers.MaxReason),
	"Renaming.to":                        longest(handlers.MaxName),
	"Renaming.reason":                    longest(handlers.MaxReason),
	"Withdrawal.reason":                  longest(handlers.MaxReason),
	"LifecycleSpec.stages":               entries(handlers.MaxStages, longest(handlers.MaxShort)),
	"LifecycleSpec.archive":              longest(handlers.MaxShort),
	"LifecycleSpec.exclusive":            entries(handlers.MaxStages, longest(handlers.MaxShort)),
	"LifecycleSpec.reason":               longest(handlers.MaxReason),
}
