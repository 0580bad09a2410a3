package main

import (
	"io"
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
