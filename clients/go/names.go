// Targets of parts that others chose. Pure. Source: docs/spec/trust.md §10.

package sigil

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// TargetOf joins segments to a target. Each is one segment whatever is in it, a slash too, so that a name from outside
// cannot lead to another target. An empty segment, "." and ".." are refused.
func TargetOf(segments ...string) (string, error) {
	if len(segments) == 0 {
		return "", errors.New("sigil: a target has at least one segment")
	}
	escaped := make([]string, len(segments))
	for at, segment := range segments {
		if segment == "" || segment == "." || segment == ".." {
			return "", fmt.Errorf("sigil: segment %d of the target is %q", at, segment)
		}
		escaped[at] = url.PathEscape(segment)
	}
	return strings.Join(escaped, "/"), nil
}
