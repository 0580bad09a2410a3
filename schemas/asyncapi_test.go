package schemas_test

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
)

// TestGeneratedAsyncAPIIsUpToDate compares the document that is served with what the
// Go types give.
func TestGeneratedAsyncAPIIsUpToDate(t *testing.T) {
	document, err := asyncAPI(parseEvents(t))
	if err != nil {
		t.Fatal(err)
	}
	sameFile(t, "asyncapi.json", document)
}

// sameFile compares a committed document with the generated one.
func sameFile(t *testing.T, path string, generated []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, generated, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(committed), string(generated)); diff != "" {
		t.Errorf("%s is out of date; run make generate:\n%s", path, diff)
	}
}

// m is a JSON object whose members are written sorted.
type m = map[string]any

// asyncAPI describes what the registry sends and takes, as AsyncAPI 3 has it: from the
// registry's own point of view.
func asyncAPI(source source) ([]byte, error) {
	messages, edge, stored := m{}, m{}, m{}
	for kind, data := range events.Kinds() {
		schema, err := dataSchema(kind, data, source)
		if err != nil {
			return nil, err
		}
		messages[kind] = edgeMessage(kind, data, schema, source)
		messages[kind+".stored"] = storedMessage(kind, data, schema, source)
		edge[kind] = m{"$ref": "#/components/messages/" + kind}
		stored[kind+".stored"] = m{"$ref": "#/components/messages/" + kind + ".stored"}
	}
	messages["proposal"] = proposal()
	document := m{
		"asyncapi": "3.1.0",
		"info": m{
			"title": "modelog", "version": "1", "license": m{"name": "Apache-2.0"},
			"description": "The events of a model registry that is a log: delivered to webhooks, as a live stream, and on NATS; and events that are published to it. The HTTP calls are in /openapi.json.",
		},
		"defaultContentType": "application/cloudevents+json",
		"servers": m{
			"http": m{"host": "127.0.0.1:7670", "protocol": "http"},
			"nats": m{"host": "127.0.0.1:4222", "protocol": "nats", "description": "With serve --nats-listen, or the servers of serve --nats"},
		},
		"channels": m{
			"webhook": m{
				"address": "{sink}", "messages": edge, "parameters": m{"sink": m{"description": "URL of the subscriber"}},
				"description": "A POST an event to the sink of each subscription that wants it, in order per partitionkey, until it is answered with 2xx.",
			},
			"stream": m{
				"address": "/v1/events/stream", "servers": []m{{"$ref": "#/servers/http"}}, "messages": edge,
				"description": "Server-sent events: id is the sequence, event the type, data the CloudEvent on one line. Last-Event-ID resumes.",
			},
			"log": m{
				"address": events.SubjectPrefix + ">", "servers": []m{{"$ref": "#/servers/nats"}}, "messages": stored,
				"description": "The stream " + natslog.StreamName + ": " + events.SubjectPrefix + "<root>.<ULID>.<aggregate>.<action>, such as modelog.events.model.01KXFT0001M0DE100000000000.version.promoted. Consumers are the subscriber's own.",
			},
			"publish": m{
				"address": natslog.PublishSubject, "servers": []m{{"$ref": "#/servers/nats"}}, "messages": m{"proposal": m{"$ref": "#/components/messages/proposal"}},
				"description": "A request whose answer is that of POST /v1/events.",
			},
		},
		"operations": m{
			"deliver": operation("send", "webhook", "Deliver an event to a subscriber"),
			"stream":  operation("send", "stream", "Send an event to those who follow"),
			"append":  operation("send", "log", "Put an event on the log"),
			"publish": operation("receive", "publish", "Take an event that somebody publishes"),
		},
		"components": m{"messages": messages},
	}
	data, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	indented := jsontext.Value(data)
	if err := indented.Format(jsontext.WithIndent("  "), jsontext.PreserveRawStrings(false)); err != nil {
		return nil, err
	}
	return append(indented, '\n'), nil
}

func operation(action, channel, summary string) m {
	return m{"action": action, "channel": m{"$ref": "#/channels/" + channel}, "summary": summary}
}

// dataSchema is the schema of an event's data, to stand within another.
func dataSchema(kind string, data events.Data, source source) (m, error) {
	document, err := generate(kind, reflect.TypeOf(data), source)
	if err != nil {
		return nil, err
	}
	var schema m
	if err := json.Unmarshal(document, &schema); err != nil {
		return nil, err
	}
	delete(schema, "$id")
	delete(schema, "$schema")
	return schema, nil
}

func message(kind string, data events.Data, source source) m {
	return m{"name": kind, "title": events.TypeOf(data), "summary": source.types[reflect.TypeOf(data).Name()]}
}

// edgeMessage is the structured CloudEvent, with the headers of a delivery.
func edgeMessage(kind string, data events.Data, schema m, source source) m {
	properties := m{"data": schema}
	for _, name := range events.AttributeNames() {
		properties[name] = m{"type": "string"}
	}
	properties["specversion"], properties["type"] = m{"const": "1.0"}, m{"const": events.TypeOf(data)}
	all := message(kind, data, source)
	all["contentType"] = "application/cloudevents+json"
	all["payload"] = m{
		"type": "object", "properties": properties,
		"required": []string{"specversion", "id", "source", "type", "time", "subject", "sequence", "data"},
	}
	all["headers"] = m{
		"type": "object", "description": "Of a delivery to a webhook (Standard Webhooks 1.0.0)",
		"properties": m{
			"webhook-id": m{"type": "string"}, "webhook-timestamp": m{"type": "string"}, "webhook-signature": m{"type": "string"}, "webhook-replay": m{"type": "string"},
		},
	}
	return all
}

// storedMessage is how the event stands on the log: CloudEvents' binary mode.
func storedMessage(kind string, data events.Data, schema m, source source) m {
	headers := m{}
	for _, name := range events.AttributeNames() {
		if name != "sequence" { // that is the message's own
			headers["ce-"+name] = m{"type": "string"}
		}
	}
	all := message(kind, data, source)
	all["name"], all["contentType"] = kind+".stored", "application/msgpack"
	all["payload"] = schema
	all["headers"] = m{"type": "object", "properties": headers, "description": "Percent-encoded"}
	return all
}

func proposal() m {
	return m{
		"name": "proposal", "title": "An event that is published", "contentType": "application/cloudevents+json",
		"summary": "A CloudEvent in structured, binary or batch mode: a proposal that becomes an event of the log, or is refused",
		"headers": m{"type": "object", "properties": m{
			"content-type": m{"type": "string"}, "Modelog-Actor": m{"type": "string", "description": "Who it is"},
			"Modelog-Dry-Run": m{"type": "string", "enum": []string{"true", "false"}}, "Modelog-Atomic": m{"type": "string", "enum": []string{"true", "false"}},
		}},
		"payload": m{"type": "object"},
	}
}

// TestTheAsyncAPIDocumentTellsOfEveryType checks what a generator could forget.
func TestTheAsyncAPIDocumentTellsOfEveryType(t *testing.T) {
	document, err := os.ReadFile("asyncapi.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range slices.Sorted(maps.Keys(events.Kinds())) {
		if n := strings.Count(string(document), `"#/components/messages/`+kind+`"`); n != 2 {
			t.Errorf("%s is in %d channels of the edges", kind, n)
		}
	}
}
