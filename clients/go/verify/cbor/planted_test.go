package cbor_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigil.example/go/internal/vectors"
)

// A bug that breaks a rule of docs/spec/record.md §1: a text that stands once in a file, and what the bug makes of it.
type planted struct{ Rule, File, Find, Replace string }

type rules struct {
	Rules []struct{ ID, Says string }
}

func readPlanted(t *testing.T) (bugs []planted, repository string) {
	t.Helper()
	repository = filepath.Dir(filepath.Dir(vectors.Directory(t)))
	text, err := os.ReadFile(filepath.Join(repository, "clients", "go", "planted.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &bugs); err != nil {
		t.Fatal(err)
	}
	return bugs, repository
}

func TestABugIsPlantedForEachRule(t *testing.T) {
	bugs, repository := readPlanted(t)
	var ids []string
	for _, rule := range vectors.Read[rules](t, "rules.json").Rules {
		ids = append(ids, rule.ID)
		if !slices.ContainsFunc(bugs, func(bug planted) bool { return bug.Rule == rule.ID }) {
			t.Errorf("there is no bug for %s: %s", rule.ID, rule.Says)
		}
	}
	for _, bug := range bugs {
		if !slices.Contains(ids, bug.Rule) {
			t.Errorf("there is no rule %s", bug.Rule)
		}
		text, err := os.ReadFile(filepath.Join(repository, bug.File))
		if count := strings.Count(string(text), bug.Find); err != nil || count != 1 {
			t.Errorf("%s: %q stands %d times in %s (%v)", bug.Rule, bug.Find, count, bug.File, err)
		}
	}
}

// Each bug is compiled in place of the file, from a copy with the change, and the vectors of this package must notice
// it. A bug that does not compile is noticed by nobody.
func TestPlantedBugsAreNoticed(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short, and this compiles the package once for each bug")
	}
	bugs, repository := readPlanted(t)
	vectors.Read[vectors.Broken](t, "broken.json")
	for _, bug := range bugs {
		t.Run(bug.Rule, func(t *testing.T) {
			output, err := runWith(t, repository, bug)
			if strings.Contains(output, "[build failed]") || strings.Contains(output, "[setup failed]") {
				t.Fatalf("does not compile:\n%s", output)
			}
			if err == nil || !strings.Contains(output, "FAIL") {
				t.Errorf("%q in place of %q is not noticed (%v)", bug.Replace, bug.Find, err)
			}
		})
	}
	t.Run("and without a bug nothing fails", func(t *testing.T) {
		if output, err := runWith(t, repository, planted{File: bugs[0].File}); err != nil {
			t.Errorf("%v\n%s", err, output)
		}
	})
}

func runWith(t *testing.T, repository string, bug planted) (output string, err error) {
	t.Helper()
	file := filepath.Join(repository, bug.File)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), filepath.Base(file))
	changed := strings.Replace(string(text), bug.Find, bug.Replace, 1)
	if err := os.WriteFile(copied, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	replaced, err := json.Marshal(map[string]map[string]string{"Replace": {file: copied}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, replaced, 0o600); err != nil {
		t.Fatal(err)
	}
	// Fresh results, and no later test once one has failed.
	command := exec.Command("go", "test", "-count=1", "-failfast", "-vet=off", "-overlay", overlay, "-run", "^TestVectors", ".")
	raw, err := command.CombinedOutput()
	return string(raw), err
}
