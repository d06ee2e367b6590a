// A server that lies: no way of asking allows by a reply that contradicts itself.
package sigil_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	sigil "sigil.example/go"
	auditv1 "sigil.example/go/sigil/audit/v1"
	canonv1 "sigil.example/go/sigil/canon/v1"
	modulev1 "sigil.example/go/sigil/module/v1"
	trustv1 "sigil.example/go/sigil/trust/v1"
	typev1 "sigil.example/go/sigil/type/v1"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

type change = func(*trustv1.CheckResponse)

func verdict(verdict typev1.Verdict) change {
	return func(r *trustv1.CheckResponse) { r.Verdict = verdict }
}
func reason(reason string) change { return func(r *trustv1.CheckResponse) { r.Reason = reason } }
func notAllowed(r *trustv1.CheckResponse) {
	r.Allowed = false
}
func noRecord(r *trustv1.CheckResponse) { r.AuditId = "" }
func nothingElse(r *trustv1.CheckResponse) {
	r.Score, r.Threshold, r.Bias, r.Z, r.Contributions, r.Reason = nil, nil, nil, nil, nil, ""
}
func score(value float64) change { return func(r *trustv1.CheckResponse) { r.Score = &value } }
func threshold(value float64) change {
	return func(r *trustv1.CheckResponse) { r.Threshold = &value }
}
func bias(value float64) change { return func(r *trustv1.CheckResponse) { r.Bias = &value } }
func z(value float64) change    { return func(r *trustv1.CheckResponse) { r.Z = &value } }
func contributions(all ...*trustv1.Contribution) change {
	return func(r *trustv1.CheckResponse) { r.Contributions = all }
}

var lies = []struct {
	what string
	lie  []change
}{
	{"allowed with DENY", []change{verdict(typev1.Verdict_VERDICT_DENY)}},
	{"allowed with REVIEW", []change{verdict(typev1.Verdict_VERDICT_REVIEW)}},
	{"allowed without a verdict", []change{verdict(typev1.Verdict_VERDICT_UNSPECIFIED)}},
	{"allowed with a verdict that is not known", []change{verdict(4)}},
	{"allowed with a negative verdict", []change{verdict(-1)}},
	{"a verdict that is not known", []change{verdict(9), notAllowed}},
	{"no verdict at all", []change{verdict(typev1.Verdict_VERDICT_UNSPECIFIED), notAllowed}},
	{"ALLOW that is not allowed", []change{notAllowed}},
	{"ALLOW without a record", []change{noRecord}},
	{"REVIEW without a record", []change{verdict(typev1.Verdict_VERDICT_REVIEW), notAllowed, noRecord}},
	{"ALLOW with a score that is NaN", []change{nothingElse, score(math.NaN())}},
	{"ALLOW with a score above 1", []change{nothingElse, score(1.5)}},
	{"ALLOW with a score below 0", []change{nothingElse, score(-0.5)}},
	{"ALLOW with a threshold that is NaN", []change{nothingElse, threshold(math.NaN())}},
	{"ALLOW with a threshold of 0", []change{nothingElse, score(0.7), threshold(0)}},
	{"ALLOW with a z that is NaN", []change{nothingElse, z(math.NaN())}},
	{"ALLOW with an infinite z", []change{nothingElse, z(math.Inf(1))}},
	{"ALLOW with a bias that is NaN", []change{nothingElse, bias(math.NaN())}},
	{"ALLOW with another score than that of its z", []change{score(0.9)}},
	{"ALLOW with 1 − score", []change{score(1 - logistic(honestZ))}},
	{"ALLOW with another z than its sum", []change{z(0.5), score(logistic(0.5))}},
	{"ALLOW below the threshold", []change{nothingElse, score(0.49), threshold(0.5)}},
	{"ALLOW with z below the threshold", []change{nothingElse, z(-0.1), threshold(0.5)}},
	{"ALLOW with a contribution that is not value × weight", []change{nothingElse, contributions(
		&trustv1.Contribution{Feature: "level", Value: 0.5, Weight: 8, Contribution: 5})}},
	{"ALLOW with a contribution that is NaN", []change{contributions(contribution("level", math.NaN(), 8))}},
	{"ALLOW with a contribution that is infinite", []change{contributions(contribution("level", math.Inf(1), 8))}},
	{"ALLOW with a product that is infinite", []change{nothingElse, contributions(
		&trustv1.Contribution{Feature: "level", Value: 1e300, Weight: 1e300, Contribution: 5})}},
	{"ALLOW with the reason of a low score", []change{reason("SCORE_BELOW_THRESHOLD")}},
	{"ALLOW with the reason of a review", []change{reason("REVIEW_BAND")}},
	{"ALLOW with the reason of a low level", []change{reason("LEVEL_TOO_LOW")}},
	{"ALLOW without a model", []change{reason("MODEL_MISSING")}},
	{"ALLOW by an unknown action", []change{reason("UNKNOWN_ACTION")}},
	{"ALLOW by an evaluator that failed", []change{reason("EVALUATOR_ERROR")}},
	{"ALLOW by an evaluator that was late", []change{reason("DEADLINE_EXCEEDED")}},
	{"ALLOW by half a model's hash", []change{func(r *trustv1.CheckResponse) { r.ModelHash = make([]byte, 16) }}},
}

