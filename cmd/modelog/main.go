// Command modelog is a model registry that is a log: the server, the client of
// its HTTP API, and the tools that check and measure it. One file for each
// subcommand; serve.go wires the parts of the server together.
//
// What decides, knows or stores anything is not here, but in the packages that
// this one brings together.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := (&app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}).run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// app is the program with what it takes from its surroundings.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	// sync, unless nil, stands in for the sync of the data directory, so that
	// the crash tests can look on.
	sync func(dir string) func() error
	// pace, unless nil, is how soon failing endpoints are tried again, and
	// sendTimeout, unless 0, how long one may take, for tests.
	pace        *webhooks.Pace
	sendTimeout time.Duration
	// suppose, unless nil, takes the calls that would write, in place of a server.
	suppose func(method, path string, header http.Header, body any) error
}

// run executes a command line and gives the exit code (handlers.Errors).
func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if _, told := errors.AsType[*toldError](err); !told {
		_, _ = fmt.Fprintf(a.stderr, "modelog: %v\n", err) // there is nobody else to tell
	}
	return exitCode(err)
}

// exitError is an error that knows the exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func exitCode(err error) int {
	var exit *exitError
	var refusal handlers.Refusal
	switch {
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &refusal):
		return handlers.Errors[refusal.Code()].Exit
	default:
		return handlers.ExitInternal
	}
}

// usage marks an error of the command line itself.
func usage(format string, args ...any) error {
	return &exitError{handlers.ExitInvalid, fmt.Errorf(format, args...)}
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "modelog",
		Short: "A model registry that is a log",
		Long: `modelog is a model registry that is a log: every register, promote, deprecate
and deploy is one immutable event on a NATS JetStream stream, and everything
else is computed from that stream, as of now or of any moment in the past.`,
		Example: `  modelog serve                                  run a registry on 127.0.0.1:7670
  modelog register fraud --create-model --source s3://models/fraud/8 --artifact model.onnx
  modelog promote fraud/8 Production --reason "AUC +0.02"
  modelog get fraud/Production --as-of 2026-11-01T00:00:00Z
  modelog completion bash                        what makes a shell complete commands and names`,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.flagsFromEnvironment(cmd) },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v", err) })
	root.AddGroup(
		&cobra.Group{ID: "server", Title: "Server:"},
		&cobra.Group{ID: "registry", Title: "Registry:"},
		&cobra.Group{ID: "history", Title: "History:"},
	)
	root.AddCommand(
		a.serveCommand(), a.demoCommand(), a.importCommand(), a.benchCommand(),
		a.modelCommand(), a.registerCommand(), a.promoteCommand(), a.archiveCommand(),
		a.deprecateCommand(), a.restoreCommand(), a.deleteCommand(), a.tagCommand(), a.aliasCommand(),
		a.targetCommand(), a.deployCommand(), a.rollbackCommand(), a.undeployCommand(), a.publishCommand(), a.flushCommand(), a.webhookCommand(), a.getCommand(), a.listCommand(),
		a.logCommand(), a.auditCommand(), a.historyCommand(), a.explainCommand(), a.lineageCommand(), a.datasetCommand(), a.diffCommand(), a.atCommand(), a.whatIfCommand(), a.stateCommand(), a.verifyCommand(), a.exportCommand(), a.replayCommand(), a.principalCommand(), a.versionCommand(),
	)
	a.completed(root)
	addShellCommands(root)
	strict(root)
	return root
}

// strict makes every mistake in a command line an error of usage. The errors of
// cobra's own know no exit code, and of a command that only holds others it
// shows the help, whatever follows.
func strict(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
	if !cmd.Runnable() {
		cmd.Args, cmd.DisableFlagsInUseLine = noOther, true
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		return
	}
	if valid := cmd.Args; valid != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := valid(cmd, args)
			if _, known := errors.AsType[*exitError](err); err == nil || known {
				return err
			}
			return usage("%v; see %s --help", err, cmd.CommandPath())
		}
	}
}

// noOther refuses a subcommand that isn't there.
func noOther(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		return usage("there is no command %q; did you mean %s?", args[0], similar[0])
	}
	return usage("there is no command %q; see %s --help", args[0], cmd.CommandPath())
}

// newIDs gives a source of ULIDs that rise even within a millisecond. It is safe
// for concurrent use.
func newIDs() func(time.Time) ulid.ULID {
	var lock sync.Mutex
	entropy := ulid.Monotonic(bufio.NewReader(rand.Reader), 0)
	return func(at time.Time) ulid.ULID {
		lock.Lock()
		defer lock.Unlock()
		id, err := ulid.New(ulid.Timestamp(at), entropy)
		for err != nil { // the millisecond is used up, which takes 2^80 tries or more: go on with the next
			at = at.Add(time.Millisecond)
			id, err = ulid.New(ulid.Timestamp(at), entropy)
		}
		return id
	}
}
