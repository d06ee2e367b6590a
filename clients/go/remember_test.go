// Numbers of a caller's decisions: what is a fault and what is not, by every way of asking, and their file.
package sigil_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sigil "sigil.example/go"
	trustv1 "sigil.example/go/sigil/trust/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

func numbered(seq, position uint64, id string, replayed bool) *trustv1.CheckResponse {
	return honest(func(r *trustv1.CheckResponse) {
		r.CallerSeq, r.LedgerPosition, r.AuditId, r.Replayed = seq, position, id, replayed
	})
}

func usual(seq uint64) *trustv1.CheckResponse {
	return numbered(seq, 3*seq, fmt.Sprint("a-", seq), false)
}

// numbering answers each question with the next of these, by every way of asking.
func numbering(answers ...*trustv1.CheckResponse) *fake {
	var at atomic.Int32
	next := func() *trustv1.CheckResponse { return answers[min(int(at.Add(1)), len(answers))-1] }
	return &fake{
		check: func(context.Context, *trustv1.CheckRequest) (*trustv1.CheckResponse, error) { return next(), nil },
		batch: func(_ context.Context, request *trustv1.BatchCheckRequest) (*trustv1.BatchCheckResponse, error) {
			reply := &trustv1.BatchCheckResponse{}
			for range request.Checks {
				reply.Results = append(reply.Results, &trustv1.BatchCheckResult{Outcome: &trustv1.BatchCheckResult_Decision{Decision: next()}})
			}
			return reply, nil
		},
		checks: func(stream grpc.BidiStreamingServer[trustv1.StreamChecksRequest, trustv1.StreamChecksResponse]) error {
			for {
				request, err := stream.Recv()
				if err != nil {
					return nil
				}
				if err := stream.Send(streamed(request.CorrelationId, next())); err != nil {
					return err
				}
			}
		},
	}
}

func known(t *testing.T, number sigil.CallerNumber) sigil.NumberStore {
	t.Helper()
	store := sigil.MemoryNumbers()
	if _, err := store.Save(t.Context(), number); err != nil {
		t.Fatal(err)
	}
	return store
}

func TestANumberThatALedgerGivesAgainIsNoAllow(t *testing.T) {
	nine := sigil.CallerNumber{Seq: 9, Position: 27, AuditID: "a-9"}
	for what, each := range map[string]struct {
		answer *trustv1.CheckResponse
		fault  sigil.NumberFault
	}{
		"another decision's":                   {numbered(9, 28, "b-9", false), sigil.NumberRepeated},
		"another decision's, as an old answer": {numbered(9, 28, "b-9", true), sigil.NumberRepeated},
		"the same decision elsewhere":          {numbered(9, 30, "a-9", false), sigil.NumberRepeated},
		"a lower one":                          {numbered(7, 21, "b-7", false), sigil.NumberWentBack},
		"a higher one at an earlier position":  {numbered(10, 20, "a-10", false), sigil.NumberDisordered},
		"an old answer at a later position":    {numbered(7, 40, "a-7", true), sigil.NumberDisordered},
		"none":                                 {numbered(0, 50, "a-x", false), sigil.NumberMissing},
		"the next":                             {usual(10), ""},
		"one after a gap":                      {usual(30), ""},
		"the same answer again":                {numbered(9, 27, "a-9", true), ""},
		"an old answer":                        {numbered(4, 12, "a-4", true), ""},
		"an answer older than numbers":         {numbered(0, 1, "old", true), ""},
	} {
		for way, ask := range ways {
			t.Run(what+" by "+way, func(t *testing.T) {
				store := known(t, nine)
				client := connected(t, numbering(each.answer), sigil.WithRemember(sigil.Remember{Store: store}))
				got, err := ask(t.Context(), client)
				held, _ := store.Load(t.Context())
				if each.fault == "" {
					if err != nil || !got.allowed || held.Seq != max(9, each.answer.CallerSeq) {
						t.Error(got, err, held)
					}
					return
				}
				var fault *sigil.CallerNumberError
				if got.allowed || !errors.As(err, &fault) || fault.Fault != each.fault || fault.Known != nine || held != nine {
					t.Error(got, err, held)
				}
			})
		}
	}
}

func TestTheNumberOfAnAnswerThatIsNotProvedIsNotRemembered(t *testing.T) {
	nine := sigil.CallerNumber{Seq: 9, Position: 27, AuditID: "a-9"}
	for _, way := range []string{"Check", "Require", "CheckBatch", "CheckStream"} {
		t.Run(way, func(t *testing.T) {
			store := known(t, nine)
			client := connected(t, numbering(usual(10), numbered(10, 31, "b-10", false)),
				sigil.VerifyDecisions(strings.Repeat("0", 64)), sigil.WithRemember(sigil.Remember{Store: store}))
			got, err := ways[way](t.Context(), client)
			if held, _ := store.Load(t.Context()); got.allowed || held != nine {
				t.Error(got, err, held)
			}
			// Nor in memory: it is no other decision's. What a stub is answered is believed without a proof.
			if got, err := ways["a generated stub"](t.Context(), client); !got.allowed {
				t.Error(got, err)
			}
			if held, _ := store.Load(t.Context()); held.AuditID != "b-10" {
				t.Error(held)
			}
		})
	}
}

