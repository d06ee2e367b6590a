package sigil

import "time"

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
