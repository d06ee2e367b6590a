package verify

import (
	"fmt"

	"sigil.example/go/verify/record"
	"sigil.example/go/verify/spelling"
)

// Question is what was asked of a decision. An empty Subject is not compared.
type Question struct {
	Action  string
	Target  string
	Subject string
}

// Answer is what a server said. The zero value allows nothing, and no record says so.
type Answer struct {
	AuditID string
	// Verdict is "allow", "deny" or "review".
	Verdict   string
	IsAllowed bool
	Reason    string
	// CallerSeq is 0 if the decision has no number.
	CallerSeq uint64
	// Subject is the one that was decided on.
	Subject string
}

// Decision verifies the answer to a check by the proof that came with it: the decision's record is in the ledger, and
// the answer is what the record says of what was asked. Source: docs/spec/verify.md §4.
func (k *Keys) Decision(proof RecordProof, asked Question, answer Answer) (*record.Decision, error) {
	found, err := k.Record(proof)
	if err != nil {
		return nil, err
	}
	if found.Body.Kind != "frozen_chain" {
		return nil, refused("the answer is not proved: the record is a %s, no decision", found.Body.Kind)
	}
	decision, err := record.ReadDecision(found.Body, nil)
	if err != nil {
		return nil, err
	}
	action, err := spelling.Action(asked.Action)
	action = spelling.Or(action, err, asked.Action)
	target, err := spelling.Target(asked.Target)
	target = spelling.Or(target, err, asked.Target)
	for _, said := range []struct {
		name           string
		told, recorded any
	}{
		{"audit id", answer.AuditID, found.Body.ID},
		{"verdict", answer.Verdict, decision.Verdict},
		{"allowed", answer.IsAllowed, decision.Verdict == record.Allow},
		{"reason", answer.Reason, decision.Reason},
		{"number", answer.CallerSeq, decision.CallerSeq},
		{"subject", answer.Subject, decision.Request.Subject},
		{"action", action, decision.Request.Action},
		{"target", target, decision.Request.Target},
	} {
		if said.told != said.recorded {
			return nil, refused("the answer is not proved: its %s is %q, and the record says %q",
				said.name, fmt.Sprint(said.told), fmt.Sprint(said.recorded))
		}
	}
	if asked.Subject != "" {
		subject, err := spelling.Subject(asked.Subject, k.origin)
		if spelling.Or(subject, err, asked.Subject) != decision.Request.Subject {
			return nil, refused("the answer is not proved: it is about another subject")
		}
	}
	return decision, nil
}
