// Guards of net/http and gRPC: nothing passes but by an honest allow, and no guard is made without a question.
package sigil_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sigil "sigil.example/go"
	trustv1 "sigil.example/go/sigil/trust/v1"
	typev1 "sigil.example/go/sigil/type/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func panics(work func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	work()
	return false
}

func TestAGuardIsNotMadeWithoutAQuestion(t *testing.T) {
	client := connected(t, &fake{})
	part := func(*http.Request) (string, error) { return "x", nil }
	called := func(sigil.GRPCCall) (string, error) { return "x", nil }
	for what, make := range map[string]func(){
		"http: nothing":      func() { client.GuardHTTP(sigil.HTTPRule{}) },
		"http: no target":    func() { client.GuardHTTP(sigil.HTTPRule{Action: "a"}) },
		"http: no action":    func() { client.GuardHTTP(sigil.HTTPRule{Target: "t"}) },
		"http: two actions":  func() { client.GuardHTTP(sigil.HTTPRule{Action: "a", ActionFrom: part, Target: "t"}) },
		"http: two targets":  func() { client.GuardHTTP(sigil.HTTPRule{Action: "a", Target: "t", TargetFrom: part}) },
		"http: no client":    func() { sigil.GuardHTTP(nil, sigil.HTTPRule{Action: "a", Target: "t"}) },
		"http: a nil client": func() { (*sigil.Client)(nil).GuardHTTP(sigil.HTTPRule{Action: "a", Target: "t"}) },
		"http: no handler":   func() { client.GuardHTTP(sigil.HTTPRule{Action: "a", Target: "t"})(nil) },
		"unary: nothing":     func() { client.UnaryServerInterceptor(sigil.GRPCRule{}) },
		"unary: no target":   func() { client.UnaryServerInterceptor(sigil.GRPCRule{ActionFrom: called}) },
		"unary: a pattern": func() {
			client.UnaryServerInterceptor(sigil.GRPCRule{Action: "a", Target: "t", Unguarded: []string{"/a.B/*"}})
		},
		"unary: half a method": func() {
			client.UnaryServerInterceptor(sigil.GRPCRule{Action: "a", Target: "t", Unguarded: []string{"/a.B/"}})
		},
		"stream: no action": func() { client.StreamServerInterceptor(sigil.GRPCRule{Target: "t"}) },
		"stream: no client": func() { sigil.StreamServerInterceptor(nil, sigil.GRPCRule{Action: "a", Target: "t"}) },
		"stream: what is no name": func() {
			client.StreamServerInterceptor(sigil.GRPCRule{Action: "a", Target: "t", Unguarded: []string{""}})
		},
	} {
		if !panics(make) {
			t.Errorf("%s is a guard", what)
		}
	}
}

// served asks a guarded handler once. It tells whether the handler was reached.
func served(guard func(http.Handler) http.Handler, request *http.Request) (*http.Response, string, sigil.Decision, bool) {
	var decision sigil.Decision
	reached := false
	handler := guard(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		reached, decision = true, sigil.DecisionFrom(request.Context())
		_, _ = io.WriteString(writer, "the orders")
	}))
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	response := recorder.Result()
	body, _ := io.ReadAll(response.Body)
	return response, string(body), decision, reached
}

