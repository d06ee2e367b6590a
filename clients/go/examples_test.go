// The examples of README.md, where each of its blocks stands word for word.
package sigil_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	sigil "sigil.example/go"
	auditv1 "sigil.example/go/sigil/audit/v1"
	canonv1 "sigil.example/go/sigil/canon/v1"
	modulev1 "sigil.example/go/sigil/module/v1"
	"sigil.example/go/sigiltest"
	"sigil.example/go/verify"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

func Example() {
	ctx := context.Background()
	client, err := sigil.Connect(ctx, "sigil.example.org:50051",
		sigil.WithKeyFile("billing", "sigil.example.org", "billing.pem"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	guard := client.GuardHTTP(sigil.HTTPRule{Action: "orders.read", Target: "orders"})
	http.Handle("/orders", guard(http.HandlerFunc(listOrders)))
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", nil))
}

func listOrders(writer http.ResponseWriter, _ *http.Request) { fmt.Fprintln(writer, "the orders") }

func ExampleClient_Require() {
	refund := func(ctx context.Context, client *sigil.Client, order string) error {
		target, err := sigil.TargetOf("orders", order)
		if err != nil {
			return err
		}
		if err := client.Require(ctx, sigil.Question{Action: "payment.refund", Target: target}); err != nil {
			return err
		}
		return pay(order)
	}
	_ = refund
}

func pay(string) error { return nil }

func ExampleClient_Check() {
	explain := func(ctx context.Context, client *sigil.Client) {
		decision, err := client.Check(ctx, sigil.Question{Action: "write", Target: "user/notes"})

		var failure *sigil.Error
		switch {
		case decision.Allowed():
			fmt.Println("allowed by", decision.AuditID())
		case errors.As(err, &failure):
			fmt.Println("no decision:", failure.Code, failure.Reason, failure.FieldViolations, failure.RetryDelay, failure.RequestID)
		default:
			fmt.Println("denied:", decision.Verdict(), decision.Reason())
		}
	}
	_ = explain
}

func ExampleClient_CheckBatch() {
	batch := func(ctx context.Context, client *sigil.Client, questions []sigil.Question) error {
		decisions, err := client.CheckBatch(ctx, questions)
		if err != nil {
			return err
		}
		for index, decision := range decisions {
			fmt.Println(questions[index].Target, decision.Allowed(), decision.Err())
		}
		return nil
	}
	_ = batch
}

func ExampleClient_CheckStream() {
	stream := func(ctx context.Context, client *sigil.Client, questions []sigil.Question) error {
		for answer, err := range client.CheckStream(ctx, slices.Values(questions)) {
			if err != nil {
				return err
			}
			fmt.Println(answer.Question.Target, answer.Decision.Allowed())
		}
		return nil
	}
	_ = stream
}

func ExampleGuardHTTP() {
	routes := func(client *sigil.Client, userOf func(*http.Request) (string, error)) {
		guard := client.GuardHTTP(sigil.HTTPRule{
			Action:      "orders.read",
			TargetFrom:  func(r *http.Request) (string, error) { return sigil.TargetOf("orders", r.PathValue("id")) },
			SubjectFrom: userOf,
			OnDenied:    func(r *http.Request, err error) { slog.Warn("denied", "path", r.URL.Path, "why", err) },
		})
		http.Handle("GET /orders/{id}", guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, "allowed by", sigil.DecisionFrom(r.Context()).AuditID())
		})))
	}
	_ = routes
}

func ExampleUnaryServerInterceptor() {
	serve := func(client *sigil.Client) *grpc.Server {
		rule := sigil.GRPCRule{
			ActionFrom: func(call sigil.GRPCCall) (string, error) {
				return strings.ReplaceAll(strings.Trim(call.FullMethod, "/"), "/", "."), nil
			},
			Target:    "orders",
			Unguarded: []string{healthv1.Health_Check_FullMethodName},
		}
		return grpc.NewServer(
			grpc.ChainUnaryInterceptor(client.UnaryServerInterceptor(rule)),
			grpc.ChainStreamInterceptor(client.StreamServerInterceptor(rule)),
		)
	}
	_ = serve
}

func ExampleClient_Watch() {
	watch := func(ctx context.Context, client *sigil.Client, from *uint64, keep func(uint64) error) error {
		request := &canonv1.WatchRequest{Kinds: []string{"note"}, FromPosition: from}
		for message, err := range client.Watch(ctx, request) {
			if err != nil {
				return err
			}
			if record := message.GetRecord(); record != nil {
				fmt.Println(record.GetRecord().GetId(), record.GetVersion())
			}
			if err := keep(message.GetNextPosition()); err != nil {
				return err
			}
		}
		return nil
	}
	_ = watch
}

