// Package pack makes audit packs, archives that prove events of a registry to
// somebody who doesn't trust it, and checks them, with nothing but the pack. It
// checks exported trees too.
//
// It does not belong here where a pack's parts come from (cmd).
package pack

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/modelog/modelog/handlers/seal"
)

// Files of a pack.
const (
	manifestFile   = "manifest.json"
	readmeFile     = "README.md"
	scriptFile     = "check.py"
	checkpointFile = "checkpoint"
	keyFile        = "verifier.key"
	pemFile        = "verifier.pem"
	eventsFile     = "events.ndjson"
	leavesFile     = "leaves.ndjson"
	formsDir       = "forms/"
	proofsDir      = "proofs/"
	treeDir        = "log/"
	sinceFile      = "since.checkpoint"
	extensionFile  = "since.consistency"
)

const format = "modelog-audit-pack/1"

// Manifest says what a pack is about.
type Manifest struct {
	Format   string            `json:"format"`
	Registry string            `json:"registry"`
	Origin   string            `json:"origin"`             // of its log
	Model    string            `json:"model,omitempty"`    // whose events are in it, empty for all
	ModelID  string            `json:"model_id,omitempty"` // its identity, whatever its name was
	From     uint64            `json:"from"`               // the part of the log that it is about
	To       uint64            `json:"to"`
	Size     uint64            `json:"size"`            // of the log that the checkpoint signs
	Since    uint64            `json:"since,omitzero"`  // size of the older checkpoint that it continues
	Tiles    bool              `json:"tiles,omitempty"` // the whole tree is in it
	Files    map[string]string `json:"files"`           // SHA-256 of every other file, in hex
	Events   int               `json:"events"`          // that are in it
	Records  int               `json:"records"`         // of the log that are in it
}

// FindingError is the first thing that is wrong with a pack or an exported tree.
type FindingError struct {
	File string // in it
	Line int    // from 1, 0 for the file as a whole
	What string
}

func (f FindingError) Error() string {
	if f.Line > 0 {
		return fmt.Sprintf("%s, line %d: %s", f.File, f.Line, f.What)
	}
	return f.File + ": " + f.What
}

func finding(file string, line int, what string, args ...any) error {
	return FindingError{file, line, fmt.Sprintf(what, args...)}
}

func numbered(dir string, sequence uint64, suffix string) string {
	return fmt.Sprintf("%s%020d%s", dir, sequence, suffix)
}

func formFile(sequence uint64) string  { return numbered(formsDir, sequence, "") }
func proofFile(sequence uint64) string { return numbered(proofsDir, sequence, ".tlog-proof") }

// publicPEM gives a verifier key as OpenSSL reads it.
func publicPEM(verifier string) ([]byte, error) {
	key, _, _, err := seal.PublicKey(verifier)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
