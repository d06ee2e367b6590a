package spelling_test

import (
	"errors"
	"testing"

	"sigil.example/go/internal/vectors"
	"sigil.example/go/verify/spelling"
)

type vector struct {
	Name, Of, Canonical, Rule, Enrolled string
	Raw                                 vectors.Text
}

type golden struct {
	TrustDomain              string `json:"trust_domain"`
	Accept, Refuse, Enrolled []vector
}

func (g golden) spell(t *testing.T, of, raw string) (string, error) {
	t.Helper()
	spells := map[string]func(string) (string, error){
		"target": spelling.Target, "target glob": spelling.TargetGlob, "target_glob": spelling.TargetGlob,
		"action": spelling.Action, "action glob": spelling.ActionGlob, "action_glob": spelling.ActionGlob,
		"session": spelling.Session,
		"subject": func(raw string) (string, error) { return spelling.Subject(raw, g.TrustDomain) },
	}
	spell, known := spells[of]
	if !known {
		t.Fatalf("unknown kind of name %q", of)
	}
	return spell(raw)
}

func TestVectors(t *testing.T) {
	whole := vectors.Read[golden](t, "spelling.json")
	for _, each := range whole.Accept {
		t.Run("accept "+each.Of+": "+each.Name, func(t *testing.T) {
			// A canonical form spells itself.
			for _, raw := range []string{string(each.Raw), each.Canonical} {
				if text, err := whole.spell(t, each.Of, raw); err != nil || text != each.Canonical {
					t.Errorf("%q is %q, %v; want %q", raw, text, err, each.Canonical)
				}
			}
		})
	}
	for _, each := range whole.Refuse {
		t.Run("refuse "+each.Of+": "+each.Name, func(t *testing.T) {
			text, err := whole.spell(t, each.Of, string(each.Raw))
			var fault *spelling.Error
			if !errors.As(err, &fault) || fault.Rule != each.Rule {
				t.Errorf("%q, %v; want %s", text, err, each.Rule)
			}
		})
	}
	for _, each := range whole.Enrolled {
		if enrolled := spelling.EnrolledName(each.Name); enrolled != each.Enrolled {
			t.Errorf("%q is enrolled as %q, want %q", each.Name, enrolled, each.Enrolled)
		}
	}
}
