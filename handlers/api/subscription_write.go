package api

import (
	"log/slog"
	"net/http"
	"reflect"
	"time"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks/endpoints"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// endpoints sees to where subscriptions deliver to.
func (c *call) endpoints() *endpoints.Keeper {
	cfg := &c.server.cfg
	return &endpoints.Keeper{
		Vault: cfg.Vault, Handshake: cfg.Handshake, Runner: cfg.Runner, NewID: cfg.NewID, Now: cfg.Now, Logger: cfg.Logger.With(slog.String("request_id", c.id)),
	}
}

func (s *server) createSubscription() endpoint {
	return endpoint{
		method: http.MethodPost, path: "/v1/subscriptions", name: "createSubscription", summary: "Subscribe to events", status: http.StatusCreated,
		body: reflect.TypeFor[NewSubscription](), answer: reflect.TypeFor[SubscriptionWithSecret](),
		serve: func(c *call) error {
			var body NewSubscription
			if err := c.readSubscription(&body); err != nil {
				return err
			}
			if body.Protocol == protocolPoll {
				return c.createPolled(&body)
			}
			cmd, endpoint, err := c.newSubscription(&body)
			if err != nil {
				return err
			}
			keeper := c.endpoints()
			cmd.Sink.CredentialID = keeper.NewRecord()
			outcome, err := keeper.Put(c.r.Context(), c.do, cmd, cmd.Sink.CredentialID, endpoint)
			if err != nil {
				return err
			}
			return c.answerWithSecret(http.StatusCreated, outcome)
		},
	}
}

// createPolled makes a subscription whose events are fetched.
func (c *call) createPolled(body *NewSubscription) error {
	if err := body.check(c.server.cfg.Runner.Now()); err != nil {
		return err
	}
	spec, err := body.spec()
	if err != nil {
		return err
	}
	cmd := &handlers.CreateSubscription{Spec: spec}
	if cmd.After, err = c.startAfter(body.Start); err != nil {
		return err
	}
	outcome, err := c.do(cmd)
	if err != nil {
		return err
	}
	return c.answerWithSecret(http.StatusCreated, outcome)
}

// newSubscription checks all that can be checked without the state.
func (c *call) newSubscription(body *NewSubscription) (*handlers.CreateSubscription, vault.Endpoint, error) {
	fail := func(err error) (*handlers.CreateSubscription, vault.Endpoint, error) {
		return nil, vault.Endpoint{}, err
	}
	if err := body.check(c.server.cfg.Runner.Now()); err != nil {
		return fail(err)
	}
	spec, err := body.spec()
	if err != nil {
		return fail(err)
	}
	host, err := endpoints.ParseSink(body.Sink, c.server.cfg.SinksOverHTTP)
	if err != nil {
		return fail(err)
	}
	endpoint := vault.Endpoint{URL: body.Sink}
	if endpoint.Header, err = parseHeaders(body.ProtocolSettings.Headers); err != nil {
		return fail(err)
	}
	cmd := &handlers.CreateSubscription{Spec: spec, Sink: handlers.Sink{Host: host}}
	if cmd.After, err = c.startAfter(body.Start); err != nil {
		return fail(err)
	}
	if err := (&handlers.Request{Command: cmd}).Check(); err != nil {
		return fail(err)
	}
	if err := c.endpoints().Check(); err != nil {
		return fail(err)
	}
	cmd.Sink.Endpoint = c.server.cfg.Vault.Fingerprint(endpoint.URL, endpoint.Header)
	secret, _, err := vault.NewSecret(spec.Signature)
	endpoint.Secrets = []vault.Secret{secret}
	return cmd, endpoint, err
}

func (s *server) changeSubscription() endpoint {
	return endpoint{
		method: http.MethodPatch, path: "/v1/subscriptions/{id}", name: "changeSubscription", summary: "Change a subscription", status: http.StatusOK,
		body: reflect.TypeFor[SubscriptionPatch](), answer: reflect.TypeFor[Subscription](),
		serve: func(c *call) error {
			var patch SubscriptionPatch
			if err := c.readSubscription(&patch); err != nil {
				return err
			}
			ch, err := patch.changes()
			if err != nil {
				return err
			}
			cmd := &handlers.ChangeSubscription{Subscription: c.r.PathValue("id"), Changes: ch}
			outcome, err := c.change(cmd, &patch)
			if err != nil {
				return err
			}
			return c.answerSubscription(outcome)
		},
	}
}

// change asks for other settings, with another credential if the sink or its headers
// change.
func (c *call) change(cmd *handlers.ChangeSubscription, patch *SubscriptionPatch) (handlers.Outcome, error) {
	if method := patch.ProtocolSettings.value.Method.value; method != nil {
		if err := checkMethod(*method); err != nil {
			return handlers.Outcome{}, err
		}
	}
	if !patch.Sink.given && !patch.ProtocolSettings.given {
		return c.do(cmd)
	}
	keeper := c.endpoints()
	return keeper.Replace(c.r.Context(), c.do, c.r.PathValue("id"), func(s *projections.Subscription, before vault.Endpoint) (handlers.Command, ulid.ULID, vault.Endpoint, error) {
		next, host, err := c.patched(patch, s.Settings.SinkHost, before)
		if err != nil {
			return nil, ulid.ULID{}, next, err
		}
		again := *cmd
		again.Instead = s.Settings.CredentialID
		again.Sink = &handlers.Sink{Host: host, CredentialID: keeper.NewRecord(), Endpoint: c.server.fingerprint(patch)}
		return &again, again.Sink.CredentialID, next, nil
	})
}

// patched gives an endpoint with its changes. Headers don't go along to another host:
// they may be secrets of the one before.
func (c *call) patched(patch *SubscriptionPatch, host string, before vault.Endpoint) (next vault.Endpoint, nextHost string, err error) {
	next, nextHost = before, host
	headers := before.Header
	if patch.Sink.given {
		next.URL = ""
		if patch.Sink.value != nil {
			next.URL = *patch.Sink.value
		}
		if nextHost, err = endpoints.ParseSink(next.URL, c.server.cfg.SinksOverHTTP); err != nil {
			return next, "", err
		}
		if nextHost != host {
			headers = nil
		}
	}
	next.Header, err = patch.headers(headers)
	return next, nextHost, err
}

// fingerprint is of what a patch says of the endpoint.
func (s *server) fingerprint(patch *SubscriptionPatch) [16]byte {
	url, said := "", map[string]string{}
	if patch.Sink.value != nil {
		url = *patch.Sink.value
	}
	settings := patch.ProtocolSettings
	if settings.null || settings.value.Headers.null {
		said[""] = "removed"
	}
	for name, value := range settings.value.Headers.tags {
		if said[name+":"] = "removed"; value.value != nil {
			said[name+":"] = "=" + *value.value
		}
	}
	return s.cfg.Vault.Fingerprint(url, said)
}

func (s *server) rotateSecret() endpoint {
	return endpoint{
		method: http.MethodPost, path: "/v1/subscriptions/{id}/rotate-secret", name: "rotateSecret",
		summary: "Sign with another secret, and for some time with the old one too", status: http.StatusOK,
		body: reflect.TypeFor[SecretRotation](), answer: reflect.TypeFor[SubscriptionWithSecret](),
		serve: func(c *call) error {
			var body SecretRotation
			if err := c.readCommand(&body); err != nil {
				return err
			}
			cmd := handlers.RotateSecret{Subscription: c.r.PathValue("id"), ValidFor: handlers.DefaultSecretOverlap, Reason: body.Reason}
			if body.ValidFor != "" {
				var err error
				if cmd.ValidFor, err = time.ParseDuration(body.ValidFor); err != nil {
					return handlers.InvalidField("/valid_for", "duration", "%.100q is no duration such as 24h or 30m", body.ValidFor)
				}
			}
			if err := (&handlers.Request{Command: &cmd}).Check(); err != nil {
				return err
			}
			outcome, err := c.rotate(cmd)
			if err != nil {
				return err
			}
			return c.answerWithSecret(http.StatusOK, outcome)
		},
	}
}

func (c *call) rotate(cmd handlers.RotateSecret) (handlers.Outcome, error) {
	keeper := c.endpoints()
	return keeper.Replace(c.r.Context(), c.do, cmd.Subscription, func(s *projections.Subscription, before vault.Endpoint) (handlers.Command, ulid.ULID, vault.Endpoint, error) {
		now := c.server.cfg.Now().UTC().Truncate(time.Millisecond)
		next, again := before, cmd
		secret, _, err := vault.NewSecret(s.Settings.Signature)
		if err != nil {
			return nil, ulid.ULID{}, next, err
		}
		again.CredentialID, again.Instead = keeper.NewRecord(), s.Settings.CredentialID
		next.Secrets = []vault.Secret{secret}
		if cmd.ValidFor > 0 {
			again.Until = now.Add(cmd.ValidFor)
			next.Secrets = append(next.Secrets, endpoints.StillValid(before.Secrets, now, again.Until)...)
		}
		return &again, again.CredentialID, next, nil
	})
}

func (s *server) deleteSubscription() endpoint {
	query := []parameter{reasonQuery}
	e := remove("/v1/subscriptions/{id}", "deleteSubscription", "Delete a subscription, with all that waits to be delivered", query,
		func(c *call) (handlers.Command, error) {
			d, err := c.deletion()
			return &handlers.DeleteSubscription{Subscription: c.r.PathValue("id"), Deletion: d}, err
		})
	e.serve = func(c *call) error {
		cmd, err := e.command(c)
		if err != nil {
			return err
		}
		outcome, err := c.do(cmd)
		if err != nil {
			return err
		}
		c.endpoints().EraseDeleted(c.r.Context(), outcome)
		c.setSequence(outcome.Sequence, 0)
		c.status = http.StatusNoContent
		c.w.WriteHeader(c.status)
		return nil
	}
	return e
}

func (c *call) answerSubscription(outcome handlers.Outcome) error {
	shown, err := c.outcome(http.StatusOK, outcome)
	if err == nil {
		c.json(http.StatusOK, shown)
	}
	return err
}

// answerWithSecret shows the newest secret of a subscription as of an outcome: the one
// that was just made. A repeated request has the answer of the first one, while that
// secret is the newest.
func (c *call) answerWithSecret(status int, outcome handlers.Outcome) error {
	shown, err := c.outcome(status, outcome)
	if err != nil {
		return err
	}
	answer := SubscriptionWithSecret{Subscription: shown}
	if id, err := ulid.ParseStrict(shown.Credential); err == nil {
		endpoint, err := c.server.cfg.Vault.Get(c.r.Context(), id)
		if err == nil && len(endpoint.Secrets) > 0 {
			answer.Secret = endpoint.Secrets[0].Shown()
		}
	}
	c.json(status, answer)
	return nil
}

// outcome shows the subscription as of an outcome, and sets the headers of the answer.
func (c *call) outcome(status int, outcome handlers.Outcome) (Subscription, error) {
	c.wrote = outcome.Event
	v := c.server.cfg.Runner.At(outcome.Sequence)
	a, err := renderSubscription(c, v, outcome.Resource)
	if err != nil {
		return Subscription{}, err
	}
	c.setSequence(outcome.Sequence, a.etag)
	if status == http.StatusCreated {
		c.header("Location", "/v1/"+c.location(v, outcome.Resource))
	}
	return a.value, nil
}
