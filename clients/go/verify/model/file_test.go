package model_test

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"

	"sigil.example/go/internal/vectors"
	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/model"
	"sigil.example/go/verify/record"
)

// The decisions of a file that another implementation wrote: lines of JSON with a decision's body and its model's payload
// in hexadecimal CBOR, and what working it out again must find.
func TestDecisionsOfAFile(t *testing.T) {
	path := os.Getenv("SIGIL_DECISIONS_FILE")
	if path == "" {
		t.Skip("skipped: no file is named by SIGIL_DECISIONS_FILE: test/e2e/go-verify.test.ts writes one, -short")
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // Only read.
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	count := map[string]int{}
	for lines.Scan() {
		var line struct {
			Decision, Model vectors.Hex
			Outcome         string
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		count[line.Outcome]++
		body, err := record.DecodeBody(line.Decision)
		if err != nil {
			t.Fatal(err)
		}
		decision, err := record.ReadDecision(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := cbor.Decode(line.Model)
		if err != nil {
			t.Fatal(err)
		}
		replay, err := model.Of(decision, payload)
		if err != nil || replay.Outcome != line.Outcome {
			value, _ := replay.FirstDifference()
			t.Errorf("%x under %x is %s, want %s: %+v, %v", []byte(line.Decision), []byte(line.Model), replay.Outcome,
				line.Outcome, value, err)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if count[model.Partial] < 100 || count[model.Different] < 100 {
		t.Errorf("of each outcome there are %v", count)
	}
}
