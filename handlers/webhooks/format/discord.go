package format

import (
	"strings"

	"github.com/go-json-experiment/json"
)

// maxDiscord is how many characters the content of a message may have.
const maxDiscord = 2_000

// suppressEmbeds keeps Discord from fetching and showing what looks like a link.
const suppressEmbeds = 1 << 2

type discordMessage struct {
	Content  string          `json:"content"`
	Flags    int             `json:"flags"`
	Mentions discordMentions `json:"allowed_mentions"`
}

type discordMentions struct {
	Parse []string `json:"parse"` // nobody
}

func discord(m message) ([]byte, error) {
	name := "**" + written(m.about, maxAbout, discordRune) + "**"
	how := "\n-# " + written(m.how, maxHow, discordRune)
	left := maxDiscord - units(name) - len(" ") - units(how)
	return json.Marshal(discordMessage{
		Content: name + " " + written(m.what, left, discordRune) + how, Flags: suppressEmbeds, Mentions: discordMentions{Parse: []string{}},
	})
}

// discordRune escapes what is markup wherever it stands. What is markup only where a
// line begins can't be: lines begin with our own.
func discordRune(r rune) string {
	if strings.ContainsRune("\\*_~`|[]()<>:@#", r) {
		return `\` + string(r)
	}
	return string(r)
}
