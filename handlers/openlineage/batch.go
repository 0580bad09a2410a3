package openlineage

import (
	"bytes"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
	"golang.org/x/sync/errgroup"
)

// maxBatch is how many events a batch may have.
const maxBatch = 1000

// atOnce is how many events of a batch wait for the log together, so that they
// are made durable in a few groups instead of one by one.
const atOnce = 64

// BatchResult says what became of the events of a batch of which not all could be
// written.
type BatchResult struct {
	Status  string        `json:"status"` // partial_success, or failure if none was written
	Summary BatchSummary  `json:"summary"`
	Failed  []FailedEvent `json:"failed_events"`
}

// BatchSummary counts the events of a batch.
type BatchSummary struct {
	Received     int `json:"received"`
	Successful   int `json:"successful"`
	Failed       int `json:"failed"`
	Retriable    int `json:"retriable"`
	NonRetriable int `json:"non_retriable"`
}

// FailedEvent is one event that was not written.
type FailedEvent struct {
	Index     int    `json:"index"` // in the batch, from 0
	Reason    string `json:"reason"`
	Retriable bool   `json:"retriable"` // whether the same event may be written later
}

// batch takes an array of events: 204 when all are on the log, else 200 that says
// which are not. Each stands for itself. When none could be written and all may be
// later, the request is refused as a single event would be, so that clients send
// it again.
func (c *call) batch() error {
	body, err := readBody(c.w, c.r, batchLimits)
	if err != nil {
		return err
	}
	list, err := split(body)
	if err != nil {
		return err
	}
	errs := c.reportAll(list)
	result := resultOf(errs)
	switch {
	case result.Summary.Failed == 0:
		c.status = http.StatusNoContent
		c.w.WriteHeader(c.status)
		return nil
	case result.Summary.Retriable == len(list):
		return errs[0]
	default:
		return c.send(http.StatusOK, result)
	}
}

// reportAll has each event written, and gives what stood in the way of each.
func (c *call) reportAll(list []jsontext.Value) []error {
	errs := make([]error, len(list))
	var group errgroup.Group
	group.SetLimit(atOnce)
	now := c.server.cfg.Now()
	for i, raw := range list {
		e, err := Parse(raw, now)
		if err != nil {
			errs[i] = err
			continue
		}
		group.Go(func() error {
			_, _, errs[i] = c.report(c.r.Context(), e)
			return nil
		})
	}
	_ = group.Wait() // what failed is in errs
	return errs
}

// resultOf tells of the errors of a batch, by the place of each in it.
func resultOf(errs []error) BatchResult {
	r := BatchResult{Status: "partial_success", Summary: BatchSummary{Received: len(errs)}, Failed: []FailedEvent{}}
	for i, err := range errs {
		if err == nil {
			r.Summary.Successful++
			continue
		}
		row, failed := handlers.Errors[handlers.CodeOf(err)], FailedEvent{Index: i, Reason: err.Error()}
		if handlers.CodeOf(err) == handlers.CodeInternal {
			failed.Reason = row.Title
		}
		r.Summary.Failed++
		if failed.Retriable = row.Status == http.StatusTooManyRequests || row.Status >= http.StatusInternalServerError; failed.Retriable {
			r.Summary.Retriable++
		} else {
			r.Summary.NonRetriable++
		}
		r.Failed = append(r.Failed, failed)
	}
	if r.Summary.Successful == 0 {
		r.Status = "failure"
	}
	return r
}

// split takes a batch apart. It fails with handlers.InvalidError for what is no
// array of events, naming how far it can be read.
func split(body []byte) ([]jsontext.Value, error) {
	if body = trimSpace(body); len(body) == 0 {
		return nil, handlers.InvalidField("", "required", "the body is empty; send an array of OpenLineage events")
	}
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	if kind := dec.PeekKind(); kind != jsontext.KindBeginArray && kind != jsontext.KindInvalid {
		return nil, handlers.InvalidField("", "type", "must be an array of OpenLineage events")
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, parseError(err)
	}
	var list []jsontext.Value
	for dec.PeekKind() != jsontext.KindEndArray {
		raw, err := dec.ReadValue()
		if err != nil {
			return nil, parseError(err)
		}
		if len(list) == maxBatch {
			return nil, handlers.InvalidField("", "max_items", "has more than %d events; send them in several batches", maxBatch)
		}
		list = append(list, raw.Clone())
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, parseError(err)
	}
	if dec.InputOffset() < int64(len(body)) {
		return nil, handlers.InvalidField("", "json", "something follows the array")
	}
	return list, nil
}
