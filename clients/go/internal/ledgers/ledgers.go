// Package ledgers makes small signed ledgers, for tests alone: what a server would write, by keys whose seeds are
// known.
package ledgers

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"

	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/cose"
	"sigil.example/go/verify/merkle"
	"sigil.example/go/verify/record"
)

// Key is the key of a seed: SHA-256 of its name.
func Key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Public is its public key.
func Public(name string) []byte { return Key(name).Public().(ed25519.PublicKey) }

// Origin is of every ledger made here.
const Origin = "ledger.example/test"

// Ledger grows by Append.
type Ledger struct {
	t         testing.TB
	Envelopes [][]byte
	// RecordKey and CheckpointKey are the names of the keys in use.
	RecordKey     string
	CheckpointKey string
}

// Model is the payload of a model that decides what Decision asks.
func Model() cbor.Map {
	return cbor.Map{
		{Key: "bias", Value: 1.0},
		{Key: "weights", Value: cbor.Map{
			{Key: "action_risk", Value: -6.0}, {Key: "target_sensitivity", Value: -4.0}, {Key: "level", Value: 8.0},
			{Key: "rate", Value: -2.0}, {Key: "entropy", Value: -1.5},
		}},
		{Key: "threshold", Value: 0.5},
		{Key: "review", Value: nil},
		{Key: "actions", Value: cbor.Map{
			{Key: "read", Value: cbor.Map{{Key: "risk", Value: 0.1}, {Key: "min_loa", Value: "observer"}}},
		}},
		{Key: "targets", Value: cbor.Map{{Key: "user/**", Value: 0.25}}},
		{Key: "rate", Value: cbor.Map{{Key: "window_ms", Value: 60000}, {Key: "limit", Value: 600}}},
	}
}

// New is a ledger of genesis alone.
func New(t testing.TB) *Ledger {
	t.Helper()
	ledger := &Ledger{t: t, RecordKey: "record 1", CheckpointKey: "checkpoint 1"}
	ledger.Append(System("genesis", "genesis", cbor.Map{
		{Key: "format", Value: 1},
		{Key: "origin", Value: Origin},
		{Key: "root", Value: cbor.Map{
			{Key: "id", Value: "root"}, {Key: "public_keys", Value: []any{Public("root")}}, {Key: "loa", Value: "root"},
			{Key: "tenant", Value: "system"}, {Key: "active", Value: true},
		}},
		{Key: "witnesses", Value: []any{cbor.Map{
			{Key: "id", Value: "ann"}, {Key: "public_key", Value: Public("ann")}, {Key: "owner", Value: "Ann"},
			{Key: "authority", Value: ""}, {Key: "description", Value: ""},
		}}},
		{Key: "k", Value: 1},
		{Key: "model", Value: Model()},
		{Key: "keys", Value: cbor.Map{
			{Key: "record", Value: Public("record 1")}, {Key: "checkpoint", Value: Public("checkpoint 1")},
		}},
	}))
	return ledger
}

// System is a body of the system space.
func System(kind, id string, payload any) *record.Body {
	return &record.Body{
		Kind: kind, SchemaVersion: 1, ID: id, Tenant: "system", TimeMs: 1, Space: "system", Payload: payload, Links: nil,
	}
}

