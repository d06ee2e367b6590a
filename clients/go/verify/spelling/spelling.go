// Package spelling gives the one canonical spelling of targets, subjects, actions and sessions, and of globs over
// them, or the rule that a text breaks. Pure, idempotent, linear in the text. Source: docs/spec/trust.md §10.
//
// Characters are those of the Unicode version of Go's standard library. A name with a character that is newer than
// that is refused here, where a server with a later version takes it.
package spelling

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	targetBytesMax      = 512
	actionBytesMax      = 128
	sessionBytesMax     = 128
	principalIDBytesMax = 200
	// An escape takes three characters for a byte.
	escapedPerByte = 3
)

// Error is the rule that a text breaks; it completes "<field> …".
type Error struct{ Rule string }

func (e *Error) Error() string { return e.Rule }

func refuse(rule string) error { return &Error{rule} }

var (
	escapes      = regexp.MustCompile(`(?:%[0-9A-Fa-f]{2})+`)
	escapedTwice = regexp.MustCompile(`(?i)%(?:25)*(?:2[ef]|5c|[01][0-9a-f]|7f)`)
	dotSegment   = regexp.MustCompile(`(?:^|[/\\])\.{1,2}(?:[/\\]|$)`)
	hashedName   = regexp.MustCompile(`^~[0-9A-Fa-f]{64}$`)
)

func escapeOf(character rune) string { return fmt.Sprintf("%%%02X", character) }

// decoded decodes escapes once.
func decoded(text string) (string, error) {
	if at := strings.IndexAny(text, mustBeEscaped); at >= 0 {
		return "", refuse(fmt.Sprintf("must not hold %c as it is: write %s", text[at], escapeOf(rune(text[at]))))
	}
	if strings.Contains(escapes.ReplaceAllLiteralString(text, ""), "%") {
		return "", refuse("must not hold a % that begins no escape")
	}
	var err error
	plain := escapes.ReplaceAllStringFunc(text, func(escaped string) string {
		raw, _ := hex.DecodeString(strings.ReplaceAll(escaped, "%", ""))
		if !utf8.Valid(raw) {
			err = refuse("must not hold escapes that are no UTF-8")
		}
		return string(raw)
	})
	return plain, err
}

func encoded(text string, escapesStar bool) (string, error) {
	var form strings.Builder
	takesMark := false
	for _, character := range text {
		if fault := characterFault(character); fault != "" {
			return "", refuse(fault)
		}
		if isMark(character) && !takesMark {
			return "", refuse("must not hold a combining mark with no character before it")
		}
		stays := isPlain(character) && (character != '*' || !escapesStar)
		if stays {
			form.WriteRune(character)
		} else {
			form.WriteString(escapeOf(character))
		}
		takesMark = stays && character != ' '
	}
	return form.String(), nil
}

// spellSegment keeps each raw * of a glob as a wildcard.
func spellSegment(segment string, isGlob bool) (string, error) {
	pieces := []string{segment}
	if isGlob {
		pieces = strings.Split(segment, "*")
	}
	for index, piece := range pieces {
		plain, err := decoded(piece)
		if err != nil {
			return "", err
		}
		pieces[index] = composed(plain)
	}
	whole := strings.Join(pieces, "*")
	switch {
	case dotSegment.MatchString(whole):
		return "", refuse(`must have no "." and no ".." segment, escaped or not`)
	case escapedTwice.MatchString(whole):
		return "", refuse("must not hold a dot, a slash or a control character that is escaped twice")
	case strings.HasPrefix(whole, " ") || strings.HasSuffix(whole, " "):
		return "", refuse("must have no segment that begins or ends with a space")
	}
	for index, piece := range pieces {
		form, err := encoded(piece, isGlob)
		if err != nil {
			return "", err
		}
		pieces[index] = form
	}
	return strings.Join(pieces, "*"), nil
}

// units is the length in UTF-16 units, in which the specification limits what is read at all.
func units(text string) int {
	count := 0
	for _, character := range text {
		count += max(1, utf16.RuneLen(character))
	}
	return count
}

func spellSegments(raw string, bytesMax int, isGlob bool) ([]string, error) {
	tooLong := refuse(fmt.Sprintf("must be 1 to %d bytes", bytesMax))
	if units(raw) > bytesMax*escapedPerByte {
		return nil, tooLong
	}
	if !utf8.ValidString(raw) {
		return nil, refuse("must be valid UTF-8")
	}
	var segments []string
	for segment := range strings.SplitSeq(raw, "/") {
		if segment == "" {
			continue
		}
		form, err := spellSegment(segment, isGlob)
		if err != nil {
			return nil, err
		}
		segments = append(segments, form)
	}
	if len(segments) == 0 || len(strings.Join(segments, "/")) > bytesMax {
		return nil, tooLong
	}
	return segments, nil
}

