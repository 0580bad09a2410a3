package api

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/seal"
	"github.com/modelog/modelog/projections"
)

// SigningKeyList says with which keys the heads of the log's tree were signed, the
// first one first.
type SigningKeyList struct {
	Origin string       `json:"origin"` // the log's name in its checkpoints
	Keys   []SigningKey `json:"keys"`
}

// SigningKey is a key, in force until the next one.
type SigningKey struct {
	VerifierKey string `json:"verifier_key"` // the public half, as signed notes spell it
	Sequence    uint64 `json:"sequence"`     // of the event that put it in force
	ChangedAt   string `json:"changed_at"`
}

// LogConsistency proves that the log as of one sequence is the beginning of the log
// as of another (RFC 6962, section 2.1.2).
type LogConsistency struct {
	From     uint64   `json:"from"`
	To       uint64   `json:"to"`
	FromRoot string   `json:"from_root"` // hashes are in base64, as in checkpoints
	ToRoot   string   `json:"to_root"`
	Hashes   []string `json:"hashes"`
}

const (
	textMedia   = "text/plain"
	textUTF8    = textMedia + "; charset=utf-8"
	binaryMedia = "application/octet-stream"
	immutable   = "public, max-age=31536000, immutable"
)

func (s *server) sealRoutes() []endpoint {
	text := func(path, name, summary string, serve func(*call) error) endpoint {
		e := operation[string](path, name, summary, serve)
		e.media = textMedia
		return e
	}
	tile := operation[string]("/log/tile/{level}/{tile...}", "getLogTile",
		"A tile of the log's tree, or with level entries a bundle of its records (C2SP tlog-tiles)", s.logTile)
	tile.media = binaryMedia
	consistency := operation[LogConsistency]("/v1/log/consistency", "getLogConsistency",
		"The proof that the log as of one sequence is the beginning of the log as of another", s.logConsistency)
	consistency.query = []parameter{
		{"from", "integer", "The earlier sequence, from 1"},
		{"to", "integer", "The later sequence; the newest signed head's if absent"},
	}
	return []endpoint{
		text("/log/checkpoint", "getLogCheckpoint", "The newest signed head of the log's tree (C2SP tlog-checkpoint)", s.logCheckpoint),
		tile,
		text("/v1/events/{sequence}/proof", "getEventProof", "The proof that an event is in the log, in one file (C2SP tlog-proof)", s.eventProof),
		consistency,
		read("/v1/log/keys", "listSigningKeys", "List the keys that the log's heads were signed with", nil,
			func(_ *call, v projections.View) (answer[SigningKeyList], error) {
				list := SigningKeyList{Origin: seal.Origin(v.Registry().ID), Keys: []SigningKey{}}
				etag := uint64(0)
				for _, k := range v.SigningKeys() {
					list.Keys = append(list.Keys, SigningKey{k.VerifierKey, k.Sequence, events.FormatTime(k.ChangedAt())})
					etag = k.Sequence
				}
				return answer[SigningKeyList]{value: list, etag: etag}, nil
			}),
	}
}

// noAsOf refuses every query parameter but those that are known.
func (c *call) noAsOf(known ...parameter) error {
	if err := c.onlyKnownQuery(known); err != nil {
		return err
	}
	if c.query.Has("as_of") {
		return handlers.InvalidField("as_of", "unknown_parameter", "is not a query parameter of this call: a seal is of the log, not of a moment")
	}
	return nil
}

func (s *server) logCheckpoint(c *call) error {
	if err := c.noAsOf(); err != nil {
		return err
	}
	if s.cfg.Sealer == nil || s.cfg.Sealer.Checkpoint() == nil {
		return s.notSealed(seal.NotSealedError{Sequence: 1})
	}
	c.raw(http.StatusOK, textUTF8, s.cfg.Sealer.Checkpoint().Note)
	return nil
}

// notSealed says why there is no seal, and when there will be one.
func (s *server) notSealed(err seal.NotSealedError) error {
	refusal := handlers.UnavailableError{Kind: handlers.CodeNotSealed, Detail: err.Error() + "; ask again in a second", RetryAfter: time.Second}
	switch {
	case s.cfg.Sealer == nil:
		refusal.Detail = "this registry doesn't seal its log"
	case s.cfg.Sealer.Err() != nil:
		refusal = handlers.UnavailableError{Kind: handlers.CodeNotSealed, Detail: s.cfg.Sealer.Err().Error()}
	case !s.cfg.Sealer.Signs():
		refusal.Detail = err.Error() + "; this server doesn't have the key that is in force, and waits for another that has"
	}
	return refusal
}

