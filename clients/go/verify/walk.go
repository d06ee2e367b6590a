package verify

import (
	"errors"
	"fmt"
	"sync"

	"sigil.example/go/verify/cose"
	"sigil.example/go/verify/internal/sig"
	"sigil.example/go/verify/keys"
	"sigil.example/go/verify/merkle"
	"sigil.example/go/verify/record"
)

// RecordSteps are the steps of Record, in order: those of an evidence file, as far as one record has them.
var RecordSteps = []string{"file", "genesis", "keys", "signature", "record", "inclusion", "checkpoint", "policy", "trust"}

// RecordProof is a record and what proves it, as the answers to Check, GetInclusionProof and Watch have it.
type RecordProof struct {
	StoredRecord
	// Path is from the leaf's sibling to the root.
	Path [][]byte
	// Checkpoint is a signed note.
	Checkpoint string
}

// Record verifies a record by its proof, and by the records of the keys from genesis on: genesis, then every
// `signing_key` and `key_retirement` record in ledger order. Who verifies many walks the keys once, with WalkKeys.
func Record(proof RecordProof, keyRecords []StoredRecord, trust Trust) Result {
	steps := newStepList(RecordSteps)
	verification := &fileVerification{steps: steps, trust: trust}
	if err := verification.runRecord(proof, keyRecords); err != nil {
		steps.fail(err)
	}
	return steps.result(verification.findings)
}

func (v *fileVerification) runRecord(proof RecordProof, keyRecords []StoredRecord) error {
	one, err := open(proof.StoredRecord, proof.Path)
	if err != nil {
		return err
	}
	walked, err := openAll(keyRecords)
	if err != nil {
		return err
	}
	signed, err := merkle.ParseSigned(proof.Checkpoint)
	if err != nil {
		return err
	}
	origin := one.statement.Origin
	v.steps.pass("file", fmt.Sprintf("%s and %s, tree of %d", counted(1, "record"), counted(len(walked), "record")+" of keys",
		signed.Checkpoint.Size))
	ring, err := v.takeKeys(walked, origin)
	if err != nil {
		return err
	}
	v.findings.Checkpoint = signed.Checkpoint
	signedBy, err := one.requireSignature(ring)
	if err != nil {
		return err
	}
	v.steps.pass("signature", "by the record key of thumbprint "+Hash(signedBy.Thumbprint).String())
	found, err := one.found(origin)
	if err != nil {
		return err
	}
	v.findings.Record = &found
	if found.Body.Kind == "frozen_chain" {
		if v.findings.Decision, err = record.ReadDecision(found.Body, nil); err != nil {
			return err
		}
	}
	v.steps.pass("record", (&roles{record: found}).describe())
	if err := one.requireInclusion(signed.Checkpoint); err != nil {
		return err
	}
	v.steps.pass("inclusion", fmt.Sprintf("%s in the tree of %d", counted(1, "record"), signed.Checkpoint.Size))
	if err := v.takeCheckpoint(signed, proof.Checkpoint, origin, ring); err != nil {
		return err
	}
	return v.takeTrust()
}

func openAll(records []StoredRecord) ([]opened, error) {
	walked := make([]opened, 0, len(records))
	for _, stored := range records {
		one, err := open(stored, nil)
		if err != nil {
			return nil, err
		}
		walked = append(walked, one)
	}
	return walked, nil
}

// Keys are a deployment's keys, walked from the genesis record's hash. They may be used by several goroutines. Nil,
// or the zero value, verifies nothing.
type Keys struct {
	ring    keys.Ring
	origin  string
	records int

	mutex sync.Mutex
	// verified is the last checkpoint that was verified, since many proofs share one.
	verified *merkle.Checkpoint
	note     string
}

