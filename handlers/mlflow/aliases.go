package mlflow

import (
	"net/http"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
)

var aliasRoutes = []rpc{
	{http.MethodPost, "registered-models/alias", []field{{name, true}, {aliasName, true}, {version, true}}, setAlias},
	{http.MethodDelete, "registered-models/alias", []field{{name, true}, {aliasName, true}}, deleteAlias},
	{http.MethodGet, "registered-models/alias", []field{{name, true}, {aliasName, true}}, getByAlias},
}

func setAlias(c *call) (any, error) {
	p := &c.params
	if err := checkModelName(p.text[name]); err != nil {
		return nil, err
	}
	if err := checkNewAlias(p.text[aliasName]); err != nil {
		return nil, err
	}
	if err := c.aboutVersion(); err != nil {
		return nil, err
	}
	to := number(c.version)
	if to == 0 {
		return nil, versionNotFound(p.text[name], c.version)
	}
	_, _, err := c.do(&handlers.AssignAlias{
		Model: p.text[name], Alias: p.text[aliasName], Assignment: handlers.Assignment{Version: to},
	}, nil)
	return empty{}, err
}

func deleteAlias(c *call) (any, error) {
	p := &c.params
	if err := checkModelName(p.text[name]); err != nil {
		return nil, err
	}
	if err := checkAlias(p.text[aliasName]); err != nil {
		return nil, err
	}
	_, _, err := c.do(&handlers.RemoveAlias{Model: p.text[name], Alias: p.text[aliasName]}, nil)
	return empty{}, err
}

// getByAlias gives the newest version for latest, where MLflow once gave the one of
// any stage.
func getByAlias(c *call) (any, error) {
	p := &c.params
	if err := checkModelName(p.text[name]); err != nil {
		return nil, err
	}
	if err := checkAlias(p.text[aliasName]); err != nil {
		return nil, err
	}
	v, err := c.view()
	if err != nil {
		return nil, err
	}
	m, _, err := handlers.FindModel(v, p.text[name])
	if err != nil {
		return nil, err
	}
	id := events.VersionID{ModelID: m.ID, Version: m.LatestVersion}
	if isLatest(p.text[aliasName]) {
		if id.Version == 0 {
			return nil, refusal{handlers.CodeVersionNotFound, "Latest version not found for model " + p.text[name] + "."}
		}
		return c.versionShown(v, id)
	}
	var ok bool
	if id.Version, _, ok = v.Alias(m.ID, handlers.NormalName(p.text[aliasName])); !ok {
		return nil, invalid("Registered model alias %s not found.", p.text[aliasName])
	}
	return c.versionShown(v, id)
}
