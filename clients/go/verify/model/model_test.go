package model

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigil.example/go/internal/vectors"
	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/record"
)

// example is the worked example of docs/spec/trust.md §9, read from the page.
type example struct {
	Model struct {
		Bias      float64
		Weights   map[string]float64
		Threshold float64
		Review    record.Band
		Actions   map[string]struct {
			Risk   float64
			MinLoa string `json:"min_loa"`
		}
		Targets map[string]float64
		Rate    struct {
			WindowMs uint64 `json:"window_ms"`
			Limit    uint64
		}
	}
	Check struct {
		Action, Target, Level, Input string
		EarlierChecks                float64 `json:"earlier_checks"`
	}
	ThresholdsZ struct{ Threshold, Low, High float64 } `json:"thresholds_z"`
	Result      struct {
		Features, Contributions map[string]float64
		Z, Score                float64
		Verdict, Reason         string
	}
}

func readExample(t *testing.T) (example, record.TrustModel) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(vectors.Directory(t), "..", "..", "docs", "spec", "trust.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(page)
	if found == nil {
		t.Fatal("the page has no example")
	}
	var read example
	if err := json.Unmarshal(found[1], &read); err != nil {
		t.Fatal(err)
	}
	payload := record.TrustModel{
		Bias: read.Model.Bias, Threshold: read.Model.Threshold, Review: &read.Model.Review,
		WindowMs: read.Model.Rate.WindowMs, RateLimit: read.Model.Rate.Limit,
	}
	for name, weight := range read.Model.Weights {
		payload.Weights = append(payload.Weights, record.Named[float64]{Name: name, Value: weight})
	}
	for glob, row := range read.Model.Actions {
		rule := record.ActionRule{Risk: row.Risk, MinLevel: row.MinLoa}
		payload.Actions = append(payload.Actions, record.Named[record.ActionRule]{Name: glob, Value: rule})
	}
	for glob, sensitivity := range read.Model.Targets {
		payload.Targets = append(payload.Targets, record.Named[float64]{Name: glob, Value: sensitivity})
	}
	return read, payload
}

func TestTheWorkedExampleOfTheSpecification(t *testing.T) {
	read, payload := readExample(t)
	model, err := Parse(payload)
	if err != nil {
		t.Fatal(err)
	}
	want := read.ThresholdsZ
	if model.thresholdZ != want.Threshold || model.reviewZ.Low != want.Low || model.reviewZ.High != want.High {
		t.Errorf("in logits %v and %+v, want %+v", model.thresholdZ, model.reviewZ, want)
	}
	input := []byte(read.Check.Input)
	result := model.evaluate(question{
		action: read.Check.Action, target: read.Check.Target, level: read.Check.Level,
		rate: read.Check.EarlierChecks / float64(payload.RateLimit), entropy: entropyOf(input),
	})
	for feature, name := range FeatureNames {
		if result.features[feature] != read.Result.Features[name] {
			t.Errorf("%s is %v, want %v", name, result.features[feature], read.Result.Features[name])
		}
		if result.contributions[feature] != read.Result.Contributions[name] {
			t.Errorf("%s contributes %v, want %v", name, result.contributions[feature], read.Result.Contributions[name])
		}
	}
	if result.z != read.Result.Z || result.verdict != read.Result.Verdict || result.reason != read.Result.Reason {
		t.Errorf("%+v, want %+v", result, read.Result)
	}
	if score := record.Score(result.z); math.Abs(score-read.Result.Score) > displayTolerance {
		t.Errorf("the score is %v, want %v", score, read.Result.Score)
	}
}

func TestLogitOfAHalfIsZero(t *testing.T) {
	if logit(0.5) != 0 {
		t.Error(logit(0.5))
	}
	for p := 0.001; p < 1; p += 0.001 {
		if library := math.Log(p / (1 - p)); math.Abs(logit(p)-library) > 1e-14*math.Max(1, math.Abs(library)) {
			t.Errorf("logit(%v) is %v, about %v", p, logit(p), library)
		}
	}
}

