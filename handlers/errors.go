package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Code names a kind of refusal or failure. Codes are stable: clients and
// metrics go by them.
type Code string

// The codes.
const (
	CodeInvalid              Code = "invalid"
	CodeTooLarge             Code = "too_large"
	CodeModelNotFound        Code = "model_not_found"
	CodeVersionNotFound      Code = "version_not_found"
	CodeTargetNotFound       Code = "target_not_found"
	CodeSubscriptionNotFound Code = "subscription_not_found"
	CodeReplayNotFound       Code = "replay_not_found"
	CodeEventNotFound        Code = "event_not_found"
	CodeNodeNotFound         Code = "node_not_found"
	CodePrincipalNotFound    Code = "principal_not_found"
	CodeRouteNotFound        Code = "route_not_found"
	CodeMethodNotAllowed     Code = "method_not_allowed"
	CodeUnsupportedMedia     Code = "unsupported_media_type"
	CodeNotAcceptable        Code = "not_acceptable"
	CodeForeignHost          Code = "foreign_host"
	CodeEventTypeNotMapped   Code = "event_type_not_mapped"
	CodeModelExists          Code = "model_exists"
	CodeSemverExists         Code = "semver_exists"
	CodeVersionNumberTaken   Code = "version_number_taken"
	CodeVersionDeprecated    Code = "version_deprecated"
	CodeDataWithdrawn        Code = "data_withdrawn"
	CodeVersionDeployed      Code = "version_deployed"
	CodeVersionAliased       Code = "version_aliased"
	CodeVersionGone          Code = "version_gone"
	CodeTransition           Code = "transition_not_allowed"
	CodeStageInUse           Code = "stage_in_use"
	CodeTargetInUse          Code = "target_in_use"
	CodeNothingToRollBack    Code = "nothing_to_roll_back_to"
	CodeNotAGeneration       Code = "not_a_generation"
	CodeSigningKey           Code = "signing_key_differs"
	CodeTooManySubscriptions Code = "too_many_subscriptions"
	CodeCredentialChanged    Code = "credential_changed"
	CodeNoSink               Code = "no_sink"
	CodeHasSink              Code = "has_sink"
	CodeNotActive            Code = "subscription_not_active"
	CodeTooManyReplays       Code = "too_many_replays"
	CodePreconditionFailed   Code = "precondition_failed"
	CodeKeyReused            Code = "idempotency_key_reused"
	CodeBusy                 Code = "busy"
	CodeDiskFull             Code = "disk_full"
	CodeUnavailable          Code = "unavailable"
	CodeOutcomeUnknown       Code = "outcome_unknown"
	CodeSequenceNotReached   Code = "sequence_not_reached"
	CodeNotSealed            Code = "not_sealed"
	CodeStateDiffers         Code = "state_differs"
	CodeInternal             Code = "internal"
)

// Exit codes of the command line, by kind of error.
const (
	ExitInternal    = 1
	ExitInvalid     = 2
	ExitNotFound    = 3
	ExitConflict    = 4
	ExitRule        = 5
	ExitUnavailable = 6
	ExitVerify      = 7
)

// Row says what a code means at the edges.
type Row struct {
	Status int    // HTTP
	Exit   int    // of the command line
	MLflow string // error_code of the MLflow dialect, one of its own
	Title  string // for people, the same for every error of the code
}

// MLflow's error codes that are in use here (mlflow/protos/databricks.proto).
const (
	mlflowInvalid     = "INVALID_PARAMETER_VALUE"
	mlflowNotFound    = "RESOURCE_DOES_NOT_EXIST"
	mlflowNoEndpoint  = "ENDPOINT_NOT_FOUND"
	mlflowDenied      = "PERMISSION_DENIED"
	mlflowExists      = "RESOURCE_ALREADY_EXISTS"
	mlflowConflict    = "RESOURCE_CONFLICT"
	mlflowLimit       = "REQUEST_LIMIT_EXCEEDED"
	mlflowUnavailable = "TEMPORARILY_UNAVAILABLE"
	mlflowInternal    = "INTERNAL_ERROR"
)

