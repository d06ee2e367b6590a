package sigil

import (
	"context"
	"time"
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