// always gives one reply, by every call.
func always(changes ...change) *fake {
	return &fake{check: func(context.Context, *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
		return honest(changes...), nil
	}}
}

type said struct {
	allowed bool
	verdict typev1.Verdict
	reason  string
}

func saidBy(d sigil.Decision) said { return said{d.Allowed(), d.Verdict(), d.Reason()} }
func saidIn(r *trustv1.CheckResponse) said {
	return said{r.GetAllowed(), r.GetVerdict(), r.GetReason()}
}

// ways are the same question by every way there is.
var ways = map[string]func(context.Context, *sigil.Client) (said, error){
	"Check": func(ctx context.Context, c *sigil.Client) (said, error) {
		decision, err := c.Check(ctx, question)
		return saidBy(decision), err
	},
	"Require": func(ctx context.Context, c *sigil.Client) (said, error) {
		err := c.Require(ctx, question)
		var denied *sigil.DeniedError
		if errors.As(err, &denied) {
			return saidBy(denied.Decision), nil
		}
		return said{allowed: err == nil, verdict: typev1.Verdict_VERDICT_ALLOW, reason: "SCORE_AT_OR_ABOVE_THRESHOLD"}, err
	},
	"CheckBatch": func(ctx context.Context, c *sigil.Client) (said, error) {
		decisions, err := c.CheckBatch(ctx, []sigil.Question{question})
		return saidBy(decisions[0]), err
	},
	"CheckStream": func(ctx context.Context, c *sigil.Client) (said, error) {
		for answer, err := range c.CheckStream(ctx, slices.Values([]sigil.Question{question})) {
			return saidBy(answer.Decision), err
		}
		return said{}, errors.New("no answer")
	},
	"a generated stub": func(ctx context.Context, c *sigil.Client) (said, error) {
		reply, err := trustv1.NewTrustServiceClient(c.Conn()).Check(ctx, &trustv1.CheckRequest{Action: "write"})
		return saidIn(reply), err
	},
	"a generated stub's stream": func(ctx context.Context, c *sigil.Client) (said, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.Trust().StreamChecks(ctx)
		if err != nil {
			return said{}, err
		}
		if err := stream.Send(&trustv1.StreamChecksRequest{CorrelationId: "1", Check: &trustv1.CheckRequest{}}); err != nil {
			return said{}, err
		}
		reply, err := stream.Recv()
		return saidIn(reply.GetDecision()), err
	},
}

