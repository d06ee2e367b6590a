package record

import (
	"fmt"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"

	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/spelling"
)

const (
	entriesMax            = cbor.EntriesMax
	witnessesMax          = attestationsMax
	mldsa44KeyBytes       = 1312
	mldsa44               = "ML-DSA-44"
	attributesMax         = 64
	attributeNameBytesMax = 64
	attributeBytesMax     = 512
	modelEntriesMax       = 1024
)

// Principal says what a principal's record says.
type Principal struct {
	PublicKeys [][]byte
	Level      string
	Tenant     string
	// IsActive is false once revoked.
	IsActive bool
	// ID is "" where the record's id holds it. In a tenant's own record it is without the tenant.
	ID string
	// Owner is "" where none is named.
	Owner string
}

var (
	principalKeys = words("public_keys loa tenant active")
	witnessKeys   = words("public_key owner authority description")
)

func (f fields) principal() Principal {
	keys := list(f, "public_keys", entriesMax, keyItem)
	distinct(f, "public_keys", keyNames(keys), "must be distinct")
	tenant := f.tenant("tenant")
	return Principal{
		PublicKeys: keys,
		Level:      f.oneOf("loa", Levels...),
		Tenant:     tenant,
		IsActive:   f.boolean("active"),
	}
}

func (r *reading) principal1(value any) Principal {
	return r.mapOf(value, true, payloadPath, principalKeys).principal()
}

func (r *reading) principal2(value any) Principal {
	f := r.mapOf(value, true, payloadPath, principalKeys, "id", "attributes", "owner")
	principal := f.principal()
	if f.m.Has("id") {
		principal.ID = f.canonicalName("id")
	}
	if f.m.Has("attributes") {
		f.attributes("attributes")
	}
	if f.m.Has("owner") {
		principal.Owner = f.canonicalName("owner")
	}
	return principal
}

func (f fields) canonicalName(name string) string {
	text := f.anyText(name)
	form, err := spelling.Subject(text, "")
	switch {
	case err != nil:
		f.no(name, err.Error())
	case form != text:
		f.no(name, "must be spelled "+form)
	}
	return text
}

func attributeText(item fields) string {
	text := textItem(item)
	if len(text) > attributeBytesMax {
		item.no("", fmt.Sprintf("must be at most %d bytes", attributeBytesMax))
	}
	return text
}

func (f fields) attributes(name string) {
	attributes := table(f, name, func(entries fields, key string) struct{} {
		if key == "" || len(key) > attributeNameBytesMax {
			entries.no(key, fmt.Sprintf("must have a name of 1 to %d bytes", attributeNameBytesMax))
		}
		switch value := entries.get(key).(type) {
		case bool:
		case string:
			attributeText(fields{f.reading, entries.at(key), cbor.Map{{Key: itemKey, Value: value}}})
		case []any:
			distinct(entries, key, list(entries, key, attributesMax, attributeText), "must be distinct")
		default:
			if _, isNumber := asNumber(value); !isNumber {
				entries.no(key, "must be text, a number, true, false or a list of texts")
			}
		}
		return struct{}{}
	})
	if len(attributes) < 1 || len(attributes) > attributesMax {
		f.no(name, fmt.Sprintf("must have 1 to %d entries, or be left out", attributesMax))
	}
}

// Witness is what a witness's record says.
type Witness struct {
	PublicKey   []byte
	Owner       string
	Authority   string
	Description string
}

func (f fields) publicKey(name string) []byte {
	key := f.bytes(name)
	if len(key) != ed25519KeyBytes {
		f.no(name, "must be 32 bytes")
	}
	return key
}

func (f fields) witness() Witness {
	return Witness{f.publicKey("public_key"), f.anyText("owner"), f.anyText("authority"), f.anyText("description")}
}

func (r *reading) witnessPayload(value any) Witness {
	return r.mapOf(value, true, payloadPath, witnessKeys).witness()
}

// OwnerName is how owners are compared: without case and outer spaces.
func OwnerName(owner string) string {
	// Full case mapping, as every other implementation has it: Go's own lower case knows no final sigma.
	return cases.Lower(language.Und).String(strings.TrimFunc(owner, isTrimmed))
}

// isTrimmed is what is a space around a name: white space and line ends of Unicode, and a byte order mark.
func isTrimmed(character rune) bool {
	switch character {
	case '\t', '\n', '\v', '\f', '\r', ' ', '\u00a0', '\u1680', '\u2028', '\u2029', '\u202f', '\u205f', '\u3000', '\ufeff':
		return true
	default:
		return character >= '\u2000' && character <= '\u200a'
	}
}

