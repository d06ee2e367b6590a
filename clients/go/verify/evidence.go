package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigil.example/go/verify/keys"
	"sigil.example/go/verify/merkle"
	"sigil.example/go/verify/model"
	"sigil.example/go/verify/record"
)

// FileSteps are the steps of Evidence, in order. A file is refused by the first that does not hold.
var FileSteps = []string{
	"file", "genesis", "keys", "signature", "record", "disclosures", "inclusion", "checkpoint", "policy", "decision", "trust",
}

// Trust is what a reader has from elsewhere: the hash of the genesis record, or a policy with the log's key, or both.
// The zero value trusts nothing, and nothing verifies by it.
type Trust struct {
	Genesis *Hash
	Policy  *merkle.Policy
}

// FromGenesis trusts the ledger that began with the record of this hash, 64 hexadecimal digits. The hash must come from
// another channel than what is verified.
func FromGenesis(digits string) (Trust, error) {
	genesis, err := ParseHash(digits)
	if err != nil {
		return Trust{}, err
	}
	return Trust{Genesis: &genesis}, nil
}

// FromPolicy trusts the logs of a policy, C2SP tlog-policy, where its witnesses cosigned.
func FromPolicy(text []byte) (Trust, error) {
	policy, err := merkle.ParsePolicy(text)
	if err != nil {
		return Trust{}, err
	}
	return Trust{Policy: policy}, nil
}

// Found is a record of what was verified.
type Found struct {
	Position uint64
	Hash     Hash
	Body     *record.Body
	// Attestations are statements of witnesses, not counted: package quorum does.
	Attestations [][]byte
}

// Findings are what the steps show, as far as they held.
type Findings struct {
	Genesis    *Hash
	Checkpoint *merkle.Checkpoint
	// Record is the one that was to be verified.
	Record *Found
	// Decision is nil for a record of another kind.
	Decision  *record.Decision
	Model     *Found
	Principal *Found
	// Registry is the record of the quorum; Witnesses those that it names.
	Registry  *Found
	Witnesses []Found
	Replay    *model.Replay
	// Cosigned are the names of the policy's witnesses that cosigned.
	Cosigned []string
}

// Evidence verifies an evidence file, step by step, from its bytes and from what its reader trusts alone: no network,
// no clock. Source: docs/spec/verify.md §2.
func Evidence(file []byte, trust Trust) Result {
	steps := newStepList(FileSteps)
	verification := &fileVerification{steps: steps, trust: trust}
	if err := verification.run(file); err != nil {
		steps.fail(err)
	}
	return steps.result(verification.findings)
}

type fileVerification struct {
	steps    *stepList
	trust    Trust
	findings Findings
}

func (v *fileVerification) run(input []byte) error {
	file, err := parseFile(input)
	if err != nil {
		return err
	}
	v.steps.pass("file", fmt.Sprintf("%d bytes, %s, tree of %d", len(input), counted(len(file.opened), "record"),
		file.signed.Checkpoint.Size))
	ring, err := v.takeKeys(file.keyRecords(), file.origin)
	if err != nil {
		return err
	}
	v.findings.Checkpoint = file.signed.Checkpoint
	others, err := file.requireSignatures(ring)
	if err != nil {
		return err
	}
	v.steps.pass("signature", counted(others, "record")+" besides those of the keys")
	roles, err := file.roles()
	if err != nil {
		return err
	}
	v.steps.pass("record", roles.describe())
	v.takeRoles(roles)
	if err := v.takeDisclosures(file, roles); err != nil {
		return err
	}
	for _, opened := range file.opened {
		if err := opened.requireInclusion(file.signed.Checkpoint); err != nil {
			return err
		}
	}
	v.steps.pass("inclusion", fmt.Sprintf("%s in the tree of %d", counted(len(file.opened), "record"),
		file.signed.Checkpoint.Size))
	if err := v.takeCheckpoint(file.signed, file.checkpoint, file.origin, ring); err != nil {
		return err
	}
	if err := v.takeDecision(roles); err != nil {
		return err
	}
	return v.takeTrust()
}

func (v *fileVerification) takeRoles(roles *roles) {
	v.findings.Record, v.findings.Decision = &roles.record, roles.decision
	v.findings.Model, v.findings.Principal = roles.model, roles.principal
	v.findings.Registry, v.findings.Witnesses = roles.registry, roles.witnesses
}

