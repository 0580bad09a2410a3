package api

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/subscription"
)

// filterSchema is of a type that holds itself, which the generator doesn't know.
func filterSchema() *jsonschema.Schema {
	one, limit := 1, subscription.MaxSQL
	longest := subscription.MaxValue
	attributes := func(about string) *jsonschema.Schema {
		return &jsonschema.Schema{
			Type: "object", Description: about, MinProperties: &one,
			AdditionalProperties: &jsonschema.Schema{Type: "string", MinLength: &one, MaxLength: &longest},
		}
	}
	filter := &jsonschema.Schema{Ref: "#/components/schemas/Filter"}
	return &jsonschema.Schema{
		Type:          "object",
		Description:   fmt.Sprintf("A filter of the CloudEvents Subscriptions API; at most %d in all, %d deep", subscription.MaxFilters, subscription.MaxDepth),
		MinProperties: &one, MaxProperties: &one, AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
		Properties: map[string]*jsonschema.Schema{
			"exact": attributes("All of these attributes are so"), "prefix": attributes("All of these attributes begin so"), "suffix": attributes("All of these attributes end so"),
			"all": {Type: "array", Items: filter, MinItems: &one}, "any": {Type: "array", Items: filter, MinItems: &one}, "not": filter,
			"sql": {Type: "string", MinLength: &one, MaxLength: &limit, Description: "CloudEvents SQL"},
		},
	}
}

func protocolSchema() *jsonschema.Schema {
	nullable := &jsonschema.Schema{Types: []string{"string", "null"}}
	method := &jsonschema.Schema{Types: []string{"string", "null"}}
	return &jsonschema.Schema{
		Types: []string{"object", "null"}, AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
		Properties: map[string]*jsonschema.Schema{
			"method": method, "headers": {Types: []string{"object", "null"}, AdditionalProperties: nullable},
		},
	}
}

func filterLimit(s *jsonschema.Schema) {
	n := subscription.MaxFilters
	s.MaxItems, s.Description = &n, fmt.Sprintf("All of them must let an event through; %d bytes at most", handlers.MaxFilterBytes)
}

func words[W ~string](all []W) limit {
	return func(s *jsonschema.Schema) {
		for _, w := range all {
			s.Enum = append(s.Enum, string(w))
		}
	}
}

func nullOr[W ~string](all []W) limit {
	return func(s *jsonschema.Schema) {
		words(all)(s)
		s.Enum = append(s.Enum, nil)
	}
}

func eventTypes() (types []string) {
	for _, zero := range events.Kinds() {
		types = append(types, events.TypeOf(zero))
	}
	slices.Sort(types)
	return types
}

// settingsLimit is of the settings of HTTP deliveries, in a patch too.
func settingsLimit(s *jsonschema.Schema) {
	name, value, most := maxHeaderName, maxHeaderValue, maxHeaders
	headers := s.Properties["headers"]
	headers.Type, headers.Types = "object", nil
	if s.Types != nil {
		headers.Type, headers.Types = "", []string{"object", "null"}
	}
	headers.MaxProperties, headers.PropertyNames = &most, &jsonschema.Schema{MaxLength: &name}
	headers.AdditionalProperties.MaxLength = &value
	headers.Description = "Never shown again; what is about the connection or the signature can't be set"
	method := s.Properties["method"]
	method.Enum = []any{http.MethodPost}
	if s.Types != nil {
		method.Enum = append(method.Enum, nil)
	}
}

func both(limits ...limit) limit {
	return func(s *jsonschema.Schema) {
		for _, limit := range limits {
			limit(s)
		}
	}
}

func about(text string) limit { return func(s *jsonschema.Schema) { s.Description = text } }

func noMembers(s *jsonschema.Schema) { s.Description = "There is nothing to configure; may be empty" }
