package api

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/modelog/modelog/projections"
)

// NewSubscription asks for a subscription: the object of the CloudEvents Subscriptions
// API, and more.
type NewSubscription struct {
	Source           string                `json:"source,omitempty"` // this registry's, if any
	Types            []string              `json:"types,omitempty"`
	Config           struct{}              `json:"config,omitzero"`
	Filters          []subscription.Filter `json:"filters,omitempty"`
	Sink             string                `json:"sink,omitempty"`
	Protocol         string                `json:"protocol,omitempty"` // HTTP, or POLL for one without a sink
	ProtocolSettings ProtocolSettings      `json:"protocolsettings,omitzero"`
	Name             string                `json:"name,omitempty"`
	Description      string                `json:"description,omitempty"`
	Format           events.DeliveryFormat `json:"format,omitempty"` // cloudevents if empty
	// MLflowEvents are those of MLflow's events that are wanted, in the format mlflow;
	// empty for all.
	MLflowEvents []string                `json:"mlflow_events,omitempty"`
	Ordering     events.DeliveryOrdering `json:"ordering,omitempty"` // key if empty
	Rate         int                     `json:"rate,omitzero"`      // deliveries a second at most, 0 for any
	Signature    events.SignatureScheme  `json:"signature,omitempty"`
	Start        start                   `json:"start,omitzero"`
}

// ProtocolSettings are what HTTP deliveries have.
type ProtocolSettings struct {
	Headers map[string]string `json:"headers,omitempty"` // of every delivery; never shown again
	Method  string            `json:"method,omitempty"`  // POST
}

// SubscriptionPatch is a JSON merge patch (RFC 7396) of a subscription: what is absent
// stays, null brings back what it is without being said.
type SubscriptionPatch struct {
	Types            patchOf[[]string]              `json:"types,omitzero"`
	Filters          patchOf[[]subscription.Filter] `json:"filters,omitzero"`
	Sink             textPatch                      `json:"sink,omitzero"`
	ProtocolSettings patchOf[protocolPatch]         `json:"protocolsettings,omitzero"`
	Name             textPatch                      `json:"name,omitzero"`
	Description      textPatch                      `json:"description,omitzero"`
	Format           textPatch                      `json:"format,omitzero"`
	MLflowEvents     patchOf[[]string]              `json:"mlflow_events,omitzero"`
	Ordering         textPatch                      `json:"ordering,omitzero"`
	Rate             patchOf[int]                   `json:"rate,omitzero"`
}

type protocolPatch struct {
	Headers tagPatch  `json:"headers,omitzero"`
	Method  textPatch `json:"method,omitzero"`
}

// SecretRotation asks for another secret.
type SecretRotation struct {
	ValidFor string `json:"valid_for,omitempty"` // duration that the old secret signs too, 24h if empty
	Reason   string `json:"reason,omitempty"`
}

// patchOf is a value that may be absent or null.
type patchOf[T any] struct {
	given, null bool
	value       T // the zero one for null
}

// UnmarshalJSONFrom reads a value or null.
func (p *patchOf[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	p.given, p.null = true, dec.PeekKind() == jsontext.KindNull
	return json.UnmarshalDecode(dec, &p.value)
}

func (p patchOf[T]) set() *T {
	if !p.given {
		return nil
	}
	return &p.value
}

// start is "now", a sequence, or a time.
type start struct{ text string }

// UnmarshalJSONFrom reads a string, or a number.
func (s *start) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if kind := token.Kind(); kind != jsontext.KindString && kind != jsontext.KindNumber {
		return errors.New(`must be "now", a sequence, or a time`)
	}
	s.text = token.String()
	return nil
}

// readSubscription reads a body that may have filters.
func (c *call) readSubscription(body any) error {
	err := c.readCommand(body)
	invalid, ok := errors.AsType[handlers.InvalidError](err)
	if !ok {
		return err
	}
	for i, f := range invalid.Fields {
		if f.Rule == "unknown_field" && strings.HasPrefix(f.Pointer, "/filters/") {
			invalid.Fields[i].Rule = "unknown_dialect"
			invalid.Fields[i].Detail = "is no dialect; there are exact, prefix, suffix, all, any, not and sql"
		}
	}
	return invalid
}

// filtersOf compiles filters and types, and gives the filters as the log has them.
func filtersOf(filters []subscription.Filter, types []string) (string, error) {
	if _, err := subscription.Compile(filters, types); err != nil {
		return "", err
	}
	return subscription.Normalise(filters)
}

