package verify_test

import (
	"testing"

	"sigil.example/go/internal/ledgers"
	"sigil.example/go/verify"
	"sigil.example/go/verify/keys"
)

func BenchmarkEvidence(b *testing.B) {
	trust, err := verify.FromGenesis(genesis)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !verify.Evidence(file, trust).IsVerified() {
			b.Fatal("is not verified")
		}
	}
}

// BenchmarkDecision is what verifying each answer costs a caller: one proof, by a checkpoint of its own.
func BenchmarkDecision(b *testing.B) {
	ledger := ledgers.New(b)
	position := ledger.Append(ledgers.Decision("d-1", "svc", 7, 1000))
	proof := verify.RecordProof{
		StoredRecord: verify.StoredRecord{Position: position, Envelope: ledger.Envelopes[position]},
		Path:         ledger.Path(position),
	}
	notes := []string{ledger.Checkpoint(ledger.CheckpointKey)}
	ledger.Append(ledgers.Decision("d-2", "svc", 8, 1000))
	notes = append(notes, ledger.Checkpoint(ledger.CheckpointKey))
	paths := [][][]byte{proof.Path, ledger.Path(position)}
	walked := walkOf(b, ledger, 0)
	if len(walked.All()) != 2 || walked.All()[0].Role != keys.RecordRole {
		b.Fatal("other keys")
	}
	asked := verify.Question{Action: "read", Target: "user/notes"}
	answer := verify.Answer{
		AuditID: "d-1", Verdict: "allow", IsAllowed: true, Reason: "SCORE_AT_OR_ABOVE_THRESHOLD", CallerSeq: 7, Subject: "svc",
	}
	for count := 0; b.Loop(); count++ {
		proof.Checkpoint, proof.Path = notes[count%2], paths[count%2]
		if _, err := walked.Decision(proof, asked, answer); err != nil {
			b.Fatal(err)
		}
	}
}