func TestGlobs(t *testing.T) {
	for _, each := range []struct {
		pattern string
		matches []string
		others  []string
	}{
		{"tool.*", []string{"tool.search", "tool.web.search", "tool."}, []string{"tool", "tool.a/b"}},
		{"user/*", []string{"user/ann"}, []string{"user/ann/notes", "user"}},
		{"a/**/z", []string{"a/z", "a/b/z", "a/b/c/z"}, []string{"a/b", "b/z", "a/zz"}},
		{"public/**", []string{"public/a", "public/a/b"}, []string{"public", "publics/a"}},
		{"**", []string{"a", "a/b/c"}, []string{"", "a/../b", "a/\x01"}},
		{"**/z", []string{"z", "a/z", "a/b/z"}, []string{"z/a"}},
		{"a/**/**", []string{"a/b", "a/b/c"}, []string{"a"}},
		{"*a*b*", []string{"ab", "xaxbx", "aab"}, []string{"ba", "a", "b"}},
		{"a%2Ab", []string{"a*b"}, []string{"a%2Ab", "axb"}},
		{"**/x/**/y/**", []string{"x/y/z", "a/x/b/y/c/d"}, []string{"x/y", "y/x/z"}},
		{"a*a", []string{"aa", "aba"}, []string{"a"}},
		{"exact/text", []string{"exact/text"}, []string{"exact/texts", "exact"}},
	} {
		rows := table[bool]{newRow(each.pattern, true)}
		for _, text := range each.matches {
			if _, found := rows.find(text); !found {
				t.Errorf("%q does not match %q", each.pattern, text)
			}
		}
		for _, text := range each.others {
			if _, found := rows.find(text); found {
				t.Errorf("%q matches %q", each.pattern, text)
			}
		}
	}
	winners := table[string]{}
	for _, pattern := range []string{"**", "user/**", "user/*/notes/**", "user/ann/notes/*", "user/ann/notes/a", "user/ann/*/a"} {
		winners = append(winners, newRow(pattern, pattern))
	}
	winners.sorted()
	for text, want := range map[string]string{
		"user/ann/notes/a": "user/ann/notes/a", "user/ann/notes/b": "user/ann/notes/*", "user/ann/x/a": "user/ann/*/a",
		"user/ben/notes/b": "user/*/notes/**", "user/ben": "user/**", "other": "**",
	} {
		if winner, _ := winners.find(text); winner != want {
			t.Errorf("%q is won by %q, want %q", text, winner, want)
		}
	}
	for pattern, fault := range map[string]string{
		"": "must not be empty", "a/../b": `must hold no "." or ".." segment`, "a**": "must have ** as a whole segment between slashes",
		"a\x01": "must hold no control characters", strings.Repeat("a", 513): "must be at most 512 bytes", "a/**": "",
	} {
		if got := patternFault(pattern); got != fault {
			t.Errorf("%q: %q, want %q", pattern, got, fault)
		}
	}
}

func TestParseRefusesAModelAsAWhole(t *testing.T) {
	for field, change := range map[string]func(payload *record.TrustModel){
		"weights.extra": func(m *record.TrustModel) {
			m.Weights = append(m.Weights, record.Named[float64]{Name: "extra", Value: -1})
		},
		"weights.level": func(m *record.TrustModel) {
			m.Weights = slices.DeleteFunc(m.Weights, func(e record.Named[float64]) bool { return e.Name == "level" })
		},
		"weights": func(m *record.TrustModel) {
			m.Bias = math.MaxFloat64
			for index, entry := range m.Weights {
				if entry.Name == "rate" {
					m.Weights[index].Value = -math.MaxFloat64
				}
			}
		},
		"threshold":      func(m *record.TrustModel) { m.Threshold = 1 },
		"review.low":     func(m *record.TrustModel) { m.Review = &record.Band{Low: 0, High: 0.7} },
		"review.high":    func(m *record.TrustModel) { m.Review = &record.Band{Low: 0.5, High: 0.55} },
		"rate.window_ms": func(m *record.TrustModel) { m.WindowMs = 86_400_001 },
		"rate.limit":     func(m *record.TrustModel) { m.RateLimit = 0 },
		`actions["a**"]`: func(m *record.TrustModel) {
			m.Actions = append(m.Actions, record.Named[record.ActionRule]{Name: "a**"})
		},
	} {
		_, payload := readExample(t)
		change(&payload)
		model, err := Parse(payload)
		fault, ok := err.(*Error)
		if !ok || fault.Field != field {
			t.Errorf("%v (%v), want %s", err, model, field)
		}
	}
}

