// The connection that everything goes through, generated stubs too: token, deadline, repeats, errors, and the
// judgement of replies. A reply that was not judged never leaves here.

package sigil

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	trustv1 "sigil.example/go/sigil/trust/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

const (
	authorizationKey = "authorization"
	// A server limits pages to it, and refuses a batch whose reply could be larger before deciding.
	replyBytesKey = "sigil-reply-bytes-max"

	tokenRefusal = "a token may not be sent without TLS to another machine: use TLS, or say WithTokensInTheClear"
)

var errClosed = &Error{Code: codes.Canceled, Message: "the client is closed", Reason: ReasonClientClosed}

// channel is a grpc.ClientConnInterface.
type channel struct {
	conn         *grpc.ClientConn
	settings     *settings
	mayAuthorize bool
	// Of every call, as text.
	replyBytesMax string
	budget        budget

	// closing ends streams, which may go on for ever.
	closing context.Context
	close   context.CancelCauseFunc

	mu       sync.Mutex
	isClosed bool
	unary    sync.WaitGroup
}

var _ grpc.ClientConnInterface = (*channel)(nil)

func newChannel(conn *grpc.ClientConn, given *settings, mayAuthorize bool) *channel {
	closing, end := context.WithCancelCause(context.Background())
	return &channel{
		conn:          conn,
		settings:      given,
		mayAuthorize:  mayAuthorize,
		replyBytesMax: strconv.Itoa(given.replyBytesMax),
		closing:       closing,
		close:         end,
	}
}

// begin counts a call that Close has to wait for.
func (c *channel) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed {
		return errClosed
	}
	c.unary.Add(1)
	return nil
}

// Close ends streams, lets unary calls under way finish, each of which has a deadline, and closes the connection.
func (c *channel) Close() error {
	c.mu.Lock()
	wasClosed := c.isClosed
	c.isClosed = true
	c.mu.Unlock()
	c.close(errClosed)
	c.unary.Wait()
	if wasClosed {
		return nil
	}
	return c.conn.Close()
}

// withDefaultDeadline keeps a deadline that the caller set.
func (c *channel) withDefaultDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.settings.deadline)
}

// withMetadata adds the token and what the server has to know. It returns what an error must not repeat.
func (c *channel) withMetadata(ctx context.Context, method string) (context.Context, secret, error) {
	outgoing, _ := metadata.FromOutgoingContext(ctx)
	added := make([]string, 0, 4)
	if len(outgoing.Get(replyBytesKey)) == 0 {
		added = append(added, replyBytesKey, c.replyBytesMax)
	}
	carried, err := c.carry(ctx, method, outgoing.Get(authorizationKey))
	if err != nil {
		return nil, "", err
	}
	if carried != "" && len(outgoing.Get(authorizationKey)) == 0 {
		added = append(added, authorizationKey, "Bearer "+string(carried))
	}
	return metadata.AppendToOutgoingContext(ctx, added...), carried, nil
}

// carry gives the token of a call: its own, if the caller set one for it, or the connection's.
func (c *channel) carry(ctx context.Context, method string, own []string) (secret, error) {
	if len(own) > 0 {
		if !c.mayAuthorize {
			return "", &Error{Code: codes.FailedPrecondition, Message: tokenRefusal}
		}
		return secret(own[0][strings.LastIndexByte(own[0], ' ')+1:]), nil
	}
	if c.settings.source == nil || method == healthv1.Health_Check_FullMethodName || method == healthv1.Health_Watch_FullMethodName {
		return "", nil
	}
	token, err := c.settings.source.Token(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return "", endedBefore(ctx)
		}
		return "", &Error{Code: codes.Unauthenticated, Message: "the token source gave no token", cause: err}
	}
	if rule := tokenFault(token); rule != "" {
		return "", &Error{Code: codes.Unauthenticated, Message: "the token source's token " + rule}
	}
	return secret(token), nil
}

// tokenFault is the rule that a token breaks, which never holds the token; "" for none. A file that a token is read
// from mostly ends with a line end.
func tokenFault(token string) string {
	switch {
	case token == "":
		return "is empty"
	case len(token) > tokenBytesMax:
		return fmt.Sprintf("must be at most %d bytes", tokenBytesMax)
	case strings.TrimSpace(token) != token:
		return "must not begin or end with white space: trim what a file or a command gave"
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "must be printable ASCII without white space"
	}
	return ""
}