func TestNoLieAllows(t *testing.T) {
	for _, each := range lies {
		t.Run(each.what, func(t *testing.T) {
			client := connected(t, always(each.lie...))
			for way, ask := range ways {
				told, err := ask(t.Context(), client)
				if err != nil {
					t.Fatalf("%s: %v", way, err)
				}
				if told != (said{false, typev1.Verdict_VERDICT_DENY, "REPLY_CONTRADICTORY"}) {
					t.Errorf("%s believed %+v", way, told)
				}
			}
			decision, _ := client.Check(t.Context(), question)
			if decision.AuditID() != honest(each.lie...).AuditId {
				t.Error("the audit id of a contradictory reply is for investigation")
			}
		})
	}
}

func TestTheAnswerToAnotherQuestionIsNoAllow(t *testing.T) {
	digest := sha256.Sum256([]byte("refund 5"))
	asked := sigil.Question{Action: "write", Target: "user/notes", Subject: "ann/", Input: []byte("refund 5")}
	about := func(subject string, digest []byte) change {
		return func(r *trustv1.CheckResponse) { r.Subject, r.InputDigest = subject, digest }
	}
	for what, each := range map[string]struct {
		question sigil.Question
		lie      change
		allowed  bool
	}{
		"what was asked":                 {asked, about("ann", digest[:]), true},
		"another subject":                {asked, about("root", digest[:]), false},
		"no subject":                     {asked, about("", digest[:]), false},
		"another input":                  {asked, about("ann", make([]byte, 32)), false},
		"half a digest":                  {asked, about("ann", digest[:16]), false},
		"no digest":                      {asked, about("ann", nil), true},
		"an input where none was given":  {question, about("operator", digest[:]), false},
		"oneself":                        {question, about("operator", nil), true},
		"a SPIFFE id of some deployment": {sigil.Question{Subject: "spiffe://o/ann"}, about("ann", nil), true},
	} {
		t.Run(what, func(t *testing.T) {
			client := connected(t, always(each.lie))
			one, err := client.Check(t.Context(), each.question)
			if err != nil {
				t.Fatal(err)
			}
			several, err := client.CheckBatch(t.Context(), []sigil.Question{each.question})
			if err != nil {
				t.Fatal(err)
			}
			decisions := append(several, one)
			for answer, err := range client.CheckStream(t.Context(), slices.Values([]sigil.Question{each.question})) {
				if err != nil {
					t.Fatal(err)
				}
				decisions = append(decisions, answer.Decision)
			}
			for _, decision := range decisions {
				if decision.Allowed() != each.allowed || !each.allowed && decision.Reason() != sigil.ReasonReplyContradictory {
					t.Errorf("%v", decision)
				}
			}
			if len(decisions) != 3 {
				t.Errorf("%d decisions", len(decisions))
			}
		})
	}
}

func TestTheTruthIsBelieved(t *testing.T) {
	review := []change{verdict(typev1.Verdict_VERDICT_REVIEW), notAllowed, reason("REVIEW_BAND")}
	deny := []change{nothingElse, verdict(typev1.Verdict_VERDICT_DENY), notAllowed, reason("EVALUATOR_ERROR"), noRecord}
	truths := map[string][]change{
		"an allow":                     {},
		"a review":                     review,
		"a deny without a record":      deny,
		"an allow without numbers":     {nothingElse, reason("SCORE_AT_OR_ABOVE_THRESHOLD")},
		"an allow at the threshold":    {nothingElse, score(0.5), threshold(0.5), z(0), reason("SCORE_AT_OR_ABOVE_THRESHOLD")},
		"an allow of a score rounded":  {nothingElse, score(1), threshold(0.999), z(40), reason("SCORE_AT_OR_ABOVE_THRESHOLD")},
		"an allow of an unknown model": {func(r *trustv1.CheckResponse) { r.ModelHash = nil }},
	}
	for what, truth := range truths {
		t.Run(what, func(t *testing.T) {
			client := connected(t, always(truth...))
			for way, ask := range ways {
				told, err := ask(t.Context(), client)
				if err != nil || told != saidIn(honest(truth...)) {
					t.Errorf("%s: %+v, %v", way, told, err)
				}
			}
		})
	}
}

