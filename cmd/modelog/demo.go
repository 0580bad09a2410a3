package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

// demoModels are three generations of a real classifier; train.py made them.
//
//go:embed demo/models/models.json demo/models/*.csv demo/models/*.joblib demo/models/*.onnx
var demoModels embed.FS

const demoDir = "demo/models"

func (a *app) demoCommand() *cobra.Command {
	var keep string
	cmd := &cobra.Command{
		Use: "demo", GroupID: "server", Short: "Show a registry at work, on real models", Args: cobra.NoArgs,
		Long: `Start a registry in a temporary directory, take three generations of a real
classifier through it, ask what ran in the past, and rebuild the state from the
log alone. Every step is a command that you can type yourself.`,
		Example: `  modelog demo
  modelog demo --keep ./registry && modelog serve --data ./registry`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), keep) },
	}
	cmd.Flags().StringVar(&keep, "keep", "", "directory to leave the registry in; it must be empty or not be there")
	return cmd
}

// demoManifest is what the demo needs of models.json.
type demoManifest struct {
	Datasets    []demoFile       `json:"datasets"`
	Generations []demoGeneration `json:"generations"`
}

type demoFile struct {
	File string `json:"file"`
	Role string `json:"role"`
}

type demoGeneration struct {
	Algorithm       string             `json:"algorithm"`
	Hyperparameters map[string]string  `json:"hyperparameters"`
	Metrics         map[string]float64 `json:"metrics"`
	Signature       jsontext.Value     `json:"signature"`
	Files           []demoFile         `json:"files"`
}

// demo is a run of the demo.
type demo struct {
	app      *app
	files    string // where the models are
	url      string
	manifest demoManifest
	seen     uint64 // the last event that was shown
}

func (a *app) demo(ctx context.Context, keep string) (err error) {
	data := keep
	if keep == "" {
		if data, err = os.MkdirTemp("", "modelog-demo-*"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	} else if err := mustBeEmpty(keep); err != nil {
		return err
	}
	files, err := os.MkdirTemp("", "modelog-models-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(files)) }()
	d := &demo{app: a, files: files}
	if err := d.unpack(); err != nil {
		return fmt.Errorf("unpack the models: %w", err)
	}
	digest, err := d.serve(ctx, data)
	if err != nil {
		return err
	}
	d.title("Rebuild the state from the log alone: the server is stopped, and every event is read again from sequence 1")
	if keep != "" {
		d.say("The registry stays in %s: modelog serve --data %s", keep, quote(keep))
	}
	v, err := a.verifyData(ctx, data, digest)
	if err != nil {
		return err
	}
	if err := showVerification(a.stdout, v); err != nil {
		return err
	}
	return v.err()
}

func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return usage("--keep: %v", err)
	}
	if len(entries) > 0 {
		return usage("--keep: %s is not empty; name a new directory", dir)
	}
	return nil
}

