// Which calls may be repeated, when, and after which pause. Pure, but for the pause itself and its randomness.

package sigil

import (
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"sync"
	"time"

	auditv1 "sigil.example/go/sigil/audit/v1"
	canonv1 "sigil.example/go/sigil/canon/v1"
	identityv1 "sigil.example/go/sigil/identity/v1"
	keyv1 "sigil.example/go/sigil/key/v1"
	modulev1 "sigil.example/go/sigil/module/v1"
	trustv1 "sigil.example/go/sigil/trust/v1"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// attemptsMax bounds one call, the first attempt included.
	attemptsMax    = 5
	backoffFirst   = 100 * time.Millisecond
	backoffLongest = 2 * time.Second
	// resumeBackoffLongest is between attempts to go on with a stream.
	resumeBackoffLongest = 15 * time.Second
)

// repeatable are the calls that change nothing, or whose repeat has the answer of the first. A call that is not here is
// repeated only if its request takes an idempotency key. Runs of modules, attestations and changes of keys are neither.
var repeatable = map[string]bool{
	trustv1.TrustService_GetActiveModel_FullMethodName: true,
	trustv1.TrustService_Simulate_FullMethodName:       true,

	auditv1.AuditService_GetFrozenChain_FullMethodName:      true,
	auditv1.AuditService_ListFrozenChains_FullMethodName:    true,
	auditv1.AuditService_VerifyFrozenChain_FullMethodName:   true,
	auditv1.AuditService_ReplayDecision_FullMethodName:      true,
	auditv1.AuditService_GetCheckpoint_FullMethodName:       true,
	auditv1.AuditService_GetInclusionProof_FullMethodName:   true,
	auditv1.AuditService_ProveCompleteness_FullMethodName:   true,
	auditv1.AuditService_GetConsistencyProof_FullMethodName: true,
	auditv1.AuditService_GetTile_FullMethodName:             true,

	canonv1.CanonService_GetRecord_FullMethodName:        true,
	canonv1.CanonService_ListRecords_FullMethodName:      true,
	canonv1.CanonService_ListHistory_FullMethodName:      true,
	canonv1.CanonService_GetProposal_FullMethodName:      true,
	canonv1.CanonService_ListProposals_FullMethodName:    true,
	canonv1.CanonService_CommitProposal_FullMethodName:   true,
	canonv1.CanonService_WithdrawProposal_FullMethodName: true,
	canonv1.CanonService_GetSystemRecord_FullMethodName:  true,

	canonv1.WitnessService_ListWitnesses_FullMethodName: true,
	canonv1.WitnessService_GetQuorum_FullMethodName:     true,

	identityv1.PrincipalService_SuspendPrincipal_FullMethodName:  true,
	identityv1.PrincipalService_WithdrawFeedGrant_FullMethodName: true,
	identityv1.PrincipalService_GetPrincipal_FullMethodName:      true,
	identityv1.PrincipalService_ListPrincipals_FullMethodName:    true,

	keyv1.KeyService_ListKeys_FullMethodName:       true,
	keyv1.KeyService_ListKeyRecords_FullMethodName: true,
	keyv1.KeyService_ListDataKeys_FullMethodName:   true,

	modulev1.ModuleService_GetModule_FullMethodName:   true,
	modulev1.ModuleService_ListModules_FullMethodName: true,

	healthv1.Health_Check_FullMethodName: true,
}

// keyField is the idempotency key of a request; nil if it takes none.
func keyField(request protoreflect.Message) protoreflect.FieldDescriptor {
	return request.Descriptor().Fields().ByName("idempotency_key")
}

func newIdempotencyKey() string { return rand.Text() }

// repeatably gives the request as it may be sent more than once: with an idempotency key, if it takes one. What the
// caller handed in stays as it was.
func repeatably(method string, request proto.Message) (proto.Message, bool) {
	message := request.ProtoReflect()
	field := keyField(message)
	switch {
	case field == nil:
		return request, repeatable[method]
	case message.Get(field).String() != "":
		return request, true
	}
	keyed := proto.Clone(request)
	keyed.ProtoReflect().Set(field, protoreflect.ValueOfString(newIdempotencyKey()))
	return keyed, true
}

// isPassing tells whether the same call may succeed later: nobody was reached, the answer could not be kept, or the
// server says when to come again.
func isPassing(failure *Error) bool {
	switch failure.Code {
	case codes.Unavailable:
		return true
	case codes.ResourceExhausted:
		return failure.RetryDelay > 0
	}
	return false
}

// budget keeps a connection from adding load to a server that is down: while most calls fail none is repeated, and each
// fails as fast as its server does. Source: gRFC A6, "Throttling".
type budget struct {
	mu    sync.Mutex
	spent float64
}

const (
	budgetTokens     = 10
	tokensPerSuccess = 0.1
)

func (b *budget) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = max(0, b.spent-tokensPerSuccess)
}

// failed tells whether a call that failed may be repeated.
func (b *budget) failed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = min(budgetTokens, b.spent+1)
	return b.spent < budgetTokens/2.0
}

// pauseOf doubles from backoffFirst; from half of it to all of it at random, so that callers do not come in step.
func pauseOf(attempt int, longest time.Duration) time.Duration {
	pause := longest
	if attempt < 16 {
		pause = min(backoffFirst<<attempt, longest)
	}
	return pause/2 + mathrand.N(pause/2+1)
}

// pauseBefore waits before the next attempt, at least as long as the server asks for.
// It returns false at once if the context would end before.
func pauseBefore(ctx context.Context, failure *Error, attempt int, longest time.Duration) bool {
	pause := max(pauseOf(attempt, longest), failure.RetryDelay)
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
