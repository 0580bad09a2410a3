package events

import (
	"maps"
	"reflect"
	"slices"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// pack writes a registration as its plan does, in a third of the time: it is the
// event that is written most. It says no, having written what is of no use, when it
// can't be written, or has more members than a short object.
// TestARegistrationIsPackedAsItsPlanSays holds the two together.
func (e *VersionRegistered) pack(w *packWriter) bool {
	p := memberPacker{packWriter: w, begin: len(w.buf)}
	w.buf = append(w.buf, 0) // the number of members, when it is known
	packList(&p, "artifacts", e.Artifacts, (*memberPacker).artifact)
	if e.BaseModel != nil {
		p.member("base_model", e.BaseModel)
	}
	if e.Code != nil {
		p.name("code")
		p.code(e.Code)
	}
	packList(&p, "datasets", e.Datasets, (*memberPacker).dataset)
	if e.Description != (Text{}) {
		p.name("description")
		p.failed(writeText(w, e.Description))
	}
	p.text("format", e.Format)
	p.text("logged_model", e.LoggedModel)
	packMap(&p, "metrics", e.Metrics, w.float)
	p.name("model_id")
	p.failed(writeULID(w, e.ModelID))
	packMap(&p, "parameters", e.Parameters, w.str)
	p.text("run_id", e.RunID)
	p.text("run_link", e.RunLink)
	p.text("semver", e.Semver)
	if e.Signature != nil {
		p.member("signature", e.Signature)
	}
	p.name("source")
	p.failed(w.str(e.Source))
	packMap(&p, "tags", e.Tags, w.str)
	p.name("version")
	p.failed(w.integer(int64(e.Version)))
	return p.end() && p.err == nil
}

// memberPacker writes the members of a short object, by name. The first error stays.
type memberPacker struct {
	*packWriter
	begin   int // where the object begins
	members int
	err     error
}

// maxShort is how many members a short object has at most.
const maxShort = 15

func (p *memberPacker) end() bool {
	p.buf[p.begin] = msgpcode.FixedMapLow | byte(p.members)
	return p.members <= maxShort
}

func (p *memberPacker) failed(err error) {
	if p.err == nil {
		p.err = err
	}
}

// name begins a member.
func (p *memberPacker) name(s string) {
	p.members++
	p.failed(p.str(s))
}

// text writes a member that is left out when it is empty.
func (p *memberPacker) text(name, s string) {
	if s != "" {
		p.name(name)
		p.failed(p.str(s))
	}
}

// member writes what is rare as its plan does.
func (p *memberPacker) member(name string, pointer any) {
	p.name(name)
	v := reflect.ValueOf(pointer).Elem()
	p.failed(planOf(v.Type()).write(p.packWriter, v))
}

// within writes an object inside of another one.
func (p *memberPacker) within(members func(*memberPacker)) {
	inner := memberPacker{packWriter: p.packWriter, begin: len(p.buf)}
	p.buf = append(p.buf, 0)
	members(&inner)
	inner.end()
	p.failed(inner.err)
}

func (p *memberPacker) code(c *Code) {
	p.within(func(o *memberPacker) {
		o.text("commit", c.Commit)
		o.name("repository")
		o.failed(o.str(c.Repository))
	})
}

func (p *memberPacker) artifact(a *Artifact) {
	p.within(func(o *memberPacker) {
		o.name("path")
		o.failed(o.str(a.Path))
		o.name("sha256")
		o.failed(o.str(a.SHA256))
		o.name("size")
		o.failed(o.integer(a.Size))
	})
}

func (p *memberPacker) dataset(d *Dataset) {
	p.within(func(o *memberPacker) {
		o.text("digest", d.Digest)
		o.name("name")
		o.failed(o.str(d.Name))
		o.text("role", d.Role)
	})
}

func packList[E any](p *memberPacker, name string, all []E, write func(*memberPacker, *E)) {
	if len(all) == 0 {
		return
	}
	p.name(name)
	p.failed(p.array(len(all)))
	for i := range all {
		write(p, &all[i])
	}
}

func packMap[V any](p *memberPacker, name string, m map[string]V, write func(V) error) {
	if len(m) == 0 {
		return
	}
	p.name(name)
	p.failed(p.object(len(m)))
	var room [16]string // most maps are small
	keys := slices.AppendSeq(room[:0], maps.Keys(m))
	slices.Sort(keys)
	for _, k := range keys {
		p.failed(p.str(k))
		p.failed(write(m[k]))
	}
}