// What a model of before canonical globs says is read in two ways: docs/spec/trust.md §8.
func TestCanonicalReadingOfAnOlderModel(t *testing.T) {
	_, payload := readExample(t)
	if _, changed := canonical(payload); changed {
		t.Error("a canonical model was changed")
	}
	payload.Targets = record.Table[float64]{
		{Name: "user/**", Value: 0.5}, {Name: "user//**", Value: 0.75}, {Name: "a/../b", Value: 1},
	}
	payload.Actions = record.Table[record.ActionRule]{
		{Name: "notes.append", Value: record.ActionRule{Risk: 0.5, MinLevel: "observer"}},
		{Name: "/notes.append", Value: record.ActionRule{Risk: 0.25, MinLevel: "mentor"}},
	}
	spelled, changed := canonical(payload)
	if !changed || len(spelled.Targets) != 1 || spelled.Targets[0].Value != 0.75 || len(spelled.Actions) != 1 ||
		spelled.Actions[0].Value != (record.ActionRule{Risk: 0.5, MinLevel: "mentor"}) {
		t.Errorf("%v, %+v", changed, spelled)
	}
}

func TestZeroReplayIsNotEqual(t *testing.T) {
	if (Replay{}).Outcome == Equal {
		t.Error("a zero replay is equal")
	}
	for _, verdict := range []string{"allow", "review"} {
		replay, err := Of(&record.Decision{Verdict: verdict, Reason: "MODEL_MISSING"}, nil)
		if err != nil || replay.Outcome != Different {
			t.Errorf("an unscored %s is %s, %v", verdict, replay.Outcome, err)
		}
	}
	if _, err := Of(&record.Decision{Verdict: "deny", Reason: "SCORE_BELOW_THRESHOLD"}, cbor.Map{}); err == nil {
		t.Error("a decision without a model was scored")
	}
}

// A compiler may fuse x*y + z where a processor can, which rounds once instead of twice: then z would differ there. The
// conversions that forbid it are looked for where they matter, in what is compiled for such a processor.
func TestNoFusedMultiplyAdd(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short, and this compiles for another processor")
	}
	// What is compiled here is the same with and without them: read, so that a result is not taken from a cache.
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		if _, err := os.ReadFile(source); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command("go", "build", "-gcflags=-S", ".")
	command.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	listing, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%.2000s", err, listing)
	}
	if !strings.Contains(string(listing), "FMULD") || !strings.Contains(string(listing), "model.logit") {
		t.Fatal("the listing does not show this package")
	}
	if fused := regexp.MustCompile(`.*\bFN?M(ADD|SUB)[DS]\b.*`).Find(listing); fused != nil {
		t.Errorf("%s", fused)
	}
}

func TestVerdictsTurnAtTheirEdges(t *testing.T) {
	_, payload := readExample(t)
	model, err := Parse(payload)
	if err != nil {
		t.Fatal(err)
	}
	below := func(z float64) float64 { return math.Nextafter(z, math.Inf(-1)) }
	plain := *model
	plain.review = nil
	for _, each := range []struct {
		model           *Model
		isKnown, isHigh bool
		z               float64
		verdict, reason string
	}{
		{model, true, true, model.reviewZ.High, "allow", "SCORE_AT_OR_ABOVE_THRESHOLD"},
		{model, true, true, below(model.reviewZ.High), "review", "REVIEW_BAND"},
		{model, true, true, model.reviewZ.Low, "review", "REVIEW_BAND"},
		{model, true, true, below(model.reviewZ.Low), "deny", "SCORE_BELOW_THRESHOLD"},
		{&plain, true, true, plain.thresholdZ, "allow", "SCORE_AT_OR_ABOVE_THRESHOLD"},
		{&plain, true, true, below(plain.thresholdZ), "deny", "SCORE_BELOW_THRESHOLD"},
		{model, true, false, 100, "deny", "LEVEL_TOO_LOW"},
		{model, false, false, 100, "deny", "UNKNOWN_ACTION"},
		{&plain, true, true, math.NaN(), "deny", "SCORE_BELOW_THRESHOLD"},
	} {
		if verdict, reason := each.model.decide(each.isKnown, each.isHigh, each.z); verdict != each.verdict || reason != each.reason {
			t.Errorf("%v gives %s, %s; want %s, %s", each.z, verdict, reason, each.verdict, each.reason)
		}
	}
}