func TestABatchOfAnotherCountIsNoAnswer(t *testing.T) {
	for _, count := range []int{0, 2, 3} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			client := connected(t, &fake{batch: func(context.Context, *trustv1.BatchCheckRequest) (*trustv1.BatchCheckResponse, error) {
				reply := &trustv1.BatchCheckResponse{}
				for range count {
					reply.Results = append(reply.Results, &trustv1.BatchCheckResult{Outcome: &trustv1.BatchCheckResult_Decision{Decision: honest()}})
				}
				return reply, nil
			}})
			decisions, err := client.CheckBatch(t.Context(), []sigil.Question{question})
			if got := failure(t, err); got.Reason != "REPLY_CONTRADICTORY" || got.Code != codes.Internal {
				t.Error(got)
			}
			if len(decisions) != 1 || decisions[0].Allowed() || decisions[0].Err() == nil {
				t.Errorf("%v", decisions)
			}
		})
	}
}

func TestAnItemWithoutAnAnswerFailed(t *testing.T) {
	failing := func(code codes.Code) *statuspb.Status { return &statuspb.Status{Code: int32(code), Message: "m"} }
	errorsOf := []*statuspb.Status{nil, failing(codes.OK), failing(codes.Aborted)}
	client := connected(t, &fake{
		batch: func(context.Context, *trustv1.BatchCheckRequest) (*trustv1.BatchCheckResponse, error) {
			reply := &trustv1.BatchCheckResponse{}
			for _, each := range errorsOf {
				result := &trustv1.BatchCheckResult{}
				if each != nil {
					result.Outcome = &trustv1.BatchCheckResult_Error{Error: each}
				}
				reply.Results = append(reply.Results, result)
			}
			return reply, nil
		},
		checks: func(stream grpc.BidiStreamingServer[trustv1.StreamChecksRequest, trustv1.StreamChecksResponse]) error {
			for at := 0; ; at++ {
				request, err := stream.Recv()
				if err != nil {
					return nil
				}
				answer := &trustv1.StreamChecksResponse{CorrelationId: request.CorrelationId}
				if errorsOf[at] != nil {
					answer.Outcome = &trustv1.StreamChecksResponse_Error{Error: errorsOf[at]}
				}
				if err := stream.Send(answer); err != nil {
					return err
				}
			}
		},
	})
	want := []codes.Code{codes.Internal, codes.Internal, codes.Aborted}
	three := []sigil.Question{question, question, question}
	decisions, err := client.CheckBatch(t.Context(), three)
	if err != nil {
		t.Fatal(err)
	}
	for at, decision := range decisions {
		if got := failure(t, decision.Err()); decision.Allowed() || got.Code != want[at] {
			t.Errorf("item %d of a batch: %v", at, decision)
		}
	}
	seen := 0
	for answer, err := range client.CheckStream(t.Context(), slices.Values(three)) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if got := failure(t, answer.Decision.Err()); answer.Decision.Allowed() || got.Code != want[answer.Index] {
			t.Errorf("item %d of a stream: %v", answer.Index, answer.Decision)
		}
	}
	if seen != 3 {
		t.Errorf("%d answers", seen)
	}
}

