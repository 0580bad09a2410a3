package main

import (
	"cmp"
	"context"
	"iter"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
)

// importStep is one part of the work. Steps come in the order in which things
// happened, as far as the old server knows.
type importStep struct {
	at   int64
	what string // for the terminal
	do   func(ctx context.Context) error
}

// importedModel is a model on its way.
type importedModel struct {
	there    mlflowModel
	spec     handlers.ModelSpec
	user     string             // that its tags name
	here     *api.Model         // nil if there is none of that name
	lost     bool               // it can't be here, nor can anything of it
	done     bool               // it was seen to
	versions []*importedVersion // by number

	describeAt int64 // 0 to describe it as it is registered
}

// importedVersion is a version on its way.
type importedVersion struct {
	model   *importedModel
	there   mlflowVersion
	number  int
	spec    handlers.VersionSpec // without the user's tag
	user    string
	base    string              // name of the model that it was copied from, empty if it wasn't
	baseNo  int                 // and the version's number
	here    *api.VersionSummary // nil if it isn't here
	lost    bool
	done    bool
	isNew   bool                // this run registered it
	moreTag []map[string]string // tags that the registration has no room for

	describeAt, stageAt int64 // 0 to describe it as it is registered, and for no stage
}

func (v *importedVersion) name() string { return versionOf(v.model.spec.Name, v.number) }

// plan sets what is there beside what is here.
func (im *importer) plan(ctx context.Context, there mlflowRegistry) ([]importStep, error) {
	im.gather(there)
	var steps []importStep
	for i, m := range im.models {
		im.progress.show("compare " + countOf(i+1, "model"))
		if err := im.lookUp(ctx, m); err != nil {
			return nil, err
		}
		im.timesOf(m)
		steps = append(steps, im.stepsOf(m)...)
	}
	slices.SortStableFunc(steps, func(a, b importStep) int { return cmp.Compare(a.at, b.at) })
	for _, hook := range there.webhooks {
		im.report.find(foundNotMapped, "webhook", hook.Name, "webhooks are not copied: their secrets can't be read; make it anew where it is needed")
	}
	return steps, nil
}

// gather makes models of lists. What can't be here is reported.
func (im *importer) gather(there mlflowRegistry) {
	byName := map[string]*importedModel{}
	slices.SortStableFunc(there.models, func(a, b mlflowModel) int { return cmp.Compare(a.Created, b.Created) })
	for _, found := range there.models {
		m := &importedModel{there: found}
		byName[found.Name] = m
		im.models = append(im.models, m)
		im.fitModel(m)
		if m.lost {
			continue
		}
		if other := im.byName[m.spec.Name]; other != nil {
			m.lost = true
			im.lacksModel(m, "its name and that of %s are the same in Unicode's normal form; rename it on the old server", printable(other.there.Name))
		} else {
			im.byName[m.spec.Name] = m
		}
	}
	for _, found := range there.versions {
		if m := byName[found.Name]; m != nil {
			m.versions = append(m.versions, &importedVersion{model: m, there: found})
		} // else its model was deleted a moment ago
	}
	for _, m := range im.models {
		slices.SortFunc(m.versions, func(a, b *importedVersion) int { return cmp.Compare(a.there.Version, b.there.Version) })
		for _, v := range m.versions {
			im.fitVersion(v)
		}
	}
}

// fitModel makes a model's spec, without what the registry would refuse.
func (im *importer) fitModel(m *importedModel) {
	m.spec = handlers.ModelSpec{Name: handlers.NormalName(m.there.Name), Description: m.there.Description}
	m.spec.Tags, m.user = im.fitTags(m.there.Name, m.there.Tags)
	for f := range fieldsOf(func() handlers.Command { return &handlers.RegisterModel{Spec: m.spec} }) {
		switch key, isTag, there := tagOf(f.Pointer, m.spec.Tags); {
		case isTag && !there: // there was more about it
		case isTag:
			delete(m.spec.Tags, key)
			im.report.lacks(&im.report.Tags, "tag "+printable(key), m.there.Name, "it %s", f.Detail)
		case f.Pointer == "/description":
			m.spec.Description = ""
			im.report.lacks(&im.report.Descriptions, "description", m.there.Name, "it %s", f.Detail)
		default:
			m.lost = true
			im.lacksModel(m, "its name %s; rename it on the old server", f.Detail)
			return
		}
	}
	if m.there.Job != "" {
		im.report.find(foundNotMapped, "deployment job", m.there.Name, "jobs belong to the old server: %s", printable(m.there.Job))
	}
}

