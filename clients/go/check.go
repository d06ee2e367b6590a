// Asking: one question, a batch, a stream, and the guard that every one of them comes down to.

package sigil

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strconv"
	"sync"

	trustv1 "sigil.example/go/sigil/trust/v1"

	"google.golang.org/grpc"
)

// Check asks one question. On an error the decision denies.
func (c *Client) Check(ctx context.Context, question Question, options ...grpc.CallOption) (Decision, error) {
	ctx, cancel := c.channel.withDefaultDeadline(ctx)
	defer cancel()
	request := question.message()
	if request.IdempotencyKey == "" && c.channel.settings.retries {
		request.IdempotencyKey = newIdempotencyKey()
	}
	asked := c.proofs.ask(request, question.IdempotencyKey != "")
	defer c.proofs.end(asked)
	var decision Decision
	options = append(slices.Clip(options), believing(func(ctx context.Context, reply *trustv1.CheckResponse) []*trustv1.CheckResponse {
		decision = c.proofs.prove(ctx, asked, decided(reply), nil)
		return c.proofs.believed(decision)
	}))
	if _, err := trustv1.NewTrustServiceClient(c.channel).Check(ctx, request, options...); err != nil {
		return failed(err), err
	}
	return decision, decision.failure
}

// Require returns nil if the action may happen, and an error in every other case: a *DeniedError, or why there was no
// decision.
func (c *Client) Require(ctx context.Context, question Question, options ...grpc.CallOption) error {
	decision, err := c.Check(ctx, question, options...)
	if err != nil {
		return err
	}
	return decision.Err()
}

// CheckBatch asks up to 1,000 questions, which are decided by one model, at one moment, in one commit. It always
// returns a decision for each question, in their order; all of them deny on an error, and one without an answer has
// the reason in its Err. The questions' own idempotency keys must be empty: the batch has one.
func (c *Client) CheckBatch(ctx context.Context, questions []Question, options ...grpc.CallOption) ([]Decision, error) {
	ctx, cancel := c.channel.withDefaultDeadline(ctx)
	defer cancel()
	decisions := make([]Decision, len(questions))
	request := &trustv1.BatchCheckRequest{Checks: make([]*trustv1.CheckRequest, len(questions))}
	asked := make([]proving, len(questions))
	for at, question := range questions {
		request.Checks[at] = question.message()
		asked[at] = c.proofs.ask(request.Checks[at], false)
	}
	defer c.proofs.end(asked...)
	if c.channel.settings.retries {
		request.IdempotencyKey = newIdempotencyKey()
	}
	options = append(slices.Clip(options), believing(func(ctx context.Context, reply *trustv1.BatchCheckResponse) (believed []*trustv1.CheckResponse) {
		for at, result := range reply.Results {
			if answer := result.GetDecision(); answer != nil {
				decisions[at] = c.proofs.prove(ctx, asked[at], decided(answer), reply.GetSharedProof())
			} else {
				decisions[at] = failed(errorFromStatus(result.GetError(), ""))
			}
			believed = append(believed, c.proofs.believed(decisions[at])...)
		}
		return believed
	}))
	if _, err := trustv1.NewTrustServiceClient(c.channel).BatchCheck(ctx, request, options...); err != nil {
		for at := range decisions {
			decisions[at] = failed(err)
		}
		return decisions, err
	}
	return decisions, nil
}

// Answer is the decision on one question of a stream.
type Answer struct {
	// Index of the question, from 0, in the order they were taken.
	Index    int
	Question Question
	// Decision denies if there is none; its Err has the reason.
	Decision Decision
}

// openQuestionsMax bounds what a stream has asked and not been answered, with inputs of up to 256 KiB each. A server
// decides 64 at a time.
const openQuestionsMax = 256

