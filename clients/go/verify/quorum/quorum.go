// Package quorum counts offline whether a committed record carries the approvals that its registry asks for. Pure.
// Source: docs/spec/quorum.md §4 and §8. At most 64 attestations, and one signature for each.
//
// Two facts cannot be verified offline: when each attestation was received, and which keys the proposer held at the
// time.
package quorum

import (
	"bytes"
	"crypto/sha256"

	"sigil.example/go/verify/cose"
	"sigil.example/go/verify/internal/sig"
	"sigil.example/go/verify/record"
)

// Witness is an enrolled one.
type Witness struct {
	ID        string
	PublicKey []byte
	Owner     string
	// EnrolledAt is the position of the record that made the key valid.
	EnrolledAt uint64
}

// Registry is the registry in force at the commit: of a change of the registry, the one before it.
type Registry struct {
	K                 uint64
	Epoch             uint64
	ProposerMayAttest bool
	Witnesses         []Witness
}

// RegistryOf is a registry from what its records say. A witness that the quorum names and that is missing, or is there
// twice, is an error.
func RegistryOf(quorum record.Quorum, witnesses []Witness) (Registry, error) {
	registry := Registry{K: quorum.K, Epoch: quorum.Epoch, ProposerMayAttest: quorum.ProposerMayAttest}
	for _, id := range quorum.Witnesses {
		found := 0
		for _, witness := range witnesses {
			if witness.ID == id {
				found++
				registry.Witnesses = append(registry.Witnesses, witness)
			}
		}
		if found != 1 {
			return Registry{}, &record.Error{Field: "payload.witnesses", Rule: "must each have one record: " + id}
		}
	}
	return registry, nil
}

// Proposal is the one whose attestations the record carries.
type Proposal struct {
	ID       string
	Position uint64
	// Proposer is a principal's id.
	Proposer string
}

// Enrolment is a key that the record enrols, which must have signed too.
type Enrolment struct {
	Witness   string
	PublicKey []byte
}

// Committed is a committed record and what is known of its commit.
type Committed struct {
	// Record is the hash of its body.
	Record [32]byte
	// Attestations are those of its envelope, in their order.
	Attestations [][]byte
	Registry     Registry
	Origin       string
	// Proposal is from the proposal's record. Without it, late enrolment and self-attestation are not noticed.
	Proposal *Proposal
	Enrols   *Enrolment
}

// Refusal is an attestation that does not count, by its index, and the first rule that it breaks.
type Refusal struct {
	Index int
	Rule  string
}

// Possession of a key that is enrolled.
const (
	NotNeeded = "notNeeded"
	Missing   = "missing"
	Given     = "given"
)

// Attested is the count. The zero value reached nothing.
type Attested struct {
	// IsReached is true with k approvals, and with the statement of the key that is enrolled, if one is.
	IsReached bool
	// Proposal is that which the attestations are about; "" if none counts.
	Proposal string
	// AttestedBy are the ids of the witnesses whose approval counts.
	AttestedBy []string
	Possession string
	Refused    []Refusal
}

type count struct {
	Committed
	proposal   string
	counted    []Witness
	digests    map[[32]byte]bool
	possession string
}

// Check counts the record's attestations.
func Check(committed Committed) Attested {
	state := &count{Committed: committed, digests: map[[32]byte]bool{}, possession: NotNeeded}
	if committed.Enrols != nil {
		state.possession = Missing
	}
	if committed.Proposal != nil {
		state.proposal = committed.Proposal.ID
	}
	result := Attested{}
	for index, statement := range committed.Attestations {
		if rule := state.take(statement); rule != "" {
			result.Refused = append(result.Refused, Refusal{index, rule})
		}
	}
	for _, witness := range state.counted {
		result.AttestedBy = append(result.AttestedBy, witness.ID)
	}
	result.Proposal, result.Possession = state.proposal, state.possession
	isEnough := state.hasQuorum() && uint64(len(state.counted)) >= committed.Registry.K
	result.IsReached = isEnough && state.possession != Missing
	return result
}

func (c *count) hasQuorum() bool {
	return c.Registry.K >= 1 && c.Registry.K <= uint64(len(c.Registry.Witnesses))
}

