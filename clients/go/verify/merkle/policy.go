package merkle

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sigil.example/go/verify/internal/sig"
)

const policyLinesMax = 256

// KeyUse is what a verifier key signs.
type KeyUse string

// Uses of verifier keys.
const (
	ForLog      KeyUse = "log"
	ForCosigner KeyUse = "cosigner"
)

// VerifierKey is a key as text, C2SP signed-note: `<name>+<key id in hexadecimal>+<base64 of 0x01 or 0x04 and the
// key>`.
type VerifierKey struct {
	// Name is who signs: of a log its origin.
	Name      string
	Use       KeyUse
	PublicKey []byte
}

var verifierKeyShape = regexp.MustCompile(`^([^+]+)\+([0-9a-f]{8})\+(.+)$`)

func refuseKey(rule string) error { return refuse("verifier key: " + rule) }

// ParseVerifierKey takes Ed25519 keys alone.
func ParseVerifierKey(text string) (VerifierKey, error) {
	parts := verifierKeyShape.FindStringSubmatch(text)
	if parts == nil {
		return VerifierKey{}, refuseKey(
			"must be a name, a key id of eight lower-case hexadecimal digits and a key, joined by +")
	}
	raw, ok := fromBase64(parts[3])
	if !ok {
		return VerifierKey{}, refuseKey("the key must be padded standard base64")
	}
	if len(raw) == 0 || raw[0] != typeEd25519 && raw[0] != typeCosignature {
		return VerifierKey{}, refuseKey("its algorithm must be Ed25519: 0x01 of a log, 0x04 of a cosigner")
	}
	if len(raw) != 1+sig.PublicKeyBytes {
		return VerifierKey{}, refuseKey("an Ed25519 key has 32 bytes")
	}
	name := parts[1]
	if err := checkKeyName(name); err != nil {
		return VerifierKey{}, err
	}
	if id := keyID(name, raw[0], raw[1:]); hex.EncodeToString(id[:]) != parts[2] {
		return VerifierKey{}, refuseKey("the key id is not that of the name and the key")
	}
	use := ForLog
	if raw[0] == typeCosignature {
		use = ForCosigner
	}
	return VerifierKey{name, use, raw[1:]}, nil
}

// policyWitness has the policy's own name for it, label, besides the key's.
type policyWitness struct {
	Cosigner
	label string
}

type policyGroup struct {
	threshold int
	members   []string
}

// Policy says which logs are known, and whose cosignatures a checkpoint needs, C2SP tlog-policy. The zero value knows
// no log, and accepts nothing.
type Policy struct {
	logs      []VerifierKey
	witnesses []policyWitness
	groups    map[string]policyGroup
	// quorum is the label of a witness or a group; "" if no cosignature is needed.
	quorum string
}

type policyReading struct {
	Policy
	labels map[string]bool
	// free are labels that are in no group yet.
	free      map[string]bool
	keys      map[string]bool
	hasQuorum bool
}

func refuseLine(line int, rule string) error {
	return refuse(fmt.Sprintf("policy line %d: %s", line, rule))
}

// ParsePolicy names in its error the line that breaks a rule.
func ParsePolicy(input []byte) (*Policy, error) {
	if len(input) > noteBytesMax {
		return nil, refuseLine(1, fmt.Sprintf("a policy has at most %d bytes", noteBytesMax))
	}
	lines := strings.Split(string(input), "\n")
	if lines[len(lines)-1] != "" {
		return nil, refuseLine(len(lines), "must end in a newline")
	}
	lines = lines[:len(lines)-1]
	reading := &policyReading{
		Policy: Policy{groups: map[string]policyGroup{}},
		labels: map[string]bool{}, free: map[string]bool{}, keys: map[string]bool{},
	}
	taken := 0
	for index, line := range lines {
		for _, octet := range []byte(line) {
			if octet < ' ' && octet != '\t' || octet == 0x7f {
				return nil, refuseLine(index+1, "must hold no control character")
			}
		}
		words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if taken++; taken > policyLinesMax {
			return nil, refuseLine(index+1, fmt.Sprintf("a policy defines at most %d things", policyLinesMax))
		}
		if err := reading.take(index+1, words[0], words[1:]); err != nil {
			return nil, err
		}
	}
	if !reading.hasQuorum {
		return nil, refuseLine(len(lines), "there is no quorum line")
	}
	return &reading.Policy, nil
}

func (p *policyReading) take(line int, word string, rest []string) error {
	switch word {
	case "log":
		return p.takeLog(line, rest)
	case "witness":
		return p.takeWitness(line, rest)
	case "group":
		return p.takeGroup(line, rest)
	case "quorum":
		return p.takeQuorum(line, rest)
	default:
		return refuseLine(line, "must begin with log, witness, group or quorum")
	}
}

func (p *policyReading) takeLog(line int, words []string) error {
	if len(words) < 1 || len(words) > 2 {
		return refuseLine(line, "must be: log VKEY [URL]")
	}
	key, err := p.key(line, words[0], ForLog)
	p.logs = append(p.logs, key)
	return err
}

func (p *policyReading) takeWitness(line int, words []string) error {
	if len(words) < 2 || len(words) > 3 {
		return refuseLine(line, "must be: witness NAME VKEY [URL]")
	}
	if err := p.define(line, words[0]); err != nil {
		return err
	}
	key, err := p.key(line, words[1], ForCosigner)
	p.witnesses = append(p.witnesses, policyWitness{Cosigner{key.Name, key.PublicKey}, words[0]})
	return err
}

