package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/cloudevents"
)

// published is the body of an event in the structured mode.
func published(id, kind, subject, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"https://ci.example/fraud","type":"dev.modelog.%s.v1","subject":%q,"data":%s}`, id, kind, subject, data)
}

func (r *registry) publish(body string, headers ...string) reply {
	r.Helper()
	return r.call("POST", "/v1/events", body, append([]string{"Content-Type", cloudevents.StructuredMedia}, headers...)...)
}

func (r *registry) publishBatch(query string, all ...string) reply {
	r.Helper()
	return r.call("POST", "/v1/events"+query, "["+strings.Join(all, ",")+"]", "Content-Type", cloudevents.BatchMedia)
}

func outcomes(list PublishedList) string {
	var all []string
	for _, p := range list.Results {
		text := fmt.Sprint(p.Outcome, " ", p.Sequence)
		if p.Problem != nil {
			text = fmt.Sprint(p.Outcome, " ", p.Problem.Code)
			for _, e := range p.Problem.Errors {
				text += " " + e.Pointer
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// Each type does what its native call does, and the event says where it came from.
func TestAPublishedEventBecomesOneOfTheLog(t *testing.T) {
	r := newRegistry(t)
	digest := strings.Repeat("0", 64)
	for i, e := range []struct{ kind, subject, data, becomes string }{
		{"model.registered", "models/fraud", `{"description":"d"}`, ""},
		{"model.described", "models/fraud", `{"tags":{"team":"risk"}}`, ""},
		{"version.registered", "models/fraud/versions/8", `{"source":"s3://x","semver":"1.0.0","artifacts":[{"path":"m","sha256":"` + digest + `","size":1}]}`, ""},
		{"version.registered", "models/fraud/versions", `{"source":"s3://y"}`, ""},
		{"version.promoted", "models/fraud/versions/8", `{"to":"Production","reason":"AUC"}`, ""},
		{"version.promoted", "models/fraud/versions/1.0.0", `{"to":"Staging"}`, "version.demoted"},
		{"version.archived", "models/fraud/versions/latest", `{"to":"Archived"}`, ""},
		{"version.described", "models/fraud/versions/8", `{"description":"eight"}`, ""},
		{"version.deprecated", "models/fraud/versions/9", `{"reason":"r","replacement":"fraud/8"}`, ""},
		{"version.restored", "models/fraud/versions/9", `{}`, ""},
		{"alias.assigned", "models/fraud/aliases/champion", `{"version":8}`, ""},
		{"alias.removed", "models/fraud/aliases/champion", `{"if_version":8,"reason":"r"}`, ""},
		{"target.defined", "targets/prod/scorer", `{}`, ""},
		{"target.described", "targets/prod/scorer", `{"description":"d"}`, ""},
		{"deployment.deployed", "targets/prod/scorer", `{"model":"fraud","ref":"8"}`, ""},
		{"deployment.deployed", "targets/prod/scorer", `{"model":"fraud","ref":"9"}`, ""},
		{"deployment.rolled_back", "targets/prod/scorer", `{"reason":"r"}`, ""},
		{"deployment.withdrawn", "targets/prod/scorer", `{}`, ""},
		{"target.removed", "targets/prod/scorer", `{"reason":"r"}`, ""},
		{"version.deleted", "models/fraud/versions/9", `{"cascade":true}`, ""},
		{"model.lifecycle_changed", "models/fraud", `{"stages":["A","B","Archived"],"archive":"Archived"}`, "refused"},
		{"model.renamed", "models/fraud", `{"to":"fraude à"}`, ""},
		{"dataset.withdrawn", "datasets/s3%3A%2F%2Flake/churn", `{"reason":"r"}`, ""},
		{"dataset.reinstated", "datasets/s3%3A%2F%2Flake/churn", `{}`, ""},
		{"model.deleted", "models/fraude%20%C3%A0", `{"cascade":true}`, ""},
	} {
		if e.becomes == "" {
			e.becomes = e.kind
		}
		id := fmt.Sprint("e-", i)
		if e.becomes == "refused" {
			r.publish(published(id, e.kind, e.subject, e.data)).problem(409, handlers.CodeStageInUse)
			continue
		}
		answer := r.publish(published(id, e.kind, e.subject, e.data), "Modelog-Actor", "ci").want(201)
		got, err := events.ReadEvent(answer.Body.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", answer.Body, err)
		}
		if got.Type() != "dev.modelog."+e.becomes+".v1" || got.OriginID != id || got.OriginSource != "https://ci.example/fraud" ||
			!strings.HasPrefix(got.Principal, "prn_") || got.CorrelationID == "" ||
			answer.Header().Get("Location") != fmt.Sprint("/v1/events/", got.Sequence) || answer.Header().Get("Modelog-Sequence") != fmt.Sprint(got.Sequence) ||
			answer.Header().Get("Content-Type") != cloudevents.StructuredMedia {
			t.Errorf("%s became %s with %v", e.kind, answer.Body, answer.Header())
		}
		if stored := r.call("GET", answer.Header().Get("Location"), "").want(200); strings.TrimSpace(stored.Body.String()) != strings.TrimSpace(answer.Body.String()) {
			t.Errorf("%s is on the log as %s", answer.Body, stored.Body)
		}
	}
}

func TestSourceAndIDAreTheIdentityOfAnEventForEver(t *testing.T) {
	r := newRegistry(t)
	model := published("1", "model.registered", "models/fraud", `{"description":"d","tags":{"a":"b"}}`)
	first := r.publish(model).want(201)
	r.publish(published("2", "model.renamed", "models/fraud", `{"to":"churn"}`)).want(201)
	again := r.publish(model).want(200)
	if again.Body.String() != first.Body.String() || again.Header().Get("Location") != first.Header().Get("Location") {
		t.Errorf("again it is answered %s, and at first %s", again.Body, first.Body)
	}
	// Neither its time nor its spelling is content.
	r.publish(strings.Replace(published("1", "model.registered", "models/fraud", `{ "tags":{"a":"b"}, "description":"\u0064" }`), `"id"`, `"time":"2026-11-01T10:00:00.5+02:00","id"`, 1)).want(200)
	for _, other := range []string{
		published("1", "model.registered", "models/fraud", `{"description":"other","tags":{"a":"b"}}`),
		published("1", "model.registered", "models/other", `{"description":"d","tags":{"a":"b"}}`),
		published("1", "model.described", "models/churn", `{"description":"d","tags":{"a":"b"}}`),
	} {
		p := r.publish(other).problem(422, handlers.CodeKeyReused)
		if !strings.Contains(p.Detail, "event 2") || len(p.Errors) != 1 || p.Errors[0].Pointer != "/id" {
			t.Errorf("refused by %+v", p)
		}
	}
	// The same id from elsewhere is another event, and so is one with a key like it.
	r.publish(strings.Replace(model, "ci.example", "ci2.example", 1)).want(201)
	r.call("POST", "/v1/models", `{"name":"third"}`, "Idempotency-Key", "1").want(201)
	if r.last() != 5 {
		t.Errorf("%d events were written", r.last())
	}
	// What is so already is no event, and binds no identity.
	nothing := published("9", "version.restored", "models/fraud/versions/1", `{}`)
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x"}`).want(201)
	var p Published
	if p = decode[Published](r.publish(nothing).want(200)); p.Outcome != "nothing" || p.Resource != "models/fraud/versions/1" || p.Sequence != 6 {
		t.Errorf("answered %+v", p)
	}
}