func TestARecordOtherThanTheWrittenOneIsNoAnswer(t *testing.T) {
	written := func(ids ...string) []*canonv1.WriteRecordResponse {
		replies := []*canonv1.WriteRecordResponse{}
		for _, id := range ids {
			replies = append(replies, &canonv1.WriteRecordResponse{Record: &typev1.CanonicalRecord{Id: id}})
		}
		return replies
	}
	replies := written("note/b")
	client := connected(t, &fake{
		write: func(*canonv1.WriteRecordRequest) (*canonv1.WriteRecordResponse, error) { return replies[0], nil },
		batchWrite: func(*canonv1.BatchWriteRecordsRequest) (*canonv1.BatchWriteRecordsResponse, error) {
			return &canonv1.BatchWriteRecordsResponse{Results: replies}, nil
		},
	})
	write := &canonv1.WriteRecordRequest{Id: "note/a", Content: &canonv1.WriteRecordRequest_PayloadJson{PayloadJson: "{}"}}
	reply, err := client.Canon().WriteRecord(t.Context(), write)
	if got := failure(t, err); got.Reason != sigil.ReasonReplyContradictory || reply != nil {
		t.Error(got, reply)
	}
	for _, wrong := range [][]*canonv1.WriteRecordResponse{written("note/b"), written(), written("note/a", "note/a"), {{}}} {
		replies = wrong
		_, err := client.Canon().BatchWriteRecords(t.Context(), &canonv1.BatchWriteRecordsRequest{Writes: []*canonv1.WriteRecordRequest{write}})
		if got := failure(t, err); got.Reason != sigil.ReasonReplyContradictory {
			t.Error(got)
		}
	}
	replies = written("note/a")
	if _, err := client.Canon().BatchWriteRecords(t.Context(), &canonv1.BatchWriteRecordsRequest{Writes: []*canonv1.WriteRecordRequest{write}}); err != nil {
		t.Error(err)
	}
}

func TestAReplyThatIsNoAnswerIsNotLeftWithTheCaller(t *testing.T) {
	client := connected(t, &fake{batch: func(context.Context, *trustv1.BatchCheckRequest) (*trustv1.BatchCheckResponse, error) {
		decision := &trustv1.BatchCheckResult{Outcome: &trustv1.BatchCheckResult_Decision{Decision: honest()}}
		return &trustv1.BatchCheckResponse{Results: []*trustv1.BatchCheckResult{decision}}, nil
	}})
	reply := &trustv1.BatchCheckResponse{}
	err := client.Conn().Invoke(t.Context(), trustv1.TrustService_BatchCheck_FullMethodName, &trustv1.BatchCheckRequest{}, reply)
	if failure(t, err); len(reply.Results) != 0 {
		t.Error(reply)
	}
}

func TestAStreamThatAnswersAnotherQuestionIsLeft(t *testing.T) {
	for what, ids := range map[string][]string{
		"a question that nobody asked": {"2"},
		"a question twice":             {"0", "0"},
		"no question by name":          {""},
		"no question at all":           nil,
	} {
		t.Run(what, func(t *testing.T) {
			client := connected(t, &fake{checks: func(stream grpc.BidiStreamingServer[trustv1.StreamChecksRequest, trustv1.StreamChecksResponse]) error {
				if _, err := stream.Recv(); err != nil {
					return err
				}
				for _, id := range ids {
					if err := stream.Send(streamed(id, honest())); err != nil {
						return err
					}
				}
				return nil
			}})
			allowed := 0
			var last error
			for answer, err := range client.CheckStream(t.Context(), slices.Values([]sigil.Question{question})) {
				if answer.Decision.Allowed() {
					allowed++
				}
				last = err
			}
			if got := failure(t, last); got.Reason != sigil.ReasonReplyContradictory {
				t.Error(got)
			}
			if want := max(0, len(ids)-1); allowed != want {
				t.Errorf("%d answers were believed, and not %d", allowed, want)
			}
		})
	}
}

