// A server for the client's tests: the generated stubs with a little behaviour.
package sigil_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	sigil "sigil.example/go"
	auditv1 "sigil.example/go/sigil/audit/v1"
	canonv1 "sigil.example/go/sigil/canon/v1"
	modulev1 "sigil.example/go/sigil/module/v1"
	trustv1 "sigil.example/go/sigil/trust/v1"
	typev1 "sigil.example/go/sigil/type/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

func logistic(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

const honestZ = 1 + -1.2 + 4

// honest is what a server says that tells the truth. A new one each time: what is given is judged in place.
func honest(changes ...func(*trustv1.CheckResponse)) *trustv1.CheckResponse {
	reply := &trustv1.CheckResponse{
		Verdict:   typev1.Verdict_VERDICT_ALLOW,
		Allowed:   true,
		Score:     proto.Float64(logistic(honestZ)),
		Threshold: proto.Float64(0.5),
		Bias:      proto.Float64(1),
		Z:         proto.Float64(honestZ),
		Contributions: []*trustv1.Contribution{
			contribution("action_risk", 0.2, -6),
			contribution("level", 0.5, 8),
		},
		Reason:         "SCORE_AT_OR_ABOVE_THRESHOLD",
		AuditId:        "0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11",
		LedgerPosition: 7,
		ModelHash:      make([]byte, 32),
	}
	for _, change := range changes {
		change(reply)
	}
	return reply
}

func contribution(feature string, value, weight float64) *trustv1.Contribution {
	return &trustv1.Contribution{Feature: feature, Value: value, Weight: weight, Contribution: value * weight}
}

// fake answers with what a test says; everything else is unimplemented.
type fake struct {
	trustv1.UnimplementedTrustServiceServer
	auditv1.UnimplementedAuditServiceServer
	canonv1.UnimplementedCanonServiceServer
	modulev1.UnimplementedModuleServiceServer

	check      func(context.Context, *trustv1.CheckRequest) (*trustv1.CheckResponse, error)
	batch      func(context.Context, *trustv1.BatchCheckRequest) (*trustv1.BatchCheckResponse, error)
	checks     func(grpc.BidiStreamingServer[trustv1.StreamChecksRequest, trustv1.StreamChecksResponse]) error
	simulate   func(*trustv1.SimulateRequest) (*trustv1.SimulateResponse, error)
	verify     func(*auditv1.VerifyFrozenChainRequest) (*auditv1.VerifyFrozenChainResponse, error)
	list       func(*auditv1.ListFrozenChainsRequest) (*auditv1.ListFrozenChainsResponse, error)
	evidence   func(grpc.ServerStreamingServer[auditv1.GetEvidenceResponse]) error
	write      func(*canonv1.WriteRecordRequest) (*canonv1.WriteRecordResponse, error)
	batchWrite func(*canonv1.BatchWriteRecordsRequest) (*canonv1.BatchWriteRecordsResponse, error)
	watch      func(*canonv1.WatchRequest, grpc.ServerStreamingServer[canonv1.WatchResponse]) error
	records    func(*canonv1.StreamRecordsRequest, grpc.ServerStreamingServer[canonv1.StreamRecordsResponse]) error
	history    func(*canonv1.ListHistoryRequest) (*canonv1.ListHistoryResponse, error)
	attest     func(*canonv1.AttestProposalRequest) (*canonv1.AttestProposalResponse, error)
	run        func(*modulev1.RunRequest) (*modulev1.RunResponse, error)
	runStream  func(*modulev1.RunStreamRequest, grpc.ServerStreamingServer[modulev1.RunStreamResponse]) error

	mu   sync.Mutex
	seen []metadata.MD
	asks []proto.Message
}

func (f *fake) note(ctx context.Context, request proto.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	incoming, _ := metadata.FromIncomingContext(ctx)
	f.seen = append(f.seen, incoming)
	if request != nil {
		f.asks = append(f.asks, proto.Clone(request))
	}
}

func (f *fake) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.seen)
}

func (f *fake) lastMetadata(t *testing.T, name string) []string {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.seen) == 0 {
		t.Fatal("the server was not asked")
	}
	return f.seen[len(f.seen)-1].Get(name)
}

