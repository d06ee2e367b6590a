// A guard of net/http handlers.

package sigil

import (
	"errors"
	"math"
	"net/http"
	"strconv"
)

// HTTPRule says what to ask about a request. Action and target are each given once: fixed, or made of each request.
type HTTPRule struct {
	// Action, for example "orders.read".
	Action     string
	ActionFrom func(*http.Request) (string, error)
	// Target, for example "orders". TargetOf builds one of path values.
	Target     string
	TargetFrom func(*http.Request) (string, error)
	// SubjectFrom names who the request is made by, as authenticated before; absent asks about the client's own caller.
	// An empty name is a deny.
	SubjectFrom func(*http.Request) (string, error)
	// SessionFrom is recorded with the decision; may be absent.
	SessionFrom func(*http.Request) string
	// OnDenied is told of each request that was not let through, and why; for logs. The error may hold what a caller
	// must not see.
	OnDenied func(*http.Request, error)
}

// GuardHTTP makes middleware that lets a request through only by an honest allow: 403 for a deny, 503 where there is no
// decision, each with a body that says nothing more. It panics without a client, an action or a target.
// Handlers get the decision by DecisionFrom.
func GuardHTTP(checker Checker, given HTTPRule) func(http.Handler) http.Handler {
	asked := rule[*http.Request]{
		action:  part[*http.Request]{"an action", given.Action, given.ActionFrom},
		target:  part[*http.Request]{"a target", given.Target, given.TargetFrom},
		subject: part[*http.Request]{name: "a subject", of: given.SubjectFrom},
		session: given.SessionFrom,
	}
	asked.mustBeComplete(checker)
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("sigil: a guard needs a handler")
		}
		return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
			ctx, err := asked.pass(request.Context(), checker, request)
			if err != nil {
				if given.OnDenied != nil {
					given.OnDenied(request, err)
				}
				writeDenied(writer, err)
				return
			}
			next.ServeHTTP(writer, request.WithContext(ctx))
		})
	}
}

// GuardHTTP is the function of that name with this client.
func (c *Client) GuardHTTP(given HTTPRule) func(http.Handler) http.Handler {
	return GuardHTTP(c, given)
}

func writeDenied(writer http.ResponseWriter, err error) {
	code, body := http.StatusServiceUnavailable, `{"error":"unavailable"}`
	if isRefusal(err) {
		code, body = http.StatusForbidden, `{"error":"forbidden"}`
	}
	var failure *Error
	if code == http.StatusServiceUnavailable && errors.As(err, &failure) && failure.RetryDelay > 0 {
		writer.Header().Set("Retry-After", strconv.Itoa(int(min(math.Ceil(failure.RetryDelay.Seconds()), 3600))))
	}
	writer.Header().Set("Content-Type", "application/json")
	writer.Header().Set("Cache-Control", "no-store")
	writer.WriteHeader(code)
	_, _ = writer.Write([]byte(body + "\n"))
}
