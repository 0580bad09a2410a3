// A module of its own, so that the requirements of the conformance tool stay out of modelog's.
module github.com/modelog/modelog/conformance/cloudevents

go 1.26.0

require github.com/cloudevents/conformance v0.4.1 // indirect