// Invoke makes a unary call. On an error the reply is empty. All errors are *Error.
func (c *channel) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.unary.Done()
	ctx, cancel := c.withDefaultDeadline(ctx)
	defer cancel()
	request, isMessage := args.(proto.Message)
	response, isAnswer := reply.(proto.Message)
	if !isMessage || !isAnswer {
		return &Error{Code: codes.Internal, Message: "requests and replies must be protobuf messages"}
	}
	numbers := c.numbersOf(ctx, method)
	asked, err := numbers.ask(ctx)
	if err != nil {
		return failureOf(ctx, err, nil, "")
	}
	defer numbers.settle(asked)
	believed := believedBy(options)
	repeats := false
	if c.settings.retries {
		request, repeats = repeatably(method, request)
	}
	for attempt := 0; ; attempt++ {
		failure := c.attempt(ctx, method, request, response, options)
		if failure == nil {
			c.budget.succeeded()
			// Handed on once it is remembered.
			if err := numbers.take(ctx, asked, believed(ctx, response)...); err != nil {
				proto.Reset(response)
				return failureOf(ctx, err, nil, "")
			}
			return nil
		}
		proto.Reset(response)
		if !repeats || !isPassing(failure) || !c.budget.failed() || attempt+1 >= attemptsMax ||
			!pauseBefore(ctx, failure, attempt, backoffLongest) {
			return failure
		}
	}
}

// numbersOf are remembered of the calls that decide for the connection's own caller, and not for a token of the call's.
func (c *channel) numbersOf(ctx context.Context, method string) *remembering {
	switch method {
	case trustv1.TrustService_Check_FullMethodName, trustv1.TrustService_BatchCheck_FullMethodName, trustv1.TrustService_StreamChecks_FullMethodName:
	default:
		return nil
	}
	outgoing, _ := metadata.FromOutgoingContext(ctx)
	if len(outgoing.Get(authorizationKey)) > 0 {
		return nil
	}
	return c.settings.remember
}

// belief gives the decisions of a reply that are believed: the numbers of no others are remembered.
type belief func(ctx context.Context, reply any) []*trustv1.CheckResponse

// believingOption is of the client's own calls, which may take proof.
type believingOption struct {
	grpc.EmptyCallOption
	in belief
}

func believing[Reply any](in func(context.Context, Reply) []*trustv1.CheckResponse) grpc.CallOption {
	return believingOption{in: func(ctx context.Context, reply any) []*trustv1.CheckResponse {
		if given, ok := reply.(Reply); ok {
			return in(ctx, given)
		}
		return nil
	}}
}

// believedBy a call is what it says itself, or all that it is answered.
func believedBy(options []grpc.CallOption) belief {
	for _, each := range options {
		if own, ok := each.(believingOption); ok {
			return own.in
		}
	}
	return decisionsIn
}

func decisionsIn(_ context.Context, response any) []*trustv1.CheckResponse {
	var decisions []*trustv1.CheckResponse
	switch reply := response.(type) {
	case *trustv1.CheckResponse:
		decisions = append(decisions, reply)
	case *trustv1.StreamChecksResponse:
		if decision := reply.GetDecision(); decision != nil {
			decisions = append(decisions, decision)
		}
	case *trustv1.BatchCheckResponse:
		for _, result := range reply.GetResults() {
			if decision := result.GetDecision(); decision != nil {
				decisions = append(decisions, decision)
			}
		}
	}
	return decisions
}

func (c *channel) attempt(ctx context.Context, method string, request, response proto.Message, options []grpc.CallOption) *Error {
	if ctx.Err() != nil {
		return endedBefore(ctx)
	}
	outgoing, carried, err := c.withMetadata(ctx, method)
	if err != nil {
		return failureOf(ctx, err, nil, carried)
	}
	var trailer metadata.MD
	options = append(options[:len(options):len(options)], grpc.Trailer(&trailer))
	if err := c.conn.Invoke(outgoing, method, request, response, options...); err != nil {
		return failureOf(ctx, err, trailer, carried)
	}
	return judgeReply(request, response)
}

