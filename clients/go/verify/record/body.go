package record

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/cose"
	"sigil.example/go/verify/spelling"
)

// Limits of a body and of an envelope.
const (
	kindBytesMax     = 255
	labelBytesMax    = 255
	tenantBytesMax   = 63
	linksMax         = 64
	attestationsMax  = 64
	schemaVersionMax = 65535
	ed25519KeyBytes  = 32
)

// SystemTenant is the tenant of every record in the system space.
const SystemTenant = "system"

// Spaces.
const (
	UserSpace   = "user"
	SystemSpace = "system"
)

// Levels of access, lowest first.
var Levels = []string{"guest", "observer", "operator", "mentor", "root"}

// Link names another record by its hash.
type Link struct {
	Label  string
	Target Hash
}

// Body is a record's body. Payload is the decoded value, checked against its kind's schema.
type Body struct {
	Kind          string
	SchemaVersion int
	ID            string
	Tenant        string
	// TimeMs is in milliseconds since 1970-01-01T00:00:00Z.
	TimeMs  int64
	Space   string
	Payload any
	Links   []Link
	// Prev is the hash of the version before this one; nil if there is none.
	Prev *Hash
}

// Subject is what the statement over the body must have as its subject.
func (b *Body) Subject() string { return b.Tenant + "/" + b.Space + "/" + b.ID }

// LinkTo is the hash that the record links to under a label.
func (b *Body) LinkTo(label string) (Hash, bool) {
	for _, link := range b.Links {
		if link.Label == label {
			return link.Target, true
		}
	}
	return Hash{}, false
}

// HashOf is a record's hash: SHA-256 of its body's bytes.
func HashOf(body []byte) Hash { return sha256.Sum256(body) }

func tenantFault(tenant string) string {
	if tenant == "" || len(tenant) > tenantBytesMax {
		return fmt.Sprintf("must be 1 to %d bytes", tenantBytesMax)
	}
	for _, octet := range []byte(tenant) {
		if (octet < 'a' || octet > 'z') && (octet < '0' || octet > '9') && octet != '-' {
			return "may hold only a-z, 0-9 and -"
		}
	}
	return ""
}

// recordID is text that is an id by docs/spec/record.md §2.
func (f fields) recordID(name string, id string) string {
	if err := spelling.RecordIDFault(id); err != nil {
		f.no(name, err.Error())
	}
	return id
}

func (f fields) tenant(name string) string {
	tenant := f.anyText(name)
	if fault := tenantFault(tenant); fault != "" {
		f.no(name, fault)
	}
	return tenant
}

var (
	bodyKeys = words("kind schema_version id tenant ts space payload links prev")
	linkKeys = words("label target")
)

func (r *reading) body(value any) Body {
	f := r.anyMap(value, true, "body")
	if r.fault == nil {
		f = r.mapOf(value, true, "", bodyKeys)
	}
	body := Body{
		ID:     f.recordID("id", f.anyText("id")),
		Tenant: f.tenant("tenant"),
		Space:  f.oneOf("space", UserSpace, SystemSpace),
	}
	if body.Space == SystemSpace && body.Tenant != SystemTenant {
		f.no("tenant", "must be "+SystemTenant+" in the system space")
	}
	body.Kind = f.shortText("kind", kindBytesMax)
	body.SchemaVersion = int(f.uintWithin("schema_version", 1, schemaVersionMax))
	body.TimeMs = int64(f.uint("ts"))
	body.Payload = f.get("payload")
	body.Links = list(f, "links", linksMax, func(item fields) Link {
		link := item.itemMap(linkKeys)
		return Link{link.shortText("label", labelBytesMax), link.hash("target")}
	})
	body.Prev = f.hashOrNull("prev")
	return body
}

// DecodeBody decodes a body and checks it, its payload included. Errors are a *cbor.DecodeError or an *Error.
func DecodeBody(input []byte) (*Body, error) {
	value, err := cbor.Decode(input)
	if err != nil {
		return nil, err
	}
	r := &reading{}
	body := r.body(value)
	if r.fault == nil {
		r.checkPayload(&body)
	}
	if r.fault != nil {
		return nil, r.fault
	}
	return &body, nil
}

