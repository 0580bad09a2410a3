package api

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// auditQuery reads the filters of the trail.
func (c *call) auditQuery(page page, v projections.View) (q projections.AuditQuery, err error) {
	if page.Last != "" {
		if q.After, err = strconv.ParseUint(page.Last, 10, 63); err != nil {
			return q, errCursor
		}
	}
	if q.Oldest, err = c.oldestFirst(); err != nil {
		return q, err
	}
	if c.query.Has("resource") {
		if q.Resource, err = auditedResource(v, c.query.Get("resource")); err != nil {
			return q, err
		}
	}
	if c.query.Has("actor") {
		if q.Actor, err = c.actorID(v, c.query.Get("actor")); err != nil {
			return q, err
		}
	}
	if q.Types, err = c.actionTypes(); err != nil {
		return q, err
	}
	if q.From, q.Until, err = c.auditRange(v); err != nil {
		return q, err
	}
	q.Reason = c.query.Get("reason")
	if n := len([]rune(q.Reason)); n > handlers.MaxReason {
		return q, handlers.InvalidField("reason", "max_length", "has %d characters, more than %d", n, handlers.MaxReason)
	}
	return q, nil
}

func (c *call) oldestFirst() (bool, error) {
	switch c.query.Get("order") {
	case "", "newest":
		return false, nil
	case "oldest":
		return true, nil
	default:
		return false, handlers.InvalidField("order", "one_of", "must be newest or oldest")
	}
}

// actionOf gives the action of an event type, such as version.promoted.
func actionOf(typ string) string {
	action := strings.TrimPrefix(typ, "dev.modelog.")
	return action[:strings.LastIndexByte(action, '.')]
}

// actionTypes gives the event types of the action that is asked for, nil for all.
func (c *call) actionTypes() ([]string, error) {
	if !c.query.Has("action") {
		return nil, nil
	}
	wanted := c.query.Get("action")
	var types, actions []string
	for _, zero := range events.Kinds() {
		typ := events.TypeOf(zero)
		action := actionOf(typ)
		aggregate, _, _ := strings.Cut(action, ".")
		if wanted == action || wanted == aggregate || wanted == typ {
			types = append(types, typ)
		}
		actions = append(actions, action)
	}
	if len(types) == 0 {
		slices.Sort(actions)
		return nil, handlers.InvalidField("action", "one_of", "%q is no action; there are %s", wanted, strings.Join(slices.Compact(actions), ", "))
	}
	slices.Sort(types)
	return types, nil
}

// auditRange gives the sequences that are asked for, both included, 0 for no bound.
func (c *call) auditRange(v projections.View) (from, until uint64, err error) {
	if c.query.Has("from") {
		if from, err = c.auditMoment(v, "from", true); err != nil {
			return 0, 0, err
		}
	}
	if c.query.Has("until") {
		if until, err = c.auditMoment(v, "until", false); err != nil {
			return 0, 0, err
		}
	}
	if c.query.Has("until") && from > until && !c.inGap() {
		return 0, 0, handlers.InvalidField("until", "range", "%s is before %s, where the range begins", c.query.Get("until"), c.query.Get("from"))
	}
	return from, until, nil
}

// inGap says whether the range is of two times in order, between which nothing
// happened.
func (c *call) inGap() bool {
	from, errFrom := time.Parse(time.RFC3339, c.query.Get("from"))
	until, errUntil := time.Parse(time.RFC3339, c.query.Get("until"))
	return errFrom == nil && errUntil == nil && !until.Before(from)
}

// auditMoment gives the first sequence from a moment on, or the last one up to it.
func (c *call) auditMoment(v projections.View, name string, first bool) (uint64, error) {
	text := c.query.Get(name)
	at, err := c.moment(name, text)
	if err != nil {
		return 0, err
	}
	if at.Sequence == 0 {
		return 0, beforeTheFirst(v, name, text)
	}
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil || !first {
		return at.Sequence, nil //nolint:nilerr // it is a sequence
	}
	return c.server.cfg.Runner.SequenceAt(moment.Add(-time.Millisecond)) + 1, nil
}

func beforeTheFirst(v projections.View, name, text string) error {
	hint := "there are no events yet"
	if v.Sequence > 0 {
		hint = "that is event 1, recorded at " + events.FormatTime(v.At(1).Recorded())
	}
	return handlers.InvalidField(name, "not_before_the_first_event", "%s is before the first event; %s", text, hint)
}

// auditedResource finds what a trail is asked of: by a path or a reference, with
// any name that it had up to a view; what has the name now comes before what had it
// once. What is gone is found too.
func auditedResource(v projections.View, text string) (events.Resource, error) {
	kind, rest, _ := strings.Cut(text, "/")
	switch {
	case text == "":
		return events.Resource{}, noAuditedResource(text)
	case text == "registry":
		return events.Resource{Root: events.Root{Kind: events.RegistryRoot, ID: v.Registry().ID}}, nil
	case kind == "models" && rest != "":
		return auditedModel(v, text, strings.Split(rest, "/"))
	case kind == "targets" && rest != "":
		return auditedTarget(v, rest)
	case kind == "subscriptions" && rest != "":
		return auditedSubscription(v, rest)
	case kind == "datasets" && rest != "":
		return auditedDataset(v, text, rest)
	case strings.ContainsAny(text, "/@"):
		model, ref, err := handlers.SplitReference("resource", text)
		if err != nil {
			return events.Resource{}, err
		}
		root, err := modelOnce(v, model)
		if err != nil {
			return events.Resource{}, err
		}
		return versionOnce(v, root, model, ref)
	default:
		root, err := modelOnce(v, text)
		return events.Resource{Root: root}, err
	}
}