// mlflowStatuses has the HTTP status of each of MLflow's error codes, as its own
// server has them. Its clients repeat a request on 429, 500, 502, 503 and 504.
var mlflowStatuses = map[string]int{
	mlflowInvalid:     http.StatusBadRequest,
	mlflowNotFound:    http.StatusNotFound,
	mlflowNoEndpoint:  http.StatusNotFound,
	mlflowDenied:      http.StatusForbidden,
	mlflowExists:      http.StatusBadRequest,
	mlflowConflict:    http.StatusConflict,
	mlflowLimit:       http.StatusTooManyRequests,
	mlflowUnavailable: http.StatusServiceUnavailable,
	mlflowInternal:    http.StatusInternalServerError,
}

// MLflowStatus is the HTTP status in the MLflow dialect, 0 for a row without an
// MLflow code.
func (r Row) MLflowStatus() int { return mlflowStatuses[r.MLflow] }

// Errors is the one table of errors. Every code is in it.
var Errors = map[Code]Row{
	CodeInvalid:              {http.StatusBadRequest, ExitInvalid, mlflowInvalid, "Invalid request"},
	CodeTooLarge:             {http.StatusRequestEntityTooLarge, ExitInvalid, mlflowInvalid, "Too large"},
	CodeModelNotFound:        {http.StatusNotFound, ExitNotFound, mlflowNotFound, "Model not found"},
	CodeVersionNotFound:      {http.StatusNotFound, ExitNotFound, mlflowNotFound, "Version not found"},
	CodeTargetNotFound:       {http.StatusNotFound, ExitNotFound, mlflowNotFound, "Target not found"},
	CodeSubscriptionNotFound: {http.StatusNotFound, ExitNotFound, mlflowNotFound, "Subscription not found"},
	CodeReplayNotFound:       {http.StatusNotFound, ExitNotFound, mlflowNotFound, "Replay not found"},
	CodeEventNotFound:        {http.StatusNotFound, ExitNotFound, mlflowNotFound, "Event not found"},
	CodeNodeNotFound:         {http.StatusNotFound, ExitNotFound, mlflowNotFound, "Not in the lineage"},
	CodePrincipalNotFound:    {http.StatusNotFound, ExitNotFound, mlflowNotFound, "Principal not found"},
	CodeRouteNotFound:        {http.StatusNotFound, ExitNotFound, mlflowNoEndpoint, "No such resource"},
	CodeMethodNotAllowed:     {http.StatusMethodNotAllowed, ExitInvalid, mlflowNoEndpoint, "Method not allowed"},
	CodeNotAcceptable:        {http.StatusNotAcceptable, ExitInvalid, mlflowInvalid, "Not acceptable"},
	CodeUnsupportedMedia:     {http.StatusUnsupportedMediaType, ExitInvalid, mlflowInvalid, "Unsupported media type"},
	CodeForeignHost:          {http.StatusForbidden, ExitInvalid, mlflowDenied, "Host not allowed"},
	CodeEventTypeNotMapped:   {http.StatusBadRequest, ExitInvalid, mlflowInvalid, "Event type is not taken"},
	CodeModelExists:          {http.StatusConflict, ExitConflict, mlflowExists, "Model exists"},
	CodeSemverExists:         {http.StatusConflict, ExitConflict, mlflowExists, "Semantic version exists"},
	CodeVersionNumberTaken:   {http.StatusConflict, ExitRule, mlflowConflict, "Version number is taken"},
	CodeVersionDeprecated:    {http.StatusConflict, ExitRule, mlflowConflict, "Version is deprecated"},
	CodeDataWithdrawn:        {http.StatusConflict, ExitRule, mlflowConflict, "Data was withdrawn"},
	CodeVersionDeployed:      {http.StatusConflict, ExitRule, mlflowConflict, "Version is deployed"},
	CodeVersionAliased:       {http.StatusConflict, ExitRule, mlflowConflict, "Version has aliases"},
	CodeVersionGone:          {http.StatusConflict, ExitRule, mlflowConflict, "Version is gone"},
	CodeTransition:           {http.StatusConflict, ExitRule, mlflowConflict, "Transition is not allowed"},
	CodeStageInUse:           {http.StatusConflict, ExitRule, mlflowConflict, "Stage is in use"},
	CodeTargetInUse:          {http.StatusConflict, ExitRule, mlflowConflict, "Target is in use"},
	CodeNothingToRollBack:    {http.StatusConflict, ExitRule, mlflowConflict, "Nothing to roll back to"},
	CodeNotAGeneration:       {http.StatusConflict, ExitRule, mlflowConflict, "Not a generation to roll back to"},
	CodeSigningKey:           {http.StatusConflict, ExitRule, mlflowConflict, "Signing key differs"},
	CodeHasSink:              {http.StatusConflict, ExitRule, mlflowConflict, "Subscription with a sink"},
	CodeNotActive:            {http.StatusConflict, ExitRule, mlflowConflict, "Subscription is not active"},
	CodeNoSink:               {http.StatusConflict, ExitRule, mlflowConflict, "Subscription without a sink"},
	CodeTooManyReplays:       {http.StatusConflict, ExitRule, mlflowConflict, "Too many replays"},
	CodeTooManySubscriptions: {http.StatusConflict, ExitRule, mlflowConflict, "Too many subscriptions"},
	CodeCredentialChanged:    {http.StatusConflict, ExitConflict, mlflowConflict, "Changed in the meantime"},
	CodePreconditionFailed:   {http.StatusPreconditionFailed, ExitConflict, mlflowInvalid, "Precondition failed"},
	CodeKeyReused:            {http.StatusUnprocessableEntity, ExitConflict, mlflowConflict, "Idempotency key was used for another request"},
	CodeBusy:                 {http.StatusTooManyRequests, ExitUnavailable, mlflowLimit, "Too many requests are waiting"},
	CodeDiskFull:             {http.StatusServiceUnavailable, ExitUnavailable, mlflowUnavailable, "The disk of the log is nearly full"},
	CodeUnavailable:          {http.StatusServiceUnavailable, ExitUnavailable, mlflowUnavailable, "The log is unavailable"},
	CodeOutcomeUnknown:       {http.StatusServiceUnavailable, ExitUnavailable, mlflowConflict, "The outcome is unknown"},
	CodeSequenceNotReached:   {http.StatusServiceUnavailable, ExitUnavailable, mlflowUnavailable, "The sequence was not reached in time"},
	CodeNotSealed:            {http.StatusServiceUnavailable, ExitUnavailable, mlflowUnavailable, "Not sealed yet"},
	CodeStateDiffers:         {http.StatusServiceUnavailable, ExitVerify, mlflowUnavailable, "The state differs from its log"},
	CodeInternal:             {http.StatusInternalServerError, ExitInternal, mlflowInternal, "Internal error"},
}

