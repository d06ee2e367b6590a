// Package keys derives which key may sign what, at which position, from a ledger's own records. A key that a record
// names is only a hint. Pure. Source: docs/spec/keys.md.
package keys

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"

	"sigil.example/go/verify/cose"
	"sigil.example/go/verify/record"
)

// Roles, as records have them.
const (
	RecordRole            = record.RecordRole
	CheckpointRole        = record.CheckpointRole
	CheckpointMldsa44Role = record.CheckpointMldsa44Role
)

// Error is the rule that a key breaks.
type Error struct{ Rule string }

func (e *Error) Error() string { return "malformed key: " + e.Rule }

func refuse(format string, parts ...any) error { return &Error{fmt.Sprintf(format, parts...)} }

// Key is a key of the ring.
type Key struct {
	Role       string
	PublicKey  []byte
	Thumbprint [32]byte
	// ValidFrom is the first position that it may sign.
	ValidFrom uint64
	// ValidTo is the last one; nil while it is the role's newest.
	ValidTo *uint64
	// RetiredFrom is from where on its signatures count for nothing; nil unless it was retired.
	RetiredFrom *uint64
}

// State is "active", "ended" for one that has a successor, or "retired".
func (k Key) State() string {
	switch {
	case k.RetiredFrom != nil:
		return "retired"
	case k.ValidTo == nil:
		return "active"
	default:
		return "ended"
	}
}

// Ring is the keys of a deployment, oldest first. The zero value has none, and trusts no signature.
type Ring struct{ entries []Key }

// Keys gives copies of the keys.
func (r Ring) Keys() []Key { return slices.Clone(r.entries) }

func thumbprintOf(role string, publicKey []byte) [32]byte {
	if role == CheckpointMldsa44Role {
		return cose.Mldsa44Thumbprint(publicKey)
	}
	return cose.Thumbprint(publicKey)
}

// OfGenesis is the ring after the genesis record.
func OfGenesis(genesis record.Genesis) (Ring, error) {
	ring, err := Ring{}.add(RecordRole, genesis.RecordKey, 0)
	if err != nil {
		return Ring{}, err
	}
	return ring.add(CheckpointRole, genesis.CheckpointKey, 0)
}

func (r Ring) newest(role string) *Key {
	for index := range slices.Backward(r.entries) {
		if r.entries[index].Role == role {
			return &r.entries[index]
		}
	}
	return nil
}

// add gives a new ring: the role's key before it ends one position before its first.
func (r Ring) add(role string, publicKey []byte, validFrom uint64) (Ring, error) {
	thumbprint := thumbprintOf(role, publicKey)
	entries := slices.Clone(r.entries)
	for _, entry := range entries {
		if entry.Thumbprint == thumbprint {
			return Ring{}, refuse("is already in the key ring: a key serves one role, once")
		}
	}
	next := Ring{entries}
	if before := next.newest(role); before != nil {
		if validFrom <= before.ValidFrom {
			return Ring{}, refuse("must be valid from a position after %d", before.ValidFrom)
		}
		last := validFrom - 1
		before.ValidTo = &last
	}
	added := Key{Role: role, PublicKey: slices.Clone(publicKey), Thumbprint: thumbprint, ValidFrom: validFrom}
	next.entries = append(next.entries, added)
	return next, nil
}

// retire limits trust in a key to positions below from: the ledger's order proves which signatures are earlier.
func (r Ring) retire(retired record.SigningKey) (Ring, error) {
	entries := slices.Clone(r.entries)
	at := slices.IndexFunc(entries, func(each Key) bool { return bytes.Equal(each.PublicKey, retired.PublicKey) })
	if at < 0 {
		return Ring{}, refuse("is not in the key ring")
	}
	entry := &entries[at]
	switch from := retired.From; {
	case entry.Role != retired.Role:
		return Ring{}, refuse("is a %s key, not a %s key", entry.Role, retired.Role)
	case entry.ValidTo == nil:
		return Ring{}, refuse("is in use: a key is retired after its successor was announced")
	case from <= entry.ValidFrom:
		return Ring{}, refuse("can be retired from a position after %d, where it began", entry.ValidFrom)
	case entry.RetiredFrom != nil && from >= *entry.RetiredFrom:
		return Ring{}, refuse("is retired from position %d already", *entry.RetiredFrom)
	default:
		last := min(*entry.ValidTo, from-1)
		entry.ValidTo, entry.RetiredFrom = &last, &from
		return Ring{entries}, nil
	}
}

