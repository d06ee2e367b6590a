// What a check costs beside the bare stub: `go test -bench Check -run '^$' .`, and with SIGIL_TEST_WORLD against a
// server of this repository.
package sigil_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"testing"
	"time"

	sigil "sigil.example/go"
	trustv1 "sigil.example/go/sigil/trust/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// benched is a world if there is one, or a server that answers at once.
func benched(b *testing.B) (at world, options []sigil.Option) {
	b.Helper()
	if path := os.Getenv("SIGIL_TEST_WORLD"); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := json.Unmarshal(text, &at); err != nil {
			b.Fatal(err)
		}
		return at, []sigil.Option{at.security(), sigil.WithKeyPEM("operator", at.Origin, []byte(at.Keys["operator"]))}
	}
	target := serve(b, always(), "tcp")
	return world{Target: target, Origin: "sigil.test"}, []sigil.Option{sigil.WithoutTLS(), sigil.WithKey("operator", "sigil.test", newKey(b))}
}

var benchQuestion = sigil.Question{Action: "read", Target: "public/docs"}

// BenchmarkCheckBareStub is what examples/clients/go does, with a token that was made once.
func BenchmarkCheckBareStub(b *testing.B) { benchmarkStub(b, false) }

// BenchmarkCheckBareStubWithKey makes a repeat safe besides, which costs the server an entry.
func BenchmarkCheckBareStubWithKey(b *testing.B) { benchmarkStub(b, true) }

func benchmarkStub(b *testing.B, hasKey bool) {
	b.Helper()
	at, _ := benched(b)
	if at.CA != "" {
		b.Skip("skipped: the bare stub is measured without TLS")
	}
	connection, err := grpc.NewClient(at.Target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	key := newKey(b)
	if text := at.Keys["operator"]; text != "" {
		if key, err = sigil.ParsePrivateKey([]byte(text)); err != nil {
			b.Fatal(err)
		}
	}
	signer, err := sigil.NewKeySigner("operator", at.Origin, key)
	if err != nil {
		b.Fatal(err)
	}
	token, err := signer.Token(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(b.Context(), "authorization", "Bearer "+token)
	stub := trustv1.NewTrustServiceClient(connection)
	for b.Loop() {
		request := &trustv1.CheckRequest{Action: benchQuestion.Action, Target: benchQuestion.Target}
		if hasKey {
			request.IdempotencyKey = rand.Text()
		}
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		reply, err := stub.Check(limited, request)
		cancel()
		if err != nil || !reply.GetAllowed() {
			b.Fatal(reply, err)
		}
	}
}

func benchmarkCheck(b *testing.B, options ...sigil.Option) {
	at, given := benched(b)
	client := connectTo(b, at.Target, append(given, append(options, sigil.WithDeadline(time.Minute))...)...)
	for b.Loop() {
		if err := client.Require(b.Context(), benchQuestion); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckClient(b *testing.B)               { benchmarkCheck(b) }
func BenchmarkCheckClientWithoutRetries(b *testing.B) { benchmarkCheck(b, sigil.WithoutRetries()) }

func BenchmarkCheckClientVerified(b *testing.B) {
	at, _ := benched(b)
	if at.Genesis == "" {
		b.Skip("skipped: a decision is proved by a server of this repository: SIGIL_TEST_WORLD")
	}
	benchmarkCheck(b, sigil.VerifyDecisions(at.Genesis))
}