// take counts a statement, or gives the rule that it breaks, in the order of docs/spec/quorum.md §4.
func (c *count) take(input []byte) (rule string) {
	statement, attestation, err := ParseStatement(input)
	if err != nil {
		return err.Error()
	}
	if attestation.Verdict != "approve" {
		return "is a rejection"
	}
	about := c.proposal
	if about == "" {
		about = attestation.Proposal // Who does not know the proposal takes that of the first statement that counts.
	}
	switch {
	case !c.hasQuorum():
		return "the registry in force has no k from 1 to its number of witnesses"
	case statement.Origin != c.Origin:
		return "is for another deployment"
	case attestation.Proposal != about:
		return "is for another proposal"
	case attestation.Record != c.Record:
		return "is for another body than the one proposed"
	case attestation.Epoch != c.Registry.Epoch:
		return "is for another epoch of the registry than the one in force"
	}
	if rule = c.takeSigner(statement, sha256.Sum256(input)); rule == "" {
		c.proposal = about
	}
	return rule
}

const badSignature = "has a signature that does not hold"

func (c *count) takeSigner(statement *cose.Statement, digest [32]byte) (rule string) {
	holds := func(publicKey []byte) bool {
		return sig.Verify(publicKey, statement.ToBeSigned(), statement.Signature[:])
	}
	witness, isEnrolled := c.holderOf(statement.Kid)
	isReplayed := c.digests[digest]
	if isEnrolled {
		if !holds(witness.PublicKey) {
			return badSignature
		}
		if rule = c.barred(witness); rule != "" {
			return rule
		}
		if isReplayed {
			return "was given already, byte for byte"
		}
		if rule = c.taken(witness); rule != "" {
			return rule
		}
		c.counted = append(c.counted, witness)
		c.digests[digest] = true
		return ""
	}
	switch {
	case c.Enrols == nil || cose.Thumbprint(c.Enrols.PublicKey) != statement.Kid:
		return "is by a key that no enrolled witness holds"
	case !holds(c.Enrols.PublicKey):
		return badSignature
	case isReplayed:
		return "was given already, byte for byte"
	case c.possession == Given:
		return "is the second by this witness in this epoch"
	}
	c.possession = Given
	c.digests[digest] = true
	return ""
}

// holderOf is the witness whose key that is. Of two ids with one key, the one that has not attested.
func (c *count) holderOf(kid [32]byte) (holder Witness, found bool) {
	for _, witness := range c.Registry.Witnesses {
		if cose.Thumbprint(witness.PublicKey) != kid {
			continue
		}
		if !found || c.hasCounted(holder.ID) {
			holder = witness
		}
		found = true
	}
	return holder, found
}

func (c *count) hasCounted(id string) bool {
	for _, other := range c.counted {
		if other.ID == id {
			return true
		}
	}
	return false
}

// barred is why a witness may not attest this proposal at all.
func (c *count) barred(witness Witness) (rule string) {
	if c.Proposal == nil {
		return ""
	}
	if witness.EnrolledAt >= c.Proposal.Position {
		return "is by a key that was enrolled after the proposal"
	}
	if c.Registry.ProposerMayAttest {
		return ""
	}
	proposer := record.OwnerName(c.Proposal.Proposer)
	for _, name := range []string{witness.ID, witness.Owner, "witness/" + witness.ID} {
		if proposer != "" && record.OwnerName(name) == proposer {
			return "is by the proposer itself"
		}
	}
	return ""
}

// taken is what a witness shares with one that is counted: two that share a key or an owner count once.
func (c *count) taken(witness Witness) (rule string) {
	rules := map[string]bool{}
	const (
		again = "is the second by this witness in this epoch"
		key   = "is by a key that has attested under another witness id"
		owner = "is by a witness whose owner has attested through another"
	)
	for _, other := range c.counted {
		rules[again] = rules[again] || other.ID == witness.ID
		rules[key] = rules[key] || bytes.Equal(other.PublicKey, witness.PublicKey)
		rules[owner] = rules[owner] || record.OwnerName(other.Owner) == record.OwnerName(witness.Owner)
	}
	for _, rule := range []string{again, key, owner} {
		if rules[rule] {
			return rule
		}
	}
	return ""
}

// ParseStatement parses a witness's statement. It does not verify the signature.
func ParseStatement(input []byte) (*cose.Statement, *record.Attestation, error) {
	statement, err := cose.ParseStatement(input)
	if err != nil {
		return nil, nil, err
	}
	if statement.ContentType != cose.AttestationContentType {
		return nil, nil, &cose.Error{Rule: "content type must be " + cose.AttestationContentType}
	}
	attestation, err := record.DecodeAttestation(statement.Payload)
	if err != nil {
		return nil, nil, err
	}
	if statement.Subject != attestation.Proposal {
		return nil, nil, &cose.Error{Rule: "subject must be the proposal that the payload names"}
	}
	return statement, attestation, nil
}
