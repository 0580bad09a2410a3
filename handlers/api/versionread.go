package api

import (
	"bytes"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
)

// readVersionSpec reads a registration whose texts stand in JSON as they are, in
// a third of the time that json.Unmarshal takes: reading the body was a tenth of
// a registration. It says no to everything else, right or wrong, and leaves it to
// json.Unmarshal; TestRegistrationsAreReadAsUnmarshalReadsThem holds the two
// together. What it gives shares nothing with data.
func readVersionSpec(data []byte, s *handlers.VersionSpec) bool {
	texts := knownTexts.Get().(*textCache)
	defer knownTexts.Put(texts)
	r := plainReader{data: data, texts: texts}
	r.object(func(name []byte) {
		switch string(name) {
		case "semver":
			r.once(0, &s.Semver)
		case "bump":
			r.once(1, &s.Bump)
		case "source":
			r.once(2, &s.Source)
		case "format":
			r.once(3, &s.Format)
		case "run_id":
			r.once(4, &s.RunID)
		case "base_model":
			r.once(5, &s.BaseModel)
		case "description":
			r.once(6, &s.Description)
		case "run_link":
			r.once(7, &s.RunLink)
		case "logged_model":
			r.once(8, &s.LoggedModel)
		case "version":
			r.first(9)
			s.Version = r.number32()
		case "code":
			s.Code = r.code(s.Code)
		case "artifacts":
			s.Artifacts = plainList(&r, s.Artifacts, r.artifact)
		case "datasets":
			s.Datasets = plainList(&r, s.Datasets, r.dataset)
		case "parameters":
			s.Parameters = plainMap(&r, s.Parameters, r.text)
		case "tags":
			s.Tags = plainMap(&r, s.Tags, r.text)
		case "metrics":
			s.Metrics = plainMap(&r, s.Metrics, r.number)
		case "signature":
			s.Signature = r.signature(s.Signature)
		default:
			r.odd = true
		}
	})
	return !r.odd && r.next() == 0 && r.at == len(r.data)
}

// textCache has short texts that came before: what pipelines send differs little
// from one registration to the next.
type textCache [256]string

var knownTexts = sync.Pool{New: func() any { return new(textCache) }}

// maxKnownText keeps what the cache holds small.
const maxKnownText = 64

func (c *textCache) text(b []byte) string {
	if len(b) == 0 || len(b) > maxKnownText {
		return string(b)
	}
	place := &c[byte(len(b))^b[0]^b[len(b)/2]<<3^b[len(b)-1]<<5]
	if *place != string(b) {
		*place = string(b)
	}
	return *place
}

// plainReader reads JSON from its beginning. Once something is odd, all that it
// reads means nothing.
type plainReader struct {
	data  []byte
	texts *textCache
	at    int
	seen  uint32 // members of the object being read that are there already, a bit each
	odd   bool
}

