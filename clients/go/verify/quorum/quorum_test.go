package quorum_test

import (
	"crypto/sha256"
	"slices"
	"testing"

	"sigil.example/go/internal/ledgers"
	"sigil.example/go/verify/cose"
	"sigil.example/go/verify/quorum"
	"sigil.example/go/verify/record"
)

const proposal = "proposal/1"

var committed = sha256.Sum256([]byte("body"))

func witness(id string) quorum.Witness {
	return quorum.Witness{ID: id, PublicKey: ledgers.Public(id), Owner: "owner of " + id, EnrolledAt: 2}
}

func registry(k uint64, ids ...string) quorum.Registry {
	made := quorum.Registry{K: k, Epoch: 3}
	for _, id := range ids {
		made.Witnesses = append(made.Witnesses, witness(id))
	}
	return made
}

func statement(t *testing.T, by string, change func(attestation *record.Attestation)) []byte {
	t.Helper()
	attestation := record.Attestation{Proposal: proposal, Record: committed, Epoch: 3, Verdict: "approve"}
	if change != nil {
		change(&attestation)
	}
	payload, err := attestation.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return ledgers.Sign(t, by, cose.AttestationContentType, attestation.Proposal, payload)
}

func check(attestations [][]byte, change func(committed *quorum.Committed)) quorum.Attested {
	input := quorum.Committed{
		Record: committed, Attestations: attestations, Registry: registry(2, "w1", "w2", "w3"), Origin: ledgers.Origin,
	}
	if change != nil {
		change(&input)
	}
	return quorum.Check(input)
}