// WalkKeys walks the records of a ledger's keys: genesis, whose hash comes from another channel than they do, then
// every `signing_key` and `key_retirement` record in ledger order. After a later rotation, walk again. Source:
// docs/spec/keys.md §4.
func WalkKeys(genesis Hash, records []StoredRecord) (*Keys, error) {
	walked, err := openAll(records)
	if err != nil {
		return nil, err
	}
	walk, err := beginWalk(&genesis, walked)
	if err != nil {
		return nil, err
	}
	if walk.origin != walk.genesisOrigin {
		return nil, refused("genesis is of %s, and not of %s", walk.genesisOrigin, walk.origin)
	}
	if err := walk.follow(walked[1:]); err != nil {
		return nil, err
	}
	return &Keys{ring: walk.ring, origin: walk.origin, records: len(records)}, nil
}

var errNoKeys = errors.New("no keys were walked, so that nothing can be verified")

func (k *Keys) isWalked() bool { return k != nil && k.records > 0 }

// Origin is the deployment's; "" if no keys were walked.
func (k *Keys) Origin() string {
	if !k.isWalked() {
		return ""
	}
	return k.origin
}

// All gives the keys, oldest first within each role.
func (k *Keys) All() []keys.Key {
	if !k.isWalked() {
		return nil
	}
	return k.ring.Keys()
}

func (k *Keys) logAt(size uint64) (merkle.Log, error) {
	if !k.isWalked() {
		return merkle.Log{}, errNoKeys
	}
	publicKey, mldsa44Key, err := k.ring.CheckpointKeys(size)
	return merkle.Log{Origin: k.origin, PublicKey: publicKey, Mldsa44Key: mldsa44Key}, err
}

// Checkpoint verifies a signed note by the key that may sign its size.
func (k *Keys) Checkpoint(note string) (*merkle.Checkpoint, error) {
	if !k.isWalked() {
		return nil, errNoKeys
	}
	k.mutex.Lock()
	known, knownNote := k.verified, k.note
	k.mutex.Unlock()
	if known != nil && knownNote == note {
		return known, nil
	}
	signed, err := merkle.ParseSigned(note)
	if err != nil {
		return nil, err
	}
	log, err := k.logAt(signed.Checkpoint.Size)
	if err != nil {
		return nil, err
	}
	if err := signed.VerifyBy(log); err != nil {
		return nil, err
	}
	k.mutex.Lock()
	k.verified, k.note = signed.Checkpoint, note
	k.mutex.Unlock()
	return signed.Checkpoint, nil
}

// Fork says that a ledger has two pasts: both checkpoints are signed, and no tree holds both. Keep them: they prove it.
type Fork struct {
	Known, Newer *merkle.Checkpoint
	// KnownNote and NewerNote are the two as they were signed; "" of one that was given without its note.
	KnownNote, NewerNote string
	Rule                 string
}

func (e *Fork) Error() string {
	return fmt.Sprintf("the tree of size %d and root %x does not begin with that of size %d and root %x: %s",
		e.Newer.Size, e.Newer.Root, e.Known.Size, e.Known.Root, e.Rule)
}

// Growth verifies a newer checkpoint, and that its tree begins with that of the known one. The error is a *Fork where
// both are signed and the proof does not hold.
func (k *Keys) Growth(known *merkle.Checkpoint, note string, path [][]byte) (*merkle.Checkpoint, error) {
	newer, err := k.Checkpoint(note)
	if err != nil {
		return nil, err
	}
	if known == nil {
		return nil, refused("no checkpoint is known that the newer one could be compared with")
	}
	if fork := growthFault(known, newer, path); fork != nil {
		fork.NewerNote = note
		return nil, fork
	}
	return newer, nil
}

func growthFault(known, newer *merkle.Checkpoint, path [][]byte) *Fork {
	err := merkle.CheckConsistency(merkle.Consistency{
		OldSize: known.Size, NewSize: newer.Size, OldRoot: known.Root[:], NewRoot: newer.Root[:], Path: path,
	})
	if err != nil {
		return &Fork{Known: known, Newer: newer, Rule: ruleOf(err)}
	}
	return nil
}

