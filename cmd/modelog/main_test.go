package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// TestMain makes the test binary the program too: under the name modelog, which
// is in the PATH of the scripts and of the other tests, it is modelog.
func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"modelog": program})
}

// leakChecked runs the tests, and fails if goroutines are left behind.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs the command line as people do. The scripts have commands of
// their own, beside those of testscript:
//
//	serve [NAME=VALUE...] [FLAG...]  starts a server on $WORK/data and a free port, and sets MODELOG_URL and ADDRESS; its log is in server.log
//	stopserver                       ends it with SIGTERM, in time and with exit code 0
//	exits CODE COMMAND...            runs a command, and wants that exit code
//	capture NAME PATTERN             sets a variable to the first group of a regular expression, matched with the last output
//	impostor STATUS BODY             starts an HTTP server that isn't modelog's, and sets IMPOSTOR to its URL
//	signature FILE BYTES             writes a model signature of at least so many bytes
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Vars = append(env.Vars, quickExit)
			env.Values[scriptKey{}] = &script{vars: env.Vars}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": cmdServe, "stopserver": cmdStopServer, "exits": cmdExits, "capture": cmdCapture,
			"impostor": cmdImpostor, "signature": cmdSignature,
		},
	})
}

// script is what the commands of one script share.
type script struct {
	vars   []string // the environment that it began with
	server *process
}

type scriptKey struct{}

func ofScript(ts *testscript.TestScript, name string, neg bool, args []string, least int) *script {
	if neg {
		ts.Fatalf("%s can't be negated", name)
	}
	if len(args) < least {
		ts.Fatalf("%s needs %d arguments", name, least)
	}
	s, ok := ts.Value(scriptKey{}).(*script)
	if !ok {
		ts.Fatalf("%s outside a script", name)
	}
	return s
}

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	s := ofScript(ts, "serve", neg, args, 0)
	if s.server != nil {
		ts.Fatalf("a server is running already")
	}
	vars := 0
	for vars < len(args) && !strings.HasPrefix(args[vars], "-") {
		vars++
	}
	flags := append([]string{"serve", "--listen", "127.0.0.1:0", "--data", ts.MkAbs("data")}, args[vars:]...)
	cmd := exec.Command("modelog", flags...) //nolint:noctx // ts.Defer ends it
	cmd.Env = append(append([]string{}, s.vars...), args[:vars]...)
	cmd.Dir = ts.MkAbs(".")
	log, err := os.OpenFile(ts.MkAbs("server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	s.server, err = launch(cmd, log)
	ts.Check(err)
	ts.Defer(func() {
		if s.server != nil {
			s.server.kill()
		}
		_ = log.Close()
	})
	url, err := s.server.listening()
	ts.Check(err)
	ts.Setenv("MODELOG_URL", url)
	ts.Setenv("ADDRESS", strings.TrimPrefix(url, "http://"))
}

func cmdStopServer(ts *testscript.TestScript, neg bool, args []string) {
	s := ofScript(ts, "stopserver", neg, args, 0)
	if s.server == nil {
		ts.Fatalf("no server is running")
	}
	err := s.server.stop()
	s.server = nil
	ts.Check(err)
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	ofScript(ts, "exits", neg, args, 2)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitCodeOf(ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("%s exits with %d, want %d:\n%s%s", strings.Join(args[1:], " "), got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	ofScript(ts, "capture", neg, args, 2)
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	m := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("nothing matches %q in:\n%s", args[1], ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], m[1])
}

func cmdImpostor(ts *testscript.TestScript, neg bool, args []string) {
	ofScript(ts, "impostor", neg, args, 2)
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, args[1])
	}))
	ts.Defer(server.Close)
	ts.Setenv("IMPOSTOR", server.URL)
}

func cmdSignature(ts *testscript.TestScript, neg bool, args []string) {
	ofScript(ts, "signature", neg, args, 2)
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	text := fmt.Sprintf(`{"inputs":[{"name":%q}]}`, strings.Repeat("x", size))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}
