package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"
)

// What the client does through MLflow's API.
const (
	benchMLflowAlias    = "mlflow-alias"
	benchMLflowModels   = "mlflow-models"
	benchMLflowVersions = "mlflow-versions"
	benchMLflowCreate   = "mlflow-create"
	benchMLflowShort    = "mlflow-short" // search in a model of a page
	benchMLflowLong     = "mlflow-long"  // the same in a model of very many versions
)

// benchMLflowPage is how many versions a model has, and a page of them.
const benchMLflowPage = 5

const (
	benchMLflowShortModel   = "bench-short"
	benchMLflowLongestModel = "bench-long"
)

// benchMLflowCalls make the request of a number.
var benchMLflowCalls = map[string]func(n int) benchCall{
	benchMLflowAlias: func(n int) benchCall {
		query := url.Values{"name": {benchModel(n)}, "alias": {benchAlias}}
		return benchMLflowGet("registered-models/alias", query, quoted(benchMLflowSource(n, benchMLflowPage)), 1)
	},
	benchMLflowModels: func(int) benchCall {
		return benchMLflowGet("registered-models/search", url.Values{"max_results": {strconv.Itoa(benchModels)}}, `"latest_versions"`, benchModels)
	},
	benchMLflowVersions: func(n int) benchCall { return benchMLflowSearch(benchModel(n)) },
	benchMLflowCreate:   func(n int) benchCall { return benchMLflowNewVersion(benchModel(n), benchSource(n)) },
	benchMLflowShort:    func(int) benchCall { return benchMLflowSearch(benchMLflowShortModel) },
	benchMLflowLong:     func(int) benchCall { return benchMLflowSearch(benchMLflowLongestModel) },
}

// benchMLflowSearch asks for a page of a model's versions, in the default order.
func benchMLflowSearch(model string) benchCall {
	query := url.Values{"filter": {"name='" + model + "'"}, "max_results": {strconv.Itoa(benchMLflowPage)}}
	return benchMLflowGet("model-versions/search", query, quoted(model), benchMLflowPage)
}

func benchMLflowGet(route string, query url.Values, holds string, times int) benchCall {
	return benchCall{
		method: http.MethodGet, path: "/api/2.0/mlflow/" + route + "?" + query.Encode(), status: http.StatusOK, holds: holds, times: times,
	}
}

func quoted(s string) string { return `"` + s + `"` }

// benchMLflowSource is that of a version which is there from the start.
func benchMLflowSource(model, version int) string {
	return fmt.Sprintf("s3://models/%s/%d", benchModel(model), version)
}

// benchMLflowVersionSpec is what a training pipeline sends with MLflow's client.
type benchMLflowVersionSpec struct {
	Name        string           `json:"name"`
	Source      string           `json:"source"`
	RunID       string           `json:"run_id"`
	Description string           `json:"description"`
	Tags        []benchMLflowTag `json:"tags"`
}

type benchMLflowTag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func benchMLflowNewVersion(model, source string) benchCall {
	s := benchSpec(0)
	return benchMLflowPost("model-versions/create", benchMLflowVersionSpec{
		Name: model, Source: source, RunID: s.RunID, Description: s.Description, Tags: []benchMLflowTag{{"team", "risk"}, {"trigger", "nightly"}},
	}, quoted(source))
}

// benchMLflowPost makes a request whose answer holds something once.
func benchMLflowPost(route string, body any, holds string) benchCall {
	data, _ := json.Marshal(body) // strings always can be
	return benchCall{method: http.MethodPost, path: "/api/2.0/mlflow/" + route, body: string(data), status: http.StatusOK, holds: holds, times: 1}
}

// fillMLflow registers the models that are read, each with its versions and an
// alias of the last.
func fillMLflow(ctx context.Context, url string) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchMLflowConnections}}
	defer client.CloseIdleConnections()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(benchMLflowConnections)
	for i := range benchModels {
		group.Go(func() error {
			for _, call := range benchMLflowModel(i) {
				if err := call.send(ctx, client, url); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// benchMLflowModel gives the requests that make a model.
func benchMLflowModel(i int) []benchCall {
	name := benchModel(i)
	calls := []benchCall{benchMLflowPost("registered-models/create", map[string]string{"name": name}, quoted(name))}
	for version := 1; version <= benchMLflowPage; version++ {
		calls = append(calls, benchMLflowNewVersion(name, benchMLflowSource(i, version)))
	}
	return append(calls, benchMLflowPost("registered-models/alias", map[string]string{
		"name": name, "alias": benchAlias, "version": strconv.Itoa(benchMLflowPage),
	}, "{"))
}

// benchMLflowVersion asks MLflow for its version.
func benchMLflowVersion(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/version", nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close() //nolint:errcheck // it was read, or the read failed
	data, err := io.ReadAll(io.LimitReader(response.Body, 100))
	return strings.TrimSpace(string(data)), err
}
