package pack

import "fmt"

// readme is the page that tells an auditor how to check the pack with public tools.
func (m *Manifest) readme() string {
	what := "all events"
	if m.ModelID != "" {
		what = fmt.Sprintf("the events of the model %s (%s)", m.Model, m.ModelID)
	}
	since := ""
	if m.Since > 0 {
		since = fmt.Sprintf(readmeSince, m.Since)
	}
	tree := ""
	if m.Tiles {
		tree = readmeTiles
	}
	return fmt.Sprintf(readmeText, m.Registry, what, m.From, m.To, m.Events, m.Records, m.Size, since, tree)
}

const readmeText = `# Audit pack of the registry %s

This archive has %s from sequence %d to %d of the registry's
log: %d events, and the records of %d. It proves that each of them was on the log
when its head was signed, unchanged and in this place, and that none of them is left
out. The head covers %d events. You need not trust the registry, nor ask it.

The quick way, if you have the modelog program: ` + "`modelog audit check FILE --key KEY`" + `

## What is here

| file | what |
|---|---|
| events.ndjson | the events, as structured CloudEvents (JSON) |
| leaves.ndjson | the record of every event in the range, whoever's it is: this is what the tree's leaves are of |
| forms/SEQUENCE | the exact bytes of an event that its record has the SHA-256 of |
| proofs/SEQUENCE.tlog-proof | the proof of an event, complete in itself (c2sp.org/tlog-proof) |
| checkpoint | the signed head: the log's name, its size, the root of its Merkle tree (c2sp.org/tlog-checkpoint) |
| verifier.key, verifier.pem | the public key that signed it, as signed notes spell it and as OpenSSL reads it |
| log/ | tiles of the tree (c2sp.org/tlog-tiles), which prove the records |
| check.py | the steps 2 and 3 below, in Python, without any library |
| manifest.json | what the pack is about, and the SHA-256 of each file |

## How to check it

**0. The key.** A pack that brings its own key proves nothing: compare verifier.key with
the one that you were given on another way, or that you have from an earlier audit.
The registry's first event names its first key; events of the type
dev.modelog.registry.signing_key_changed.v1 say when it changed.

**1. The signature**, with OpenSSL 3:

    sed '/^$/,$d' checkpoint > text
    sed -n 's/^— [^ ]* //p' checkpoint | head -n 1 | base64 -d | tail -c 64 > signature
    openssl pkeyutl -verify -pubin -inkey verifier.pem -rawin -in text -sigfile signature

**2. The events.** A record's sha256 is that of the event's form:

    sha256sum forms/*
    grep -o '"sha256":"[0-9a-f]*"' leaves.ndjson

**3. The tree.** Each proof leads from a record (its "extra" line, in base64) to the root
in the checkpoint, as RFC 6962 has it:

    python3 check.py

**4. Nothing left out.** leaves.ndjson has one record for each sequence of the range; those
whose stream is the model's have their event in events.ndjson.
%s%s
Any other implementation of RFC 6962 does as well, such as
github.com/transparency-dev/merkle.
`

const readmeSince = `
**5. The log was only added to.** since.checkpoint is an older head, of %d events;
since.consistency proves (RFC 6962, section 2.1.2) that the log of today begins with it.
Compare it with the one that you kept.
`

const readmeTiles = `
**The whole tree** is in log/: the fsck of github.com/transparency-dev/tessera checks it.
`

// script is check.py.
const script = `#!/usr/bin/env python3
"""Checks the proofs of an audit pack: run it where the pack was unpacked."""
import base64, glob, hashlib, json, sys

def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def root_of(record, index, size, path):
    """RFC 9162, section 2.1.3.2."""
    at, last, node = index, size - 1, sha256(b"\x00", record)
    for sibling in path:
        assert last > 0, "the proof is too long"
        if at & 1 or at == last:
            node = sha256(b"\x01", sibling, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = sha256(b"\x01", node, sibling)
        at, last = at >> 1, last >> 1
    assert last == 0, "the proof is too short"
    return node

checkpoint = open("checkpoint", encoding="utf-8").read()
_, size, root = checkpoint.split("\n")[:3]
leaves = {json.loads(line)["seq"]: line.rstrip("\n").encode() for line in open("leaves.ndjson", encoding="utf-8")}
names = sorted(glob.glob("proofs/*.tlog-proof"))
for name in names:
    try:
        head, _, signed = open(name, encoding="utf-8").read().partition("\n\n")
        magic, extra, index, *hashes = head.split("\n")
        record = base64.b64decode(extra.removeprefix("extra "))
        index = int(index.removeprefix("index "))
        assert magic == "c2sp.org/tlog-proof@v1" and signed == checkpoint, "another checkpoint"
        assert root_of(record, index, int(size), [base64.b64decode(h) for h in hashes]) == base64.b64decode(root), "the root differs"
        assert leaves[index + 1] == record, "leaves.ndjson has another record"
        form = open("forms/%020d" % (index + 1), "rb").read()
        assert hashlib.sha256(form).hexdigest() == json.loads(record)["sha256"], "the event's form differs"
    except Exception as error:
        sys.exit(f"{name}: {error}")
print(f"{len(names)} proofs lead to the root of the checkpoint, of {size} events")
`
