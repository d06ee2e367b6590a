package record_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"sigil.example/go/internal/ledgers"
	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/record"
)

func opening(salt byte, value any) record.Opening {
	return record.Opening{Salt: bytes.Repeat([]byte{salt}, 32), Value: value}
}

// committed is a decision that commits to an input and to two facts of one value and one salt.
func committed(t *testing.T) (body *record.Body, raw []byte) {
	t.Helper()
	raw = []byte("what was asked")
	digest := sha256.Sum256(raw)
	commit := func(path string, opened record.Opening) []byte {
		commitment, err := record.Commitment(path, opened)
		if err != nil {
			t.Fatal(err)
		}
		return commitment[:]
	}
	made := ledgers.Decision("d-1", "svc", 1, 1000)
	var payload cbor.Map
	for _, entry := range made.Payload.(cbor.Map) {
		if entry.Key == "request" {
			var request cbor.Map
			for _, asked := range entry.Value.(cbor.Map) {
				if asked.Key == "input" {
					asked.Value = commit("input", opening(1, []any{digest[:], len(raw)}))
				}
				request = append(request, asked)
			}
			entry.Value = request
		}
		payload = append(payload, entry)
	}
	made.Payload = append(payload, cbor.Entry{Key: "context", Value: cbor.Map{
		{Key: "a", Value: commit("context/a", opening(2, "fact"))}, {Key: "b", Value: commit("context/b", opening(2, "fact"))},
		{Key: "c", Value: commit("context/c", opening(3, "other"))},
	}})
	encoded, err := record.EncodeBody(made)
	if err != nil {
		t.Fatal(err)
	}
	body, err = record.DecodeBody(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return body, raw
}

func disclosed(t *testing.T, entries ...cbor.Entry) []byte {
	t.Helper()
	encoded, err := cbor.Encode(cbor.Map(entries))
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func entry(path string, salt byte, value any, more ...cbor.Entry) cbor.Entry {
	fields := append(cbor.Map{{Key: "salt", Value: bytes.Repeat([]byte{salt}, 32)}, {Key: "value", Value: value}}, more...)
	return cbor.Entry{Key: path, Value: fields}
}

func TestDisclosures(t *testing.T) {
	body, raw := committed(t)
	digest := sha256.Sum256(raw)
	input := []any{digest[:], len(raw)}
	t.Run("are what the record commits to", func(t *testing.T) {
		opened, err := record.ReadDisclosures(disclosed(t,
			entry("input", 1, input, cbor.Entry{Key: "raw", Value: raw}), entry("context/a", 2, "fact"), entry("context/c", 3, "other"),
		), body)
		if err != nil || len(opened) != 3 {
			t.Fatalf("%v, %v", opened, err)
		}
		decision, err := record.ReadDecision(body, opened)
		if err != nil || !bytes.Equal(decision.Request.Input, raw) || decision.Request.InputDigest != digest {
			t.Errorf("%+v, %v", decision, err)
		}
	})
	for _, each := range []struct {
		field, rule string
		entry       cbor.Entry
	}{
		{"disclosures.context/b", "is not what the record commits to", entry("context/b", 3, "other")}, // Of context/c.
		{"disclosures.context/a", "is not what the record commits to", entry("context/a", 2, "facts")},
		{"disclosures.context/a", "is not what the record commits to", entry("context/a", 4, "fact")},
		{"disclosures.context/d", "is committed to by nothing", entry("context/d", 2, "fact")},
		{"disclosures.output", "is committed to by nothing", entry("output", 1, input)},
		{"disclosures.input.raw", "must have the digest and the length of the value",
			entry("input", 1, input, cbor.Entry{Key: "raw", Value: []byte("what was said.")})},
		{"disclosures.input.raw", "must have the digest and the length of the value",
			entry("input", 1, []any{digest[:], len(raw) + 1}, cbor.Entry{Key: "raw", Value: raw})},
		{"disclosures.input.value", "must be an array of a digest and a length",
			entry("input", 1, "text", cbor.Entry{Key: "raw", Value: raw})},
		{"disclosures.input.more", "is not a field of this kind", entry("input", 1, input, cbor.Entry{Key: "more", Value: 1})},
		{"disclosures.input.salt", "must be 32 bytes", cbor.Entry{Key: "input", Value: cbor.Map{
			{Key: "salt", Value: []byte{1}}, {Key: "value", Value: input},
		}}},
	} {
		t.Run("are refused where "+each.field+" "+each.rule, func(t *testing.T) {
			opened, err := record.ReadDisclosures(disclosed(t, each.entry), body)
			var fault *record.Error
			if !errors.As(err, &fault) || fault.Field != each.field || fault.Rule != each.rule || opened != nil {
				t.Errorf("%v, %v", opened, err)
			}
		})
	}
	t.Run("commit to a path: the same value and salt under another one is another commitment", func(t *testing.T) {
		a, _ := record.Commitment("context/a", opening(2, "fact"))
		b, _ := record.Commitment("context/b", opening(2, "fact"))
		if a == b {
			t.Error("it is the same")
		}
	})
}
