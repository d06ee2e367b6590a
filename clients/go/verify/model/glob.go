package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

const patternBytesMax = 512

// patternFault is the rule that a pattern breaks; "" if none.
func patternFault(pattern string) string {
	switch {
	case pattern == "":
		return "must not be empty"
	case len(pattern) > patternBytesMax:
		return fmt.Sprintf("must be at most %d bytes", patternBytesMax)
	case strings.ContainsFunc(pattern, isControl):
		return "must hold no control characters"
	}
	for segment := range strings.SplitSeq(pattern, "/") {
		if isDots(segment) {
			return `must hold no "." or ".." segment`
		}
		if strings.Contains(segment, anySegments) && segment != anySegments {
			return "must have ** as a whole segment between slashes"
		}
	}
	return ""
}

func isControl(character rune) bool { return unicode.Is(unicode.Cc, character) }

func isDots(segment string) bool { return segment == "." || segment == ".." }

const anySegments = "**"

// literal is a piece of a pattern as it stands in a text: only patterns escape a star.
func literal(piece string) string { return strings.ReplaceAll(piece, "%2A", "*") }

// matchesSegment places each piece between stars as far left as it goes: a star takes anything, so that this is enough.
func matchesSegment(pattern, text string) bool {
	pieces := strings.Split(pattern, "*")
	first, rest := literal(pieces[0]), pieces[1:]
	if len(rest) == 0 {
		return text == first
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	for _, piece := range rest[:len(rest)-1] {
		_, after, found := strings.Cut(text, literal(piece))
		if !found {
			return false
		}
		text = after
	}
	return strings.HasSuffix(text, literal(rest[len(rest)-1]))
}

// matchesSegments says of each suffix of the text whether the pattern's suffix matches it, from the pattern's end to
// its beginning: at most pattern × text steps, even for hostile input.
func matchesSegments(pattern, text []string) bool {
	matches := make([]bool, len(text)+1) // Of the pattern's rest from the one at hand on.
	matches[len(text)] = true
	for index := range slices.Backward(pattern) {
		next := make([]bool, len(text)+1)
		isLast := index == len(pattern)-1
		for at := range slices.Backward(next) {
			hasSegment := at < len(text)
			switch {
			case pattern[index] != anySegments:
				next[at] = hasSegment && matches[at+1] && matchesSegment(pattern[index], text[at])
			case isLast && index > 0:
				next[at] = hasSegment // After a slash it stands for one segment at least.
			default:
				next[at] = matches[at] || hasSegment && next[at+1]
			}
		}
		matches = next
	}
	return matches[0]
}

type row[Value any] struct {
	pattern  []string
	text     string
	literals int
	stars    int
	value    Value
}

// table finds the most specific pattern that matches.
type table[Value any] []row[Value]

func newRow[Value any](pattern string, value Value) row[Value] {
	bare := strings.ReplaceAll(strings.ReplaceAll(pattern, anySegments+"/", ""), "*", "")
	return row[Value]{
		pattern: strings.Split(pattern, "/"), text: pattern,
		literals: len(bare), stars: strings.Count(pattern, "*"), value: value,
	}
}

// sorted puts the most specific first: more literal bytes, then fewer stars, then the bytes.
func (t table[Value]) sorted() table[Value] {
	slices.SortFunc(t, func(a, b row[Value]) int {
		return cmp.Or(cmp.Compare(b.literals, a.literals), cmp.Compare(a.stars, b.stars), cmp.Compare(a.text, b.text))
	})
	return t
}

// find gives the winning row's value. A text with a dot segment or a control character matches nothing.
func (t table[Value]) find(text string) (value Value, found bool) {
	segments := strings.Split(text, "/")
	if text == "" || strings.ContainsFunc(text, isControl) || slices.ContainsFunc(segments, isDots) {
		return value, false
	}
	for _, each := range t {
		if matchesSegments(each.pattern, segments) {
			return each.value, true
		}
	}
	return value, false
}