// IsKeyRecord says whether a record changes the ring for later records.
func IsKeyRecord(body *record.Body) bool {
	return body.Space == record.SystemSpace && (body.Kind == "signing_key" || body.Kind == "key_retirement")
}

// Apply is the ring after a verified record about keys at that position.
func (r Ring) Apply(position uint64, body *record.Body) (Ring, error) {
	if !IsKeyRecord(body) {
		return Ring{}, refuse("a %s record says nothing about keys", body.Kind)
	}
	if body.Kind == "signing_key" {
		return r.announce(position, body)
	}
	retirement, err := record.ParseKeyRetirement(body.Payload, body.SchemaVersion)
	if err != nil {
		return Ring{}, err
	}
	thumbprint := thumbprintOf(retirement.Role, retirement.PublicKey)
	id := "key_retirement/" + base64.RawURLEncoding.EncodeToString(thumbprint[:])
	if body.ID != id {
		return Ring{}, &record.Error{Field: "id", Rule: "must be " + id + ", after the key's thumbprint"}
	}
	if retirement.From > position {
		return Ring{}, &record.Error{Field: "payload.from", Rule: "must not lie past the record's position"}
	}
	return r.retire(retirement)
}

func (r Ring) announce(position uint64, body *record.Body) (Ring, error) {
	announced, err := record.ParseSigningKey(body.Payload, body.SchemaVersion)
	if err != nil {
		return Ring{}, err
	}
	serial := 1
	for _, entry := range r.entries {
		if entry.Role == announced.Role {
			serial++
		}
	}
	id := fmt.Sprintf("signing_key/%s/%d", announced.Role, serial)
	switch {
	case body.ID != id:
		return Ring{}, &record.Error{Field: "id", Rule: "must be " + id + ", the role's next key"}
	case body.Prev != nil:
		return Ring{}, &record.Error{Field: "prev", Rule: "must be null: a key is announced once"}
	case announced.From == 0 || announced.From-1 != position:
		return Ring{}, &record.Error{Field: "payload.valid_from", Rule: "must be the position after the record's"}
	}
	return r.add(announced.Role, announced.PublicKey, announced.From)
}

// Signer is the key of that thumbprint, if it may sign for the role at the position.
func (r Ring) Signer(role string, kid [32]byte, position uint64) (Key, error) {
	at := slices.IndexFunc(r.entries, func(each Key) bool { return each.Thumbprint == kid })
	if at < 0 {
		return Key{}, refuse("signed by a key outside the key ring")
	}
	switch entry := r.entries[at]; {
	case entry.Role != role:
		return Key{}, refuse("signed by a %s key, needs a %s key", entry.Role, role)
	case position < entry.ValidFrom:
		return Key{}, refuse("signed by a key that is valid from position %d", entry.ValidFrom)
	case entry.ValidTo != nil && position > *entry.ValidTo:
		return Key{}, refuse("signed by a key that was valid up to position %d", *entry.ValidTo)
	default:
		return entry, nil
	}
}

// holder is the role's key that signed at a position, whether or not it was retired later.
func (r Ring) holder(role string, position uint64) *Key {
	for index := range slices.Backward(r.entries) {
		if entry := &r.entries[index]; entry.Role == role && entry.ValidFrom <= position {
			return entry
		}
	}
	return nil
}

// CheckpointKeys are whose signatures a checkpoint of that size bears: by the first it is signed, by the second,
// which may be nil, it may be as well. A retired ML-DSA-44 key is left out, and its line with it.
func (r Ring) CheckpointKeys(size uint64) (ed25519Key, mldsa44Key []byte, err error) {
	position := size
	if position > 0 {
		position--
	}
	holder := r.holder(CheckpointRole, position)
	if holder == nil {
		return nil, nil, refuse("no key signs checkpoints of size %d", size)
	}
	trusted, err := r.Signer(CheckpointRole, holder.Thumbprint, position)
	if err != nil {
		return nil, nil, refuse("the checkpoint of size %d is %s", size, err.(*Error).Rule)
	}
	if beside := r.holder(CheckpointMldsa44Role, position); beside != nil {
		if also, err := r.Signer(CheckpointMldsa44Role, beside.Thumbprint, position); err == nil {
			mldsa44Key = also.PublicKey
		}
	}
	return trusted.PublicKey, mldsa44Key, nil
}