// check refuses what the CloudEvents object could say otherwise, and we don't do.
func (b *NewSubscription) check(v projections.View) error {
	switch source := (events.Event{Registry: v.Registry().ID}).Source(); {
	case b.Source != "" && b.Source != source:
		return handlers.InvalidField("/source", "source", "must be %s, the source of all events here, or absent", source)
	case b.Protocol != "" && b.Protocol != protocolHTTP && b.Protocol != protocolPoll:
		return handlers.InvalidField("/protocol", "protocol", "must be HTTP or POLL")
	case b.Protocol == protocolPoll:
		return b.checkPolled()
	default:
		return checkMethod(b.ProtocolSettings.Method)
	}
}

// checkPolled refuses what goes with a sink.
func (b *NewSubscription) checkPolled() error {
	const why = "goes with the protocol HTTP: with POLL events are fetched"
	switch {
	case b.Sink != "":
		return handlers.InvalidField("/sink", "no_sink", why)
	case len(b.ProtocolSettings.Headers) > 0 || b.ProtocolSettings.Method != "":
		return handlers.InvalidField("/protocolsettings", "no_sink", why)
	case b.Signature != "":
		return handlers.InvalidField("/signature", "no_sink", why)
	default:
		return nil
	}
}

func checkMethod(method string) error {
	if method != "" && method != http.MethodPost {
		return handlers.InvalidField("/protocolsettings/method", "method", "must be POST")
	}
	return nil
}

// spec gives what is asked for, but for the sink.
func (b *NewSubscription) spec() (spec handlers.SubscriptionSpec, err error) {
	spec = handlers.SubscriptionSpec{
		Name: b.Name, Description: b.Description, Types: slices.Clone(b.Types), Format: b.Format, MLflowEvents: b.MLflowEvents,
		Ordering: b.Ordering, Rate: b.Rate, Signature: b.Signature,
	}
	if spec.Format == "" {
		spec.Format = events.FormatCloudEvents
	}
	if spec.Ordering == "" {
		spec.Ordering = events.OrderByKey
	}
	if spec.Signature == "" {
		spec.Signature = events.SignHMAC
	}
	spec.Filters, err = filtersOf(b.Filters, b.Types)
	return spec, err
}

// startAfter gives the sequence after which events are delivered, nil for the last one.
func (c *call) startAfter(s start) (*uint64, error) {
	if s.text == "" || s.text == "now" {
		return nil, nil //nolint:nilnil // now is an answer
	}
	if first, err := strconv.ParseUint(s.text, 10, 64); err == nil {
		after := max(first, 1) - 1
		return &after, nil
	}
	moment, err := time.Parse(time.RFC3339, s.text)
	if err != nil {
		return nil, handlers.InvalidField("/start", "now_sequence_or_time", "%.100q is neither now, nor a sequence, nor a time such as 2026-11-24T02:10:00Z", s.text)
	}
	if now := c.server.cfg.Now(); moment.After(now.Add(aheadOfClock)) {
		return nil, handlers.InvalidField("/start", "not_in_the_future", "%s is in the future; it is %s", s.text, events.FormatTime(now))
	}
	// Times are kept in whole milliseconds, and all events of the moment are wanted.
	after := c.server.cfg.Runner.SequenceAt(moment.Add(-time.Millisecond))
	return &after, nil
}

// changes gives what a patch asks for, but for the sink. Types are compiled without
// filters that stay, and filters without types: each is right by itself.
func (p *SubscriptionPatch) changes() (ch handlers.SubscriptionChanges, err error) {
	ch = handlers.SubscriptionChanges{Types: p.Types.set(), Rate: p.Rate.set(), MLflowEvents: p.MLflowEvents.set()}
	ch.Name = wordPatch(p.Name, "")
	ch.Description = wordPatch(p.Description, "")
	ch.Format = wordPatch(p.Format, events.FormatCloudEvents)
	ch.Ordering = wordPatch(p.Ordering, events.OrderByKey)
	filters, err := filtersOf(p.Filters.value, p.Types.value)
	if p.Filters.given {
		ch.Filters = &filters
	}
	return ch, err
}

// wordPatch gives a word, or the one that null stands for.
func wordPatch[W ~string](p textPatch, none W) *W {
	if !p.given {
		return nil
	}
	if p.value != nil {
		none = W(*p.value)
	}
	return &none
}

// headers gives what a patch makes of headers, which stay as they were.
func (p *SubscriptionPatch) headers(before map[string]string) (map[string]string, error) {
	settings := p.ProtocolSettings
	after, set := map[string]string{}, map[string]string{}
	if !settings.null && !settings.value.Headers.null {
		maps.Copy(after, before)
	}
	for name, value := range settings.value.Headers.tags {
		if value.value == nil {
			delete(after, http.CanonicalHeaderKey(name))
			continue
		}
		set[name] = *value.value
	}
	set, err := parseHeaders(set)
	maps.Copy(after, set)
	if err == nil && len(after) > maxHeaders {
		err = handlers.InvalidField("/protocolsettings/headers", "max_items", "would be more than %d", maxHeaders)
	}
	return after, err
}