func TestAnHTTPHandlerIsReachedByAnAllowAlone(t *testing.T) {
	unavailable := failing(codes.Unavailable, "secret", &errdetails.RetryInfo{RetryDelay: durationpb.New(1100 * time.Millisecond)})
	for what, each := range map[string]struct {
		server *fake
		code   int
	}{
		"an allow":                {always(), 200},
		"a deny":                  {always(verdict(typev1.Verdict_VERDICT_DENY), notAllowed, reason("SECRET_REASON")), 403},
		"a review":                {always(verdict(typev1.Verdict_VERDICT_REVIEW), notAllowed), 403},
		"a contradiction":         {always(noRecord), 403},
		"a request nobody may":    {refusing(status.Error(codes.InvalidArgument, "secret")), 403},
		"a subject it may not":    {refusing(status.Error(codes.PermissionDenied, "secret")), 403},
		"bad credentials of ours": {refusing(status.Error(codes.Unauthenticated, "secret")), 503},
		"no server":               {refusing(unavailable), 503},
		"an internal error":       {refusing(status.Error(codes.Internal, "secret")), 503},
	} {
		t.Run(what, func(t *testing.T) {
			var told error
			client := connected(t, each.server, sigil.WithoutRetries())
			guard := client.GuardHTTP(sigil.HTTPRule{Action: "orders.read", Target: "orders", OnDenied: func(_ *http.Request, err error) { told = err }})
			response, body, decision, reached := served(guard, httptest.NewRequest("GET", "/orders", nil))
			if response.StatusCode != each.code || reached != (each.code == 200) || decision.Allowed() != reached || (told == nil) != reached {
				t.Errorf("%d %q, reached: %v, told: %v", response.StatusCode, body, reached, told)
			}
			if lower := strings.ToLower(body); !reached && (strings.Contains(lower, "secret") || len(body) > 40 || response.Header.Get("Cache-Control") != "no-store") {
				t.Errorf("%q %v", body, response.Header)
			}
			if retry := response.Header.Get("Retry-After"); (retry == "2") != (what == "no server") {
				t.Errorf("Retry-After: %q", retry)
			}
		})
	}
}

func TestAnHTTPGuardAsksAboutTheRequest(t *testing.T) {
	server := always(func(r *trustv1.CheckResponse) { r.Subject = "ann" })
	client := connected(t, server)
	rule := sigil.HTTPRule{
		ActionFrom:  func(r *http.Request) (string, error) { return "orders." + strings.ToLower(r.Method), nil },
		TargetFrom:  func(r *http.Request) (string, error) { return sigil.TargetOf("orders", r.PathValue("id")) },
		SubjectFrom: func(r *http.Request) (string, error) { return r.Header.Get("user"), nil },
		SessionFrom: func(r *http.Request) string { return r.Header.Get("session") },
	}
	request := func(id, user string) *http.Request {
		made := httptest.NewRequest("GET", "/orders", nil)
		made.SetPathValue("id", id)
		made.Header.Set("user", user)
		made.Header.Set("session", "s")
		return made
	}
	if _, _, _, reached := served(client.GuardHTTP(rule), request("../admin", "ann")); !reached {
		t.Error("it is denied")
	}
	asked := server.asks[0].(*trustv1.CheckRequest)
	if asked.Action != "orders.get" || asked.Target != "orders/..%2Fadmin" || asked.Subject != "ann" || asked.Session != "s" {
		t.Error(asked)
	}
	for what, made := range map[string]*http.Request{
		"a request without a user":   request("7", ""),
		"a request without an order": request("", "ann"),
		"a request for the parent":   request("..", "ann"),
	} {
		if response, _, _, reached := served(client.GuardHTTP(rule), made); reached || response.StatusCode != 403 {
			t.Errorf("%s: %d", what, response.StatusCode)
		}
	}
	if server.calls() != 1 {
		t.Error("the server was asked about nobody")
	}
}

// allowing is a checker of somebody's own that says yes by mistake: without a decision of a server nothing passes.
type allowing struct{ err error }

func (a allowing) Check(context.Context, sigil.Question, ...grpc.CallOption) (sigil.Decision, error) {
	return sigil.Decision{}, a.err
}

func TestAGuardBelievesADecisionAlone(t *testing.T) {
	for _, err := range []error{nil, errors.New("x")} {
		guard := sigil.GuardHTTP(allowing{err}, sigil.HTTPRule{Action: "a", Target: "t"})
		if _, _, _, reached := served(guard, httptest.NewRequest("GET", "/", nil)); reached {
			t.Error("an answer without a decision passes")
		}
	}
}

