package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
)

// Limits of what an MLflow server may answer. Whatever it is, it can't fill the
// memory or keep the import busy for good.
const (
	mlflowBody    = 64 << 20
	mlflowItems   = 5_000_000 // models, or versions
	mlflowTimeout = 2 * time.Minute
	mlflowTries   = 3
)

// mlflowPages are the sizes of pages to try, while answers are too large.
var mlflowPages = []int{500, 20, 1}

var errTooMuch = errors.New("an answer is too large")

// mlflowReader reads from an MLflow server.
type mlflowReader struct {
	base string
	// Credentials go into the header of requests, and nowhere else.
	user, password, token string
}

// What MLflow shows, as far as it is read. Servers differ in how they spell whole
// numbers.
type (
	mlflowModel struct {
		Name        string        `json:"name"`
		Created     wholeNumber   `json:"creation_timestamp"`
		Updated     wholeNumber   `json:"last_updated_timestamp"`
		Description string        `json:"description"`
		Tags        []mlflowTag   `json:"tags"`
		Aliases     []mlflowAlias `json:"aliases"`
		Job         string        `json:"deployment_job_id"`
	}
	mlflowVersion struct {
		Name          string         `json:"name"`
		Version       wholeNumber    `json:"version"`
		Created       wholeNumber    `json:"creation_timestamp"`
		Updated       wholeNumber    `json:"last_updated_timestamp"`
		User          string         `json:"user_id"`
		Stage         string         `json:"current_stage"`
		Description   string         `json:"description"`
		Source        string         `json:"source"`
		RunID         string         `json:"run_id"`
		RunLink       string         `json:"run_link"`
		ModelID       string         `json:"model_id"`
		Status        string         `json:"status"`
		StatusMessage string         `json:"status_message"`
		Tags          []mlflowTag    `json:"tags"`
		Parameters    jsontext.Value `json:"model_params"`
		Metrics       jsontext.Value `json:"model_metrics"`
	}
	mlflowTag struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	mlflowAlias struct {
		Alias   string      `json:"alias"`
		Version wholeNumber `json:"version"`
	}
	mlflowWebhook struct {
		ID   string `json:"webhook_id"`
		Name string `json:"name"`
	}
)

// wholeNumber is spelled as a number or as a text; -1 is one that can't be read.
type wholeNumber int64

// UnmarshalJSONFrom reads either.
func (n *wholeNumber) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	value, err := dec.ReadValue()
	if err != nil {
		return err
	}
	text := strings.Trim(string(value), `"`)
	i, err := strconv.ParseInt(text, 10, 64)
	switch f, ferr := strconv.ParseFloat(text, 64); {
	case err == nil:
		*n = wholeNumber(i)
	case text == "null":
		*n = 0
	case ferr == nil && f >= 0 && f == math.Trunc(f) && f < 1<<53:
		*n = wholeNumber(f)
	default:
		*n = -1
	}
	return nil
}

// isTime says whether a number can be a time in milliseconds.
func (n wholeNumber) isTime(now time.Time) bool { return n > 0 && int64(n) <= now.UnixMilli() }

// mlflowRegistry is all that an MLflow server has.
type mlflowRegistry struct {
	models   []mlflowModel
	versions []mlflowVersion
	webhooks []mlflowWebhook
}

const onlyPrompts = "tag.`mlflow.prompt.is_prompt` = 'true'"

// readAll reads models and prompts, and then each of them for its aliases, which
// searches leave out.
func (m *mlflowReader) readAll(ctx context.Context, progress func(string)) (mlflowRegistry, error) {
	var r mlflowRegistry
	models, err := readList(ctx, m, "registered-models/search", func(v mlflowModel) string { return v.Name }, func(n int) { progress(countOf(n, "model")) })
	if err != nil {
		return r, err
	}
	r.versions, err = readList(ctx, m, "model-versions/search",
		func(v mlflowVersion) string { return strconv.FormatInt(int64(v.Version), 10) + "/" + v.Name },
		func(n int) { progress(countOf(n, "version")) })
	if err != nil {
		return r, err
	}
	for i, found := range models {
		progress(fmt.Sprintf("aliases of model %d of %d", i+1, len(models)))
		var one struct {
			Model mlflowModel `json:"registered_model"`
		}
		err := m.get(ctx, "registered-models/get", url.Values{"name": {found.Name}}, &one)
		switch status, _ := errors.AsType[*mlflowError](err); {
		case status != nil && status.status == http.StatusNotFound: // deleted a moment ago
			continue
		case err != nil:
			return r, err
		case one.Model.Name != found.Name:
			return r, m.strange("asked for model %s, it gave %s", printable(found.Name), printable(one.Model.Name))
		}
		r.models = append(r.models, one.Model)
	}
	r.webhooks, err = m.readWebhooks(ctx)
	return r, err
}

