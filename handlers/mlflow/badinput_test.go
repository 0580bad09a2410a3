package mlflow

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

const seeAPI = " See the API docs for more information about request parameters."

const wrongPath = ". If supplying a source as an http, https, local file path, ftp, objectstore, or mlflow-artifacts uri, " +
	"an absolute path must be provided without relative path references present. Please provide an absolute path."

func TestBadInput(t *testing.T) {
	long := strings.Repeat("x", 100_001)
	invalid, gone, exists := "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"
	for _, test := range []struct {
		name, ask  string
		status     int
		code, text string
	}{
		{"a missing name", `POST registered-models/create {}`, 400, invalid, "Missing value for required parameter 'name'." + seeAPI},
		{"a missing name in a query", `GET registered-models/get`, 400, invalid, "Missing value for required parameter 'name'." + seeAPI},
		{"malformed JSON counts as an empty object", `POST registered-models/create {"name":`, 400, invalid, "Missing value for required parameter 'name'." + seeAPI},
		{"a list counts as an empty object", `POST registered-models/create [1]`, 400, invalid, "Missing value for required parameter 'name'." + seeAPI},
		{"a name of another type", `POST registered-models/create {"name":7}`, 400, invalid, "Invalid value 7 for parameter 'name' supplied:  Hint: Value was of type 'int'." + seeAPI},
		{"a null name", `POST registered-models/create {"name":null}`, 400, invalid, "Missing value for required parameter 'name'." + seeAPI},
		{"a name that is missing is named before one of another type", `POST registered-models/rename {"new_name":1}`, 400, invalid, "Missing value for required parameter 'name'." + seeAPI},
		{"a version that is an integer", `POST model-versions/transition-stage {"name":"fraud","version":1,"stage":"Staging"}`, 400, invalid, "Invalid value 1 for parameter 'version' supplied:  Hint: Value was of type 'int'." + seeAPI},
		{"a flag that is a string", `POST model-versions/transition-stage {"name":"fraud","version":"1","stage":"Staging","archive_existing_versions":"true"}`, 400, invalid, "Invalid value \"true\" for parameter 'archive_existing_versions' supplied:  Hint: Value was of type 'str'." + seeAPI},
		{"tags that are no list", `POST registered-models/create {"name":"a","tags":{"b":1,"a":"ü"}}`, 400, invalid, `Invalid value {"a":"\u00fc","b":1} for parameter 'tags' supplied:  Hint: Value was of type 'dict'.` + seeAPI},
		{"a tag that is no object", `POST registered-models/create {"name":"a","tags":["b"]}`, 400, invalid, `Invalid value ["b"] for parameter 'tags' supplied:  Hint: Value was of type 'list'.` + seeAPI},
		{"one parameter in two spellings", `POST model-versions/create {"name":"a","source":"s3:/a","run_id":"1","runId":"2"}`, 400, invalid, "Request specifies both 'run_id' and 'runId'; provide only one of them."},
		{"a blank name", `POST registered-models/create {"name":"  "}`, 400, invalid, "Missing value for required parameter 'name'."},
		{"a name with a slash", `POST registered-models/create {"name":"a/b"}`, 400, invalid, "Invalid model name 'a/b'. Names cannot contain '/' or ':'."},
		{"a name that is a path", `POST registered-models/create {"name":".."}`, 400, invalid, `Invalid value ".." for parameter 'name' supplied: Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would resolve to '..'`},
		{"a name that is too long", `POST registered-models/create {"name":"` + strings.Repeat("x", 257) + `"}`, 400, invalid, "'name' exceeds the maximum length of 256 characters"},
		{"a name with a space at its edge", `POST registered-models/create {"name":" a"}`, 400, invalid, "Invalid value for parameter 'name' supplied: It must not begin or end with a space."},
		{"a model that exists", `POST registered-models/create {"name":"fraud"}`, 400, exists, "Registered Model (name=fraud) already exists."},
		{"a prompt that exists", `POST registered-models/create {"name":"p","tags":[{"key":"mlflow.prompt.is_prompt","value":"true"}]}`, 400, exists, "Prompt (name=p) already exists."},
		{"a model with the name of a prompt", `POST registered-models/create {"name":"p"}`, 400, exists, "Tried to create a registered model with name 'p', but the name is already taken by a prompt. MLflow does not allow creating a model and a prompt with the same name."},
		{"a prompt with the name of a model", `POST registered-models/create {"name":"fraud","tags":[{"key":"mlflow.prompt.is_prompt","value":"true"}]}`, 400, exists, "Tried to create a prompt with name 'fraud', but the name is already taken by a registered model. MLflow does not allow creating a model and a prompt with the same name."},
		{"a new name that is taken", `POST registered-models/rename {"name":"fraud","new_name":"p"}`, 400, exists, "Registered Model (name=p) already exists."},
		{"a blank new name", `POST registered-models/rename {"name":"fraud","new_name":" "}`, 400, invalid, "Missing value for required parameter 'new_name'."},
		{"a model that isn't there", `GET registered-models/get?name=x`, 404, gone, "Registered Model with name=x not found"},
		{"a model to delete that isn't there", `DELETE registered-models/delete {"name":"x"}`, 404, gone, "Registered Model with name=x not found"},
		{"a model for a version that isn't there", `POST model-versions/create {"name":"x","source":"s3:/a"}`, 404, gone, "Registered Model with name=x not found"},
		{"a version that isn't there", `GET model-versions/get?name=fraud&version=9`, 404, gone, "Model Version (name=fraud, version=9) not found"},
		{"a version of no model", `GET model-versions/get?name=x&version=1`, 404, gone, "Model Version (name=x, version=1) not found"},
		{"a negative version", `PATCH model-versions/update {"name":"fraud","version":"-1"}`, 404, gone, "Model Version (name=fraud, version=-1) not found"},
		{"a version of many digits", `POST registered-models/alias {"name":"fraud","alias":"a","version":"99999999999999999999"}`, 404, gone, "Model Version (name=fraud, version=99999999999999999999) not found"},
		{"a version that is a semantic version", `DELETE model-versions/delete {"name":"fraud","version":"1.0.0"}`, 400, invalid, "Parameter 'version' must be an integer, got '1.0.0'."},
		{"a version of a download that is missing", `GET model-versions/get-download-uri?name=fraud`, 400, invalid, "Parameter 'version' must be an integer, got ''."},
		{"a name of a download that is missing", `GET model-versions/get-download-uri`, 400, invalid, "Missing value for required parameter 'name'."},
		{"a version that is deleted again", `DELETE model-versions/delete {"name":"fraud","version":"2"}`, 404, gone, "Model Version (name=fraud, version=2) not found"},
		{"a stage that is none", `POST model-versions/transition-stage {"name":"fraud","version":"1","stage":"Prod"}`, 400, invalid, "Invalid Model Version stage: Prod. Value must be one of None, Staging, Production, Archived."},
		{"a stage of no model", `POST model-versions/transition-stage {"name":"x","version":"1","stage":"Prod"}`, 400, invalid, "Invalid Model Version stage: Prod. Value must be one of None, Staging, Production, Archived."},
		{"stages to look at that are none", `POST registered-models/get-latest-versions {"name":"fraud","stages":["Prod"]}`, 400, invalid, "Invalid Model Version stage: Prod. Value must be one of None, Staging, Production, Archived."},
		{"archiving what is in the archive", `POST model-versions/transition-stage {"name":"fraud","version":"1","stage":"archived","archive_existing_versions":true}`, 400, invalid, "Model version transition cannot archive existing model versions because 'archived' is not an Active stage. Valid stages are ['Staging', 'Production']"},
		{"an alias with a dot", `POST registered-models/alias {"name":"fraud","alias":"a.b","version":"1"}`, 400, invalid, "Invalid alias name: 'a.b'. Names may only contain alphanumerics, underscores (_), and dashes (-)."},
		{"an alias that is too long", `POST registered-models/alias {"name":"fraud","alias":"` + strings.Repeat("x", 256) + `","version":"1"}`, 400, invalid, "'Registered model alias name' exceeds the maximum length of 255 characters"},
		{"the reserved alias", `POST registered-models/alias {"name":"fraud","alias":"LATEST","version":"1"}`, 400, invalid, "'latest' alias name (case insensitive) is reserved."},
		{"an alias that looks like a version", `POST registered-models/alias {"name":"fraud","alias":"v2","version":"1"}`, 400, invalid, "Version alias name 'v2' is reserved."},
		{"an alias that isn't there", `GET registered-models/alias?name=fraud&alias=x`, 400, invalid, "Registered model alias x not found."},
		{"an alias of no model", `GET registered-models/alias?name=x&alias=x`, 404, gone, "Registered Model with name=x not found"},
		{"the latest of no versions", `GET registered-models/alias?name=p&alias=latest`, 404, gone, "Latest version not found for model p."},
		{"a tag's key with a comma", `POST registered-models/set-tag {"name":"fraud","key":"a,b","value":"c"}`, 400, invalid, `Invalid value "a,b" for parameter 'key' supplied: Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).`},
		{"a tag's key that is a path", `POST registered-models/set-tag {"name":"fraud","key":"a//b","value":"c"}`, 400, invalid, `Invalid value "a//b" for parameter 'key' supplied: Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would resolve to 'a/b'`},
		{"a tag's key that is too long", `POST registered-models/set-tag {"name":"fraud","key":"` + strings.Repeat("k", 251) + `"}`, 400, invalid, "'key' exceeds the maximum length of 250 characters"},
		{"a tag's value that is too long", `POST registered-models/set-tag {"name":"fraud","key":"a","value":"` + long + `"}`, 400, invalid, "'value' exceeds the maximum length of 100000 characters"},
		{"a prompt that is too long", `POST model-versions/set-tag {"name":"fraud","version":"1","key":"mlflow.prompt.text","value":"` + long + `"}`, 400, invalid, "Prompt text exceeds max length of 100000 characters."},
		{"a tag that is read-only", `POST model-versions/set-tag {"name":"fraud","version":"1","key":"modelog.deprecated","value":"x"}`, 400, invalid, "Tag 'modelog.deprecated' is read-only: it shows that the version is deprecated."},
		{"a missing source", `POST model-versions/create {"name":"fraud"}`, 400, invalid, "Missing value for required parameter 'source'." + seeAPI},
		{"a source that leads elsewhere", `POST model-versions/create {"name":"fraud","source":"s3://b/a/../c"}`, 400, invalid, "Invalid model version source: 's3://b/a/../c'" + wrongPath},
		{"a source that leads elsewhere under layers of encoding", `POST model-versions/create {"name":"fraud","source":"s3://b/%25252e%25252e%25252fc"}`, 400, invalid, "Invalid model version source: 's3://b/%25252e%25252e%25252fc'" + wrongPath},
		{"a source with a NUL", `POST model-versions/create {"name":"fraud","source":"https://h/a%2500"}`, 400, invalid, "Invalid model version source: 'https://h/a%2500'" + wrongPath},
		{"a local source that leads elsewhere", `POST model-versions/create {"name":"fraud","source":"/a/../b"}`, 400, invalid, "Invalid model version source: '/a/../b'" + wrongPath},
		{"a source that is not absolute", `POST model-versions/create {"name":"fraud","source":"dbfs:a"}`, 400, invalid, "Invalid model version source: 'dbfs:a'" + wrongPath},
		{"a source with a dot in its path", `POST model-versions/create {"name":"fraud","source":"s3://b/a/./c"}`, 400, invalid, "Invalid model version source: 's3://b/a/./c'" + wrongPath},
		{"a source of a prompt that is a place", `POST model-versions/create {"name":"p","source":"/etc","tags":[{"key":"mlflow.prompt.is_prompt","value":"True"}]}`, 400, invalid, "Invalid prompt source: '/etc'. Prompt sources must use an MLflow placeholder."},
		{"a source in another registry", `POST model-versions/create {"name":"fraud","source":"models://r/fraud/1"}`, 400, invalid, "Invalid model version source: 'models://r/fraud/1'. Registered model sources must use the active model registry."},
		{"a source that names too much", `POST model-versions/create {"name":"fraud","source":"models:/fraud/1/x"}`, 400, invalid, "Invalid model version source: 'models:/fraud/1/x'. The model_id request parameter must identify the resource that contains the source."},
		{"a source that is no model", `POST model-versions/create {"name":"fraud","source":"models:/x/1"}`, 404, gone, "Registered Model with name=x not found"},
		{"a source that is no version", `POST model-versions/create {"name":"fraud","source":"models:/fraud/9"}`, 404, gone, "Model Version (name=fraud, version=9) not found"},
		{"a source that is no alias", `POST model-versions/create {"name":"fraud","source":"models:/fraud@x"}`, 400, invalid, "Registered model alias x not found."},
		{"a source that is an empty stage", `POST model-versions/create {"name":"fraud","source":"models:/fraud/staging"}`, 404, gone, "No versions of model with name 'fraud' and stage 'Staging' found"},
		{"a source that is a prompt", `POST model-versions/create {"name":"fraud","source":"models:/p/1"}`, 400, invalid, "Invalid model version source: 'models:/p/1'. Prompt versions cannot be used as model version sources."},
		{"a copy with another run", `POST model-versions/create {"name":"fraud","source":"models:/fraud/1","run_id":"r9"}`, 400, invalid, "Invalid model version source: 'models:/fraud/1'. The run_id and model_id request parameters must match the referenced model version."},
		{"a source with a password", `POST model-versions/create {"name":"fraud","source":"https://u:p@h/a"}`, 400, invalid, "Invalid value for parameter 'source' supplied: It must not hold credentials: the log never forgets them."},
		{"a page token that is none", `GET registered-models/search?page_token=evilhax`, 400, invalid, "Invalid page token, could not base64-decode"},
		{"a page token that holds something else", `GET registered-models/search?page_token=eyJvZmZzZXQiOjF9`, 400, invalid, `Invalid page token, decoded value=b'{"offset":1}'`},
		{"a page of too many models", `GET registered-models/search?max_results=1001`, 400, invalid, `Invalid value "1001" for parameter 'max_results' supplied:  Hint: Value was of type 'str'.` + seeAPI},
		{"a page of no models", `GET registered-models/search?max_results=0`, 400, invalid, "Invalid value for max_results. It must be a positive integer, but got 0"},
		{"a page of too many versions", `GET model-versions/search {"max_results":200001}`, 400, invalid, `Invalid value 200001 for parameter 'max_results' supplied:  Hint: Value was of type 'int'.` + seeAPI},
		{"a page size that is no number", `GET model-versions/search?max_results=x`, 400, invalid, `Invalid value "x" for parameter 'max_results' supplied:  Hint: Value was of type 'str'.` + seeAPI},
		{"a filter with OR", `GET model-versions/search?filter=name='a'%20OR%20name='b'`, 400, invalid, "Invalid clause(s) in filter string: OR"},
		{"an order by what there isn't", `GET registered-models/search?order_by=x`, 400, invalid, "Invalid order by key 'x' specified. Valid keys are '{'name', 'timestamp'}'"},
		{"a moment that is none", `GET registered-models/get?name=fraud&as_of=soon`, 400, invalid, `Invalid value for parameter 'as_of' supplied: "soon" is neither a sequence nor a time such as 2026-11-24T02:10:00Z.`},
		{"a webhook without a name", `POST webhooks {"url":"https://h","events":[{"entity":"PROMPT","action":"CREATED"}]}`, 400, invalid, "Missing value for required parameter 'name'." + seeAPI},
		{"a webhook without a URL", `POST webhooks {"name":"a","events":[{"entity":"PROMPT","action":"CREATED"}]}`, 400, invalid, "Missing value for required parameter 'url'." + seeAPI},
		{"a webhook without events", `POST webhooks {"name":"a","url":"https://h"}`, 400, invalid, "Missing value for required parameter 'events'." + seeAPI},
		{"a webhook of no events", `POST webhooks {"name":"a","url":"https://h","events":[]}`, 400, invalid, "Webhook events must be a non-empty list of WebhookEvent objects: []."},
		{"a webhook's events that are no list", `POST webhooks {"name":"a","url":"https://h","events":"PROMPT.CREATED"}`, 400, invalid, `Invalid value "PROMPT.CREATED" for parameter 'events' supplied:  Hint: Value was of type 'str'.` + seeAPI},
		{"a webhook's event of no entity", `POST webhooks {"name":"a","url":"https://h","events":[{"entity":"RUN","action":"CREATED"}]}`, 400, invalid, `Invalid value [{"action":"CREATED","entity":"RUN"}] for parameter 'events' supplied:  Hint: Value was of type 'list'.` + seeAPI},
		{"a webhook's event that MLflow hasn't", `POST webhooks {"name":"a","url":"https://h","events":[{"entity":"MODEL_VERSION","action":"DELETED"}]}`, 400, invalid, "Invalid action 'deleted' for entity 'model_version'. Valid actions are: ['created']"},
		{"a webhook's event with two actions", `PATCH webhooks/x {"events":[{"entity":"PROMPT_TAG","action":"CREATED"}]}`, 400, invalid, "Invalid action 'created' for entity 'prompt_tag'. Valid actions are: ['deleted', 'set']"},
		{"a webhook's event of the gateway", `POST webhooks {"name":"a","url":"https://h","events":[{"entity":"BUDGET_POLICY","action":"EXCEEDED"}]}`, 400, invalid, "Invalid action 'exceeded' for entity 'budget_policy'. Valid actions are: []"},
		{"a webhook of 101 events", `POST webhooks {"name":"a","url":"https://h","events":[` + strings.Repeat(`{"entity":"PROMPT","action":"CREATED"},`, 100) + `{"entity":"PROMPT","action":"CREATED"}]}`, 400, invalid, `Invalid value [{"entity":"PROMPT","action":"CREATED"},`},
		{"a webhook's name with a space", `POST webhooks {"name":"on call","url":"https://h","events":[{"entity":"PROMPT","action":"CREATED"}]}`, 400, invalid, "Webhook name 'on call' is invalid. It must start and end with a letter or digit, be less than 63 characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."},
		{"a webhook's name that is too long", `PATCH webhooks/x {"name":"` + strings.Repeat("n", 64) + `"}`, 400, invalid, "Webhook name '" + strings.Repeat("n", 64) + "' is invalid. It must start and end with a letter or digit, be less than 63 characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."},
		{"a webhook's name that ends in a dot", `PATCH webhooks/x {"name":"a."}`, 400, invalid, "Webhook name 'a.' is invalid. It must start and end with a letter or digit, be less than 63 characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."},
		{"a webhook's name on two lines", `PATCH webhooks/x {"name":"a\n"}`, 400, invalid, `Webhook name 'a\n' is invalid. It must start and end with a letter or digit, be less than 63 characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-).`},
		{"a webhook's URL without TLS", `PATCH webhooks/x {"url":"http://h"}`, 400, invalid, "Invalid webhook URL scheme: 'http'. Allowed schemes are: https."},
		{"a webhook's URL in a file", `PATCH webhooks/x {"url":"file://h/etc/passwd"}`, 400, invalid, "Invalid webhook URL scheme: 'file'. Allowed schemes are: https."},
		{"a webhook's URL that is none", `PATCH webhooks/x {"url":"nonsense"}`, 400, invalid, "Invalid webhook URL scheme: ''. Allowed schemes are: https."},
		{"a webhook's URL without a host", `PATCH webhooks/x {"url":"https:///x"}`, 400, invalid, "Webhook URL must include a hostname: 'https:///x'"},
		{"a webhook's URL that can't be read", `PATCH webhooks/x {"url":"https://h:x/"}`, 400, invalid, "Invalid webhook URL: it must be a URL such as https://hooks.example.com/modelog."},
		{"a webhook's URL with a password", `PATCH webhooks/x {"url":"https://u:p@h"}`, 400, invalid, "Invalid webhook URL: it must not name a user."},
		{"a webhook's URL that is too long", `PATCH webhooks/x {"url":"https://h/` + strings.Repeat("x", 2040) + `"}`, 400, invalid, "Invalid webhook URL: it has more than 2048 bytes."},
		{"a webhook's secret that is too long", `PATCH webhooks/x {"secret":"` + strings.Repeat("s", 1001) + `"}`, 400, invalid, "'secret' exceeds the maximum length of 1000 characters"},
		{"a webhook's secret that looks like a key", `PATCH webhooks/x {"secret":"whsec_hush!"}`, 400, invalid, "Invalid value for parameter 'secret' supplied: It begins like a key of Standard Webhooks, and is none. Give another secret."},
		{"a webhook's secret that looks like a private key", `PATCH webhooks/x {"secret":"whsk_aHVzaA=="}`, 400, invalid, "Invalid value for parameter 'secret' supplied: It begins like a key of Standard Webhooks, and is none. Give another secret."},
		{"a webhook's secret that is a number", `PATCH webhooks/x {"secret":1}`, 400, invalid, "Invalid value 1 for parameter 'secret' supplied:  Hint: Value was of type 'int'." + seeAPI},
		{"a webhook's status that is none", `PATCH webhooks/x {"status":"PAUSED"}`, 400, invalid, `Invalid value "PAUSED" for parameter 'status' supplied:  Hint: Value was of type 'str'.` + seeAPI},
		{"a webhook's description that is too long", `POST webhooks {"name":"a","url":"https://h","events":[{"entity":"PROMPT","action":"CREATED"}],"description":"` + long + `"}`, 400, invalid, "'description' exceeds the maximum length of 100000 characters"},
		{"a webhook to read that isn't there", `GET webhooks/x`, 404, gone, "Webhook with ID x not found."},
		{"a webhook to change that isn't there", `PATCH webhooks/01KXFT0005H00K000000000000 {"name":"a"}`, 404, gone, "Webhook with ID 01KXFT0005H00K000000000000 not found."},
		{"a webhook to delete that isn't there", `DELETE webhooks/x`, 404, gone, "Webhook with ID x not found."},
		{"a webhook to try that isn't there", `POST webhooks/x/test {}`, 404, gone, "Webhook with ID x not found."},
		{"an event to try that is no object", `POST webhooks/x/test {"event":"PROMPT.CREATED"}`, 400, invalid, `Invalid value "PROMPT.CREATED" for parameter 'event' supplied:  Hint: Value was of type 'str'.` + seeAPI},
		{"a page of too many webhooks", `GET webhooks?max_results=1001`, 400, invalid, "max_results must be between 1 and 1000."},
		{"a page of fewer than no webhooks", `GET webhooks {"max_results":-1}`, 400, invalid, "max_results must be between 1 and 1000."},
		{"a page token of webhooks that is none", `GET webhooks?page_token=evilhax`, 400, invalid, "Invalid page token, could not base64-decode"},
		{"an unknown route", `GET experiments/search`, 404, "ENDPOINT_NOT_FOUND", "No such endpoint: GET /api/2.0/mlflow/experiments/search. This server has MLflow's model registry only."},
		{"a method that a route hasn't", `GET registered-models/rename`, 404, "ENDPOINT_NOT_FOUND", "No such endpoint: GET /api/2.0/mlflow/registered-models/rename. This server has MLflow's model registry only."},
		{"an unknown version of the API", `GET /api/3.0/mlflow/server-info`, 404, "ENDPOINT_NOT_FOUND", "No such endpoint: GET /api/3.0/mlflow/server-info. This server has MLflow's model registry only."},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := base(t)
			before := r.run.Visible()
			method, rest, _ := strings.Cut(test.ask, " ")
			path, body, _ := strings.Cut(rest, " ")
			got := r.call(method+" "+path, body)
			var f failure
			if err := json.Unmarshal(got.Body.Bytes(), &f); err != nil {
				t.Fatal(err)
			}
			if got.Code != test.status || f.Code != test.code {
				t.Errorf("got %d %s, want %d %s", got.Code, f.Code, test.status, test.code)
			}
			if !strings.HasPrefix(f.Message, test.text) || (f.Message != test.text && !strings.Contains(test.name, "OR") && !strings.Contains(test.name, "101 events")) {
				t.Errorf("got  %s\nwant %s", f.Message, test.text)
			}
			if r.run.Visible() != before {
				t.Error("something was written")
			}
		})
	}
}