// checkSealed is a part of readiness: a log that isn't the one that was sealed must
// not be taken for well.
func (s *server) checkSealed() error {
	if s.cfg.Sealer == nil || s.cfg.Sealer.Err() == nil {
		return nil
	}
	return handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: s.cfg.Sealer.Err().Error()}
}

func (s *server) logTile(c *call) error {
	if err := c.noAsOf(); err != nil {
		return err
	}
	path := "tile/" + c.r.PathValue("level") + "/" + c.r.PathValue("tile")
	level, n, width, err := seal.ParseTilePath(path)
	if err != nil || s.cfg.Sealer == nil {
		return routeError{handlers.CodeRouteNotFound, fmt.Sprintf("%q is no path of a tile, such as tile/0/x001/234.p/56", path)}
	}
	data, ok, err := s.cfg.Sealer.Tile(level, n, width)
	if level == seal.EntriesLevel {
		data, ok, err = s.cfg.Sealer.Entries(c.r.Context(), n, width)
	}
	switch {
	case err != nil:
		return logAway(err)
	case !ok:
		return routeError{handlers.CodeRouteNotFound, fmt.Sprintf("the newest signed head has no %s; /log/checkpoint says how large it is", path)}
	}
	c.header("Cache-Control", immutable) // a partial one is the beginning of what comes, for ever
	c.raw(http.StatusOK, binaryMedia, data)
	return nil
}

func (s *server) eventProof(c *call) error {
	if err := c.noAsOf(); err != nil {
		return err
	}
	sequence, err := strconv.ParseUint(c.r.PathValue("sequence"), 10, 64)
	if err != nil {
		return handlers.InvalidField("sequence", "sequence", "must be a whole number from 1")
	}
	if sequence == 0 || sequence > s.cfg.Runner.Visible() {
		return handlers.NotFoundError{What: handlers.CodeEventNotFound, Name: c.r.PathValue("sequence")}
	}
	if s.cfg.Sealer == nil {
		return s.notSealed(seal.NotSealedError{Sequence: sequence})
	}
	proof, err := s.cfg.Sealer.Prove(c.r.Context(), sequence)
	if unsealed, ok := errors.AsType[seal.NotSealedError](err); ok {
		return s.notSealed(unsealed)
	}
	if err != nil {
		return logAway(err)
	}
	c.raw(http.StatusOK, textUTF8, proof.Text())
	return nil
}

func (s *server) logConsistency(c *call) error {
	from, to, err := c.sizes()
	if err != nil {
		return err
	}
	if s.cfg.Sealer == nil {
		return s.notSealed(seal.NotSealedError{Sequence: max(from, to)})
	}
	e, err := s.cfg.Sealer.Extend(from, to)
	if unsealed, ok := errors.AsType[seal.NotSealedError](err); ok {
		return s.notSealed(unsealed)
	}
	if err != nil {
		return err
	}
	shown := LogConsistency{
		From: uint64(e.From), To: uint64(e.To), FromRoot: e.FromHash.String(), ToRoot: e.ToHash.String(), Hashes: []string{},
	}
	for _, h := range e.Hashes {
		shown.Hashes = append(shown.Hashes, base64.StdEncoding.EncodeToString(h[:]))
	}
	c.json(http.StatusOK, shown)
	return nil
}

// sizes reads from and to, 0 for no to.
func (c *call) sizes() (from, to uint64, err error) {
	if err := c.noAsOf(parameter{name: "from"}, parameter{name: "to"}); err != nil {
		return 0, 0, err
	}
	visible := c.server.cfg.Runner.Visible()
	size := func(name string) (uint64, error) {
		n, err := strconv.ParseUint(c.query.Get(name), 10, 63)
		switch {
		case err != nil || n == 0:
			return 0, handlers.InvalidField(name, "sequence", "must be a whole number from 1")
		case n > visible:
			return 0, handlers.InvalidField(name, "not_in_the_future", "%d is beyond the last sequence, %d", n, visible)
		}
		return n, nil
	}
	if from, err = size("from"); err != nil || !c.query.Has("to") {
		return from, 0, err
	}
	if to, err = size("to"); err == nil && to < from {
		err = handlers.InvalidField("to", "range", "%d is before from, %d", to, from)
	}
	return from, to, err
}
