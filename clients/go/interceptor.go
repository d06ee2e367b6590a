// Guards of gRPC servers.

package sigil

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// GRPCCall is a call that a guarded server received.
type GRPCCall struct {
	Context context.Context
	// FullMethod is "/package.Service/Method".
	FullMethod string
	// Request of a unary call; nil of a stream, which is decided before its first message is read.
	Request any
}

// GRPCRule says what to ask about a call. Action and target are each given once: fixed, or made of each call.
type GRPCRule struct {
	// Action, for example "orders.read".
	Action     string
	ActionFrom func(GRPCCall) (string, error)
	// Target, for example "orders".
	Target     string
	TargetFrom func(GRPCCall) (string, error)
	// SubjectFrom names who the call is made by, as authenticated before; absent asks about the client's own caller. An
	// empty name is a deny.
	SubjectFrom func(GRPCCall) (string, error)
	// SessionFrom is recorded with the decision; may be absent.
	SessionFrom func(GRPCCall) string
	// Unguarded are full methods that anybody may call, for example "/grpc.health.v1.Health/Check". There are no
	// patterns.
	Unguarded []string
	// OnDenied is told of each call that was not let through, and why; for logs. The error may hold what a caller must
	// not see.
	OnDenied func(GRPCCall, error)
}

// guard gives the context of a call that may go on, or what its caller is told.
func (r GRPCRule) guard(checker Checker) func(GRPCCall) (context.Context, error) {
	asked := rule[GRPCCall]{
		action:  part[GRPCCall]{"an action", r.Action, r.ActionFrom},
		target:  part[GRPCCall]{"a target", r.Target, r.TargetFrom},
		subject: part[GRPCCall]{name: "a subject", of: r.SubjectFrom},
		session: r.SessionFrom,
	}
	asked.mustBeComplete(checker)
	for _, method := range r.Unguarded {
		if !strings.HasPrefix(method, "/") || strings.Count(method, "/") != 2 || strings.HasSuffix(method, "/") || strings.Contains(method, "*") {
			panic("sigil: an unguarded method is named in full, as /package.Service/Method")
		}
	}
	unguarded := slices.Clone(r.Unguarded)
	return func(call GRPCCall) (context.Context, error) {
		if slices.Contains(unguarded, call.FullMethod) {
			return call.Context, nil
		}
		ctx, err := asked.pass(call.Context, checker, call)
		if err == nil {
			return ctx, nil
		}
		if r.OnDenied != nil {
			r.OnDenied(call, err)
		}
		if isRefusal(err) {
			return nil, status.Error(codes.PermissionDenied, "denied")
		}
		return nil, status.Error(codes.Unavailable, "no decision")
	}
}

// UnaryServerInterceptor lets a call through only by an honest allow: PERMISSION_DENIED for a deny, UNAVAILABLE where
// there is no decision. It panics without a client, an action or a target. Handlers get the decision by DecisionFrom.
func UnaryServerInterceptor(checker Checker, given GRPCRule) grpc.UnaryServerInterceptor {
	guard := given.guard(checker)
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		allowed, err := guard(GRPCCall{Context: ctx, FullMethod: info.FullMethod, Request: request})
		if err != nil {
			return nil, err
		}
		return handler(allowed, request)
	}
}

// StreamServerInterceptor is UnaryServerInterceptor for streams, each decided as a whole when it begins.
func StreamServerInterceptor(checker Checker, given GRPCRule) grpc.StreamServerInterceptor {
	guard := given.guard(checker)
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		allowed, err := guard(GRPCCall{Context: stream.Context(), FullMethod: info.FullMethod})
		if err != nil {
			return err
		}
		return handler(server, &allowedStream{ServerStream: stream, ctx: allowed})
	}
}

// UnaryServerInterceptor is the function of that name with this client.
func (c *Client) UnaryServerInterceptor(given GRPCRule) grpc.UnaryServerInterceptor {
	return UnaryServerInterceptor(c, given)
}

// StreamServerInterceptor is the function of that name with this client.
func (c *Client) StreamServerInterceptor(given GRPCRule) grpc.StreamServerInterceptor {
	return StreamServerInterceptor(c, given)
}

type allowedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *allowedStream) Context() context.Context { return s.ctx }
