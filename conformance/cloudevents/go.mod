// A module of its own, so that the requirements of the conformance tool stay out of modelog's.
module github.com/modelog/modelog/conformance/cloudevents

go 1.26.0

require github.com/cloudevents/conformance v0.4.1

require (
	github.com/google/go-cmp v0.5.7 // indirect
	github.com/kylelemons/godebug v1.1.0 // indirect
	golang.org/x/xerrors v0.0.0-20200804184101-5ec99f83aff1 // indirect
	gopkg.in/yaml.v2 v2.4.0 // indirect
)
