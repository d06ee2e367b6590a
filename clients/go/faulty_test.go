// The client at the faulty server that all clients share (test/faulty), which test/e2e/go-sdk.test.ts starts: never an
// allow, in bounded time, and no secret in an error. That the table can fail is shown by a client that fails open.
package sigil_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sigil "sigil.example/go"

	"google.golang.org/grpc"
)

type row struct {
	Name, What, Target, Call, TokenFile, Origin, Expect string
	TLS                                                 *struct{ CAFile, ServerName string }
	Env                                                 map[string]string
	NeedsVerification                                   bool
	DeadlineMs, Before                                  int
	About                                               struct{ Subject, Input string }
}

type table struct {
	Origin, Principal, KeyFile, Genesis, RecordedFile string
	Questions                                         []sigil.Question
	Rows                                              []row
}

func theTable(t *testing.T) table {
	t.Helper()
	path := os.Getenv("SIGIL_TEST_FAULTY")
	if path == "" {
		t.Skip("skipped: SIGIL_TEST_FAULTY names no table: test/e2e/go-sdk.test.ts does")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var read table
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// secrets may stand in no error.
type secrets struct {
	mu    sync.Mutex
	texts map[string]bool
}

func (s *secrets) keep(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts[token] = true
	for _, part := range strings.Split(token, ".") {
		if len(part) > 20 {
			s.texts[part] = true
		}
	}
}

func (s *secrets) in(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for each := range s.texts {
		if strings.Contains(text, each) {
			return true
		}
	}
	return false
}

func secretsOf(t *testing.T, of table) *secrets {
	t.Helper()
	text, err := os.ReadFile(of.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sigil.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	kept := &secrets{texts: map[string]bool{
		strings.Split(string(text), "\n")[1]:               true,
		hex.EncodeToString(key.Seed()):                     true,
		base64.RawURLEncoding.EncodeToString(key.Seed()):   true,
		strings.Trim(fmt.Sprint([]byte(key.Seed())), "[]"): true,
	}}
	for _, each := range of.Rows {
		if each.TokenFile != "" {
			token, err := os.ReadFile(each.TokenFile)
			if err != nil {
				t.Fatal(err)
			}
			kept.keep(string(token))
		}
	}
	return kept
}

type asking interface {
	sigil.Checker
	CheckBatch(context.Context, []sigil.Question, ...grpc.CallOption) ([]sigil.Decision, error)
}

// failsOpen is a client that somebody patched: whatever is no allow, it makes one.
type failsOpen struct{ *sigil.Client }

func (f failsOpen) Check(ctx context.Context, question sigil.Question, options ...grpc.CallOption) (sigil.Decision, error) {
	decision, err := f.Client.Check(ctx, question, options...)
	if err != nil || !decision.Allowed() {
		return sigil.AllowedForTests(), nil
	}
	return decision, nil
}

func (f failsOpen) CheckBatch(ctx context.Context, questions []sigil.Question, options ...grpc.CallOption) ([]sigil.Decision, error) {
	decisions, _ := f.Client.CheckBatch(ctx, questions, options...)
	for at := range decisions {
		if !decisions[at].Allowed() {
			decisions[at] = sigil.AllowedForTests()
		}
	}
	return decisions, nil
}

type outcome struct {
	kind string
	err  error
}

// outcomeOf all decisions: one allow among denies is an allow of a faulty server.
func outcomeOf(decisions []sigil.Decision, err error) outcome {
	kind := "deny"
	for _, decision := range decisions {
		var failed *sigil.Error
		var unproved *sigil.ProofError
		switch {
		case decision.Allowed():
			return outcome{"allow", nil}
		case errors.As(decision.Err(), &failed) || errors.As(decision.Err(), &unproved):
			err = errors.Join(err, decision.Err())
		}
	}
	if err != nil {
		return outcome{"error", err}
	}
	return outcome{kind, nil}
}

type how struct{ verify, failsOpen bool }

// play asks what a row says.
func play(t *testing.T, of table, each row, kept *secrets, with how) outcome {
	options := []sigil.Option{sigil.WithDeadline(time.Duration(each.DeadlineMs) * time.Millisecond)}
	if each.TLS == nil {
		options = append(options, sigil.WithoutTLS())
	} else {
		authority, err := os.ReadFile(each.TLS.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		options = append(options, sigil.WithCA(authority))
		if each.TLS.ServerName != "" {
			options = append(options, sigil.WithServerName(each.TLS.ServerName))
		}
	}
	if with.verify && each.NeedsVerification {
		options = append(options, sigil.VerifyDecisions(of.Genesis))
	}
	text, err := os.ReadFile(of.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sigil.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	origin := of.Origin
	if each.Origin != "" {
		origin = each.Origin
	}
	signer, err := sigil.NewKeySigner(of.Principal, origin, key)
	if err != nil {
		t.Fatal(err)
	}
	options = append(options, sigil.WithTokenSource(sigil.TokenSourceFunc(func(ctx context.Context) (string, error) {
		if each.TokenFile != "" {
			token, err := os.ReadFile(each.TokenFile)
			return string(token), err
		}
		token, err := signer.Token(ctx)
		kept.keep(token)
		return token, err
	})))
	client, err := sigil.Connect(t.Context(), each.Target, options...)
	if err != nil {
		if with.failsOpen {
			return outcome{"allow", nil}
		}
		return outcome{"error", err}
	}
	defer func() { _ = client.Close() }()
	question := of.Questions[0]
	question.Subject, question.Input = each.About.Subject, []byte(each.About.Input)
	for range each.Before {
		if _, err := client.Check(t.Context(), question); err != nil {
			t.Errorf("%s: the check before: %v", each.Name, err)
		}
	}
	var asked asking = client
	if with.failsOpen {
		asked = failsOpen{client}
	}
	switch each.Call {
	case "batch":
		return outcomeOf(asked.CheckBatch(t.Context(), of.Questions))
	case "stream":
		ctx, cancel := context.WithTimeout(t.Context(), max(time.Duration(each.DeadlineMs)*time.Millisecond, 5*time.Second))
		defer cancel()
		decisions := []sigil.Decision{}
		var failed error
		for answer, err := range client.CheckStream(ctx, slices.Values(of.Questions)) {
			if with.failsOpen && (err != nil || !answer.Decision.Allowed()) {
				return outcome{"allow", nil}
			}
			if err != nil {
				failed = err
				break
			}
			decisions = append(decisions, answer.Decision)
		}
		return outcomeOf(decisions, failed)
	}
	decision, err := asked.Check(t.Context(), question)
	return outcomeOf([]sigil.Decision{decision}, err)
}

// textOf is all that an error could tell somebody who logs it.
func textOf(err error) string {
	var text strings.Builder
	for ; err != nil; err = errors.Unwrap(err) {
		fmt.Fprintf(&text, "%v\n%+v\n%#v\n", err, err, err)
		if marshalled, problem := json.Marshal(err); problem == nil {
			text.Write(marshalled)
		}
		var failed *sigil.Error
		if errors.As(err, &failed) {
			fmt.Fprintf(&text, "%+v\n", *failed)
		}
	}
	return text.String()
}

// wrong tells what is wrong with what came of a row; empty if nothing.
func wrong(each row, came outcome, kept *secrets) string {
	isExpected := each.Expect == came.kind || each.Expect == "either" && came.kind != "allow"
	switch {
	case !isExpected:
		return fmt.Sprintf("%s: %s instead of %s: %v", each.Name, came.kind, each.Expect, came.err)
	case came.err != nil && kept.in(textOf(came.err)):
		return each.Name + ": a secret in its error"
	}
	return ""
}

// playAll plays rows, several at a time, and those with an environment in processes of their own: Go reads it once.
func playAll(t *testing.T, of table, rows []row, kept *secrets, with how) map[string]outcome {
	t.Helper()
	var mu sync.Mutex
	came := map[string]outcome{}
	var group sync.WaitGroup
	places := make(chan struct{}, 8)
	for _, each := range rows {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			var one outcome
			if each.Env == nil {
				one = play(t, of, each, kept, with)
			} else {
				one = playInChild(t, each, with)
			}
			mu.Lock()
			defer mu.Unlock()
			came[each.Name] = one
		})
	}
	group.Wait()
	return came
}

func playInChild(t *testing.T, each row, with how) outcome {
	child := exec.Command(os.Args[0], "-test.run=^TestFaultyRow$", "-test.count=1", "-test.v")
	child.Env = append(os.Environ(), "SIGIL_TEST_ROW="+each.Name, fmt.Sprintf("SIGIL_TEST_OPEN=%v", with.failsOpen))
	for name, value := range each.Env {
		child.Env = append(child.Env, name+"="+value)
	}
	output, err := child.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", each.Name, err, output)
	}
	_, came, _ := strings.Cut(string(output), "outcome=")
	kind, rest, _ := strings.Cut(came, " ")
	if kind == "error" {
		return outcome{kind, errors.New(strings.Split(rest, "\n")[0])}
	}
	return outcome{kind, nil}
}

// TestFaultyRow is the process of one row.
func TestFaultyRow(t *testing.T) {
	of, name := theTable(t), os.Getenv("SIGIL_TEST_ROW")
	for _, each := range of.Rows {
		if each.Name != name {
			continue
		}
		kept := secretsOf(t, of)
		came := play(t, of, each, kept, how{verify: true, failsOpen: os.Getenv("SIGIL_TEST_OPEN") == "true"})
		if came.err != nil && kept.in(textOf(came.err)) {
			t.Fatal("a secret in its error")
		}
		fmt.Printf("outcome=%s %v \n", came.kind, came.err)
	}
}

func TestFaultyServerIsNeverAllowedBy(t *testing.T) {
	leavesNothing(t)
	of := theTable(t)
	kept := secretsOf(t, of)
	came := playAll(t, of, of.Rows, kept, how{verify: true})
	faults, controls := 0, 0
	for _, each := range of.Rows {
		if problem := wrong(each, came[each.Name], kept); problem != "" {
			t.Error(problem)
		}
		if each.Expect == "allow" {
			controls++
		} else {
			faults++
		}
	}
	if faults < 150 || controls < 8 {
		t.Errorf("%d faults and %d controls", faults, controls)
	}
	recorded, err := os.ReadFile(of.RecordedFile)
	if err != nil {
		t.Fatal(err)
	}
	lower := strings.ToLower(string(recorded))
	if !strings.Contains(lower, "connect sigil.invalid:443") || strings.Contains(lower, "bearer") || strings.Contains(string(recorded), "eyJ") {
		t.Error("a proxy was told a token, or none was asked")
	}
}

func TestFaultyServerIsAllowedByAClientThatFailsOpen(t *testing.T) {
	of := theTable(t)
	kept := secretsOf(t, of)
	faults := slices.DeleteFunc(slices.Clone(of.Rows), func(each row) bool { return each.Expect == "allow" })
	came := playAll(t, of, faults, kept, how{verify: true, failsOpen: true})
	for _, each := range faults {
		if wrong(each, came[each.Name], kept) == "" {
			t.Errorf("%s does not notice it", each.Name)
		}
	}
}

func TestFaultyProofsAreInNothingElse(t *testing.T) {
	of := theTable(t)
	kept := secretsOf(t, of)
	unproved := slices.DeleteFunc(slices.Clone(of.Rows), func(each row) bool { return each.Expect == "allow" || !each.NeedsVerification })
	came := playAll(t, of, unproved, kept, how{})
	for _, each := range unproved {
		if came[each.Name].kind != "allow" {
			t.Errorf("%s: %s without verification: %v", each.Name, came[each.Name].kind, came[each.Name].err)
		}
	}
	if len(unproved) < 30 {
		t.Errorf("%d rows", len(unproved))
	}
}