// Refusal is an error with a code. Error gives the native text, which says what
// happened, to what, and what to do next.
type Refusal interface {
	error
	Code() Code
}

// FieldsOf gives what an error says of single fields, nil for nothing.
func FieldsOf(err error) []FieldError {
	if invalid, ok := errors.AsType[InvalidError](err); ok {
		return invalid.Fields
	}
	if d, ok := errors.AsType[DeprecatedError](err); ok {
		return d.FieldErrors()
	}
	if w, ok := errors.AsType[WithdrawnDataError](err); ok {
		return w.FieldErrors()
	}
	return nil
}

// CodeOf gives the code of an error, CodeInternal for one that has none.
func CodeOf(err error) Code {
	if r, ok := errors.AsType[Refusal](err); ok {
		return r.Code()
	}
	return CodeInternal
}

// FieldError says what is wrong with one field of a request.
type FieldError struct {
	Pointer string `json:"pointer"` // JSON pointer into the body, or the name of a parameter
	Rule    string `json:"rule"`    // stable name of the rule, such as "required"
	Detail  string `json:"detail,omitempty"`
}

// InvalidError says that a request is wrong in itself, whatever the state.
type InvalidError struct{ Fields []FieldError }

// Code is CodeInvalid.
func (InvalidError) Code() Code { return CodeInvalid }

