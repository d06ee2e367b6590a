// The errors of calls: the gRPC code with the details of google.rpc, decoded. Pure.

package sigil

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// ReasonReplyContradictory is the reason of a reply that contradicts itself or its request.
const ReasonReplyContradictory = "REPLY_CONTRADICTORY"

// ReasonClientClosed is the reason of a call on a client that was closed.
const ReasonClientClosed = "CLIENT_CLOSED"

// ReasonCallerNumber is the reason of an answer whose number shows that the ledger lost records or has two pasts. A
// *CallerNumberError is behind it.
const ReasonCallerNumber = "CALLER_NUMBER"

// FieldViolation is one field of a request and the rule that it breaks.
type FieldViolation struct {
	Field       string
	Description string
}

// Error is a call, or one item of a batch or stream, that got no decision: treat it as a deny. Find it by errors.As.
// Cancelled and overdue calls are also context.Canceled and context.DeadlineExceeded to errors.Is.
type Error struct {
	Code codes.Code
	// Message is the server's, for people.
	Message string
	// Reason is stable, to switch on, for example "TOKEN_EXPIRED"; empty if the server gave none.
	Reason string
	// Facts are about this occurrence, for example the level that is required.
	Facts map[string]string
	// FieldViolations are the fields of the request that break a rule.
	FieldViolations []FieldViolation
	// RetryDelay is the least time to wait before a retry; 0 if none is suggested.
	RetryDelay time.Duration
	// RequestID is the request's id in the server's log.
	RequestID string

	cause error
}

// messageBytesMax bounds what an error prints of a server's text.
const messageBytesMax = 1024

func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "sigil: %s: %s", e.Code, printable(e.Message, messageBytesMax))
	if e.Reason != "" && e.Reason != e.Message {
		fmt.Fprintf(&text, " (%s)", printable(e.Reason, 128))
	}
	for _, violation := range e.FieldViolations[:min(len(e.FieldViolations), 8)] {
		fmt.Fprintf(&text, "; %s: %s", printable(violation.Field, 128), printable(violation.Description, 256))
	}
	return text.String()
}

// Unwrap gives why a call was cancelled, or why there was no token.
func (e *Error) Unwrap() error { return e.cause }

// Is makes context.Canceled and context.DeadlineExceeded of the codes of that meaning.
func (e *Error) Is(target error) bool {
	switch target {
	case context.Canceled:
		return e.Code == codes.Canceled
	case context.DeadlineExceeded:
		return e.Code == codes.DeadlineExceeded
	}
	return false
}

// GRPCStatus makes status.Code and status.Convert work.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// printable keeps a server's text from forging lines of a log.
func printable(text string, bytesMax int) string {
	if len(text) > bytesMax {
		cut := bytesMax
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, text)
}

// secret is a credential that a call carried: a server may send it back in an error, which is logged.
type secret string

func (s secret) hide(text string) string {
	if s == "" {
		return text
	}
	return strings.ReplaceAll(text, string(s), "[credentials]")
}

// failureOf makes an Error of whatever a call of gRPC returned.
func failureOf(ctx context.Context, err error, trailer metadata.MD, carried secret) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	failure := errorFromStatus(status.Convert(err).Proto(), carried)
	if failure.RequestID == "" {
		if ids := trailer.Get("x-request-id"); len(ids) > 0 {
			failure.RequestID = carried.hide(ids[0])
		}
	}
	// gRPC's own words for it say neither which context ended nor why.
	if ended := ctx.Err(); ended != nil && (failure.Code == codes.Canceled || failure.Code == codes.DeadlineExceeded) {
		failure.cause = context.Cause(ctx)
	}
	return failure
}

// endedBefore is the error of a call that a done context kept from being made.
func endedBefore(ctx context.Context) *Error {
	code := codes.Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = codes.DeadlineExceeded
	}
	return &Error{Code: code, Message: ctx.Err().Error(), cause: context.Cause(ctx)}
}

// errorFromStatus unpacks a status; details that cannot be decoded are left out.
func errorFromStatus(packed *statuspb.Status, carried secret) *Error {
	failure := &Error{Code: codes.Code(packed.GetCode()), Message: carried.hide(packed.GetMessage())}
	for _, detail := range packed.GetDetails() {
		message, err := detail.UnmarshalNew()
		if err != nil {
			continue
		}
		switch info := message.(type) {
		case *errdetails.ErrorInfo:
			failure.Reason = carried.hide(info.GetReason())
			failure.Facts = maps.Clone(info.GetMetadata())
			for name, fact := range failure.Facts {
				failure.Facts[name] = carried.hide(fact)
			}
		case *errdetails.BadRequest:
			failure.FieldViolations = slices.Grow(failure.FieldViolations, len(info.GetFieldViolations()))
			for _, violation := range info.GetFieldViolations() {
				failure.FieldViolations = append(failure.FieldViolations, FieldViolation{
					Field:       carried.hide(violation.GetField()),
					Description: carried.hide(violation.GetDescription()),
				})
			}
		case *errdetails.RetryInfo:
			if delay := info.GetRetryDelay(); delay.CheckValid() == nil && delay.AsDuration() > 0 {
				failure.RetryDelay = delay.AsDuration()
			}
		case *errdetails.RequestInfo:
			failure.RequestID = carried.hide(info.GetRequestId())
		}
	}
	return failure
}

// contradiction is the error of a reply that cannot be true.
func contradiction(rule string, values ...any) *Error {
	return &Error{
		Code:    codes.Internal,
		Message: "the reply contradicts itself or the request: " + fmt.Sprintf(rule, values...),
		Reason:  ReasonReplyContradictory,
	}
}
