package openlineage

import (
	"errors"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
)

// wireEvent is an event as JSON has it. Whatever else there is stays in the raw
// event.
type wireEvent struct {
	EventType *string       `json:"eventType"`
	EventTime *string       `json:"eventTime"`
	Producer  *string       `json:"producer"`
	SchemaURL *string       `json:"schemaURL"`
	Run       *wireRun      `json:"run"`
	Job       *wireJob      `json:"job"`
	Dataset   *wireDataset  `json:"dataset"`
	Inputs    []wireDataset `json:"inputs"`
	Outputs   []wireDataset `json:"outputs"`
}

type wireRun struct {
	RunID  string `json:"runId"`
	Facets facets `json:"facets"`
}

type wireJob struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Facets    facets `json:"facets"`
}

type wireDataset struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Facets    facets `json:"facets"`
}

// Parse reads one event. now is this server's time, against which the event's is
// marked. The error is a handlers.InvalidError, whose pointers lead into the event.
func Parse(raw []byte, now time.Time) (Event, error) {
	raw = trimSpace(raw)
	if kind := jsontext.Value(raw).Kind(); len(raw) > 0 && kind != jsontext.KindBeginObject && jsontext.Value(raw).IsValid() {
		return Event{}, handlers.InvalidField("", "type", "must be an object, an OpenLineage event")
	}
	var w wireEvent
	if err := json.Unmarshal(raw, &w); err != nil {
		return Event{}, parseError(err)
	}
	p := parser{now: now, event: Event{Raw: string(raw)}}
	p.read(&w)
	if len(p.wrong) > 0 {
		return Event{}, handlers.InvalidError{Fields: p.wrong}
	}
	return p.event, nil
}

// trimSpace takes the white space of JSON away from both ends.
func trimSpace(raw []byte) []byte {
	const space = " \t\r\n"
	for len(raw) > 0 && strings.IndexByte(space, raw[0]) >= 0 {
		raw = raw[1:]
	}
	for len(raw) > 0 && strings.IndexByte(space, raw[len(raw)-1]) >= 0 {
		raw = raw[:len(raw)-1]
	}
	return raw
}

// parser reads one event. What is wrong is gathered, so that a producer's author
// learns all of it at once.
type parser struct {
	now   time.Time
	event Event
	wrong []handlers.FieldError
}

const maxWrong = 20 // enough to go on with

func (p *parser) fail(pointer, rule, detail string) {
	if len(p.wrong) < maxWrong {
		p.wrong = append(p.wrong, handlers.FieldError{Pointer: pointer, Rule: rule, Detail: detail})
	}
}

func (p *parser) mark(pointer, rule string) {
	if len(p.event.Marks) < maxMarks {
		p.event.Marks = append(p.event.Marks, Mark{pointer, rule})
	}
}

// maxMarks keeps an event of a thousand odd data sets from being answered with a
// thousand marks.
const maxMarks = 50

func (p *parser) read(w *wireEvent) {
	p.readKind(w)
	p.readTime(w.EventTime)
	p.readOrigin(w)
	switch p.event.Kind {
	case KindRun:
		p.readState(w.EventType)
		p.readRun(w.Run)
		p.readJob(w.Job)
	case KindJob:
		p.readJob(w.Job)
	case KindDataset:
		d := p.dataset("/dataset", w.Dataset)
		p.event.Dataset = &d
		p.readSources(&d)
		return
	}
	p.event.Inputs = p.datasets("/inputs", w.Inputs)
	p.event.Outputs = p.datasets("/outputs", w.Outputs)
	p.readLineage(w)
}

// readKind tells the kinds apart as the schema does, by what an event has.
func (p *parser) readKind(w *wireEvent) {
	switch {
	case w.Run != nil:
		p.event.Kind = KindRun
	case w.Job != nil:
		p.event.Kind = KindJob
	case w.Dataset != nil:
		p.event.Kind = KindDataset
	default:
		p.fail("", "run_job_or_dataset", "is about nothing: an event has run and job, job alone, or dataset")
	}
	if w.Dataset != nil && p.event.Kind != KindDataset {
		p.mark("/dataset", RuleMixedKinds)
	}
}

func (p *parser) readOrigin(w *wireEvent) {
	switch {
	case w.Producer == nil || *w.Producer == "":
		p.mark("/producer", RuleProducerMissing)
	default:
		p.event.Producer = *w.Producer
		if !isURI(*w.Producer) {
			p.mark("/producer", RuleProducerNotURI)
		}
	}
	if w.SchemaURL == nil || *w.SchemaURL == "" {
		p.mark("/schemaURL", RuleSchemaURLMissing)
	}
}

