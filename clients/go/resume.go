// Streams that go on where they broke off.

package sigil

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
)

// heartbeatSecondsDefault is a server's, where a watch asks for none.
const heartbeatSecondsDefault = 15

// silenceMax is how long a watch may say nothing: three heartbeats, and what a busy server is late.
func silenceMax(heartbeatSeconds uint32) time.Duration {
	if heartbeatSeconds == 0 {
		heartbeatSeconds = heartbeatSecondsDefault
	}
	return 3*time.Duration(heartbeatSeconds)*time.Second + defaultDeadline
}

// errSilent ends a watch on a connection that is open on one side alone.
var errSilent = &Error{Code: codes.Unavailable, Message: "the watch was silent for longer than three heartbeats"}

// resumption decides whether a stream that broke off is tried again.
type resumption struct {
	limit   time.Duration
	since   time.Time
	attempt int
	moved   bool
}

func newResumption(limit time.Duration) *resumption {
	return &resumption{limit: limit, since: time.Now()}
}

// progress was made: there was a message, and what follows is another interruption.
func (r *resumption) progress() {
	r.since, r.attempt, r.moved = time.Now(), 0, true
}

// isInterruption tells what breaks a connection from what a server answers for a reason.
func (r *resumption) isInterruption(failure *Error) bool {
	switch failure.Code {
	case codes.Unavailable:
		return true
	case codes.ResourceExhausted:
		return failure.RetryDelay > 0
	case codes.Unauthenticated:
		// A token expires while a watch goes on; one that was never taken will not be.
		return r.moved
	case codes.Internal, codes.Unknown, codes.Canceled:
		// Of HTTP/2: what Sigil says itself has a reason.
		return failure.Reason == "" && failure.cause == nil
	}
	return false
}

// wait pauses before the next attempt. It returns nil to go on, or what ends the stream.
func (r *resumption) wait(ctx context.Context, err error) *Error {
	var failure *Error
	switch {
	case ctx.Err() != nil:
		return endedBefore(ctx)
	case errors.Is(err, io.EOF):
		failure = &Error{Code: codes.Unavailable, Message: "the server ended the stream"}
	case !errors.As(err, &failure):
		failure = failureOf(ctx, err, nil, "")
	}
	overdue := time.Since(r.since)+failure.RetryDelay >= r.limit
	if !r.isInterruption(failure) || overdue {
		return failure
	}
	r.moved = false
	if !pauseBefore(ctx, failure, r.attempt, resumeBackoffLongest) {
		if ctx.Err() != nil {
			return endedBefore(ctx)
		}
		return failure
	}
	r.attempt++
	return nil
}