func ExampleClient_Canon() {
	write := func(ctx context.Context, client *sigil.Client) error {
		version := uint64(0)
		written, err := client.Canon().WriteRecord(ctx, &canonv1.WriteRecordRequest{
			Id:              "note/menu",
			Kind:            "note",
			Content:         &canonv1.WriteRecordRequest_PayloadJson{PayloadJson: `{"soup":"leek"}`},
			ExpectedVersion: &version,
		})
		if err != nil {
			return err
		}
		fmt.Println(sigil.JSON{Message: written})

		export := &canonv1.StreamRecordsRequest{Filter: &canonv1.RecordFilter{IdPrefix: "note/"}}
		for record, err := range client.Records(ctx, export) {
			if err != nil {
				return err
			}
			fmt.Println(record.GetRecord().GetId())
		}
		return nil
	}
	_ = write
}

func ExampleClient_Attest() {
	attest := func(ctx context.Context, client *sigil.Client, id string) error {
		reply, err := client.Canon().GetProposal(ctx, &canonv1.GetProposalRequest{Id: id})
		if err != nil {
			return err
		}
		body, err := sigil.ReadProposal("sigil.example.org", reply.GetProposal())
		if err != nil {
			return err
		}
		fmt.Println("review this:", body)

		text, err := os.ReadFile("witness.pem")
		if err != nil {
			return err
		}
		key, err := sigil.ParsePrivateKey(text)
		if err != nil {
			return err
		}
		_, err = client.Attest(ctx, reply.GetProposal(), sigil.Approve, key)
		return err
	}
	_ = attest
}

func ExampleClient_Run() {
	run := func(ctx context.Context, client *sigil.Client) error {
		request := &modulev1.RunRequest{Name: "hello", Input: &modulev1.RunRequest_InputJson{InputJson: `{"name":"Ann"}`}}
		ran, err := client.Run(ctx, request)
		if err != nil {
			return err
		}
		fmt.Println(ran.GetOutputJson(), ran.GetRunId())
		return nil
	}
	_ = run
}

func ExampleClient_Follow() {
	follow := func(ctx context.Context, client *sigil.Client, from uint64) error {
		request := &auditv1.ListFrozenChainsRequest{FromPosition: from}
		for chain, err := range client.Follow(ctx, request, time.Second) {
			if err != nil {
				return err
			}
			fmt.Println(chain.GetAuditId(), chain.GetVerdict(), chain.GetTarget())
		}
		return nil
	}
	_ = follow
}

func ExampleClient_Evidence() {
	prove := func(ctx context.Context, client *sigil.Client, auditID, genesisHash string) error {
		file, err := client.Evidence(ctx, &auditv1.GetEvidenceRequest{AuditId: auditID})
		if err != nil {
			return err
		}
		trust, err := verify.FromGenesis(genesisHash)
		if err != nil {
			return err
		}
		return verify.Evidence(file, trust).Err()
	}
	_ = prove
}

func ExampleVerifyDecisions() {
	connect := func(ctx context.Context, genesisHash string) (*sigil.Client, error) {
		return sigil.Connect(ctx, "sigil.example.org:50051",
			sigil.WithKeyFile("billing", "sigil.example.org", "billing.pem"),
			sigil.VerifyDecisions(genesisHash))
	}
	_ = connect
}

func ExampleConnect_unixSocket() {
	connect := func(ctx context.Context) (*sigil.Client, error) {
		return sigil.Connect(ctx, "unix:/run/sigil/sigil.sock", sigil.WithoutTLS(),
			sigil.WithKeyFile("billing", "sigil.example.org", "billing.pem"))
	}
	_ = connect
}

func TestExampleOfATest(t *testing.T) {
	client, asked := sigiltest.New(t, func(question sigil.Question) error {
		if question.Action != "orders.read" {
			return sigiltest.ErrDenied
		}
		return nil
	})
	if err := client.Require(t.Context(), sigil.Question{Action: "orders.write", Target: "orders"}); !errors.Is(err, sigil.ErrDenied) {
		t.Error(err)
	}
	if len(asked.Asked()) != 1 {
		t.Error(asked.Asked())
	}
}

// A deny, as it looks.
func ExampleDeniedError() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	registerDenying(server)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	client, err := sigil.Connect(context.Background(), listener.Addr().String(), sigil.WithoutTLS())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	err = client.Require(context.Background(), sigil.Question{Action: "write", Target: "user/notes"})
	fmt.Println(err)
	fmt.Println(errors.Is(err, sigil.ErrDenied))
	// Output:
	// sigil: denied: SCORE_BELOW_THRESHOLD (decision 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11)
	// true
}

var (
	goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")
	spaces  = regexp.MustCompile(`\s+`)
)

func squeezed(text string) string { return spaces.ReplaceAllString(text, " ") }

func TestEveryBlockOfTheReadmeIsAnExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile("examples_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := goBlock.FindAllSubmatch(readme, -1)
	if len(blocks) < 8 {
		t.Errorf("%d blocks", len(blocks))
	}
	compiled := squeezed(string(own))
	for _, block := range blocks {
		code, _, _ := bytes.Cut(block[1], []byte("// ...\n"))
		if !strings.Contains(compiled, strings.TrimSpace(squeezed(string(code)))) {
			t.Errorf("no example has this block:\n%s", block[1])
		}
	}
}
