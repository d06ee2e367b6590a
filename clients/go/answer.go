// Consistency checks of replies. A reply that contradicts itself or its request never allows: a decision becomes a
// deny with reason REPLY_CONTRADICTORY, an item a failed one, anything else an error. Absent fields are no
// contradiction, except the audit id of an allow. Pure. Sources: docs/spec/trust.md §4 and §5, the comments of
// CheckResponse.

package sigil

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"math"
	"strings"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	auditv1 "sigil.example/go/sigil/audit/v1"
	canonv1 "sigil.example/go/sigil/canon/v1"
	modulev1 "sigil.example/go/sigil/module/v1"
	trustv1 "sigil.example/go/sigil/trust/v1"
	typev1 "sigil.example/go/sigil/type/v1"
	"sigil.example/go/verify/spelling"
)

// reasonsOfNoAllow cannot accompany an allow. Source: docs/spec/trust.md §5.
var reasonsOfNoAllow = map[string]bool{
	"UNKNOWN_ACTION":        true,
	"LEVEL_TOO_LOW":         true,
	"SCORE_BELOW_THRESHOLD": true,
	"REVIEW_BAND":           true,
	"MODEL_MISSING":         true,
	"EVALUATOR_ERROR":       true,
	"DEADLINE_EXCEEDED":     true,
}

// tolerance is relative, for differences between platforms' exponential functions; far below any real margin.
const tolerance = 1e-9

func isFinite(value float64) bool { return !math.IsNaN(value) && !math.IsInf(value, 0) }

func isNear(one, other float64) bool {
	return math.Abs(one-other) <= tolerance*math.Max(1, math.Max(math.Abs(one), math.Abs(other)))
}

func isProbability(value float64) bool { return value >= 0 && value <= 1 }

// numbersFault tells why the numbers of an answer are inconsistent; empty if they are consistent. Absent ones are
// ignored.
func numbersFault(answer *trustv1.CheckResponse) string {
	score, threshold, bias, z := answer.Score, answer.Threshold, answer.Bias, answer.Z
	switch {
	case score != nil && !isProbability(*score):
		return "the score is no probability"
	case threshold != nil && !(*threshold > 0 && *threshold < 1):
		return "the threshold is not in (0, 1)"
	case z != nil && !isFinite(*z):
		return "z is no number"
	case bias != nil && !isFinite(*bias):
		return "the bias is no number"
	case score != nil && z != nil && !isNear(*score, 1/(1+math.Exp(-*z))):
		return "score and z differ"
	}
	for _, each := range answer.Contributions {
		// An infinite product is near everything.
		if !isFinite(each.Contribution) || !isFinite(each.Value*each.Weight) || !isNear(each.Value*each.Weight, each.Contribution) {
			return "a contribution is not value × weight"
		}
	}
	if z == nil || bias == nil || len(answer.Contributions) == 0 {
		return ""
	}
	sum := *bias
	for _, each := range answer.Contributions {
		sum += each.Contribution
	}
	if !isNear(sum, *z) {
		return "z is not the sum of bias and contributions"
	}
	return ""
}

func isBelowThreshold(answer *trustv1.CheckResponse) bool {
	if answer.Threshold == nil {
		return false
	}
	threshold := *answer.Threshold
	logit := math.Log(threshold / (1 - threshold))
	if z := answer.Z; z != nil && *z < logit && !isNear(*z, logit) {
		return true
	}
	score := answer.Score
	return score != nil && *score < threshold && !isNear(*score, threshold)
}

// decisionFault tells why an answer other than a deny must not be used; empty if it is consistent.
func decisionFault(answer *trustv1.CheckResponse) string {
	isAllow := answer.Verdict == typev1.Verdict_VERDICT_ALLOW
	switch {
	case answer.Allowed != isAllow:
		return "allowed and verdict differ"
	case answer.Verdict == typev1.Verdict_VERDICT_DENY:
		return ""
	case !isAllow && answer.Verdict != typev1.Verdict_VERDICT_REVIEW:
		return fmt.Sprintf("verdict %d is not known", answer.Verdict)
	case answer.AuditId == "":
		return "it names no record"
	case len(answer.ModelHash) != 0 && len(answer.ModelHash) != sha256.Size:
		return "the hash of its model is not 32 bytes"
	}
	if fault := numbersFault(answer); fault != "" || !isAllow {
		return fault
	}
	if reasonsOfNoAllow[answer.Reason] {
		return "an allow cannot have the reason " + answer.Reason
	}
	if isBelowThreshold(answer) {
		return "an allow cannot have a score below the threshold"
	}
	return ""
}

