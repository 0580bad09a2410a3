package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func testApp() *app {
	return &app{stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }}
}

// eachCommand visits the commands that people may call.
func eachCommand(cmd *cobra.Command, visit func(*cobra.Command)) {
	if cmd.Hidden {
		return
	}
	visit(cmd)
	for _, sub := range cmd.Commands() {
		eachCommand(sub, visit)
	}
}

func TestEveryCommandSaysWhatItDoesAndShowsAnExample(t *testing.T) {
	eachCommand(testApp().rootCommand(), func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s doesn't say what it does", cmd.CommandPath())
		}
		// Those that hold others leave the examples to them.
		if cmd.Example == "" && !cmd.HasSubCommands() && cmd.Name() != "version" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
	})
}

func TestEveryFlagSaysWhatItIsFor(t *testing.T) {
	eachCommand(testApp().rootCommand(), func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.LocalFlags().FlagUsages()) {
			if fields := strings.Fields(line); len(fields) < 3 {
				t.Errorf("%s: a flag without a word about it: %s", cmd.CommandPath(), line)
			}
		}
	})
}

// TestEveryCommandHasItsFlags: reads can ask about the past, writes say who, why
// and under which key, and all of them can be read by programs. What makes or
// describes something says what it is, and has no reason beside that.
func TestEveryCommandHasItsFlags(t *testing.T) {
	const (
		asks     = "server json"
		reads    = "server json as-of"
		writes   = "server json actor idempotency-key if-match"
		reasoned = writes + " reason"
	)
	want := map[string]string{
		"serve":        "data listen nats-listen mlflow-local-sources nats nats-creds replicas signing-key rotate-signing-key secrets-key webhook-allow-http webhook-allow-cidr webhook-handshake log-level reserve queue allowed-host insecure-no-auth",
		"model create": writes, "model describe": writes, "model rename": reasoned,
		"model lifecycle": reasoned + " stages archive transition exclusive", "model delete": reasoned + " cascade",
		"register": writes + " source artifact create-model", "promote": reasoned + " archive-existing force",
		"archive": reasoned, "deprecate": reasoned + " sunset replacement", "restore": reasoned, "delete": reasoned + " cascade",
		"tag": writes, "alias set": reasoned + " if-version", "alias rm": reasoned + " if-version",
		"target define": writes, "target rm": reasoned, "deploy": reasoned + " if-generation force", "rollback": reasoned + " to", "undeploy": reasoned,
		"get": reads, "list models": reads + " limit filter", "list versions": reads + " limit filter", "list targets": reads + " limit",
		"lineage": reads + " upstream downstream depth format output", "lineage paths": reads, "lineage impact": reads + " limit all",
		"lineage link": reasoned + " type role", "dataset list": reads + " limit",
		"dataset withdraw": reasoned + " namespace version digest", "dataset reinstate": reasoned + " namespace version digest",
		"audit":   reads + " resource by action from until why oldest format limit",
		"history": reads + " limit", "explain": reads,
		"publish": "server json actor type subject data id source time dry-run batch atomic spool spool-only", "flush": "server json actor spool",
		"log": reads + " after limit follow filter", "state": reads, "verify": reads + " data export expect independent",
		"export": "server json data until", "import log": "json data", "replay": "server json from until filter speed max-gap to-file to-url into",
		"webhook create": writes + " type filter sql format ordering rate description header start signature name mlflow-event poll", "webhook list": reads + " limit", "webhook get": reads,
		"webhook change": writes + " type filter sql format ordering rate description header sink remove-header name mlflow-event", "webhook pause": reasoned, "webhook resume": reasoned,
		"webhook rotate-secret": reasoned + " valid-for", "webhook delete": reasoned,
		"webhook status": asks, "webhook attempts": asks + " limit sequence status class", "webhook dead-letters": asks + " limit", "webhook test": asks,
		"webhook replay": asks + " from to failed missing rate detach", "webhook replays": asks + " stop",
		"webhook poll": asks + " limit wait commit follow", "webhook seek": asks, "webhook listen": asks + " listen secret",
		"bench": "", "demo": "",
	}
	shared := strings.Fields(reasoned + " as-of")
	for line, flags := range want {
		cmd, rest, err := testApp().rootCommand().Find(strings.Fields(line))
		if err != nil || len(rest) > 0 {
			t.Errorf("there is no command %s", line)
			continue
		}
		for name := range strings.FieldsSeq(flags) {
			if cmd.Flags().Lookup(name) == nil {
				t.Errorf("%s has no --%s", line, name)
			}
		}
		if flags == "" {
			continue
		}
		for _, name := range shared {
			if cmd.Flags().Lookup(name) != nil && !slices.Contains(strings.Fields(flags), name) {
				t.Errorf("%s has --%s, which makes no sense there", line, name)
			}
		}
	}
}

func TestFlagsHaveTheirDefaults(t *testing.T) {
	a := testApp()
	a.getenv = func(name string) string { return map[string]string{"XDG_DATA_HOME": "/home/mara/data"}[name] }
	for name, want := range map[string]string{
		"serve data": "/home/mara/data/modelog", "serve listen": "127.0.0.1:7670", "serve reserve": "256MiB", "serve queue": "4096",
		"serve insecure-no-auth": "false", "serve nats": "", "serve log-level": "info", "get server": "http://127.0.0.1:7670",
	} {
		command, flag, _ := strings.Cut(name, " ")
		cmd, _, err := a.rootCommand().Find([]string{command})
		if err != nil {
			t.Fatal(err)
		}
		if f := cmd.Flags().Lookup(flag); f == nil || f.DefValue != want {
			t.Errorf("--%s of %s is %v, want %s", flag, command, f, want)
		}
	}
}

// TestExamplesAreCommandLines parses every example, up to where it would be
// carried out.
func TestExamplesAreCommandLines(t *testing.T) {
	var examples []string
	eachCommand(testApp().rootCommand(), func(cmd *cobra.Command) {
		text := strings.ReplaceAll(cmd.Example, "\\\n", " ")
		for line := range strings.Lines(text) {
			for command := range strings.SplitSeq(line, " && ") {
				examples = append(examples, strings.TrimSpace(command))
			}
		}
	})
	for _, example := range examples {
		command, _, _ := strings.Cut(example, "     ") // a remark in a second column
		command, _, _ = strings.Cut(command, " > ")
		words := shellWords(command)
		if len(words) < 2 || words[0] != "modelog" {
			t.Errorf("%q is no example of modelog", example)
			continue
		}
		cmd, args, err := testApp().rootCommand().Find(words[1:])
		if err == nil {
			err = cmd.ParseFlags(args)
		}
		if err == nil {
			err = cmd.ValidateArgs(cmd.Flags().Args())
		}
		if err != nil {
			t.Errorf("%q: %v", example, err)
		}
	}
}

// shellWords splits a line as a shell does that knows double quotes only.
func shellWords(line string) []string {
	var words []string
	quoted, within := false, false
	for _, r := range line {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			within = false
			continue
		}
		if !within {
			words, within = append(words, ""), true
		}
		if r != '"' {
			words[len(words)-1] += string(r)
		}
	}
	return words
}
