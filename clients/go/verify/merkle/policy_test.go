package merkle_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"sigil.example/go/verify/merkle"
)

func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicOf(name string) []byte { return keyOf(name).Public().(ed25519.PublicKey) }

// vkey is a verifier key: kind 1 of a log, 4 of a cosigner.
func vkey(name string, kind byte, key string) string {
	id := merkle.KeyID(name, publicOf(key))
	if kind == 4 {
		id = merkle.CosignatureKeyID(name, publicOf(key))
	}
	raw := append([]byte{kind}, publicOf(key)...)
	return name + "+" + hex.EncodeToString(id[:]) + "+" + base64.StdEncoding.EncodeToString(raw)
}

const origin = "ledger.example/test"

// note is signed by log keys, and cosigned by keys under names.
func note(t *testing.T, logs []string, cosigners map[string]string) string {
	t.Helper()
	checkpoint := merkle.Checkpoint{Origin: origin, Size: 5, Root: sha256.Sum256([]byte("root"))}
	text := checkpoint.Format()
	made := merkle.Note{Text: text}
	for _, key := range logs {
		made.Signatures = append(made.Signatures, merkle.NoteSignature{
			Name: origin, KeyID: merkle.KeyID(origin, publicOf(key)), Signature: ed25519.Sign(keyOf(key), []byte(text)),
		})
	}
	for key, name := range cosigners {
		message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", 7, text)
		made.Signatures = append(made.Signatures, merkle.NoteSignature{
			Name: name, KeyID: merkle.CosignatureKeyID(name, publicOf(key)),
			Signature: append(binary.BigEndian.AppendUint64(nil, 7), ed25519.Sign(keyOf(key), []byte(message))...),
		})
	}
	formatted, err := made.Format()
	if err != nil {
		t.Fatal(err)
	}
	return formatted
}

