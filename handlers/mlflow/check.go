package mlflow

import (
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/modelog/modelog/handlers"
)

// What MLflow refuses whatever the state, in the order in which it looks, with its
// texts. The core's own checks come after these.

const seeDocs = " See the API docs for more information about request parameters."

func missing(param string) string { return "Missing value for required parameter '" + param + "'." }

// invalidParam refuses a value of a wrong type.
func invalidParam(param, spelled, kind string) error {
	return invalid("Invalid value %s for parameter '%s' supplied:  Hint: Value was of type '%s'.%s", spelled, param, kind, seeDocs)
}

func tooLong(what string, limit int) error {
	return invalid("'%s' exceeds the maximum length of %d characters", what, limit)
}

func checkModelName(s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return invalid("%s", missing("name"))
	case strings.ContainsAny(s, "/:"):
		return invalid("Invalid model name '%s'. Names cannot contain '/' or ':'.", clip(s))
	default:
		return checkPath("name", s)
	}
}

func checkNewName(s string) error {
	if strings.TrimSpace(s) == "" {
		return invalid("%s", missing("new_name"))
	}
	return checkModelName(s)
}

// checkPath refuses names that would be other ones as paths of files.
func checkPath(param, s string) error {
	normal := path.Clean(s)
	if strings.HasPrefix(s, "//") && !strings.HasPrefix(s, "///") {
		normal = "/" + normal // two slashes are kept there, and three are not
	}
	if normal == s && s != "." && !strings.HasPrefix(s, "..") && !strings.HasPrefix(s, "/") {
		return nil
	}
	return invalid("Invalid value %s for parameter '%s' supplied: Names may be treated as files in certain cases, "+
		"and must not resolve to other names when treated as such. This name would resolve to %s",
		pythonJSON(s), param, pythonRepr(normal))
}

// checkVersion gives the normal spelling of a version's number.
func checkVersion(s string) (string, error) {
	digits, ok := pythonInt(s)
	if !ok {
		return "", invalid("Parameter 'version' must be an integer, got '%s'.", clip(s))
	}
	return digits, nil
}

// keyCharacters are letters and digits of all scripts, and these.
var keyCharacters = regexp.MustCompile(`^[/\p{L}\p{N}_.\- :]*$`)

func checkTagKey(s string) error {
	if !keyCharacters.MatchString(s) {
		return invalid("Invalid value %s for parameter 'key' supplied: Names may only contain alphanumerics, underscores (_), "+
			"dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).", pythonJSON(s))
	}
	return checkPath("key", s)
}

const promptText = "mlflow.prompt.text"

func checkTag(t tag) error {
	if err := checkTagKey(t.Key); err != nil {
		return err
	}
	return checkTagLength(t)
}

func checkTagLength(t tag) error {
	if longer(t.Key, handlers.MaxKey) {
		return tooLong("key", handlers.MaxKey)
	}
	if longer(t.Value, handlers.MaxValue) {
		return tooLong("value", handlers.MaxValue)
	}
	return nil
}

// checkVersionTag differs for the text of a prompt.
func checkVersionTag(t tag) error {
	if err := checkTag(t); err != nil {
		if t.Key == promptText && longer(t.Value, handlers.MaxValue) {
			return invalid("Prompt text exceeds max length of %d characters.", handlers.MaxValue)
		}
		return err
	}
	return nil
}

func longer(s string, limit int) bool { return len(s) > limit && utf8.RuneCountInString(s) > limit }

var (
	aliasCharacters = regexp.MustCompile(`^[\p{L}\p{N}_-]*$`)
	versionAlias    = regexp.MustCompile(`^[vV]\p{Nd}+$`)
)

func checkAlias(s string) error {
	switch {
	case s == "":
		return invalid("Registered model alias name cannot be empty.")
	case !aliasCharacters.MatchString(s):
		return invalid("Invalid alias name: '%s'. Names may only contain alphanumerics, underscores (_), and dashes (-).", clip(s))
	case longer(s, handlers.MaxAlias):
		return tooLong("Registered model alias name", handlers.MaxAlias)
	}
	return nil
}

// checkNewAlias refuses the reserved ones too.
func checkNewAlias(s string) error {
	if err := checkAlias(s); err != nil {
		return err
	}
	switch {
	case isLatest(s):
		return invalid("'latest' alias name (case insensitive) is reserved.")
	case versionAlias.MatchString(s):
		return invalid("Version alias name '%s' is reserved.", s)
	}
	return nil
}

func isLatest(s string) bool { return strings.EqualFold(s, "latest") }

// number gives a version's number, and 0, which none has, for one that can't be.
func number(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
