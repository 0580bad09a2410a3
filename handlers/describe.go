package handlers

import (
	"maps"
	"slices"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// Changes says what is to change of a description and tags; the rest stays.
type Changes struct {
	Description *string           `json:"description,omitempty"` // nil to leave it
	Tags        map[string]string `json:"tags,omitempty"`        // to set
	RemovedTags []string          `json:"removed_tags,omitempty"`
	// AllTags removes the tags that aren't set.
	AllTags bool `json:"all_tags,omitzero"`
}

func (ch *Changes) check(c *checker) {
	if ch.Description != nil {
		c.length("/description", *ch.Description, MaxDescription)
	}
	c.tags(ch.Tags)
}

// on gives what really changes of a description and tags as they are.
func (ch *Changes) on(description events.Text, tags map[string]string) (text *events.Text, set map[string]string, removed []string, err error) {
	if ch.Description != nil && events.Plain(*ch.Description) != description {
		plain := events.Plain(*ch.Description)
		text = &plain
	}
	set = map[string]string{}
	for k, v := range ch.Tags {
		if old, ok := tags[k]; !ok || old != v {
			set[k] = v
		}
	}
	for k := range tags {
		if _, kept := ch.Tags[k]; !kept && (ch.AllTags || slices.Contains(ch.RemovedTags, k)) {
			removed = append(removed, k)
		}
	}
	slices.Sort(removed)
	after := maps.Clone(tags)
	if after == nil {
		after = map[string]string{}
	}
	maps.Copy(after, set)
	if len(after)-len(removed) > MaxTags {
		return nil, nil, nil, InvalidField("/tags", "max_items", "would leave more than %d tags", MaxTags)
	}
	return text, set, removed, nil
}

// DescribeModel asks to change a model's description or tags.
type DescribeModel struct {
	Model   string  `json:"model"`
	Changes Changes `json:"changes"`
}

// Kind names the command.
func (*DescribeModel) Kind() string { return "describe_model" }

func (cmd *DescribeModel) check() error {
	var c checker
	cmd.Changes.check(&c)
	return c.err()
}

func (cmd *DescribeModel) decide(v projections.View, _ occasion) (decision, error) {
	m, _, err := FindModel(v, cmd.Model)
	if err != nil {
		return decision{}, err
	}
	text, set, removed, err := cmd.Changes.on(m.Description, m.Tags())
	if err != nil {
		return decision{}, err
	}
	if text == nil && len(set) == 0 && len(removed) == 0 {
		return alreadySo(modelResource(m))
	}
	return write(events.ModelDescribed{ModelID: m.ID, Description: text, Tags: set, RemovedTags: removed})
}

func (cmd *DescribeModel) etag(v projections.View) (uint64, bool) { return modelETag(v, cmd.Model) }

// DescribeVersion asks to change a version's description or tags.
type DescribeVersion struct {
	Model   string  `json:"model"`
	Ref     string  `json:"ref"`
	Changes Changes `json:"changes"`
}

// Kind names the command.
func (*DescribeVersion) Kind() string { return "describe_version" }

func (cmd *DescribeVersion) check() error {
	var c checker
	cmd.Changes.check(&c)
	return c.err()
}

func (cmd *DescribeVersion) decide(v projections.View, _ occasion) (decision, error) {
	_, id, err := find(v, cmd.Model, cmd.Ref)
	if err != nil {
		return decision{}, err
	}
	version, _, _ := v.Version(id)
	text, set, removed, err := cmd.Changes.on(version.Description, version.Tags())
	if err != nil {
		return decision{}, err
	}
	if text == nil && len(set) == 0 && len(removed) == 0 {
		return alreadySo(versionResource(id))
	}
	return write(events.VersionDescribed{
		ModelID: id.ModelID, Version: id.Version, Description: text, Tags: set, RemovedTags: removed,
	})
}

func (cmd *DescribeVersion) etag(v projections.View) (uint64, bool) {
	return versionETag(v, cmd.Model, cmd.Ref)
}
