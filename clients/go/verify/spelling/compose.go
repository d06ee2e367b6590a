package spelling

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// streamSafeMax is how many marks in a row the library normalises as Unicode says; into more it puts a character that was
// not there (UAX #15, Stream-Safe Text Format), which no other implementation does.
const streamSafeMax = 30

// composed is the text in NFC, UAX #15.
func composed(text string) string {
	marks := 0
	for _, character := range text {
		if marks++; combiningClass(character) == 0 {
			marks = 0
		}
		// A character decomposes into marks too.
		if marks > streamSafeMax/4 {
			return composedAnyLength(text)
		}
	}
	return norm.NFC.String(text)
}

func combiningClass(character rune) uint8 {
	if character < 0x300 {
		return 0
	}
	return norm.NFD.PropertiesString(string(character)).CCC()
}

// composedAnyLength takes characters and pairs of them from the library, and order and composition from UAX #15, whatever
// the number of marks.
func composedAnyLength(text string) string {
	var characters []rune
	for _, character := range text {
		characters = append(characters, []rune(norm.NFD.String(string(character)))...)
	}
	for from := 0; from < len(characters); {
		to := from
		for to < len(characters) && combiningClass(characters[to]) != 0 {
			to++
		}
		slices.SortStableFunc(characters[from:to], func(a, b rune) int {
			return int(combiningClass(a)) - int(combiningClass(b))
		})
		from = to + 1
	}
	var whole []rune
	starter, lastClass := -1, uint8(0)
	for _, character := range characters {
		class := combiningClass(character)
		isBlocked := starter < 0 || len(whole)-1 > starter && lastClass >= class
		if pair, ok := "", false; !isBlocked {
			if pair, ok = compose(whole[starter], character); ok {
				whole[starter], _ = utf8.DecodeRuneInString(pair)
				continue
			}
		}
		whole = append(whole, character)
		lastClass = class
		if class == 0 {
			starter, lastClass = len(whole)-1, 0
		}
	}
	return string(whole)
}

// compose gives the one character that two are the decomposition of, if there is one.
func compose(starter, next rune) (pair string, ok bool) {
	var both strings.Builder
	both.WriteRune(starter)
	both.WriteRune(next)
	pair = norm.NFC.String(both.String())
	return pair, utf8.RuneCountInString(pair) == 1
}
