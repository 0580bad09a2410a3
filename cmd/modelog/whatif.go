package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) whatIfCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "what-if [FLAG...] [COMMAND... [+ COMMAND...]...]", GroupID: "history",
		Short: "Show what commands would change, without carrying them out",
		Long: `Show what commands would change, without carrying them out: nothing is written.
Several commands, each on what the earlier ones give, stand with a + between them;
without any, they are read line by line from what is piped in. References are
resolved by the registry, but where a command looks something up for itself, as
alias set does, it finds what is so now. Exits with the code of the first refusal.

With --event it is CloudEvents, as publish --batch takes them, in place of commands.`,
		Example: `  modelog what-if promote fraud/8 Production --archive-existing
  modelog what-if deprecate fraud/7 --reason drift + deploy fraud/7 prod/scorer
  modelog what-if --json < commands.txt
  modelog what-if --event @withdrawn.json`,
	}
	var given string
	c := a.newClient(cmd.Flags())
	cmd.Flags().SetInterspersed(false) // what follows a command's name is the command's
	cmd.Flags().StringVar(&given, "event", "", "CloudEvents in JSON, one after another: the event itself, @ and a file, or - for what is piped in")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if given != "" {
			return a.whatIfEvents(cmd.Context(), c, given, args)
		}
		lines, err := a.commandLines(args)
		if err != nil {
			return err
		}
		var h api.Hypothesis
		for _, words := range lines {
			request, err := a.supposed(cmd.Context(), c.server, words)
			if err != nil {
				return err
			}
			h.Requests = append(h.Requests, request)
		}
		return askWhatIf(cmd.Context(), c, h, lines)
	}
	return cmd
}

// askWhatIf shows what would become of a hypothesis, of whose parts there are the
// words.
func askWhatIf(ctx context.Context, c *client, h api.Hypothesis, words [][]string) error {
	w, err := call[api.WhatIf](ctx, c, http.MethodPost, "/v1/what-if", h)
	if err != nil {
		return err
	}
	if err := c.print(w, func(out io.Writer) error { return showWhatIf(out, words, w) }); err != nil {
		return err
	}
	return refusalOf(w)
}

// whatIfEvents asks about events in place of commands.
func (a *app) whatIfEvents(ctx context.Context, c *client, given string, args []string) error {
	if len(args) > 0 {
		return usage("--event is in place of commands; ask of one after the other")
	}
	list, err := a.givenEvents(given)
	if err != nil {
		return err
	}
	words := make([][]string, len(list))
	for i, raw := range list {
		var e struct {
			Type    string `json:"type"`
			Subject string `json:"subject"`
		}
		if json.Unmarshal(raw, &e) != nil || e.Type == "" { // the registry says what is wrong with it
			e.Type = "event"
		}
		words[i] = append([]string{strconv.Itoa(i + 1), e.Type}, strings.Fields(e.Subject)...)
	}
	return askWhatIf(ctx, c, api.Hypothesis{Events: list}, words)
}

// givenEvents reads events that are given as they are, in a file, or piped in.
func (a *app) givenEvents(given string) (list []jsontext.Value, err error) {
	var in io.Reader = strings.NewReader(given)
	if name, isFile := strings.CutPrefix(given, "@"); isFile {
		file, err := os.Open(name)
		if err != nil {
			return nil, usage("--event: %v", err)
		}
		defer file.Close() //nolint:errcheck // it is only read
		in = file
	} else if given == "-" {
		in = a.stdin
	}
	dec := jsontext.NewDecoder(in)
	for {
		raw, err := dec.ReadValue()
		switch {
		case errors.Is(err, io.EOF) && len(list) > 0:
			return list, nil
		case errors.Is(err, io.EOF):
			return nil, usage("--event: there is no event in it")
		case err != nil:
			return nil, usage("--event: event %d is not JSON: %v", len(list)+1, err)
		}
		list = append(list, raw.Clone())
	}
}

