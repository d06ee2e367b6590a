package sigil

import (
	"context"
	"time"

	"sigil.example/go/verify/merkle"
)

// WithSilence sets how long a watch may be silent.
func WithSilence(silence time.Duration) Option {
	return func(s *settings) error {
		s.silence = func(uint32) time.Duration { return silence }
		return nil
	}
}

// AllowedForTests is what no code outside of the package can make: an allow without a server.
func AllowedForTests() Decision { return Decision{allowed: true} }

// IsLocal is isLocal.
var IsLocal = isLocal

// DialLocal is dialLocal.
var DialLocal = dialLocal

// SilenceMax is silenceMax.
var SilenceMax = silenceMax

// Repeatable is repeatable.
var Repeatable = repeatable

// TestedAlarm is an alarm whose timer is rung by hand.
type TestedAlarm struct{ alarm }

// NewTestedAlarm makes one.
func NewTestedAlarm(silence time.Duration, cancel context.CancelCauseFunc) *TestedAlarm {
	return &TestedAlarm{alarm{silence: silence, cancel: cancel}}
}

// Listen is listen.
func (a *TestedAlarm) Listen() { a.listen() }

// Heard is heard.
func (a *TestedAlarm) Heard() { a.heard() }

// Ring is what a timer does that fired before it was stopped.
func (a *TestedAlarm) Ring() { a.ring() }

// TestedFreshness is a freshness by a clock of the test's.
type TestedFreshness struct{ *freshness }

// NewTestedFreshness makes one.
func NewTestedFreshness(now func() time.Time) TestedFreshness {
	return TestedFreshness{newFreshness(now)}
}

// Ask begins a question, whose answer take takes: a record at a position, of a time in milliseconds, in a tree.
func (f TestedFreshness) Ask() (take func(position uint64, timeMs int64, tree *merkle.Checkpoint) error, end func()) {
	asked := f.ask()
	return func(position uint64, timeMs int64, tree *merkle.Checkpoint) error {
		return f.take(asked, proven{position, timeMs, tree})
	}, func() { f.end(asked) }
}

// Repeat takes the answer to a question whose idempotency key the caller chose.
func (f TestedFreshness) Repeat(position uint64, timeMs int64, tree *merkle.Checkpoint) error {
	return f.take(nil, proven{position, timeMs, tree})
}

// Kept counts the positions that are kept.
func (f TestedFreshness) Kept() int { return len(f.taken) }