// NewStream begins a stream, which Close ends. It has no deadline but its context's, unless it has one reply alone.
func (c *channel) NewStream(ctx context.Context, description *grpc.StreamDesc, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	if c.closing.Err() != nil {
		return nil, errClosed
	}
	if ctx.Err() != nil {
		return nil, endedBefore(ctx)
	}
	remembering := c.numbersOf(ctx, method)
	end := func() {}
	if !description.ServerStreams {
		ctx, end = c.withDefaultDeadline(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	// Close ends the stream, and holds nothing of one that ended before.
	unlink := context.AfterFunc(c.closing, cancel)
	context.AfterFunc(ctx, func() { unlink(); end() })
	outgoing, carried, err := c.withMetadata(ctx, method)
	if err != nil {
		cancel()
		return nil, c.streamFailure(ctx, err, nil, carried)
	}
	stream, err := c.conn.NewStream(outgoing, description, method, options...)
	if err != nil {
		failure := c.streamFailure(ctx, err, nil, carried)
		cancel()
		return nil, failure
	}
	guarded := &guardedStream{
		ClientStream: stream, channel: c, ctx: ctx, carried: carried, release: cancel,
		single: !description.ServerStreams, believed: believedBy(options),
	}
	if remembering != nil {
		guarded.numbers = &streamNumbers{remembering: remembering, asked: map[string][]*askedNumber{}}
		context.AfterFunc(ctx, guarded.numbers.close)
	}
	return guarded, nil
}

// streamFailure tells a stream that Close ended from one that its caller ended.
func (c *channel) streamFailure(ctx context.Context, err error, trailer metadata.MD, carried secret) *Error {
	failure := failureOf(ctx, err, trailer, carried)
	if c.closing.Err() != nil && failure.Code == codes.Canceled {
		return errClosed
	}
	return failure
}

type guardedStream struct {
	grpc.ClientStream
	channel *channel
	ctx     context.Context
	carried secret
	release func()
	single  bool
	// Asked once of each message that was judged.
	believed belief
	// Nil where no numbers are remembered.
	numbers *streamNumbers
}

// RecvMsg gives a message that was judged. What it is called with holds nothing after an error.
func (s *guardedStream) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	if err == nil {
		if s.single {
			s.release()
		}
		if failure := judgeMessage(message); failure != nil {
			s.release()
			return failure
		}
		return s.remember(message, s.believed(s.ctx, message))
	}
	defer s.release()
	if held, ok := message.(proto.Message); ok {
		proto.Reset(held)
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return s.channel.streamFailure(s.ctx, err, s.Trailer(), s.carried)
}

// remember keeps the number of an answer before it is handed on.
func (s *guardedStream) remember(message any, believed []*trustv1.CheckResponse) error {
	reply, isAnswer := message.(*trustv1.StreamChecksResponse)
	if s.numbers == nil || !isAnswer {
		return nil
	}
	if err := s.numbers.answer(s.ctx, reply.GetCorrelationId(), believed); err != nil {
		proto.Reset(reply)
		failure := s.channel.streamFailure(s.ctx, err, nil, s.carried)
		s.release()
		return failure
	}
	return nil
}

// SendMsg returns io.EOF, as gRPC's, when the stream is over: RecvMsg says why.
func (s *guardedStream) SendMsg(message any) error {
	if request, isQuestion := message.(*trustv1.StreamChecksRequest); isQuestion && s.numbers != nil {
		if err := s.numbers.ask(s.ctx, request.GetCorrelationId()); err != nil {
			s.release()
			return s.channel.streamFailure(s.ctx, err, nil, s.carried)
		}
	}
	err := s.ClientStream.SendMsg(message)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return s.channel.streamFailure(s.ctx, err, nil, s.carried)
}

// Header has errors of the same kind as the other methods.
func (s *guardedStream) Header() (metadata.MD, error) {
	header, err := s.ClientStream.Header()
	if err != nil {
		return header, s.channel.streamFailure(s.ctx, err, nil, s.carried)
	}
	return header, nil
}
