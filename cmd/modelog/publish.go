package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/cloudevents"
	"github.com/spf13/cobra"
)

// publishing is what publish's flags say.
type publishing struct {
	*client

	kind, subject, data, id, source, time string
	dryRun, atomic, spoolOnly             bool
	batch, spool                          string
	sink                                  string // K_SINK: where events go in place of a registry, empty for none
	extra                                 map[string]jsontext.Value
}

func (a *app) publishCommand() *cobra.Command {
	p := &publishing{}
	cmd := &cobra.Command{
		Use: "publish", GroupID: "registry", Short: "Publish an event from a pipeline", Args: cobra.NoArgs,
		Long: `Publish an event from a pipeline: a CloudEvent whose type says what is to happen,
whose subject is the resource, and whose data is what the call that does it takes.
It goes through the same rules, and becomes an event of the log or is refused.

Source and id are its identity for ever, so that it can be sent again: without --id,
a CI job (GITHUB_RUN_ID, CI_PIPELINE_ID or BUILD_TAG is set) has one made of the run,
type and subject, the same when it runs again, and everybody else a new one. The type may be short:
version.promoted is dev.modelog.version.promoted.v1.

With --spool an event that can't be sent is kept in a directory, on disk when the
command ends, for modelog flush. K_SINK names another place to send events to, and
K_CE_OVERRIDES adds extensions to them, as Knative's SinkBinding sets them.

Exits with 0 when it is published or kept, 2 when the event is wrong, 3 when what it
is about isn't there, 4 when it conflicts with what is there or its id was used for
other content, 5 when a rule refuses it, and 6 when the registry can't be reached.`,
		Example: `  modelog publish --type version.registered --subject models/fraud/versions --data @version.json
  modelog publish --type version.promoted --subject models/fraud/versions/8 --data "{}" --dry-run
  modelog publish --batch events.ndjson --atomic
  modelog publish --type deployment.deployed --subject targets/prod/scorer --data @deploy.json --spool /var/spool/modelog`,
	}
	p.client = a.newClient(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&p.actor, "actor", osUser(), "who does it; the log holds an opaque id only")
	f.StringVar(&p.kind, "type", "", "type of the event, such as version.promoted")
	f.StringVar(&p.subject, "subject", "", "path of the resource, such as models/fraud/versions/8")
	f.StringVar(&p.data, "data", "", "JSON, @ and a file, or - for what is piped in")
	f.StringVar(&p.id, "id", "", "id of the event at its source")
	f.StringVar(&p.source, "source", "", "URI of who publishes; made of the CI job, or urn:modelog:cli, if absent")
	f.StringVar(&p.time, "time", "", "when it happened, such as 2026-11-24T02:10:00Z; now if absent")
	f.BoolVar(&p.dryRun, "dry-run", false, "say what would become of it, and write nothing")
	f.StringVar(&p.batch, "batch", "", "file with an event in a line each, in the JSON format of CloudEvents; - for what is piped in")
	f.BoolVar(&p.atomic, "atomic", false, "all events of a batch, or none if one is refused")
	f.StringVar(&p.spool, "spool", "", "directory that keeps the event if the registry can't be reached")
	f.BoolVar(&p.spoolOnly, "spool-only", false, "keep it in the --spool, and send nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := p.fromEnvironment(); err != nil {
			return err
		}
		if p.batch != "" {
			return p.publishBatch(cmd.Context())
		}
		event, err := p.event()
		if err != nil {
			return err
		}
		return p.publishEvent(cmd.Context(), event)
	}
	return cmd
}

// fromEnvironment takes what Knative's SinkBinding says.
func (p *publishing) fromEnvironment() error {
	p.sink = p.app.getenv("K_SINK")
	if p.spoolOnly && p.spool == "" {
		return usage("--spool-only needs a --spool")
	}
	if p.atomic && p.batch == "" {
		return usage("--atomic is for a --batch")
	}
	if p.dryRun && (p.spoolOnly || p.sink != "") {
		return usage("--dry-run needs a registry that says what would become of it")
	}
	overrides := p.app.getenv("K_CE_OVERRIDES")
	if overrides == "" {
		return nil
	}
	var o struct {
		Extensions map[string]jsontext.Value `json:"extensions"`
	}
	if err := json.Unmarshal([]byte(overrides), &o); err != nil {
		return usage("K_CE_OVERRIDES is not JSON such as {\"extensions\":{\"a\":\"b\"}}: %v", err)
	}
	for name := range o.Extensions {
		if slices.Contains(ownMembers, name) {
			return usage("K_CE_OVERRIDES: %s is no extension, and isn't set from outside", name)
		}
	}
	p.extra = o.Extensions
	return nil
}

