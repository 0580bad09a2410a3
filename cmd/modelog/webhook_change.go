package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

// webhookFlags say what create and change ask for.
type webhookFlags struct {
	types, mlflowEvents, sql, headers, removed  []string
	filter, format, ordering, name, description string
	rate                                        int
}

func (f *webhookFlags) add(cmd *cobra.Command) {
	set := cmd.Flags()
	set.StringSliceVar(&f.types, "type", nil, "types of events, such as version.promoted.v1; all if absent")
	set.StringVar(&f.filter, "filter", "", "a filter as JSON, or an array of them, in the dialects of the CloudEvents Subscriptions API")
	set.StringArrayVar(&f.sql, "sql", nil, "a filter in CloudEvents SQL")
	set.StringVar(&f.format, "format", "cloudevents", "how events are written: cloudevents, mlflow, slack, teams, discord or cdevents")
	set.StringSliceVar(&f.mlflowEvents, "mlflow-event", nil, "with --format mlflow: those of MLflow's events that are wanted, such as model_version.created; all if absent")
	set.StringVar(&f.ordering, "ordering", "key", "what waits for a delivery that fails: key (later events of the same model or target), strict (all later ones) or none")
	set.IntVar(&f.rate, "rate", 0, "deliveries a second at most, 0 for any")
	set.StringVar(&f.name, "name", "", "what it is called")
	set.StringVar(&f.description, "description", "", "what it is for")
	set.StringArrayVar(&f.headers, "header", nil, "a header of every delivery, NAME:VALUE; never shown again")
}

// body gives the fields of the flags that were given.
func (f *webhookFlags) body(cmd *cobra.Command) (map[string]any, error) {
	body := map[string]any{}
	for name, value := range map[string]any{"format": f.format, "ordering": f.ordering, "rate": f.rate, "name": f.name, "description": f.description} {
		if cmd.Flags().Changed(name) {
			body[name] = value
		}
	}
	if cmd.Flags().Changed("type") {
		body["types"] = longTypes(f.types)
	}
	if cmd.Flags().Changed("mlflow-event") {
		body["mlflow_events"] = f.mlflowEvents
	}
	if cmd.Flags().Changed("filter") || len(f.sql) > 0 {
		filters, err := f.filters()
		if err != nil {
			return nil, err
		}
		body["filters"] = filters
	}
	headers, err := f.headerPatch()
	if len(headers) > 0 {
		body["protocolsettings"] = map[string]any{"headers": headers}
	}
	return body, err
}

// longTypes spells types in full.
func longTypes(types []string) []string {
	long := []string{}
	for _, t := range types {
		switch {
		case t == "": // as --type= has it, for all types
		case strings.HasPrefix(t, "dev.modelog."):
			long = append(long, t)
		default:
			long = append(long, "dev.modelog."+t)
		}
	}
	return long
}

func (f *webhookFlags) filters() ([]jsontext.Value, error) {
	all := []jsontext.Value{}
	if text := strings.TrimSpace(f.filter); text != "" {
		if !strings.HasPrefix(text, "[") {
			text = "[" + text + "]"
		}
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			return nil, usage("--filter: %v", err)
		}
	}
	for _, expression := range f.sql {
		filter, err := json.Marshal(map[string]string{"sql": expression})
		if err != nil {
			return nil, usage("--sql: %v", err)
		}
		all = append(all, filter)
	}
	return all, nil
}

// headerPatch has the values of headers, and nil for those that are to be removed.
func (f *webhookFlags) headerPatch() (map[string]any, error) {
	headers := map[string]any{}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || name == "" {
			return nil, usage("--header: %q is not NAME:VALUE", name) // the value may be a secret
		}
		headers[name] = strings.TrimSpace(value)
	}
	for _, name := range f.removed {
		headers[name] = nil
	}
	return headers, nil
}

