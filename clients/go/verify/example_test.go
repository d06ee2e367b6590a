package verify_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"sigil.example/go/verify"
)

// A file as `sigil audit evidence` writes it, here one of the repository's vectors.
func readEvidence() (file []byte, genesis string) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "test", "vectors", "evidence.json"))
	if err != nil {
		log.Fatal(err)
	}
	var vectors struct {
		Genesis string
		Accept  []struct{ Hex string }
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		log.Fatal(err)
	}
	file, err = hex.DecodeString(vectors.Accept[0].Hex)
	if err != nil {
		log.Fatal(err)
	}
	return file, vectors.Genesis
}

func ExampleEvidence() {
	file, genesis := readEvidence()

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
