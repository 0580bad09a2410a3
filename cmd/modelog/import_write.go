package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/filter"
	"github.com/modelog/modelog/handlers/principals"
)

// mlflowUserTag names a person. The registry's MLflow API keeps the principal in
// the place of the name, and shows the name; what is imported must look the same.
const (
	mlflowUserTag = "mlflow.user"
	erasedUser    = "[erased]"
)

// bringModel registers a model, unless it is here.
func (im *importer) bringModel(ctx context.Context, m *importedModel) error {
	if m.done || m.lost {
		return nil
	}
	m.done = true
	name := m.spec.Name
	at := path("models", name)
	if m.here != nil {
		im.tallyOf(m).There++
		im.compareTags(name, m.spec.Tags, m.here.Tags)
		return im.userTag(ctx, "model", name, at, m.user, m.here.Tags, m.there.Created)
	}
	spec := m.spec
	if m.describeAt > 0 {
		spec.Description = ""
	}
	var tagged bool
	spec.Tags, tagged = im.withUser(spec.Tags, m.user)
	var made api.Model
	result, err := im.write(ctx, importWrite{
		method: http.MethodPost, path: "/v1/models", body: spec, actor: m.user, at: int64(m.there.Created),
		key: []string{"model", name, strconv.FormatInt(int64(m.there.Created), 10)},
	}, &made)
	switch {
	case err != nil:
		return err
	case result.before:
		im.loseModel(m, func() {
			im.report.differs(im.tallyOf(m), kindOf(m), name, "it was brought along before, and was deleted or renamed here since")
		})
		return nil
	case result.refused != "":
		im.loseModel(m, func() { im.report.lacks(im.tallyOf(m), kindOf(m), name, "%s", result.refused) })
		return nil
	}
	im.tallyOf(m).Copied++
	im.report.Tags.Copied += len(spec.Tags)
	if tagged {
		return nil
	}
	im.users[m.user] = made.CreatedBy
	return im.userTag(ctx, "model", name, at, m.user, nil, m.there.Created)
}