func TestAFaultOfNumbersMayBeToldInstead(t *testing.T) {
	var told []*sigil.CallerNumberError
	client := connected(t, numbering(usual(8), usual(10)), sigil.WithRemember(sigil.Remember{
		Store:   known(t, sigil.CallerNumber{Seq: 9, Position: 27, AuditID: "a-9"}),
		OnFault: func(fault *sigil.CallerNumberError) { told = append(told, fault) },
	}))
	for range 2 {
		if err := client.Require(t.Context(), question); err != nil {
			t.Error(err)
		}
	}
	if len(told) != 1 || !strings.Contains(told[0].Error(), "number 8 (a-8 at position 24)") || !strings.Contains(told[0].Error(), "known is 9 (a-9 at position 27)") {
		t.Error(told)
	}
}

func TestNumbersOfAnotherCallersTokenAreNotRemembered(t *testing.T) {
	store := known(t, sigil.CallerNumber{Seq: 9, Position: 27, AuditID: "a-9"})
	client := connected(t, numbering(usual(1)), sigil.WithRemember(sigil.Remember{Store: store}))
	if err := client.Require(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer own"), question); err != nil {
		t.Error(err)
	}
}

func TestNumbersOfQuestionsUnderWayComeInAnyOrder(t *testing.T) {
	leavesNothing(t)
	const count = 40
	arrived, at := make(chan struct{}, count), atomic.Int64{}
	let := make(chan struct{})
	var gaps []sigil.NumberGap
	var mu sync.Mutex
	store := sigil.MemoryNumbers()
	client := connected(t, &fake{check: func(context.Context, *trustv1.CheckRequest) (*trustv1.CheckResponse, error) {
		seq := uint64(at.Add(1))
		if seq <= count {
			arrived <- struct{}{}
			<-let
		}
		return usual(2 * seq), nil
	}}, sigil.WithRemember(sigil.Remember{Store: store, OnGap: func(gap sigil.NumberGap) {
		mu.Lock()
		defer mu.Unlock()
		gaps = append(gaps, gap)
	}}))
	var all sync.WaitGroup
	for range count {
		all.Go(func() {
			decision, err := client.Check(t.Context(), question)
			held, _ := store.Load(t.Context())
			if err != nil || held.Seq < decision.Reply().GetCallerSeq() {
				t.Error(err, held, "was not kept before the answer", decision)
			}
		})
	}
	for range count {
		<-arrived
	}
	if len(gaps) != 0 {
		t.Error("a gap was told that a question under way may fill:", gaps)
	}
	close(let)
	all.Wait()
	if err := client.Require(t.Context(), question); err != nil {
		t.Fatal(err)
	}
	var want []sigil.NumberGap
	for seq := uint64(3); seq <= 2*count+1; seq += 2 {
		want = append(want, sigil.NumberGap{From: seq, To: seq})
	}
	if !slices.Equal(gaps, want) {
		t.Error(gaps)
	}
}

type brokenStore struct {
	sigil.NumberStore
	loads, saves error
}

func (b *brokenStore) Load(ctx context.Context) (sigil.CallerNumber, error) {
	if b.loads != nil {
		return sigil.CallerNumber{}, b.loads
	}
	return b.NumberStore.Load(ctx)
}

func (b *brokenStore) Save(ctx context.Context, number sigil.CallerNumber) (sigil.CallerNumber, error) {
	if b.saves != nil {
		return sigil.CallerNumber{}, b.saves
	}
	return b.NumberStore.Save(ctx, number)
}

func TestANumberThatCannotBeKeptIsNoAllow(t *testing.T) {
	full := errors.New("no space")
	store := &brokenStore{NumberStore: sigil.MemoryNumbers(), loads: full}
	server := numbering(usual(1), usual(2))
	client := connected(t, server, sigil.WithRemember(sigil.Remember{Store: store}))
	if decision, err := client.Check(t.Context(), question); !errors.Is(err, full) || decision.Allowed() || server.calls() != 0 {
		t.Error(decision, err)
	}
	store.loads, store.saves = nil, full
	if decision, err := client.Check(t.Context(), question); !errors.Is(err, full) || decision.Allowed() {
		t.Error(decision, err)
	}
	store.saves = nil
	if err := client.Require(t.Context(), question); err != nil {
		t.Error(err)
	}
	if held, _ := store.Load(t.Context()); held.Seq != 2 {
		t.Error(held)
	}
	if _, err := sigil.Connect(t.Context(), "localhost:1", sigil.WithRemember(sigil.Remember{})); err == nil {
		t.Error("numbers are remembered nowhere")
	}
}

var whose = sigil.NumberedCaller{Origin: "sigil.test", Tenant: "acme", Caller: "svc/gateway"}

