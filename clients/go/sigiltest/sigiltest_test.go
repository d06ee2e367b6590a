package sigiltest_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	sigil "sigil.example/go"
	"sigil.example/go/sigiltest"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func answers(question sigil.Question) error {
	switch question.Action {
	case "read":
		return nil
	case "look":
		return sigiltest.ErrReview
	case "fail":
		return errors.New("the server is down")
	case "refuse":
		return status.Error(codes.InvalidArgument, "no")
	}
	return sigiltest.ErrDenied
}

func TestItAnswersByEveryWay(t *testing.T) {
	client, server := sigiltest.New(t, answers)
	questions := []sigil.Question{}
	for _, action := range []string{"read", "write", "look", "fail", "refuse"} {
		questions = append(questions, sigil.Question{Action: action, Target: "t", Subject: "ann"})
	}
	check := func(way string, question sigil.Question, decision sigil.Decision) {
		t.Helper()
		var failure *sigil.Error
		isFailure := errors.As(decision.Err(), &failure)
		if decision.Allowed() != (question.Action == "read") || isFailure != (question.Action == "fail" || question.Action == "refuse") {
			t.Errorf("%s: %v: %v", way, question, decision)
		}
	}
	for _, question := range questions {
		decision, _ := client.Check(t.Context(), question)
		check("one", question, decision)
	}
	decisions, err := client.CheckBatch(t.Context(), questions)
	if err != nil {
		t.Fatal(err)
	}
	for at, decision := range decisions {
		check("a batch", questions[at], decision)
	}
	for answer, err := range client.CheckStream(t.Context(), slices.Values(questions)) {
		if err != nil {
			t.Fatal(err)
		}
		check("a stream", answer.Question, answer.Decision)
	}
	if asked := server.Asked(); len(asked) != 15 || asked[0].String() != "read on t by ann" {
		t.Error(asked)
	}
}

func TestAGuardIsTestedAsItIs(t *testing.T) {
	client, _ := sigiltest.New(t, answers)
	for action, want := range map[string]int{"read": 404, "write": 403, "look": 403, "fail": 503} {
		handler := client.GuardHTTP(sigil.HTTPRule{Action: action, Target: "t"})(http.NotFoundHandler())
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest("GET", "/", nil))
		if recorder.Code != want {
			t.Errorf("%s: %d", action, recorder.Code)
		}
	}
}