func TestWhatAPublishedEventSaysOfItselfIsKept(t *testing.T) {
	r := newRegistry(t)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	body := strings.Replace(published("1", "model.registered", "models/fraud", `{}`), `"id"`,
		`"time":"2026-11-20T12:30:00.123456+02:00","correlationid":"run-7","causationid":"01K","traceparent":"`+trace+`","other":true,"id"`, 1)
	got, err := events.ReadEvent(r.publish(body).want(201).Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"2026-11-20T10:30:00.123Z", "run-7", "01K", trace},
		[]string{events.FormatTime(got.Occurred), got.CorrelationID, got.CausationID, got.TraceParent}); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	ahead := func(id, at string) string {
		return strings.Replace(published(id, "model.registered", "models/"+id, `{}`), `"id"`, `"time":"`+at+`","id"`, 1)
	}
	// A clock may be a little ahead; it happened when it was recorded then.
	now := r.clock.Now()
	if got, err = events.ReadEvent(r.publish(ahead("a", now.Add(clockSkew/2).Format("2006-01-02T15:04:05Z"))).want(201).Body.Bytes()); err != nil || !got.Occurred.IsZero() {
		t.Errorf("it happened at %v (%v)", got.Occurred, err)
	}
	for _, at := range []string{"2027-01-01T00:00:00Z", "1969-12-31T23:59:59Z"} {
		if p := r.publish(ahead("b", at)).problem(400, handlers.CodeInvalid); p.Errors[0].Pointer != "/time" {
			t.Errorf("refused by %+v", p)
		}
	}
}