func spell(raw string, bytesMax int, isGlob bool) (string, error) {
	segments, err := spellSegments(raw, bytesMax, isGlob)
	return strings.Join(segments, "/"), err
}

// Target spells a target.
func Target(raw string) (string, error) { return spell(raw, targetBytesMax, false) }

// TargetGlob spells a glob over targets: * is a wildcard, a literal one is written %2A.
func TargetGlob(raw string) (string, error) { return spell(raw, targetBytesMax, true) }

// Action spells an action: an identifier in ASCII, without escapes.
func Action(raw string) (string, error) { return spellAction(raw, false) }

// ActionGlob spells a glob over actions.
func ActionGlob(raw string) (string, error) { return spellAction(raw, true) }

func spellAction(raw string, isGlob bool) (string, error) {
	allowed, rule := "._:/-", fmt.Sprintf("must be 1 to %d bytes of letters, digits and . _ : / -", actionBytesMax)
	if isGlob {
		allowed, rule = allowed+"*", rule+", and *"
	}
	isRefused := func(character rune) bool {
		return !isLetterOrDigit(character) && !strings.ContainsRune(allowed, character)
	}
	if raw == "" || len(raw) > actionBytesMax || strings.ContainsFunc(raw, isRefused) {
		return "", refuse(rule)
	}
	return spell(raw, actionBytesMax, isGlob)
}

const spiffeScheme = "spiffe:"

// Subject spells a principal's id. `spiffe://<trust domain>/<id>` is another spelling of `<id>`; the trust domain is
// the deployment's origin.
func Subject(raw, trustDomain string) (string, error) {
	segments, err := spellSegments(raw, targetBytesMax, false)
	if err != nil {
		return "", err
	}
	if segments, err = withoutTrustDomain(segments, trustDomain); err != nil {
		return "", err
	}
	for _, segment := range segments {
		// Otherwise a principal that is enrolled by digest would have a second name.
		if hashedName.MatchString(segment) {
			return "", refuse("must have no segment of ~ and 64 hexadecimal digits")
		}
	}
	return strings.Join(segments, "/"), nil
}

// withoutTrustDomain takes scheme and trust domain away while they are this deployment's. Neither has letter case.
func withoutTrustDomain(segments []string, trustDomain string) ([]string, error) {
	for len(segments) > 0 && strings.ToLower(segments[0]) == spiffeScheme {
		if len(segments) < 3 {
			return nil, refuse("must name a principal behind the SPIFFE trust domain")
		}
		domain := strings.ToLower(segments[1])
		if domain != strings.ToLower(trustDomain) {
			return append([]string{spiffeScheme, domain}, segments[2:]...), nil
		}
		segments = segments[2:]
	}
	return segments, nil
}

// Session normalises a session, a label that is compared for equality alone.
func Session(raw string) (string, error) {
	if units(raw) > sessionBytesMax {
		return "", refuse(fmt.Sprintf("must be at most %d bytes", sessionBytesMax))
	}
	if !utf8.ValidString(raw) {
		return "", refuse("must be valid UTF-8")
	}
	text := composed(raw)
	if len(raw) > sessionBytesMax || len(text) > sessionBytesMax {
		return "", refuse(fmt.Sprintf("must be at most %d bytes", sessionBytesMax))
	}
	return text, nil
}

// Or gives the canonical form, or the text itself if it has none: for what was recorded before names were canonical.
func Or(form string, err error, text string) string {
	if err != nil {
		return text
	}
	return form
}

// RecordIDFault is what is wrong with a record id; nil if nothing is. Source: docs/spec/record.md §2.
func RecordIDFault(id string) error {
	const bytesMax = 255
	isRefused := func(character rune) bool {
		return !isLetterOrDigit(character) && !strings.ContainsRune("._~:/@-", character)
	}
	switch {
	case id == "" || len(id) > bytesMax:
		return refuse(fmt.Sprintf("must be 1 to %d bytes", bytesMax))
	case strings.ContainsFunc(id, isRefused):
		return refuse("may hold only letters, digits and . _ ~ : / @ -")
	}
	segments := strings.Split(id, "/")
	for index, segment := range segments {
		isInner := segment == "" && index > 0 && index < len(segments)-1
		if isInner || segment == "." || segment == ".." {
			return refuse(`must have no "//" and no "." or ".." segment`)
		}
	}
	return nil
}

// EnrolledName is the last part of the record id for a canonical name: the name if a record id can hold it, else ~
// and its SHA-256 in hexadecimal, with the name in the payload.
func EnrolledName(name string) string {
	if len(name) <= principalIDBytesMax && RecordIDFault(name) == nil {
		return name
	}
	digest := sha256.Sum256([]byte(name))
	return "~" + hex.EncodeToString(digest[:])
}