// Quorum is what the registry's record says.
type Quorum struct {
	K         uint64
	Witnesses []string
	// Epoch is the version of the registry.
	Epoch uint64
	// ProposerMayAttest says whether a witness may attest what it proposed itself.
	ProposerMayAttest bool
}

func (f fields) k(witnesses int) uint64 {
	k := f.uintFrom1("k")
	if k > uint64(witnesses) {
		f.no("k", fmt.Sprintf("must not exceed the %d witnesses", witnesses))
	}
	return k
}

func (r *reading) quorum(value any) Quorum {
	const mayAttest = "proposer_may_attest"
	f := r.payload(value, "k witnesses epoch", mayAttest)
	says := f.m.Has(mayAttest)
	if says && f.get(mayAttest) != true {
		f.no(mayAttest, "must be true or left out")
	}
	witnesses := list(f, "witnesses", witnessesMax, textItem)
	distinct(f, "witnesses", witnesses, "must be distinct")
	return Quorum{f.k(len(witnesses)), witnesses, f.uint("epoch"), says}
}

// Roles of signing keys.
const (
	RecordRole            = "record"
	CheckpointRole        = "checkpoint"
	CheckpointMldsa44Role = "checkpoint_mldsa44"
)

// SigningKey is what an announcement or a retirement of a key says. From is `valid_from` of the one and `from` of the
// other: the first position that the key may sign, or may no longer sign.
type SigningKey struct {
	Role      string
	PublicKey []byte
	From      uint64
}

// roleKey reads version 1, which has no algorithm and means Ed25519, or version 2, for what 1 cannot say.
func (r *reading) roleKey(value any, version int, number string) SigningKey {
	if version == 1 {
		f := r.payload(value, "role public_key "+number)
		return SigningKey{f.oneOf("role", RecordRole, CheckpointRole), f.publicKey("public_key"), f.uint64(number)}
	}
	f := r.payload(value, "role algorithm public_key "+number)
	role := f.oneOf("role", CheckpointMldsa44Role)
	f.oneOf("algorithm", mldsa44)
	key := f.bytes("public_key")
	if len(key) != mldsa44KeyBytes {
		f.no("public_key", "must be 1,312 bytes")
	}
	return SigningKey{role, key, f.uint64(number)}
}

func signingKey(version int) func(r *reading, value any) {
	return func(r *reading, value any) { r.roleKey(value, version, "valid_from") }
}

func keyRetirement(version int) func(r *reading, value any) {
	return func(r *reading, value any) { r.roleKey(value, version, "from") }
}

// NamedWitness is a witness of genesis.
type NamedWitness struct {
	ID string
	Witness
}

// Genesis is what the record at position 0 says.
type Genesis struct {
	Origin    string
	RootID    string
	Root      Principal
	Witnesses []NamedWitness
	K         uint64
	Model     TrustModel
	// RecordKey and CheckpointKey are the first signing keys.
	RecordKey     []byte
	CheckpointKey []byte
}

func (r *reading) genesis(value any) Genesis {
	f := r.payload(value, "format origin root witnesses k model keys")
	if f.get("format") != int64(1) {
		f.no("format", "must be 1")
	}
	root := f.inner("root", append(words("id"), principalKeys...))
	keys := f.inner("keys", words("record checkpoint"))
	witnesses := list(f, "witnesses", witnessesMax, func(item fields) NamedWitness {
		witness := item.itemMap(append(words("id"), witnessKeys...))
		witness.text("owner")
		return NamedWitness{witness.recordID("id", witness.text("id")), witness.witness()}
	})
	genesis := Genesis{
		Witnesses:     witnesses,
		RecordKey:     keys.publicKey("record"),
		CheckpointKey: keys.publicKey("checkpoint"),
	}
	ids, owners := []string{}, []string{}
	signers := [][]byte{genesis.RecordKey, genesis.CheckpointKey}
	for _, witness := range witnesses {
		ids, owners = append(ids, witness.ID), append(owners, OwnerName(witness.Owner))
		signers = append(signers, witness.PublicKey)
	}
	distinct(f, "witnesses", ids, "must have distinct ids")
	// Otherwise the operator could attest for itself.
	distinct(f, "witnesses", keyNames(signers), "and signing keys must all be distinct keys")
	// Two witnesses of one owner would not be independent.
	distinct(f, "witnesses", owners, "must have distinct owners")
	genesis.Origin = f.text("origin")
	genesis.RootID = root.recordID("id", root.text("id"))
	genesis.Root = root.principal()
	genesis.K = f.k(len(witnesses))
	genesis.Model = r.model(f.get("model"), f.at("model"))
	return genesis
}

