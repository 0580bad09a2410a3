package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

// registration is what register's flags say, before it is made into a spec.
type registration struct {
	spec                handlers.VersionSpec
	artifacts, datasets []string
	metrics             map[string]string
	signature           string
	repository, commit  string
	createModel         bool
}

func (a *app) registerCommand() *cobra.Command {
	var r registration
	cmd := &cobra.Command{
		Use: "register MODEL --source URI", GroupID: "registry", Short: "Register a version of a model", Args: exactly("MODEL"),
		Long: `Register a version of a model. The registry keeps where the files are and what
they are, not the files: --artifact reads a local file for its digest and size.`,
		Example: `  modelog register fraud --create-model --source s3://models/fraud/8 \
    --artifact model.onnx --format onnx --semver 2.1.0 \
    --dataset train=train.csv --metric auc=0.91 --param C=1.0`,
	}
	c := a.writer(cmd)
	f := cmd.Flags()
	f.StringVar(&r.spec.Source, "source", "", "URI of the version's files (required)")
	f.StringArrayVar(&r.artifacts, "artifact", nil, "local copy of a file of the version; can be repeated")
	f.StringVar(&r.spec.Format, "format", "", "format of the model, such as onnx")
	f.StringVar(&r.spec.Semver, "semver", "", "semantic version, such as 2.1.0")
	f.StringVar(&r.spec.Bump, "bump", "", "let the registry choose the semantic version: major, minor, patch or auto")
	f.StringVar(&r.spec.Description, "description", "", "what is new in it")
	f.StringVar(&r.spec.RunID, "run-id", "", "training run that made it")
	f.StringVar(&r.repository, "repository", "", "repository of the training code")
	f.StringVar(&r.commit, "commit", "", "commit of the training code")
	f.StringArrayVar(&r.datasets, "dataset", nil, "local copy of a data set, as role=file; can be repeated")
	f.Var(pairFlag{&r.spec.Parameters}, "param", "parameter of the training; can be repeated")
	f.Var(pairFlag{&r.metrics}, "metric", "metric, whose value is a number, NaN, Infinity or -Infinity; can be repeated")
	f.StringVar(&r.signature, "signature", "", "JSON file with the model's inputs and outputs")
	f.StringVar(&r.spec.BaseModel, "base-model", "", "version that it was made from, such as fraud/7")
	f.Var(pairFlag{&r.spec.Tags}, "tag", "tag; can be repeated")
	f.BoolVar(&r.createModel, "create-model", false, "register the model too, if there is none of that name")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := r.complete(); err != nil {
			return err
		}
		v, err := c.register(cmd.Context(), args[0], r)
		if err != nil {
			return err
		}
		return c.print(v, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "registered %s/%d at sequence %d\n", v.Model, v.Version, v.Sequence)
			return err
		})
	}
	return cmd
}

func (c *client) register(ctx context.Context, model string, r registration) (api.Version, error) {
	versions := path("models", model, "versions")
	v, err := call[api.Version](ctx, c, http.MethodPost, versions, r.spec)
	if !hasCode(err, handlers.CodeModelNotFound) {
		return v, err
	}
	if !r.createModel {
		return v, fmt.Errorf("%w; --create-model registers the model too", err)
	}
	// The key and the condition are the version's; a model that is there already
	// is as good.
	maker := *c
	maker.key, maker.ifMatch = "", ""
	_, err = call[api.Model](ctx, &maker, http.MethodPost, "/v1/models", handlers.ModelSpec{Name: model})
	if err != nil && !hasCode(err, handlers.CodeModelExists) {
		return api.Version{}, err
	}
	return call[api.Version](ctx, c, http.MethodPost, versions, r.spec)
}

// complete reads the files that the flags name.
func (r *registration) complete() error {
	for _, file := range r.artifacts {
		digest, size, err := digestFile(file)
		if err != nil {
			return usage("--artifact: %v", err)
		}
		r.spec.Artifacts = append(r.spec.Artifacts, events.Artifact{Path: filepath.Base(file), SHA256: digest, Size: size})
	}
	for _, d := range r.datasets {
		role, file, ok := strings.Cut(d, "=")
		if !ok {
			return usage("--dataset: %q is not role=file", d)
		}
		digest, _, err := digestFile(file)
		if err != nil {
			return usage("--dataset: %v", err)
		}
		r.spec.Datasets = append(r.spec.Datasets, events.Dataset{Name: filepath.Base(file), Digest: "sha256:" + digest, Role: role})
	}
	for name, text := range r.metrics {
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return usage("--metric: %s: %q is not a number", name, text)
		}
		if r.spec.Metrics == nil {
			r.spec.Metrics = map[string]float64{}
		}
		r.spec.Metrics[name] = value
	}
	if r.repository != "" || r.commit != "" {
		r.spec.Code = &events.Code{Repository: r.repository, Commit: r.commit}
	}
	return r.readSignature()
}

func (r *registration) readSignature() error {
	if r.signature == "" {
		return nil
	}
	data, err := os.ReadFile(r.signature)
	if err != nil {
		return usage("--signature: %v", err)
	}
	r.spec.Signature = &events.Signature{}
	if err := json.Unmarshal(data, r.spec.Signature, json.RejectUnknownMembers(true)); err != nil {
		return usage("--signature: %s: %v", r.signature, err)
	}
	return nil
}

func digestFile(name string) (digest string, size int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	hash := sha256.New()
	size, err = io.Copy(hash, f)
	return hex.EncodeToString(hash.Sum(nil)), size, err
}
