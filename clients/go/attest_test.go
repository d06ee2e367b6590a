// What a witness signs is what it was shown, and nothing else is signed.
package sigil_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"testing"

	sigil "sigil.example/go"
	canonv1 "sigil.example/go/sigil/canon/v1"
	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/cose"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func encoded(t *testing.T, value any) []byte {
	t.Helper()
	bytes, err := cbor.Encode(value)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// proposal is one that a witness could sign; changes make it say something else.
func proposal(t *testing.T, changes ...func(*canonv1.Proposal)) *canonv1.Proposal {
	t.Helper()
	with := encoded(t, cbor.Map{{Key: "id", Value: "witness/ann"}})
	linked := sha256.Sum256(with)
	body := encoded(t, cbor.Map{
		{Key: "id", Value: "quorum"},
		{Key: "kind", Value: "quorum"},
		{Key: "links", Value: []any{cbor.Map{{Key: "label", Value: "witness"}, {Key: "target", Value: linked[:]}}}},
	})
	hash := sha256.Sum256(body)
	made := &canonv1.Proposal{
		Id: "proposal/1", Origin: "sigil.test", State: canonv1.ProposalState_PROPOSAL_STATE_OPEN, Epoch: 3,
		Body: body, RecordHash: hash[:], RecordId: "quorum", Kind: "quorum", With: [][]byte{with},
	}
	for _, change := range changes {
		change(made)
	}
	return made
}

func TestAWitnessSignsTheHashOfTheBody(t *testing.T) {
	key := newKey(t)
	for _, vote := range []sigil.Vote{sigil.Approve, sigil.Reject} {
		asked := proposal(t)
		signed, err := sigil.SignAttestation("sigil.test", asked, vote, key)
		if err != nil {
			t.Fatal(err)
		}
		statement, err := cose.ParseStatement(signed)
		if err != nil {
			t.Fatal(err)
		}
		public := key.Public().(ed25519.PublicKey)
		if statement.Origin != "sigil.test" || statement.Subject != "proposal/1" || statement.Kid != cose.Thumbprint(public) ||
			statement.ContentType != cose.AttestationContentType || !ed25519.Verify(public, statement.ToBeSigned(), statement.Signature[:]) {
			t.Errorf("%+v", statement)
		}
		payload, err := cbor.Decode(statement.Payload)
		if err != nil {
			t.Fatal(err)
		}
		hash := sha256.Sum256(asked.Body)
		want := encoded(t, cbor.Map{{Key: "epoch", Value: 3}, {Key: "record", Value: hash[:]}, {Key: "verdict", Value: string(vote)}, {Key: "proposal", Value: "proposal/1"}})
		if string(encoded(t, payload)) != string(want) {
			t.Error(payload)
		}
	}
}

func TestAWitnessDoesNotSignWhatItWasNotShown(t *testing.T) {
	key := newKey(t)
	for what, change := range map[string]func(*canonv1.Proposal){
		"another deployment":            func(p *canonv1.Proposal) { p.Origin = "other.test" },
		"another body than its hash":    func(p *canonv1.Proposal) { p.RecordHash = make([]byte, 32) },
		"no hash":                       func(p *canonv1.Proposal) { p.RecordHash = nil },
		"another record than is shown":  func(p *canonv1.Proposal) { p.RecordId = "principal/ann" },
		"another kind than is shown":    func(p *canonv1.Proposal) { p.Kind = "schema" },
		"a body that is not linked":     func(p *canonv1.Proposal) { p.With = append(p.With, []byte{0xa0}) },
		"an epoch beyond all":           func(p *canonv1.Proposal) { p.Epoch = 1 << 60 },
		"a proposal that has ended":     func(p *canonv1.Proposal) { p.State = canonv1.ProposalState_PROPOSAL_STATE_COMMITTED },
		"a proposal without a state":    func(p *canonv1.Proposal) { p.State = 0 },
		"a proposal without an id":      func(p *canonv1.Proposal) { p.Id = "" },
		"a body that is no record":      func(p *canonv1.Proposal) { setBody(p, []byte{0x01}) },
		"a body that is no CBOR":        func(p *canonv1.Proposal) { setBody(p, []byte{0xff}) },
		"a body that is not canonical":  func(p *canonv1.Proposal) { setBody(p, append([]byte{}, p.Body...)[:len(p.Body)-1]) },
		"no body, by the hash of none":  func(p *canonv1.Proposal) { setBody(p, nil) },
		"a body with a longer encoding": func(p *canonv1.Proposal) { setBody(p, append(append([]byte{}, p.Body...), 0)) },
	} {
		if _, err := sigil.SignAttestation("sigil.test", proposal(t, change), sigil.Approve, key); err == nil {
			t.Errorf("%s is signed", what)
		}
	}
	for what, sign := range map[string]func() ([]byte, error){
		"no proposal":    func() ([]byte, error) { return sigil.SignAttestation("sigil.test", nil, sigil.Approve, key) },
		"no origin":      func() ([]byte, error) { return sigil.SignAttestation("", proposal(t), sigil.Approve, key) },
		"no such vote":   func() ([]byte, error) { return sigil.SignAttestation("sigil.test", proposal(t), "yes", key) },
		"no vote":        func() ([]byte, error) { return sigil.SignAttestation("sigil.test", proposal(t), "", key) },
		"no private key": func() ([]byte, error) { return sigil.SignAttestation("sigil.test", proposal(t), sigil.Approve, nil) },
	} {
		if _, err := sign(); err == nil {
			t.Errorf("%s is signed", what)
		}
	}
	noOrigin := func(p *canonv1.Proposal) { p.Origin = "" }
	if _, err := sigil.SignAttestation("", proposal(t, noOrigin), sigil.Approve, key); err == nil {
		t.Error("a proposal of no deployment is signed")
	}
}

func setBody(p *canonv1.Proposal, body []byte) {
	hash := sha256.Sum256(body)
	p.Body, p.RecordHash = body, hash[:]
}

func TestAnAttestationIsSentOnce(t *testing.T) {
	server := &fake{attest: func(*canonv1.AttestProposalRequest) (*canonv1.AttestProposalResponse, error) {
		return nil, status.Error(codes.Unavailable, "")
	}}
	client := connected(t, server, sigil.WithOrigin("sigil.test"))
	if _, err := client.Attest(t.Context(), proposal(t), sigil.Approve, newKey(t)); failure(t, err).Code != codes.Unavailable || server.calls() != 1 {
		t.Error(err, server.calls())
	}
	nowhere := connected(t, server)
	if _, err := nowhere.Attest(t.Context(), proposal(t), sigil.Approve, newKey(t)); err == nil || server.calls() != 1 {
		t.Error("a statement about any deployment is made")
	}
}