// Band is the scores, or the logits, for which the verdict is review.
type Band struct{ Low, High float64 }

// band is null or a map.
func (f fields) band(name string) *Band {
	if f.isNull(name) {
		return nil
	}
	band := f.inner(name, words("low high"))
	read := Band{band.share("low"), band.share("high")}
	if read.Low > read.High {
		band.no("low", "must not exceed high")
	}
	return &read
}

// ActionRule is a model's row for an action.
type ActionRule struct {
	Risk     float64
	MinLevel string
}

// TrustModel is what a model's record says, as far as any model of any version must.
type TrustModel struct {
	Bias      float64
	Weights   Table[float64]
	Threshold float64
	Review    *Band
	Actions   Table[ActionRule]
	Targets   Table[float64]
	WindowMs  uint64
	RateLimit uint64
}

func (r *reading) modelPayload(value any) TrustModel { return r.model(value, payloadPath) }

func (r *reading) model(value any, path string) TrustModel {
	f := r.mapOf(value, true, path, words("bias weights threshold review actions targets rate"))
	rate := f.inner("rate", words("window_ms limit"))
	model := TrustModel{Threshold: f.number("threshold")}
	if model.Threshold <= 0 || model.Threshold >= 1 {
		f.no("threshold", "must lie inside (0, 1)")
	}
	model.Bias = f.number("bias")
	model.Weights = f.numbers("weights")
	model.Review = f.band("review")
	model.Actions = table(f, "actions", func(entries fields, glob string) ActionRule {
		row := entries.inner(glob, words("risk min_loa"))
		return ActionRule{row.share("risk"), row.oneOf("min_loa", Levels...)}
	})
	if len(model.Actions) > modelEntriesMax {
		f.no("actions", fmt.Sprintf("must have at most %d entries", modelEntriesMax))
	}
	model.Targets = table(f, "targets", fields.share)
	if len(model.Targets) > modelEntriesMax {
		f.no("targets", fmt.Sprintf("must have at most %d entries", modelEntriesMax))
	}
	model.WindowMs = rate.uintFrom1("window_ms")
	model.RateLimit = rate.uintFrom1("limit")
	return model
}

// parse runs a reading of a payload that may be read on its own.
func parse[Payload any](value any, read func(r *reading, value any) Payload) (Payload, error) {
	r := &reading{}
	payload := read(r, value)
	if r.fault != nil {
		var none Payload
		return none, r.fault
	}
	return payload, nil
}

// ParseGenesis reads the payload of a genesis record.
func ParseGenesis(payload any) (Genesis, error) { return parse(payload, (*reading).genesis) }

// ParseQuorum reads the payload of a registry's record.
func ParseQuorum(payload any) (Quorum, error) { return parse(payload, (*reading).quorum) }

// ParseWitness reads the payload of a witness's record.
func ParseWitness(payload any) (Witness, error) { return parse(payload, (*reading).witnessPayload) }

// ParseTrustModel reads the payload of a model's record.
func ParseTrustModel(payload any) (TrustModel, error) { return parse(payload, (*reading).modelPayload) }

// ParseProposal reads the payload of a proposal's record.
func ParseProposal(payload any) (Proposal, error) { return parse(payload, (*reading).proposal) }

// ParseCallerHead reads the payload of a caller's head.
func ParseCallerHead(payload any) (CallerHead, error) { return parse(payload, (*reading).callerHead) }

// ParsePrincipal reads the payload of a principal's record of that version.
func ParsePrincipal(payload any, version int) (Principal, error) {
	if version == 1 {
		return parse(payload, (*reading).principal1)
	}
	return parse(payload, (*reading).principal2)
}

// ParseSigningKey reads the payload of a `signing_key` record of that version.
func ParseSigningKey(payload any, version int) (SigningKey, error) {
	return parse(payload, func(r *reading, value any) SigningKey { return r.roleKey(value, version, "valid_from") })
}

// ParseKeyRetirement reads the payload of a `key_retirement` record of that version.
func ParseKeyRetirement(payload any, version int) (SigningKey, error) {
	return parse(payload, func(r *reading, value any) SigningKey { return r.roleKey(value, version, "from") })
}

// IsEnrolledAs says whether a record with this id and payload is that of the principal with this canonical id.
func IsEnrolledAs(name, recordID string, principal Principal) bool {
	if recordID == "principal/"+name {
		return principal.ID == ""
	}
	return principal.ID == name && name != ""
}