// judgeDecision turns an inconsistent answer into a deny, which keeps its audit id for investigation.
func judgeDecision(answer *trustv1.CheckResponse) {
	if decisionFault(answer) != "" {
		denyContradiction(answer)
	}
}

func denyContradiction(answer *trustv1.CheckResponse) {
	answer.Verdict = typev1.Verdict_VERDICT_DENY
	answer.Allowed = false
	answer.Reason = ReasonReplyContradictory
}

// judgeAnswer turns the answer to another question into a deny; a deny stays what it is.
func judgeAnswer(asked *trustv1.CheckRequest, answer *trustv1.CheckResponse) {
	if answer.GetVerdict() != typev1.Verdict_VERDICT_DENY && isOfAnother(asked, answer) {
		denyContradiction(answer)
	}
}

// isOfAnother tells an answer about another subject or input from one that may be about what was asked.
func isOfAnother(asked *trustv1.CheckRequest, answer *trustv1.CheckResponse) bool {
	if isOtherSubject(asked.GetSubject(), answer.GetSubject()) {
		return true
	}
	if len(answer.GetInputDigest()) == 0 {
		return false
	}
	digest := sha256.Sum256(asked.GetInput())
	return !bytes.Equal(answer.GetInputDigest(), digest[:])
}

// isOtherSubject compares no subject by its SPIFFE id: which deployment's names they are is not known here.
func isOtherSubject(asked, answered string) bool {
	if asked == "" || asked == answered {
		return false
	}
	form, err := spelling.Subject(asked, "")
	return err == nil && !strings.HasPrefix(form, "spiffe:") && form != answered
}

// judgeOutcome judges a decision, and tells whether an item holds either a decision or an error.
func judgeOutcome(decision *trustv1.CheckResponse, failed *statuspb.Status) bool {
	if decision != nil {
		judgeDecision(decision)
		return true
	}
	return failed != nil && codes.Code(failed.GetCode()) != codes.OK
}

func emptyItem() *statuspb.Status {
	return &statuspb.Status{Code: int32(codes.Internal), Message: "the item holds neither a decision nor an error"}
}

func judgeResult(result *trustv1.BatchCheckResult) {
	if !judgeOutcome(result.GetDecision(), result.GetError()) {
		result.Outcome = &trustv1.BatchCheckResult_Error{Error: emptyItem()}
	}
}

func judgeStreamed(answer *trustv1.StreamChecksResponse) {
	if !judgeOutcome(answer.GetDecision(), answer.GetError()) {
		answer.Outcome = &trustv1.StreamChecksResponse_Error{Error: emptyItem()}
	}
}

func requireCount(asked, answered int) *Error {
	if asked != answered {
		return contradiction("%d results for %d items", answered, asked)
	}
	return nil
}

func isKnownVerdict(verdict typev1.Verdict) bool {
	switch verdict {
	case typev1.Verdict_VERDICT_ALLOW, typev1.Verdict_VERDICT_DENY, typev1.Verdict_VERDICT_REVIEW:
		return true
	}
	return false
}

// judgeSimulation checks what people base the approval of a model on.
func judgeSimulation(reply *trustv1.SimulateResponse) *Error {
	if reply.Flipped > reply.Scored {
		return contradiction("%d flips among %d decisions", reply.Flipped, reply.Scored)
	}
	if uint64(len(reply.Decisions)) > uint64(reply.Scored) {
		return contradiction("%d of %d decisions", len(reply.Decisions), reply.Scored)
	}
	flips := uint32(0)
	for _, each := range reply.Decisions {
		if each.Current != each.Candidate {
			flips++
		}
		if !isKnownVerdict(each.Current) || !isKnownVerdict(each.Candidate) {
			return contradiction("a verdict is not known")
		}
		for _, score := range []*float64{each.CurrentScore, each.CandidateScore} {
			if score != nil && !isProbability(*score) {
				return contradiction("a score is no probability")
			}
		}
	}
	if flips > reply.Flipped {
		return contradiction("it shows more flips than it counts")
	}
	return nil
}

