package natslog

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
)

const (
	ack1 = `{"stream":"MODELOG_EVENTS","seq":1}`
	ack2 = `{"stream":"MODELOG_EVENTS", "seq":2}`
	ack3 = `{"stream":"MODELOG_EVENTS","domain":"hub","seq":3}`

	conflict      = `{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 7"},"stream":"MODELOG_EVENTS","seq":0}`
	otherConflict = `{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"},"stream":"MODELOG_EVENTS","seq":0}`
	noResources   = `{"error":{"code":503,"err_code":10023,"description":"insufficient resources"},"stream":"MODELOG_EVENTS","seq":0}`
)

func TestVerdictOnAGroup(t *testing.T) {
	for name, test := range map[string]struct {
		answers []string
		want    error
	}{
		"all stored":                          {[]string{ack1, ack2, ack3}, nil},
		"all refused, log moved on":           {[]string{conflict, conflict, conflict}, events.ErrConflict},
		"all refused, replicated log":         {[]string{otherConflict}, events.ErrConflict},
		"all refused, the first for a reason": {[]string{noResources, conflict, conflict}, events.ErrUnavailable},
		"nobody there":                        {[]string{"503", "503"}, events.ErrUnavailable},
		"a prefix stored":                     {[]string{ack1, ack2, noResources}, events.ErrUncertain},
		"a prefix stored, then a conflict":    {[]string{ack1, conflict, conflict}, events.ErrUncertain},
		"stored after a refusal":              {[]string{conflict, ack1, conflict}, events.ErrUncertain},
		"stored somewhere else":               {[]string{ack2}, events.ErrUncertain},
		"stored twice":                        {[]string{ack1, ack1}, events.ErrUncertain},
		"another stream":                      {[]string{`{"stream":"OTHER","seq":1}`}, events.ErrUncertain},
		"nonsense":                            {[]string{"+OK"}, events.ErrUncertain},
		"nonsense after a refusal":            {[]string{conflict, "{}"}, events.ErrUncertain},
	} {
		t.Run(name, func(t *testing.T) {
			v := verdict{}
			for _, answer := range test.answers {
				v.add(answered(answer))
			}
			err := v.err()
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			for _, other := range []error{events.ErrConflict, events.ErrUnavailable} {
				if errors.Is(test.want, events.ErrUncertain) && errors.Is(err, other) {
					t.Errorf("%v is also %v", err, other)
				}
			}
		})
	}
}

func answered(answer string) *message {
	m := messageOf(&nats.Msg{Data: []byte(answer)})
	if answer == "503" {
		m = messageOf(&nats.Msg{Header: nats.Header{"Status": {"503"}}})
	}
	return &m
}

func TestOutcomeOnASharedLog(t *testing.T) {
	for answer, want := range map[string]error{
		ack3: nil,
		`{"stream":"MODELOG_EVENTS","seq":3,"batch":"x","count":3}`: nil,
		ack2:                                   events.ErrUncertain, // stored somewhere else
		conflict:                               events.ErrConflict,
		otherConflict:                          events.ErrConflict,
		noResources:                            events.ErrUnavailable,
		"503":                                  events.ErrUnavailable,
		"+OK":                                  events.ErrUncertain,
		refusal(10176, "batch is incomplete"):  events.ErrUnavailable,
		refusal(10210, "too many inflight"):    events.ErrUnavailable,
		refusal(10077, "store failed"):         events.ErrUncertain, // the followers may have stored it
		refusal(10000, "what nobody knows of"): events.ErrUncertain,
	} {
		if err := outcome(answered(answer), 3); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", answer, err, want)
		}
	}
}

func TestAnErrorAfterAStoredPrefix(t *testing.T) {
	for before, want := range map[error]error{
		events.ErrConflict: events.ErrConflict, events.ErrUnavailable: events.ErrUncertain, events.ErrUncertain: events.ErrUncertain,
	} {
		if err := afterPrefix(0, before); !errors.Is(err, before) {
			t.Errorf("nothing stored: %v became %v", before, err)
		}
		err := afterPrefix(2, before)
		if !errors.Is(err, want) || errors.Is(err, events.ErrUnavailable) {
			t.Errorf("%v became %v", before, err)
		}
	}
}

func TestQuorum(t *testing.T) {
	replicas := func(offline ...bool) *jetstream.ClusterInfo {
		c := &jetstream.ClusterInfo{Leader: "a"}
		for _, off := range offline {
			c.Replicas = append(c.Replicas, &jetstream.PeerInfo{Offline: off})
		}
		return c
	}
	for _, c := range []*jetstream.ClusterInfo{nil, replicas(), replicas(false, false), replicas(true, false), replicas(true, true, false, false)} {
		if err := quorum(c); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := quorum(replicas(true, true)); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func refusal(code int, text string) string {
	return fmt.Sprintf(`{"error":{"code":400,"err_code":%d,"description":%q},"stream":"MODELOG_EVENTS","seq":0}`, code, text)
}