// commandLines splits what was given at each +, or reads it.
func (a *app) commandLines(args []string) ([][]string, error) {
	var lines [][]string
	if len(args) > 0 {
		for {
			end := slices.Index(args, "+")
			if end < 0 {
				return append(lines, args), nil
			}
			lines, args = append(lines, args[:end]), args[end+1:]
		}
	}
	if isTerminal(a.stdin) {
		return nil, usage("name a command, such as modelog what-if promote fraud/8 Production")
	}
	in := bufio.NewScanner(a.stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		words, err := splitWords(in.Text())
		if err != nil {
			return nil, err
		}
		if len(words) > 0 && !strings.HasPrefix(words[0], "#") {
			lines = append(lines, words)
		}
	}
	if err := in.Err(); err != nil {
		return nil, usage("read the commands: %v", err)
	}
	if len(lines) == 0 {
		return nil, usage("there is no command in what is piped in")
	}
	return lines, nil
}

var errSupposed = errors.New("the call would write")

// supposed runs a command up to the call with which it would write, and gives
// that call.
func (a *app) supposed(ctx context.Context, server string, words []string) (api.SupposedRequest, error) {
	if len(words) > 1 && words[0] == "modelog" { // out of habit
		words = words[1:]
	}
	line := strings.Join(words, " ")
	var request api.SupposedRequest
	inner := *a
	inner.stdout, inner.stderr = io.Discard, io.Discard
	inner.getenv = func(name string) string {
		if name == "MODELOG_URL" {
			return server
		}
		return a.getenv(name)
	}
	inner.suppose = func(method, path string, header http.Header, body any) error {
		request = api.SupposedRequest{Method: method, Path: path}
		for _, name := range []string{"If-Match", "Modelog-Occurred-Time"} {
			if value := header.Get(name); value != "" {
				if request.Headers == nil {
					request.Headers = map[string]string{}
				}
				request.Headers[name] = value
			}
		}
		if body == nil {
			return errSupposed
		}
		var err error
		if request.Body, err = json.Marshal(body, api.Numbers); err != nil {
			return fmt.Errorf("write the request: %w", err)
		}
		return errSupposed
	}
	root := inner.rootCommand()
	cmd, _, err := root.Find(words)
	if err != nil || len(words) == 0 || cmd == root {
		return request, usage("%q is no command; see modelog --help", line)
	}
	if cmd.Flags().Lookup("idempotency-key") == nil {
		return request, usage("%q writes no event, so that nothing follows from it", line)
	}
	root.SetArgs(words)
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	err = root.ExecuteContext(ctx)
	switch {
	case errors.Is(err, errSupposed):
		return request, nil
	case err != nil:
		return request, fmt.Errorf("%s: %w", line, err)
	default:
		return request, usage("%q writes nothing, so that nothing follows from it", line)
	}
}

func showWhatIf(w io.Writer, lines [][]string, all api.WhatIf) error {
	for i, r := range all.Results {
		text, err := resultText(r)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", strings.Join(lines[i], " "), text); err != nil {
			return err
		}
	}
	if err := showChanges(w, all.Changes); err != nil {
		return err
	}
	end := fmt.Sprintf("nothing was written; this is as of sequence %d", all.Sequence)
	if all.More {
		end = fmt.Sprintf("and more than these %d changes; ", len(all.Changes)) + end
	}
	_, err := fmt.Fprintf(w, "\n%s\n", end)
	return err
}

// resultText says what would become of a command.
func resultText(r api.WhatIfResult) (string, error) {
	switch {
	case r.Problem != nil:
		return "would be refused: " + (&problemError{*r.Problem}).Error(), nil
	case r.Event == nil:
		return "would change nothing, since it is so already", nil
	}
	e, err := readEvent(r.Event)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("would be event %d, %s: %s", e.Sequence, events.TypeOf(e.Data), e.Data.Summary()), nil
}

// refusalOf is the error of the first command that would be refused.
func refusalOf(w api.WhatIf) error {
	for _, r := range w.Results {
		if r.Problem != nil {
			return &exitError{exitOfCode(r.Problem.Code), &problemError{*r.Problem}}
		}
	}
	return nil
}

func exitOfCode(code handlers.Code) int {
	if row, ok := handlers.Errors[code]; ok {
		return row.Exit
	}
	return handlers.ExitInternal
}