// Decision is the body of an allow of tenant acme, by the caller's number at that time.
func Decision(id, caller string, seq int, timeMs int64) *record.Body {
	input := sha256.Sum256([]byte(id))
	request := cbor.Map{
		{Key: "action", Value: "read"}, {Key: "target", Value: "user/notes"}, {Key: "subject", Value: caller},
		{Key: "caller", Value: caller}, {Key: "loa", Value: "operator"}, {Key: "input", Value: input[:]},
		{Key: "metadata", Value: cbor.Map{}},
	}
	payload := cbor.Map{
		{Key: "request", Value: request},
		{Key: "features", Value: cbor.Map{}}, {Key: "contributions", Value: cbor.Map{}},
		{Key: "model", Value: "trust_model/active"}, {Key: "z", Value: 3.4}, {Key: "threshold", Value: 0.5},
		{Key: "verdict", Value: "allow"}, {Key: "reason", Value: "SCORE_AT_OR_ABOVE_THRESHOLD"},
		{Key: "duration_us", Value: 7}, {Key: "caller_seq", Value: seq},
	}
	return &record.Body{
		Kind: "frozen_chain", SchemaVersion: 2, ID: id, Tenant: "acme", TimeMs: timeMs, Space: "user", Payload: payload,
		Links: []record.Link{{Label: record.ModelLabel, Target: record.HashOf([]byte("model"))}},
	}
}

// Head is the body of a statement of a caller's newest number.
func Head(caller string, seq int, timeMs int64) *record.Body {
	return &record.Body{
		Kind: "caller_head", SchemaVersion: 1, ID: "caller_head/" + caller, Tenant: "acme", TimeMs: timeMs, Space: "user",
		Payload: cbor.Map{{Key: "caller", Value: caller}, {Key: "seq", Value: seq}},
	}
}

// Append signs a body by the record key in use, and gives its position.
func (l *Ledger) Append(body *record.Body) uint64 {
	l.t.Helper()
	encoded, err := record.EncodeBody(body)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.AppendBytes(encoded, body.Subject())
}

// AppendBytes signs a body as it is.
func (l *Ledger) AppendBytes(body []byte, subject string) uint64 {
	l.t.Helper()
	return l.AppendStatement(Sign(l.t, l.RecordKey, cose.RecordContentType, subject, body))
}

// AppendStatement appends a statement as it is.
func (l *Ledger) AppendStatement(statement []byte) uint64 {
	l.t.Helper()
	envelope := record.Envelope{Statement: statement}
	encoded, err := envelope.Encode()
	if err != nil {
		l.t.Fatal(err)
	}
	l.Envelopes = append(l.Envelopes, encoded)
	return uint64(len(l.Envelopes) - 1)
}

// Sign makes a statement by the key of that name.
func Sign(t testing.TB, key, contentType, subject string, payload []byte) []byte {
	t.Helper()
	return SignAt(t, Origin, key, contentType, subject, payload)
}

// SignAt is Sign for another origin.
func SignAt(t testing.TB, origin, key, contentType, subject string, payload []byte) []byte {
	t.Helper()
	protected, err := cose.EncodeHeader(cose.Header{
		ContentType: contentType, Kid: cose.Thumbprint(Public(key)), Origin: origin, Subject: subject,
	})
	if err != nil {
		t.Fatal(err)
	}
	signature := ed25519.Sign(Key(key), cose.ToBeSigned(protected, payload))
	statement, err := cose.EncodeStatement(protected, payload, signature)
	if err != nil {
		t.Fatal(err)
	}
	return statement
}

// Announce appends the announcement of a role's next key, which is in use from then on.
func (l *Ledger) Announce(role string, serial int, key string) uint64 {
	position := len(l.Envelopes)
	l.Append(System("signing_key", fmt.Sprintf("signing_key/%s/%d", role, serial), cbor.Map{
		{Key: "role", Value: role}, {Key: "public_key", Value: Public(key)}, {Key: "valid_from", Value: position + 1},
	}))
	if role == record.RecordRole {
		l.RecordKey = key
	} else {
		l.CheckpointKey = key
	}
	return uint64(position)
}

func (l *Ledger) leaves() []merkle.Hash {
	leaves := make([]merkle.Hash, 0, len(l.Envelopes))
	for _, envelope := range l.Envelopes {
		entry := record.EntryOf(envelope)
		leaves = append(leaves, merkle.LeafHash(entry[:]))
	}
	return leaves
}

func split(count int) int {
	most := 1
	for 2*most < count {
		most *= 2
	}
	return most
}