var groupCount = regexp.MustCompile(`^[1-9][0-9]{0,3}$`)

func (p *policyReading) takeGroup(line int, words []string) error {
	if len(words) < 3 {
		return refuseLine(line, "must be: group NAME all|any|K NAME…")
	}
	label, count, members := words[0], words[1], words[2:]
	threshold := 0
	switch {
	case count == "all":
		threshold = len(members)
	case count == "any":
		threshold = 1
	case groupCount.MatchString(count):
		threshold, _ = strconv.Atoi(count)
	}
	if threshold < 1 || threshold > len(members) {
		rule := fmt.Sprintf("of %d must be all, any or a number from 1 to %d", len(members), len(members))
		return refuseLine(line, rule)
	}
	for _, member := range members {
		if !p.labels[member] {
			return refuseLine(line, "a member must be defined on a line before")
		}
		if !p.free[member] {
			return refuseLine(line, "a witness or group is a member once at most")
		}
		delete(p.free, member)
	}
	if err := p.define(line, label); err != nil {
		return err
	}
	p.groups[label] = policyGroup{threshold, members}
	return nil
}

const noQuorum = "none"

func (p *policyReading) takeQuorum(line int, words []string) error {
	if len(words) != 1 {
		return refuseLine(line, "must be: quorum NAME")
	}
	if p.hasQuorum {
		return refuseLine(line, "there is one quorum line")
	}
	p.hasQuorum = true
	if words[0] == noQuorum {
		return nil
	}
	if !p.labels[words[0]] {
		return refuseLine(line, "must be defined on a line before")
	}
	p.quorum = words[0]
	return nil
}

func (p *policyReading) define(line int, label string) error {
	if label == noQuorum {
		return refuseLine(line, "none is a name of its own")
	}
	if p.labels[label] {
		return refuseLine(line, "a name is defined once")
	}
	p.labels[label] = true
	p.free[label] = true
	return nil
}

func (p *policyReading) key(line int, word string, use KeyUse) (VerifierKey, error) {
	if !utf8.ValidString(word) {
		return VerifierKey{}, refuseLine(line, "a key's name must be UTF-8")
	}
	key, err := ParseVerifierKey(word)
	if err != nil {
		return VerifierKey{}, refuseLine(line, err.(*Error).Rule)
	}
	if key.Use != use {
		return VerifierKey{}, refuseLine(line, fmt.Sprintf("the key must be one of a %s", use))
	}
	name := string(use) + " " + string(key.PublicKey)
	if p.keys[name] {
		return VerifierKey{}, refuseLine(line, fmt.Sprintf("a %s's key stands once", use))
	}
	p.keys[name] = true
	return key, nil
}

// HasLog says whether the policy names this key of the log.
func (p *Policy) HasLog(origin string, publicKey []byte) bool {
	return slices.ContainsFunc(p.logs, func(log VerifierKey) bool {
		return log.Name == origin && bytes.Equal(log.PublicKey, publicKey)
	})
}

// isMet says whether the witnesses with these labels make the label true.
func (p *Policy) isMet(label string, cosigned map[string]bool) bool {
	group, isGroup := p.groups[label]
	if !isGroup {
		return cosigned[label]
	}
	met := 0
	for _, member := range group.members {
		if p.isMet(member, cosigned) {
			met++
		}
	}
	return met >= group.threshold
}

// Vouched is a checkpoint that a policy accepts, and the names of its witnesses that cosigned.
type Vouched struct {
	Checkpoint *Checkpoint
	Cosigned   []string
}

// Verify verifies a note by the policy alone: one of its logs signed it, and a quorum of its witnesses cosigned it. A
// line of a key that it names and that does not verify refuses the note.
func (p *Policy) Verify(note string) (*Vouched, error) {
	signed, err := ParseSigned(note)
	if err != nil {
		return nil, err
	}
	if err := p.verifyLogs(signed); err != nil {
		return nil, err
	}
	vouched := &Vouched{Checkpoint: signed.Checkpoint}
	labels := map[string]bool{}
	for _, witness := range p.witnesses {
		if len(signed.cosignatures(witness.Cosigner)) == 0 {
			continue
		}
		if _, err := signed.VerifyCosignature(witness.Cosigner); err != nil {
			return nil, err
		}
		labels[witness.label] = true
		vouched.Cosigned = append(vouched.Cosigned, witness.Name)
	}
	if p.quorum != "" && !p.isMet(p.quorum, labels) {
		return nil, refuse("is not cosigned by a quorum of the policy's witnesses")
	}
	return vouched, nil
}

// verifyLogs verifies the lines of every key that the policy has for this log, and wants one of them to be there.
func (p *Policy) verifyLogs(signed *Signed) error {
	origin := signed.Checkpoint.Origin
	isKnown, isSigned := false, false
	for _, log := range p.logs {
		if log.Name != origin {
			continue
		}
		isKnown = true
		if len(signed.Note.SignaturesBy(origin, KeyID(origin, log.PublicKey))) == 0 {
			continue
		}
		if err := signed.VerifyBy(Log{Origin: origin, PublicKey: log.PublicKey}); err != nil {
			return err
		}
		isSigned = true
	}
	switch {
	case !isKnown:
		return refuse("is of a log that the policy does not name")
	case !isSigned:
		return refuse("must be signed by the log's key")
	default:
		return nil
	}
}
