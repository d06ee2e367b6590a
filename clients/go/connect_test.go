// The client over a real socket: calls, errors, deadlines, repeats, tokens, TLS and the end of a connection.
package sigil_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sigil "sigil.example/go"
	auditv1 "sigil.example/go/sigil/audit/v1"
	backupv1 "sigil.example/go/sigil/backup/v1"
	canonv1 "sigil.example/go/sigil/canon/v1"
	identityv1 "sigil.example/go/sigil/identity/v1"
	keyv1 "sigil.example/go/sigil/key/v1"
	modulev1 "sigil.example/go/sigil/module/v1"
	trustv1 "sigil.example/go/sigil/trust/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

// refusing answers each check with what is next, and then with an honest allow.
func refusing(failures ...error) *fake {
	var asked atomic.Int32
	return &fake{check: func(context.Context, *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
		if at := int(asked.Add(1)) - 1; at < len(failures) {
			return nil, failures[at]
		}
		return honest(), nil
	}}
}

func failing(code codes.Code, message string, details ...protoadapt.MessageV1) error {
	made, err := status.New(code, message).WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return made.Err()
}

type staticToken string

func (s staticToken) Token(context.Context) (string, error) { return string(s), nil }

func TestACallCarriesTheTokenAndHowLongAReplyMayBe(t *testing.T) {
	server := &fake{}
	client := connected(t, server, sigil.WithTokenSource(staticToken("t-1")), sigil.WithReplyBytesMax(70_000))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "x")
	if err := client.Require(ctx, question); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"authorization": "Bearer t-1", "sigil-reply-bytes-max": "70000", "traceparent": "x"} {
		if got := server.lastMetadata(t, name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q", name, got)
		}
	}
	own := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer own", "sigil-reply-bytes-max", "65536")
	if err := client.Require(own, question); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"authorization": "Bearer own", "sigil-reply-bytes-max": "65536"} {
		if got := server.lastMetadata(t, name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestHealthIsAskedWithoutAToken(t *testing.T) {
	asked := false
	client := connected(t, &fake{}, sigil.WithTokenSource(sigil.TokenSourceFunc(func(context.Context) (string, error) {
		asked = true
		return "t", nil
	})))
	if got, err := client.Health(t.Context(), ""); err != nil || got != healthv1.HealthCheckResponse_SERVING {
		t.Error(got, err)
	}
	if got, err := client.Health(t.Context(), "sigil.trust.v1.TrustService"); err != nil || got != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Error(got, err)
	}
	if _, err := client.Health(t.Context(), "none"); failure(t, err).Code != codes.NotFound {
		t.Error(err)
	}
	if asked {
		t.Error("a token was made")
	}
}

func TestNoTokenIsNoCall(t *testing.T) {
	server := &fake{}
	for what, source := range map[string]sigil.TokenSourceFunc{
		"an error":     func(context.Context) (string, error) { return "", errors.New("the vault is closed") },
		"no token":     func(context.Context) (string, error) { return "", nil },
		"a long token": func(context.Context) (string, error) { return strings.Repeat("x", 4097), nil },
	} {
		client := connected(t, server, sigil.WithTokenSource(source))
		decision, err := client.Check(t.Context(), question)
		if got := failure(t, err); got.Code != codes.Unauthenticated || decision.Allowed() {
			t.Errorf("%s: %v", what, err)
		}
		for _, err := range client.CheckStream(t.Context(), slices.Values([]sigil.Question{question})) {
			if got := failure(t, err); got.Code != codes.Unauthenticated {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if server.calls() != 0 {
		t.Error("a call was made")
	}
}

func TestATokenSourceThatWaitsEndsWithItsCall(t *testing.T) {
	client := connected(t, &fake{}, sigil.WithTokenSource(sigil.TokenSourceFunc(func(ctx context.Context) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})), sigil.WithDeadline(20*time.Millisecond))
	if err := client.Require(t.Context(), question); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestAnErrorIsUnpacked(t *testing.T) {
	details := []protoadapt.MessageV1{
		&errdetails.ErrorInfo{Reason: "QUEUE_FULL", Domain: "sigil", Metadata: map[string]string{"limit": "8"}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "action", Description: "empty"}}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1250 * time.Millisecond)},
		&errdetails.RequestInfo{RequestId: "r-2"},
	}
	client := connected(t, refusing(failing(codes.FailedPrecondition, "full", details...)))
	_, err := client.Check(t.Context(), question)
	got := failure(t, err)
	if got.Code != codes.FailedPrecondition || got.Message != "full" || got.Reason != "QUEUE_FULL" ||
		got.Facts["limit"] != "8" || got.RetryDelay != 1250*time.Millisecond || got.RequestID != "r-2" ||
		!slices.Equal(got.FieldViolations, []sigil.FieldViolation{{Field: "action", Description: "empty"}}) {
		t.Errorf("%+v", got)
	}
	if want := "sigil: FailedPrecondition: full (QUEUE_FULL); action: empty"; err.Error() != want {
		t.Error(err)
	}
	if status.Code(err) != codes.FailedPrecondition {
		t.Error(status.Code(err))
	}
}

func TestARequestIDComesFromTheTrailersToo(t *testing.T) {
	client := connected(t, &fake{check: func(ctx context.Context, _ *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-request-id", "r-3", "grpc-status-details-bin", "\xff\xff\xff"))
		return nil, status.Error(codes.DataLoss, "bad")
	}})
	_, err := client.Check(t.Context(), question)
	if got := failure(t, err); got.Code != codes.DataLoss || got.Reason != "" || got.RequestID != "r-3" {
		t.Errorf("%+v", got)
	}
}

func TestAnErrorNeitherRepeatsTheTokenNorForgesALine(t *testing.T) {
	const token = "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl"
	client := connected(t, refusing(failing(codes.Internal, "you sent Bearer "+token+"\nlevel=info msg=\"all is well\"",
		&errdetails.ErrorInfo{Reason: token, Metadata: map[string]string{"token": token}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: token, Description: token}}},
		&errdetails.RequestInfo{RequestId: token})), sigil.WithTokenSource(staticToken(token)))
	_, err := client.Check(t.Context(), question)
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err), fmt.Sprintf("%+v", *failure(t, err))} {
		if strings.Contains(text, token) {
			t.Errorf("the token is in %q", text)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("%q has more than one line", err.Error())
	}
	long := &sigil.Error{Code: codes.Internal, Message: strings.Repeat("é", 1<<20)}
	if len(long.Error()) > 1200 {
		t.Error("a message of a megabyte is printed")
	}
}

