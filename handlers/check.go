package handlers

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/modelog/modelog/projections"
	"golang.org/x/text/unicode/norm"
)

// Limits of what a request may hold (interface.md). Lengths are in code points
// where nothing else is said.
const (
	MaxName        = 256
	MaxAlias       = 255
	MaxReference   = MaxAlias + 1               // within a model, with the @ of an alias
	MaxWhole       = MaxName + 1 + MaxReference // a whole reference
	MaxDescription = 100_000
	MaxReason      = 4_000
	MaxSourceBytes = 4_096
	MaxTags        = 200
	MaxKey         = 250 // of a tag, parameter or metric
	MaxValue       = 100_000
	MaxArtifacts   = 1_000
	MaxDatasets    = 1_000
	MaxParameters  = 2_000
	MaxMetrics     = 2_000
	MaxShort       = 255           // format, run id, logged model, commit, role
	MaxVersion     = math.MaxInt32 // number of a version, as MLflow's databases have it

	MaxIdempotencyKey = 128 // visible ASCII characters
)

// Patterns of names that are words.
const (
	TargetPattern = `^[a-z0-9][a-z0-9._-]{0,62}$` // of an environment, and of a target within it
	RolePattern   = `^[a-z][a-z0-9_-]{0,62}$`     // of a data set
)

// checker gathers what is wrong with the fields of a command.
type checker struct{ fields []FieldError }

func (c *checker) fail(pointer, rule, format string, args ...any) {
	if len(c.fields) < 20 { // enough to go on with
		c.fields = append(c.fields, FieldError{pointer, rule, fmt.Sprintf(format, args...)})
	}
}

func (c *checker) err() error {
	if len(c.fields) == 0 {
		return nil
	}
	return InvalidError{c.fields}
}

// NormalName brings a name into the form in which names are kept and looked up.
func NormalName(s string) string { return norm.NFC.String(s) }

// modelName checks a model's name and gives its normal form.
func (c *checker) modelName(pointer, s string) string {
	s = NormalName(s)
	switch {
	case s == "":
		c.fail(pointer, "required", "is required")
	case strings.ContainsAny(s, "/:"):
		c.fail(pointer, "no_slash_or_colon", "must not contain / or :")
	case s == "." || s == "..":
		c.fail(pointer, "not_a_path", "must not be . or ..")
	case strings.TrimSpace(s) != s:
		c.fail(pointer, "no_edge_spaces", "must not begin or end with a space")
	}
	c.text(pointer, s, MaxName)
	return s
}

// text checks a one-line text: its length, and no control or format characters.
func (c *checker) text(pointer, s string, limit int) {
	c.length(pointer, s, limit)
	for _, r := range s {
		if ' ' <= r && r <= '~' {
			continue // most are, and the tables take long
		}
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			c.fail(pointer, "no_control_characters", "must not contain the control or format character U+%04X", r)
			return
		}
	}
}

// length checks what every text must be: UTF-8, and not too long.
func (c *checker) length(pointer, s string, limit int) {
	if !utf8.ValidString(s) {
		c.fail(pointer, "utf8", "must be valid UTF-8")
	}
	// Most texts are shorter in bytes than the limit in code points.
	if len(s) > limit && utf8.RuneCountInString(s) > limit {
		c.fail(pointer, "max_length", "has more than %d characters", limit)
	}
}

func (c *checker) required(pointer, s string) bool {
	if s == "" {
		c.fail(pointer, "required", "is required")
	}
	return s != ""
}

func (c *checker) count(pointer string, n, limit int) {
	if n > limit {
		c.fail(pointer, "max_items", "has more than %d entries", limit)
	}
}

var (
	aliasPattern  = regexp.MustCompile(`^[\p{L}\p{M}\p{N}_-]+$`)
	versionAlias  = regexp.MustCompile(`^(?i:v\d+)$`)
	targetPattern = regexp.MustCompile(TargetPattern)
	rolePattern   = regexp.MustCompile(RolePattern)
)