func rootOf(leaves []merkle.Hash) merkle.Hash {
	switch len(leaves) {
	case 0:
		return merkle.EmptyRoot()
	case 1:
		return leaves[0]
	}
	at := split(len(leaves))
	return merkle.NodeHash(rootOf(leaves[:at]), rootOf(leaves[at:]))
}

// pathOf is RFC 6962 §2.1.1 as it stands there.
func pathOf(index int, leaves []merkle.Hash) [][]byte {
	if len(leaves) <= 1 {
		return nil
	}
	at := split(len(leaves))
	if index < at {
		sibling := rootOf(leaves[at:])
		return append(pathOf(index, leaves[:at]), sibling[:])
	}
	sibling := rootOf(leaves[:at])
	return append(pathOf(index-at, leaves[at:]), sibling[:])
}

// Root is of the tree of all records.
func (l *Ledger) Root() merkle.Hash { return rootOf(l.leaves()) }

// Path is from the leaf at the position to it.
func (l *Ledger) Path(position uint64) [][]byte { return pathOf(int(position), l.leaves()) }

// Checkpoint is signed by the key of that name.
func (l *Ledger) Checkpoint(key string) string {
	l.t.Helper()
	checkpoint := merkle.Checkpoint{Origin: Origin, Size: uint64(len(l.Envelopes)), Root: l.Root()}
	text := checkpoint.Format()
	note := merkle.Note{Text: text, Signatures: []merkle.NoteSignature{{
		Name: Origin, KeyID: merkle.KeyID(Origin, Public(key)), Signature: ed25519.Sign(Key(key), []byte(text)),
	}}}
	formatted, err := note.Format()
	if err != nil {
		l.t.Fatal(err)
	}
	return formatted
}

// Evidence is an evidence file for the record at a position, with the others of those positions in it, in order.
func (l *Ledger) Evidence(position uint64, positions ...uint64) []byte {
	l.t.Helper()
	nodes, indexes := []any{}, map[string]int{}
	records := []any{}
	for _, each := range positions {
		path := []any{}
		for _, hash := range l.Path(each) {
			index, known := indexes[string(hash)]
			if !known {
				index = len(nodes)
				indexes[string(hash)] = index
				nodes = append(nodes, hash)
			}
			path = append(path, index)
		}
		records = append(records, cbor.Map{
			{Key: "position", Value: each}, {Key: "envelope", Value: l.Envelopes[each]}, {Key: "path", Value: path},
		})
	}
	file, err := cbor.Encode(cbor.Map{
		{Key: "version", Value: 1}, {Key: "origin", Value: Origin}, {Key: "position", Value: position},
		{Key: "checkpoint", Value: l.Checkpoint(l.CheckpointKey)}, {Key: "nodes", Value: nodes},
		{Key: "records", Value: records},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return file
}

// At is the ledger as it was when it had so many records.
func (l *Ledger) At(size int) *Ledger {
	earlier := *l
	earlier.Envelopes = l.Envelopes[:size]
	return &earlier
}

// Growth is the proof that the tree begins with that of so many records, RFC 6962 §2.1.2 as it stands there.
func (l *Ledger) Growth(oldSize int) [][]byte {
	leaves := l.leaves()
	if oldSize == 0 || oldSize == len(leaves) {
		return nil
	}
	return growthOf(oldSize, leaves, true)
}

func growthOf(oldSize int, leaves []merkle.Hash, isWhole bool) [][]byte {
	if oldSize == len(leaves) {
		if isWhole {
			return nil
		}
		root := rootOf(leaves)
		return [][]byte{root[:]}
	}
	at := split(len(leaves))
	if oldSize <= at {
		sibling := rootOf(leaves[at:])
		return append(growthOf(oldSize, leaves[:at], isWhole), sibling[:])
	}
	sibling := rootOf(leaves[:at])
	return append(growthOf(oldSize-at, leaves[at:], false), sibling[:])
}