// takeKeys takes the steps genesis and keys.
func (v *fileVerification) takeKeys(records []opened, origin string) (keys.Ring, error) {
	walk, err := beginWalk(v.trust.Genesis, records)
	if err != nil {
		return keys.Ring{}, err
	}
	for _, said := range []string{records[0].statement.Origin, origin} {
		if said != walk.genesisOrigin {
			return keys.Ring{}, refused("genesis is of %s, and not of %s", walk.genesisOrigin, said)
		}
	}
	genesis := records[0].hash
	compared := "as given"
	if v.trust.Genesis == nil {
		compared = "compared with nothing"
	}
	v.steps.pass("genesis", fmt.Sprintf("%s, %s", genesis, compared))
	v.findings.Genesis = &genesis
	if err := walk.follow(records[1:]); err != nil {
		return keys.Ring{}, err
	}
	v.steps.pass("keys", counted(len(walk.ring.Keys()), "key"))
	return walk.ring, nil
}

func (v *fileVerification) takeDisclosures(file *file, roles *roles) error {
	if file.disclosures == nil {
		v.steps.skip("disclosures", "the file holds none")
		return nil
	}
	disclosures, err := record.ReadDisclosures(file.disclosures, roles.record.Body)
	if err != nil {
		return err
	}
	if len(disclosures) == 0 {
		return refused("it discloses nothing")
	}
	if roles.decision != nil {
		if roles.decision, err = record.ReadDecision(roles.record.Body, disclosures); err != nil {
			return err
		}
	}
	v.findings.Decision = roles.decision
	v.steps.pass("disclosures", strings.Join(slices.Sorted(maps.Keys(disclosures)), ", "))
	return nil
}

// takeCheckpoint takes the steps checkpoint and policy.
func (v *fileVerification) takeCheckpoint(signed *merkle.Signed, note, origin string, ring keys.Ring) error {
	checkpoint := signed.Checkpoint
	publicKey, mldsa44Key, err := ring.CheckpointKeys(checkpoint.Size)
	if err != nil {
		return err
	}
	log := merkle.Log{Origin: origin, PublicKey: publicKey, Mldsa44Key: mldsa44Key}
	if err := signed.VerifyBy(log); err != nil {
		return err
	}
	detail := fmt.Sprintf("%s at size %d, root %x", origin, checkpoint.Size, checkpoint.Root)
	if mldsa44Key != nil && len(signed.SubtreeLines(mldsa44Key)) > 0 {
		detail += ", by ML-DSA-44 as well"
	}
	v.steps.pass("checkpoint", detail)
	if v.trust.Policy == nil {
		v.steps.skip("policy", "none was given")
		return nil
	}
	vouched, err := v.trust.Policy.Verify(note)
	if err != nil {
		return err
	}
	if !v.trust.Policy.HasLog(origin, publicKey) {
		return refused("the policy's log has another key than the ring gives")
	}
	v.findings.Cosigned = append([]string{}, vouched.Cosigned...)
	cosigned := "it takes no cosignature"
	if len(vouched.Cosigned) > 0 {
		cosigned = "cosigned by " + strings.Join(vouched.Cosigned, ", ")
	}
	v.steps.pass("policy", cosigned)
	return nil
}

func (v *fileVerification) takeDecision(roles *roles) error {
	decision := roles.decision
	if decision == nil {
		v.steps.skip("decision", "the record is no decision")
		return nil
	}
	var payload any
	if roles.model != nil {
		payload = roles.model.Body.Payload
	} else if decision.Verdict != record.Deny {
		return refused("without a model the only answer is a deny")
	}
	replay, err := model.Of(decision, payload)
	if err != nil {
		return err
	}
	v.findings.Replay = &replay
	if value, differs := replay.FirstDifference(); differs {
		return refused("%s: %s is recorded as %v, recomputed as %v", replay.Outcome, value.Field, value.Recorded, value.Recomputed)
	}
	detail, taken := replay.Outcome, []string{}
	for _, value := range replay.Values {
		if value.Outcome == model.AsRecorded {
			taken = append(taken, value.Field)
		}
	}
	if len(taken) > 0 {
		detail += "; taken as recorded: " + strings.Join(taken, ", ")
	}
	v.steps.pass("decision", detail)
	return nil
}

