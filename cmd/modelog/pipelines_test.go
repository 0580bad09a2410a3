package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/modelog/modelog/handlers"
	"github.com/pb33f/go-yaml"
)

// python runs code that may import the module publish.
func python(t *testing.T, code string) (out string, ok bool) {
	t.Helper()
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 here, which CI has")
	}
	dir, err := filepath.Abs("../../deploy/python")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-B", "-c", "from publish import publish\n"+code)
	cmd.Env = append(cleanEnvironment(), "PYTHONPATH="+dir)
	both, err := cmd.CombinedOutput()
	return string(both), err == nil
}

// troubled stands before a registry. For its first requests there is trouble.
func troubled(t *testing.T, registry string, trouble ...http.HandlerFunc) string {
	t.Helper()
	to, err := url.Parse(registry)
	if err != nil {
		t.Fatal(err)
	}
	requests := 0
	forward := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests++; requests <= len(trouble) {
			trouble[requests-1](w, r)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestThePythonFunctionPublishesAndIsSafeToRepeat(t *testing.T) {
	_, at := startOn(t, filepath.Join(t.TempDir(), "data"))
	call := func(at, id, subject, more string) (string, bool) {
		t.Helper()
		return python(t, fmt.Sprintf("print(publish(%q, '/ci', %q, 'dev.modelog.model.registered.v1', %q, {}%s))", at, id, subject, more))
	}
	first, ok := call(at+"/", "1", "models/fraud", ", actor='mara'")
	if !ok || !strings.HasPrefix(first, "(2, {") {
		t.Fatalf("%s", first)
	}
	if again, ok := call(at, "1", "models/fraud", ""); !ok || again != first {
		t.Errorf("again: %s", again)
	}
	for what, c := range map[string][4]string{
		"other content":   {at, "1", "models/other", "ValueError: {"},
		"a wrong subject": {at, "2", "fraud", "/subject"},
		"nobody there":    {"http://127.0.0.1:1", "3", "models/a", "OSError: http://127.0.0.1:1 can't be reached"},
	} {
		if out, ok := call(c[0], c[1], c[2], ", attempts=1"); ok || !strings.Contains(out, c[3]) {
			t.Errorf("%s: %t, %s", what, ok, out)
		}
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("{"))
	}
	busy := func(after string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	over := troubled(t, at, busy("0"), cut, busy("Fri, 31 Dec 1999 23:59:59 GMT"))
	code := "import time\ntime.sleep = print\n" // so that it doesn't wait, and tells how long it would
	out, ok := python(t, code+fmt.Sprintf("print(publish(%q, '/ci', '4', 'dev.modelog.model.registered.v1', 'models/b', {}))", over))
	if !ok || !strings.HasPrefix(out, "0\n2\n4\n(3, {") {
		t.Errorf("over trouble: %s", out)
	}
	script, err := exec.CommandContext(t.Context(), "python3", "../../deploy/python/publish.py", at, "/ci", "1", "dev.modelog.model.registered.v1", "models/fraud", "{}").Output()
	if err != nil || !strings.HasPrefix(string(script), "[2, {") {
		t.Errorf("as a program: %v, %s", err, script)
	}
}

// action is what a test needs of action.yml.
type action struct {
	Inputs map[string]struct {
		Description string `yaml:"description"`
		Required    bool   `yaml:"required"`
		Default     string `yaml:"default"`
	} `yaml:"inputs"`
	Outputs map[string]struct {
		Value string `yaml:"value"`
	} `yaml:"outputs"`
	Runs struct {
		Using string `yaml:"using"`
		Steps []struct {
			ID    string            `yaml:"id"`
			Shell string            `yaml:"shell"`
			Env   map[string]string `yaml:"env"`
			Run   string            `yaml:"run"`
		} `yaml:"steps"`
	} `yaml:"runs"`
}

func readAction(t *testing.T) (a action) {
	t.Helper()
	data, err := os.ReadFile("../../deploy/github-action/action.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &a); err != nil {
		t.Fatal(err)
	}
	if a.Runs.Using != "composite" || len(a.Runs.Steps) != 1 || a.Runs.Steps[0].Shell != "bash" {
		t.Fatalf("it runs %+v", a.Runs)
	}
	return a
}

// Every input comes to the script as a variable, which it uses, and every flag is one
// of publish.
func TestTheActionUsesItsInputsAndFlagsThatThereAre(t *testing.T) {
	a := readAction(t)
	step := a.Runs.Steps[0]
	for name, in := range a.Inputs {
		variable := "INPUT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if step.Env[variable] != "${{ inputs."+name+" }}" || !strings.Contains(step.Run, `"$`+variable+`"`) || in.Description == "" {
			t.Errorf("the input %s isn't used as %s", name, variable)
		}
	}
	if len(step.Env) != len(a.Inputs) {
		t.Errorf("%d variables for %d inputs", len(step.Env), len(a.Inputs))
	}
	if strings.Contains(step.Run, "${{") {
		t.Error("the script has text from outside")
	}
	flags := testApp().publishCommand().Flags()
	used := regexp.MustCompile(`--([a-z][a-z-]*)`).FindAllStringSubmatch(step.Run, -1)
	for _, m := range used {
		if flags.Lookup(m[1]) == nil {
			t.Errorf("publish has no flag --%s", m[1])
		}
	}
	if len(used) < 9 || a.Outputs["event"].Value != "${{ steps."+step.ID+".outputs.event }}" {
		t.Errorf("%d flags; outputs %v", len(used), a.Outputs)
	}
}

// TestTheActionPublishes runs the script of the action as a runner does.
func TestTheActionPublishes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash here, which CI has")
	}
	_, at := startOn(t, filepath.Join(t.TempDir(), "data"))
	a := readAction(t)
	script := filepath.Join(t.TempDir(), "step.sh")
	if err := os.WriteFile(script, []byte(a.Runs.Steps[0].Run), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(inputs ...string) (exit int, stdout, output string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "output")
		cmd := commandAt(t.Context(), "", []string{"GITHUB_OUTPUT=" + file, "GITHUB_RUN_ID=7", "GITHUB_REPOSITORY=acme/fraud", "GITHUB_SERVER_URL=https://github.example"})
		cmd.Path, cmd.Args, cmd.Err = bash, []string{"bash", "--noprofile", "--norc", "-eo", "pipefail", script}, nil
		for name, in := range a.Inputs {
			cmd.Env = append(cmd.Env, "INPUT_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"="+in.Default)
		}
		cmd.Env = append(append(cmd.Env, "INPUT_SERVER="+at, "INPUT_ACTOR=octocat"), inputs...)
		var out bytes.Buffer
		cmd.Stdout = &out
		exit = exitCodeOf(cmd.Run())
		data, err := os.ReadFile(file)
		if err != nil && exit == 0 {
			t.Fatal(err)
		}
		return exit, out.String(), string(data)
	}
	model := []string{"INPUT_TYPE=model.registered", "INPUT_SUBJECT=models/fraud", `INPUT_DATA={"description":"$(touch /nowhere) \"'"}`}
	exit, _, output := run(append(slices.Clone(model), "INPUT_DRY_RUN=true")...)
	if exit != 0 || !strings.Contains(output, `"dry_run"`) || len(subjects(t, at)) > 0 {
		t.Errorf("a dry run: %d, %s", exit, output)
	}
	exit, first, output := run(model...)
	if exit != 0 || output != "event<<EVENT_OF_MODELOG\n"+first+"EVENT_OF_MODELOG\n" || !strings.Contains(first, `"$(touch /nowhere) \"'"`) {
		t.Fatalf("%d, %s, %s", exit, first, output)
	}
	if exit, again, _ := run(model...); exit != 0 || again != first {
		t.Errorf("a job that runs again: %d, %s", exit, again)
	}
	if got := subjects(t, at); !slices.Equal(got, []string{"models/fraud"}) {
		t.Errorf("on the log are %v", got)
	}
	if exit, _, output := run("INPUT_TYPE=model.registered", "INPUT_SUBJECT=models/fraud", "INPUT_ID=2"); exit != handlers.ExitConflict || output != "" {
		t.Errorf("one that is refused: %d, %s", exit, output)
	}
}
