// Verifying the decisions of a connection by the proofs that they carry: that the decision's record is in the ledger,
// and that the answer is what the record says of what was asked. Nothing else that the server says is believed.

package sigil

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	keyv1 "sigil.example/go/sigil/key/v1"
	trustv1 "sigil.example/go/sigil/trust/v1"
	typev1 "sigil.example/go/sigil/type/v1"
	"sigil.example/go/verify"
	"sigil.example/go/verify/record"
)

// ProofError is an answer that its proof does not show. Its decision denies. Unwrap gives the rule that was broken.
type ProofError struct {
	// AuditID and Position are what the answer claims: keep them for an investigation.
	AuditID  string
	Position uint64
	cause    error
}

func (e *ProofError) Error() string {
	return fmt.Sprintf("sigil: the answer is not proved: %s (decision %s at position %d)",
		printable(e.cause.Error(), messageBytesMax), printable(e.AuditID, 128), e.Position)
}

// Unwrap gives the rule.
func (e *ProofError) Unwrap() error { return e.cause }

// VerifyDecisions asks for a proof with each check, and verifies it before an answer is given: an allow that is not
// proved is an error, and denies. genesis is the hash of the genesis record in hexadecimal digits, which `sigil init`
// printed; it must not come from the server.
func VerifyDecisions(genesis string) Option {
	return func(s *settings) error {
		hash, err := verify.ParseHash(genesis)
		if err != nil {
			return fmt.Errorf("sigil: the genesis hash: %w", err)
		}
		s.genesis = &hash
		return nil
	}
}

// keyRecordsMax bounds what a server may send as the records of its keys.
const keyRecordsMax = 65_536

// WalkKeys derives the deployment's keys from the hash of its genesis record, which must not come from the server.
func (c *Client) WalkKeys(ctx context.Context, genesis verify.Hash) (*verify.Keys, error) {
	keys, _, err := c.walkKeys(ctx, genesis)
	return keys, err
}

func (c *Client) walkKeys(ctx context.Context, genesis verify.Hash) (keys *verify.Keys, count int, err error) {
	ctx, cancel := c.channel.withDefaultDeadline(ctx)
	defer cancel()
	var records []verify.StoredRecord
	for token := ""; ; {
		page, err := c.Keys().ListKeyRecords(ctx, &keyv1.ListKeyRecordsRequest{PageToken: token})
		if err != nil {
			return nil, 0, err
		}
		for _, each := range page.GetRecords() {
			records = append(records, verify.StoredRecord{Position: each.GetLedgerPosition(), Envelope: each.GetEnvelope()})
		}
		token = page.GetNextPageToken()
		if token == "" {
			break
		}
		// The server is not trusted: each page must make progress, or the walk would never end.
		if len(page.GetRecords()) == 0 || len(records) > keyRecordsMax {
			return nil, 0, contradiction("the records of the keys do not end")
		}
	}
	keys, err = verify.WalkKeys(genesis, records)
	return keys, len(records), err
}

// proofs are of one connection. Nil verifies nothing, and is asked where the caller did not ask for it.
type proofs struct {
	client  *Client
	genesis verify.Hash

	// turn has one place: keys are walked once for all who wait.
	turn  chan struct{}
	keys  *verify.Keys
	count int

	fresh *freshness
}

func newProofs(client *Client, genesis *verify.Hash) *proofs {
	if genesis == nil {
		return nil
	}
	return &proofs{client: client, genesis: *genesis, turn: make(chan struct{}, 1), fresh: newFreshness(time.Now)}
}

// proving is a question under way.
type proving struct {
	request *trustv1.CheckRequest
	// since is nil where the caller chose the idempotency key.
	since *since
}

// ask asks for a proof, where decisions are verified. Each question that was asked is ended.
func (p *proofs) ask(request *trustv1.CheckRequest, repeated bool) proving {
	if p == nil {
		return proving{request: request}
	}
	if !needsProof(request.Proof) {
		request.Proof = typev1.RecordProof_RECORD_PROOF_INCLUSION
	}
	// The record only commits to its input: what opens that is compared.
	request.Disclose = request.Disclose || len(request.Input) > 0
	if repeated {
		return proving{request: request}
	}
	return proving{request: request, since: p.fresh.ask()}
}

// end of questions, answered or not.
func (p *proofs) end(all ...proving) {
	if p == nil {
		return
	}
	for _, each := range all {
		p.fresh.end(each.since)
	}
}

// walked gives the keys, newer ones than those that are known if there are any.
func (p *proofs) walked(ctx context.Context, known *verify.Keys) (*verify.Keys, error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, endedBefore(ctx)
	}
	defer func() { <-p.turn }()
	if p.keys != nil && p.keys != known {
		return p.keys, nil
	}
	keys, count, err := p.client.walkKeys(ctx, p.genesis)
	if err != nil {
		return nil, err
	}
	if p.keys == nil || count > p.count {
		p.keys, p.count = keys, count
	}
	return p.keys, nil
}

