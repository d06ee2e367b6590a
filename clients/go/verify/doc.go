// Package verify verifies what Sigil signs and proves, without a server and without trusting one: evidence files,
// records, keys from the genesis record's hash on, checkpoints, receipts, completeness, and the decisions themselves,
// worked out again to the last bit.
//
// Everything rests on what its reader has from elsewhere: the hash of the genesis record, which `sigil init` prints,
// or a policy with the log's key and the witnesses that must have cosigned.
//
//	trust, err := verify.FromGenesis("5be4f6a1…")
//	…
//	result := verify.Evidence(file, trust)
//	if err := result.Err(); err != nil {
//		return err // Names the step that does not hold, and the rule.
//	}
//
// Zero values are safe: a zero Result is not verified, a zero Trust vouches for nothing, and a nil or zero Keys
// verifies nothing.
//
// It is written from docs/spec alone, imports neither gRPC nor Protocol Buffers, and does no I/O: it reads no clock,
// no file and no network. The formats are in the packages below it. Each refuses what does not have the one encoding
// that its specification gives, and names the rule.
package verify