func TestQuorum(t *testing.T) {
	by := func(id string) []byte { return statement(t, id, nil) }
	t.Run("is reached by k witnesses of the registry", func(t *testing.T) {
		attested := check([][]byte{by("w1"), by("w3")}, nil)
		if !attested.IsReached || !slices.Equal(attested.AttestedBy, []string{"w1", "w3"}) || attested.Proposal != proposal ||
			attested.Possession != quorum.NotNeeded || attested.Refused != nil {
			t.Errorf("%+v", attested)
		}
	})
	t.Run("is not reached by fewer, by none, or under a registry that has none", func(t *testing.T) {
		for name, attested := range map[string]quorum.Attested{
			"one": check([][]byte{by("w1")}, nil), "none": check(nil, nil), "zero": {}, "of zero": quorum.Check(quorum.Committed{}),
			"k of 0": check([][]byte{by("w1"), by("w2")}, func(c *quorum.Committed) { c.Registry.K = 0 }),
			"k of 4": check([][]byte{by("w1"), by("w2"), by("w3")}, func(c *quorum.Committed) { c.Registry.K = 4 }),
		} {
			if attested.IsReached {
				t.Errorf("%s: %+v", name, attested)
			}
		}
	})
	changed := by("w2")
	changed[len(changed)-1] ^= 1
	for _, each := range []struct {
		rule  string
		bytes []byte
	}{
		{"has a signature that does not hold", changed},
		{"was given already, byte for byte", by("w1")},
		{"is by a key that no enrolled witness holds", by("w4")},
		{"is for another body than the one proposed", statement(t, "w2", func(a *record.Attestation) { a.Record = [32]byte{} })},
		{"is for another proposal", statement(t, "w2", func(a *record.Attestation) { a.Proposal = "proposal/2" })},
		{"is for another epoch of the registry than the one in force", statement(t, "w2", func(a *record.Attestation) { a.Epoch = 2 })},
		{"is a rejection", statement(t, "w2", func(a *record.Attestation) { a.Verdict = "reject" })},
		{"malformed COSE_Sign1: must begin with tag 18", []byte{1, 2, 3}},
		{"malformed COSE_Sign1: must begin with tag 18", nil},
	} {
		t.Run("is not reached with one that "+each.rule, func(t *testing.T) {
			attested := check([][]byte{by("w1"), each.bytes}, nil)
			want := []quorum.Refusal{{Index: 1, Rule: each.rule}}
			if attested.IsReached || !slices.Equal(attested.Refused, want) || !slices.Equal(attested.AttestedBy, []string{"w1"}) {
				t.Errorf("%+v", attested)
			}
		})
	}
	t.Run("is not kept from by bad ones among good ones", func(t *testing.T) {
		if attested := check([][]byte{{1}, by("w4"), by("w1"), by("w2")}, nil); !attested.IsReached || len(attested.Refused) != 2 {
			t.Errorf("%+v", attested)
		}
	})
	t.Run("is of this deployment", func(t *testing.T) {
		attested := check([][]byte{by("w1"), by("w2")}, func(c *quorum.Committed) { c.Origin = "other.example" })
		if attested.IsReached || attested.Refused[0].Rule != "is for another deployment" {
			t.Errorf("%+v", attested)
		}
	})
	t.Run("is held to what the proposal's record says", func(t *testing.T) {
		for rule, known := range map[string]quorum.Proposal{
			"is by a key that was enrolled after the proposal": {ID: proposal, Position: 2, Proposer: "alice"},
			"is by the proposer itself":                        {ID: proposal, Position: 100, Proposer: " W1 "},
			"is for another proposal":                          {ID: "proposal/2", Position: 100, Proposer: "alice"},
		} {
			attested := check([][]byte{by("w1"), by("w2")}, func(c *quorum.Committed) { c.Proposal = &known })
			if attested.IsReached || attested.Refused[0].Rule != rule {
				t.Errorf("%s: %+v", rule, attested)
			}
		}
		own := quorum.Proposal{ID: proposal, Position: 100, Proposer: "owner of w1"}
		attested := check([][]byte{by("w1"), by("w2")}, func(c *quorum.Committed) {
			c.Proposal, c.Registry.ProposerMayAttest = &own, true
		})
		if !attested.IsReached {
			t.Errorf("%+v", attested)
		}
	})
	t.Run("counts a key and an owner once", func(t *testing.T) {
		for rule, change := range map[string]func(second *quorum.Witness){
			"is by a witness whose owner has attested through another": func(w *quorum.Witness) { w.Owner = " OWNER of w1" },
		} {
			attested := check([][]byte{by("w1"), by("w2")}, func(c *quorum.Committed) { change(&c.Registry.Witnesses[1]) })
			if attested.IsReached || attested.Refused[0].Rule != rule {
				t.Errorf("%s: %+v", rule, attested)
			}
		}
		twice := [][]byte{by("w1"), statement(t, "w1", nil)}
		attested := check(twice, func(c *quorum.Committed) { c.Registry.Witnesses[1].PublicKey = ledgers.Public("w1") })
		if attested.IsReached || len(attested.AttestedBy) != 1 {
			t.Errorf("%+v", attested)
		}
	})
	t.Run("of a key that is enrolled needs its statement besides, which counts for nothing else", func(t *testing.T) {
		enrols := func(c *quorum.Committed) {
			c.Enrols = &quorum.Enrolment{Witness: "w4", PublicKey: ledgers.Public("w4")}
		}
		if attested := check([][]byte{by("w1"), by("w2")}, enrols); attested.IsReached || attested.Possession != quorum.Missing {
			t.Errorf("%+v", attested)
		}
		if attested := check([][]byte{by("w1"), by("w4")}, enrols); attested.IsReached || attested.Possession != quorum.Given {
			t.Errorf("%+v", attested)
		}
		if attested := check([][]byte{by("w4"), by("w1"), by("w2")}, enrols); !attested.IsReached {
			t.Errorf("%+v", attested)
		}
	})
}

func TestRegistryOf(t *testing.T) {
	said := record.Quorum{K: 1, Witnesses: []string{"w1", "w2"}, Epoch: 3}
	made, err := quorum.RegistryOf(said, []quorum.Witness{witness("w2"), witness("w1"), witness("w3")})
	if err != nil || len(made.Witnesses) != 2 || made.Witnesses[0].ID != "w1" {
		t.Errorf("%+v, %v", made, err)
	}
	if _, err := quorum.RegistryOf(said, []quorum.Witness{witness("w2")}); err == nil {
		t.Error("without a witness that it names")
	}
	if _, err := quorum.RegistryOf(said, []quorum.Witness{witness("w2"), witness("w1"), witness("w1")}); err == nil {
		t.Error("with a witness twice")
	}
}