func auditedModel(v projections.View, text string, segments []string) (events.Resource, error) {
	for i, s := range segments {
		if plain, err := url.PathUnescape(s); err == nil {
			segments[i] = plain
		}
	}
	root, err := modelOnce(v, segments[0])
	switch {
	case err != nil || len(segments) == 1:
		return events.Resource{Root: root}, err
	case len(segments) == 3 && segments[1] == "versions":
		return versionOnce(v, root, segments[0], segments[2])
	case len(segments) == 3 && segments[1] == "aliases":
		return aliasOnce(v, root, segments[0], segments[2])
	default:
		return events.Resource{}, noAuditedResource(text)
	}
}

func noAuditedResource(text string) error {
	return handlers.InvalidField("resource", "path", "%q is neither a path such as models/fraud/versions/8 or targets/prod/scorer, nor a reference such as fraud/8", text)
}

// modelOnce finds a model by a name that it has or had, or by its id.
func modelOnce(v projections.View, name string) (events.Root, error) {
	id, ok := v.ModelNamed(handlers.NormalName(name))
	if !ok {
		var err error
		if id, err = ulid.ParseStrict(name); err == nil {
			_, ok = v.NameOf(id)
		}
	}
	if !ok {
		return events.Root{}, handlers.NotFoundError{What: handlers.CodeModelNotFound, Name: name, Hint: "none had this name up to there"}
	}
	return events.Root{Kind: events.ModelRoot, ID: id}, nil
}

// versionOnce finds a version of a model: one that is gone by its number.
func versionOnce(v projections.View, root events.Root, model, ref string) (events.Resource, error) {
	if number, err := strconv.Atoi(ref); err == nil {
		if _, registered := v.Registration(events.VersionID{ModelID: root.ID, Version: number}); registered {
			return events.Resource{Root: root, Version: number}, nil
		}
	}
	m, _, ok := v.ModelByID(root.ID)
	if !ok {
		return events.Resource{}, handlers.NotFoundError{
			What: handlers.CodeVersionNotFound, Name: model + "/" + ref, Hint: "the model is gone; name one of its versions by number",
		}
	}
	id, err := handlers.Resolve(v, m, ref)
	return events.Resource{Root: root, Version: id.Version}, err
}

func aliasOnce(v projections.View, root events.Root, model, alias string) (events.Resource, error) {
	r := events.Resource{Root: root, Alias: handlers.NormalName(alias)}
	if !v.AliasKnown(root.ID, r.Alias) {
		return r, handlers.NotFoundError{What: handlers.CodeVersionNotFound, Name: model + "@" + alias, Hint: "the model never had such an alias"}
	}
	return r, nil
}

// auditedTarget finds a target by a name that it has or had, or by its id.
func auditedTarget(v projections.View, name string) (events.Resource, error) {
	environment, own, _ := strings.Cut(name, "/")
	id, ok := v.TargetNamed(projections.TargetName{Environment: environment, Name: own})
	if !ok {
		var err error
		if id, err = ulid.ParseStrict(name); err == nil {
			ok = v.TargetKnown(id)
		}
	}
	if !ok {
		return events.Resource{}, handlers.NotFoundError{What: handlers.CodeTargetNotFound, Name: name, Hint: "none had this name up to there"}
	}
	return events.Resource{Root: events.Root{Kind: events.TargetRoot, ID: id}}, nil
}

// auditedSubscription finds a subscription that is or was there.
func auditedSubscription(v projections.View, text string) (events.Resource, error) {
	id, err := ulid.ParseStrict(text)
	if err != nil || !v.SubscriptionKnown(id) {
		return events.Resource{}, handlers.NotFoundError{What: handlers.CodeSubscriptionNotFound, Name: text, Hint: "there was none up to there"}
	}
	return events.Resource{Root: events.Root{Kind: events.SubscriptionRoot, ID: id}}, nil
}

// auditedDataset finds a data set that anything speaks of.
func auditedDataset(v projections.View, text, path string) (events.Resource, error) {
	namespace, name, two := strings.Cut(path, "/")
	if !two {
		namespace, name = "", namespace
	}
	var d events.DatasetName
	var errNamespace, errName error
	d.Namespace, errNamespace = url.PathUnescape(namespace)
	d.Name, errName = url.PathUnescape(name)
	if errNamespace == nil && errName == nil {
		for known := range v.Datasets(d) {
			if known == d {
				return events.Resource{Root: events.Root{Kind: events.RegistryRoot, ID: v.Registry().ID}, Dataset: d}, nil
			}
			break
		}
	}
	return events.Resource{}, handlers.InvalidField("resource", "known", "nothing up to there speaks of %s", text)
}
