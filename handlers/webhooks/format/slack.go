package format

import "github.com/go-json-experiment/json"

// Slack's limits, in characters: of a section's text, which is shown, and of what stands
// in notifications.
const (
	maxSlackText     = 3_000
	maxSlackFallback = 1_000
)

// slackMessage is a message of an incoming webhook. Its texts are plain: no markup, no
// emoji by name, no mentions, and no links.
type slackMessage struct {
	Text        string       `json:"text"`
	Markdown    bool         `json:"mrkdwn"`
	UnfurlLinks bool         `json:"unfurl_links"`
	UnfurlMedia bool         `json:"unfurl_media"`
	Blocks      []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitzero"`
	Elements []slackText `json:"elements,omitempty"`
}

type slackText struct {
	Type  string `json:"type"`
	Text  string `json:"text"`
	Emoji bool   `json:"emoji"`
}

func slack(m message) ([]byte, error) {
	plain := func(s string, limit int) slackText {
		return slackText{Type: "plain_text", Text: written(s, limit, slackRune)}
	}
	told := plain(m.about+": "+m.what, maxSlackText)
	return json.Marshal(slackMessage{
		Text: written(m.about+": "+m.what, maxSlackFallback, slackRune),
		Blocks: []slackBlock{
			{Type: "section", Text: &told},
			{Type: "context", Elements: []slackText{plain(m.how, maxHow)}},
		},
	})
}

// slackRune escapes the three characters that begin mentions and links.
func slackRune(r rune) string {
	switch r {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	}
	return string(r)
}
