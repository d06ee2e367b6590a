package verify

import (
	"sigil.example/go/verify/record"
	"sigil.example/go/verify/spelling"
)

// SpanEnd is how a span of a caller's decisions ends.
type SpanEnd string

// Ends of spans. Source: docs/spec/completeness.md §1.
const (
	// EndsWithDecision: with the first decision after the span.
	EndsWithDecision SpanEnd = "decision"
	// EndsWithHead: with a statement of the caller's newest number, recorded after the span.
	EndsWithHead SpanEnd = "head"
	// EndsWithNewest: with the newest decision or head itself. Nothing is claimed after it.
	EndsWithNewest SpanEnd = "newest"
)

// Completeness claims how many decisions a caller has in a span of time.
type Completeness struct {
	// Tenant and Caller are who was asked about.
	Tenant string
	Caller string
	// FromMs and UntilMs are in milliseconds since 1970-01-01T00:00:00Z; nil for no bound.
	FromMs  *int64
	UntilMs *int64
	// Before is the caller's last decision before the span; nil if there is none.
	Before *RecordProof
	After  RecordProof
	End    SpanEnd
	// Decisions is how many the span has, as the server says.
	Decisions uint64
}

type numbered struct {
	*Found
	caller string
	seq    uint64
}

// numbered verifies a record that says a caller's number.
func (k *Keys) numbered(proof RecordProof) (numbered, error) {
	found, err := k.Record(proof)
	if err != nil {
		return numbered{}, err
	}
	switch found.Body.Kind {
	case "caller_head":
		head, err := record.ParseCallerHead(found.Body.Payload)
		return numbered{found, head.Caller, head.Seq}, err
	case "frozen_chain":
		decision, err := record.ReadDecision(found.Body, nil)
		if err != nil {
			return numbered{}, err
		}
		if decision.CallerSeq == 0 {
			return numbered{}, refused("the decision at position %d has no number", found.Position)
		}
		return numbered{found, decision.Request.Caller, decision.CallerSeq}, nil
	default:
		return numbered{}, refused("a %s has no number", found.Body.Kind)
	}
}

// Completeness verifies that no decision of the caller is left out of the span. Source: docs/spec/completeness.md §2.
// Who holds the decisions that are numbered in between has all of them.
func (k *Keys) Completeness(claim Completeness) error {
	after, err := k.numbered(claim.After)
	if err != nil {
		return err
	}
	caller, err := spelling.Subject(claim.Caller, k.Origin())
	caller = spelling.Or(caller, err, claim.Caller)
	var before numbered
	if claim.Before != nil {
		if before, err = k.numbered(*claim.Before); err != nil {
			return err
		}
		switch {
		case before.caller != caller || before.Body.Tenant != claim.Tenant:
			return refused("the first is not the caller's")
		case before.Body.Kind != "frozen_chain":
			return refused("the first is no decision")
		case before.Position > after.Position, before.Position == after.Position && claim.End != EndsWithNewest:
			return refused("the two are not in the order of the ledger")
		case claim.FromMs == nil || before.Body.TimeMs >= *claim.FromMs:
			return refused("the first is not before the span")
		}
	}
	isHead := after.Body.Kind == "caller_head"
	switch {
	case after.caller != caller || after.Body.Tenant != claim.Tenant:
		return refused("the last is not the caller's")
	case claim.End == EndsWithDecision && isHead, claim.End == EndsWithHead && !isHead:
		return refused("the span does not end as it says")
	case claim.End != EndsWithNewest && (claim.UntilMs == nil || after.Body.TimeMs < *claim.UntilMs):
		return refused("the last is not after the span")
	}
	beyond := before.seq
	switch claim.End {
	case EndsWithDecision:
		beyond++ // The last one is not of the span.
	case EndsWithHead, EndsWithNewest:
	default:
		return refused("it does not say how the span ends")
	}
	if after.seq < beyond || after.seq-beyond != claim.Decisions {
		return refused("from the numbers %d and %d follow other than %d decisions", before.seq, after.seq, claim.Decisions)
	}
	return nil
}
