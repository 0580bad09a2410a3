package handlers

import (
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// Renaming says what a model is to be called.
type Renaming struct {
	To     string `json:"to"`
	Reason string `json:"reason,omitempty"`
}

// RenameModel asks for another name of a model.
type RenameModel struct {
	Model    string   `json:"model"`
	Renaming Renaming `json:"renaming"`
}

// Kind names the command.
func (*RenameModel) Kind() string { return "rename_model" }

func (cmd *RenameModel) check() error {
	var c checker
	cmd.Renaming.To = c.modelName("/to", cmd.Renaming.To)
	c.length("/reason", cmd.Renaming.Reason, MaxReason)
	return c.err()
}

func (cmd *RenameModel) decide(v projections.View, _ occasion) (decision, error) {
	m, _, err := FindModel(v, cmd.Model)
	if err != nil {
		return decision{}, err
	}
	to := cmd.Renaming.To
	if to == m.Name {
		return alreadySo(modelResource(m))
	}
	if _, _, taken := v.Model(to); taken {
		return decision{}, ExistsError{CodeModelExists, "model " + to, "choose another name"}
	}
	return write(events.ModelRenamed{ModelID: m.ID, From: m.Name, To: to, Reason: events.Plain(cmd.Renaming.Reason)})
}

func (cmd *RenameModel) etag(v projections.View) (uint64, bool) { return modelETag(v, cmd.Model) }