func TestNothingOfTheCallerIsPrinted(t *testing.T) {
	secretToken := staticToken("secret-token")
	client := connected(t, &fake{}, sigil.WithTokenSource(&secretToken))
	asked := sigil.Question{Action: "a", Target: "t", Input: []byte("secret-input")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, value := range []any{client, asked, &asked} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, "secret") || strings.Contains(text, "115 101 99") || strings.Contains(text, "0x73, 0x65") {
				t.Errorf("%s prints %s", verb, text)
			}
		}
	}
}

func TestACallEndsAtItsDeadline(t *testing.T) {
	waiting := &fake{check: func(ctx context.Context, _ *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	client := connected(t, waiting, sigil.WithDeadline(30*time.Millisecond))
	decision, err := client.Check(t.Context(), question)
	if got := failure(t, err); got.Code != codes.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) || decision.Allowed() {
		t.Error(got)
	}
	patient := connected(t, waiting)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := patient.Require(ctx, question); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := patient.Require(ctx, question); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("a call was made after its deadline:", err)
	}
}

func TestADeadlineOfTheCallerIsNotShortened(t *testing.T) {
	var left time.Duration
	client := connected(t, &fake{check: func(ctx context.Context, _ *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
		deadline, _ := ctx.Deadline()
		left = time.Until(deadline)
		return honest(), nil
	}}, sigil.WithDeadline(time.Minute))
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := client.Require(ctx, question); err != nil || left < 30*time.Minute {
		t.Error(left, err)
	}
	if err := client.Require(t.Context(), question); err != nil || left > time.Minute {
		t.Error(left, err)
	}
}

