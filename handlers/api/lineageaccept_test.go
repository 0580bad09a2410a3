package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/modelog/modelog/handlers"
)

func TestLineageComesAsAcceptSays(t *testing.T) {
	r := newRegistry(t)
	r.call("POST", "/v1/models", `{"name":"fraud"}`).want(201)
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://m/1","datasets":[{"name":"d"}]}`).want(201)
	const at = "/v1/lineage?node=dataset:d"
	for _, c := range []struct{ query, accept, media string }{
		{"", "", jsonMedia},
		{"", "*/*", jsonMedia},
		{"", "application/json", jsonMedia},
		{"", "text/vnd.graphviz", dotMedia},
		{"", "Image/SVG+xml", svgMedia},
		{"", "image/*", svgMedia},
		{"", "text/html, application/xml;q=0.9, image/webp, */*;q=0.8", jsonMedia}, // a browser
		{"", "image/svg+xml;q=0.5, text/vnd.graphviz;q=0.9", dotMedia},
		{"", "application/json;q=0, */*", dotMedia},
		{"", "image/svg+xml;q=much", svgMedia},
		{"", ";;, image/svg+xml", svgMedia},
		{"&format=dot", "image/svg+xml", dotMedia}, // what the address says holds
		{"&format=json", "text/html", jsonMedia},
		{"", "text/html", ""},
		{"", "image/png, application/json;q=0", ""},
		{"", "no media type", ""},
	} {
		t.Run(c.query+" "+c.accept, func(t *testing.T) {
			r.T = t
			if c.media == "" {
				r.call("GET", at+c.query, "", "Accept", c.accept).problem(http.StatusNotAcceptable, handlers.CodeNotAcceptable)
				return
			}
			got := r.call("GET", at+c.query, "", "Accept", c.accept).want(200)
			if media := got.Header().Get("Content-Type"); media != c.media || got.Header().Get("Vary") != "Accept" {
				t.Errorf("got %s, which varies by %q", media, got.Header().Get("Vary"))
			}
		})
	}
}

// TestAnSVGThatWouldBeTooLargeIsNotAcceptable, where the address doesn't ask for it.
func TestAnSVGThatWouldBeTooLargeIsNotAcceptable(t *testing.T) {
	r := newRegistry(t)
	r.call("POST", "/v1/models", `{"name":"fraud"}`).want(201)
	for n := range 3 { // of a thousand data sets each
		var sets []string
		for i := range 900 {
			sets = append(sets, fmt.Sprintf(`{"name":"d%d-%d"}`, n, i))
		}
		base := ""
		if n > 0 {
			base = fmt.Sprintf(`,"base_model":"fraud/%d"`, n)
		}
		r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://m","datasets":[`+strings.Join(sets, ",")+`]`+base+`}`).want(201)
	}
	const at = "/v1/lineage?node=version:fraud/3&nodes=10000"
	r.call("GET", at, "", "Accept", svgMedia).problem(http.StatusNotAcceptable, handlers.CodeNotAcceptable)
	r.call("GET", at+"&format=svg", "", "Accept", svgMedia).problem(http.StatusBadRequest, handlers.CodeInvalid)
}
