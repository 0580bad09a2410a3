package api

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/modelog/modelog/handlers/cloudevents"
)

// publishing describes the call that takes events, which come in three modes.
func (s *shapeSchemas) publishing(op m) {
	op["description"] = "A published event is a proposal: it goes through the rules of a call, and becomes an event of the log, or is refused. " +
		"Of the types of modelog, subject is the path of the resource as in the events of the log (names percent-encoded), and data is the body of the call that does it, " +
		"or its query parameters where the call is a DELETE: models/fraud/versions/8 and {\"to\":\"Production\"} for dev.modelog.version.promoted.v1. " +
		"source and id are the event's identity for ever: the same type, subject and data under them give the first answer again, with 200, and others 422. " +
		"The event on the log has them as originsource and originid, the time as occurredtime, and correlationid, causationid and traceparent; other extensions are not kept. " +
		"Types that are taken: " + strings.Join(cloudevents.Types(), ", ")
	attribute := func(about string, limit int) m {
		return m{"type": "string", "minLength": 1, "maxLength": limit, "description": about}
	}
	event := m{
		"type": "object", "required": []string{"specversion", "id", "source", "type"}, "description": "A CloudEvent in its JSON format",
		"properties": m{
			"specversion": m{"type": "string", "enum": []string{"1.0"}},
			"id":          attribute("With the source, the identity of the event; visible ASCII", 1024),
			"source":      attribute("URI-reference of who publishes; visible ASCII", 1024),
			"type":        m{"type": "string", "minLength": 1},
			"subject":     m{"type": "string", "description": "Path of the resource"},
			"time":        m{"type": "string", "description": "When it happened (RFC 3339), at most a minute ahead"},
			"data":        m{"type": []string{"object", "null"}},
		},
	}
	s.components["PublishedEvent"] = event
	one := m{"$ref": "#/components/schemas/PublishedEvent"}
	op["requestBody"] = m{
		"required": true,
		"description": fmt.Sprintf("%d bytes at most. Beside the structured and the batch mode there is the binary one: the attributes are ce- headers, percent-encoded, and the body is the data",
			maxBody),
		"content": m{
			cloudevents.StructuredMedia: m{"schema": one},
			cloudevents.BatchMedia:      m{"schema": m{"type": "array", "maxItems": cloudevents.MaxBatch, "items": one}},
			jsonMedia:                   m{"schema": m{"type": "object", "description": "The data, in the binary mode"}},
		},
	}
	parameters, _ := op["parameters"].([]m)
	for _, name := range []string{"If-Match", "Modelog-Actor"} {
		parameters = append(parameters, m{"$ref": "#/components/parameters/" + name})
	}
	op["parameters"] = parameters
	responses, _ := op["responses"].(m)
	headers := m{}
	for _, name := range []string{"Modelog-Request-Id", "Modelog-Sequence", "Location"} {
		headers[name] = m{"$ref": "#/components/headers/" + name}
	}
	onLog := m{"schema": m{"type": "object", "description": "The event on the log"}}
	responses["201"] = m{"description": "The event that the published one became", "headers": headers, "content": m{cloudevents.StructuredMedia: onLog}}
	responses["200"] = m{
		"description": "The event that it became before; or what became of each event of a batch, or would in a dry run; or that it is so already",
		"headers":     headers,
		"content": m{
			cloudevents.StructuredMedia: onLog,
			jsonMedia: m{"schema": m{"anyOf": []m{
				s.named(reflect.TypeFor[PublishedList]()), s.named(reflect.TypeFor[Published]()),
			}}},
		},
	}
	for _, status := range []int{400, 403, 404, 409, 412, 413, 415, 422, 429, 500, 503} {
		responses[strconv.Itoa(status)] = m{"$ref": "#/components/responses/" + strconv.Itoa(status)}
	}
}
