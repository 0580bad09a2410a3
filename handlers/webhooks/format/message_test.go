package format_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/modelog/modelog/events"
)

// texts gives all strings of a JSON value that stand under a name.
func texts(value any, name string) (found []string) {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			if s, ok := member.(string); ok && key == name {
				found = append(found, s)
			}
			found = append(found, texts(member, name)...)
		}
	case []any:
		for _, element := range v {
			found = append(found, texts(element, name)...)
		}
	}
	return found
}

// told gives the message that a format makes of a renaming for a reason.
func told(t *testing.T, format events.DeliveryFormat, name, reason string) (message map[string]any, body []byte) {
	t.Helper()
	e := events.Event{
		Sequence: 7, Subject: "models/" + name, Time: time.Unix(0, 0), Principal: "prn_1",
		Data: events.VersionDeprecated{ModelID: fraudID, Version: 8, Reason: events.Plain(reason)},
	}
	bodies, _, err := formats().Render(&events.SubscriptionSettings{Format: format}, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(bodies[0], &message); err != nil {
		t.Fatal(err)
	}
	return message, bodies[0]
}

// longest are texts that take the most room, each in its own way.
var longest = []string{
	strings.Repeat("x", 100_000), strings.Repeat("&", 100_000), strings.Repeat("🎉", 100_000), strings.Repeat(`"`, 100_000), strings.Repeat(`\*`, 100_000),
	strings.Repeat("日", 100_000), strings.Repeat("a b", 50_000),
}

func units(s string) int { return len(utf16.Encode([]rune(s))) }

func TestMessagesStayBelowThePlatformsLimits(t *testing.T) {
	for _, long := range longest {
		for _, name := range []string{"m", strings.Repeat("%F0%9F%8E%89", 256), strings.Repeat("*", 256)} {
			slack, _ := told(t, events.FormatSlack, name, long)
			for _, s := range texts(slack, "text") {
				if units(s) > 3_000 || !utf8.ValidString(s) {
					t.Errorf("a text for Slack has %d characters", units(s))
				}
			}
			discord, _ := told(t, events.FormatDiscord, name, long)
			if s := texts(discord, "content")[0]; units(s) > 2_000 || !utf8.ValidString(s) || !strings.Contains(s, "sequence 7") {
				t.Errorf("a text for Discord has %d characters: %s", units(s), s)
			}
			if _, body := told(t, events.FormatTeams, name, long); len(body) > 28<<10 {
				t.Errorf("a message for Teams has %d bytes", len(body))
			}
		}
	}
}

func TestShortenedTextsEndInAnEllipsis(t *testing.T) {
	discord, _ := told(t, events.FormatDiscord, "m", strings.Repeat(`*`, 5_000))
	content := texts(discord, "content")[0]
	if units(content) < 1_990 || !strings.Contains(content, "\\*…\n-# ") {
		t.Errorf("it has %d characters: %s", units(content), content)
	}
	slack, _ := told(t, events.FormatSlack, "m", strings.Repeat(`&`, 5_000))
	for _, s := range texts(slack, "text") {
		if units(s) > 900 && !strings.HasSuffix(s, "&amp;…") {
			t.Errorf("it ends in %q", s[len(s)-20:])
		}
	}
	whole, _ := told(t, events.FormatSlack, "m", "short")
	if s := texts(whole, "text"); strings.Contains(strings.Join(s, ""), "…") {
		t.Errorf("what is short is shortened: %v", s)
	}
}

// TestNobodyIsMentionedAndNothingIsMarkup uses what people could write into a reason.
func TestNobodyIsMentionedAndNothingIsMarkup(t *testing.T) {
	for _, text := range []string{
		"@everyone", "@here", "<@123>", "<@&123>", "<#456>", "<!channel>", "<!here>", "<!subteam^S1|all>", "<https://evil.example|a bank>", "[a bank](https://evil.example)",
		"**bold** _it_ ~~no~~ `code` ||hidden||", "<at>all</at>", "<t:0:R>", "```\nblock", "line\n# heading\n> quote\n- item\n1. one", "http://169.254.169.254/",
	} {
		discord, _ := told(t, events.FormatDiscord, "m", text)
		content := texts(discord, "content")[0]
		for i, line := range strings.Split(content, "\n") {
			if begins := []string{"**model m**", "-# "}; i > 1 || !strings.HasPrefix(line, begins[i]) {
				t.Errorf("Discord is shown a line %q of %q", line, text)
			}
			line = strings.TrimPrefix(strings.TrimPrefix(line, "**model m**"), "-# ")
			for j := 0; j < len(line); j++ {
				switch {
				case line[j] == '\\':
					j++
				case strings.IndexByte("*_~`|[]()<>:@#", line[j]) >= 0:
					t.Errorf("Discord is shown %q for %q", line, text)
				}
			}
		}
		if parse, ok := discord["allowed_mentions"].(map[string]any)["parse"].([]any); !ok || len(parse) != 0 || discord["flags"] != 4.0 {
			t.Errorf("Discord may mention %v", discord)
		}
		slack, _ := told(t, events.FormatSlack, "m", text)
		for _, s := range texts(slack, "text") {
			if strings.ContainsAny(s, "<>\n") {
				t.Errorf("Slack is shown %q for %q", s, text)
			}
		}
		for _, kind := range texts(slack["blocks"], "type") {
			if kind == "mrkdwn" {
				t.Errorf("Slack reads markup in %v", slack)
			}
		}
		teams, _ := told(t, events.FormatTeams, "m", text)
		for _, kind := range texts(teams["attachments"], "type") {
			if kind == "TextBlock" { // it has markup
				t.Errorf("Teams reads markup in %v", teams)
			}
		}
	}
}

func TestWhatCantBeSeenIsLeftOut(t *testing.T) {
	for text, want := range map[string]string{
		"a\u202eb\u2066c\x00d": "abcd", "a\tb\r\n  c": "a b c", "\ufeffa": "a", "👩\u200d💻": "👩\u200d💻", "a\u2028b": "a b",
	} {
		teams, _ := told(t, events.FormatTeams, "m", text)
		if all := strings.Join(texts(teams, "text"), "|"); !strings.Contains(all, "deprecated: "+want+"|") && !strings.HasSuffix(all, "deprecated: "+want) {
			t.Errorf("%q is shown as %q", text, all)
		}
	}
}
