package verify

import (
	"errors"
	"fmt"

	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/cose"
	"sigil.example/go/verify/internal/sig"
	"sigil.example/go/verify/keys"
	"sigil.example/go/verify/merkle"
	"sigil.example/go/verify/record"
)

// StoredRecord is a record as a ledger holds it: its position, and the envelope.
type StoredRecord struct {
	Position uint64
	Envelope []byte
}

// ruleOf is the rule within a format's error, without the words around it.
func ruleOf(err error) string {
	var (
		coseError   *cose.Error
		merkleError *merkle.Error
		proofError  *merkle.ProofError
		keyError    *keys.Error
		fieldError  *record.Error
		notVerified *NotVerified
	)
	decodeError, isDecode := cbor.AsDecodeError(err)
	switch {
	case isDecode:
		return string(decodeError.Rule)
	case errors.As(err, &coseError):
		return coseError.Rule
	case errors.As(err, &merkleError):
		return merkleError.Rule
	case errors.As(err, &proofError):
		return proofError.Rule
	case errors.As(err, &keyError):
		return keyError.Rule
	case errors.As(err, &fieldError):
		return fieldError.Field + " " + fieldError.Rule
	case errors.As(err, &notVerified):
		return notVerified.Rule
	default:
		return err.Error()
	}
}

// opened is a record that is parsed and not verified.
type opened struct {
	StoredRecord
	statement    *cose.Statement
	attestations [][]byte
	// hash is the body's, by which links, indexes and decisions name the record.
	hash Hash
	path [][]byte
}

func open(stored StoredRecord, path [][]byte) (opened, error) {
	at := func(err error) (opened, error) { return opened{}, refusedAt(stored.Position, "envelope", err) }
	envelope, err := record.DecodeEnvelope(stored.Envelope)
	if err != nil {
		return at(err)
	}
	statement, err := cose.ParseStatement(envelope.Statement)
	if err != nil {
		return at(err)
	}
	if statement.ContentType != cose.RecordContentType {
		return at(errors.New("the statement is not over a record"))
	}
	return opened{stored, statement, envelope.Attestations, Hash(record.HashOf(statement.Payload)), path}, nil
}

// requireSignature wants a signature by the record key that the ring gives for the position.
func (o *opened) requireSignature(ring keys.Ring) (keys.Key, error) {
	signer, err := ring.Signer(keys.RecordRole, o.statement.Kid, o.Position)
	if err != nil {
		return keys.Key{}, refusedAt(o.Position, "key", err)
	}
	if !sig.Verify(signer.PublicKey, o.statement.ToBeSigned(), o.statement.Signature[:]) {
		return keys.Key{}, refusedAt(o.Position, "signature", errors.New("the Ed25519 signature does not verify"))
	}
	return signer, nil
}

// read reads the body, and compares it with the signed header and with the origin, if one is known.
func (o *opened) read(origin string) (*record.Body, error) {
	body, err := record.DecodeBody(o.statement.Payload)
	switch {
	case err != nil:
		return nil, refusedAt(o.Position, "schema", err)
	case origin != "" && o.statement.Origin != origin:
		return nil, refusedAt(o.Position, "schema", errors.New("the statement names another origin"))
	case o.statement.Subject != body.Subject():
		return nil, refusedAt(o.Position, "schema", errors.New("the statement's subject is not the record's"))
	default:
		return body, nil
	}
}

func (o *opened) found(origin string) (Found, error) {
	body, err := o.read(origin)
	return Found{o.Position, o.hash, body, o.attestations}, err
}

// requireInclusion wants the path to lead from the record's leaf at its position to the checkpoint's root.
func (o *opened) requireInclusion(checkpoint *merkle.Checkpoint) error {
	entry := record.EntryOf(o.Envelope)
	leaf := merkle.LeafHash(entry[:])
	claim := merkle.Inclusion{LeafIndex: o.Position, TreeSize: checkpoint.Size, LeafHash: leaf[:], Path: o.path}
	if err := merkle.CheckInclusion(claim, checkpoint.Root[:]); err != nil {
		return refusedAt(o.Position, "inclusion", err)
	}
	return nil
}

// walk is the ring from genesis on, as far as records were followed.
type walk struct {
	ring keys.Ring
	// origin is the statement's, genesisOrigin the payload's.
	origin, genesisOrigin string
	position              uint64
}

// beginWalk takes the first record. Without an expected hash it is compared with nothing.
func beginWalk(expected *Hash, records []opened) (*walk, error) {
	if len(records) == 0 || records[0].Position != 0 {
		return nil, refused("the genesis record is missing")
	}
	first := records[0]
	if expected != nil && first.hash != *expected {
		return nil, refusedAt(0, "genesis", fmt.Errorf("the genesis record is not the expected %s", *expected))
	}
	body, err := first.read("")
	if err != nil {
		return nil, err
	}
	if body.Kind != "genesis" {
		return nil, refusedAt(0, "schema", fmt.Errorf("a %s record begins no ledger", body.Kind))
	}
	genesis, err := record.ParseGenesis(body.Payload)
	if err != nil {
		return nil, refusedAt(0, "schema", err)
	}
	ring, err := keys.OfGenesis(genesis)
	if err != nil {
		return nil, refusedAt(0, "schema", err)
	}
	if _, err := first.requireSignature(ring); err != nil {
		return nil, err
	}
	return &walk{ring: ring, origin: first.statement.Origin, genesisOrigin: genesis.Origin}, nil
}

// follow applies the records about keys that come after it, in ledger order.
func (w *walk) follow(records []opened) error {
	for _, each := range records {
		if each.Position <= w.position {
			return refusedAt(each.Position, "sequence", errors.New("the records are not in ledger order"))
		}
		w.position = each.Position
		if _, err := each.requireSignature(w.ring); err != nil {
			return err
		}
		body, err := each.read(w.origin)
		if err != nil {
			return err
		}
		ring, err := w.ring.Apply(each.Position, body)
		if err != nil {
			return refusedAt(each.Position, "schema", err)
		}
		w.ring = ring
	}
	return nil
}
