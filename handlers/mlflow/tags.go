package mlflow

import (
	"net/http"

	"github.com/modelog/modelog/handlers"
)

var tagRoutes = []rpc{
	{http.MethodPost, "registered-models/set-tag", []field{{name, true}, {key, true}, {value, false}}, setModelTag},
	{http.MethodDelete, "registered-models/delete-tag", []field{{name, true}, {key, true}}, deleteModelTag},
	{http.MethodPost, "model-versions/set-tag", []field{{name, true}, {version, true}, {key, true}, {value, false}}, setVersionTag},
	{http.MethodDelete, "model-versions/delete-tag", []field{{name, true}, {version, true}, {key, true}}, deleteVersionTag},
}

func checkNotReadOnly(k string) error {
	if isReadOnly(k) {
		return invalid("Tag '%s' is read-only: it shows that the version is deprecated.", k)
	}
	return nil
}

func setModelTag(c *call) (any, error) {
	p := &c.params
	t := tag{p.text[key], p.text[value]}
	if err := checkModelName(p.text[name]); err != nil {
		return nil, err
	}
	if err := checkTag(t); err != nil {
		return nil, err
	}
	if err := checkNotReadOnly(t.Key); err != nil {
		return nil, err
	}
	tags := map[string]string{t.Key: t.Value}
	_, _, err := c.do(&handlers.DescribeModel{Model: p.text[name], Changes: handlers.Changes{Tags: tags}}, tags)
	return empty{}, err
}

func deleteModelTag(c *call) (any, error) {
	p := &c.params
	if err := checkModelName(p.text[name]); err != nil {
		return nil, err
	}
	if err := checkTagKey(p.text[key]); err != nil {
		return nil, err
	}
	if err := checkNotReadOnly(p.text[key]); err != nil {
		return nil, err
	}
	changes := handlers.Changes{RemovedTags: []string{p.text[key]}}
	_, _, err := c.do(&handlers.DescribeModel{Model: p.text[name], Changes: changes}, nil)
	return empty{}, err
}

func setVersionTag(c *call) (any, error) {
	p := &c.params
	t := tag{p.text[key], p.text[value]}
	if err := c.aboutVersion(); err != nil {
		return nil, err
	}
	if err := checkVersionTag(t); err != nil {
		return nil, err
	}
	if err := checkNotReadOnly(t.Key); err != nil {
		return nil, err
	}
	tags := map[string]string{t.Key: t.Value}
	_, _, err := c.do(&handlers.DescribeVersion{Model: p.text[name], Ref: c.ref(), Changes: handlers.Changes{Tags: tags}}, tags)
	return empty{}, err
}

func deleteVersionTag(c *call) (any, error) {
	p := &c.params
	if err := c.aboutVersion(); err != nil {
		return nil, err
	}
	if err := checkTagKey(p.text[key]); err != nil {
		return nil, err
	}
	if err := checkNotReadOnly(p.text[key]); err != nil {
		return nil, err
	}
	changes := handlers.Changes{RemovedTags: []string{p.text[key]}}
	_, _, err := c.do(&handlers.DescribeVersion{Model: p.text[name], Ref: c.ref(), Changes: changes}, nil)
	return empty{}, err
}
