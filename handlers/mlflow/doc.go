// Package mlflow is MLflow's registry REST surface on modelog's core, so that
// unmodified MLflow clients work: registered models, versions, stages, aliases,
// tags, prompts, searches and webhooks, under both of MLflow's prefixes.
//
// It is thin. Each RPC is a row in the table of routes: decode, one command or one
// query of the core, encode. A new RPC is a new row, and a function in the file of
// its subject. What MLflow checks before it looks at any state, in MLflow's order
// and with MLflow's texts, is in check.go; what a refusal of the core reads like to
// a client is in errors.go.
//
// Rules about models do not belong here, nor does anything that opens what a source
// points at: tracking and artifacts are not served.
package mlflow
