package record_test

import (
	"testing"

	"sigil.example/go/verify/record"
)

func TestOwnersAreComparedWithoutCaseAndOuterSpaces(t *testing.T) {
	for owner, want := range map[string]string{
		" Ann \t": "ann", "\ufeffANN\u00a0": "ann", "\u0130": "i\u0307", "\u0391\u03a3": "\u03b1\u03c2", "A  B": "a  b",
		"\u200bAnn": "\u200bann", "": "",
	} {
		if name := record.OwnerName(owner); name != want {
			t.Errorf("%q is %q, want %q", owner, name, want)
		}
	}
}
