package api

import (
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/cloudevents"
)

// webhooks describes the deliveries, one a type of event, for those who receive them.
func (s *shapeSchemas) webhooks() m {
	all := m{}
	for kind, data := range events.Kinds() {
		all[kind] = m{"post": m{
			"operationId": "on_" + kind, "summary": events.TypeOf(data) + ", to a subscriber", "tags": []string{"deliveries"},
			"externalDocs": m{"url": schemaURL(kind), "description": "JSON Schema of data"},
			"parameters":   deliveryHeaders(),
			"requestBody": m{"required": true, "content": m{cloudevents.StructuredMedia: m{"schema": m{
				"allOf": []m{{"$ref": "#/components/schemas/DeliveredEvent"}, {
					"type": "object", "properties": m{"type": m{"const": events.TypeOf(data)}, "dataschema": m{"const": schemaURL(kind)}},
				}},
			}}}},
			"responses": m{
				"2XX": m{"description": "It has arrived; nothing of the body counts"},
				"410": m{"description": "Nobody wants deliveries here any more: the subscription is disabled"},
				"429": m{"description": "Later: Retry-After is heeded"},
				"default": m{
					"description": "It is sent again, under the same webhook-id; so is what isn't answered within 15 s. A redirect isn't followed, and counts as a failure",
				},
			},
		}}
	}
	s.components["DeliveredEvent"] = deliveredEvent()
	return all
}

func schemaURL(kind string) string { return "https://modelog.dev/schemas/" + events.SchemaPath(kind) }

// deliveryHeaders are those of Standard Webhooks 1.0.0, and ours.
func deliveryHeaders() []m {
	header := func(name, about string, required bool, schema m) m {
		return m{"name": name, "in": "header", "required": required, "description": about, "schema": schema}
	}
	text := m{"type": "string"}
	return []m{
		header("webhook-id", "evt_ and the event's sequence: the same however often it is sent", true, m{"type": "string", "pattern": `^evt_[0-9]{20}`}),
		header("webhook-timestamp", "When this attempt was made, in seconds since 1970", true, m{"type": "string", "pattern": `^[0-9]+$`}),
		header("webhook-signature", "Standard Webhooks: v1, and the base64 of an HMAC-SHA256, or v1a, and that of an Ed25519 signature, over id.timestamp.body; "+
			"several, with spaces between, while two secrets are valid", true, text),
		header("webhook-replay", "Id of the replay that it belongs to; not signed", false, text),
	}
}

// deliveredEvent is the structured CloudEvent of any type.
func deliveredEvent() m {
	properties := m{"data": m{"type": "object", "description": "As its dataschema has it"}}
	for _, name := range events.AttributeNames() {
		properties[name] = m{"type": "string"}
	}
	for name, about := range map[string]string{
		"sequence":        "Place of the event on the log, 20 digits: compare it to find what is late",
		"partitionkey":    "Identity of the model, target and so on; deliveries are in order per key",
		"subject":         "Path of the resource, with the names that it had at the time",
		"authid":          "Opaque id of who did it",
		"requestdigest":   "Of the request that it came from",
		"idempotencykey":  "Hash of the request's Idempotency-Key",
		"occurredtime":    "When it happened, if that is not when it was recorded",
		"originid":        "With originsource: the identity under which it was published",
		"dataschema":      "URL of the JSON Schema of data",
		"datacontenttype": "application/json",
	} {
		properties[name] = m{"type": "string", "description": about}
	}
	return m{
		"type": "object", "description": "An event of the log as a CloudEvent 1.0 in its JSON format",
		"required":   []string{"specversion", "id", "source", "type", "time", "subject", "sequence", "data"},
		"properties": properties,
	}
}