func TestTheRulesAreThoseOfTheNativeCalls(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	r.call("POST", "/v1/models/fraud/versions/1/deprecate", `{"reason":"drift"}`).want(200)
	before := r.last()
	for _, c := range []struct {
		kind, subject, data string
		status              int
		code                handlers.Code
		pointer             string
	}{
		{"model.registered", "models/fraud", `{}`, 409, handlers.CodeModelExists, ""},
		{"model.registered", "models/a", `{"name":"b"}`, 400, handlers.CodeInvalid, "/data/name"},
		{"model.registered", "models/a%2Fb", `{}`, 400, handlers.CodeInvalid, "/data/name"},
		{"model.registered", "fraud", `{}`, 400, handlers.CodeInvalid, "/subject"},
		{"model.registered", "models/", `{}`, 400, handlers.CodeInvalid, "/subject"},
		{"model.registered", "models/%zz", `{}`, 400, handlers.CodeInvalid, "/subject"},
		{"model.registered", "models/..", `{}`, 400, handlers.CodeInvalid, "/subject"},
		{"model.registered", "models/a", `[]`, 400, handlers.CodeInvalid, "/data"},
		{"model.registered", "models/a", `{"owner":"b"}`, 400, handlers.CodeInvalid, "/data/owner"},
		{"model.registered", "models/a", `{"tags":{"a":1}}`, 400, handlers.CodeInvalid, "/data/tags/a"},
		{"version.registered", "models/fraud/versions/1", `{"source":"s3://x"}`, 409, handlers.CodeVersionNumberTaken, ""},
		{"version.registered", "models/fraud/versions/9", `{"source":"s3://x","version":8}`, 400, handlers.CodeInvalid, "/data/version"},
		{"version.registered", "models/fraud/versions/08", `{"source":"s3://x"}`, 400, handlers.CodeInvalid, "/subject"},
		{"version.registered", "models/fraud/versions/latest", `{"source":"s3://x"}`, 400, handlers.CodeInvalid, "/subject"},
		{"version.registered", "models/churn/versions", `{"source":"s3://x"}`, 404, handlers.CodeModelNotFound, ""},
		{"version.registered", "models/fraud/versions", `{"source":"https://a:b@c"}`, 400, handlers.CodeInvalid, "/data/source"},
		{"version.promoted", "models/fraud/versions/7", `{"to":"Production"}`, 404, handlers.CodeVersionNotFound, ""},
		{"version.promoted", "models/fraud/versions/1", `{"to":"Live"}`, 400, handlers.CodeInvalid, "/data/to"},
		{"version.promoted", "models/fraud/versions/!", `{"to":"Staging"}`, 400, handlers.CodeInvalid, "/subject"},
		{"version.deleted", "models/fraud/versions/1", `{"cascade":"maybe"}`, 400, handlers.CodeInvalid, "/data/cascade"},
		{"version.deleted", "models/fraud/versions/1", `{"frobnicate":1}`, 400, handlers.CodeInvalid, "/data/frobnicate"},
		{"version.deleted", "models/fraud/versions/1", `{"cascade":{}}`, 400, handlers.CodeInvalid, "/data/cascade"},
		{"alias.assigned", "models/fraud/aliases/latest", `{"version":1}`, 400, handlers.CodeInvalid, "/subject"},
		{"deployment.deployed", "targets/prod/other", `{"model":"fraud","ref":"1"}`, 404, handlers.CodeTargetNotFound, ""},
		{"deployment.deployed", "targets/prod/scorer", `{"model":"fraud","ref":"1"}`, 409, handlers.CodeVersionDeprecated, "/data/force"},
		{"version.trained", "models/fraud", `{}`, 400, handlers.CodeEventTypeNotMapped, "/type"},
	} {
		if c.kind == "deployment.deployed" && c.code == handlers.CodeVersionDeprecated {
			r.call("PUT", "/v1/targets/test/new", `{}`)
			before, c.subject = r.last(), "targets/test/new"
		}
		p := r.publish(published("x", c.kind, c.subject, c.data)).problem(c.status, c.code)
		if c.pointer != "" && (len(p.Errors) == 0 || p.Errors[0].Pointer != c.pointer) {
			t.Errorf("%s %s: refused by %+v, want %s", c.kind, c.subject, p, c.pointer)
		}
		if r.last() != before {
			t.Errorf("%s %s wrote an event", c.kind, c.subject)
		}
	}
	if p := r.publish(published("x", "version.trained", "s", "{}")).problem(400, handlers.CodeEventTypeNotMapped); !strings.Contains(p.Detail, "dev.modelog.version.promoted.v1") || !strings.Contains(p.Detail, "dev.cdevents.service.deployed.") {
		t.Errorf("the types are not named: %s", p.Detail)
	}
	for _, h := range []string{"Idempotency-Key", "Modelog-Occurred-Time"} {
		r.publish(published("x", "model.registered", "models/new", "{}"), h, "2026-11-20T00:00:00Z").problem(400, handlers.CodeInvalid)
	}
	r.publish(published("x", "model.described", "models/fraud", `{"description":"new"}`), "If-Match", `"1"`).problem(412, handlers.CodePreconditionFailed)
}

