package format

import "github.com/go-json-experiment/json"

// maxTeamsText is how much of what happened is told, so that a message stays below
// Teams' 28 KB whatever its letters are.
const maxTeamsText = 4_000

// teamsMessage is a message with one Adaptive Card. Its texts are runs, which have no
// markup, where a TextBlock would make links and mentions of what people wrote.
type teamsMessage struct {
	Type        string            `json:"type"`
	Attachments []teamsAttachment `json:"attachments"`
}

type teamsAttachment struct {
	ContentType string    `json:"contentType"`
	ContentURL  *string   `json:"contentUrl"`
	Content     teamsCard `json:"content"`
}

type teamsCard struct {
	Schema  string      `json:"$schema"`
	Type    string      `json:"type"`
	Version string      `json:"version"`
	Body    []teamsLine `json:"body"`
}

type teamsLine struct {
	Type    string     `json:"type"`
	Inlines []teamsRun `json:"inlines"`
}

type teamsRun struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Weight string `json:"weight,omitempty"`
	Subtle bool   `json:"isSubtle,omitzero"`
}

func teams(m message) ([]byte, error) {
	line := func(run teamsRun, limit int) teamsLine {
		run.Type, run.Text = "TextRun", written(run.Text, limit, asIs)
		return teamsLine{"RichTextBlock", []teamsRun{run}}
	}
	return json.Marshal(teamsMessage{Type: "message", Attachments: []teamsAttachment{{
		ContentType: "application/vnd.microsoft.card.adaptive",
		Content: teamsCard{
			Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4",
			Body: []teamsLine{
				line(teamsRun{Text: m.about, Weight: "Bolder"}, maxAbout), line(teamsRun{Text: m.what}, maxTeamsText), line(teamsRun{Text: m.how, Subtle: true}, maxHow),
			},
		},
	}}})
}
