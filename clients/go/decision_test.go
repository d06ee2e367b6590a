// A decision that is no allow cannot pass as one.
package sigil_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	sigil "sigil.example/go"
	trustv1 "sigil.example/go/sigil/trust/v1"
	typev1 "sigil.example/go/sigil/type/v1"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestTheZeroValueDenies(t *testing.T) {
	var zero sigil.Decision
	if zero.Allowed() || zero.Verdict() != typev1.Verdict_VERDICT_DENY || !errors.Is(zero.Err(), sigil.ErrDenied) || zero.Verified() {
		t.Error(zero)
	}
	if _, ok := zero.Score(); ok || zero.Reason() != "" || zero.AuditID() != "" || !zero.Time().IsZero() || zero.Reply().Allowed {
		t.Error(zero)
	}
	if (sigil.Answer{}).Decision.Allowed() {
		t.Error("an answer without a decision allows")
	}
	if sigil.DecisionFrom(context.Background()).Allowed() {
		t.Error("a request without a guard is allowed")
	}
}

func TestAnIgnoredErrorDenies(t *testing.T) {
	client := connected(t, refusing(status.Error(codes.Internal, "")))
	decision, _ := client.Check(t.Context(), question)
	if decision.Allowed() || decision.Err() == nil {
		t.Error(decision)
	}
	batches := connected(t, refusing(status.Error(codes.Internal, "")))
	decisions, _ := batches.CheckBatch(t.Context(), []sigil.Question{question, question})
	if len(decisions) != 2 || decisions[0].Allowed() || decisions[1].Allowed() || decisions[1].Err() == nil {
		t.Error(decisions)
	}
}

func TestRequireReturnsNilForAnAllowAlone(t *testing.T) {
	if err := connected(t, always()).Require(t.Context(), question); err != nil {
		t.Error(err)
	}
	for what, each := range map[string][]change{
		"a deny":   {verdict(typev1.Verdict_VERDICT_DENY), notAllowed, reason("SCORE_BELOW_THRESHOLD")},
		"a review": {verdict(typev1.Verdict_VERDICT_REVIEW), notAllowed, reason("REVIEW_BAND")},
		"a lie":    {noRecord},
	} {
		err := connected(t, always(each...)).Require(t.Context(), question)
		var denied *sigil.DeniedError
		if !errors.Is(err, sigil.ErrDenied) || !errors.As(err, &denied) || denied.Decision.Allowed() {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAReplyOfAnotherHandDoesNotChangeADecision(t *testing.T) {
	client := connected(t, always(verdict(typev1.Verdict_VERDICT_DENY), notAllowed))
	decision, err := client.Check(t.Context(), question)
	if err != nil {
		t.Fatal(err)
	}
	reply := decision.Reply()
	reply.Allowed, reply.Verdict = true, typev1.Verdict_VERDICT_ALLOW
	if decision.Allowed() || decision.Reply().Allowed {
		t.Error("a copy of the reply is the decision's own")
	}
}

func TestAReplyPrintsAsProto3JSON(t *testing.T) {
	decision, err := connected(t, always()).Check(t.Context(), question)
	if err != nil {
		t.Fatal(err)
	}
	for what, value := range map[string]any{"the decision": decision, "its reply": sigil.JSON{Message: decision.Reply()}} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var read map[string]any
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		if read["ledgerPosition"] != "7" || read["verdict"] != "VERDICT_ALLOW" || read["auditId"] != decision.AuditID() ||
			read["modelHash"] != "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" {
			t.Errorf("%s: %s", what, text)
		}
		if _, has := read["replayed"]; has {
			t.Errorf("%s has a default: %s", what, text)
		}
	}
	printed := fmt.Sprint(sigil.JSON{Message: &trustv1.CheckResponse{Allowed: true, LedgerPosition: 1 << 60}})
	if printed != `{"allowed":true,"ledgerPosition":"1152921504606846976"}` {
		t.Error(printed)
	}
	if text, err := json.Marshal(sigil.Decision{}); err != nil || string(text) != "{}" {
		t.Error(string(text), err)
	}
}

func TestADenyNamesItsDecision(t *testing.T) {
	err := connected(t, always(verdict(typev1.Verdict_VERDICT_DENY), notAllowed, reason("X\nlevel=info"))).Require(t.Context(), question)
	if !strings.Contains(err.Error(), "0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%q", err)
	}
}

func TestATargetOfPartsIsNeverAnotherTarget(t *testing.T) {
	for want, segments := range map[string][]string{
		"orders/7":                 {"orders", "7"},
		"orders/..%2Fadmin":        {"orders", "../admin"},
		"orders/a%2Fb":             {"orders", "a/b"},
		"orders/%252e%252e":        {"orders", "%2e%2e"},
		"orders/r%C3%A9sum%C3%A9":  {"orders", "résumé"},
		"orders/%2A":               {"orders", "*"},
		"orders/a%20b%5C%3F%23%22": {"orders", `a b\?#"`},
		"orders/%24%26%3C%3B":      {"orders", "$&<;"},
	} {
		got, err := sigil.TargetOf(segments...)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v", segments, got, err)
		}
	}
	for _, segments := range [][]string{{}, {""}, {"orders", ""}, {"orders", "."}, {"orders", ".."}, {"..", "orders"}} {
		if got, err := sigil.TargetOf(segments...); err == nil {
			t.Errorf("%q: %q", segments, got)
		}
	}
}