func (f *fake) Check(ctx context.Context, request *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
	f.note(ctx, request)
	if f.check == nil {
		return honest(), nil
	}
	return f.check(ctx, request)
}

func (f *fake) BatchCheck(ctx context.Context, request *trustv1.BatchCheckRequest) (*trustv1.BatchCheckResponse, error) {
	f.note(ctx, request)
	if f.batch != nil {
		return f.batch(ctx, request)
	}
	reply := &trustv1.BatchCheckResponse{}
	for _, each := range request.Checks {
		decision, err := f.Check(ctx, each)
		if err != nil {
			return nil, err
		}
		reply.Results = append(reply.Results, &trustv1.BatchCheckResult{Outcome: &trustv1.BatchCheckResult_Decision{Decision: decision}})
	}
	return reply, nil
}

func (f *fake) StreamChecks(stream grpc.BidiStreamingServer[trustv1.StreamChecksRequest, trustv1.StreamChecksResponse]) error {
	f.note(stream.Context(), nil)
	if f.checks != nil {
		return f.checks(stream)
	}
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		decision, err := f.Check(stream.Context(), request.Check)
		if err != nil {
			return err
		}
		if err := stream.Send(streamed(request.CorrelationId, decision)); err != nil {
			return err
		}
	}
}

func streamed(id string, decision *trustv1.CheckResponse) *trustv1.StreamChecksResponse {
	return &trustv1.StreamChecksResponse{CorrelationId: id, Outcome: &trustv1.StreamChecksResponse_Decision{Decision: decision}}
}

func (f *fake) Simulate(ctx context.Context, request *trustv1.SimulateRequest) (*trustv1.SimulateResponse, error) {
	f.note(ctx, request)
	if f.simulate == nil {
		return f.UnimplementedTrustServiceServer.Simulate(ctx, request)
	}
	return f.simulate(request)
}

func (f *fake) VerifyFrozenChain(ctx context.Context, request *auditv1.VerifyFrozenChainRequest) (*auditv1.VerifyFrozenChainResponse, error) {
	f.note(ctx, request)
	if f.verify == nil {
		return f.UnimplementedAuditServiceServer.VerifyFrozenChain(ctx, request)
	}
	return f.verify(request)
}

func (f *fake) ListFrozenChains(ctx context.Context, request *auditv1.ListFrozenChainsRequest) (*auditv1.ListFrozenChainsResponse, error) {
	f.note(ctx, request)
	return f.list(request)
}

func (f *fake) GetEvidence(request *auditv1.GetEvidenceRequest, stream grpc.ServerStreamingServer[auditv1.GetEvidenceResponse]) error {
	f.note(stream.Context(), request)
	return f.evidence(stream)
}

func (f *fake) WriteRecord(ctx context.Context, request *canonv1.WriteRecordRequest) (*canonv1.WriteRecordResponse, error) {
	f.note(ctx, request)
	if f.write == nil {
		return &canonv1.WriteRecordResponse{Record: &typev1.CanonicalRecord{Id: request.Id}, Version: 1}, nil
	}
	return f.write(request)
}

func (f *fake) BatchWriteRecords(ctx context.Context, request *canonv1.BatchWriteRecordsRequest) (*canonv1.BatchWriteRecordsResponse, error) {
	f.note(ctx, request)
	return f.batchWrite(request)
}

func (f *fake) Watch(request *canonv1.WatchRequest, stream grpc.ServerStreamingServer[canonv1.WatchResponse]) error {
	f.note(stream.Context(), request)
	return f.watch(request, stream)
}

func (f *fake) StreamRecords(request *canonv1.StreamRecordsRequest, stream grpc.ServerStreamingServer[canonv1.StreamRecordsResponse]) error {
	f.note(stream.Context(), request)
	return f.records(request, stream)
}

func (f *fake) ListHistory(ctx context.Context, request *canonv1.ListHistoryRequest) (*canonv1.ListHistoryResponse, error) {
	f.note(ctx, request)
	return f.history(request)
}