// bringVersions registers a model's versions up to a number, lowest first: a
// number can't be given after a higher one.
func (im *importer) bringVersions(ctx context.Context, m *importedModel, last int) error {
	if err := im.bringModel(ctx, m); err != nil {
		return err
	}
	for _, v := range m.versions {
		if v.number > last || m.lost {
			break
		}
		if v.lost || v.done {
			continue
		}
		v.done = true
		if err := im.bringVersion(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) bringVersion(ctx context.Context, v *importedVersion) error {
	if err := im.original(ctx, v); err != nil {
		return err
	}
	name := v.name()
	if v.here != nil {
		return im.compareVersion(ctx, v)
	}
	spec := v.spec
	if v.describeAt > 0 {
		spec.Description = ""
	}
	var tagged bool
	spec.Tags, tagged = im.withUser(spec.Tags, v.user)
	var made api.Version
	result, err := im.write(ctx, importWrite{
		method: http.MethodPost, path: path("models", v.model.spec.Name, "versions"), body: spec, actor: v.user, at: int64(v.there.Created),
		key: []string{"version", v.model.spec.Name, v.incarnation(), strconv.Itoa(v.number)},
	}, &made)
	switch {
	case err != nil:
		return err
	case result.before:
		v.lost = true
		im.report.differs(&im.report.Versions, "version", name, "it was brought along before, and was deleted here since")
		return nil
	case result.refused != "":
		v.lost = true
		im.report.lacks(&im.report.Versions, "version", name, "%s", result.refused)
		return nil
	}
	v.isNew = true
	im.report.Versions.Copied++
	im.report.Tags.Copied += len(spec.Tags)
	if err := im.moreTags(ctx, v, nil); err != nil || tagged {
		return err
	}
	im.users[v.user] = made.CreatedBy
	return im.userTag(ctx, "version", name, v.path(), v.user, nil, v.there.Created)
}

// incarnation tells a model from one of the same name that was deleted.
func (v *importedVersion) incarnation() string {
	return strconv.FormatInt(int64(v.model.there.Created), 10)
}

func (v *importedVersion) path(more ...string) string {
	return path(append([]string{"models", v.model.spec.Name, "versions", strconv.Itoa(v.number)}, more...)...)
}

// original sees to the version that one was copied from, which has the files.
func (im *importer) original(ctx context.Context, v *importedVersion) error {
	if v.base == "" {
		return nil
	}
	if m := im.byName[v.base]; m != nil && (m != v.model || v.baseNo < v.number) {
		if err := im.bringVersions(ctx, m, v.baseNo); err != nil {
			return err
		}
		i := slices.IndexFunc(m.versions, func(o *importedVersion) bool { return o.number == v.baseNo && !o.lost })
		if i >= 0 && (m.versions[i].isNew || m.versions[i].here != nil) {
			v.spec.BaseModel = versionOf(m.spec.Name, v.baseNo)
			return nil
		}
	}
	return im.filesOf(ctx, v)
}

// compareVersion looks at a version that is here already.
func (im *importer) compareVersion(ctx context.Context, v *importedVersion) error {
	created, known := occurred(v.there.Created)
	sameSource := v.here.Source == v.spec.Source || v.here.Source == v.there.Source
	if known && v.here.CreatedAt != created || !sameSource || v.here.RunID != v.spec.RunID {
		v.lost = true
		im.report.differs(&im.report.Versions, "version", v.name(), "another one has this number here, made at %s with source %s", v.here.CreatedAt, printable(v.here.Source))
		return nil
	}
	im.report.Versions.There++
	im.compareTags(v.name(), v.spec.Tags, v.here.Tags)
	if err := im.moreTags(ctx, v, v.here.Tags); err != nil {
		return err
	}
	return im.userTag(ctx, "version", v.name(), v.path(), v.user, v.here.Tags, v.there.Created)
}

// compareTags looks at tags that came with a registration.
func (im *importer) compareTags(of string, there, here map[string]string) {
	for _, key := range sortedKeys(there) {
		value, ok := here[key]
		switch {
		case !ok:
			im.report.differs(&im.report.Tags, "tag "+printable(key), of, "it isn't here: it was removed here, or set there later")
		case value != there[key]:
			im.report.differs(&im.report.Tags, "tag "+printable(key), of, "it is %s here, and %s there", printable(value), printable(there[key]))
		default:
			im.report.Tags.There++
		}
	}
}

// moreTags sets the tags that the registration had no room for.
func (im *importer) moreTags(ctx context.Context, v *importedVersion, here map[string]string) error {
	for i, part := range v.moreTag {
		if slices.ContainsFunc(sortedKeys(part), func(key string) bool { _, ok := here[key]; return ok }) {
			im.compareTags(v.name(), part, here)
			continue
		}
		result, err := im.write(ctx, importWrite{
			method: http.MethodPatch, path: v.path(), body: map[string]any{"tags": part}, at: int64(v.there.Created),
			key: []string{"tags", v.model.spec.Name, v.incarnation(), strconv.Itoa(v.number), strconv.Itoa(i)},
		}, nil)
		switch {
		case err != nil:
			return err
		case result.refused != "":
			im.report.lacksTags(len(part), v.name(), result.refused)
		case result.before:
			im.compareTags(v.name(), part, here)
		default:
			im.report.Tags.Copied += len(part)
		}
	}
	return nil
}

// lacksTags counts tags that were refused together.
func (r *importReport) lacksTags(n int, of, why string) {
	r.Tags.NotMapped += n
	r.find(foundNotMapped, countOf(n, "tag"), of, "%s", why)
}

// withUser adds the principal of a user, if it is known. ok is false if the tag is
// to be set later, when it is.
func (im *importer) withUser(tags map[string]string, user string) (with map[string]string, ok bool) {
	if user == "" {
		return tags, true
	}
	id := im.users[user]
	if id == "" {
		return tags, false
	}
	with = maps.Clone(tags)
	with[mlflowUserTag] = id
	return with, true
}

// userTag sets the tag that names a user, unless it is here.
func (im *importer) userTag(ctx context.Context, kind, of, at, user string, here map[string]string, when wholeNumber) error {
	if user == "" {
		return nil
	}
	id, value := im.users[user], here[mlflowUserTag]
	switch {
	case value != "" && value == id:
		im.report.Tags.There++
		return nil
	case value != "":
		im.report.differs(&im.report.Tags, "tag "+mlflowUserTag, of, "it names somebody else here")
		return nil
	}
	result, err := im.write(ctx, importWrite{
		method: http.MethodPatch, path: at, body: map[string]any{"tags": map[string]string{mlflowUserTag: id}}, at: int64(when),
		key: []string{"user", kind, of, strconv.FormatInt(int64(when), 10)},
	}, nil)
	switch {
	case err != nil:
		return err
	case result.refused != "":
		im.report.lacksTags(1, of, result.refused)
	case result.before:
		im.report.differs(&im.report.Tags, "tag "+mlflowUserTag, of, "it was removed here")
	default:
		im.report.Tags.Copied++
	}
	return nil
}

// describeModel sees to a model's description, if it has one there.
func (im *importer) describeModel(ctx context.Context, m *importedModel) error {
	if m.lost {
		return nil
	}
	var here *string
	if m.here != nil {
		here = &m.here.Description
	}
	return im.describe(ctx, importedText{
		of: m.spec.Name, path: path("models", m.spec.Name), text: m.spec.Description, here: here, at: m.describeAt,
		key: []string{"description", m.spec.Name, strconv.FormatInt(int64(m.there.Created), 10)},
	})
}

func (im *importer) describeVersion(ctx context.Context, v *importedVersion) error {
	if v.lost || v.model.lost {
		return nil
	}
	var here *string
	if v.here != nil {
		here = &v.here.Description
	}
	return im.describe(ctx, importedText{
		of: v.name(), path: v.path(), text: v.spec.Description, here: here, at: v.describeAt,
		key: []string{"description", v.model.spec.Name, v.incarnation(), strconv.Itoa(v.number)},
	})
}

// importedText is a description on its way.
type importedText struct {
	of, path, text string
	here           *string // nil if this run registered what it is of
	at             int64   // 0 if it goes with the registration
	key            []string
}

func (im *importer) describe(ctx context.Context, d importedText) error {
	tally := &im.report.Descriptions
	switch {
	case d.here != nil && *d.here == d.text:
		tally.There++
		return nil
	case d.here != nil && (*d.here != "" || d.at == 0):
		im.report.differs(tally, "description", d.of, "it was changed since, here or there")
		return nil
	case d.here == nil && d.at == 0:
		tally.Copied++
		return nil
	}
	result, err := im.write(ctx, importWrite{
		method: http.MethodPatch, path: d.path, body: map[string]any{"description": d.text}, at: d.at, key: d.key,
	}, nil)
	return im.tell(tally, "description", d.of, result, err)
}

// tell counts a write of one thing.
func (im *importer) tell(tally *importTally, what, of string, result writeResult, err error) error {
	switch {
	case err != nil:
		return err
	case result.before:
		im.report.differs(tally, what, of, "it was brought along before, and was changed here since")
	case result.refused != "":
		im.report.lacks(tally, what, of, "%s", result.refused)
	default:
		tally.Copied++
	}
	return nil
}

// promote takes a version to its stage.
func (im *importer) promote(ctx context.Context, v *importedVersion) error {
	if v.lost || v.model.lost {
		return nil
	}
	tally := &im.report.Stages
	lifecycle := events.Lifecycle{Stages: events.DefaultLifecycle().Stages}
	if m := v.model.here; m != nil {
		lifecycle.Stages = m.Lifecycle.Stages
	}
	to, known := lifecycle.Stage(v.there.Stage)
	if !known {
		im.report.lacks(tally, "stage", v.name(), "%s is no stage of the model; its stages are %s", printable(v.there.Stage), strings.Join(lifecycle.Stages, ", "))
		return nil
	}
	if v.here != nil && v.here.Stage == to {
		tally.There++
		return nil
	}
	if v.here != nil && v.here.Stage != lifecycle.Initial() {
		im.report.differs(tally, "stage", v.name(), "it is in %s here, and in %s there", v.here.Stage, to)
		return nil
	}
	result, err := im.write(ctx, importWrite{
		method: http.MethodPost, path: v.path("promote"), body: handlers.Promotion{To: to}, at: v.stageAt,
		key: []string{"stage", v.model.spec.Name, v.incarnation(), strconv.Itoa(v.number)},
	}, nil)
	return im.tell(tally, "stage", v.name(), result, err)
}

// assign points an alias at its version. The old server doesn't know since when.
func (im *importer) assign(ctx context.Context, m *importedModel, alias mlflowAlias) error {
	if m.lost {
		return nil // it was counted with the model
	}
	tally, of := &im.report.Aliases, m.spec.Name+"@"+alias.Alias
	name, number := handlers.NormalName(alias.Alias), int(alias.Version)
	i := slices.IndexFunc(m.versions, func(v *importedVersion) bool { return v.number == number })
	if i < 0 || m.versions[i].lost {
		im.report.lacks(tally, "alias", of, "it points at version %d, which isn't here as it is there", number)
		return nil
	}
	fresh := uint64(0)
	body := handlers.Assignment{Version: number, IfVersion: &fresh}
	if fields := refusedFields(&handlers.AssignAlias{Model: m.spec.Name, Alias: name, Assignment: body}); len(fields) > 0 {
		im.report.lacks(tally, "alias", of, "it %s", fields[0].Detail)
		return nil
	}
	if m.here != nil {
		switch here, ok := m.here.Aliases[name]; {
		case ok && here == number:
			tally.There++
			return nil
		case ok:
			im.report.differs(tally, "alias", of, "it points at version %d here, and at %d there; modelog alias set moves it", here, number)
			return nil
		}
	}
	result, err := im.write(ctx, importWrite{
		method: http.MethodPut, path: path("models", m.spec.Name, "aliases", name), body: body,
		key: []string{"alias", m.spec.Name, strconv.FormatInt(int64(m.there.Created), 10), name},
	}, nil)
	return im.tell(tally, "alias", of, result, err)
}

// importWrite is one write to the registry.
type importWrite struct {
	method, path string
	body         any
	actor        string // empty for who imports
	at           int64  // when it happened, in milliseconds; not positive for now
	// key tells the write from all others of its kind. It doesn't tell what is
	// written: that comes along once, and is the registry's own from then on.
	key []string
}

// writeResult says what became of a write. It is empty if all went well.
type writeResult struct {
	before  bool   // an earlier run wrote it
	refused string // why
}

const importTries = 5

// write makes a write, or not, in a dry run. It fails with what speaks against all
// other writes, too.
func (im *importer) write(ctx context.Context, w importWrite, answer any) (writeResult, error) {
	if im.dryRun {
		return writeResult{}, nil
	}
	c := *im.client
	sum := sha256.Sum256([]byte(strings.Join(append([]string{im.source.base}, w.key...), "\x00")))
	c.key = "import-" + hex.EncodeToString(sum[:16])
	if w.actor != "" {
		c.actor = w.actor
	}
	if at, ok := occurred(wholeNumber(w.at)); ok {
		c.occurred = at
	}
	for try := 1; ; try++ {
		data, header, err := c.exchange(ctx, w.method, w.path, w.body)
		problem, ok := errors.AsType[*problemError](err)
		switch {
		case err == nil:
			return im.written(data, header, answer)
		case !ok:
			return writeResult{}, err
		}
		switch problem.Code {
		case handlers.CodeBusy, handlers.CodeUnavailable, handlers.CodeOutcomeUnknown:
			if try == importTries {
				return writeResult{}, err
			}
			if err := sleep(ctx, time.Duration(try)*200*time.Millisecond); err != nil {
				return writeResult{}, err
			}
		case handlers.CodeKeyReused:
			return writeResult{before: true}, nil
		case handlers.CodeInvalid, handlers.CodeTooLarge, handlers.CodeModelNotFound, handlers.CodeVersionNotFound,
			handlers.CodeModelExists, handlers.CodeVersionNumberTaken, handlers.CodeVersionGone, handlers.CodeVersionDeprecated,
			handlers.CodeTransition, handlers.CodePreconditionFailed:
			return writeResult{refused: problem.Detail}, nil
		default:
			return writeResult{}, err
		}
	}
}

func (im *importer) written(data []byte, header http.Header, answer any) (writeResult, error) {
	sequence, err := strconv.ParseUint(header.Get("Modelog-Sequence"), 10, 64)
	if err == nil && answer != nil {
		err = json.Unmarshal(data, answer, api.Numbers)
	}
	if err != nil {
		return writeResult{}, fmt.Errorf("read the answer of %s: %w; is it a modelog server of this release?", im.client.server, err)
	}
	im.report.Sequence = max(im.report.Sequence, sequence)
	return writeResult{before: sequence <= im.started}, nil
}

// occurred spells a time of the old server's, if it can be one.
func occurred(n wholeNumber) (at string, ok bool) {
	return milli(int64(n)), n.isTime(time.Now())
}

func milli(n int64) string { return events.FormatTime(time.UnixMilli(n)) }

// canAct says whether a name can be that of a principal.
func canAct(name string) bool {
	name = strings.TrimSpace(name)
	format := func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }
	return name != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= principals.MaxName && !strings.ContainsFunc(name, format)
}

func versionOf(model string, number int) string { return model + "/" + strconv.Itoa(number) }

// atoi gives 0, which no version has, for what is no number of one.
func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n > handlers.MaxVersion {
		return 0
	}
	return n
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func jsonSize(s string) int {
	data, err := json.Marshal(s)
	if err != nil {
		return len(s)
	}
	return len(data)
}

func isPromptThere(m *importedModel) bool {
	return slices.ContainsFunc(m.there.Tags, func(t mlflowTag) bool {
		return t.Key == filter.PromptTag && strings.EqualFold(t.Value, "true")
	})
}

func kindOf(m *importedModel) string {
	if isPromptThere(m) {
		return "prompt"
	}
	return "model"
}

func (im *importer) tallyOf(m *importedModel) *importTally {
	if isPromptThere(m) {
		return &im.report.Prompts
	}
	return &im.report.Models
}