func policyOf(t *testing.T, lines ...string) *merkle.Policy {
	t.Helper()
	policy, err := merkle.ParsePolicy([]byte(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

func TestPolicy(t *testing.T) {
	log := "log " + vkey(origin, 1, "log")
	witnesses := []string{
		log, "# a comment", "", "witness a " + vkey("a.example", 4, "a") + " https://a.example",
		"witness b " + vkey("b.example", 4, "b"), "witness\tc  " + vkey("c.example", 4, "c"), "group two 2 a b c",
	}
	t.Run("wants a quorum of its witnesses", func(t *testing.T) {
		policy := policyOf(t, append(witnesses, "quorum two")...)
		both := map[string]string{"a": "a.example", "c": "c.example"}
		vouched, err := policy.Verify(note(t, []string{"log"}, both))
		if err != nil || strings.Join(vouched.Cosigned, " ") != "a.example c.example" || vouched.Checkpoint.Size != 5 {
			t.Errorf("%+v, %v", vouched, err)
		}
		_, err = policy.Verify(note(t, []string{"log"}, map[string]string{"a": "a.example"}))
		expectRule(t, err, "is not cosigned by a quorum of the policy's witnesses")
		_, err = policy.Verify(note(t, []string{"log"}, map[string]string{"a": "a.example", "d": "d.example"}))
		expectRule(t, err, "is not cosigned by a quorum of the policy's witnesses")
		_, err = policy.Verify(note(t, []string{"other"}, both))
		expectRule(t, err, "must be signed by the log's key")
		_, err = policyOf(t, "log "+vkey("other.example", 1, "log"), "quorum none").Verify(note(t, []string{"log"}, nil))
		expectRule(t, err, "is of a log that the policy does not name")
		_, err = policy.Verify("")
		expectRule(t, err, "must end in a newline")
	})
	t.Run("refuses a line of a key that it names and that does not verify", func(t *testing.T) {
		policy := policyOf(t, append(witnesses, "quorum none")...)
		good := note(t, []string{"log"}, map[string]string{"a": "a.example"})
		if _, err := policy.Verify(good); err != nil {
			t.Error(err)
		}
		at := strings.LastIndex(good, " ") + 30
		replaced := "A"
		if good[at] == 'A' {
			replaced = "B"
		}
		_, err := policy.Verify(good[:at] + replaced + good[at+1:])
		expectRule(t, err, "the cosignature must verify")
	})
	t.Run("counts each key of a name for itself", func(t *testing.T) {
		policy := policyOf(t, log, "witness a "+vkey("a.example", 4, "a"), "witness old "+vkey("a.example", 4, "old"),
			"group both all a old", "quorum both")
		_, err := policy.Verify(note(t, []string{"log"}, map[string]string{"a": "a.example"}))
		expectRule(t, err, "is not cosigned by a quorum of the policy's witnesses")
		two := note(t, []string{"log"}, map[string]string{"a": "a.example", "old": "a.example"})
		if _, err := policy.Verify(two); err != nil {
			t.Error(err)
		}
	})
	t.Run("takes a log by any of its keys", func(t *testing.T) {
		policy := policyOf(t, "log "+vkey(origin, 1, "first"), log, "quorum none")
		if _, err := policy.Verify(note(t, []string{"log"}, nil)); err != nil {
			t.Error(err)
		}
		if !policy.HasLog(origin, publicOf("log")) || policy.HasLog(origin, publicOf("a")) || policy.HasLog("x", publicOf("log")) {
			t.Error("knows other logs than it names")
		}
	})
	t.Run("of nothing accepts nothing", func(t *testing.T) {
		var policy merkle.Policy
		_, err := policy.Verify(note(t, []string{"log"}, nil))
		expectRule(t, err, "is of a log that the policy does not name")
	})
	a := "witness a " + vkey("a.example", 4, "a")
	for _, each := range []struct {
		rule  string
		lines []string
	}{
		{"there is no quorum line", []string{log}},
		{"must begin with log, witness, group or quorum", []string{"logs x"}},
		{"must be: log VKEY [URL]", []string{"log"}},
		{"must be: log VKEY [URL]", []string{log + " a b"}},
		{"must be: witness NAME VKEY [URL]", []string{"witness a"}},
		{"must be: group NAME all|any|K NAME…", []string{a, "group g all"}},
		{"of 1 must be all, any or a number from 1 to 1", []string{a, "group g 2 a"}},
		{"of 1 must be all, any or a number from 1 to 1", []string{a, "group g 0 a"}},
		{"of 1 must be all, any or a number from 1 to 1", []string{a, "group g 01 a"}},
		{"a member must be defined on a line before", []string{"group g any a"}},
		{"a witness or group is a member once at most", []string{a, "group g any a", "group h any a"}},
		{"a name is defined once", []string{a, "group a any a"}},
		{"none is a name of its own", []string{"witness none " + vkey("a.example", 4, "a")}},
		{"must be: quorum NAME", []string{"quorum"}},
		{"there is one quorum line", []string{"quorum none", "quorum none"}},
		{"must be defined on a line before", []string{"quorum g"}},
		{"the key must be one of a log", []string{"log " + vkey("a.example", 4, "a")}},
		{"the key must be one of a cosigner", []string{"witness a " + vkey("a.example", 1, "a")}},
		{"a log's key stands once", []string{log, log}},
		{"must hold no control character", []string{"quorum none\r"}},
		{"a key's name must be UTF-8", []string{"log \xff" + vkey("a", 1, "a")}},
		{"verifier key: must be a name, a key id of eight lower-case hexadecimal digits and a key, joined by +", []string{"log x"}},
		{"verifier key: the key id is not that of the name and the key", []string{"log b" + vkey("a", 1, "a")}},
		{"verifier key: the key must be padded standard base64", []string{"log a+00000000+?"}},
		{"verifier key: an Ed25519 key has 32 bytes", []string{"log a+00000000+AQ=="}},
		{"verifier key: its algorithm must be Ed25519: 0x01 of a log, 0x04 of a cosigner", []string{"log a+00000000+Ag=="}},
	} {
		t.Run("is refused where "+each.rule, func(t *testing.T) {
			policy, err := merkle.ParsePolicy([]byte(strings.Join(each.lines, "\n") + "\n"))
			expectRule(t, err, fmt.Sprintf("policy line %d: %s", len(each.lines), each.rule))
			if policy != nil {
				t.Error("a policy came with the error")
			}
		})
	}
	_, err := merkle.ParsePolicy([]byte("quorum none"))
	expectRule(t, err, "policy line 1: must end in a newline")
}

func TestTlogProofAsText(t *testing.T) {
	whole := note(t, []string{"log"}, nil)
	hash := base64.StdEncoding.EncodeToString(make([]byte, 32))
	good := "c2sp.org/tlog-proof@v1\nindex 3\n" + hash + "\n\n" + whole
	extra := "c2sp.org/tlog-proof@v1\nextra AA==\nindex 0\n\n" + whole
	for _, text := range []string{good, extra} {
		proof, err := merkle.ParseTlogProof(text)
		if err != nil || proof.Format() != text {
			t.Errorf("%q: %v", text, err)
		}
	}
	for text, rule := range map[string]string{
		"":                                   "must have an empty line before its checkpoint",
		"x\n\n" + whole:                      "must begin with c2sp.org/tlog-proof@v1",
		"c2sp.org/tlog-proof@v1\n\n" + whole: "must name the index in decimal without leading zeroes",
		strings.Replace(good, "index 3", "index 03", 1):                    "must name the index in decimal without leading zeroes",
		strings.Replace(good, "index 3", "index 18446744073709551616", 1):  "the index must be a uint64",
		strings.Replace(good, hash, hash+hash, 1):                          "a line of the path must be padded standard base64 of 32 bytes",
		strings.Replace(good, hash, strings.Repeat(hash+"\n", 64)+hash, 1): "the path must have at most 64 lines",
		strings.Replace(extra, "AA==", "AA", 1):                            "extra data must be padded standard base64",
	} {
		_, err := merkle.ParseTlogProof(text)
		expectRule(t, err, "tlog-proof: "+rule)
	}
}
