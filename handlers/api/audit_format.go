package api

import (
	"bytes"
	"encoding/csv"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/modelog/modelog/handlers"
)

// auditFormat gives the media type of the answer: as format says, or else the first
// one of Accept that there is.
func (c *call) auditFormat() (string, error) {
	switch c.query.Get("format") {
	case "json":
		return jsonMedia, nil
	case "jsonl":
		return linesMedia, nil
	case "csv":
		return csvMedia, nil
	case "":
	default:
		return "", handlers.InvalidField("format", "one_of", "must be json, jsonl or csv")
	}
	for accepted := range strings.SplitSeq(strings.Join(c.r.Header.Values("Accept"), ","), ",") {
		switch kind, _, _ := mime.ParseMediaType(accepted); kind {
		case linesMedia, csvMedia, jsonMedia:
			return kind, nil
		}
	}
	return jsonMedia, nil
}

func (c *call) showAudit(format string, list AuditList) error {
	var data []byte
	var err error
	switch format {
	case linesMedia:
		data, err = auditLines(list.Entries)
	case csvMedia:
		data, err = AuditCSV(list.Entries, true)
	default:
		c.json(http.StatusOK, list)
		return nil
	}
	if err != nil {
		return err
	}
	c.raw(http.StatusOK, format, data)
	return nil
}

func auditLines(entries []AuditEntry) (lines []byte, err error) {
	for _, e := range entries {
		if lines, err = appendJSON(lines, e); err != nil {
			return nil, err
		}
		lines = append(lines, '\n')
	}
	return lines, nil
}

var auditColumns = []string{
	"sequence", "recorded_at", "happened_at", "actor", "actor_id", "action", "resource", "resource_id", "summary", "changes", "reason", "forced",
	"request_id", "idempotency_key_hash", "correlation_id", "causation_id",
}

// AuditCSV gives entries as CSV (RFC 4180), with the names of the columns before
// them if head says so. A text that a spreadsheet would take for a formula has an
// apostrophe before it.
func AuditCSV(entries []AuditEntry, head bool) ([]byte, error) {
	var buf bytes.Buffer
	w := csv.NewWriter(&buf)
	w.UseCRLF = true
	if head {
		if err := w.Write(auditColumns); err != nil {
			return nil, err
		}
	}
	for _, e := range entries {
		changes, err := appendJSON(nil, e.Changes)
		if err != nil {
			return nil, err
		}
		row := []string{
			strconv.FormatUint(e.Sequence, 10), e.RecordedAt, e.HappenedAt, e.Actor.String(), e.Actor.id(), e.Action, e.Resource, e.ResourceID,
			e.Summary, string(changes), e.Reason, strconv.FormatBool(e.Forced), e.RequestID, e.KeyHash, e.CorrelationID, e.CausationID,
		}
		for i := range row {
			row[i] = noFormula(row[i])
		}
		if err := w.Write(row); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return buf.Bytes(), w.Error()
}

// noFormula keeps a spreadsheet from running what somebody wrote.
func noFormula(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}

// String is what people are shown: a name, or what is left of somebody.
func (a *AuditActor) String() string {
	switch {
	case a == nil:
		return ""
	case a.Erased:
		return "[erased]"
	default:
		return a.Name
	}
}

func (a *AuditActor) id() string {
	if a == nil {
		return ""
	}
	return a.ID
}
