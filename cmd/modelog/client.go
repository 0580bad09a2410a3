package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// client calls a registry's HTTP API. Its fields are the flags that every
// subcommand of a kind has.
type client struct {
	app    *app
	server string
	asJSON bool
	// for reads
	asOf, filter, validAt string
	// for writes
	actor, key, reason, ifMatch string
	occurred                    string // when it happened, empty for now
}

const clientTimeout = 30 * time.Second

func (a *app) newClient(f *pflag.FlagSet) *client {
	c := &client{app: a}
	f.StringVar(&c.server, "server", "http://"+defaultListen, "URL of the registry (MODELOG_URL)")
	f.BoolVar(&c.asJSON, "json", false, "print the answer as JSON")
	return c
}

func (a *app) reader(cmd *cobra.Command) *client {
	c := a.newClient(cmd.Flags())
	cmd.Flags().StringVar(&c.asOf, "as-of", "", "ask about the past: a sequence, or a time such as 2026-11-01T00:00:00Z")
	return c
}

func (a *app) writer(cmd *cobra.Command) *client {
	c := a.newClient(cmd.Flags())
	cmd.Flags().StringVar(&c.actor, "actor", osUser(), "who does it; the log holds an opaque id only")
	cmd.Flags().StringVar(&c.key, "idempotency-key", "", "makes the call safe to repeat: the same key is one event")
	cmd.Flags().StringVar(&c.ifMatch, "if-match", "", "only if what is changed has this sequence now, as get shows it")
	return c
}

// reasoned is a writer whose event takes a reason.
func (a *app) reasoned(cmd *cobra.Command) *client {
	c := a.writer(cmd)
	cmd.Flags().StringVar(&c.reason, "reason", "", "why, for those who read the log")
	return c
}

// problemError is an error that the registry answered with.
type problemError struct{ api.Problem }

func (e *problemError) Error() string {
	if e.Detail == "" {
		return e.Title
	}
	return e.Title + ": " + e.Detail
}

// path joins the segments of a path, escaping each.
func path(segments ...string) string {
	escaped := make([]string, len(segments))
	for i, s := range segments {
		escaped[i] = url.PathEscape(s)
	}
	return "/v1/" + strings.Join(escaped, "/")
}

// get reads one resource; query may be nil.
func get[A any](ctx context.Context, c *client, path string, query url.Values) (A, error) {
	for name, value := range map[string]string{"as_of": c.asOf, "valid_at": c.validAt} {
		if value == "" {
			continue
		}
		if query == nil {
			query = url.Values{}
		}
		query.Set(name, value)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return call[A](ctx, c, http.MethodGet, path, nil)
}

func call[A any](ctx context.Context, c *client, method, path string, body any) (A, error) {
	var answer A
	data, err := c.send(ctx, method, path, body)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(data, &answer, api.Numbers); err != nil {
		return answer, fmt.Errorf("read the answer of %s: %w; is it a modelog server of this release?", c.server, err)
	}
	return answer, nil
}

// sequenceOf makes a call that answers with nothing but a sequence.
func (c *client) sequenceOf(ctx context.Context, method, path string) (string, error) {
	_, header, err := c.exchange(ctx, method, path, nil)
	return header.Get("Modelog-Sequence"), err
}

// send makes a call, and gives the body of the answer.
func (c *client) send(ctx context.Context, method, path string, body any) ([]byte, error) {
	data, _, err := c.exchange(ctx, method, path, body)
	return data, err
}

func (c *client) exchange(ctx context.Context, method, path string, body any) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	r, err := c.request(ctx, method, path, body)
	if err != nil {
		return nil, nil, err
	}
	if c.app.suppose != nil && method != http.MethodGet {
		return nil, nil, c.app.suppose(method, path, r.Header, body)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, nil, c.unreachable(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read, or the read failed
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, nil, c.unreachable(err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return nil, nil, problemOf(response, data)
	}
	for _, name := range response.Header.Values(api.WithdrawnHeader) {
		_, _ = fmt.Fprintf(c.app.stderr, "modelog: warning: what runs now comes from withdrawn data: %s\n", name) // the answer says the rest
	}
	return data, response.Header, nil
}

func (c *client) unreachable(err error) error {
	return &exitError{handlers.ExitUnavailable, fmt.Errorf("the registry at %s can't be reached: %w; start it with modelog serve, or name another with --server", c.server, err)}
}

func (c *client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body, api.Numbers)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		reader = bytes.NewReader(data)
	}
	if base, err := url.Parse(c.server); err != nil || base.Host == "" {
		return nil, usage("--server: %q is not a URL such as http://%s", c.server, defaultListen)
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.server, "/")+path, reader)
	if err != nil {
		return nil, usage("--server: %v", err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.actor != "" {
		r.Header.Set("Modelog-Actor", c.actor)
	}
	if c.key != "" {
		r.Header.Set("Idempotency-Key", strconv.Quote(c.key))
	}
	if c.occurred != "" {
		r.Header.Set("Modelog-Occurred-Time", c.occurred)
	}
	if c.ifMatch != "" && method != http.MethodGet {
		r.Header.Set("If-Match", strconv.Quote(c.ifMatch))
	}
	return r, nil
}

func problemOf(response *http.Response, data []byte) error {
	var p api.Problem
	if err := json.Unmarshal(data, &p); err != nil || p.Code == "" {
		return &exitError{handlers.ExitInternal, fmt.Errorf("the server answered %s, which a modelog server doesn't", response.Status)}
	}
	exit := handlers.ExitInternal
	if row, ok := handlers.Errors[p.Code]; ok {
		exit = row.Exit
	}
	return &exitError{exit, &problemError{p}}
}

// hasCode says whether an error is a problem of a code.
func hasCode(err error, code handlers.Code) bool {
	var p *problemError
	return errors.As(err, &p) && p.Code == code
}

// print shows an answer as JSON if that is wanted, else through show.
func (c *client) print(value any, show func(w io.Writer) error) error {
	if !c.asJSON {
		return show(c.app.stdout)
	}
	data, err := json.Marshal(value, jsontext.WithIndent("  "), json.Deterministic(true), api.Numbers)
	if err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	_, err = fmt.Fprintf(c.app.stdout, "%s\n", data)
	return err
}