// base has a model with one version and one that is gone, and a prompt.
func base(t *testing.T) *registry {
	t.Helper()
	r := newRegistry(t, options{})
	r.must(model, strings.Split(versions, "\n")[0], strings.Split(versions, "\n")[1],
		`DELETE model-versions/delete {"name":"fraud","version":"2"}`,
		`POST registered-models/create {"name":"p","tags":[{"key":"mlflow.prompt.is_prompt","value":"true"}]}`)
	return r
}

func TestContentTypeMustBeJSON(t *testing.T) {
	r := newRegistry(t, options{})
	for given, text := range map[string]string{
		"":           "Bad Request. Content-Type header is missing.",
		"text/plain": "Bad Request. Content-Type must be one of ['application/json'].",
	} {
		got := r.call("POST registered-models/create", `{"name":"a"}`, "Content-Type", given)
		if got.Code != 400 || !strings.Contains(got.Body.String(), text) {
			t.Errorf("%q: %d %s", given, got.Code, got.Body)
		}
	}
	if got := r.call("POST registered-models/create", `{"name":"a"}`, "Content-Type", "application/json; charset=utf-8"); got.Code != 200 {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestLocalSourcesCanBeDenied(t *testing.T) {
	r := newRegistry(t, options{denyLocal: true})
	r.must(model)
	for _, source := range []string{"/tmp/m", "file:///tmp/m", "relative/m"} {
		got := r.call("POST model-versions/create", `{"name":"fraud","source":"`+source+`"}`)
		want := "Invalid model version source: '" + source + "'. To use a local path as a model version source, the run_id request " +
			"parameter has to be specified and the local path has to be contained within the artifact directory of the run specified by the run_id."
		r.holds(got.Body.String(), `{"error_code":"INVALID_PARAMETER_VALUE","message":"`+want+`"}`)
	}
	r.must(`POST model-versions/create {"name":"fraud","source":"s3://b/1"}`)
}

func TestAForeignHostIsRefused(t *testing.T) {
	r := newRegistry(t, options{})
	got := r.call("GET registered-models/search", "", "Host", "evil.example")
	if got.Code != 403 {
		t.Errorf("got %d", got.Code)
	}
	r.holds(got.Body.String(), `{"error_code":"PERMISSION_DENIED"}`)
}