func TestABatchIsAnsweredForEachEvent(t *testing.T) {
	r := newRegistry(t)
	batch := []string{
		published("1", "model.registered", "models/fraud", `{}`),
		published("2", "version.registered", "models/fraud/versions", `{"source":"s3://x"}`),
		published("3", "version.promoted", "models/fraud/versions/7", `{"to":"Production"}`),
		published("1", "model.registered", "models/fraud", `{}`),
		published("1", "model.registered", "models/churn", `{}`),
		`{"specversion":"1.0","id":"4","source":"s","type":"t","type":"t"}`,
		published("5", "version.promoted", "models/fraud/versions/1", `{"to":"Production"}`),
	}
	list := decode[PublishedList](r.publishBatch("", batch...).want(200))
	if diff := cmp.Diff("event 2, event 3, refused version_not_found, repeated 2, refused idempotency_key_reused /4/id, refused invalid /5/type, event 4", outcomes(list)); diff != "" {
		t.Errorf("the first time (-want +got):\n%s", diff)
	}
	list = decode[PublishedList](r.publishBatch("", batch...).want(200))
	if diff := cmp.Diff("repeated 2, repeated 3, refused version_not_found, repeated 2, refused idempotency_key_reused /4/id, refused invalid /5/type, repeated 4", outcomes(list)); diff != "" {
		t.Errorf("again (-want +got):\n%s", diff)
	}
	if list = decode[PublishedList](r.publishBatch("").want(200)); len(list.Results) != 0 {
		t.Errorf("an empty batch is answered %+v", list)
	}
}