func TestASimulationThatContradictsItselfIsNoAnswer(t *testing.T) {
	flip := func(changes ...func(*trustv1.SimulatedDecision)) *trustv1.SimulatedDecision {
		made := &trustv1.SimulatedDecision{Current: typev1.Verdict_VERDICT_ALLOW, Candidate: typev1.Verdict_VERDICT_DENY}
		for _, change := range changes {
			change(made)
		}
		return made
	}
	for what, reply := range map[string]*trustv1.SimulateResponse{
		"more flips than decisions":      {Scored: 1, Flipped: 2},
		"flips that it does not count":   {Scored: 2, Decisions: []*trustv1.SimulatedDecision{flip()}},
		"more decisions than it scored":  {Scored: 1, Flipped: 1, Decisions: []*trustv1.SimulatedDecision{flip(), flip(func(d *trustv1.SimulatedDecision) { d.Current = typev1.Verdict_VERDICT_DENY })}},
		"a verdict that is not known":    {Scored: 1, Flipped: 1, Decisions: []*trustv1.SimulatedDecision{flip(func(d *trustv1.SimulatedDecision) { d.Candidate = 7 })}},
		"a score that is NaN":            {Scored: 1, Flipped: 1, Decisions: []*trustv1.SimulatedDecision{flip(func(d *trustv1.SimulatedDecision) { d.CandidateScore = proto.Float64(math.NaN()) })}},
		"a recorded score that is above": {Scored: 1, Flipped: 1, Decisions: []*trustv1.SimulatedDecision{flip(func(d *trustv1.SimulatedDecision) { d.CurrentScore = proto.Float64(2) })}},
	} {
		t.Run(what, func(t *testing.T) {
			client := connected(t, &fake{simulate: func(*trustv1.SimulateRequest) (*trustv1.SimulateResponse, error) { return reply, nil }})
			_, err := client.Trust().Simulate(t.Context(), &trustv1.SimulateRequest{})
			if got := failure(t, err); got.Reason != sigil.ReasonReplyContradictory {
				t.Error(got)
			}
		})
	}
	honest := &trustv1.SimulateResponse{Scored: 2, Flipped: 1, Decisions: []*trustv1.SimulatedDecision{flip()}}
	client := connected(t, &fake{simulate: func(*trustv1.SimulateRequest) (*trustv1.SimulateResponse, error) { return honest, nil }})
	if reply, err := client.Trust().Simulate(t.Context(), &trustv1.SimulateRequest{}); err != nil || reply.Flipped != 1 {
		t.Error(reply, err)
	}
}

func TestAVerificationHoldsWhenEveryStepPassed(t *testing.T) {
	step := func(outcome auditv1.StepOutcome) *auditv1.VerificationStep {
		return &auditv1.VerificationStep{Name: "hash", Outcome: outcome}
	}
	passed := step(auditv1.StepOutcome_STEP_OUTCOME_PASSED)
	for what, each := range map[string]struct {
		steps []*auditv1.VerificationStep
		holds bool
	}{
		"a step failed":                      {[]*auditv1.VerificationStep{passed, step(auditv1.StepOutcome_STEP_OUTCOME_FAILED)}, false},
		"a step was skipped":                 {[]*auditv1.VerificationStep{passed, step(auditv1.StepOutcome_STEP_OUTCOME_SKIPPED)}, false},
		"what came of a step is not known":   {[]*auditv1.VerificationStep{passed, step(9)}, false},
		"there were no steps":                {nil, false},
		"every step passed, and it says so":  {[]*auditv1.VerificationStep{passed}, true},
		"what came of a step is not said":    {[]*auditv1.VerificationStep{step(0)}, false},
		"the first step of several does not": {[]*auditv1.VerificationStep{step(auditv1.StepOutcome_STEP_OUTCOME_FAILED), passed}, false},
	} {
		t.Run(what, func(t *testing.T) {
			client := connected(t, &fake{verify: func(*auditv1.VerifyFrozenChainRequest) (*auditv1.VerifyFrozenChainResponse, error) {
				return &auditv1.VerifyFrozenChainResponse{Verified: true, Steps: each.steps}, nil
			}})
			reply, err := client.Audit().VerifyFrozenChain(t.Context(), &auditv1.VerifyFrozenChainRequest{AuditId: "a"})
			if err != nil || reply.Verified != each.holds {
				t.Errorf("verified: %v, %v", reply.GetVerified(), err)
			}
		})
	}
}