// readWebhooks lists them if the server has them and shows them.
func (m *mlflowReader) readWebhooks(ctx context.Context) ([]mlflowWebhook, error) {
	list := &mlflowList[mlflowWebhook]{id: func(w mlflowWebhook) string { return w.ID }}
	err := m.readPages(ctx, list, "webhooks", url.Values{"max_results": {"100"}}, func(int) {})
	if refused, ok := errors.AsType[*mlflowError](err); ok && refused.status < http.StatusInternalServerError {
		return nil, nil // an older one, or for administrators only
	}
	return list.items, err
}

// mlflowList gathers entries, each once.
type mlflowList[E any] struct {
	items []E
	id    func(E) string
	seen  map[string]bool
}

func (l *mlflowList[E]) add(entries []E) (anyNew bool) {
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	for _, e := range entries {
		if id := l.id(e); !l.seen[id] {
			l.seen[id], anyNew = true, true
			l.items = append(l.items, e)
		}
	}
	return anyNew
}

// readList reads a list of models or versions with that of prompts. Pages get
// smaller while answers are too large.
func readList[E any](ctx context.Context, m *mlflowReader, path string, id func(E) string, progress func(int)) (items []E, err error) {
	for _, size := range mlflowPages {
		list, prompts := &mlflowList[E]{id: id}, &mlflowList[E]{id: id}
		query := url.Values{"max_results": {strconv.Itoa(size)}, "order_by": {"name ASC"}}
		if err = m.readPages(ctx, list, path, query, progress); err == nil {
			query.Set("filter", onlyPrompts)
			err = m.readPages(ctx, prompts, path, query, progress)
		}
		if !errors.Is(err, errTooMuch) {
			list.add(prompts.items) // which a server may have among the others, too
			return list.items, err
		}
	}
	return nil, err
}

// readPages reads a list to its end, if it has one.
func (m *mlflowReader) readPages(ctx context.Context, list mlflowPager, path string, query url.Values, progress func(int)) error {
	query.Del("page_token")
	tokens := map[string]bool{}
	for {
		answer, next := list.page()
		if err := m.get(ctx, path, query, answer); err != nil {
			return err
		}
		token, anyNew, count := next()
		progress(count)
		switch {
		case token == "":
			return nil
		case tokens[token] || !anyNew && len(tokens) > 0:
			return m.strange("its list of %s never ends", path)
		case count > mlflowItems:
			return m.strange("its list of %s has more than %d entries", path, mlflowItems)
		}
		tokens[token] = true
		query.Set("page_token", token)
	}
}

// mlflowPager takes pages of a list: next is to be called once the answer is read.
type mlflowPager interface {
	page() (answer any, next func() (token string, anyNew bool, count int))
}

func (l *mlflowList[E]) page() (answer any, next func() (string, bool, int)) {
	var p struct {
		Models   []E    `json:"registered_models"`
		Versions []E    `json:"model_versions"`
		Webhooks []E    `json:"webhooks"`
		Token    string `json:"next_page_token"`
	}
	return &p, func() (string, bool, int) {
		anyNew := l.add(append(append(p.Models, p.Versions...), p.Webhooks...))
		return p.Token, anyNew, len(l.items)
	}
}