// As the TypeScript client writes it: processes of any language share a file.
const numbersOfTypeScript = `{"version":1,"origin":"sigil.test","tenant":"acme","caller":"svc/gateway","seq":"7","position":"21","audit_id":"a-7"}` + "\n"

func TestTheFileOfNumbersHoldsTheHighest(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "numbers.json")
	seven := sigil.CallerNumber{Seq: 7, Position: 21, AuditID: "a-7"}
	if held, err := sigil.FileNumbers(path, whose).Load(t.Context()); err != nil || held != (sigil.CallerNumber{}) {
		t.Error(held, err)
	}
	for _, number := range []sigil.CallerNumber{seven, {Seq: 5, Position: 15, AuditID: "a-5"}} {
		if held, err := sigil.FileNumbers(path, whose).Save(t.Context(), number); err != nil || held != seven {
			t.Error(held, err)
		}
	}
	if text, _ := os.ReadFile(path); string(text) != numbersOfTypeScript {
		t.Errorf("%s", text)
	}
	// What a crash left.
	longAgo := time.Now().Add(-time.Minute)
	for name, text := range map[string]string{path + ".new": "{", path + ".lock": ""} {
		if err := errors.Join(os.WriteFile(name, []byte(text), 0o600), os.Chtimes(name, longAgo, longAgo)); err != nil {
			t.Fatal(err)
		}
	}
	eight := sigil.CallerNumber{Seq: 8, Position: 24, AuditID: "a-8"}
	if held, err := sigil.FileNumbers(path, whose).Save(t.Context(), eight); err != nil || held != eight {
		t.Error(held, err)
	}
	if left, _ := os.ReadDir(directory); len(left) != 1 {
		t.Error(left)
	}
	// A lock that is held is waited for, no longer than the call.
	if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := sigil.FileNumbers(path, whose).Save(ctx, eight); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestTheFileOfNumbersIsOfOneCallerOfOneLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "numbers.json")
	refuses := func(text string, of sigil.NumberedCaller, rule string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, loadErr := sigil.FileNumbers(path, of).Load(t.Context())
		_, saveErr := sigil.FileNumbers(path, of).Save(t.Context(), sigil.CallerNumber{Seq: 9})
		for _, err := range []error{loadErr, saveErr} {
			if err == nil || !strings.Contains(err.Error(), rule) || !strings.Contains(err.Error(), path) {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
	refuses(numbersOfTypeScript, sigil.NumberedCaller{Origin: "other.test", Tenant: "acme", Caller: "svc/gateway"}, `is of origin "sigil.test", and not of "other.test"`)
	refuses(numbersOfTypeScript, sigil.NumberedCaller{Origin: "sigil.test", Tenant: "beta", Caller: "svc/gateway"}, "is of tenant")
	refuses(numbersOfTypeScript, sigil.NumberedCaller{Origin: "sigil.test", Tenant: "acme", Caller: "svc/other"}, "is of caller")
	for _, wrong := range []string{"", "{", "[]", "null", strings.Replace(numbersOfTypeScript, `"version":1`, `"version":2`, 1)} {
		refuses(wrong, whose, "is no file of remembered numbers")
	}
	for _, wrong := range []string{`"-7"`, `""`, `"99999999999999999999"`, `"+7"`} {
		refuses(strings.Replace(numbersOfTypeScript, `"7"`, wrong, 1), whose, "seq must be decimal text")
	}
}

func TestTheFileOfNumbersNeverGoesBackWhileManyWriteIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "numbers.json")
	var writers sync.WaitGroup
	for first := range uint64(4) {
		writers.Go(func() {
			for seq := first + 1; seq <= 40; seq += 4 {
				held, err := sigil.FileNumbers(path, whose).Save(t.Context(), sigil.CallerNumber{Seq: seq, Position: seq, AuditID: "x"})
				if err != nil || held.Seq < seq {
					t.Error(held, err)
				}
			}
		})
	}
	writers.Wait()
	if held, err := sigil.FileNumbers(path, whose).Load(t.Context()); err != nil || held.Seq != 40 {
		t.Error(held, err)
	}
}

func TestATokenThatNoServerTakesIsNamedByItsRule(t *testing.T) {
	for token, rule := range map[string]string{
		"":                        "is empty",
		"secret-token\n":          "must not begin or end with white space",
		"secret-token\r\n":        "must not begin or end with white space",
		" secret-token":           "must not begin or end with white space",
		"secret token":            "must be printable ASCII without white space",
		"secret-tökén":            "must be printable ASCII without white space",
		"secret-\x00token":        "must be printable ASCII without white space",
		strings.Repeat("s", 4097): "must be at most 4096 bytes",
	} {
		client := connected(t, &fake{}, sigil.WithTokenSource(staticToken(token)))
		decision, err := client.Check(t.Context(), question)
		if decision.Allowed() || !strings.Contains(err.Error(), rule) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "sss") {
			t.Errorf("%q: %v", token, err)
		}
	}
}
