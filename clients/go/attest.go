// What a witness signs about a proposal, with a key that never leaves this process. Only the bytes of the body count:
// the rest of a proposal is a server's view of them. Source: docs/spec/record.md §4 and §5, docs/spec/quorum.md §4.

package sigil

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"

	canonv1 "sigil.example/go/sigil/canon/v1"
	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/cose"

	"google.golang.org/grpc"
)

// Vote is what a witness says about a proposal.
type Vote string

// The votes.
const (
	Approve Vote = "approve"
	Reject  Vote = "reject"
)

// ReadProposal decodes the body that would be committed, to be reviewed before it is signed. It refuses a proposal
// whose view says something else than its bytes, and one of another deployment.
func ReadProposal(origin string, proposal *canonv1.Proposal) (cbor.Map, error) {
	if proposal == nil {
		return nil, errors.New("sigil: there is no proposal")
	}
	if origin == "" || proposal.GetOrigin() != origin {
		return nil, fmt.Errorf("sigil: the proposal is for %q and not for %q", printable(proposal.GetOrigin(), 256), origin)
	}
	if proposal.GetEpoch() > cbor.SafeMax {
		return nil, errors.New("sigil: the proposal's epoch is no epoch")
	}
	hash := sha256.Sum256(proposal.GetBody())
	if !bytes.Equal(hash[:], proposal.GetRecordHash()) {
		return nil, errors.New("sigil: the proposal's hash is not that of its body")
	}
	decoded, err := cbor.Decode(proposal.GetBody())
	if err != nil {
		return nil, fmt.Errorf("sigil: the proposal's body: %w", err)
	}
	body, ok := decoded.(cbor.Map)
	if !ok {
		return nil, errors.New("sigil: the proposal's body is no record")
	}
	for name, view := range map[string]string{"id": proposal.GetRecordId(), "kind": proposal.GetKind()} {
		if value, _ := body.Get(name); value != view {
			return nil, fmt.Errorf("sigil: the %s of the proposal's body is not the one that is shown", name)
		}
	}
	return body, requireLinked(body, proposal.GetWith())
}

// requireLinked: further bodies of the same commit are signed by their hashes in the first one.
func requireLinked(body cbor.Map, with [][]byte) error {
	listed, _ := body.Get("links")
	links, _ := listed.([]any)
	for at, other := range with {
		hash := sha256.Sum256(other)
		isLinked := false
		for _, each := range links {
			link, _ := each.(cbor.Map)
			target, _ := link.Get("target")
			linked, _ := target.([]byte)
			isLinked = isLinked || bytes.Equal(linked, hash[:])
		}
		if !isLinked {
			return fmt.Errorf("sigil: the proposal's body does not link to body %d that comes with it", at)
		}
	}
	return nil
}

// SignAttestation makes the statement of whoever holds the key about the exact body of a proposal. It needs no network.
// origin is the deployment's, known from elsewhere than the proposal.
func SignAttestation(origin string, proposal *canonv1.Proposal, vote Vote, key ed25519.PrivateKey) ([]byte, error) {
	if vote != Approve && vote != Reject {
		return nil, fmt.Errorf("sigil: a vote is %q or %q", Approve, Reject)
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("sigil: the private key must be an Ed25519 key")
	}
	if _, err := ReadProposal(origin, proposal); err != nil {
		return nil, err
	}
	if proposal.GetState() != canonv1.ProposalState_PROPOSAL_STATE_OPEN {
		return nil, fmt.Errorf("sigil: the proposal is not open: %s", proposal.GetState())
	}
	hash := sha256.Sum256(proposal.GetBody())
	payload, err := cbor.Encode(cbor.Map{
		{Key: "proposal", Value: proposal.GetId()},
		{Key: "record", Value: hash[:]},
		{Key: "epoch", Value: proposal.GetEpoch()},
		{Key: "verdict", Value: string(vote)},
	})
	if err != nil {
		return nil, err
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("sigil: the private key must be an Ed25519 key")
	}
	protected, err := cose.EncodeHeader(cose.Header{
		ContentType: cose.AttestationContentType,
		Kid:         cose.Thumbprint(public),
		Origin:      origin,
		Subject:     proposal.GetId(),
	})
	if err != nil {
		return nil, err
	}
	return cose.EncodeStatement(protected, payload, ed25519.Sign(key, cose.ToBeSigned(protected, payload)))
}

// Attest signs a proposal that was reviewed (ReadProposal) with the witness's key, and sends the statement. The
// deployment is that of WithKey or WithOrigin. It is made once: a repeat would be refused as a second statement.
func (c *Client) Attest(ctx context.Context, proposal *canonv1.Proposal, vote Vote, key ed25519.PrivateKey, options ...grpc.CallOption) (*canonv1.AttestProposalResponse, error) {
	if c.channel.settings.origin == "" {
		return nil, errors.New("sigil: say which deployment this is, by WithKey or WithOrigin")
	}
	statement, err := SignAttestation(c.channel.settings.origin, proposal, vote, key)
	if err != nil {
		return nil, err
	}
	request := &canonv1.AttestProposalRequest{Id: proposal.GetId(), Statement: statement}
	return c.Canon().AttestProposal(ctx, request, options...)
}
