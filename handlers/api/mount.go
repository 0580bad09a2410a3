package api

import (
	"log/slog"
	"net/http"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/principals"
)

// Refuse answers a request to a Mount with an error as the native API shows it,
// problem+json, and gives the status. id is the request's.
func Refuse(w http.ResponseWriter, r *http.Request, id string, logger *slog.Logger, err error) (status int) {
	c := call{w: w, r: r, id: id, server: &server{cfg: Config{Logger: logger}}}
	c.problem(err)
	return c.status
}

// PrincipalOf gives the opaque id of whom the Modelog-Actor header names, empty for
// nobody. A request that is wrong in itself brings nobody into the directory. It
// fails with a handlers.Refusal.
func PrincipalOf(r *http.Request, directory *principals.Directory, request *handlers.Request) (string, error) {
	c := call{r: r, server: &server{cfg: Config{Principals: directory}}}
	return c.principal(r.Context(), request)
}

// CheckJSON refuses a request whose Content-Type isn't JSON: a form or a plain text
// could be sent by any web page that somebody looks at, and JSON can't, without being
// asked for.
func CheckJSON(r *http.Request) error {
	c := call{r: r}
	return c.checkMedia()
}
