package main

import (
	"net/http"

	"github.com/modelog/modelog/handlers"
)

// badHistory has what the calls about the past, its proofs and its lineage don't
// take.
func badHistory() []badInput {
	rows := []badInput{
		{name: "a what-if of nothing", request: "POST /v1/what-if", body: `{"requests":[]}`, field: "/requests"},
		{name: "a what-if of a read", request: "POST /v1/what-if", body: `{"requests":[{"method":"GET","path":"/v1/models/fraud"}]}`, field: "/requests/0/path"},
		{name: "a what-if of what is elsewhere", request: "POST /v1/what-if", body: `{"requests":[{"method":"POST","path":"//example.org/v1/models"}]}`, field: "/requests/0/path"},
		{name: "a what-if with an actor's header", request: "POST /v1/what-if", body: `{"requests":[{"method":"POST","path":"/v1/models","headers":{"Modelog-Actor":"anna"}}]}`, field: "/requests/0/headers"},
		{name: "no edges", request: "POST /v1/lineage/edges", body: `{"edges":[]}`, field: "/edges"},
		{name: "an edge from nowhere", request: "POST /v1/lineage/edges", body: `{"edges":[{"from":"nowhere","to":"run:a","type":"used"}]}`, field: "/edges/0/from"},
		{name: "an edge of another type", request: "POST /v1/lineage/edges", body: `{"edges":[{"from":"run:a","to":"run:b","type":"likes"}]}`, field: "/edges/0/type"},
		{name: "an edge that contradicts its nodes", request: "POST /v1/lineage/edges", body: `{"edges":[{"from":"dataset:a","to":"run:b","type":"used"}]}`, field: "/edges/0/type"},
		{name: "a withdrawal of nothing", request: "POST /v1/datasets/withdraw", body: `{}`, field: "/name"},
		{name: "a reinstatement of nothing", request: "POST /v1/datasets/reinstate", body: `{}`, field: "/name"},
		{name: "a diff that ends before it starts", request: "GET /v1/diff?from=2&to=1"},
		{name: "a diff of the future", request: "GET /v1/diff?from=1&to=999999"},
		{name: "a trail that ends before it starts", request: "GET /v1/audit?from=3&until=2"},
		{name: "a trail of an unknown action", request: "GET /v1/audit?action=version.frobnicated"},
		{name: "a target as of no moment", request: "GET /v1/targets/prod/scorer?valid_at=yesterday"},
		{name: "a consistency backwards", request: "GET /v1/log/consistency?from=2&to=1"},
	}
	for i := range rows {
		rows[i] = invalid(rows[i])
	}
	return append(rows,
		notFound(badInput{name: "why of a model that isn't there", request: "GET /v1/models/nosuch/explain"}, handlers.CodeModelNotFound),
		notFound(badInput{name: "why of a version that isn't there", request: "GET /v1/models/fraud/versions/99/explain"}, handlers.CodeVersionNotFound),
		notFound(badInput{name: "why of a target that isn't there", request: "GET /v1/targets/prod/nosuch/explain"}, handlers.CodeTargetNotFound),
		notFound(badInput{name: "a proof of an event that isn't there", request: "GET /v1/events/999999/proof"}, handlers.CodeEventNotFound),
		notFound(badInput{name: "a tile that isn't there", request: "GET /log/tile/0/999"}, handlers.CodeRouteNotFound),
		notFound(badInput{name: "the lineage of a node that isn't there", request: "GET /v1/lineage?node=run:nosuch"}, handlers.CodeNodeNotFound),
		badInput{name: "a what-if that is too large", request: "POST /v1/what-if", body: `{"requests":[` + string(make([]byte, 1<<20)) + `]}`, status: http.StatusRequestEntityTooLarge, code: handlers.CodeTooLarge},
	)
}
