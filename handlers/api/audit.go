package api

import (
	"encoding/hex"
	"net/http"
	"reflect"
	"runtime"
	"strconv"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
	"golang.org/x/sync/errgroup"
)

// AuditList is a page of the audit trail.
type AuditList struct {
	Entries    []AuditEntry `json:"entries"`
	NextCursor string       `json:"next_cursor,omitempty"` // absent on the last page
}

// AuditEntry says who did what, when and why, and what it changed.
type AuditEntry struct {
	Sequence   uint64      `json:"sequence"`
	RecordedAt string      `json:"recorded_at"` // when it was recorded
	HappenedAt string      `json:"happened_at"` // when it happened, as far as anybody said
	Actor      *AuditActor `json:"actor,omitempty"`
	Action     string      `json:"action"`      // such as version.promoted
	Type       string      `json:"type"`        // of the event
	Resource   string      `json:"resource"`    // its path at that time
	ResourceID string      `json:"resource_id"` // of the model or the target, which names don't change
	Summary    string      `json:"summary"`
	// Changes has what was shown of the resource before and after.
	Changes []FieldChange `json:"changes"`
	// Also has what changed with it, such as versions that were displaced; the first
	// ones, if they are many.
	Also     []ResourceChange `json:"also,omitempty"`
	AlsoMore int              `json:"also_more,omitzero"` // how many more there are, at least
	Reason   string           `json:"reason,omitempty"`
	Forced   bool             `json:"forced,omitzero"` // a rule spoke against it

	RequestID     string `json:"request_id,omitempty"`           // Modelog-Request-Id of the call
	KeyHash       string `json:"idempotency_key_hash,omitempty"` // the first half of its SHA-256, in hex
	CorrelationID string `json:"correlation_id,omitempty"`
	CausationID   string `json:"causation_id,omitempty"` // id of the event that made somebody ask for it
}

// AuditActor is who did it, as the directory knows them now.
type AuditActor struct {
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Erased bool   `json:"erased,omitzero"` // the directory doesn't know the id, or does so no more
}

// Limits of what an entry tells beside its own resource.
const (
	maxAlso  = 10
	maxTried = 1000 // of what may have changed
)

// Formats of the trail beside JSON.
const (
	linesMedia = "application/x-ndjson"
	csvMedia   = "text/csv"
)

func auditRoutes() []endpoint {
	query := append([]parameter{
		{"resource", "string", "Only what changed something of it, or of what is under it: a path such as models/fraud, models/fraud/versions/8 or targets/prod/scorer, the id of a model or target in place of its name, or a reference such as fraud/8 or fraud@champion; by any name that it had up to as_of"},
		{"actor", "string", "Only what somebody did, by name or id"},
		{"action", "string", "Only this action, such as version.promoted, or those of this aggregate, such as version"},
		{"from", "string", "From this sequence or RFC 3339 time on, by when events were recorded"},
		{"until", "string", "Up to this sequence or RFC 3339 time"},
		{"reason", "string", "Only with a reason that holds this text, whatever its case"},
		{"order", "string", "newest, the default, or oldest first"},
		{"format", "string", "json, jsonl or csv; else as Accept says. The cursor of a format without a place for it is in Modelog-Next-Cursor"},
	}, paging...)
	e := endpoint{
		method: http.MethodGet, path: "/v1/audit", name: "listAudit", summary: "List who did what, when and why, with before and after",
		status: http.StatusOK, query: query, answer: reflect.TypeFor[AuditList](), otherMedia: []string{linesMedia, csvMedia},
	}
	e.serve = func(c *call) error {
		if err := c.onlyKnownQuery(query); err != nil {
			return err
		}
		return c.audit()
	}
	return append([]endpoint{e}, explainRoutes()...)
}

func (c *call) audit() error {
	format, err := c.auditFormat()
	if err != nil {
		return err
	}
	v, err := c.view()
	if err != nil {
		return err
	}
	page, v, err := c.page(v)
	if err != nil {
		return err
	}
	q, err := c.auditQuery(page, v)
	if err != nil {
		return err
	}
	list, err := c.auditPage(v, q, page)
	if err != nil {
		return err
	}
	c.setSequence(v.Sequence, 0)
	if list.NextCursor != "" {
		c.header("Modelog-Next-Cursor", list.NextCursor)
	}
	return c.showAudit(format, list)
}

