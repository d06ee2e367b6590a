package verify_test

import (
	"bytes"
	_ "embed"
	"fmt"
	"log"
	"testing"

	"sigil.example/go/internal/vectors"
	"sigil.example/go/verify"
)

// A file as `sigil audit evidence` writes it, and the genesis hash of its ledger as `sigil init` printed it.
var (
	//go:embed testdata/decision.sigil
	file []byte

	genesis = "119b2ab9c2dd31ab6babddd69a7ac1f79dad50bc9c0887074f0addffc22901dc"
)

func ExampleEvidence() {
	trust, err := verify.FromGenesis(genesis)
	if err != nil {
		log.Fatal(err)
	}
	findings, err := verify.Evidence(file, trust).Findings()
	if err != nil {
		log.Fatal(err) // Names the step that does not hold, and the rule.
	}
	fmt.Println(findings.Record.Body.ID, findings.Decision.Verdict, findings.Replay.Outcome)
	// Output: decision-1 allow equal
}

func TestTheExamplesFileIsAVector(t *testing.T) {
	whole := vectors.Read[fileVectors](t, "evidence.json")
	if !bytes.Equal(file, whole.Accept[0].Hex) || genesis != whole.Genesis {
		t.Error("testdata/decision.sigil is another file")
	}
}