// ownMembers are the members of an event that CloudEvents itself has.
var ownMembers = []string{
	"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "data_base64",
}

// event makes the event that the flags describe.
func (p *publishing) event() ([]byte, error) {
	if p.kind == "" {
		return nil, usage("say what happened with --type, such as version.promoted, or give a --batch")
	}
	if !strings.HasPrefix(p.kind, "dev.") && strings.Count(p.kind, ".") == 1 {
		p.kind = "dev.modelog." + p.kind + ".v1"
	}
	data, err := p.readData()
	if err != nil {
		return nil, err
	}
	at := time.Now()
	if p.time != "" {
		if at, err = time.Parse(time.RFC3339, p.time); err != nil {
			return nil, usage("--time: %q is not a time such as 2026-11-24T02:10:00Z", p.time)
		}
	}
	id, source := p.identity()
	members := map[string]any{
		"specversion": "1.0", "id": id, "source": source, "type": p.kind, "time": events.FormatTime(at),
	}
	if p.subject != "" {
		members["subject"] = p.subject
	}
	if data != nil {
		members["datacontenttype"], members["data"] = "application/json", data
	}
	for name, value := range p.extra {
		members[name] = value
	}
	event, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return nil, usage("the event can't be written: %v", err)
	}
	if _, _, err := cloudevents.Decode(http.Header{"Content-Type": {cloudevents.StructuredMedia}}, event); err != nil {
		return nil, err
	}
	return event, nil
}

func (p *publishing) readData() (jsontext.Value, error) {
	data := []byte(p.data)
	var err error
	if name, isFile := strings.CutPrefix(p.data, "@"); isFile {
		data, err = os.ReadFile(name)
	} else if p.data == "-" {
		data, err = io.ReadAll(p.app.stdin)
	}
	if err != nil {
		return nil, usage("--data: %v", err)
	}
	value := jsontext.Value(bytes.TrimSpace(data))
	if len(value) == 0 {
		return nil, nil
	}
	if !value.IsValid() {
		return nil, usage("--data is not JSON; give JSON, @ and a file, or -")
	}
	return value, nil
}

// identity gives the id and the source of the event. Those of a CI job are the same
// when it runs again.
func (p *publishing) identity() (id, source string) {
	id, source = p.id, p.source
	run, place := ciRun(p.app.getenv)
	if source == "" {
		source = "urn:modelog:cli"
		if place != "" {
			source = place
		}
	}
	if id != "" {
		return id, source
	}
	if run == "" {
		return newIDs()(time.Now()).String(), source
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{run, p.kind, p.subject}, "\n")))
	return "ci-" + hex.EncodeToString(sum[:16]), source
}

// ciRun names the run of a CI job, but not its attempt, and where it is; both empty
// outside of CI.
func ciRun(getenv func(string) string) (run, place string) {
	switch {
	case getenv("GITHUB_RUN_ID") != "":
		return strings.Join([]string{getenv("GITHUB_RUN_ID"), getenv("GITHUB_WORKFLOW"), getenv("GITHUB_JOB")}, "\n"),
			strings.TrimSuffix(getenv("GITHUB_SERVER_URL"), "/") + "/" + getenv("GITHUB_REPOSITORY")
	case getenv("CI_PIPELINE_ID") != "":
		return getenv("CI_PIPELINE_ID") + "\n" + getenv("CI_JOB_NAME"), getenv("CI_PROJECT_URL")
	case getenv("BUILD_TAG") != "":
		return getenv("BUILD_TAG"), getenv("JENKINS_URL")
	default:
		return "", ""
	}
}

// publishEvent sends an event, or keeps it.
func (p *publishing) publishEvent(ctx context.Context, event []byte) error {
	if p.spoolOnly {
		return p.keep(event)
	}
	data, header, err := p.post(ctx, event, cloudevents.StructuredMedia)
	if p.spool != "" && !p.dryRun && unreachable(err) {
		_, _ = fmt.Fprintf(p.app.stderr, "modelog: %v\n", err) // why it is kept
		return p.keep(event)
	}
	if err != nil {
		return err
	}
	if p.sink != "" {
		_, err := fmt.Fprintf(p.app.stdout, "sent to %s\n", p.sink)
		return err
	}
	if p.dryRun {
		return p.showList(data)
	}
	if p.asJSON {
		_, err := fmt.Fprintf(p.app.stdout, "%s\n", bytes.TrimSpace(data))
		return err
	}
	if !strings.HasPrefix(header.Get("Content-Type"), cloudevents.StructuredMedia) {
		_, err := fmt.Fprintln(p.app.stdout, "nothing to do: it is so already")
		return err
	}
	e, err := events.ReadEvent(bytes.TrimSpace(data))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", p.server, err)
	}
	_, err = fmt.Fprintf(p.app.stdout, "event %d: %s %s\n", e.Sequence, e.Subject, e.Data.Summary())
	return err
}