// Leaf verifies that a leaf stands at a position in the tree of a checkpoint: all that is left of a record that was
// erased.
func (k *Keys) Leaf(position uint64, leaf Hash, path [][]byte, note string) error {
	checkpoint, err := k.Checkpoint(note)
	if err != nil {
		return err
	}
	claim := merkle.Inclusion{LeafIndex: position, TreeSize: checkpoint.Size, LeafHash: leaf[:], Path: path}
	if err := merkle.CheckInclusion(claim, checkpoint.Root[:]); err != nil {
		return refusedAt(position, "inclusion", err)
	}
	return nil
}

// Record verifies signature, key, schema, inclusion and the checkpoint.
func (k *Keys) Record(proof RecordProof) (*Found, error) {
	if !k.isWalked() {
		return nil, errNoKeys
	}
	one, err := open(proof.StoredRecord, proof.Path)
	if err != nil {
		return nil, err
	}
	if _, err := one.requireSignature(k.ring); err != nil {
		return nil, err
	}
	found, err := one.found(k.origin)
	if err != nil {
		return nil, err
	}
	checkpoint, err := k.Checkpoint(proof.Checkpoint)
	if err != nil {
		return nil, err
	}
	if err := one.requireInclusion(checkpoint); err != nil {
		return nil, err
	}
	return &found, nil
}

// Inclusion is where a verified proof says that an entry stands.
type Inclusion struct {
	LeafIndex uint64
	TreeSize  uint64
	Root      Hash
}

// Receipt verifies a COSE receipt (RFC 9942) of a record's entry, SHA-256 of its envelope.
func (k *Keys) Receipt(receipt []byte, entry Hash) (*Inclusion, error) {
	parsed, err := cose.ParseReceipt(receipt)
	if err != nil {
		return nil, err
	}
	log, err := k.logAt(parsed.TreeSize)
	if err != nil {
		return nil, err
	}
	wrong := func(rule string) (*Inclusion, error) { return nil, &cose.Error{Rule: "receipt: " + rule} }
	switch {
	case parsed.Origin != log.Origin:
		return wrong("origin must be the one expected")
	case parsed.Kid != cose.Thumbprint(log.PublicKey):
		return wrong("must be signed by the log's key")
	case parsed.Subject != cose.ReceiptSubject(parsed.TreeSize):
		return wrong("the path must be of the tree that was signed")
	}
	leaf := merkle.LeafHash(entry[:])
	claim := merkle.Inclusion{LeafIndex: parsed.LeafIndex, TreeSize: parsed.TreeSize, LeafHash: leaf[:]}
	for _, hash := range parsed.Path {
		claim.Path = append(claim.Path, hash[:])
	}
	root, err := claim.Root()
	if err != nil {
		return wrong(ruleOf(err))
	}
	if !sig.Verify(log.PublicKey, cose.ToBeSigned(parsed.Protected, root[:]), parsed.Signature[:]) {
		return wrong("the signature must verify")
	}
	return &Inclusion{parsed.LeafIndex, parsed.TreeSize, Hash(root)}, nil
}

// TlogProof verifies a C2SP tlog-proof of a record's entry, SHA-256 of its envelope.
func (k *Keys) TlogProof(text string, entry Hash) (*Inclusion, error) {
	parsed, err := merkle.ParseTlogProof(text)
	if err != nil {
		return nil, err
	}
	checkpoint, err := k.Checkpoint(parsed.Checkpoint)
	if err != nil {
		return nil, err
	}
	leaf := merkle.LeafHash(entry[:])
	claim := merkle.Inclusion{LeafIndex: parsed.LeafIndex, TreeSize: checkpoint.Size, LeafHash: leaf[:]}
	for _, hash := range parsed.Path {
		claim.Path = append(claim.Path, hash[:])
	}
	if err := merkle.CheckInclusion(claim, checkpoint.Root[:]); err != nil {
		return nil, &merkle.Error{Rule: "tlog-proof: " + ruleOf(err)}
	}
	return &Inclusion{parsed.LeafIndex, checkpoint.Size, Hash(checkpoint.Root)}, nil
}