// judgeVerification: verified only if there are steps and all passed.
func judgeVerification(reply *auditv1.VerifyFrozenChainResponse) {
	for _, step := range reply.Steps {
		if step.Outcome != auditv1.StepOutcome_STEP_OUTCOME_PASSED {
			reply.Verified = false
		}
	}
	if len(reply.Steps) == 0 {
		reply.Verified = false
	}
}

// judgeWritten checks that the written record is the requested one.
func judgeWritten(id string, reply *canonv1.WriteRecordResponse) *Error {
	if reply.GetRecord() == nil {
		return contradiction("it holds no record")
	}
	if reply.Record.Id != id {
		return contradiction("the record is another one than the one written")
	}
	return nil
}

// newOutputDigest is what a run's output is recorded by.
func newOutputDigest() hash.Hash { return sha256.New() }

// judgeRan checks that the run is the requested one, and that its output is what was recorded.
func judgeRan(request *modulev1.RunRequest, reply *modulev1.RunResponse, outputDigest []byte) *Error {
	switch {
	case request.GetVersion() != 0 && request.GetVersion() != reply.GetVersion():
		return contradiction("version %d ran in place of %d", reply.GetVersion(), request.GetVersion())
	case len(request.GetDigest()) != 0 && !bytes.Equal(request.GetDigest(), reply.GetDigest()):
		return contradiction("other code ran than was asked for")
	case !bytes.Equal(outputDigest, reply.GetOutputDigest()):
		return contradiction("the output is not the one that was recorded")
	}
	return nil
}

// judgeReply judges the reply of a unary call, in place.
func judgeReply(request, response proto.Message) *Error {
	switch reply := response.(type) {
	case *trustv1.CheckResponse:
		if asked, ok := request.(*trustv1.CheckRequest); ok {
			judgeAnswer(asked, reply)
		}
	case *trustv1.BatchCheckResponse:
		if asked, ok := request.(*trustv1.BatchCheckRequest); ok {
			if failure := requireCount(len(asked.Checks), len(reply.Results)); failure != nil {
				return failure
			}
			for at, result := range reply.Results {
				if decision := result.GetDecision(); decision != nil {
					judgeAnswer(asked.Checks[at], decision)
				}
			}
		}
	case *trustv1.SimulateResponse:
		return judgeSimulation(reply)
	case *canonv1.WriteRecordResponse:
		if asked, ok := request.(*canonv1.WriteRecordRequest); ok {
			return judgeWritten(asked.Id, reply)
		}
	case *canonv1.BatchWriteRecordsResponse:
		if asked, ok := request.(*canonv1.BatchWriteRecordsRequest); ok {
			if failure := requireCount(len(asked.Writes), len(reply.Results)); failure != nil {
				return failure
			}
			for at, result := range reply.Results {
				if failure := judgeWritten(asked.Writes[at].GetId(), result); failure != nil {
					return failure
				}
			}
		}
	case *modulev1.RunResponse:
		if asked, ok := request.(*modulev1.RunRequest); ok {
			output := newOutputDigest()
			output.Write(reply.Output)
			return judgeRan(asked, reply, output.Sum(nil))
		}
	}
	return judgeMessage(response)
}

// judgeMessage judges any reply by itself, in place.
func judgeMessage(message any) *Error {
	switch reply := message.(type) {
	case *trustv1.CheckResponse:
		judgeDecision(reply)
	case *trustv1.BatchCheckResponse:
		for _, result := range reply.Results {
			judgeResult(result)
		}
	case *trustv1.StreamChecksResponse:
		judgeStreamed(reply)
	case *auditv1.VerifyFrozenChainResponse:
		judgeVerification(reply)
	}
	return nil
}