// unpack puts the models where commands can read them.
func (d *demo) unpack() error {
	entries, err := demoModels.ReadDir(demoDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, err := demoModels.ReadFile(demoDir + "/" + e.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(d.files, e.Name()), data, 0o600); err != nil {
			return err
		}
		if e.Name() == "models.json" {
			if err := json.Unmarshal(data, &d.manifest); err != nil {
				return err
			}
		}
	}
	for i, g := range d.manifest.Generations {
		if err := os.WriteFile(filepath.Join(d.files, signatureFile(i)), g.Signature, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func signatureFile(generation int) string { return fmt.Sprintf("v%d-signature.json", generation+1) }

// serve runs the registry through the story, and gives the digest of the state
// that it shows at the end.
func (d *demo) serve(ctx context.Context, data string) (digest string, err error) {
	cfg := serveConfig{data: data, listen: "127.0.0.1:0"}
	s, err := startServer(ctx, cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	d.url = s.url()
	d.title("A registry starts on an empty directory: JetStream is inside, nothing else runs")
	if err := d.showEvents(ctx); err != nil {
		return "", err
	}
	if err := d.story(ctx); err != nil {
		return "", err
	}
	state, err := d.client().state(ctx, true)
	if err != nil {
		return "", err
	}
	d.title("The state that the registry shows")
	d.say("sequence %d, digest %s", state.Sequence, state.Digest.SHA256)
	return state.Digest.SHA256, nil
}

// story is what happens, and what is asked.
func (d *demo) story(ctx context.Context) error {
	const target = "prod/triage"
	steps := []struct {
		title string
		args  []string
	}{
		{"Register the model", []string{
			"model", "create", "tumor", "--description", "Is a breast tumor malignant or benign?", "--actor", "mara",
		}},
		{"Register version 1, with the digests of its files and data sets, and what was measured", d.register(0)},
		{"Point the alias champion at it", []string{"alias", "set", "tumor/1", "champion", "--actor", "mara"}},
		{"Promote it", []string{"promote", "tumor/1", "Production", "--reason", "first model, better than the rule of thumb", "--actor", "mara"}},
		{"Define where it is to run", []string{"target", "define", target, "--actor", "mara"}},
		{"Deploy it there", []string{"deploy", "tumor@champion", target, "--actor", "mara"}},
		{"Register version 2, which uses all measurements", d.register(1)},
		{"Promote it; version 1 makes room in the same event", []string{
			"promote", "tumor/2", "Production", "--archive-existing", "--reason", d.compare(0, 1), "--actor", "mara",
		}},
		{"Move the alias, if nobody else has", []string{"alias", "set", "tumor/2", "champion", "--if-version", "1", "--actor", "mara"}},
		{"Deploy it", []string{"deploy", "tumor/Production", target, "--reason", d.compare(0, 1), "--actor", "mara"}},
		{"Register version 3, a challenger that was made from version 2", d.register(2)},
		{"Deploy it, in a hurry", []string{"deploy", "tumor/latest", target, "--reason", "better in cross-validation", "--actor", "jo"}},
		{"Roll back at 2 am", []string{"rollback", target, "--reason", "on the test set: " + d.compare(1, 2), "--actor", "mara"}},
	}
	var first api.Target // what ran after the first deployment
	for _, step := range steps {
		if err := d.step(ctx, step.title, step.args); err != nil {
			return err
		}
		if step.args[0] == "deploy" && first.Generation == 0 {
			var err error
			if first, err = get[api.Target](ctx, d.client(), "/v1/targets/"+target, nil); err != nil {
				return err
			}
		}
	}
	d.title("What is live now?")
	if err := d.run(ctx, "list", "targets"); err != nil {
		return err
	}
	d.title("And what was in production then, after the first deployment?")
	if err := d.run(ctx, "get", "target", target, "--as-of", first.DeployedAt); err != nil {
		return err
	}
	return d.run(ctx, "get", "tumor/Production", "--as-of", strconv.FormatUint(first.Generation, 10))
}

// register gives the command that registers a generation.
func (d *demo) register(i int) []string {
	g := d.manifest.Generations[i]
	args := []string{
		"register", "tumor", "--source", fmt.Sprintf("s3://models/tumor/%d/", i+1), "--semver", fmt.Sprintf("%d.0.0", i+1),
		"--format", "onnx", "--description", g.Algorithm,
	}
	for _, f := range g.Files {
		args = append(args, "--artifact", filepath.Join(d.files, f.File))
	}
	for _, f := range d.manifest.Datasets {
		args = append(args, "--dataset", f.Role+"="+filepath.Join(d.files, f.File))
	}
	for _, name := range slices.Sorted(maps.Keys(g.Metrics)) {
		args = append(args, "--metric", fmt.Sprintf("%s=%g", name, g.Metrics[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(g.Hyperparameters)) {
		args = append(args, "--param", name+"="+g.Hyperparameters[name])
	}
	args = append(args, "--signature", filepath.Join(d.files, signatureFile(i)))
	if i == 2 {
		args = append(args, "--base-model", "tumor/2")
	}
	return append(args, "--actor", "training-pipeline")
}

// compare says how the accuracy of a generation differs from an earlier one's.
func (d *demo) compare(before, after int) string {
	generations := d.manifest.Generations
	return fmt.Sprintf("accuracy %.4f instead of %.4f", generations[after].Metrics["accuracy"], generations[before].Metrics["accuracy"])
}

// step shows a command, its output, and the event that it wrote.
func (d *demo) step(ctx context.Context, title string, args []string) error {
	d.title(title)
	if err := d.run(ctx, args...); err != nil {
		return err
	}
	return d.showEvents(ctx)
}

// run types a command.
func (d *demo) run(ctx context.Context, args ...string) error {
	d.say("$ modelog %s", d.spell(args))
	var out bytes.Buffer
	program := &app{stdout: &out, stderr: &out, getenv: func(name string) string {
		if name == "MODELOG_URL" {
			return d.url
		}
		return ""
	}}
	code := program.run(ctx, args)
	for line := range strings.Lines(out.String()) {
		d.say("  %s", strings.TrimSuffix(line, "\n"))
	}
	if code != 0 {
		return &exitError{code, fmt.Errorf("the demo's %s failed", args[0])}
	}
	return nil
}

func (d *demo) client() *client { return &client{app: d.app, server: d.url} }

// showEvents shows what is new on the log.
func (d *demo) showEvents(ctx context.Context) error {
	return d.client().eachEvent(ctx, d.seen, 1000, func(_ jsontext.Value, e events.Event) error {
		d.seen = e.Sequence
		d.say("  event %d  %s  %s", e.Sequence, e.Type(), e.Subject)
		d.say("           %s", e.Data.Summary())
		return nil
	})
}

// spell writes a command line as one would type it, in lines of at most 100
// characters.
func (d *demo) spell(args []string) string {
	var b strings.Builder
	width := len("$ modelog ")
	for i := 0; i < len(args); i++ {
		word := quote(strings.ReplaceAll(args[i], d.files+string(filepath.Separator), ""))
		if strings.HasPrefix(word, "--") && i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
			i++
			word += " " + quote(strings.ReplaceAll(args[i], d.files+string(filepath.Separator), ""))
		}
		if width+len(word) > 100 {
			b.WriteString("\\\n      ")
			width = 6
		}
		b.WriteString(word + " ")
		width += len(word) + 1
	}
	return strings.TrimSuffix(b.String(), " ")
}

// quote spells a word for a shell.
func quote(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@+,^") == "" && word != "" {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(word) + `"`
}

func (d *demo) title(s string) { d.say("\n%s", s) }

func (d *demo) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.app.stdout, format+"\n", args...) // the commands' own output fails the demo, if it must
}
