package mlflow

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/filter"
)

// refusal is an error that has MLflow's own text. What it is called and its status
// are in the one table of errors.
type refusal struct {
	code handlers.Code
	text string
}

func (r refusal) Code() handlers.Code { return r.code }
func (r refusal) Error() string       { return r.text }

func invalid(format string, args ...any) error {
	return refusal{handlers.CodeInvalid, fmt.Sprintf(format, args...)}
}

func modelNotFound(model string) error {
	return refusal{handlers.CodeModelNotFound, "Registered Model with name=" + clip(model) + " not found"}
}

func versionNotFound(model, version string) error {
	return refusal{handlers.CodeVersionNotFound, "Model Version (name=" + clip(model) + ", version=" + clip(version) + ") not found"}
}

// failure is how MLflow shows an error.
type failure struct {
	Code    string `json:"error_code"`
	Message string `json:"message"`
}

// refuse answers with an error, and gives the status. The text of an error without
// a code is for the operator's log only.
func (c *call) refuse(err error) int {
	code := handlers.CodeOf(err)
	if bad, ok := errors.AsType[*filter.Error](err); ok {
		code, err = handlers.CodeInvalid, invalid("%s", bad.Message)
	}
	text := ""
	if code == handlers.CodeInternal {
		c.server.cfg.Logger.LogAttrs(c.r.Context(), slog.LevelError, "internal error", slog.String("request_id", c.id), slog.Any("error", err))
		text = "Something went wrong in modelog; its log says what, under the request id " + c.id + "."
	} else {
		text = c.spell(err)
	}
	if away, ok := errors.AsType[handlers.UnavailableError](err); ok && away.RetryAfter > 0 {
		c.w.Header()["Retry-After"] = []string{strconv.Itoa(int(math.Ceil(away.RetryAfter.Seconds())))}
	}
	row := handlers.Errors[code]
	return c.send(row.MLflowStatus(), failure{row.MLflow, text})
}

// spell gives the text of an error, as MLflow has it where MLflow knows it.
func (c *call) spell(err error) string {
	if own, ok := errors.AsType[refusal](err); ok {
		return own.text
	}
	if bad, ok := errors.AsType[handlers.InvalidError](err); ok {
		return spellFields(bad.Fields)
	}
	if gone, ok := errors.AsType[handlers.NotFoundError](err); ok && gone.What == handlers.CodeModelNotFound && c.version == "" {
		return modelNotFound(c.params.text[name]).Error()
	} else if ok && c.version != "" { // MLflow doesn't say which of the two is missing
		return versionNotFound(c.params.text[name], c.version).Error()
	}
	if old, ok := errors.AsType[handlers.DeprecatedError](err); ok {
		return spellDeprecated(old)
	}
	return err.Error()
}

// spellFields names the parameters by MLflow's names, which begin with no slash.
func spellFields(fields []handlers.FieldError) string {
	texts := make([]string, len(fields))
	for i, f := range fields {
		at := strings.TrimPrefix(f.Pointer, "/")
		if limit, ok := strings.CutPrefix(f.Detail, "has more than "); ok && f.Rule == "max_length" {
			texts[i] = "'" + at + "' exceeds the maximum length of " + limit
			continue
		}
		rule := f.Detail
		if !strings.HasPrefix(rule, `"`) {
			rule = "It " + rule
		}
		texts[i] = "Invalid value for parameter '" + at + "' supplied: " + rule + "."
	}
	return strings.Join(texts, " ")
}

// spellDeprecated doesn't speak of force, which MLflow's clients can't pass.
func spellDeprecated(e handlers.DeprecatedError) string {
	text := fmt.Sprintf("%s is deprecated since %s.", e.Version, e.Since.Format(time.DateOnly))
	if e.Replacement != "" {
		text += " Use " + e.Replacement + " instead, or restore it first."
	} else {
		text += " Restore it first."
	}
	return text
}