func TestABatchMayBeAllOrNothing(t *testing.T) {
	r := newRegistry(t)
	model, version := published("1", "model.registered", "models/fraud", `{}`), published("2", "version.registered", "models/fraud/versions", `{"source":"s3://x"}`)
	for _, bad := range []struct {
		event   string
		status  int
		code    handlers.Code
		pointer string
	}{
		{published("3", "version.promoted", "models/fraud/versions/7", `{"to":"Production"}`), 404, handlers.CodeVersionNotFound, "/2"},
		{published("3", "version.promoted", "models/fraud/versions/1", `{"to":"Live"}`), 400, handlers.CodeInvalid, "/2/data/to"},
		{published("2", "version.promoted", "models/fraud/versions/1", `{"to":"Staging"}`), 422, handlers.CodeKeyReused, "/2/id"},
		{`{"specversion":"1.0"}`, 400, handlers.CodeInvalid, "/2/id"},
	} {
		p := r.publishBatch("?atomic=true", model, version, bad.event).problem(bad.status, bad.code)
		if len(p.Errors) == 0 || p.Errors[0].Pointer != bad.pointer || !strings.Contains(p.Detail, "nothing was written") {
			t.Errorf("refused by %+v", p)
		}
		if r.last() != 1 {
			t.Fatalf("%s: a part was written", bad.event)
		}
	}
	promoted := published("3", "version.promoted", "models/fraud/versions/1", `{"to":"Production"}`)
	// As after a crash: a part stands, and the same batch completes it.
	r.publish(model).want(201)
	list := decode[PublishedList](r.publishBatch("?atomic=true", model, version, promoted).want(200))
	if got := outcomes(list); got != "repeated 2, event 3, event 4" {
		t.Errorf("answered %s", got)
	}
	if got := outcomes(decode[PublishedList](r.publishBatch("?atomic=true", model, version, promoted).want(200))); got != "repeated 2, repeated 3, repeated 4" || r.last() != 4 {
		t.Errorf("again it is answered %s", got)
	}
}

func TestADryRunWritesNothing(t *testing.T) {
	r := newRegistry(t)
	r.publish(published("1", "model.registered", "models/fraud", `{}`)).want(201)
	list := decode[PublishedList](r.publishBatch("?dry_run=true",
		published("1", "model.registered", "models/fraud", `{}`), published("1", "model.registered", "models/other", `{}`),
		published("2", "version.registered", "models/fraud/versions", `{"source":"s3://x"}`), published("2", "version.registered", "models/fraud/versions", `{"source":"s3://x"}`),
		published("3", "version.promoted", "models/fraud/versions/1", `{"to":"None"}`), published("4", "version.promoted", "models/fraud/versions/1", `{"to":"Live"}`),
	).want(200))
	if got, want := outcomes(list), "repeated 2, refused idempotency_key_reused /1/id, event 3, repeated 3, nothing 3, refused invalid /5/data/to"; got != want || !list.DryRun {
		t.Errorf("it would be %s, want %s", got, want)
	}
	if list.Results[0].Event == nil || !strings.Contains(string(list.Results[2].Event), `"originid":"2"`) {
		t.Errorf("the events are %s and %s", list.Results[0].Event, list.Results[2].Event)
	}
	one := decode[PublishedList](r.call("POST", "/v1/events?dry_run=true", published("5", "model.registered", "models/new", `{}`),
		"Content-Type", cloudevents.StructuredMedia, "Modelog-Actor", "nobody").want(200))
	if got := outcomes(one); got != "event 3" || r.last() != 2 {
		t.Errorf("it would be %s, and %d are written", got, r.last())
	}
	if people := decode[PrincipalList](r.call("GET", "/v1/principals", "").want(200)); len(people.Principals) != 0 {
		t.Errorf("the directory has %+v", people)
	}
	// And nothing is bound.
	r.publish(published("2", "model.registered", "models/second", `{}`)).want(201)
}

// The binary mode is the same event.
func TestAnEventMayComeInHeaders(t *testing.T) {
	r := newRegistry(t)
	headers := []string{"Content-Type", "application/json; charset=utf-8", "ce-specversion", "1.0", "ce-id", "1", "ce-source", "https://ci.example/fraud", "ce-type", "dev.modelog.model.registered.v1", "ce-subject", "models/a%2520b"}
	first := r.call("POST", "/v1/events", `{"description":"d"}`, headers...).want(201)
	if !strings.Contains(first.Body.String(), `"subject":"models/a%20b"`) {
		t.Errorf("it became %s", first.Body)
	}
	r.publish(published("1", "model.registered", "models/a%20b", `{"description":"d"}`)).want(200)
}

