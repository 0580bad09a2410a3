package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) atCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "at MOMENT", GroupID: "history", Short: "Look around in the registry as it was at a moment", Args: exactly("MOMENT"),
		Long: `Look around in the registry as it was at a moment, a sequence or a time: a shell
that takes the commands that read, without modelog before them and without
--as-of, and refuses those that write. The moment is resolved once, and stays.
Commands are read from the terminal, or line by line from what is piped in; then
the shell exits with the code of the last command that failed.`,
		Example: `  modelog at 2026-11-01T00:00:00Z
  modelog at 4711`,
	}
	c := a.newClient(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.asOf = args[0]
		state, err := c.state(cmd.Context(), false)
		if err != nil {
			return err
		}
		s := &shell{app: a, server: c.server, asJSON: c.asJSON, at: state, interactive: isTerminal(a.stdin)}
		return s.run(cmd.Context())
	}
	return cmd
}

// shell is the command line at one moment of the past.
type shell struct {
	app         *app
	server      string
	asJSON      bool // each command prints JSON
	at          api.State
	interactive bool
}

var errLeave = errors.New("leave the shell")

// run reads and carries out commands until there are no more. With nobody at the
// terminal it fails as the last command did that failed.
func (s *shell) run(ctx context.Context) error {
	s.say("the registry as of sequence %d%s; help lists the commands, exit leaves\n", s.at.Sequence, s.recorded(" of "))
	var failed error
	in := bufio.NewScanner(s.app.stdin)
	in.Buffer(nil, 1<<20)
	for s.prompt(); in.Scan() && ctx.Err() == nil; s.prompt() {
		err := s.do(ctx, in.Text())
		if errors.Is(err, errLeave) {
			return failed
		}
		if err == nil {
			continue
		}
		_, _ = fmt.Fprintf(s.app.stderr, "modelog: %v\n", err) // there is nobody else to tell
		if !s.interactive {
			failed = &toldError{err}
		}
	}
	s.say("\n")
	if err := in.Err(); err != nil {
		return usage("read the commands: %v", err)
	}
	return failed
}

// toldError is an error that has been shown already.
type toldError struct{ error }

func (e *toldError) Unwrap() error { return e.error }

func (s *shell) recorded(before string) string {
	if s.at.RecordedAt == "" {
		return ""
	}
	return before + s.at.RecordedAt
}

func (s *shell) prompt() { s.say("%s(%d)> ", s.recorded(""), s.at.Sequence) }

// say tells something to whoever types.
func (s *shell) say(format string, args ...any) {
	if s.interactive {
		_, _ = fmt.Fprintf(s.app.stdout, format, args...) // there is nobody else to tell
	}
}

// shortcuts are commands of the shell's own, with what they stand for.
var shortcuts = map[string][]string{
	"models": {"list", "models"}, "versions": {"list", "versions"}, "targets": {"list", "targets"},
}

// do carries out one line.
func (s *shell) do(ctx context.Context, line string) error {
	words, err := splitWords(line)
	if err != nil || len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return err
	}
	if words[0] == "modelog" && len(words) > 1 { // out of habit
		words = words[1:]
	}
	switch words[0] {
	case "exit", "quit":
		return errLeave
	case "help":
		if len(words) == 1 {
			return s.help()
		}
	}
	if long, ok := shortcuts[words[0]]; ok {
		words = slices.Concat(long, words[1:])
	}
	inner := *s.app
	inner.getenv = s.getenv
	root := inner.rootCommand()
	if err := s.allowed(root, words); err != nil {
		return err
	}
	root.SetArgs(words)
	root.SetOut(s.app.stdout)
	root.SetErr(s.app.stderr)
	return root.ExecuteContext(ctx)
}

// getenv fixes the flags that every command of the shell has.
func (s *shell) getenv(name string) string {
	switch {
	case name == "MODELOG_URL":
		return s.server
	case name == "MODELOG_AS_OF":
		return strconv.FormatUint(s.at.Sequence, 10)
	case name == "MODELOG_JSON" && s.asJSON:
		return "true"
	default:
		return s.app.getenv(name)
	}
}

// allowed refuses what isn't a read of the past, by name.
func (s *shell) allowed(root *cobra.Command, words []string) error {
	cmd, rest, err := root.Find(words)
	if err != nil || cmd == root {
		return usage("there is no command %q; help lists those that there are", words[0])
	}
	shows := cmd.HasSubCommands() || cmd.Name() == "help" // nothing but help
	if cmd.Flags().Lookup("as-of") == nil && !shows {
		return &exitError{handlers.ExitInvalid, fmt.Errorf(
			"%s has no place here: this shell shows the registry as of sequence %d, and changes nothing", strings.TrimPrefix(cmd.CommandPath(), "modelog "), s.at.Sequence)}
	}
	for _, word := range rest {
		if name, _, _ := strings.Cut(word, "="); name == "--as-of" || name == "--server" {
			return usage("leave out %s: this shell stays at sequence %d of one registry", name, s.at.Sequence)
		}
	}
	return nil
}

// help lists the commands that read.
func (s *shell) help() error {
	table := [][]string{}
	var list func(cmd *cobra.Command)
	list = func(cmd *cobra.Command) {
		if cmd.Runnable() && cmd.Flags().Lookup("as-of") != nil {
			use := strings.TrimPrefix(cmd.CommandPath(), "modelog ") + strings.TrimPrefix(cmd.Use, cmd.Name())
			table = append(table, []string{use, cmd.Short})
		}
		for _, sub := range cmd.Commands() {
			list(sub)
		}
	}
	list(s.app.rootCommand())
	for _, name := range []string{"models", "versions", "targets"} {
		table = append(table, []string{name, "the same as " + strings.Join(shortcuts[name], " ")})
	}
	return rows(s.app.stdout, append(table, []string{"help COMMAND", "what a command does"}, []string{"exit", "leave"}))
}

// splitWords splits a line as a shell does that knows quotes and backslashes.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	within, quote, escaped := false, rune(0), false
	for _, r := range line {
		switch {
		case escaped:
			escaped = false
			word.WriteRune(r)
		case r == '\\' && quote != '\'':
			escaped, within = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, within = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if within {
				words = append(words, word.String())
			}
			word.Reset()
			within = false
		default:
			within = true
			word.WriteRune(r)
		}
	}
	if quote != 0 || escaped {
		return nil, usage("the line %q ends within a quotation", line)
	}
	if within {
		words = append(words, word.String())
	}
	return words, nil
}
