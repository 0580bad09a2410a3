package api

import (
	"errors"
	"net/http"
	"reflect"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/principals"
)

// Principal is how it is shown who acts on the registry.
type Principal struct {
	ID        string `json:"id"` // what events have
	Name      string `json:"name"`
	CreatedAt string `json:"created_at"`
}

// PrincipalList has the whole directory, by name.
type PrincipalList struct {
	Principals []Principal `json:"principals"`
}

// Erased says which principal is in the directory no more.
type Erased struct {
	ID string `json:"id"` // which its events still have
}

// The directory has no past, and no event tells of it: these routes take no
// as_of, no key and no precondition.
func (s *server) principalRoutes() []endpoint {
	return []endpoint{
		operation[PrincipalList]("/v1/principals", "listPrincipals", "List who acts on the registry", s.listPrincipals),
		{
			method: http.MethodDelete, path: "/v1/principals/{principal}", name: "erasePrincipal",
			summary: "Erase who somebody is, given by id or name; events keep the opaque id", status: http.StatusOK,
			timeless: true, personal: true, answer: reflect.TypeFor[Erased](), serve: s.erasePrincipal,
		},
	}
}

func (s *server) listPrincipals(c *call) error {
	if err := c.onlyKnownQuery(nil); err != nil {
		return err
	}
	if c.query.Has("as_of") {
		return handlers.InvalidField("as_of", "unknown_parameter", "is not a query parameter of this call: the directory has no past")
	}
	list := PrincipalList{Principals: []Principal{}}
	for _, p := range s.cfg.Principals.List() {
		list.Principals = append(list.Principals, Principal{p.ID, p.Name, events.FormatTime(p.CreatedAt)})
	}
	c.json(http.StatusOK, list)
	return nil
}

func (s *server) erasePrincipal(c *call) error {
	if err := c.onlyKnownQuery(nil); err != nil {
		return err
	}
	who := c.r.PathValue("principal")
	id, err := s.cfg.Principals.Erase(c.r.Context(), who)
	switch {
	case errors.Is(err, principals.ErrUnknown):
		return handlers.NotFoundError{What: handlers.CodePrincipalNotFound, Name: who}
	case err != nil:
		return directoryAway("the name may still be there")
	}
	c.json(http.StatusOK, Erased{id})
	return nil
}