func (v *fileVerification) takeTrust() error {
	var from []string
	if v.trust.Genesis != nil {
		from = append(from, "the genesis hash that was given")
	}
	if v.trust.Policy != nil {
		from = append(from, "the log's key in the policy")
	}
	if len(from) == 0 {
		return refused("it is consistent with itself, and nobody vouches for it: give the genesis hash, or a policy")
	}
	v.steps.pass("trust", "from "+strings.Join(from, " and "))
	return nil
}

// roles are what each record of a file is there for.
type roles struct {
	record    Found
	decision  *record.Decision
	model     *Found
	principal *Found
	registry  *Found
	witnesses []Found
}

func (r *roles) describe() string {
	parts := []string{fmt.Sprintf("%s %s at position %d", r.record.Body.Kind, r.record.Body.ID, r.record.Position)}
	for _, other := range []struct {
		what  string
		found *Found
	}{{"model", r.model}, {"principal", r.principal}, {"registry", r.registry}} {
		if other.found != nil {
			parts = append(parts, fmt.Sprintf("%s at %d", other.what, other.found.Position))
		}
	}
	return strings.Join(parts, ", ")
}

// assign finds out what each earlier record is there for. One that is there for nothing is refused: a file is no
// place to hide one.
func (r *roles) assign(earlier []Found) error {
	needed := map[uint64]bool{}
	var err error
	if r.record.Body.Kind == "frozen_chain" {
		if r.decision, err = record.ReadDecision(r.record.Body, nil); err != nil {
			return err
		}
		if r.model, err = modelIn(earlier, r.decision); err != nil {
			return err
		}
		if r.principal, err = r.principalIn(earlier); err != nil {
			return err
		}
	}
	if err := r.takeRegistry(earlier); err != nil {
		return err
	}
	for _, found := range []*Found{r.model, r.principal, r.registry} {
		if found != nil {
			needed[found.Position] = true
		}
	}
	for _, witness := range r.witnesses {
		needed[witness.Position] = true
	}
	for _, each := range earlier {
		if !needed[each.Position] {
			return refused("nothing needs the record at position %d", each.Position)
		}
	}
	return nil
}

func modelIn(earlier []Found, decision *record.Decision) (*Found, error) {
	if decision.Model == nil {
		return nil, nil
	}
	for _, each := range earlier {
		if each.Hash != Hash(*decision.Model) {
			continue
		}
		if each.Body.Kind != "trust_model" {
			return nil, refused("what the decision names is no model")
		}
		return &each, nil
	}
	return nil, refused("the decision names the model %s, which is missing", Hash(*decision.Model))
}

// principalIn is the subject's principal: that which the decision links to; of a decision of version 1, which links to
// none, any of the subject.
func (r *roles) principalIn(earlier []Found) (*Found, error) {
	linked, isLinked := r.record.Body.LinkTo(record.PrincipalLabel)
	for _, each := range earlier {
		isNamed := r.record.Body.SchemaVersion == 1 || isLinked && each.Hash == Hash(linked)
		if !isNamed {
			continue
		}
		isTheirs, err := isPrincipalOf(each.Body, r.decision.Request.Subject)
		if err != nil {
			return nil, err
		}
		if isTheirs {
			return &each, nil
		}
	}
	return nil, nil
}

func isPrincipalOf(body *record.Body, subject string) (bool, error) {
	if body.Kind != "principal" {
		return false, nil
	}
	name := subject
	if body.Space != record.SystemSpace {
		var isThere bool
		if name, isThere = strings.CutPrefix(subject, body.Tenant+"/"); !isThere {
			return false, nil
		}
	}
	principal, err := record.ParsePrincipal(body.Payload, body.SchemaVersion)
	if err != nil {
		return false, err
	}
	return record.IsEnrolledAs(name, body.ID, principal), nil
}

func (r *roles) takeRegistry(earlier []Found) error {
	for _, each := range earlier {
		if each.Body.Space != record.SystemSpace || each.Body.ID != "quorum" {
			continue
		}
		if r.registry != nil {
			return refused("there is more than one registry")
		}
		r.registry = &each
	}
	if r.registry == nil {
		return nil
	}
	quorum, err := record.ParseQuorum(r.registry.Body.Payload)
	if err != nil {
		return err
	}
	for _, id := range quorum.Witnesses {
		at := slices.IndexFunc(earlier, func(each Found) bool {
			return each.Body.Kind == "witness" && each.Body.ID == "witness/"+id
		})
		if at < 0 {
			return refused("the registry names witness/%s, whose record is missing", id)
		}
		r.witnesses = append(r.witnesses, earlier[at])
	}
	return nil
}