// downloadURI asks where the files of a version are, empty if it doesn't say.
func (m *mlflowReader) downloadURI(ctx context.Context, name string, version int) (string, error) {
	var answer struct {
		URI string `json:"artifact_uri"`
	}
	query := url.Values{"name": {name}, "version": {strconv.Itoa(version)}}
	err := m.get(ctx, "model-versions/get-download-uri", query, &answer)
	if _, refused := errors.AsType[*mlflowError](err); refused {
		return "", nil
	}
	return answer.URI, err
}

// mlflowError is what an MLflow server refused.
type mlflowError struct {
	status int
	text   string
}

func (e *mlflowError) Error() string { return e.text }

// get makes a request, and again if the server was busy.
func (m *mlflowReader) get(ctx context.Context, path string, query url.Values, answer any) error {
	for try := 1; ; try++ {
		err := m.getOnce(ctx, path, query, answer)
		refused, ok := errors.AsType[*mlflowError](err)
		if !ok || try == mlflowTries {
			return err
		}
		switch refused.status {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		default:
			return err
		}
		if err := sleep(ctx, time.Duration(try)*200*time.Millisecond); err != nil {
			return err
		}
	}
}

func (m *mlflowReader) getOnce(ctx context.Context, path string, query url.Values, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, mlflowTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, m.base+"/api/2.0/mlflow/"+path+"?"+query.Encode(), nil)
	if err != nil {
		return usage("--from: %v", err)
	}
	// The same precedence as in MLflow's clients.
	switch {
	case m.user != "" && m.password != "":
		r.SetBasicAuth(m.user, m.password)
	case m.token != "":
		r.Header.Set("Authorization", "Bearer "+m.token)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return m.unreachable(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read, or the read failed
	data, err := io.ReadAll(io.LimitReader(response.Body, mlflowBody+1))
	switch {
	case err != nil:
		return m.unreachable(err)
	case response.StatusCode != http.StatusOK:
		return m.refused(path, response, data)
	case len(data) > mlflowBody:
		return &exitError{handlers.ExitInvalid, fmt.Errorf("the MLflow server at %s: %w: %s gives more than %d MiB at once", m.base, errTooMuch, path, mlflowBody>>20)}
	}
	// What it holds is checked later. MLflow doesn't care for duplicate names.
	if err := json.Unmarshal(data, answer, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)); err != nil {
		return m.strange("%s doesn't give what MLflow gives (%s)", path, printable(response.Header.Get("Content-Type")))
	}
	return nil
}

func (m *mlflowReader) unreachable(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // the address is said already, without its query
	}
	return &exitError{handlers.ExitUnavailable, fmt.Errorf("the MLflow server at %s can't be read: %w; see that it runs, and run the import again", m.base, err)}
}

func (m *mlflowReader) strange(format string, args ...any) error {
	return &exitError{handlers.ExitInternal, fmt.Errorf("the server at %s isn't MLflow's, or isn't well: %s; check --from, and look at the server's log",
		m.base, fmt.Sprintf(format, args...))}
}

func (m *mlflowReader) refused(path string, response *http.Response, data []byte) error {
	var said struct {
		Code    string `json:"error_code"`
		Message string `json:"message"`
	}
	says := ""
	if json.Unmarshal(data, &said, jsontext.AllowInvalidUTF8(true)) == nil && said.Code != "" {
		says = ": " + printable(said.Code+": "+said.Message)
	}
	code, next := handlers.ExitUnavailable, "look at its log, and run the import again"
	switch status := response.StatusCode; {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		code, next = handlers.ExitInvalid, "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, of somebody who may read all models"
	case status == http.StatusNotFound:
		code, next = handlers.ExitNotFound, "check --from: it is the address that MLflow's clients use"
	case status < http.StatusInternalServerError && status != http.StatusTooManyRequests:
		code, next = handlers.ExitInternal, "check --from, and the server's release"
	}
	return &exitError{code, &mlflowError{response.StatusCode, fmt.Sprintf("the MLflow server at %s answered %s with status %d%s; %s", m.base, path, response.StatusCode, says, next)}}
}

// printable makes one short line, for people, of what came from outside.
func printable(s string) string {
	const most = 200
	short := []rune(s)
	if len(short) > most {
		short = append(short[:most], '…')
	}
	text := string(short)
	if strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.QuoteToGraphic(text)
	}
	return text
}
