package projections

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
)

// Digest is the SHA-256 of the canonical dump up to a sequence, in hex. Two
// states of the same log agree on it, however each was made. It reads the whole
// state, and lets the writer in.
func (s *State) Digest(ctx context.Context, sequence uint64) (string, error) {
	hash := sha256.New()
	if err := s.Dump(ctx, hash, sequence); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
