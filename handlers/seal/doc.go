// Package seal makes a tampered log show: it grows a Merkle tree (RFC 6962) over
// the log's events, and signs its heads. Whoever keeps a signed head can prove
// later that no event up to it was changed, dropped, inserted or moved, without
// trusting the registry.
//
// Leaf i is a compact record of event i+1 (Leaf); the tree is therefore a
// function of the log, and anything but the signed heads can be made from it
// again. It is kept and served as C2SP tlog-tiles of height 8, its heads as
// C2SP checkpoints, proofs as C2SP tlog-proof files.
//
// What must never happen is that two signed heads disagree. So a Sealer extends
// only a tree that it has proved to give the last head it signed, or that was
// published; a log that lost or changed an event that was sealed stops it for
// good.
//
// It does not belong here what an audit pack is (handlers/seal/pack), nor who may
// change the key (handlers).
package seal
