// Package sigiltest is a server for tests of code that asks Sigil: it answers by a function, over a real connection,
// since no code can make an allow without a server. It decides nothing else, records nothing and proves nothing.
package sigiltest

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	sigil "sigil.example/go"
	trustv1 "sigil.example/go/sigil/trust/v1"
	typev1 "sigil.example/go/sigil/type/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Decide answers a question: nil allows, ErrDenied denies, ErrReview asks for a person, and any other error is that
// there is no decision, with its code of gRPC if it has one.
type Decide func(sigil.Question) error

// The answers that are no failures.
var (
	ErrDenied = errors.New("denied")
	ErrReview = errors.New("review")
)

// Server has what was asked.
type Server struct {
	trustv1.UnimplementedTrustServiceServer
	decide Decide

	mu    sync.Mutex
	asked []sigil.Question
}

// New serves on a free port of this machine until the test ends, and gives a client of it.
func New(t testing.TB, decide Decide) (*sigil.Client, *Server) {
	t.Helper()
	if decide == nil {
		t.Fatal("sigiltest: there is no function to decide")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	made, served := &Server{decide: decide}, grpc.NewServer()
	trustv1.RegisterTrustServiceServer(served, made)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = served.Serve(listener)
	}()
	client, err := sigil.Connect(context.Background(), listener.Addr().String(), sigil.WithoutTLS(), sigil.WithoutRetries())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		served.Stop()
		<-ended
	})
	return client, made
}

// Asked are all questions so far.
func (s *Server) Asked() []sigil.Question {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]sigil.Question(nil), s.asked...)
}

func (s *Server) answer(request *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
	question := sigil.Question{
		Action:    request.GetAction(),
		Target:    request.GetTarget(),
		Subject:   request.GetSubject(),
		Session:   request.GetSession(),
		Input:     request.GetInput(),
		KeepInput: request.GetKeepInput(),
		Disclose:  request.GetDisclose(),
		Proof:     request.GetProof(),
	}
	s.mu.Lock()
	s.asked = append(s.asked, question)
	number := len(s.asked)
	s.mu.Unlock()
	reply := &trustv1.CheckResponse{
		AuditId:        "test-" + strconv.Itoa(number),
		LedgerPosition: uint64(number),
		Subject:        question.Subject,
		Time:           timestamppb.Now(),
	}
	switch err := s.decide(question); {
	case err == nil:
		reply.Verdict, reply.Allowed, reply.Reason = typev1.Verdict_VERDICT_ALLOW, true, "SCORE_AT_OR_ABOVE_THRESHOLD"
	case errors.Is(err, ErrDenied):
		reply.Verdict, reply.Reason = typev1.Verdict_VERDICT_DENY, "SCORE_BELOW_THRESHOLD"
	case errors.Is(err, ErrReview):
		reply.Verdict, reply.Reason = typev1.Verdict_VERDICT_REVIEW, "REVIEW_BAND"
	default:
		if known, ok := status.FromError(err); ok {
			return nil, known.Err()
		}
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return reply, nil
}

// Check answers one question.
func (s *Server) Check(_ context.Context, request *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
	return s.answer(request)
}

// BatchCheck answers each question by itself.
func (s *Server) BatchCheck(_ context.Context, request *trustv1.BatchCheckRequest) (*trustv1.BatchCheckResponse, error) {
	reply := &trustv1.BatchCheckResponse{}
	for _, each := range request.GetChecks() {
		result := &trustv1.BatchCheckResult{}
		if decision, err := s.answer(each); err != nil {
			result.Outcome = &trustv1.BatchCheckResult_Error{Error: status.Convert(err).Proto()}
		} else {
			result.Outcome = &trustv1.BatchCheckResult_Decision{Decision: decision}
		}
		reply.Results = append(reply.Results, result)
	}
	return reply, nil
}

// StreamChecks answers in the order of the questions.
func (s *Server) StreamChecks(stream grpc.BidiStreamingServer[trustv1.StreamChecksRequest, trustv1.StreamChecksResponse]) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer := &trustv1.StreamChecksResponse{CorrelationId: request.GetCorrelationId()}
		if decision, err := s.answer(request.GetCheck()); err != nil {
			answer.Outcome = &trustv1.StreamChecksResponse_Error{Error: status.Convert(err).Proto()}
		} else {
			answer.Outcome = &trustv1.StreamChecksResponse_Decision{Decision: decision}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}
