// Traces of checks by OpenTelemetry's own handler of gRPC: nothing of Sigil's is needed for it. A module of its own, so
// that neither the client nor the example beside it depends on OpenTelemetry.
package tracing

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	sigil "sigil.example/go"
	trustv1 "sigil.example/go/sigil/trust/v1"
	typev1 "sigil.example/go/sigil/type/v1"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// flaky is a server that cannot be reached at first.
type flaky struct {
	trustv1.UnimplementedTrustServiceServer
	parents []string
}

func (f *flaky) Check(ctx context.Context, _ *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
	incoming, _ := metadata.FromIncomingContext(ctx)
	f.parents = append(f.parents, incoming.Get("traceparent")...)
	if len(f.parents) == 1 {
		return nil, status.Error(codes.Unavailable, "")
	}
	return &trustv1.CheckResponse{Verdict: typev1.Verdict_VERDICT_ALLOW, Allowed: true, AuditId: "a"}, nil
}

func TestEachAttemptIsASpanOfTheCallersTrace(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	behaviour, server := &flaky{}, grpc.NewServer()
	trustv1.RegisterTrustServiceServer(server, behaviour)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	spans := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithSyncer(spans))
	handler := otelgrpc.NewClientHandler(
		otelgrpc.WithTracerProvider(provider), otelgrpc.WithPropagators(propagation.TraceContext{}))
	token := sigil.TokenSourceFunc(func(context.Context) (string, error) { return "secret-token", nil })
	client, err := sigil.Connect(t.Context(), listener.Addr().String(), sigil.WithoutTLS(),
		sigil.WithTokenSource(token), sigil.WithDialOptions(grpc.WithStatsHandler(handler)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()

	ctx, root := provider.Tracer("orders").Start(t.Context(), "GET /orders")
	asked := sigil.Question{Action: "orders.read", Target: "orders", Input: []byte("secret-input")}
	if err := client.Require(ctx, asked); err != nil {
		t.Fatal(err)
	}
	root.End()

	checks := 0
	for _, span := range spans.GetSpans() {
		if span.SpanContext.TraceID() != root.SpanContext().TraceID() {
			t.Error("a span of another trace")
		}
		if strings.HasPrefix(span.Name, "sigil.trust.v1.TrustService/Check") {
			checks++
		}
		if text := fmt.Sprint(span.Attributes, span.Events); strings.Contains(text, "secret") {
			t.Errorf("a secret in %s", text)
		}
	}
	if checks != 2 || len(behaviour.parents) != 2 {
		t.Errorf("%d spans, %q", checks, behaviour.parents)
	}
	for _, parent := range behaviour.parents {
		if !strings.Contains(parent, root.SpanContext().TraceID().String()) {
			t.Errorf("the server was told of %s", parent)
		}
	}
}
