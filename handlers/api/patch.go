package api

import (
	"errors"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
)

// Patch is a JSON merge patch (RFC 7396) of a description and tags: what is
// absent stays, null removes.
type Patch struct {
	Description textPatch `json:"description,omitzero"`
	Tags        tagPatch  `json:"tags,omitzero"`
}

// textPatch is a text that may be absent or null.
type textPatch struct {
	given bool
	value *string // nil for null
}

// UnmarshalJSONFrom reads a string or null.
func (p *textPatch) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	p.given = true
	switch token.Kind() {
	case jsontext.KindNull:
	case jsontext.KindString:
		s := token.String()
		p.value = &s
	default:
		return errors.New("must be a string or null")
	}
	return nil
}

// tagPatch is an object of tags that may be absent or null.
type tagPatch struct {
	null bool
	tags map[string]*textPatch
}

// UnmarshalJSONFrom reads an object of strings and nulls, or null.
func (p *tagPatch) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	switch token.Kind() {
	case jsontext.KindNull:
		p.null = true
		return nil
	case jsontext.KindBeginObject:
	default:
		return errors.New("must be an object or null")
	}
	p.tags = map[string]*textPatch{}
	for dec.PeekKind() != jsontext.KindEndObject {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		key, value := name.String(), &textPatch{}
		if err := json.UnmarshalDecode(dec, value); err != nil {
			return err
		}
		p.tags[key] = value
	}
	_, err = dec.ReadToken()
	return err
}

// changes gives what a patch asks for.
func (p Patch) changes() handlers.Changes {
	ch := handlers.Changes{AllTags: p.Tags.null}
	if p.Description.given {
		ch.Description = new(string)
		if p.Description.value != nil {
			*ch.Description = *p.Description.value
		}
	}
	for key, tag := range p.Tags.tags {
		if tag.value == nil {
			ch.RemovedTags = append(ch.RemovedTags, key)
			continue
		}
		if ch.Tags == nil {
			ch.Tags = map[string]string{}
		}
		ch.Tags[key] = *tag.value
	}
	slices.Sort(ch.RemovedTags)
	return ch
}
