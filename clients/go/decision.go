// Questions, and decisions that cannot be mistaken for an allow. Pure.

package sigil

import (
	"errors"
	"fmt"
	"time"

	trustv1 "sigil.example/go/sigil/trust/v1"
	typev1 "sigil.example/go/sigil/type/v1"

	"google.golang.org/protobuf/proto"
)

// ErrDenied is what every DeniedError is to errors.Is.
var ErrDenied = errors.New("sigil: denied")

// Question is what a check asks: may the subject do the action to the target, now?
type Question struct {
	// Action is what is to happen, for example "write" or "payment.refund".
	Action string
	// Target is to what, for example "user/notes". TargetOf builds one from parts that others chose.
	Target string
	// Subject is who would do it; empty means the caller. Naming another one takes level Operator.
	Subject string
	// Session is recorded, not scored.
	Session string
	// Input of the action, at most 262,144 bytes. The record commits to its digest, its entropy is scored.
	Input []byte
	// KeepInput keeps the raw input beside the record, encrypted with it.
	KeepInput bool
	// IdempotencyKey makes a repeat safe; one is made for each call unless it is set.
	IdempotencyKey string
	// Disclose gives with the answer what opens the commitments of the decision's record.
	Disclose bool
	// Proof asks for what proves the decision's record, in the answer itself.
	Proof typev1.RecordProof
}

// String leaves out the input, which may be secret.
func (q Question) String() string {
	text := fmt.Sprintf("%s on %s", printable(q.Action, 128), printable(q.Target, 512))
	if q.Subject != "" {
		text += " by " + printable(q.Subject, 512)
	}
	return text
}

// GoString is String: %#v must not print the input.
func (q Question) GoString() string { return q.String() }

func (q Question) message() *trustv1.CheckRequest {
	return &trustv1.CheckRequest{
		Action:         q.Action,
		Target:         q.Target,
		Subject:        q.Subject,
		Session:        q.Session,
		Input:          q.Input,
		KeepInput:      q.KeepInput,
		IdempotencyKey: q.IdempotencyKey,
		Disclose:       q.Disclose,
		Proof:          q.Proof,
	}
}

// Decision is the answer to a question. Its zero value denies, and so does every decision that did not come from a
// server as an honest allow: act on Allowed alone, or on Err.
type Decision struct {
	reply    *trustv1.CheckResponse
	failure  error
	allowed  bool
	verified bool
}

// decided makes a decision of a reply that the channel has judged.
func decided(reply *trustv1.CheckResponse) Decision {
	return Decision{
		reply:   reply,
		allowed: reply.GetAllowed() && reply.GetVerdict() == typev1.Verdict_VERDICT_ALLOW,
	}
}

func failed(err error) Decision { return Decision{failure: err} }

// Allowed tells whether the action may happen.
func (d Decision) Allowed() bool { return d.allowed }

// Err is nil for an allow alone. Otherwise it is a *DeniedError, or why there was no decision.
func (d Decision) Err() error {
	switch {
	case d.allowed:
		return nil
	case d.failure != nil:
		return d.failure
	}
	return &DeniedError{Decision: d}
}

// Verdict is VERDICT_ALLOW, VERDICT_REVIEW (a person should look; not allowed) or VERDICT_DENY, also where there was no
// decision.
func (d Decision) Verdict() typev1.Verdict {
	switch {
	case d.allowed:
		return typev1.Verdict_VERDICT_ALLOW
	case d.failure == nil && d.reply.GetVerdict() == typev1.Verdict_VERDICT_REVIEW:
		return typev1.Verdict_VERDICT_REVIEW
	}
	return typev1.Verdict_VERDICT_DENY
}

// Reason is a stable code; docs/spec/trust.md lists them.
func (d Decision) Reason() string { return d.reply.GetReason() }

// AuditID names the decision's record.
func (d Decision) AuditID() string { return d.reply.GetAuditId() }

// Position is where the record stands in the ledger.
func (d Decision) Position() uint64 { return d.reply.GetLedgerPosition() }

// Subject is whom the decision is about; empty for an anonymous Guest.
func (d Decision) Subject() string { return d.reply.GetSubject() }

// Score is in (0, 1), for people; false if none could be computed.
func (d Decision) Score() (float64, bool) {
	if d.reply == nil || d.reply.Score == nil {
		return 0, false
	}
	return *d.reply.Score, true
}

// Time is when the decision was made; zero without one.
func (d Decision) Time() time.Time {
	if d.reply.GetTime() == nil {
		return time.Time{}
	}
	return d.reply.GetTime().AsTime()
}

// Verified tells whether the proof of the decision was verified, which takes VerifyDecisions.
func (d Decision) Verified() bool { return d.verified }

// Reply is a copy of the whole answer, as it was judged; empty without one.
func (d Decision) Reply() *trustv1.CheckResponse {
	if d.reply == nil {
		return &trustv1.CheckResponse{}
	}
	return proto.CloneOf(d.reply)
}

// String is for logs.
func (d Decision) String() string {
	switch {
	case d.failure != nil:
		return "no decision: " + d.failure.Error()
	case d.reply == nil:
		return "no decision"
	}
	return fmt.Sprintf("%s %s %s", d.Verdict(), printable(d.Reason(), 128), printable(d.AuditID(), 128))
}

// GoString is String.
func (d Decision) GoString() string { return d.String() }

// MarshalJSON gives the reply as proto3 JSON, and {} without one.
func (d Decision) MarshalJSON() ([]byte, error) {
	if d.reply == nil {
		return []byte("{}"), nil
	}
	return JSON{d.reply}.MarshalJSON()
}

// DeniedError is a decision that is no allow.
type DeniedError struct {
	Decision Decision
}

func (e *DeniedError) Error() string {
	verdict := "denied"
	if e.Decision.Verdict() == typev1.Verdict_VERDICT_REVIEW {
		verdict = "denied, a person should look"
	}
	return fmt.Sprintf("sigil: %s: %s (decision %s)", verdict,
		printable(e.Decision.Reason(), 128), printable(e.Decision.AuditID(), 128))
}

// Is makes it ErrDenied.
func (e *DeniedError) Is(target error) bool { return target == ErrDenied }
