package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers/cloudevents"
	"github.com/spf13/cobra"
)

func (a *app) flushCommand() *cobra.Command {
	p := &publishing{}
	cmd := &cobra.Command{
		Use: "flush", GroupID: "registry", Short: "Send the events that publish has kept", Args: cobra.NoArgs,
		Long: `Send the events that publish --spool has kept, in their order, with the ids and times
that they had. It stops at a registry that can't be reached, and can be called
again: what was sent before is no second event. What is refused is moved to the
folder refused of the spool, with the problem beside it, and the rest goes on.

Exits with the code of the first event that was refused, and with 6 when events
are left because the registry can't be reached.`,
		Example: `  modelog flush --spool /var/spool/modelog`,
	}
	p.client = a.newClient(cmd.Flags())
	cmd.Flags().StringVar(&p.actor, "actor", osUser(), "who does it; the log holds an opaque id only")
	cmd.Flags().StringVar(&p.spool, "spool", "", "directory that holds the events")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if p.spool == "" {
			return usage("name the directory that holds the events with --spool")
		}
		if err := p.fromEnvironment(); err != nil {
			return err
		}
		return p.flush(cmd.Context())
	}
	return cmd
}

func (p *publishing) flush(ctx context.Context) error {
	kept := spool{p.spool}
	names, err := kept.files()
	if err != nil {
		return err
	}
	var first error
	sent, refused, done := 0, 0, 0 // done by another flush
	for _, name := range names {
		event, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) { // another flush was quicker
			done++
			continue
		}
		if err != nil {
			return spoolError(err)
		}
		_, _, err = p.post(ctx, bytes.TrimSpace(event), cloudevents.StructuredMedia)
		switch {
		case unreachable(err):
			return errors.Join(err, p.tellFlushed(sent, refused, len(names)-sent-refused-done))
		case err == nil:
			sent++
			err = kept.sent(name)
		case isProblem(err) || p.sink != "":
			refused++
			if first == nil {
				first = err
			}
			_, _ = fmt.Fprintf(p.app.stderr, "%s is refused: %v\n", filepath.Base(name), err) // the problem beside it says so too
			err = kept.refuse(name, problemText(err))
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(first, p.tellFlushed(sent, refused, 0))
}

func (p *publishing) tellFlushed(sent, refused, left int) error {
	text := fmt.Sprintf("%d sent", sent)
	if refused > 0 {
		text += fmt.Sprintf(", %d refused, see %s", refused, filepath.Join(p.spool, refusedDir))
	}
	if left > 0 {
		text += fmt.Sprintf(", %d left", left)
	}
	_, err := fmt.Fprintln(p.app.stdout, text)
	return err
}

// isProblem says that an event was refused for what it is.
func isProblem(err error) bool {
	problem, ok := errors.AsType[*problemError](err)
	return ok && problem.Status < http.StatusInternalServerError // else the event is not at fault
}

// problemText is what stands beside an event that was refused.
func problemText(err error) []byte {
	if problem, ok := errors.AsType[*problemError](err); ok {
		if data, err := json.Marshal(problem.Problem, json.Deterministic(true)); err == nil {
			return data
		}
	}
	data, _ := json.Marshal(err.Error()) // a text always has a form
	return data
}