func (im *importer) lacksModel(m *importedModel, format string, args ...any) {
	im.report.lacks(im.tallyOf(m), kindOf(m), m.there.Name, format, args...)
	im.report.Aliases.NotMapped += len(m.there.Aliases)
}

// fitTags keeps tags that can be here. The name in the user's tag is taken out of
// them: the log must not have it.
func (im *importer) fitTags(of string, all []mlflowTag) (tags map[string]string, user string) {
	tags = map[string]string{}
	for _, t := range all {
		lacks := func(format string, args ...any) {
			im.report.lacks(&im.report.Tags, "tag "+printable(t.Key), of, format, args...)
		}
		switch {
		case strings.HasPrefix(t.Key, "modelog."):
			lacks("tags of that name tell of deprecations; deprecate the version here")
		case t.Key != mlflowUserTag || strings.TrimSpace(t.Value) == "" || t.Value == erasedUser:
			tags[t.Key] = t.Value
		case !canAct(t.Value):
			lacks("its value can't be the name of somebody: it has more than 256 characters, or control characters")
		default:
			user = strings.TrimSpace(t.Value)
		}
	}
	keys := sortedKeys(tags)
	for _, key := range keys[min(len(keys), handlers.MaxTags-1):] { // the user's is one more
		delete(tags, key)
		im.report.lacks(&im.report.Tags, "tag "+printable(key), of, "there are more than %d tags", handlers.MaxTags)
	}
	return tags, user
}

// fitVersion makes a version's spec, without what the registry would refuse.
func (im *importer) fitVersion(v *importedVersion) {
	t := &v.there
	of := versionOf(v.model.there.Name, int(t.Version))
	lacks := func(format string, args ...any) {
		v.lost = true
		im.report.lacks(&im.report.Versions, "version", of, format, args...)
	}
	switch {
	case v.model.lost:
		v.lost = true
		im.report.Versions.NotMapped++ // the model says why
		return
	case t.Version < 1 || t.Version > handlers.MaxVersion:
		lacks("its number is not from 1 to %d", handlers.MaxVersion)
		return
	case t.Status != "READY" && t.Status != "":
		lacks("its status is %s, not READY: it was never finished", printable(t.Status))
		return
	}
	v.number = int(t.Version)
	v.spec = handlers.VersionSpec{
		Version: v.number, Source: t.Source, RunID: t.RunID, RunLink: t.RunLink, LoggedModel: t.ModelID, Description: t.Description,
	}
	v.spec.Tags, v.user = im.fitTags(of, t.Tags)
	if v.user == "" && canAct(t.User) {
		v.user = strings.TrimSpace(t.User)
	}
	v.base, v.baseNo = v.copiedFrom()
	im.fitFields(v, of, lacks)
	for what, extra := range map[string][]byte{"model_params": t.Parameters, "model_metrics": t.Metrics} {
		if len(extra) > len("[]") && string(extra) != "null" {
			im.report.find(foundNotMapped, what, of, "they are the old server's own; read them there")
		}
	}
	if t.StatusMessage != "" {
		im.report.find(foundNotMapped, "status message", of, "there is no place for it: %s", printable(t.StatusMessage))
	}
	if !v.lost {
		v.spread()
	}
}

func (im *importer) fitFields(v *importedVersion, of string, lacks func(string, ...any)) {
	for f := range fieldsOf(func() handlers.Command { return &handlers.RegisterVersion{Model: v.model.spec.Name, Spec: v.spec} }) {
		optional := map[string]*string{"/run_id": &v.spec.RunID, "/run_link": &v.spec.RunLink, "/logged_model": &v.spec.LoggedModel}
		switch key, isTag, there := tagOf(f.Pointer, v.spec.Tags); {
		case isTag && !there, optional[f.Pointer] != nil && *optional[f.Pointer] == "": // there was more about it
		case isTag:
			delete(v.spec.Tags, key)
			im.report.lacks(&im.report.Tags, "tag "+printable(key), of, "it %s", f.Detail)
		case f.Pointer == "/description":
			v.spec.Description = ""
			im.report.lacks(&im.report.Descriptions, "description", of, "it %s", f.Detail)
		case optional[f.Pointer] != nil:
			*optional[f.Pointer] = ""
			im.report.find(foundNotMapped, f.Pointer[1:], of, "it %s", f.Detail)
		default:
			lacks("its %s %s", strings.TrimPrefix(f.Pointer, "/"), f.Detail)
			return
		}
	}
}