func TestCDEventsOfModelsAreTaken(t *testing.T) {
	r := newRegistry(t)
	r.call("POST", "/v1/models", `{"name":"fraud"}`).want(201)
	r.call("PUT", "/v1/targets/prod/scorer", `{}`).want(200)
	n := 0
	cdEvent := func(kind, subject string) string {
		n++
		return fmt.Sprintf(`{"specversion":"1.0","id":"c-%d","source":"/tekton","type":"dev.cdevents.%s.0.3.0","subject":"s","time":"2026-11-20T10:00:00.315384Z","datacontenttype":"application/json",
			"data":{"context":{"version":"0.5.0","id":"c-%d","source":"/tekton","type":"dev.cdevents.%s.0.3.0","timestamp":"2026-11-20T10:00:00.315384Z"},"subject":%s}}`, n, kind, n, kind, subject)
	}
	service := func(purl string) string {
		return `{"id":"service/scorer","content":{"environment":{"id":"prod"},"artifactId":"` + purl + `"}}`
	}
	for _, c := range []struct{ kind, subject, becomes string }{
		{"artifact.published", `{"id":"pkg:mlflow/fraud@3?repository_url=https://mlflow.example"}`, "version.registered"},
		{"artifact.packaged", `{"id":"pkg:generic/fraud@2.1.0?download_url=s3://models/fraud/4","content":{}}`, "version.registered"},
		{"service.deployed", service("pkg:mlflow/fraud@3"), "deployment.deployed"},
		{"service.upgraded", service("pkg:generic/fraud@2.1.0"), "deployment.deployed"},
		{"service.rolledback", service("pkg:mlflow/fraud@3"), "deployment.rolled_back"},
		{"service.removed", `{"id":"scorer","content":{"environment":{"id":"prod"}}}`, "deployment.withdrawn"},
	} {
		got, err := events.ReadEvent(r.publish(cdEvent(c.kind, c.subject)).want(201).Body.Bytes())
		if err != nil || got.Type() != "dev.modelog."+c.becomes+".v1" || got.OriginSource != "/tekton" || events.FormatTime(got.Occurred) != "2026-11-20T10:00:00.315Z" {
			t.Errorf("%s became %+v (%v)", c.kind, got, err)
		}
	}
	before := r.last()
	for _, c := range []struct {
		kind, subject string
		status        int
		pointer       string
	}{
		{"artifact.published", `{"id":"pkg:oci/myapp@sha256%3A0b31"}`, 400, "/data/subject/id"},
		{"artifact.published", `{"id":"pkg:generic/fraud@9"}`, 400, "/data/subject/id"},
		{"artifact.published", `{"id":"pkg:mlflow/fraud"}`, 400, "/data/subject/id"},
		{"artifact.published", `{"id":"fraud"}`, 400, "/data/subject/id"},
		{"artifact.published", `{}`, 400, "/data/subject/id"},
		{"artifact.published", `{"id":"pkg:mlflow/fraud@v9"}`, 400, "/data/subject/id"},
		{"service.deployed", service("pkg:oci/myapp@1"), 400, "/data/subject/content/artifactId"},
		{"service.deployed", service("pkg:mlflow/fraud@77"), 404, ""},
		{"service.rolledback", service("pkg:generic/fraud@2.1.0"), 409, ""},
		{"pipelinerun.finished", `{}`, 400, "/type"},
	} {
		answer := r.publish(cdEvent(c.kind, c.subject)).want(c.status)
		p := decode[Problem](answer)
		if c.pointer != "" && (len(p.Errors) == 0 || p.Errors[0].Pointer != c.pointer) || r.last() != before {
			t.Errorf("%s %s is refused by %s", c.kind, c.subject, answer.Body)
		}
	}
	r.publish(published("o", "model.registered", "models/o", "{}")).want(201)
	r.publish(strings.Replace(published("o2", "x", "o", `{"run":{}}`), "dev.modelog.x", "io.openlineage.run", 1)).problem(http.StatusBadRequest, handlers.CodeEventTypeNotMapped)
}