func (e InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = strings.TrimPrefix(f.Pointer+" "+f.Detail, " ")
	}
	return strings.Join(parts, "; ")
}

// InvalidField makes an InvalidError of one field.
func InvalidField(pointer, rule, format string, args ...any) InvalidError {
	return InvalidError{[]FieldError{{pointer, rule, fmt.Sprintf(format, args...)}}}
}

// TooLargeError says that a request, or the event it would make, is over a limit.
type TooLargeError struct {
	Pointer string // the largest field, or empty for the whole body
	Limit   int    // bytes
}

// Code is CodeTooLarge.
func (TooLargeError) Code() Code { return CodeTooLarge }

func (e TooLargeError) Error() string {
	if e.Pointer == "" {
		return fmt.Sprintf("the body is larger than %d bytes", e.Limit)
	}
	return fmt.Sprintf("the event would be larger than %d bytes; %s takes most of it", e.Limit, e.Pointer)
}

// NotFoundError says that something isn't there, as of the state asked.
type NotFoundError struct {
	What Code   // one of the not-found codes
	Name string // as the caller would write it
	Hint string // what to do, optional
}

// Code says what wasn't found.
func (e NotFoundError) Code() Code { return e.What }

func (e NotFoundError) Error() string {
	what, _, _ := strings.Cut(string(e.What), "_")
	s := fmt.Sprintf("there is no %s %s", what, strings.ToValidUTF8(e.Name, "\uFFFD"))
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// ExistsError says that a name or number is taken.
type ExistsError struct {
	What Code // one of the exists codes
	Name string
	Hint string
}

// Code says what is taken.
func (e ExistsError) Code() Code { return e.What }

func (e ExistsError) Error() string { return e.Name + " exists already; " + e.Hint }

// RuleError says that the state doesn't allow it.
type RuleError struct {
	Rule   Code
	Detail string
}

// Code names the rule.
func (e RuleError) Code() Code { return e.Rule }

func (e RuleError) Error() string { return e.Detail }

// PreconditionError says that what the caller expected to find is not what is
// there.
type PreconditionError struct {
	Precondition string // "If-Match", "if_version", "if_generation"
	Want, Found  uint64
}

// Code is CodePreconditionFailed.
func (PreconditionError) Code() Code { return CodePreconditionFailed }

func (e PreconditionError) Error() string {
	return fmt.Sprintf("%s expects %d, but it is %d; read it again and decide anew", e.Precondition, e.Want, e.Found)
}

// KeyReusedError says that an idempotency key was used for another request.
type KeyReusedError struct{ Sequence uint64 }

// Code is CodeKeyReused.
func (KeyReusedError) Code() Code { return CodeKeyReused }

func (e KeyReusedError) Error() string {
	return fmt.Sprintf("the idempotency key was used for event %d by a request with other content; use a new key", e.Sequence)
}

// UnavailableError says that nothing was written, and that the same request can be
// sent again.
type UnavailableError struct {
	Kind       Code          // one of status 429 or 503, such as CodeBusy
	Detail     string        // what to do
	RetryAfter time.Duration // when it makes sense
}

// Code says why.
func (e UnavailableError) Code() Code { return e.Kind }

func (e UnavailableError) Error() string { return e.Detail }

// OutcomeUnknownError says that the event may or may not have been written.
type OutcomeUnknownError struct{ ID string }

// Code is CodeOutcomeUnknown.
func (OutcomeUnknownError) Code() Code { return CodeOutcomeUnknown }

func (e OutcomeUnknownError) Error() string {
	return fmt.Sprintf("event %s may have been written or not: the answer of the log was lost; "+
		"send the same request with the same idempotency key to find out", e.ID)
}