// copiedFrom gives the version that a source of models:/name/number means. The
// source models:/m-1234 means a logged model.
func (v *importedVersion) copiedFrom() (name string, number int) {
	rest, ok := strings.CutPrefix(v.spec.Source, "models:/")
	if !ok {
		return "", 0
	}
	name, ref, isVersion := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	if !isVersion {
		if v.spec.LoggedModel == "" && !strings.Contains(name, "@") {
			v.spec.LoggedModel = name
		}
		return "", 0
	}
	return handlers.NormalName(name), atoi(ref)
}

// registrationRoom is how many bytes of description and tags a registration takes
// along, so that the event is well below its limit.
const registrationRoom = 500_000

// spread leaves tags for later that the registration has no room for.
func (v *importedVersion) spread() {
	room := registrationRoom - jsonSize(v.spec.Description)
	part := map[string]string{}
	v.moreTag = nil
	first := true
	all := v.spec.Tags
	for _, key := range sortedKeys(all) {
		size := jsonSize(key) + jsonSize(all[key])
		if size > room && (len(part) > 0 || first) {
			if first {
				v.spec.Tags, first = part, false
			} else {
				v.moreTag = append(v.moreTag, part)
			}
			part, room = map[string]string{}, registrationRoom
		}
		part[key] = all[key]
		room -= size
	}
	if first {
		v.spec.Tags = part
	} else {
		v.moreTag = append(v.moreTag, part)
	}
}

// lookUp reads what is here of a model.
func (im *importer) lookUp(ctx context.Context, m *importedModel) error {
	if m.lost {
		return nil
	}
	here, err := get[api.Model](ctx, im.client, path("models", m.spec.Name), nil)
	switch {
	case hasCode(err, handlers.CodeModelNotFound):
		return nil
	case err != nil:
		return err
	}
	m.here = &here
	if created, ok := occurred(m.there.Created); ok && here.CreatedAt != created {
		im.loseModel(m, func() {
			im.report.differs(im.tallyOf(m), kindOf(m), m.spec.Name, "another one has this name here, made at %s; rename one of them", here.CreatedAt)
		})
		return nil
	}
	versions, err := pages(ctx, im.client, path("models", m.spec.Name, "versions"), math.MaxInt,
		func(l api.VersionList) ([]api.VersionSummary, string) { return l.Versions, l.NextCursor })
	if err != nil {
		return err
	}
	byNumber := make(map[int]*api.VersionSummary, len(versions))
	for i := range versions {
		byNumber[versions[i].Version] = &versions[i]
	}
	for _, v := range m.versions {
		v.here = byNumber[v.number]
	}
	return nil
}

// loseModel reports a model that can't be here, and with it all that belongs to it.
func (im *importer) loseModel(m *importedModel, say func()) {
	say()
	m.lost = true
	im.report.Aliases.NotMapped += len(m.there.Aliases)
	for _, v := range m.versions {
		if !v.lost {
			v.lost = true
			im.report.Versions.NotMapped++
		}
	}
}

// timesOf decides when what happened that the old server knows the last time of
// only: the stage and the description say what the last update may have been.
func (im *importer) timesOf(m *importedModel) {
	if m.lost {
		return
	}
	now := time.Now()
	modelUpdated := int64(m.there.Created)
	for _, v := range m.versions {
		if v.lost {
			continue
		}
		created, updated := int64(v.there.Created), int64(v.there.Updated)
		if !v.there.Updated.isTime(now) || updated < created {
			updated = created
		}
		shown := created
		if !v.inFirstStage() {
			v.stageAt = updated
			if limit := int64(m.there.Updated); m.there.Updated.isTime(now) && updated > limit {
				v.stageAt = max(created, limit) // a transition would have moved the model, too
			}
			shown = v.stageAt
		}
		if v.spec.Description != "" && shown < updated {
			v.describeAt, shown = updated, updated
		}
		modelUpdated = max(modelUpdated, created, v.stageAt)
		if v.here == nil && shown != updated {
			im.report.find(foundNoted, "last update", v.name(), "it was at %s there, and is shown as %s: the old server doesn't say what changed", milli(updated), milli(shown))
		}
		if _, ok := occurred(v.there.Created); !ok && v.here == nil {
			im.report.find(foundNoted, "creation time", v.name(), "the old server has none that could be; it is that of the import")
		}
	}
	updated := int64(m.there.Updated)
	switch {
	case !m.there.Updated.isTime(now) || updated == modelUpdated:
	case m.spec.Description != "" && updated > modelUpdated:
		m.describeAt = updated
	case m.here == nil:
		im.report.find(foundNoted, "last update", m.spec.Name, "it was at %s there, and is shown as %s: the old server doesn't say what changed", milli(updated), milli(modelUpdated))
	}
	if _, ok := occurred(m.there.Created); !ok && m.here == nil {
		im.report.find(foundNoted, "creation time", m.spec.Name, "the old server has none that could be; it is that of the import")
	}
}

