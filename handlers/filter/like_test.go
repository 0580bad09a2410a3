package filter

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLike(t *testing.T) {
	for _, tt := range []struct {
		pattern, value string
		like, ilike    bool
	}{
		{"", "", true, true},
		{"", "a", false, false},
		{"%", "", true, true},
		{"%%", "anything\nat all", true, true},
		{"_", "", false, false},
		{"_", "é", true, true},
		{"_", "日", true, true},
		{"__", "é", false, false},
		{"abc", "abc", true, true},
		{"abc", "abcd", false, false},
		{"a%", "A", false, true},
		{"%RM%", "test_RM1", true, true},
		{"_e%", "test", true, true},
		{"%b%d", "abcd", true, true},
		{"%b%d", "abcde", false, false},
		{"a.c*", "abc", false, false}, // no regular expression
		{"a\\%", "a\\b", true, true},  // nor an escape
		{"ÉCOLE%", "École 1", false, true},
		{"ΣΑΣ", "σας", false, true},  // the two small sigmas
		{"k", "\u212a", false, true}, // the sign of Kelvin
		{"straße", "STRASSE", false, false},
	} {
		if got := newPattern(tt.pattern, false).match(tt.value); got != tt.like {
			t.Errorf("%q LIKE %q: %v", tt.value, tt.pattern, got)
		}
		if got := newPattern(tt.pattern, true).match(tt.value); got != tt.ilike {
			t.Errorf("%q ILIKE %q: %v", tt.value, tt.pattern, got)
		}
	}
}

// naive says the same, in the time of two to the power of the length.
func naive(pattern, value []rune) bool {
	if len(pattern) == 0 {
		return len(value) == 0
	}
	if pattern[0] == '%' && naive(pattern[1:], value) {
		return true
	}
	if len(value) == 0 {
		return false
	}
	if pattern[0] == '%' {
		return naive(pattern, value[1:])
	}
	return (pattern[0] == '_' || pattern[0] == value[0]) && naive(pattern[1:], value[1:])
}

func TestLikeIsTheNaiveMatcher(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.SampledFrom([]rune("aabé%_")), 0, 8, -1).Draw(t, "pattern")
		value := rapid.StringOfN(rapid.SampledFrom([]rune("aabéA")), 0, 8, -1).Draw(t, "value")
		// Padding takes the same pattern over the borders of the 64-bit words.
		n := rapid.SampledFrom([]int{0, 1, 60, 61, 62, 63, 64, 65, 127, 128}).Draw(t, "padding")
		padding := strings.Repeat("x", n)
		want := naive([]rune(pattern), []rune(value))
		if got := newPattern(padding+pattern, false).match(padding + value); got != want {
			t.Errorf("%q LIKE %q: %v, want %v", value, pattern, got, want)
		}
		if got := newPattern("%"+padding+pattern, false).match("yxx" + padding + value); want && !got {
			t.Errorf("%q LIKE %q behind a %%: %v, want %v", value, pattern, got, want)
		}
		want = naive([]rune(strings.ToUpper(pattern)), []rune(strings.ToUpper(value)))
		if got := newPattern(padding+pattern, true).match(padding + value); got != want {
			t.Errorf("%q ILIKE %q: %v, want %v", value, pattern, got, want)
		}
	})
}

func TestLikeTakesAsLongForAHostilePattern(t *testing.T) {
	pattern := newPattern(strings.Repeat("%a_", 333)+"b", false)
	value := strings.Repeat("a", 100_000) // the longest value of a tag
	start := time.Now()
	if pattern.match(value) {
		t.Error("matches")
	}
	// A few milliseconds; going back would take longer than there is time.
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}