func (p *publishing) keep(event []byte) error {
	name, err := spool{p.spool}.add(time.Now(), event)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.app.stdout, "kept in %s; send it with modelog flush --spool %s\n", name, p.spool)
	return err
}

// unreachable says that the same event can be sent again, later.
func unreachable(err error) bool {
	var exit *exitError
	return errors.As(err, &exit) && exit.code == handlers.ExitUnavailable
}

// post sends one event, or a batch, to the registry or the sink.
func (p *publishing) post(ctx context.Context, body []byte, media string) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	query := url.Values{}
	if p.dryRun {
		query.Set("dry_run", "true")
	}
	if p.atomic {
		query.Set("atomic", "true")
	}
	path := "/v1/events"
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	at := *p.client
	if p.sink != "" {
		at.server, path = p.sink, ""
	}
	r, err := at.request(ctx, http.MethodPost, path, nil)
	if err != nil {
		return nil, nil, err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Type", media)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, nil, at.unreachable(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read, or the read failed
	data, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return nil, nil, at.unreachable(err)
	case p.sink != "" && response.StatusCode >= http.StatusBadRequest:
		return nil, nil, sinkError(p.sink, response)
	case response.StatusCode >= http.StatusBadRequest:
		return nil, nil, problemOf(response, data)
	}
	return data, response.Header, nil
}

// sinkError is what another receiver than a registry answers with.
func sinkError(sink string, response *http.Response) error {
	code := handlers.ExitInvalid
	if response.StatusCode >= http.StatusInternalServerError || response.StatusCode == http.StatusTooManyRequests {
		code = handlers.ExitUnavailable
	}
	return &exitError{code, fmt.Errorf("the sink %s answered %s", sink, response.Status)}
}

// publishBatch sends the events of a file together.
func (p *publishing) publishBatch(ctx context.Context) error {
	if p.kind != "" || p.subject != "" || p.data != "" || p.id != "" || p.source != "" || p.time != "" {
		return usage("the events of a --batch say everything themselves")
	}
	if p.spool != "" || p.sink != "" {
		return usage("a --batch goes to a registry, and isn't kept: it can be sent again as it is")
	}
	file := p.app.stdin
	if p.batch != "-" {
		opened, err := os.Open(p.batch)
		if err != nil {
			return usage("--batch: %v", err)
		}
		defer opened.Close() //nolint:errcheck // it was only read
		file = opened
	}
	body := []byte("[")
	dec := jsontext.NewDecoder(file, jsontext.AllowDuplicateNames(true)) // the registry says so of the event
	for {
		event, err := dec.ReadValue()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return usage("--batch: %v", err)
		}
		if len(body) > 1 {
			body = append(body, ',')
		}
		body = append(body, event...)
	}
	data, _, err := p.post(ctx, append(body, ']'), cloudevents.BatchMedia)
	if err != nil {
		return err
	}
	return p.showList(data)
}

// showList tells what became of events, or what would, and fails as the first that
// was refused.
func (p *publishing) showList(data []byte) error {
	var list api.PublishedList
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("read the answer of %s: %w; is it a modelog server of this release?", p.server, err)
	}
	err := p.print(list, func(w io.Writer) error {
		for _, one := range list.Results {
			if _, err := fmt.Fprintln(w, resultLine(one, list.DryRun)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, one := range list.Results {
		if one.Problem != nil {
			return &exitError{handlers.Errors[one.Problem.Code].Exit, &problemError{*one.Problem}}
		}
	}
	return nil
}

func resultLine(p api.Published, dryRun bool) string {
	would := ""
	if dryRun {
		would = "would be "
	}
	switch {
	case p.Problem != nil:
		return would + "refused: " + (&problemError{*p.Problem}).Error()
	case p.Event == nil && p.Outcome == "repeated":
		return fmt.Sprintf("%sthe same as event %d, %s", would, p.Sequence, p.Resource)
	case p.Event == nil:
		return would + "nothing to do: " + p.Resource + " is so already"
	}
	text := fmt.Sprintf("event %d: %s", p.Sequence, p.Resource)
	if e, err := events.ReadEvent(p.Event); err == nil {
		text += " " + e.Data.Summary()
	}
	if p.Outcome == "repeated" {
		text += " (published before)"
	}
	return would + text
}
