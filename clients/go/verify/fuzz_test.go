package verify_test

import (
	"bytes"
	"testing"

	"sigil.example/go/internal/vectors"
	"sigil.example/go/verify"
	"sigil.example/go/verify/cose"
	"sigil.example/go/verify/merkle"
	"sigil.example/go/verify/quorum"
	"sigil.example/go/verify/record"
)

// FuzzEvidence: no file makes the verifier panic, every step is there, and nothing but the files of the vectors verifies.
func FuzzEvidence(f *testing.F) {
	whole := vectors.Read[fileVectors](f, "evidence.json")
	trust := whole.trust(f, fileVector{})
	known := map[string]bool{}
	for _, each := range whole.Accept {
		known[string(each.Hex)] = true
		f.Add([]byte(each.Hex))
	}
	for _, each := range whole.Refuse {
		// Some are refused for what their reader trusts, and not for what they are.
		known[string(whole.broken(each))] = each.Genesis != nil || each.Policy != nil
		f.Add(whole.broken(each))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		result := verify.Evidence(input, trust)
		if len(result.Steps()) != len(verify.FileSteps) {
			t.Fatalf("%d steps", len(result.Steps()))
		}
		if result.IsVerified() != (result.Err() == nil) {
			t.Fatal("verified with an error")
		}
		if result.IsVerified() && !known[string(input)] {
			t.Fatal("is verified")
		}
	})
}

// FuzzParts: what each part's parser accepts is what writing it again gives, and none panics.
func FuzzParts(f *testing.F) {
	whole := vectors.Read[fileVectors](f, "evidence.json")
	for _, each := range whole.Accept {
		f.Add([]byte(each.Hex))
	}
	type named struct {
		Hex  vectors.Hex
		Note string
	}
	for _, name := range []string{"record.json", "cose.json", "checkpoint.json"} {
		both := vectors.Read[struct{ Accept, Refuse []named }](f, name)
		for _, each := range append(both.Accept, both.Refuse...) {
			f.Add([]byte(each.Hex))
			f.Add([]byte(each.Note))
		}
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		same := func(what string, again []byte, err error) {
			if err != nil || !bytes.Equal(again, input) {
				t.Fatalf("%s: %x is written as %x (%v)", what, input, again, err)
			}
		}
		if body, err := record.DecodeBody(input); err == nil {
			again, err := record.EncodeBody(body)
			same("body", again, err)
		}
		if envelope, err := record.DecodeEnvelope(input); err == nil {
			again, err := envelope.Encode()
			same("envelope", again, err)
		}
		if statement, err := cose.ParseStatement(input); err == nil {
			again, err := cose.EncodeStatement(statement.Protected, statement.Payload, statement.Signature[:])
			same("statement", again, err)
		}
		if note, err := merkle.ParseNote(string(input)); err == nil {
			again, err := note.Format()
			same("note", []byte(again), err)
		}
		if checkpoint, err := merkle.ParseCheckpoint(string(input)); err == nil {
			same("checkpoint", []byte(checkpoint.Format()), nil)
		}
		if proof, err := merkle.ParseTlogProof(string(input)); err == nil {
			same("tlog-proof", []byte(proof.Format()), nil)
		}
		if tile, err := merkle.ParseTilePath(string(input)); err == nil {
			same("tile path", []byte(tile.Path()), nil)
		}
		_, _ = cose.ParseReceipt(input)
		_, _, _ = quorum.ParseStatement(input)
		_, _ = merkle.ParsePolicy(input)
		_, _ = merkle.ParseVerifierKey(string(input))
	})
}
