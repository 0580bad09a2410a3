package natslog

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

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
				v.add(message(answer))
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

func message(answer string) *nats.Msg {
	if answer == "503" {
		return &nats.Msg{Header: nats.Header{"Status": {"503"}}}
	}
	return &nats.Msg{Data: []byte(answer)}
}
