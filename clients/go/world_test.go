// The client against a server of this repository, which test/e2e/go-sdk.test.ts starts and describes in a file.
package sigil_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sigil "sigil.example/go"
	auditv1 "sigil.example/go/sigil/audit/v1"
	canonv1 "sigil.example/go/sigil/canon/v1"
	keyv1 "sigil.example/go/sigil/key/v1"
	modulev1 "sigil.example/go/sigil/module/v1"
	trustv1 "sigil.example/go/sigil/trust/v1"
	typev1 "sigil.example/go/sigil/type/v1"
	"sigil.example/go/verify"
	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/merkle"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// world is a deployment with a principal a level and one witness.
type world struct {
	Target string
	// CA of a server with TLS, in PEM; empty without.
	CA     string
	Origin string
	// Genesis is the hash of the genesis record, hex.
	Genesis string
	// Keys are private keys in PKCS #8 PEM, by principal.
	Keys map[string]string
	// Hello is a path to the code of a module that greets.
	Hello string
}

func theWorld(t *testing.T) world {
	t.Helper()
	path := os.Getenv("SIGIL_TEST_WORLD")
	if path == "" {
		t.Skip("skipped: SIGIL_TEST_WORLD names no server: test/e2e/go-sdk.test.ts does")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var read world
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

func (w world) security() sigil.Option {
	if w.CA == "" {
		return sigil.WithoutTLS()
	}
	return sigil.WithCA([]byte(w.CA))
}

// as is a client of a principal. A busy machine is no reason to fail.
func (w world) as(t *testing.T, principal string, options ...sigil.Option) *sigil.Client {
	t.Helper()
	key := sigil.WithKeyPEM(principal, w.Origin, []byte(w.Keys[principal]))
	options = append([]sigil.Option{w.security(), key, sigil.WithDeadline(time.Minute)}, options...)
	return connectTo(t, w.Target, options...)
}

func TestWorldDecides(t *testing.T) {
	leavesNothing(t)
	at := theWorld(t)
	operator := at.as(t, "operator")
	if err := operator.Require(t.Context(), sigil.Question{Action: "read", Target: "public/docs"}); err != nil {
		t.Error(err)
	}
	decision, err := operator.Check(t.Context(), sigil.Question{Action: "no.such.action", Target: "vault/x"})
	if err != nil || decision.Allowed() || decision.Reason() != "UNKNOWN_ACTION" || decision.AuditID() == "" || decision.Subject() != "operator" {
		t.Error(decision, err)
	}
	_, err = operator.Check(t.Context(), sigil.Question{Action: "read", Target: "public/../vault"})
	if got := failure(t, err); got.Code != codes.InvalidArgument || len(got.FieldViolations) != 1 || got.FieldViolations[0].Field != "target" || got.RequestID == "" {
		t.Errorf("%+v", got)
	}
	guest := connectTo(t, at.Target, at.security())
	if err := guest.Require(t.Context(), sigil.Question{Action: "write", Target: "user/notes"}); !errors.Is(err, sigil.ErrDenied) {
		t.Error(err)
	}
	if status, err := guest.Health(t.Context(), ""); err != nil || status.String() != "SERVING" {
		t.Error(status, err)
	}
}

func TestWorldTakesATargetOfParts(t *testing.T) {
	operator := theWorld(t).as(t, "operator")
	for _, name := range []string{"../vault", "a/b", `$&"<>?[\]^{}|`, "résumé", "100 %", "*"} {
		target, err := sigil.TargetOf("public", name)
		if err != nil {
			t.Fatal(err)
		}
		decision, err := operator.Check(t.Context(), sigil.Question{Action: "read", Target: target})
		if strings.Contains(name, "..") {
			if got := failure(t, err); got.Code != codes.InvalidArgument || decision.Allowed() {
				t.Errorf("%q: %v", target, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", target, err)
			continue
		}
		reply, err := operator.Audit().GetFrozenChain(t.Context(), &auditv1.GetFrozenChainRequest{AuditId: decision.AuditID()})
		if err != nil {
			t.Fatal(err)
		}
		if recorded := reply.GetChain().GetTarget(); !strings.HasPrefix(recorded, "public/") || strings.Count(recorded, "/") != 1 {
			t.Errorf("%q was recorded as %q", name, recorded)
		}
	}
}

func TestWorldRefusesCredentials(t *testing.T) {
	at := theWorld(t)
	past := func() time.Time { return time.Now().Add(-time.Hour) }
	key, err := sigil.ParsePrivateKey([]byte(at.Keys["operator"]))
	if err != nil {
		t.Fatal(err)
	}
	expired, err := sigil.NewKeySigner("operator", at.Origin, key, sigil.TokenClock(past))
	if err != nil {
		t.Fatal(err)
	}
	for want, option := range map[string]sigil.Option{
		"TOKEN_EXPIRED":     sigil.WithTokenSource(expired),
		"TOKEN_AUDIENCE":    sigil.WithKey("operator", "other.test", key),
		"TOKEN_UNKNOWN_KEY": sigil.WithKey("operator", at.Origin, newKey(t)),
		"TOKEN_MALFORMED":   sigil.WithTokenSource(staticToken("secret")),
	} {
		client := connectTo(t, at.Target, at.security(), option)
		decision, err := client.Check(t.Context(), question)
		if got := failure(t, err); got.Code != codes.Unauthenticated || got.Reason != want || decision.Allowed() {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestWorldDecidesBatchesAndStreams(t *testing.T) {
	leavesNothing(t)
	operator := theWorld(t).as(t, "operator")
	asked := []sigil.Question{{Action: "read", Target: "public/a"}, {Action: "no.such", Target: "x"}, {Action: "read", Target: "../x"}}
	check := func(index int, decision sigil.Decision) {
		switch index {
		case 0:
			if !decision.Allowed() {
				t.Error(decision)
			}
		case 1:
			if decision.Allowed() || decision.Reason() != "UNKNOWN_ACTION" {
				t.Error(decision)
			}
		case 2:
			if got := failure(t, decision.Err()); decision.Allowed() || got.Code != codes.InvalidArgument {
				t.Error(decision)
			}
		}
	}
	decisions, err := operator.CheckBatch(t.Context(), asked)
	if err != nil || len(decisions) != 3 {
		t.Fatal(decisions, err)
	}
	for index, decision := range decisions {
		check(index, decision)
	}
	answers := 0
	for answer, err := range operator.CheckStream(t.Context(), slices.Values(asked)) {
		if err != nil {
			t.Fatal(err)
		}
		check(answer.Index, answer.Decision)
		answers++
	}
	if answers != 3 {
		t.Errorf("%d answers", answers)
	}
	all := 0
	for answer, err := range operator.CheckStream(t.Context(), questions(300)) {
		if err != nil {
			t.Fatal(err)
		}
		if answer.Decision.AuditID() != "" {
			all++
		}
	}
	if all != 300 {
		t.Errorf("%d answers", all)
	}
}

// cutter passes bytes on to a server, and cuts every connection when it is told to.
type cutter struct {
	address string

	mu   sync.Mutex
	open []net.Conn
}

func startCutter(t *testing.T, target string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	made := &cutter{address: listener.Addr().String()}
	dial := func() (net.Conn, error) {
		if path, isUnix := strings.CutPrefix(target, "unix:"); isUnix {
			return net.Dial("unix", path)
		}
		return net.Dial("tcp", target)
	}
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := dial()
			if err != nil {
				_ = near.Close()
				continue
			}
			made.mu.Lock()
			made.open = append(made.open, near, far)
			made.mu.Unlock()
			pipe := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				_ = to.Close()
			}
			go pipe(near, far)
			go pipe(far, near)
		}
	}()
	t.Cleanup(made.cut)
	return made
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, each := range c.open {
		_ = each.Close()
	}
	c.open = nil
}

func note(id string, number int) *canonv1.WriteRecordRequest {
	return &canonv1.WriteRecordRequest{
		Id:      id,
		Kind:    "note",
		Content: &canonv1.WriteRecordRequest_PayloadJson{PayloadJson: fmt.Sprintf(`{"n":%d}`, number)},
	}
}

func TestWorldKeepsRecordsAndIsWatchedOverInterruptions(t *testing.T) {
	leavesNothing(t)
	at := theWorld(t)
	line := startCutter(t, at.Target)
	operator := at.as(t, "operator")
	cut := at
	cut.Target = line.address
	observer := cut.as(t, "observer")

	prefix := fmt.Sprintf("note/%d/", time.Now().UnixNano())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const count = 12
	made, seen := 0, []string{}
	for message, err := range observer.Watch(ctx, &canonv1.WatchRequest{
		Filter:           &canonv1.RecordFilter{IdPrefix: prefix},
		HeartbeatSeconds: 1,
		Proof:            typev1.RecordProof_RECORD_PROOF_INCLUSION,
	}) {
		if err != nil {
			t.Fatal(err)
		}
		if record := message.GetRecord().GetRecord(); record != nil {
			seen = append(seen, record.GetId())
			if len(seen)%4 == 0 {
				line.cut()
			}
		}
		if len(seen) == count {
			break
		}
		if made > len(seen) {
			continue
		}
		made++
		written, err := operator.Canon().WriteRecord(ctx, note(prefix+fmt.Sprintf("%02d", len(seen)), len(seen)))
		if err != nil || written.GetVersion() != 1 || written.GetReplayed() {
			t.Fatal(written, err)
		}
	}
	want := []string{}
	for number := range count {
		want = append(want, prefix+fmt.Sprintf("%02d", number))
	}
	if !slices.Equal(seen, want) {
		t.Errorf("the watch gave %q", seen)
	}

	exported := []string{}
	for record, err := range observer.Records(ctx, &canonv1.StreamRecordsRequest{Filter: &canonv1.RecordFilter{IdPrefix: prefix}}) {
		if err != nil {
			t.Fatal(err)
		}
		if exported = append(exported, record.GetRecord().GetId()); len(exported) == 5 {
			line.cut()
		}
	}
	if !slices.Equal(exported, want) {
		t.Errorf("the export gave %q", exported)
	}

	again := note(want[0], 99)
	again.ExpectedVersion = proto.Uint64(1)
	if _, err := operator.Canon().WriteRecord(ctx, again); err != nil {
		t.Fatal(err)
	}
	_, err := operator.Canon().WriteRecord(ctx, again)
	if got := failure(t, err); got.Code != codes.Aborted || got.Facts["version"] != "2" {
		t.Errorf("%+v", got)
	}
	versions := []uint64{}
	for version, err := range observer.History(ctx, &canonv1.ListHistoryRequest{Id: want[0], PageSize: 1, OldestFirst: true}) {
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, version.GetVersion())
	}
	if !slices.Equal(versions, []uint64{1, 2}) {
		t.Error(versions)
	}
	read, err := observer.Canon().GetRecord(ctx, &canonv1.GetRecordRequest{Id: want[0]})
	if err != nil || read.GetRecord().GetRecord().GetPayloadJson() != `{"n":99}` {
		t.Error(read, err)
	}
}

func TestWorldAttestsAndRunsAModule(t *testing.T) {
	leavesNothing(t)
	at := theWorld(t)
	mentor, operator := at.as(t, "mentor"), at.as(t, "operator")
	code, err := os.ReadFile(at.Hello)
	if err != nil {
		t.Fatal(err)
	}
	upload, err := mentor.Modules().ProposeModule(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(code)
	manifest := &modulev1.ModuleManifest{
		Name:     "hello-go",
		MinLevel: typev1.LevelOfAccess_LEVEL_OF_ACCESS_OPERATOR,
		Limits:   &modulev1.ModuleLimits{WallMs: 5000, MemoryPages: 64, OutputBytes: 4096},
		Digest:   digest[:],
	}
	if err := upload.Send(&modulev1.ProposeModuleRequest{Part: &modulev1.ProposeModuleRequest_Manifest{Manifest: manifest}}); err != nil {
		t.Fatal(err)
	}
	for piece := range slices.Chunk(code, 1000) {
		if err := upload.Send(&modulev1.ProposeModuleRequest{Part: &modulev1.ProposeModuleRequest_Chunk{Chunk: piece}}); err != nil {
			t.Fatal(err)
		}
	}
	proposed, err := upload.CloseAndRecv()
	if err != nil {
		t.Fatal(err)
	}
	open := []string{}
	for each, err := range mentor.Proposals(t.Context(), &canonv1.ListProposalsRequest{State: canonv1.ProposalState_PROPOSAL_STATE_OPEN}) {
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, each.GetId())
	}
	if !slices.Contains(open, proposed.GetProposal().GetId()) {
		t.Errorf("%q", open)
	}
	body, err := sigil.ReadProposal(at.Origin, proposed.GetProposal())
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := body.Get("payload")
	shown, _ := payload.(cbor.Map)
	if inside, _ := shown.Get("digest"); !bytes.Equal(inside.([]byte), digest[:]) {
		t.Errorf("the body is about %x", inside)
	}
	witness, err := sigil.ParsePrivateKey([]byte(at.Keys["witness/alice"]))
	if err != nil {
		t.Fatal(err)
	}
	// The proposer's own view is not what is attested: the witness reads it for itself.
	alice := at.as(t, "witness/alice")
	shownTo, err := alice.Canon().GetProposal(t.Context(), &canonv1.GetProposalRequest{Id: proposed.GetProposal().GetId()})
	if err != nil {
		t.Fatal(err)
	}
	attested, err := alice.Attest(t.Context(), shownTo.GetProposal(), sigil.Approve, witness)
	if err != nil || attested.GetCommitted() == nil {
		t.Fatal(attested, err)
	}
	if _, err := alice.Attest(t.Context(), shownTo.GetProposal(), sigil.Approve, witness); failure(t, err).Reason != "PROPOSAL_COMMITTED" {
		t.Error(err)
	}

	ask := &modulev1.RunRequest{Name: "hello-go", Digest: digest[:], Input: &modulev1.RunRequest_InputJson{InputJson: `{"name":"Ann"}`}}
	ran, err := operator.Run(t.Context(), ask)
	if err != nil || !strings.Contains(ran.GetOutputJson(), "Ann") {
		t.Fatal(ran, err)
	}
	var output []byte
	var result *modulev1.RunResponse
	for part, err := range operator.RunStream(t.Context(), ask) {
		if err != nil {
			t.Fatal(err)
		}
		output = append(output, part.GetOutput()...)
		result = part.GetResult()
	}
	if result == nil || !bytes.Equal(output, ran.GetOutput()) || result.GetExitCode() != 0 {
		t.Error(result, string(output))
	}
	_, err = operator.Run(t.Context(), &modulev1.RunRequest{Name: "no-such-module"})
	if got := failure(t, err); got.Code != codes.NotFound {
		t.Error(err)
	}
	guest := connectTo(t, at.Target, at.security())
	if _, err := guest.Run(t.Context(), ask); failure(t, err).Code != codes.PermissionDenied {
		t.Error(err)
	}
}

func TestWorldShowsItsEvidence(t *testing.T) {
	leavesNothing(t)
	at := theWorld(t)
	operator, observer := at.as(t, "operator"), at.as(t, "observer")
	session := fmt.Sprint("s-", time.Now().UnixNano())
	asked := []string{}
	ask := func() {
		decision, err := operator.Check(t.Context(), sigil.Question{Action: "read", Target: "public/docs", Session: session})
		if err != nil {
			t.Fatal(err)
		}
		asked = append(asked, decision.AuditID())
	}
	ask()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	followed := []string{}
	for chain, err := range observer.Follow(ctx, &auditv1.ListFrozenChainsRequest{Session: session, PageSize: 2}, 10*time.Millisecond) {
		if err != nil {
			t.Fatal(err)
		}
		if followed = append(followed, chain.GetAuditId()); len(followed) == 5 {
			break
		}
		ask()
	}
	if !slices.Equal(followed, asked) {
		t.Errorf("%q were followed, %q were asked", followed, asked)
	}
	listed := []string{}
	for chain, err := range observer.Decisions(ctx, &auditv1.ListFrozenChainsRequest{Session: session, PageSize: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, chain.GetAuditId())
	}
	slices.Reverse(listed)
	if !slices.Equal(listed, asked) {
		t.Errorf("%q were listed", listed)
	}
	file, err := observer.Evidence(ctx, &auditv1.GetEvidenceRequest{AuditId: asked[0]})
	if err != nil || len(file) == 0 {
		t.Error(len(file), err)
	}
	verified, err := observer.Audit().VerifyFrozenChain(ctx, &auditv1.VerifyFrozenChainRequest{AuditId: asked[0]})
	if err != nil || !verified.GetVerified() {
		t.Error(verified, err)
	}
	if _, err := observer.Evidence(ctx, &auditv1.GetEvidenceRequest{AuditId: "0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11"}); failure(t, err).Code != codes.NotFound {
		t.Error(err)
	}
}

func TestWorldProvesItsDecisions(t *testing.T) {
	leavesNothing(t)
	at := theWorld(t)
	numbers := sigil.MemoryNumbers()
	operator := at.as(t, "operator", sigil.VerifyDecisions(at.Genesis), sigil.WithRemember(sigil.Remember{Store: numbers}))
	proved := func(what string, decision sigil.Decision, err error) {
		t.Helper()
		if err != nil || !decision.Allowed() || !decision.Verified() {
			t.Errorf("%s: %v, verified: %v, %v", what, decision, decision.Verified(), err)
		}
		if held, _ := numbers.Load(t.Context()); held.Seq == 0 || held.Seq < decision.Reply().GetCallerSeq() {
			t.Errorf("%s: its number was not remembered: %v", what, held)
		}
	}
	public := sigil.Question{Action: "read", Target: "public//docs/"}
	decision, err := operator.Check(t.Context(), public)
	proved("a check", decision, err)
	aboutAnother := public
	aboutAnother.Subject = "spiffe://" + at.Origin + "/observer"
	decision, err = operator.Check(t.Context(), aboutAnother)
	proved("a check about another subject, by another spelling", decision, err)
	decision, err = operator.Check(t.Context(), sigil.Question{Action: "no.such", Target: "x"})
	if err != nil || decision.Allowed() || !decision.Verified() {
		t.Error("a deny:", decision, err)
	}
	decisions, err := operator.CheckBatch(t.Context(), []sigil.Question{public, public, aboutAnother})
	for _, each := range decisions {
		proved("an item of a batch", each, err)
	}
	for answer, err := range operator.CheckStream(t.Context(), slices.Values([]sigil.Question{public, public})) {
		proved("an answer of a stream", answer.Decision, err)
	}
	root := at.as(t, "root")
	for _, role := range []keyv1.KeyRole{keyv1.KeyRole_KEY_ROLE_RECORD, keyv1.KeyRole_KEY_ROLE_CHECKPOINT} {
		if _, err := root.Keys().RotateKey(t.Context(), &keyv1.RotateKeyRequest{Role: role}); err != nil {
			t.Fatal(err)
		}
		decision, err = operator.Check(t.Context(), public)
		proved("a check after a rotation", decision, err)
	}

	misled := at.as(t, "operator", sigil.VerifyDecisions(strings.Repeat("0", 64)))
	decision, err = misled.Check(t.Context(), public)
	var unproved *sigil.ProofError
	if !errors.As(err, &unproved) || decision.Allowed() || unproved.AuditID == "" {
		t.Error("another genesis:", decision, err)
	}
	if err := misled.Require(t.Context(), public); !errors.As(err, &unproved) {
		t.Error(err)
	}
	decisions, err = misled.CheckBatch(t.Context(), []sigil.Question{public})
	if err != nil || decisions[0].Allowed() || !errors.As(decisions[0].Err(), &unproved) {
		t.Error(decisions, err)
	}
	for answer, err := range misled.CheckStream(t.Context(), slices.Values([]sigil.Question{public})) {
		if err != nil || answer.Decision.Allowed() || !errors.As(answer.Decision.Err(), &unproved) {
			t.Error(answer, err)
		}
	}
	if _, err := sigil.Connect(t.Context(), at.Target, sigil.VerifyDecisions("not a hash")); err == nil {
		t.Error("no hash is taken for one")
	}
}

// replaying stands between a client and an honest server, and gives answers to other questions than were asked.
type replaying struct {
	trustv1.UnimplementedTrustServiceServer
	keyv1.UnimplementedKeyServiceServer
	honest *grpc.ClientConn
	// ask changes what is asked, and answer gives what is answered in place of it.
	ask    func(*trustv1.CheckRequest)
	answer func(*trustv1.CheckResponse) *trustv1.CheckResponse
}

func forwarded(ctx context.Context) context.Context {
	incoming, _ := metadata.FromIncomingContext(ctx)
	return metadata.AppendToOutgoingContext(ctx, "authorization", incoming.Get("authorization")[0])
}

func (r *replaying) Check(ctx context.Context, request *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
	if r.ask != nil {
		r.ask(request)
	}
	reply, err := trustv1.NewTrustServiceClient(r.honest).Check(forwarded(ctx), request)
	if err != nil || r.answer == nil {
		return reply, err
	}
	return r.answer(reply), nil
}

func (r *replaying) ListKeyRecords(ctx context.Context, request *keyv1.ListKeyRecordsRequest) (*keyv1.ListKeyRecordsResponse, error) {
	return keyv1.NewKeyServiceClient(r.honest).ListKeyRecords(forwarded(ctx), request)
}

func TestWorldProvesNothingByAnAnswerToAnotherQuestion(t *testing.T) {
	leavesNothing(t)
	at := theWorld(t)
	security := insecure.NewCredentials()
	if at.CA != "" {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(at.CA))
		security = credentials.NewTLS(&tls.Config{RootCAs: pool})
	}
	honest, err := grpc.NewClient(at.Target, grpc.WithTransportCredentials(security))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = honest.Close() }()
	liar := &replaying{honest: honest}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	trustv1.RegisterTrustServiceServer(server, liar)
	keyv1.RegisterKeyServiceServer(server, liar)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	through := at
	through.Target, through.CA = listener.Addr().String(), ""
	client := through.as(t, "operator", sigil.VerifyDecisions(at.Genesis))

	public := sigil.Question{Action: "read", Target: "public/docs"}
	withInput := public
	withInput.Input = []byte("refund 5")
	proved := func(what string, question sigil.Question) {
		t.Helper()
		if decision, err := client.Check(t.Context(), question); err != nil || !decision.Allowed() || !decision.Verified() {
			t.Errorf("%s: %v, %v", what, decision, err)
		}
	}
	unproved := func(what string, question sigil.Question, rule string) {
		t.Helper()
		decision, err := client.Check(t.Context(), question)
		var failed *sigil.ProofError
		if !errors.As(err, &failed) || decision.Allowed() || !strings.Contains(err.Error(), rule) {
			t.Errorf("%s: %v, %v", what, decision, err)
		}
	}
	var old *trustv1.CheckResponse
	liar.answer = func(reply *trustv1.CheckResponse) *trustv1.CheckResponse {
		if old == nil {
			old = proto.CloneOf(reply)
		}
		return reply
	}
	proved("an honest answer", public)
	proved("an honest answer about an input", withInput)

	liar.answer = func(*trustv1.CheckResponse) *trustv1.CheckResponse { return proto.CloneOf(old) }
	unproved("an old allow", public, "older than the question")
	repeated := public
	repeated.IdempotencyKey = "chosen by the caller"
	proved("an old allow of a key of the caller's own, whose first answer it may be", repeated)

	liar.answer = nil
	liar.ask = func(request *trustv1.CheckRequest) { request.Target = "public/other" }
	unproved("another target", public, "target")
	liar.ask = func(request *trustv1.CheckRequest) { request.Subject = "observer" }
	asked := public
	asked.Subject = "spiffe://" + at.Origin + "/mentor"
	unproved("another subject", asked, "subject")
	digest := sha256.Sum256(withInput.Input)
	liar.ask = func(request *trustv1.CheckRequest) { request.Input = []byte("refund 5000") }
	liar.answer = func(reply *trustv1.CheckResponse) *trustv1.CheckResponse {
		reply.InputDigest = digest[:]
		return reply
	}
	unproved("another input", withInput, "this input")
	liar.ask = nil
	liar.answer = func(reply *trustv1.CheckResponse) *trustv1.CheckResponse {
		reply.Disclosures = nil
		return reply
	}
	unproved("an input that is not disclosed", withInput, "")

	// Two questions that are under way together have two records.
	liar.answer = nil
	var mu sync.Mutex
	var first *trustv1.CheckResponse
	bothAsked := make(chan struct{})
	liar.answer = func(reply *trustv1.CheckResponse) *trustv1.CheckResponse {
		mu.Lock()
		if first == nil {
			first = proto.CloneOf(reply)
			mu.Unlock()
			<-bothAsked
			return reply
		}
		close(bothAsked)
		mu.Unlock()
		return proto.CloneOf(first)
	}
	results := make(chan error, 2)
	for range 2 {
		go func() { results <- client.Require(t.Context(), public) }()
	}
	if one, other := <-results, <-results; (one == nil) == (other == nil) {
		t.Errorf("one record answers two questions: %v, %v", one, other)
	}
}

func TestWorldGuardsAnHTTPHandler(t *testing.T) {
	at := theWorld(t)
	operator := at.as(t, "operator")
	for target, want := range map[string]int{"public/docs": 200, "public/../docs": 403, "": 403} {
		request := httptest.NewRequest("GET", "/", nil)
		guard := operator.GuardHTTP(sigil.HTTPRule{Action: "read", TargetFrom: targetOf(target)})
		if response, _, decision, reached := served(guard, request); response.StatusCode != want || reached != (want == 200) || decision.Allowed() != reached {
			t.Errorf("%q: %d", target, response.StatusCode)
		}
	}
}

func TestWorldIsWatchedByProofAndItsNumbersAreRemembered(t *testing.T) {
	leavesNothing(t)
	at := theWorld(t)
	genesis, err := verify.ParseHash(at.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	store := sigil.MemoryNumbers()
	operator := at.as(t, "operator", sigil.WithRemember(sigil.Remember{Store: store}))
	for range 3 {
		decision, err := operator.Check(t.Context(), sigil.Question{Action: "read", Target: "public/watched"})
		if held, _ := store.Load(t.Context()); err != nil || held.Seq == 0 || held.AuditID != decision.AuditID() {
			t.Error(held, err)
		}
	}
	// Everything, from the beginning, through a connection that is cut.
	cutter := startCutter(t, at.Target)
	key := sigil.WithKeyPEM("root", at.Origin, []byte(at.Keys["root"]))
	root := connectTo(t, cutter.address, at.security(), key, sigil.WithDeadline(time.Minute))
	everything := &canonv1.WatchRequest{Tenants: []string{"*"}, Spaces: []typev1.Space{typev1.Space_SPACE_USER, typev1.Space_SPACE_SYSTEM}, AllKinds: true, HeartbeatSeconds: 1}
	records, checkpoints := 0, 0
	var last *sigil.VerifiedCheckpoint
	for event, err := range root.WatchVerified(t.Context(), everything, sigil.WatchTrust{Genesis: genesis, Rebuild: &merkle.Frontier{}}) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Record != nil {
			if records++; records == 3 {
				cutter.cut()
			}
		}
		if event.Checkpoint != nil {
			checkpoints++
			if last = event.Checkpoint; last.Rebuilt.Size == last.Size {
				break
			}
		}
	}
	if records < 5 || last.Rebuilt.Root() != last.Root {
		t.Error(records, checkpoints)
	}
	other := genesis
	other[0] ^= 1
	for _, err := range root.WatchVerified(t.Context(), everything, sigil.WatchTrust{Genesis: other}) {
		var doubted *sigil.UnverifiedError
		if !errors.As(err, &doubted) {
			t.Error(err)
		}
	}
}
