package verify_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"sigil.example/go/internal/vectors"
	"sigil.example/go/verify"
)

type fileVector struct {
	Name     string
	Hex      vectors.Hex
	Decision *string
	Step     string
	At, Cut  int
	// Genesis and Policy are null for nothing, and absent for those of the whole.
	Genesis json.RawMessage
	Policy  json.RawMessage
}

type fileVectors struct {
	Genesis, Policy string
	Accept, Refuse  []fileVector
}

func (v fileVectors) trust(t testing.TB, each fileVector) verify.Trust {
	t.Helper()
	own := func(said json.RawMessage, whole string) string {
		if said == nil {
			return whole
		}
		var text *string
		if err := json.Unmarshal(said, &text); err != nil {
			t.Fatal(err)
		}
		if text == nil {
			return ""
		}
		return *text
	}
	trust := verify.Trust{}
	if digits := own(each.Genesis, v.Genesis); digits != "" {
		from, err := verify.FromGenesis(digits)
		if err != nil {
			t.Fatal(err)
		}
		trust.Genesis = from.Genesis
	}
	if text := own(each.Policy, v.Policy); text != "" {
		from, err := verify.FromPolicy([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		trust.Policy = from.Policy
	}
	return trust
}

// broken is the first accepted file with the change.
func (v fileVectors) broken(change fileVector) []byte {
	whole := v.Accept[0].Hex
	return slices.Concat(whole[:change.At], change.Hex, whole[change.At+change.Cut:])
}

func stepNames(result verify.Result) []string {
	var names []string
	for _, step := range result.Steps() {
		names = append(names, step.Name)
	}
	return names
}

func TestEvidenceVectorsAccept(t *testing.T) {
	whole := vectors.Read[fileVectors](t, "evidence.json")
	for _, each := range whole.Accept {
		t.Run(each.Name, func(t *testing.T) {
			result := verify.Evidence(each.Hex, whole.trust(t, each))
			if !result.IsVerified() || result.Err() != nil {
				t.Fatal(result.Err())
			}
			if names := stepNames(result); !slices.Equal(names, verify.FileSteps) {
				t.Errorf("steps are %v", names)
			}
			findings, err := result.Findings()
			if err != nil || findings.Record == nil {
				t.Fatal(err)
			}
			var decision *string
			if findings.Replay != nil {
				decision = &findings.Replay.Outcome
			}
			if (decision == nil) != (each.Decision == nil) || decision != nil && *decision != *each.Decision {
				t.Errorf("the decision is %v, want %v", decision, each.Decision)
			}
		})
	}
}

func TestEvidenceVectorsRefuse(t *testing.T) {
	whole := vectors.Read[fileVectors](t, "evidence.json")
	seen := map[string]bool{}
	for _, each := range whole.Refuse {
		seen[each.Step] = true
		t.Run(each.Step+": "+each.Name, func(t *testing.T) {
			result := verify.Evidence(whole.broken(each), whole.trust(t, each))
			step, found := result.FailedStep()
			if !found || step.Name != each.Step {
				t.Fatalf("refused by %+v, want %s", step, each.Step)
			}
			if result.IsVerified() || result.Err() == nil {
				t.Error("is verified")
			}
			if findings, err := result.Findings(); err == nil || findings.Record != nil {
				t.Error("findings of a refused file are given")
			}
			if names := stepNames(result); !slices.Equal(names, verify.FileSteps) {
				t.Errorf("steps are %v", names)
			}
			after := result.Steps()[slices.Index(verify.FileSteps, each.Step)+1:]
			for _, other := range after {
				if other.Outcome != verify.Skipped {
					t.Errorf("%s was %s after the refusal", other.Name, other.Outcome)
				}
			}
		})
	}
	for _, name := range verify.FileSteps {
		if !seen[name] {
			t.Errorf("no vector is refused by %s", name)
		}
	}
}

func TestEvidenceIsVouchedForByGenesisOrByAPolicyAlone(t *testing.T) {
	whole := vectors.Read[fileVectors](t, "evidence.json")
	trust := whole.trust(t, fileVector{})
	for name, each := range map[string]verify.Trust{
		"genesis": {Genesis: trust.Genesis}, "policy": {Policy: trust.Policy},
	} {
		if err := verify.Evidence(whole.Accept[0].Hex, each).Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if verify.Evidence(whole.Accept[0].Hex, verify.Trust{}).IsVerified() {
		t.Error("by no trust at all")
	}
}

func TestEvidenceHoldsNoLongerWithAnyOneByteChanged(t *testing.T) {
	whole := vectors.Read[fileVectors](t, "evidence.json")
	trust := whole.trust(t, fileVector{})
	random := rand.New(rand.NewPCG(16, 1))
	for range 300 {
		each := whole.Accept[random.IntN(len(whole.Accept))].Hex
		changed := bytes.Clone(each)
		at := random.IntN(len(changed))
		changed[at] ^= byte(1 + random.IntN(255))
		if verify.Evidence(changed, trust).IsVerified() {
			t.Errorf("with byte %d changed", at)
		}
	}
}

func TestZeroResultIsNotVerified(t *testing.T) {
	var result verify.Result
	if result.IsVerified() || result.Err() == nil {
		t.Error("a zero result is verified")
	}
	if _, err := result.Findings(); err == nil {
		t.Error("a zero result has findings")
	}
	if text, err := json.Marshal(result); err != nil || string(text) != `{"verified":false,"steps":null}` {
		t.Errorf("%s, %v", text, err)
	}
}