// next gives the next byte that isn't white space without taking it, 0 for none.
func (r *plainReader) next() byte {
	for ; r.at < len(r.data); r.at++ {
		switch c := r.data[r.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// take takes the next byte if it is c.
func (r *plainReader) take(c byte) bool {
	if r.next() != c {
		return false
	}
	r.at++
	return true
}

func (r *plainReader) want(c byte) {
	if !r.take(c) {
		r.odd = true
	}
}

// sequence reads what stands between two brackets, element by element.
func (r *plainReader) sequence(begin, end byte, element func()) {
	r.want(begin)
	if r.odd || r.take(end) {
		return
	}
	for {
		element()
		if r.odd || r.take(end) {
			return
		}
		r.want(',')
	}
}

func (r *plainReader) object(member func(name []byte)) {
	outside := r.seen
	r.seen = 0
	r.sequence('{', '}', func() {
		name := r.quoted()
		r.want(':')
		member(name)
	})
	r.seen = outside
}

// quoted reads a string as it stands, which ends with the next read of data.
func (r *plainReader) quoted() []byte {
	r.want('"')
	if r.odd {
		return nil
	}
	begin := r.at
	for ; r.at < len(r.data); r.at++ {
		switch c := r.data[r.at]; {
		case c == '"':
			r.at++
			return r.data[begin : r.at-1]
		case c < ' ' || c > '~' || c == '\\':
			r.odd = true
			return nil
		}
	}
	r.odd = true
	return nil
}

func (r *plainReader) text() string { return r.texts.text(r.quoted()) }

// once reads a text that may be there once.
func (r *plainReader) once(bit int, s *string) {
	r.first(bit)
	*s = r.text()
}

// first says that a member is there, which it may be once.
func (r *plainReader) first(bit int) {
	if r.seen&(1<<bit) != 0 {
		r.odd = true
	}
	r.seen |= 1 << bit
}

// number reads a number as JSON spells it (RFC 8259, section 6).
func (r *plainReader) number() float64 {
	f, err := strconv.ParseFloat(string(r.digits()), 64)
	r.odd = r.odd || err != nil
	return f
}

func (r *plainReader) integer() int64 {
	n, err := strconv.ParseInt(string(r.digits()), 10, 64)
	r.odd = r.odd || err != nil
	return n
}

// number32 reads a whole number that fits on every machine; others are rare, and
// left to the general way.
func (r *plainReader) number32() int {
	n := r.integer()
	r.odd = r.odd || int64(int32(n)) != n
	return int(n)
}

// digits takes what a number is made of. What strconv takes and JSON doesn't is
// odd: zeros in front, and a point without a digit on both sides.
func (r *plainReader) digits() []byte {
	r.next()
	begin := r.at
	for r.at < len(r.data) && bytes.IndexByte([]byte("+-.0123456789Ee"), r.data[r.at]) >= 0 {
		r.at++
	}
	b := r.data[begin:r.at]
	whole, fraction, pointed := bytes.Cut(bytes.TrimPrefix(b, []byte("-")), []byte("."))
	r.odd = r.odd || len(whole) == 0 || !isDigit(whole[0]) || (whole[0] == '0' && len(whole) > 1 && isDigit(whole[1])) ||
		(pointed && (!isDigit(whole[len(whole)-1]) || len(fraction) == 0 || !isDigit(fraction[0])))
	return b
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// plainMap reads an object whose members are all alike. The one it is given is
// there if the member was there already.
func plainMap[V any](r *plainReader, before map[string]V, value func() V) map[string]V {
	m := map[string]V{}
	r.odd = r.odd || before != nil
	r.sequence('{', '}', func() {
		name, n := r.text(), len(m)
		r.want(':')
		m[name] = value()
		r.odd = r.odd || len(m) == n
	})
	return m
}

func plainList[E any](r *plainReader, before []E, element func() E) []E {
	l := []E{}
	r.odd = r.odd || before != nil
	r.sequence('[', ']', func() { l = append(l, element()) })
	return l
}

func (r *plainReader) artifact() (a events.Artifact) {
	r.object(func(name []byte) {
		switch string(name) {
		case "path":
			r.once(0, &a.Path)
		case "sha256":
			r.once(1, &a.SHA256)
		case "size":
			r.first(2)
			a.Size = r.integer()
		default:
			r.odd = true
		}
	})
	return a
}

func (r *plainReader) dataset() (d events.Dataset) {
	r.object(func(name []byte) {
		switch string(name) {
		case "name":
			r.once(0, &d.Name)
		case "digest":
			r.once(1, &d.Digest)
		case "role":
			r.once(2, &d.Role)
		default:
			r.odd = true
		}
	})
	return d
}

func (r *plainReader) code(before *events.Code) *events.Code {
	var c events.Code
	r.odd = r.odd || before != nil
	r.object(func(name []byte) {
		switch string(name) {
		case "repository":
			r.once(0, &c.Repository)
		case "commit":
			r.once(1, &c.Commit)
		default:
			r.odd = true
		}
	})
	return &c
}

// signature is in the publisher's own terms, so it is read the general way.
func (r *plainReader) signature(before *events.Signature) *events.Signature {
	var s events.Signature
	r.odd = r.odd || before != nil || r.next() != '{'
	if r.odd {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(r.data[r.at:]))
	r.odd = json.UnmarshalDecode(dec, &s, plainOptions) != nil
	r.at += int(dec.InputOffset())
	return &s
}