func (a *app) webhookCreateCommand() *cobra.Command {
	var f webhookFlags
	var start, signature string
	var poll bool
	cmd := &cobra.Command{
		Use: "create URL", Short: "Have events delivered to a URL, or kept to be fetched",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case poll && len(args) > 0:
				return usage("--poll: the events of such a subscription are fetched; leave the URL out")
			case poll:
				return nil
			default:
				return exactly("URL")(cmd, args)
			}
		},
		Long: `Have events delivered to a URL. The answer shows the secret that deliveries are
signed with, and nothing shows it again: keep it where the receiver finds it.

URL, headers and secrets are sealed outside of the log, and never shown.

With --poll there is no URL: the subscriber, behind a firewall for one, fetches its
events with modelog webhook poll.`,
		Example: `  modelog webhook create https://hooks.example.com/modelog
  modelog webhook create https://hooks.example.com/modelog --type version.promoted.v1,version.archived.v1 --header "Authorization: Bearer $TOKEN"
  modelog webhook create https://hooks.example.com/modelog --filter '{"prefix":{"subject":"models/fraud/"}}' --start 1
  modelog webhook create https://hooks.slack.com/services/T0/B0/x --format slack --sql "subject LIKE 'targets/prod/%'"`,
	}
	c := a.writer(cmd)
	f.add(cmd)
	cmd.Flags().StringVar(&start, "start", "now", "which event is the first: now for the next one, a sequence, or a time")
	cmd.Flags().BoolVar(&poll, "poll", false, "make a subscription without a sink")
	cmd.Flags().StringVar(&signature, "signature", "v1", "how deliveries are signed: v1 (HMAC) or v1a (Ed25519)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body, err := f.body(cmd)
		if err != nil {
			return err
		}
		if body["protocol"] = "POLL"; !poll {
			body["protocol"], body["sink"] = "HTTP", args[0]
		}
		for name, value := range map[string]string{"start": start, "signature": signature} {
			if cmd.Flags().Changed(name) {
				body[name] = value
			}
		}
		s, err := call[api.SubscriptionWithSecret](cmd.Context(), c, http.MethodPost, "/v1/subscriptions", body)
		if err != nil {
			return err
		}
		return c.print(s, func(w io.Writer) error {
			if poll {
				_, err := fmt.Fprintf(w, "subscription %s has events after %d; fetch them with modelog webhook poll %s\n", s.ID, s.After, s.ID)
				return err
			}
			if _, err := fmt.Fprintf(w, "subscription %s delivers to %s events after %d\n", s.ID, s.Sink, s.After); err != nil {
				return err
			}
			return showSecret(w, s)
		})
	}
	return cmd
}

// showSecret shows what a receiver verifies signatures with.
func showSecret(w io.Writer, s api.SubscriptionWithSecret) error {
	what := "secret"
	if strings.HasPrefix(s.Secret, "whpk_") {
		what = "public key"
	}
	text := fmt.Sprintf("%s: %s\nThis is shown once: keep it where the receiver finds it.\n", what, s.Secret)
	if s.Secret == "" {
		text = "The secret of that time has been replaced; rotate it to see a new one.\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

func (a *app) webhookChangeCommand() *cobra.Command {
	var f webhookFlags
	var sink string
	cmd := &cobra.Command{
		Use: "change ID", Short: "Change a subscription", Args: exactly("ID"),
		Long: `Change a subscription. What no flag names stays as it is; --type= and --filter=
let all events through again. Headers don't go along to a sink on another host:
they may be secrets of the one before.`,
		Example: `  modelog webhook change 01KBCWGRJ8ZB0R7NCZ5M6DPGSX --rate 10 --type version.promoted.v1
  modelog webhook change 01KBCWGRJ8ZB0R7NCZ5M6DPGSX --sink https://hooks.example.com/other --remove-header X-Team`,
	}
	c := a.writer(cmd)
	f.add(cmd)
	cmd.Flags().StringVar(&sink, "sink", "", "another URL to deliver to")
	cmd.Flags().StringSliceVar(&f.removed, "remove-header", nil, "names of headers that deliveries no longer have")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body, err := f.body(cmd)
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("sink") {
			body["sink"] = sink
		}
		s, err := call[api.Subscription](cmd.Context(), c, http.MethodPatch, path("subscriptions", args[0]), body)
		if err != nil {
			return err
		}
		return c.print(s, func(w io.Writer) error { return showSubscription(w, s) })
	}
	return cmd
}