func (c *checker) alias(pointer, s string) string {
	s = NormalName(s)
	if !c.required(pointer, s) {
		return s
	}
	c.length(pointer, s, MaxAlias)
	switch {
	case !aliasPattern.MatchString(s):
		c.fail(pointer, "alias_characters", "may have letters, digits, _ and - only")
	case strings.EqualFold(s, "latest") || versionAlias.MatchString(s):
		c.fail(pointer, "reserved", "must not be latest or v and digits, which are reserved")
	}
	return s
}

// target checks the name of a target that is to be found.
func (c *checker) target(name projections.TargetName) {
	c.length("environment", name.Environment, MaxName)
	c.length("name", name.Name, MaxName)
}

func (c *checker) targetPart(pointer, s string) {
	if !targetPattern.MatchString(s) {
		c.fail(pointer, "target_characters", "must be 1 to 63 of a-z, 0-9, ., _ and -, and begin with a letter or digit")
	}
}

func (c *checker) tags(tags map[string]string) { c.pairs("/tags", tags, MaxTags) }

func (c *checker) pairs(pointer string, pairs map[string]string, limit int) {
	c.count(pointer, len(pairs), limit)
	if arePlain(pairs) { // most are, and need no pointers
		return
	}
	for _, k := range sortedKeys(pairs) {
		c.key(pointer, k)
		c.length(pointer+"/"+escapePointer(k), pairs[k], MaxValue)
	}
}

func arePlain(pairs map[string]string) bool {
	for k, v := range pairs {
		if !isPlain(k, MaxKey) || len(v) > MaxValue || !utf8.ValidString(v) {
			return false
		}
	}
	return true
}

// keys checks the keys of numbers.
func (c *checker) keys(pointer string, numbers map[string]float64) {
	for k := range numbers {
		if !isPlain(k, MaxKey) {
			for _, k := range sortedKeys(numbers) {
				c.key(pointer, k)
			}
			return
		}
	}
}

// isPlain says whether a text is right wherever it stands: printable ASCII, and
// not too long.
func isPlain(s string, limit int) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= limit
}

// isDigest says whether a text is a SHA-256 as it is spelled here.
func isDigest(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 64
}

// sortedKeys makes the same request be refused with the same text each time.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (c *checker) key(pointer, k string) {
	if isPlain(k, MaxKey) {
		return
	}
	at := pointer + "/" + escapePointer(k)
	if c.required(at, k) {
		c.text(at, k, MaxKey)
	}
}

// uri checks where files or code are: kept as given, but without a secret.
func (c *checker) uri(pointer, s string) {
	if len(s) > MaxSourceBytes {
		c.fail(pointer, "max_length", "has more than %d bytes", MaxSourceBytes)
	}
	c.text(pointer, s, len(s))
	if holdsCredentials(s) {
		c.fail(pointer, "no_credentials", "must not hold credentials: the log never forgets them")
	}
}

// holdsCredentials says whether a URI names a user with a password, or a user
// over HTTP, who is a token as likely as not. It looks without parsing: a
// malformed URI holds its secret all the same.
func holdsCredentials(uri string) bool {
	scheme, rest, ok := strings.Cut(strings.ToLower(uri), "//")
	if !ok || strings.ContainsAny(scheme, "/?#") || (scheme != "" && !strings.HasSuffix(scheme, ":")) {
		return false
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	at := strings.LastIndex(rest, "@")
	if at < 0 {
		return false
	}
	overHTTP := strings.HasSuffix(scheme, "http:") || strings.HasSuffix(scheme, "https:") // git+https, too
	return overHTTP || strings.Contains(rest[:at], ":")
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func escapePointer(s string) string { return pointerEscapes.Replace(s) }

func element(pointer string, i int, field string) string {
	return pointer + "/" + strconv.Itoa(i) + "/" + field
}
