// Targets of parts that others chose. Pure. Source: docs/spec/trust.md §10.

package sigil

import (
	"errors"
	"fmt"
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
		escaped[at] = escapeSegment(segment)
	}
	return strings.Join(escaped, "/"), nil
}

const unescaped = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

// escapeSegment escapes more than net/url does: "$" and "&" are refused unless they are escaped.
func escapeSegment(segment string) string {
	var escaped strings.Builder
	for at := range len(segment) {
		if octet := segment[at]; strings.IndexByte(unescaped, octet) >= 0 {
			escaped.WriteByte(octet)
		} else {
			fmt.Fprintf(&escaped, "%%%02X", octet)
		}
	}
	return escaped.String()
}