func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs()
}

var states = []State{StateStart, StateRunning, StateComplete, StateAbort, StateFail, StateOther}

func (p *parser) readState(eventType *string) {
	p.event.State = StateOther
	if eventType == nil || *eventType == "" { // which the schema allows
		return
	}
	s := State(strings.ToUpper(*eventType))
	switch {
	case !slices.Contains(states, s):
		p.mark("/eventType", RuleStateUnknown)
		return
	case string(s) != *eventType:
		p.mark("/eventType", RuleStateCase)
	}
	p.event.State = s
}

// timeLayouts are how events spell their times, with what is odd about each.
// Fractions of a second are read wherever seconds are.
var timeLayouts = []struct{ layout, rule string }{
	{time.RFC3339, ""},
	{"2006-01-02T15:04:05", RuleTimeZoneMissing},
	{"2006-01-02T15:04:05Z0700", RuleTimeFormat},
	{"2006-01-02 15:04:05Z07:00", RuleTimeFormat},
	{"2006-01-02 15:04:05", RuleTimeZoneMissing},
}

// aheadOfClock is how far another's clock may be ahead of ours without a word.
const aheadOfClock = time.Second

func (p *parser) readTime(given *string) {
	if given == nil || *given == "" {
		p.fail("/eventTime", "required", "is missing; an event says when it happened")
		return
	}
	for _, l := range timeLayouts {
		at, err := time.Parse(l.layout, *given)
		if err != nil {
			continue
		}
		if l.rule != "" {
			p.mark("/eventTime", l.rule)
		}
		if at = at.UTC(); at.Year() < minYear || at.Year() > maxYear {
			p.fail("/eventTime", "range", "must be a time between 1970 and 9999")
			return
		}
		if at.After(p.now.Add(aheadOfClock)) {
			p.mark("/eventTime", RuleTimeAhead)
		}
		p.event.Time = at
		return
	}
	p.fail("/eventTime", "time", "must be a time such as 2026-11-24T02:10:00.000Z")
}

const minYear, maxYear = 1970, 9999

func (p *parser) readRun(w *wireRun) {
	p.event.RunID = w.RunID
	p.runID("/run/runId", w.RunID)
	p.event.Parent = p.parent(w.Facets)
}

func (p *parser) runID(pointer, id string) {
	switch {
	case id == "":
		p.fail(pointer, "required", "is missing; without it nobody knows which run it is")
	case !isUUID(id):
		p.mark(pointer, RuleRunIDNotUUID)
	}
}

// isUUID asks for the usual spelling: 8-4-4-4-12 hexadecimal digits.
func isUUID(s string) bool {
	if len(s) != len("f99310b4-3c3c-1a1a-2b2b-c1b95c24ff11") {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || (!dash && !isHex(s[i])) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func (p *parser) readJob(w *wireJob) {
	if w == nil {
		p.fail("/job", "required", "is missing; a run is a run of a job")
		return
	}
	p.named("/job", w.Namespace, w.Name)
	p.event.Job = Job{w.Namespace, w.Name}
	p.event.Code = p.code(w.Facets)
}

func (p *parser) named(pointer, namespace, name string) {
	if namespace == "" {
		p.fail(pointer+"/namespace", "required", "is missing; namespace and name together say which it is")
	}
	if name == "" {
		p.fail(pointer+"/name", "required", "is missing; namespace and name together say which it is")
	}
}

// parseError names the place in the event that can't be read.
func parseError(err error) error {
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && errors.As(err, &syntax) && syntax.ByteOffset == 0:
		return handlers.InvalidField("", "required", "the body is empty; send an OpenLineage event")
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
		return handlers.InvalidField(string(syntax.JSONPointer), "duplicate", "is there twice")
	case errors.As(err, &syntax):
		return handlers.InvalidField(string(syntax.JSONPointer), "json", "the event is not JSON: %v", syntax.Err)
	case errors.As(err, &semantic):
		return handlers.InvalidField(string(semantic.JSONPointer), "type", "must be %s", typeName(semantic.GoType))
	default:
		return handlers.InvalidField("", "json", "the event can't be read: %v", err)
	}
}

func typeName(t reflect.Type) string {
	if t != nil {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.String:
			return "a string"
		case reflect.Slice:
			return "an array of objects"
		default:
		}
	}
	return "an object"
}