// CheckStream asks questions as fast as the server takes them and yields answers as they come, perhaps in another
// order. An error ends it; questions without an answer are then denied. Leaving the loop ends the call. It has no
// deadline but the context's. The questions are taken in a goroutine of their own, which ends with them: a sequence
// that waits should stop waiting when the context ends.
func (c *Client) CheckStream(ctx context.Context, questions iter.Seq[Question]) iter.Seq2[Answer, error] {
	return func(yield func(Answer, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		asking := &openQuestions{open: map[string]asked{}, room: make(chan struct{}, openQuestionsMax)}
		var answer Answer
		var refused error
		stream, err := trustv1.NewTrustServiceClient(c.channel).StreamChecks(ctx, believing(
			func(ctx context.Context, reply *trustv1.StreamChecksResponse) []*trustv1.CheckResponse {
				answer, refused = asking.answer(ctx, c.proofs, reply)
				return c.proofs.believed(answer.Decision)
			}))
		if err != nil {
			yield(Answer{Decision: failed(err)}, err)
			return
		}
		defer func() { c.proofs.end(asking.close()...) }()
		go asking.send(ctx, c, stream, questions)
		for {
			_, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				if !asking.isComplete() {
					failure := contradiction("the stream ended before every question was answered")
					yield(Answer{Decision: failed(failure)}, failure)
				}
				return
			}
			if err = cmp.Or(err, refused); err != nil {
				yield(Answer{Decision: failed(err)}, err)
				return
			}
			if !yield(answer, nil) {
				return
			}
		}
	}
}

type asked struct {
	index    int
	question Question
	proving  proving
}

// openQuestions are those of a stream that were sent and not answered. Bounded by openQuestionsMax.
type openQuestions struct {
	room chan struct{}

	mu       sync.Mutex
	open     map[string]asked
	allAsked bool
	isClosed bool
}

// add refuses a question once the stream is over.
func (o *openQuestions) add(id string, question asked) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.isClosed {
		o.open[id] = question
	}
	return !o.isClosed
}

// close gives the questions that have no answer.
func (o *openQuestions) close() []proving {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.isClosed = true
	left := make([]proving, 0, len(o.open))
	for _, each := range o.open {
		left = append(left, each.proving)
	}
	return left
}

// answer judges a reply by the question that it is about, and ends that one.
func (o *openQuestions) answer(ctx context.Context, proofs *proofs, reply *trustv1.StreamChecksResponse) (Answer, error) {
	asked, err := o.take(reply)
	if err != nil {
		return Answer{}, err
	}
	defer proofs.end(asked.proving)
	answer := Answer{Index: asked.index, Question: asked.question}
	if decision := reply.GetDecision(); decision != nil {
		judgeAnswer(asked.proving.request, decision)
		answer.Decision = proofs.prove(ctx, asked.proving, decided(decision), nil)
	} else {
		answer.Decision = failed(errorFromStatus(reply.GetError(), ""))
	}
	return answer, nil
}

// send asks until the questions or the stream end. What goes wrong with the stream is told to who receives.
func (o *openQuestions) send(ctx context.Context, c *Client, stream grpc.BidiStreamingClient[trustv1.StreamChecksRequest, trustv1.StreamChecksResponse], questions iter.Seq[Question]) {
	index := 0
	for question := range questions {
		select {
		case o.room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		id := strconv.Itoa(index)
		request := question.message()
		proving := c.proofs.ask(request, question.IdempotencyKey != "")
		if !o.add(id, asked{index: index, question: question, proving: proving}) {
			c.proofs.end(proving)
			return
		}
		if stream.Send(&trustv1.StreamChecksRequest{CorrelationId: id, Check: request}) != nil {
			return
		}
		index++
	}
	o.mu.Lock()
	o.allAsked = true
	o.mu.Unlock()
	_ = stream.CloseSend()
}

// take gives the question that an answer is about: one that was asked, and not answered before.
func (o *openQuestions) take(reply *trustv1.StreamChecksResponse) (asked, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	question, ok := o.open[reply.GetCorrelationId()]
	if !ok {
		return asked{}, contradiction("an answer is about a question that was not asked, or was answered before")
	}
	delete(o.open, reply.GetCorrelationId())
	<-o.room
	return question, nil
}

func (o *openQuestions) isComplete() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.allAsked && len(o.open) == 0
}
