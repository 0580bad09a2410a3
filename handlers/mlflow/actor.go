package mlflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/principals"
)

// actorName gives the name of who asks, empty for nobody: the user of Basic
// credentials, the hash of a Bearer token, which stands for it and gives it away to
// nobody, or else what the header of the native API says. The password and the
// token themselves go no further. Nobody checks them here.
func actorName(r *http.Request) string {
	if user, _, ok := r.BasicAuth(); ok && user != "" {
		return user
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); strings.EqualFold(scheme, "Bearer") && token != "" {
		sum := sha256.Sum256([]byte(token))
		return "token:" + hex.EncodeToString(sum[:8])
	}
	return r.Header.Get("Modelog-Actor")
}

// actor gives the opaque id of who asks.
func (c *call) actor(ctx context.Context) (string, error) {
	who := actorName(c.r)
	if who == "" {
		return "", nil
	}
	id, err := c.server.cfg.Principals.ID(ctx, who)
	return id, directoryError("the user name", err)
}

// directoryError says what is wrong with the name of a principal, or that the
// directory is away.
func directoryError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, principals.ErrName):
		return invalid("Invalid value for %s supplied: %v.", what, err)
	default:
		return handlers.UnavailableError{
			Kind: handlers.CodeUnavailable, RetryAfter: time.Second,
			Detail: "the directory of principals is away, nothing was written; send it again",
		}
	}
}

// userTag has the name of a person. The log holds an opaque principal instead, and
// the name is looked up when it is shown.
const userTag = "mlflow.user"

// erasedUser is shown for a principal that the directory has no more.
const erasedUser = "[erased]"

// hideUser puts the principal in the place of the name.
func (c *call) hideUser(tags map[string]string) error {
	user := tags[userTag]
	if strings.TrimSpace(user) == "" || user == erasedUser { // nobody, or a copy of nobody
		return nil
	}
	id, err := c.server.cfg.Principals.ID(c.r.Context(), user)
	if err != nil {
		return directoryError("tag '"+userTag+"'", err)
	}
	tags[userTag] = id
	return nil
}

// shownUser puts the name in the place of the principal. What is no principal was
// set through another door, and is shown as it is.
func (c *call) shownUser(value string) string {
	if !principals.IsID(value) {
		return value
	}
	if user, ok := c.server.cfg.Principals.Find(c.r.Context(), value); ok {
		return user
	}
	return erasedUser
}
