package send

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/modelog/modelog/handlers/webhooks/vault"
)

// Errors of Handshake, beside ErrForbidden.
var (
	ErrSilent  = errors.New("the endpoint doesn't answer the question whether it takes deliveries")
	ErrRefused = errors.New("the endpoint takes no deliveries of this registry")
)

// handshakeTimeout is short, since somebody waits for it.
const handshakeTimeout = 3 * time.Second

// Handshake asks an endpoint whether it takes deliveries, as the abuse protection of
// CloudEvents' webhooks has it: a yes is a WebHook-Allowed-Origin that is * or this
// registry's origin. A yes at a rate is one: a 429 is heeded later on. It fails with
// ErrRefused for an answer that is a no, with ErrSilent for one that is neither or none
// at all within 3 s, and with ErrForbidden.
func (s *Sender) Handshake(ctx context.Context, endpoint vault.Endpoint) error {
	ctx, cancel := s.attempt(ctx, min(handshakeTimeout, s.cfg.Timeout))
	defer cancel()
	r, err := s.request(ctx, http.MethodOptions, endpoint, nil)
	if err != nil {
		return err
	}
	result, answer := s.do(r)
	allowed := strings.TrimSpace(answer.Get("WebHook-Allowed-Origin"))
	switch {
	case result.Class == attempts.ClassForbidden:
		return ErrForbidden
	case result.Status == 0:
		return fmt.Errorf("%w: %s", ErrSilent, result.Class)
	case allowed == "*", allowed != "" && strings.EqualFold(allowed, s.cfg.Origin):
		return nil
	case allowed == "":
		return fmt.Errorf("%w: it answered %d without WebHook-Allowed-Origin", ErrSilent, result.Status)
	default:
		return fmt.Errorf("%w, which calls itself %s", ErrRefused, s.cfg.Origin)
	}
}
