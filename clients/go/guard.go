// What guards of HTTP handlers and gRPC methods share: a rule says what to ask, and is complete before anything is
// served.

package sigil

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// Checker asks questions. *Client is one.
type Checker interface {
	Check(ctx context.Context, question Question, options ...grpc.CallOption) (Decision, error)
}

type decisionKey struct{}

// DecisionFrom is the decision by which a guard let a request through; one that denies where there was no guard.
func DecisionFrom(ctx context.Context) Decision {
	decision, _ := ctx.Value(decisionKey{}).(Decision)
	return decision
}

// isRefusal tells a deny, or a request that nobody could be allowed, from a failure that may pass.
func isRefusal(err error) bool {
	if errors.Is(err, ErrDenied) {
		return true
	}
	var unnamed *unnamedError
	if errors.As(err, &unnamed) {
		return true
	}
	var failure *Error
	if errors.As(err, &failure) {
		return failure.Code == codes.InvalidArgument || failure.Code == codes.PermissionDenied
	}
	return false
}

// unnamedError is a request of which a rule cannot say what it is about.
type unnamedError struct{ cause error }

func (e *unnamedError) Error() string {
	return "sigil: the request names no question: " + e.cause.Error()
}
func (e *unnamedError) Unwrap() error { return e.cause }

// part is one part of a question: fixed, or made of each request.
type part[Request any] struct {
	name  string
	fixed string
	of    func(Request) (string, error)
}

// mustBeOne panics unless the part is given in one way.
func (p part[Request]) mustBeOne() {
	switch {
	case p.fixed == "" && p.of == nil:
		panic("sigil: a guard needs " + p.name)
	case p.fixed != "" && p.of != nil:
		panic("sigil: a guard has " + p.name + " that is fixed or made of each request, not both")
	}
}

func (p part[Request]) value(request Request) (string, error) {
	if p.of == nil {
		return p.fixed, nil
	}
	value, err := p.of(request)
	if err == nil && value == "" {
		err = errors.New(p.name + " is empty")
	}
	if err != nil {
		return "", &unnamedError{err}
	}
	return value, nil
}

// rule makes the question of a request.
type rule[Request any] struct {
	action, target, subject part[Request]
	session                 func(Request) string
}

func (r rule[Request]) mustBeComplete(checker Checker) {
	if client, isClient := checker.(*Client); checker == nil || isClient && client == nil {
		panic("sigil: a guard needs a client")
	}
	r.action.mustBeOne()
	r.target.mustBeOne()
}

func (r rule[Request]) question(request Request) (Question, error) {
	var question Question
	var err error
	if question.Action, err = r.action.value(request); err != nil {
		return Question{}, err
	}
	if question.Target, err = r.target.value(request); err != nil {
		return Question{}, err
	}
	// An empty subject would ask about the caller of Sigil, which may do more than the one who asks it.
	if r.subject.of != nil {
		if question.Subject, err = r.subject.value(request); err != nil {
			return Question{}, err
		}
	}
	if r.session != nil {
		question.Session = r.session(request)
	}
	return question, nil
}

// pass asks, and gives a context that holds the decision if it is an allow.
func (r rule[Request]) pass(ctx context.Context, checker Checker, request Request) (context.Context, error) {
	question, err := r.question(request)
	if err != nil {
		return nil, err
	}
	decision, err := checker.Check(ctx, question)
	if err != nil {
		return nil, err
	}
	if err := decision.Err(); err != nil {
		return nil, err
	}
	return context.WithValue(ctx, decisionKey{}, decision), nil
}
