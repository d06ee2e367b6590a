package verify

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Hash is SHA-256.
type Hash [32]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// ParseHash takes 64 hexadecimal digits.
func ParseHash(digits string) (Hash, error) {
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != len(Hash{}) {
		return Hash{}, errors.New("a hash must be 64 hexadecimal digits")
	}
	return Hash(raw), nil
}

// Outcomes of steps.
const (
	Passed  = "passed"
	Failed  = "failed"
	Skipped = "skipped"
)

// Step is one step of a verification.
type Step struct {
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	// Detail is what was compared, or the rule that was broken.
	Detail string `json:"detail"`
}

// Result is a verification, step by step. The zero value is not verified.
type Result struct {
	isVerified bool
	steps      []Step
	findings   Findings
}

// IsVerified says whether every step holds, or was rightly skipped.
func (r Result) IsVerified() bool { return r.isVerified }

// Steps are all steps, in order.
func (r Result) Steps() []Step { return slices.Clone(r.steps) }

// FailedStep is the step that was refused; found is false if none was.
func (r Result) FailedStep() (step Step, found bool) {
	for _, each := range r.steps {
		if each.Outcome == Failed {
			return each, true
		}
	}
	return Step{}, false
}

// Err is nil if everything holds, and otherwise a *NotVerified.
func (r Result) Err() error {
	if r.isVerified {
		return nil
	}
	step, found := r.FailedStep()
	if !found {
		step = Step{Detail: "nothing was verified"}
	}
	return &NotVerified{Step: step.Name, Rule: step.Detail}
}

// Findings are what was found, and only of what is verified: what a refused file says of itself is not repeated as if
// it were so.
func (r Result) Findings() (Findings, error) {
	if err := r.Err(); err != nil {
		return Findings{}, err
	}
	return r.findings, nil
}

// MarshalJSON writes whether it is verified, and the steps.
func (r Result) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Verified bool   `json:"verified"`
		Steps    []Step `json:"steps"`
	}{r.isVerified, r.steps})
}

// NotVerified is the step that does not hold, and its rule.
type NotVerified struct {
	Step string
	Rule string
	// Position is of the record that was refused, if it was one.
	Position *uint64
	cause    error
}

func (e *NotVerified) Error() string {
	switch {
	case e.Position != nil:
		return fmt.Sprintf("record at position %d fails %s: %s", *e.Position, e.Step, e.Rule)
	case e.Step == "":
		return "not verified: " + e.Rule
	default:
		return fmt.Sprintf("not verified: the step %s fails: %s", e.Step, e.Rule)
	}
}

// Unwrap is the format's own error.
func (e *NotVerified) Unwrap() error { return e.cause }

func refused(format string, parts ...any) error {
	return &NotVerified{Rule: fmt.Sprintf(format, parts...)}
}

// refusedAt is a record that breaks a rule.
func refusedAt(position uint64, step string, cause error) error {
	return &NotVerified{Step: step, Rule: ruleOf(cause), Position: &position, cause: cause}
}

// stepList is the steps so far; the one under way is the first that is not among them.
type stepList struct {
	names []string
	steps []Step
}

func newStepList(names []string) *stepList { return &stepList{names: names} }

func (l *stepList) add(step Step) {
	if len(l.steps) == len(l.names) || l.names[len(l.steps)] != step.Name {
		panic("steps are taken in order: " + step.Name)
	}
	l.steps = append(l.steps, step)
}

func (l *stepList) pass(name, detail string) { l.add(Step{name, Passed, detail}) }

func (l *stepList) skip(name, detail string) { l.add(Step{name, Skipped, detail}) }

// fail refuses by the step under way; those after it are not tried.
func (l *stepList) fail(err error) {
	rule := err.Error()
	var fault *NotVerified
	if errors.As(err, &fault) && fault.Position == nil {
		rule = fault.Rule
	}
	l.add(Step{l.names[len(l.steps)], Failed, rule})
	for _, name := range l.names[len(l.steps):] {
		l.skip(name, "a step before it failed")
	}
}

// result is verified only if every step was taken and none failed.
func (l *stepList) result(findings Findings) Result {
	isVerified := len(l.names) > 0 && len(l.steps) == len(l.names)
	for _, step := range l.steps {
		isVerified = isVerified && step.Outcome != Failed
	}
	return Result{isVerified, l.steps, findings}
}

func counted(count int, what string) string {
	if count == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", count, what)
}
