// Streams that go on where they broke off.

package sigil

import (
	"context"
	"errors"
	"io"
	"sync"
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

// alarm cancels a stream on which nothing was heard for as long as somebody listened. What the reader of the stream
// does in between is no silence, however long it takes.
type alarm struct {
	silence time.Duration
	cancel  context.CancelCauseFunc
	timer   *time.Timer

	mu        sync.Mutex
	listening bool
	// since is when listening began. Stop does not wait for a timer that has fired: it may come to run when something
	// was heard meanwhile, or even when the next message is waited for.
	since time.Time
}

// listen waits for the next message.
func (a *alarm) listen() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listening, a.since = true, time.Now()
	if a.timer == nil {
		a.timer = time.AfterFunc(a.silence, a.ring)
		return
	}
	a.timer.Reset(a.silence)
}

// heard something, or ended.
func (a *alarm) heard() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listening = false
	a.timer.Stop()
}

func (a *alarm) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listening && time.Since(a.since) >= a.silence {
		a.cancel(errSilent)
	}
}

// resumption decides whether a stream that broke off is tried again.
type resumption struct {
	limit time.Duration
	// since is when the interruption under way began: the time that a reader takes for what it was given is none.
	since   time.Time
	attempt int
	moved   bool
}

func newResumption(limit time.Duration) *resumption { return &resumption{limit: limit} }

// progress was made: there was a message, and what follows is another interruption.
func (r *resumption) progress() {
	r.since, r.attempt, r.moved = time.Time{}, 0, true
}

// isInterruption tells what breaks a connection from what a server answers for a reason.
func (r *resumption) isInterruption(failure *Error) bool {
	switch failure.Code {
	case codes.Unavailable:
		return true
	case codes.ResourceExhausted:
		return failure.RetryDelay > 0 || r.moved
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
	if r.since.IsZero() {
		r.since = time.Now()
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