func (c *call) auditPage(v projections.View, q projections.AuditQuery, page page) (AuditList, error) {
	list := AuditList{Entries: []AuditEntry{}}
	found, err := v.Audit(c.r.Context(), q, page.limit)
	if err != nil {
		return list, err
	}
	entries := found.Entries[:0]
	for _, e := range found.Entries {
		if e.ReasonInLog {
			if e.Reason, err = c.reason(e.Sequence); err != nil {
				return list, err
			}
			if !projections.HoldsText(e.Reason, q.Reason) {
				continue
			}
		}
		entries = append(entries, e)
	}
	if list.Entries, err = c.showEntries(v, entries); err != nil {
		return list, err
	}
	if found.Next != 0 {
		list.NextCursor = page.next(strconv.FormatUint(found.Next, 10))
	}
	return list, nil
}

// reason reads a reason from the log.
func (c *call) reason(sequence uint64) (string, error) {
	e, err := c.server.event(c.r.Context(), sequence)
	if err != nil {
		return "", err
	}
	reason, _ := events.Why(e.Data)
	return reason.String(), nil
}

// auditShare is how many entries are worth a goroutine.
const auditShare = 16

// showEntries shows the entries of a page, each from two views of its own, which all
// cores do at once.
func (c *call) showEntries(v projections.View, entries []projections.AuditEntry) ([]AuditEntry, error) {
	actors := map[string]*AuditActor{}
	for _, e := range entries {
		if _, looked := actors[e.Principal]; !looked {
			actors[e.Principal] = c.auditActor(e.Principal)
		}
	}
	shown := make([]AuditEntry, len(entries))
	group := errgroup.Group{}
	group.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < len(entries); from += auditShare {
		group.Go(func() (err error) {
			for i := from; i < min(from+auditShare, len(entries)) && err == nil; i++ {
				shown[i], err = showEntry(v, entries[i], actors[entries[i].Principal])
			}
			return err
		})
	}
	return shown, group.Wait()
}

func showEntry(v projections.View, e projections.AuditEntry, actor *AuditActor) (AuditEntry, error) {
	before, after := v.At(e.Sequence-1), v.At(e.Sequence)
	shown := AuditEntry{
		Sequence: e.Sequence, RecordedAt: events.FormatTime(after.Recorded()), Actor: actor, Action: actionOf(e.Type), Type: e.Type,
		Resource: pathThen(before, after, e.Resource), ResourceID: e.Resource.Root.ID.String(), Reason: e.Reason, Forced: e.Forced,
		RequestID: e.CorrelationID, CorrelationID: e.CorrelationID, CausationID: e.CausationID,
	}
	shown.HappenedAt = shown.RecordedAt
	if !e.Occurred.IsZero() {
		shown.HappenedAt = events.FormatTime(e.Occurred)
	}
	if e.Key != (events.Hash{}) {
		shown.KeyHash = hex.EncodeToString(e.Key[:])
	}
	var err error
	if shown.Changes, err = changesNextTo(before, after, e.Resource); err != nil {
		return shown, err
	}
	if shown.Changes == nil {
		shown.Changes = []FieldChange{}
	}
	if err := shown.addOthers(before, after, e.Resource); err != nil {
		return shown, err
	}
	shown.Summary = summarizeChange(shown)
	return shown, nil
}

// addOthers tells of what else changed. Of many things it tells the first ones and
// counts the rest without looking at each.
func (shown *AuditEntry) addOthers(before, after projections.View, own events.Resource) error {
	tried := 0
	for r := range after.Touched(before.Sequence, after.Sequence) {
		if r == own {
			continue
		}
		if tried++; tried > maxTried {
			break
		}
		if len(shown.Also) == maxAlso {
			shown.AlsoMore++
			continue
		}
		change, differs, err := changeNextTo(before, after, r)
		if err != nil {
			return err
		}
		if differs {
			shown.Also = append(shown.Also, change)
		}
	}
	return nil
}

// pathThen gives the path of a resource with the names after an event, or before
// the one that it went with.
func pathThen(before, after projections.View, r events.Resource) string {
	if path := after.Path(r); path != "" {
		return path
	}
	return before.Path(r)
}

// auditActor looks somebody up, nil for nobody.
func (c *call) auditActor(id string) *AuditActor {
	if id == "" {
		return nil
	}
	actor := &AuditActor{ID: id}
	var known bool
	actor.Name, known = c.server.cfg.Principals.Find(c.r.Context(), id)
	actor.Erased = !known
	return actor
}

const unknownActor = "nobody of that name or id is in the directory, or has done anything up to there"

// actorID gives the opaque id of who is meant by a name or an id.
func (c *call) actorID(v projections.View, who string) (string, error) {
	if who == "" {
		return "", handlers.InvalidField("actor", "required", "must be a name or an id")
	}
	if id, ok := c.server.cfg.Principals.Known(who); ok {
		return id, nil
	}
	_, known := c.server.cfg.Principals.Name(who)
	if !known && !v.AuditKnows(who) {
		return "", handlers.NotFoundError{What: handlers.CodePrincipalNotFound, Name: who, Hint: unknownActor}
	}
	return who, nil
}