func TestARunOfOtherCodeOrWithAnotherOutputIsNoAnswer(t *testing.T) {
	digest := make([]byte, 32)
	empty := []byte("\xe3\xb0\xc4\x42\x98\xfc\x1c\x14\x9a\xfb\xf4\xc8\x99\x6f\xb9\x24\x27\xae\x41\xe4\x64\x9b\x93\x4c\xa4\x95\x99\x1b\x78\x52\xb8\x55")
	ask := &modulev1.RunRequest{Name: "m", Version: 2, Digest: digest}
	for what, each := range map[string]struct {
		reply *modulev1.RunResponse
		holds bool
	}{
		"what was asked for":       {&modulev1.RunResponse{Version: 2, Digest: digest, OutputDigest: empty}, true},
		"another version":          {&modulev1.RunResponse{Version: 1, Digest: digest, OutputDigest: empty}, false},
		"other code":               {&modulev1.RunResponse{Version: 2, Digest: []byte{1}, OutputDigest: empty}, false},
		"an output of another run": {&modulev1.RunResponse{Version: 2, Digest: digest, OutputDigest: empty, Output: []byte("x")}, false},
		"no digest of the output":  {&modulev1.RunResponse{Version: 2, Digest: digest}, false},
	} {
		t.Run(what, func(t *testing.T) {
			client := connected(t, &fake{
				run: func(*modulev1.RunRequest) (*modulev1.RunResponse, error) { return each.reply, nil },
				runStream: func(_ *modulev1.RunStreamRequest, stream grpc.ServerStreamingServer[modulev1.RunStreamResponse]) error {
					if len(each.reply.Output) > 0 {
						part := &modulev1.RunStreamResponse{Part: &modulev1.RunStreamResponse_Output{Output: each.reply.Output}}
						if err := stream.Send(part); err != nil {
							return err
						}
					}
					return stream.Send(&modulev1.RunStreamResponse{Part: &modulev1.RunStreamResponse_Result{Result: each.reply}})
				},
			})
			_, err := client.Run(t.Context(), ask)
			var last error
			for _, last = range client.RunStream(t.Context(), ask) {
			}
			for _, err := range []error{err, last} {
				if each.holds && err != nil || !each.holds && failure(t, err).Reason != sigil.ReasonReplyContradictory {
					t.Error(err)
				}
			}
		})
	}
}

func TestAStreamedRunEndsWithItsResultAlone(t *testing.T) {
	empty := []byte("\xe3\xb0\xc4\x42\x98\xfc\x1c\x14\x9a\xfb\xf4\xc8\x99\x6f\xb9\x24\x27\xae\x41\xe4\x64\x9b\x93\x4c\xa4\x95\x99\x1b\x78\x52\xb8\x55")
	log := &modulev1.RunStreamResponse{Part: &modulev1.RunStreamResponse_Log{Log: []byte("x")}}
	result := &modulev1.RunStreamResponse{Part: &modulev1.RunStreamResponse_Result{Result: &modulev1.RunResponse{OutputDigest: empty}}}
	for what, parts := range map[string][]*modulev1.RunStreamResponse{
		"no result":                  {log},
		"nothing":                    {},
		"something after its result": {log, result, log},
		"a result after its result":  {result, result},
		"what is honest":             {log, result},
	} {
		t.Run(what, func(t *testing.T) {
			client := connected(t, &fake{runStream: func(_ *modulev1.RunStreamRequest, stream grpc.ServerStreamingServer[modulev1.RunStreamResponse]) error {
				for _, part := range parts {
					if err := stream.Send(part); err != nil {
						return err
					}
				}
				return nil
			}})
			var last error
			for _, last = range client.RunStream(t.Context(), &modulev1.RunRequest{Name: "m"}) {
			}
			if what == "what is honest" {
				if last != nil {
					t.Error(last)
				}
			} else if got := failure(t, last); got.Reason != sigil.ReasonReplyContradictory {
				t.Error(got)
			}
		})
	}
}