// EncodeBody encodes a body that DecodeBody takes, or none.
func EncodeBody(body *Body) ([]byte, error) {
	links := make([]any, 0, len(body.Links))
	for _, link := range body.Links {
		links = append(links, cbor.Map{{Key: "label", Value: link.Label}, {Key: "target", Value: link.Target[:]}})
	}
	var prev any
	if body.Prev != nil {
		prev = body.Prev[:]
	}
	encoded, err := cbor.Encode(cbor.Map{
		{Key: "kind", Value: body.Kind},
		{Key: "schema_version", Value: body.SchemaVersion},
		{Key: "id", Value: body.ID},
		{Key: "tenant", Value: body.Tenant},
		{Key: "ts", Value: body.TimeMs},
		{Key: "space", Value: body.Space},
		{Key: "payload", Value: body.Payload},
		{Key: "links", Value: links},
		{Key: "prev", Value: prev},
	})
	if err != nil {
		return nil, err
	}
	if _, err := DecodeBody(encoded); err != nil {
		return nil, err
	}
	return encoded, nil
}

// ParseStatement parses a record's statement and its body, and checks that header and body agree.
func ParseStatement(input []byte) (*cose.Statement, *Body, error) {
	statement, err := cose.ParseStatement(input)
	if err != nil {
		return nil, nil, err
	}
	if statement.ContentType != cose.RecordContentType {
		return nil, nil, &Error{"statement.content_type", "must be " + cose.RecordContentType}
	}
	body, err := DecodeBody(statement.Payload)
	if err != nil {
		return nil, nil, err
	}
	if statement.Subject != body.Subject() {
		return nil, nil, &Error{"statement.subject", "must be <tenant>/<space>/<id> of the body"}
	}
	return statement, body, nil
}

// Envelope is what is stored: the signed record, and statements of witnesses over the same body.
type Envelope struct {
	Statement    []byte
	Attestations [][]byte
}

// EntryOf is the ledger's entry of an envelope.
func EntryOf(envelope []byte) Hash { return sha256.Sum256(envelope) }

// DecodeEnvelope splits an envelope, and parses none of its parts.
func DecodeEnvelope(input []byte) (*Envelope, error) {
	value, err := cbor.Decode(input)
	if err != nil {
		return nil, err
	}
	parts, _ := value.([]any)
	if len(parts) != 2 {
		return nil, &Error{"envelope", "must be an array of two"}
	}
	statement, ok := parts[0].([]byte)
	if !ok {
		return nil, &Error{"statement", "must be a byte string"}
	}
	r := &reading{}
	both := fields{r, "", cbor.Map{{Key: "attestations", Value: parts[1]}}}
	attestations := list(both, "attestations", attestationsMax, func(item fields) []byte {
		statement, ok := item.get(itemKey).([]byte)
		if !ok {
			item.no("", "must be a byte string")
		}
		return statement
	})
	if r.fault != nil {
		return nil, r.fault
	}
	return &Envelope{statement, attestations}, nil
}

// Encode writes the envelope.
func (e *Envelope) Encode() ([]byte, error) {
	if len(e.Attestations) > attestationsMax {
		return nil, &Error{"attestations", fmt.Sprintf("must have at most %d items", attestationsMax)}
	}
	attestations := make([]any, 0, len(e.Attestations))
	for _, statement := range e.Attestations {
		attestations = append(attestations, slices.Clone(statement))
	}
	return cbor.Encode([]any{e.Statement, attestations})
}

// Attestation is what a witness signs about a proposal.
type Attestation struct {
	// Proposal is the proposal's id; also the subject of the statement.
	Proposal string
	// Record is the hash of the body that would be committed.
	Record Hash
	// Epoch is the version of the witness registry.
	Epoch uint64
	// Verdict is "approve" or "reject".
	Verdict string
}

// DecodeAttestation decodes the payload of an attestation.
func DecodeAttestation(input []byte) (*Attestation, error) {
	value, err := cbor.Decode(input)
	if err != nil {
		return nil, err
	}
	r := &reading{}
	f := r.mapOf(value, true, "attestation", words("proposal record epoch verdict"))
	attestation := &Attestation{
		Proposal: f.recordID("proposal", f.text("proposal")),
		Record:   f.hash("record"),
		Epoch:    f.uint("epoch"),
		Verdict:  f.oneOf("verdict", "approve", "reject"),
	}
	if r.fault != nil {
		return nil, r.fault
	}
	return attestation, nil
}

// Encode writes the payload. DecodeAttestation takes it, or there is none.
func (a *Attestation) Encode() ([]byte, error) {
	encoded, err := cbor.Encode(cbor.Map{
		{Key: "proposal", Value: a.Proposal},
		{Key: "record", Value: a.Record[:]},
		{Key: "epoch", Value: a.Epoch},
		{Key: "verdict", Value: a.Verdict},
	})
	if err != nil {
		return nil, err
	}
	if _, err := DecodeAttestation(encoded); err != nil {
		return nil, err
	}
	return encoded, nil
}
