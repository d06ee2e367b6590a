// Verifying the decisions of a connection by the proofs that they carry.

package sigil

import (
	"context"

	trustv1 "sigil.example/go/sigil/trust/v1"
	typev1 "sigil.example/go/sigil/type/v1"
)

// trustRoot is what a caller trusts in place of the server.
type trustRoot struct {
}

type proofs struct {
}

func newProofs(*Client, *trustRoot) *proofs { return nil }

// ask asks for a proof, where decisions are verified.
func (p *proofs) ask(*trustv1.CheckRequest) {}

// prove gives the decision if its proof holds, and one that denies otherwise.
func (p *proofs) prove(_ context.Context, _ *trustv1.CheckRequest, decision Decision, _ *typev1.SharedProof) Decision {
	return decision
}