func TestACallIsCancelledByItsContext(t *testing.T) {
	started, cancelled := make(chan struct{}), make(chan struct{})
	client := connected(t, &fake{check: func(ctx context.Context, _ *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
		close(started)
		<-ctx.Done()
		close(cancelled)
		return nil, ctx.Err()
	}})
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-started
		cancel(enough)
	}()
	_, err := client.Check(ctx, question)
	if got := failure(t, err); got.Code != codes.Canceled || !errors.Is(err, context.Canceled) || !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
	<-cancelled
}

// keysOf are the idempotency keys of the checks that were asked.
func keysOf(server *fake) []string {
	server.mu.Lock()
	defer server.mu.Unlock()
	keys := []string{}
	for _, each := range server.asks {
		message := each.ProtoReflect()
		keys = append(keys, message.Get(message.Descriptor().Fields().ByName("idempotency_key")).String())
	}
	return keys
}

func TestACheckIsRepeatedUnderOneKey(t *testing.T) {
	server := refusing(status.Error(codes.Unavailable, "a"), failing(codes.Unavailable, "b", &errdetails.ErrorInfo{Reason: "NOT_COSIGNED"}))
	client := connected(t, server)
	if err := client.Require(t.Context(), question); err != nil {
		t.Fatal(err)
	}
	if err := client.Require(t.Context(), question); err != nil {
		t.Fatal(err)
	}
	keys := keysOf(server)
	if len(keys) != 4 || keys[0] == "" || keys[1] != keys[0] || keys[2] != keys[0] || keys[3] == keys[0] || keys[3] == "" {
		t.Errorf("keys %q", keys)
	}
	own := question
	own.IdempotencyKey = "mine"
	if err := client.Require(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	if keys := keysOf(server); keys[4] != "mine" {
		t.Errorf("keys %q", keys)
	}
}

func TestARepeatWaitsAsLongAsTheServerSays(t *testing.T) {
	const delay = 150 * time.Millisecond
	var first, second time.Time
	server := &fake{check: func(context.Context, *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
		if first.IsZero() {
			first = time.Now()
			return nil, failing(codes.ResourceExhausted, "full", &errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
		}
		second = time.Now()
		return honest(), nil
	}}
	if err := connected(t, server).Require(t.Context(), question); err != nil {
		t.Fatal(err)
	}
	if waited := second.Sub(first); waited < delay {
		t.Errorf("it waited %v", waited)
	}
}

func TestWhatIsNotRepeated(t *testing.T) {
	for what, err := range map[string]error{
		"a deny of the caller":              status.Error(codes.PermissionDenied, ""),
		"bad credentials":                   status.Error(codes.Unauthenticated, ""),
		"a field that breaks a rule":        status.Error(codes.InvalidArgument, ""),
		"an error of the server":            status.Error(codes.Internal, ""),
		"an exhausted limit without a time": status.Error(codes.ResourceExhausted, ""),
		"data loss":                         status.Error(codes.DataLoss, ""),
		"an abort":                          status.Error(codes.Aborted, ""),
		"a delay past the deadline": failing(codes.Unavailable, "", &errdetails.RetryInfo{
			RetryDelay: durationpb.New(10 * 365 * 24 * time.Hour)}),
	} {
		server := refusing(err, err, err, err)
		begun := time.Now()
		decision, got := connected(t, server).Check(t.Context(), question)
		if failure(t, got); server.calls() != 1 || decision.Allowed() || time.Since(begun) > 5*time.Second {
			t.Errorf("%s: %d calls", what, server.calls())
		}
	}
	unavailable := status.Error(codes.Unavailable, "")
	server := refusing(unavailable, unavailable, unavailable, unavailable, unavailable, unavailable)
	if err := connected(t, server).Require(t.Context(), question); failure(t, err).Code != codes.Unavailable || server.calls() != 5 {
		t.Errorf("%d calls", server.calls())
	}
	once := refusing(unavailable)
	if err := connected(t, once, sigil.WithoutRetries()).Require(t.Context(), question); failure(t, err).Code != codes.Unavailable || once.calls() != 1 {
		t.Errorf("%d calls", once.calls())
	}
	if keys := keysOf(once); keys[0] != "" {
		t.Error("a key is made for nothing")
	}
	runs := 0
	running := &fake{run: func(*modulev1.RunRequest) (*modulev1.RunResponse, error) {
		runs++
		return nil, unavailable
	}}
	if _, err := connected(t, running).Run(t.Context(), &modulev1.RunRequest{Name: "m"}); err == nil || runs != 1 {
		t.Errorf("%d runs", runs)
	}
}

func TestAServerThatIsDownIsNotAskedMoreThanBefore(t *testing.T) {
	isDown := atomic.Bool{}
	isDown.Store(true)
	server := &fake{check: func(context.Context, *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
		if isDown.Load() {
			return nil, status.Error(codes.Unavailable, "")
		}
		return honest(), nil
	}}
	client := connected(t, server)
	for range 20 {
		if _, err := client.Check(t.Context(), question); err == nil {
			t.Fatal("it answers")
		}
	}
	if calls := server.calls(); calls > 20+5 {
		t.Errorf("%d calls of 20 questions", calls)
	}
	isDown.Store(false)
	for range 80 {
		if err := client.Require(t.Context(), question); err != nil {
			t.Fatal(err)
		}
	}
	isDown.Store(true)
	before := server.calls()
	if _, err := client.Check(t.Context(), question); err == nil || server.calls() == before+1 {
		t.Errorf("a server that answered is asked once: %v", err)
	}
}

func TestARequestOfTheCallerStaysAsItIs(t *testing.T) {
	server := &fake{}
	client := connected(t, server)
	write := &canonv1.WriteRecordRequest{Id: "a"}
	if _, err := client.Canon().WriteRecord(t.Context(), write); err != nil {
		t.Fatal(err)
	}
	if write.IdempotencyKey != "" || keysOf(server)[0] == "" {
		t.Error(write, keysOf(server))
	}
}

// Every unary call is repeated because it says so, or because its request takes a key; and nobody forgot one.
func TestEveryCallIsKnownToBeRepeatableOrNot(t *testing.T) {
	once := []string{
		"/sigil.canon.v1.CanonService/AttestProposal",
		"/sigil.key.v1.KeyService/RotateDataKey",
		"/sigil.key.v1.KeyService/RetireKey",
		"/sigil.key.v1.KeyService/RotateKey",
		"/sigil.module.v1.ModuleService/Run",
	}
	known := map[string]bool{}
	for _, file := range []protoreflect.FileDescriptor{
		trustv1.File_sigil_trust_v1_trust_proto, auditv1.File_sigil_audit_v1_audit_proto, canonv1.File_sigil_canon_v1_canon_proto,
		canonv1.File_sigil_canon_v1_witness_proto, identityv1.File_sigil_identity_v1_principal_proto, keyv1.File_sigil_key_v1_key_proto,
		modulev1.File_sigil_module_v1_module_proto, backupv1.File_sigil_backup_v1_backup_proto, healthv1.File_grpc_health_v1_health_proto,
	} {
		for at := range file.Services().Len() {
			service := file.Services().Get(at)
			for each := range service.Methods().Len() {
				method := service.Methods().Get(each)
				if method.IsStreamingClient() || method.IsStreamingServer() {
					continue
				}
				name := fmt.Sprintf("/%s/%s", service.FullName(), method.Name())
				known[name] = true
				takesKey := method.Input().Fields().ByName("idempotency_key") != nil
				ways := 0
				for _, is := range []bool{sigil.Repeatable[name], takesKey, slices.Contains(once, name)} {
					if is {
						ways++
					}
				}
				if ways != 1 && name != "/grpc.health.v1.Health/List" {
					t.Errorf("%s is repeatable in %d ways", name, ways)
				}
			}
		}
	}
	for name := range sigil.Repeatable {
		if !known[name] {
			t.Errorf("%s is no call", name)
		}
	}
}

func TestAConnectionThatFailsIsTriedAgain(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	client := connectTo(t, address, sigil.WithoutTLS(), sigil.WithoutRetries())
	if _, err := client.Check(t.Context(), question); failure(t, err).Code != codes.Unavailable {
		t.Fatal(err)
	}
	listener, err = net.Listen("tcp", address)
	if err != nil {
		t.Skip("skipped: the port was taken meanwhile")
	}
	serveOn(t, listener, &fake{})
	ready := connectTo(t, address, sigil.WithoutTLS(), sigil.WithServerReady())
	if err := ready.Require(t.Context(), question); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for client.Require(ctx, question) != nil {
		if ctx.Err() != nil {
			t.Fatal("the connection that failed was given up")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestConnectWaitsNoLongerThanItsContext(t *testing.T) {
	leavesNothing(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := sigil.Connect(ctx, listener.Addr().String(), sigil.WithoutTLS(), sigil.WithServerReady()); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := sigil.Connect(ctx, "x", sigil.WithoutTLS()); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestCloseLetsCallsFinishAndEndsStreams(t *testing.T) {
	leavesNothing(t)
	started, release := make(chan struct{}), make(chan struct{})
	server := &fake{
		check: func(context.Context, *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
			close(started)
			<-release
			return honest(), nil
		},
		watch: func(_ *canonv1.WatchRequest, stream grpc.ServerStreamingServer[canonv1.WatchResponse]) error {
			_ = stream.Send(heartbeat(0))
			<-stream.Context().Done()
			return nil
		},
	}
	client := connected(t, server)
	asked, watched := make(chan error, 1), make(chan error, 1)
	watching := make(chan struct{})
	go func() { asked <- client.Require(t.Context(), question) }()
	go func() {
		for message, err := range client.Watch(t.Context(), &canonv1.WatchRequest{}) {
			if message != nil {
				close(watching)
			}
			if err != nil {
				watched <- err
			}
		}
	}()
	<-started
	<-watching
	closed := make(chan error, 1)
	go func() { closed <- client.Close() }()
	if got := failure(t, <-watched); got.Reason != sigil.ReasonClientClosed {
		t.Error(got)
	}
	close(release)
	if err := <-asked; err != nil {
		t.Error("a call under way was ended:", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := client.Require(t.Context(), question); failure(t, err).Reason != sigil.ReasonClientClosed {
		t.Error(err)
	}
	for _, err := range client.CheckStream(t.Context(), slices.Values([]sigil.Question{question})) {
		if failure(t, err).Reason != sigil.ReasonClientClosed {
			t.Error(err)
		}
	}
}

func TestTLSIsTheDefaultAndIsVerified(t *testing.T) {
	leavesNothing(t)
	certificate, other := certificateFor(t, "127.0.0.1", "sigil.test"), certificateFor(t, "127.0.0.1")
	server := &fake{}
	target := serve(t, server, "tcp", serverTLS(t, certificate))
	ask := func(options ...sigil.Option) error {
		return connectTo(t, target, append(options, sigil.WithoutRetries())...).Require(t.Context(), question)
	}
	if err := ask(sigil.WithCA(certificate.certificate)); err != nil {
		t.Error(err)
	}
	if err := ask(sigil.WithCA(certificate.certificate), sigil.WithServerName("sigil.test")); err != nil {
		t.Error(err)
	}
	calls := server.calls()
	for what, options := range map[string][]sigil.Option{
		"the system's authorities": {},
		"another authority":        {sigil.WithCA(other.certificate)},
		"another name":             {sigil.WithCA(certificate.certificate), sigil.WithServerName("other.test")},
		"no TLS":                   {sigil.WithoutTLS()},
	} {
		if err := ask(options...); failure(t, err).Code != codes.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
	plain := serve(t, server, "tcp")
	if err := connectTo(t, plain, sigil.WithCA(certificate.certificate), sigil.WithoutRetries()).Require(t.Context(), question); failure(t, err).Code != codes.Unavailable {
		t.Errorf("TLS went to a server without: %v", err)
	}
	if server.calls() != calls {
		t.Error("a call was made over a connection that does not hold")
	}
}

func TestConnectRefusesWhatContradictsItself(t *testing.T) {
	good := certificateFor(t, "a")
	for what, options := range map[string][]sigil.Option{
		"a token in the clear to another machine": {sigil.WithoutTLS(), sigil.WithTokenSource(staticToken("t"))},
		"two token sources":                       {sigil.WithTokenSource(staticToken("t")), sigil.WithTokenSource(staticToken("t"))},
		"no token source":                         {sigil.WithTokenSource(nil)},
		"TLS that verifies nothing":               {sigil.WithTLS(&tls.Config{InsecureSkipVerify: true})},
		"no TLS configuration":                    {sigil.WithTLS(nil)},
		"authorities that are none":               {sigil.WithCA([]byte("x"))},
		"a certificate without its key":           {sigil.WithClientCertificate(good.certificate, certificateFor(t, "b").key)},
		"a key that is none":                      {sigil.WithKeyPEM("p", "o", []byte("secret"))},
		"a key of another kind":                   {sigil.WithKeyPEM("p", "o", good.key)},
		"a key file that is not there":            {sigil.WithKeyFile("p", "o", "/does/not/exist")},
		"a key without a principal":               {sigil.WithKey("", "o", newKey(t))},
		"a key without an origin":                 {sigil.WithKey("p", "", newKey(t))},
		"no key":                                  {sigil.WithKey("p", "o", nil)},
		"no TLS, by an authority":                 {sigil.WithCA(good.certificate), sigil.WithoutTLS()},
		"no TLS, by a name":                       {sigil.WithoutTLS(), sigil.WithServerName("a")},
		"no deadline":                             {sigil.WithDeadline(0)},
		"no reply":                                {sigil.WithReplyBytesMax(0)},
	} {
		if client, err := sigil.Connect(t.Context(), "sigil.example.org:1", options...); err == nil {
			_ = client.Close()
			t.Errorf("%s is taken", what)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := sigil.Connect(t.Context(), ""); err == nil {
		t.Error("no target is taken")
	}
	allowed := connectTo(t, "sigil.example.org:1", sigil.WithoutTLS(), sigil.WithTokensInTheClear(), sigil.WithTokenSource(staticToken("t")))
	if allowed == nil {
		t.Error("tokens in the clear are refused though they were asked for")
	}
}

func TestATokenOfOneCallDoesNotLeaveInTheClearEither(t *testing.T) {
	client := connectTo(t, "192.0.2.1:1", sigil.WithoutTLS())
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer own")
	if err := client.Require(ctx, question); failure(t, err).Code != codes.FailedPrecondition || strings.Contains(err.Error(), "own") {
		t.Error(err)
	}
}

func TestWhatIsOnThisMachine(t *testing.T) {
	for target, want := range map[string]bool{
		"localhost:1": true, "LOCALHOST:1": true, "127.0.0.1:1": true, "127.255.3.4:1": true, "[::1]:1": true, "::1": true,
		"dns:localhost:1": true, "dns:///127.0.0.1:1": true, "passthrough:///[::1]:1": true, "unix:/run/s": true,
		"unix:///run/s": true, "unix-abstract:s": true, "[::ffff:127.0.0.1]:1": true,
		"sigil.example.org:1": false, "localhost.example.org:1": false, "127.0.0.1.example.org:1": false, "10.0.0.1:1": false,
		"dns://8.8.8.8/localhost:1": false, "0.0.0.0:1": false, "[::]:1": false, "localhost,10.0.0.1:1": false, "": false,
		"xds:///localhost:1": false, "unixish:1": false,
	} {
		if got := sigil.IsLocal(target); got != want {
			t.Errorf("%q: %v", target, got)
		}
	}
}

// A name that should be this machine's may be somebody else's by the time it is looked up.
func TestATokenInTheClearGoesToNoOtherAddress(t *testing.T) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range addresses {
		network, ok := each.(*net.IPNet)
		if !ok || network.IP.IsLoopback() || network.IP.To4() == nil {
			continue
		}
		listener, err := net.Listen("tcp", net.JoinHostPort(network.IP.String(), "0"))
		if err != nil {
			continue
		}
		defer func() { _ = listener.Close() }()
		if connection, err := sigil.DialLocal(t.Context(), listener.Addr().String()); err == nil {
			_ = connection.Close()
			t.Errorf("%s is taken for this machine's own", listener.Addr())
		}
		return
	}
	t.Skip("skipped: this machine has no other address")
}

func TestAUnixSocketTakesTokensWithoutTLS(t *testing.T) {
	server := &fake{}
	client := connectTo(t, serve(t, server, "unix"), sigil.WithoutTLS(), sigil.WithTokenSource(staticToken("t")))
	if err := client.Require(t.Context(), question); err != nil {
		t.Fatal(err)
	}
	if got := server.lastMetadata(t, "authorization"); !slices.Equal(got, []string{"Bearer t"}) {
		t.Error(got)
	}
}

func TestAReplyThatIsTooLongIsAnError(t *testing.T) {
	client := connected(t, always(func(r *trustv1.CheckResponse) { r.Subject = strings.Repeat("x", 2000) }), sigil.WithReplyBytesMax(1000))
	if decision, err := client.Check(t.Context(), question); failure(t, err).Code != codes.ResourceExhausted || decision.Allowed() {
		t.Error(err)
	}
}

// counting is what OpenTelemetry's handler is to gRPC.
type counting struct {
	stats.Handler
	begun, ended atomic.Int32
}

func (c *counting) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c *counting) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c *counting) HandleConn(context.Context, stats.ConnStats)                       {}
func (c *counting) HandleRPC(_ context.Context, event stats.RPCStats) {
	switch event.(type) {
	case *stats.Begin:
		c.begun.Add(1)
	case *stats.End:
		c.ended.Add(1)
	}
}

func TestAStatsHandlerSeesEveryAttempt(t *testing.T) {
	handler := &counting{}
	client := connected(t, refusing(status.Error(codes.Unavailable, "")), sigil.WithDialOptions(grpc.WithStatsHandler(handler)))
	if err := client.Require(t.Context(), question); err != nil {
		t.Fatal(err)
	}
	if handler.begun.Load() != 2 || handler.ended.Load() != 2 {
		t.Errorf("%d begun, %d ended", handler.begun.Load(), handler.ended.Load())
	}
}

func TestDialOptionsDoNotTakeTheProtectionAway(t *testing.T) {
	certificate := certificateFor(t, "127.0.0.1")
	target := serve(t, &fake{}, "tcp", serverTLS(t, certificate))
	config := grpc.WithDefaultServiceConfig(`{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":5,"initialBackoff":"0.01s","maxBackoff":"0.01s","backoffMultiplier":1,"retryableStatusCodes":["INTERNAL"]}}]}`)
	server := refusing(status.Error(codes.Internal, ""), status.Error(codes.Internal, ""))
	if err := connected(t, server, sigil.WithDialOptions(config)).Require(t.Context(), question); err == nil || server.calls() != 1 {
		t.Errorf("a service config repeats calls: %d", server.calls())
	}
	if err := connectTo(t, target, sigil.WithDialOptions(config), sigil.WithoutRetries()).Require(t.Context(), question); err == nil {
		t.Error("an unknown authority is taken")
	}
}

func TestOneConnectionServesConcurrentCalls(t *testing.T) {
	leavesNothing(t)
	client := connected(t, &fake{}, sigil.WithKey("billing", "sigil.test", newKey(t)))
	done := make(chan error)
	for range 50 {
		go func() { done <- client.Require(t.Context(), question) }()
	}
	for range 50 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
