package handlers

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// source parses the package's files that are no tests.
func source(t *testing.T) []*ast.File {
	t.Helper()
	var files []*ast.File
	for _, name := range []string{"errors.go", "registrar.go", "recover.go", "check.go", "command.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// declaredCodes gives the values of all constants of type Code.
func declaredCodes(t *testing.T) []Code {
	t.Helper()
	var codes []Code
	for _, f := range source(t) {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Code" {
				for _, v := range spec.Values {
					codes = append(codes, Code(strings.Trim(v.(*ast.BasicLit).Value, `"`)))
				}
			}
			return true
		})
	}
	return codes
}

// refusalTypes gives the names of all types with a method Code.
func refusalTypes(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, f := range source(t) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "Code" && fn.Recv != nil {
				names = append(names, fn.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	return names
}

func TestEveryCodeIsInTheTableOfErrors(t *testing.T) {
	codes := declaredCodes(t)
	slices.Sort(codes)
	if diff := cmp.Diff(codes, slices.Sorted(maps.Keys(Errors))); diff != "" {
		t.Errorf("constants (-) and table (+):\n%s", diff)
	}
}

func TestEveryRowOfTheTableIsWhole(t *testing.T) {
	exits := map[int][]int{ // the statuses that go with each exit code, as interface.md has them
		ExitInternal:    {500},
		ExitInvalid:     {400, 403, 405, 406, 413, 415},
		ExitNotFound:    {404},
		ExitConflict:    {409, 412, 422},
		ExitRule:        {409},
		ExitUnavailable: {429, 503},
		ExitVerify:      {503},
	}
	titles := map[string]Code{}
	for code, row := range Errors {
		if row.Title == "" || http.StatusText(row.Status) == "" || !slices.Contains(exits[row.Exit], row.Status) {
			t.Errorf("%s: title %q, status %d and exit code %d don't go together", code, row.Title, row.Status, row.Exit)
		}
		if other, twice := titles[row.Title]; twice {
			t.Errorf("%s and %s have the same title", code, other)
		}
		titles[row.Title] = code
	}
}

// TestEveryCodeHasItsPlaceInMLflow: its clients go by the status whether to send a
// request again, so that a refusal must have none of those.
func TestEveryCodeHasItsPlaceInMLflow(t *testing.T) {
	for code, row := range Errors {
		status := row.MLflowStatus()
		if row.MLflow == "" || http.StatusText(status) == "" {
			t.Errorf("%s: MLflow's code %q has the status %d", code, row.MLflow, status)
		}
		again, refused := status == 429 || status >= 500, row.Status < 500 && row.Status != 429
		refused = refused || code == CodeOutcomeUnknown // there is no key to send it again with
		if again == refused || (status == 500) != (code == CodeInternal) {
			t.Errorf("%s: the status is %d, and %d in MLflow", code, row.Status, status)
		}
	}
	for code, want := range map[Code]Row{ // what its clients know
		CodeModelNotFound: {Status: 404, MLflow: "RESOURCE_DOES_NOT_EXIST"}, CodeVersionNotFound: {Status: 404, MLflow: "RESOURCE_DOES_NOT_EXIST"},
		CodeRouteNotFound: {Status: 404, MLflow: "ENDPOINT_NOT_FOUND"}, CodeModelExists: {Status: 400, MLflow: "RESOURCE_ALREADY_EXISTS"},
		CodeInvalid: {Status: 400, MLflow: "INVALID_PARAMETER_VALUE"}, CodeTooLarge: {Status: 400, MLflow: "INVALID_PARAMETER_VALUE"},
		CodePreconditionFailed: {Status: 400, MLflow: "INVALID_PARAMETER_VALUE"}, CodeVersionDeployed: {Status: 409, MLflow: "RESOURCE_CONFLICT"},
		CodeKeyReused: {Status: 409, MLflow: "RESOURCE_CONFLICT"}, CodeBusy: {Status: 429, MLflow: "REQUEST_LIMIT_EXCEEDED"},
		CodeOutcomeUnknown: {Status: 409, MLflow: "RESOURCE_CONFLICT"}, CodeInternal: {Status: 500, MLflow: "INTERNAL_ERROR"},
	} {
		if got := Errors[code]; got.MLflow != want.MLflow || got.MLflowStatus() != want.Status {
			t.Errorf("%s is %d %s in MLflow, want %d %s", code, got.MLflowStatus(), got.MLflow, want.Status, want.MLflow)
		}
	}
}

func TestARefusalSaysWhatHappenedToWhatAndWhatToDo(t *testing.T) {
	examples := map[Refusal]string{ // pointers, since not all refusals can be keys
		&InvalidError{[]FieldError{{"/name", "required", "is required"}, {"", "json", "the body is not JSON"}}}: "/name is required; the body is not JSON",
		&TooLargeError{Limit: 100}:                                                                     "the body is larger than 100 bytes",
		&TooLargeError{Pointer: "/tags", Limit: 100}:                                                   "the event would be larger than 100 bytes; /tags takes most of it",
		&NotFoundError{What: CodeModelNotFound, Name: "fraud"}:                                         "there is no model fraud",
		&NotFoundError{What: CodeTargetNotFound, Name: "prod/a", Hint: "define it first"}:              "there is no target prod/a; define it first",
		&NotFoundError{What: CodeModelNotFound, Name: "fr\xffaud"}:                                     "there is no model fr\uFFFDaud", // or it couldn't be told in JSON
		&ExistsError{CodeModelExists, "model fraud", "choose another name"}:                            "model fraud exists already; choose another name",
		&RuleError{CodeNotAGeneration, "prod/a can't go back to generation 9"}:                         "prod/a can't go back to generation 9",
		&PreconditionError{"if_version", 7, 8}:                                                         "if_version expects 7, but it is 8; read it again and decide anew",
		&KeyReusedError{4711}:                                                                          "the idempotency key was used for event 4711 by a request with other content; use a new key",
		&UnavailableError{CodeBusy, "too many requests are waiting; send it again later", time.Second}: "too many requests are waiting; send it again later",
		&OutcomeUnknownError{"01K"}:                                                                    "event 01K may have been written or not: the answer of the log was lost; send the same request with the same idempotency key to find out",
	}
	shown := map[string]bool{}
	for refusal, text := range examples {
		if got := refusal.Error(); got != text {
			t.Errorf("%T says %q, want %q", refusal, got, text)
		}
		if _, ok := Errors[refusal.Code()]; !ok {
			t.Errorf("%T has the unknown code %q", refusal, refusal.Code())
		}
		shown[strings.TrimPrefix(fmt.Sprintf("%T", refusal), "*handlers.")] = true
	}
	for _, name := range refusalTypes(t) {
		if !shown[name] {
			t.Errorf("%s has no example here", name)
		}
	}
}

func TestCodeOfLooksThroughWrapping(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Code
	}{
		{fmt.Errorf("/base_model: %w", NotFoundError{What: CodeModelNotFound, Name: "x"}), CodeModelNotFound},
		{errors.Join(errors.New("a"), KeyReusedError{1}), CodeKeyReused},
		{errors.New("disk on fire"), CodeInternal},
		{nil, CodeInternal},
	} {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("%v has code %s, want %s", c.err, got, c.want)
		}
	}
}