// inFirstStage says whether a version has gone to no stage yet.
func (v *importedVersion) inFirstStage() bool {
	return v.there.Stage == "" || strings.EqualFold(v.there.Stage, events.DefaultLifecycle().Initial())
}

// stepsOf gives what is to be done about a model.
func (im *importer) stepsOf(m *importedModel) []importStep {
	name := printable(m.there.Name)
	if m.lost {
		return nil
	}
	steps := []importStep{{int64(m.there.Created), name, func(ctx context.Context) error { return im.bringModel(ctx, m) }}}
	if m.spec.Description != "" {
		at := max(m.describeAt, int64(m.there.Created))
		steps = append(steps, importStep{at, name, func(ctx context.Context) error { return im.describeModel(ctx, m) }})
	}
	latest := int64(m.there.Created)
	for _, v := range m.versions {
		if v.lost {
			continue
		}
		what := printable(v.name())
		latest = max(latest, int64(v.there.Created))
		steps = append(steps, importStep{latest, what, func(ctx context.Context) error { return im.bringVersions(ctx, m, v.number) }})
		if v.spec.Description != "" {
			steps = append(steps, importStep{max(latest, v.describeAt), what, func(ctx context.Context) error { return im.describeVersion(ctx, v) }})
		}
		if !v.inFirstStage() {
			steps = append(steps, importStep{max(latest, v.stageAt), what, func(ctx context.Context) error { return im.promote(ctx, v) }})
		}
	}
	for _, alias := range m.there.Aliases {
		what := name + "@" + printable(alias.Alias)
		steps = append(steps, importStep{math.MaxInt64, what, func(ctx context.Context) error { return im.assign(ctx, m, alias) }})
	}
	return steps
}

// fieldsOf gives what the registry would refuse of a command whatever the state,
// until the caller has taken all of it out, or gives up.
func fieldsOf(cmd func() handlers.Command) iter.Seq[handlers.FieldError] {
	return func(yield func(handlers.FieldError) bool) {
		for range 50 { // more than there are tags to take out
			fields := refusedFields(cmd())
			for _, f := range fields {
				if !yield(f) {
					return
				}
			}
			if len(fields) == 0 {
				return
			}
		}
	}
}

func refusedFields(cmd handlers.Command) []handlers.FieldError {
	return handlers.FieldsOf((&handlers.Request{Command: cmd}).Check())
}

// tagOf gives the tag that a pointer is about, and whether it is still there.
func tagOf(pointer string, tags map[string]string) (key string, ok, there bool) {
	escaped, ok := strings.CutPrefix(pointer, "/tags/")
	key = strings.NewReplacer("~1", "/", "~0", "~").Replace(escaped)
	_, there = tags[key]
	return key, ok, there
}

// readUsers reads who is known already.
func (im *importer) readUsers(ctx context.Context) error {
	list, err := call[api.PrincipalList](ctx, im.client, http.MethodGet, "/v1/principals", nil)
	if err != nil {
		return err
	}
	for _, p := range list.Principals {
		im.users[p.Name] = p.ID
	}
	return nil
}

// filesOf finds where the files of a copy are whose original isn't here.
func (im *importer) filesOf(ctx context.Context, v *importedVersion) error {
	uri, err := im.source.downloadURI(ctx, v.there.Name, v.number)
	if err != nil {
		return err
	}
	original := printable(v.base)
	spec := v.spec
	if spec.Source = uri; uri == "" || uri == v.spec.Source || len(refusedFields(&handlers.RegisterVersion{Model: v.model.spec.Name, Spec: spec})) > 0 {
		im.report.find(foundNoted, "source", v.name(), "it is a copy of %s/%d, which isn't here, and the old server doesn't say where the files are", original, v.baseNo)
		return nil
	}
	v.spec.Source = uri
	im.report.find(foundNoted, "source", v.name(), "it is a copy of %s/%d, which isn't here; its source is now where the files are, %s", original, v.baseNo, printable(uri))
	return nil
}
