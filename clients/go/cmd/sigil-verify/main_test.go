package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigil.example/go/internal/vectors"
)

type files struct {
	Genesis, Policy string
	Accept          []struct{ Hex vectors.Hex }
}

func TestRun(t *testing.T) {
	whole := vectors.Read[files](t, "evidence.json")
	directory := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(directory, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.sigil", whole.Accept[0].Hex)
	changed := bytes.Clone(whole.Accept[0].Hex)
	changed[5353] ^= 1
	bad := write("bad.sigil", changed)
	none := write("none.sigil", []byte("no evidence"))
	policy := write("log.policy", []byte(whole.Policy))
	call := func(arguments ...string) (exit int, output, notes string) {
		var out, said bytes.Buffer
		exit = run(arguments, bytes.NewReader(whole.Accept[0].Hex), &out, &said)
		return exit, out.String(), said.String()
	}
	for _, each := range []struct {
		exit  int
		words []string
	}{
		{holds, []string{good, "-genesis", whole.Genesis}},
		{holds, []string{"-genesis", whole.Genesis, good}},
		{holds, []string{good, "-policy", policy}},
		{holds, []string{"-", "--genesis", whole.Genesis, "--policy", policy}},
		{doesNot, []string{good}},
		{doesNot, []string{bad, "-genesis", whole.Genesis}},
		{doesNot, []string{good, "-genesis", strings.Repeat("0", 64)}},
		{doesNot, []string{good, bad, "-genesis", whole.Genesis}},
		{unreadable, []string{none, "-genesis", whole.Genesis}},
		{unreadable, []string{bad, none, good, "-genesis", whole.Genesis}},
		{unreadable, []string{filepath.Join(directory, "missing"), "-genesis", whole.Genesis}},
		{unreadable, []string{directory, "-genesis", whole.Genesis}},
		{unreadable, []string{good, "-genesis", ""}},
		{unreadable, []string{good, "-genesis", "abc"}},
		{unreadable, []string{good, "-policy", none}},
		{unreadable, []string{good, "-policy", filepath.Join(directory, "missing")}},
		{unreadable, []string{good, "-unknown"}},
		{unreadable, []string{}},
		{unreadable, []string{"-help"}},
	} {
		for _, more := range [][]string{nil, {"-json"}} {
			exit, output, notes := call(append(append([]string{}, each.words...), more...)...)
			if exit != each.exit {
				t.Errorf("%v exits with %d, want %d: %s%s", each.words, exit, each.exit, output, notes)
			}
			if exit != holds && strings.HasPrefix(output, "VERIFIED") && len(each.words) < 4 {
				t.Errorf("%v: %s", each.words, output)
			}
		}
	}
	_, output, _ := call(good, "-genesis", whole.Genesis, "-json")
	var shown struct {
		Verified bool
		Steps    []struct{ Name, Outcome, Detail string }
		Record   struct{ Position, Kind string }
		Replay   struct{ Outcome string }
	}
	if err := json.Unmarshal([]byte(output), &shown); err != nil || !shown.Verified || len(shown.Steps) != 11 ||
		shown.Record.Kind != "frozen_chain" || shown.Record.Position != "7" || shown.Replay.Outcome != "equal" {
		t.Errorf("%+v, %v", shown, err)
	}
	_, output, _ = call(bad, "-genesis", whole.Genesis, "-json")
	if strings.Contains(output, "payload") || !strings.Contains(output, `"verified":false`) {
		t.Errorf("of a refused file: %s", output)
	}
	_, output, _ = call(bad, "-genesis", whole.Genesis)
	if strings.Contains(output, "decision-1") || !strings.HasPrefix(output, "NOT VERIFIED") {
		t.Errorf("of a refused file: %s", output)
	}
}

func TestVisibleTextIsOneLine(t *testing.T) {
	if text := visible("a\x1b[31m\nb\u202e é"); text != "a\ufffd[31m\ufffdb\ufffd é" {
		t.Errorf("%q", text)
	}
}