func (f *fake) AttestProposal(ctx context.Context, request *canonv1.AttestProposalRequest) (*canonv1.AttestProposalResponse, error) {
	f.note(ctx, request)
	return f.attest(request)
}

func (f *fake) Run(ctx context.Context, request *modulev1.RunRequest) (*modulev1.RunResponse, error) {
	f.note(ctx, request)
	return f.run(request)
}

func (f *fake) RunStream(request *modulev1.RunStreamRequest, stream grpc.ServerStreamingServer[modulev1.RunStreamResponse]) error {
	f.note(stream.Context(), request)
	return f.runStream(request, stream)
}

// serve starts a server on a free port, or on a Unix socket, and gives its target.
func serve(t testing.TB, behaviour *fake, network string, options ...grpc.ServerOption) string {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	_ = serveOn(t, listener, behaviour, options...)
	if network == "unix" {
		return "unix:" + address
	}
	return listener.Addr().String()
}

func serveOn(t testing.TB, listener net.Listener, behaviour *fake, options ...grpc.ServerOption) *grpc.Server {
	t.Helper()
	server := grpc.NewServer(options...)
	trustv1.RegisterTrustServiceServer(server, behaviour)
	auditv1.RegisterAuditServiceServer(server, behaviour)
	canonv1.RegisterCanonServiceServer(server, behaviour)
	modulev1.RegisterModuleServiceServer(server, behaviour)
	status := health.NewServer()
	status.SetServingStatus("sigil.trust.v1.TrustService", healthv1.HealthCheckResponse_NOT_SERVING)
	healthv1.RegisterHealthServer(server, status)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return server
}

// connected is a client of a fake in the clear, closed with the test.
func connected(t testing.TB, behaviour *fake, options ...sigil.Option) *sigil.Client {
	t.Helper()
	return connectTo(t, serve(t, behaviour, "tcp"), append([]sigil.Option{sigil.WithoutTLS()}, options...)...)
}

func connectTo(t testing.TB, target string, options ...sigil.Option) *sigil.Client {
	t.Helper()
	client, err := sigil.Connect(t.Context(), target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return client
}

func serverTLS(t testing.TB, certificate pair) grpc.ServerOption {
	t.Helper()
	made, err := certificate.keyPair()
	if err != nil {
		t.Fatal(err)
	}
	return grpc.Creds(credentials.NewServerTLSFromCert(&made))
}

// failure is the error that a call must have.
func failure(t testing.TB, err error) *sigil.Error {
	t.Helper()
	var failed *sigil.Error
	if !errors.As(err, &failed) {
		t.Fatalf("expected a *sigil.Error, got %v", err)
	}
	return failed
}

var question = sigil.Question{Action: "write", Target: "user/notes"}

// leavesNothing fails the test if goroutines of this module or of gRPC's client are left when everything is closed.
// Call it first: clean-ups run backwards.
func leavesNothing(t *testing.T) {
	t.Helper()
	before := stacks()
	t.Cleanup(func() {
		var left []string
		for wait := time.Millisecond; wait < 3*time.Second; wait *= 2 {
			left = left[:0]
			for id, stack := range stacks() {
				if _, known := before[id]; !known && isOurs(stack) {
					left = append(left, stack)
				}
			}
			if len(left) == 0 {
				return
			}
			time.Sleep(wait)
		}
		t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
	})
}

func isOurs(stack string) bool {
	return (strings.Contains(stack, "sigil.example/go") || strings.Contains(stack, "google.golang.org/grpc")) &&
		!strings.Contains(stack, "testing.tRunner")
}

func stacks() map[string]string {
	text := make([]byte, 1<<20)
	text = text[:runtime.Stack(text, true)]
	found := map[string]string{}
	for _, stack := range strings.Split(string(text), "\n\n") {
		id, _, _ := strings.Cut(stack, " [")
		found[id] = stack
	}
	return found
}

func registerDenying(server *grpc.Server) {
	trustv1.RegisterTrustServiceServer(server, always(verdict(typev1.Verdict_VERDICT_DENY), notAllowed, reason("SCORE_BELOW_THRESHOLD")))
}