// prove gives the decision if its proof holds, and one that denies otherwise. shared is of the batch, if it was asked
// in one. A deny without a record, and one that was made of a contradiction, have nothing to prove.
func (p *proofs) prove(ctx context.Context, asked proving, decision Decision, shared *typev1.SharedProof) Decision {
	reply := decision.reply
	if p == nil || !decision.allowed && (reply.GetAuditId() == "" || reply.GetReason() == ReasonReplyContradictory) {
		return decision
	}
	if err := p.requireProved(ctx, asked, reply, shared); err != nil {
		return failed(&ProofError{AuditID: reply.GetAuditId(), Position: reply.GetLedgerPosition(), cause: err})
	}
	decision.verified = true
	return decision
}

// believed is the reply of a decision whose number may be remembered: of one that took proof only if it is proved.
func (p *proofs) believed(decision Decision) []*trustv1.CheckResponse {
	if decision.reply == nil || p != nil && !decision.verified {
		return nil
	}
	return []*trustv1.CheckResponse{decision.reply}
}

func (p *proofs) requireProved(ctx context.Context, asked proving, reply *trustv1.CheckResponse, shared *typev1.SharedProof) error {
	proof, err := proofOf(reply, shared)
	if err != nil {
		return err
	}
	keys, err := p.walked(ctx, nil)
	if err != nil {
		return err
	}
	question, answer := questionOf(asked.request), answerOf(reply)
	decision, err := keys.Decision(proof, question, answer)
	if err != nil {
		// Keys change while a connection lasts: what does not hold is looked at again with those announced since.
		newer, walkErr := p.walked(ctx, keys)
		if walkErr != nil || newer == keys {
			return err
		}
		if decision, err = newer.Decision(proof, question, answer); err != nil {
			return err
		}
		keys = newer
	}
	if err := requireInput(keys, proof, asked.request, reply); err != nil {
		return err
	}
	checkpoint, err := keys.Checkpoint(proof.Checkpoint)
	if err != nil {
		return err
	}
	return p.fresh.take(asked.since, proven{proof.Position, decision.TimeMs, checkpoint})
}

// requireInput: the record commits to the digest of its input, and the answer opens the commitment.
func requireInput(keys *verify.Keys, proof verify.RecordProof, request *trustv1.CheckRequest, reply *trustv1.CheckResponse) error {
	if len(request.GetInput()) == 0 {
		return nil
	}
	found, err := keys.Record(proof)
	if err != nil {
		return err
	}
	disclosures, err := record.ReadDisclosures(reply.GetDisclosures(), found.Body)
	if err != nil {
		return err
	}
	decision, err := record.ReadDecision(found.Body, disclosures)
	if err != nil {
		return err
	}
	if digest := sha256.Sum256(request.GetInput()); decision.Request.InputDigest != digest {
		return errors.New("its record does not say that it is about this input")
	}
	return nil
}

func proofOf(reply *trustv1.CheckResponse, shared *typev1.SharedProof) (verify.RecordProof, error) {
	given := reply.GetProof()
	if given == nil {
		return verify.RecordProof{}, errors.New("it has no proof")
	}
	proof := verify.RecordProof{
		StoredRecord: verify.StoredRecord{Position: reply.GetLedgerPosition(), Envelope: given.GetEnvelope()},
		Path:         given.GetInclusionProof(),
		Checkpoint:   given.GetCheckpoint(),
	}
	if shared == nil {
		return proof, nil
	}
	proof.Checkpoint, proof.Path = shared.GetCheckpoint(), nil
	for _, index := range given.GetSharedPath() {
		if uint64(index) >= uint64(len(shared.GetHashes())) {
			return verify.RecordProof{}, errors.New("the batch lacks a hash of its path")
		}
		proof.Path = append(proof.Path, shared.GetHashes()[index])
	}
	return proof, nil
}

func questionOf(request *trustv1.CheckRequest) verify.Question {
	return verify.Question{Action: request.GetAction(), Target: request.GetTarget(), Subject: request.GetSubject()}
}

func answerOf(reply *trustv1.CheckResponse) verify.Answer {
	verdicts := map[typev1.Verdict]string{
		typev1.Verdict_VERDICT_ALLOW:  "allow",
		typev1.Verdict_VERDICT_DENY:   "deny",
		typev1.Verdict_VERDICT_REVIEW: "review",
	}
	return verify.Answer{
		AuditID:   reply.GetAuditId(),
		Verdict:   verdicts[reply.GetVerdict()],
		IsAllowed: reply.GetAllowed(),
		Reason:    reply.GetReason(),
		CallerSeq: reply.GetCallerSeq(),
		Subject:   reply.GetSubject(),
	}
}
