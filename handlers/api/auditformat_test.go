package api

import (
	"encoding/csv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// oddEntries have texts that CSV, JSON Lines or a spreadsheet could take amiss.
func oddEntries() []AuditEntry {
	return []AuditEntry{
		{
			Sequence: 7, RecordedAt: "2026-11-24T02:00:00.000Z", HappenedAt: "2026-11-24T02:00:00.000Z",
			Actor: &AuditActor{ID: "prn_1", Name: `O'Hara, "Mo"`}, Action: "version.promoted", Type: "dev.modelog.version.promoted.v1",
			Resource: "models/fraud/versions/1", ResourceID: "01KXFT0001FRAVD00000000000", Summary: "promoted fraud/1 from None to Production",
			Changes: []FieldChange{{Field: "stage", Before: jsontext.Value(`"None"`), After: jsontext.Value(`"Production"`)}},
			Reason:  "=cmd|' /C calc'!A0", Forced: true, RequestID: "01KXFT000000000000000000RQ", KeyHash: "00ff",
		},
		{
			Sequence: 8, RecordedAt: "2026-11-24T02:00:01.000Z", HappenedAt: "2026-11-01T00:00:00.000Z", Actor: &AuditActor{ID: "prn_2", Erased: true},
			Action: "version.described", Type: "dev.modelog.version.described.v1", Resource: "models/fraud/versions/1", ResourceID: "01KXFT0001FRAVD00000000000",
			Summary: "described fraud/1", Changes: []FieldChange{}, Reason: "two\nlines, \"quoted\"\u2028and one",
		},
		{
			Sequence: 9, Action: "model.described", Actor: &AuditActor{ID: "prn_3", Name: "@SUM(1)"}, Summary: "-1+2", Changes: []FieldChange{},
			Reason: "\t=1", RequestID: "+1", CorrelationID: "a,b", CausationID: " =1",
		},
	}
}

func TestAnAuditAsCSVIsSafeInASpreadsheet(t *testing.T) {
	const want = `sequence,recorded_at,happened_at,actor,actor_id,action,resource,resource_id,summary,changes,reason,forced,request_id,idempotency_key_hash,correlation_id,causation_id
7,2026-11-24T02:00:00.000Z,2026-11-24T02:00:00.000Z,"O'Hara, ""Mo""",prn_1,version.promoted,models/fraud/versions/1,01KXFT0001FRAVD00000000000,promoted fraud/1 from None to Production,"[{""field"":""stage"",""before"":""None"",""after"":""Production""}]",'=cmd|' /C calc'!A0,true,01KXFT000000000000000000RQ,00ff,,
8,2026-11-24T02:00:01.000Z,2026-11-01T00:00:00.000Z,[erased],prn_2,version.described,models/fraud/versions/1,01KXFT0001FRAVD00000000000,described fraud/1,[],"two
lines, ""quoted""` + "\u2028" + `and one",false,,,,
9,,,'@SUM(1),prn_3,model.described,,,'-1+2,[],'	=1,false,'+1,,"a,b"," =1"
`
	got, err := AuditCSV(oddEntries(), true)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(want, "\n", "\r\n"), string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	rows, err := csv.NewReader(strings.NewReader(string(got))).ReadAll()
	if err != nil || len(rows) != 4 || rows[2][10] != oddEntries()[1].Reason {
		t.Errorf("it is read as %q, %v", rows, err)
	}
	more, err := AuditCSV(oddEntries(), false)
	if _, rest, _ := strings.Cut(string(got), "\r\n"); err != nil || string(more) != rest {
		t.Errorf("without a head it is %q, %v", more, err)
	}
}

func TestAnAuditAsLinesHasOneEntryOnEach(t *testing.T) {
	const want = `{"sequence":7,"recorded_at":"2026-11-24T02:00:00.000Z","happened_at":"2026-11-24T02:00:00.000Z","actor":{"id":"prn_1","name":"O'Hara, \"Mo\""},"action":"version.promoted","type":"dev.modelog.version.promoted.v1","resource":"models/fraud/versions/1","resource_id":"01KXFT0001FRAVD00000000000","summary":"promoted fraud/1 from None to Production","changes":[{"field":"stage","before":"None","after":"Production"}],"reason":"=cmd|' /C calc'!A0","forced":true,"request_id":"01KXFT000000000000000000RQ","idempotency_key_hash":"00ff"}
{"sequence":8,"recorded_at":"2026-11-24T02:00:01.000Z","happened_at":"2026-11-01T00:00:00.000Z","actor":{"id":"prn_2","erased":true},"action":"version.described","type":"dev.modelog.version.described.v1","resource":"models/fraud/versions/1","resource_id":"01KXFT0001FRAVD00000000000","summary":"described fraud/1","changes":[],"reason":"two\nlines, \"quoted\"` + "\u2028" + `and one"}
{"sequence":9,"recorded_at":"","happened_at":"","actor":{"id":"prn_3","name":"@SUM(1)"},"action":"model.described","type":"","resource":"","resource_id":"","summary":"-1+2","changes":[],"reason":"\t=1","request_id":"+1","correlation_id":"a,b","causation_id":" =1"}
`
	got, err := auditLines(oddEntries())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