func TestAnHTTPGuardEndsWithTheRequest(t *testing.T) {
	client := connected(t, &fake{check: func(ctx context.Context, _ *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	request := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
	if response, _, _, reached := served(client.GuardHTTP(sigil.HTTPRule{Action: "a", Target: "t"}), request); reached || response.StatusCode != 503 {
		t.Error(response.StatusCode)
	}
}

// guardedServer is a gRPC server of a user of Sigil, whose every call is guarded.
func guardedServer(t *testing.T, rule sigil.GRPCRule, client *sigil.Client) (*grpc.ClientConn, *fake) {
	t.Helper()
	behind := &fake{}
	behind.check = func(ctx context.Context, _ *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
		if !sigil.DecisionFrom(ctx).Allowed() {
			return nil, errors.New("the handler has no decision")
		}
		return honest(), nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, listener, behind, grpc.UnaryInterceptor(client.UnaryServerInterceptor(rule)), grpc.StreamInterceptor(client.StreamServerInterceptor(rule)))
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection, behind
}

func askUnary(t *testing.T, connection *grpc.ClientConn) error {
	_, err := trustv1.NewTrustServiceClient(connection).Check(t.Context(), &trustv1.CheckRequest{Target: "orders/7"})
	return err
}

func askStream(t *testing.T, connection *grpc.ClientConn) error {
	stream, err := trustv1.NewTrustServiceClient(connection).StreamChecks(t.Context())
	if err != nil {
		return err
	}
	_ = stream.Send(&trustv1.StreamChecksRequest{CorrelationId: "1", Check: &trustv1.CheckRequest{}})
	_ = stream.CloseSend()
	_, err = stream.Recv()
	return err
}

func TestAGRPCMethodIsReachedByAnAllowAlone(t *testing.T) {
	for what, each := range map[string]struct {
		server *fake
		code   codes.Code
	}{
		"an allow":        {always(), codes.OK},
		"a deny":          {always(verdict(typev1.Verdict_VERDICT_DENY), notAllowed), codes.PermissionDenied},
		"a review":        {always(verdict(typev1.Verdict_VERDICT_REVIEW), notAllowed), codes.PermissionDenied},
		"a contradiction": {always(noRecord), codes.PermissionDenied},
		"no server": {&fake{check: func(context.Context, *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
			return nil, status.Error(codes.Unavailable, "secret")
		}}, codes.Unavailable},
		"bad credentials of ours": {&fake{check: func(context.Context, *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
			return nil, status.Error(codes.Unauthenticated, "secret")
		}}, codes.Unavailable},
	} {
		t.Run(what, func(t *testing.T) {
			client := connected(t, each.server, sigil.WithoutRetries())
			connection, behind := guardedServer(t, sigil.GRPCRule{Action: "orders.read", Target: "orders"}, client)
			for way, ask := range map[string]func(*testing.T, *grpc.ClientConn) error{"unary": askUnary, "stream": askStream} {
				before := behind.calls()
				err := ask(t, connection)
				if status.Code(err) != each.code || (behind.calls() > before) != (each.code == codes.OK) {
					t.Errorf("%s: %v", way, err)
				}
				if err != nil && strings.Contains(err.Error(), "secret") {
					t.Errorf("%s: %v", way, err)
				}
			}
		})
	}
}

func TestAGRPCGuardAsksAboutTheCall(t *testing.T) {
	server := always()
	client := connected(t, server)
	told := 0
	rule := sigil.GRPCRule{
		ActionFrom: func(call sigil.GRPCCall) (string, error) {
			_, method, _ := strings.Cut(strings.TrimPrefix(call.FullMethod, "/"), "/")
			return method, nil
		},
		TargetFrom: func(call sigil.GRPCCall) (string, error) {
			request, ok := call.Request.(*trustv1.CheckRequest)
			if !ok {
				return "", fmt.Errorf("%T", call.Request)
			}
			return request.Target, nil
		},
		Unguarded: []string{healthv1.Health_Check_FullMethodName},
		OnDenied:  func(sigil.GRPCCall, error) { told++ },
	}
	connection, _ := guardedServer(t, rule, client)
	if err := askUnary(t, connection); err != nil {
		t.Error(err)
	}
	if asked := server.asks[0].(*trustv1.CheckRequest); asked.Action != "Check" || asked.Target != "orders/7" {
		t.Error(asked)
	}
	if err := askStream(t, connection); status.Code(err) != codes.PermissionDenied || told != 1 {
		t.Error("a call of which the rule knows no target:", err)
	}
	if _, err := healthv1.NewHealthClient(connection).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil || server.calls() != 1 {
		t.Error("an unguarded call:", err)
	}
	if _, err := healthv1.NewHealthClient(connection).List(t.Context(), &healthv1.HealthListRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Error("a call beside the unguarded one:", err)
	}
}

func targetOf(target string) func(*http.Request) (string, error) {
	return func(*http.Request) (string, error) { return target, nil }
}
