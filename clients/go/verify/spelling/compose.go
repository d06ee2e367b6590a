package spelling

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func combiningClass(character rune) uint8 {
	if character < 0x300 {
		return 0
	}
	return norm.NFD.PropertiesString(string(character)).CCC()
}

// composed is the text in NFC, UAX #15. Characters and pairs of them are the library's, order and composition are by the
// annex: the library puts a character that was not there into more than 30 marks in a row (Stream-Safe Text Format), which
// no other implementation does, and some of its versions compose across a character in between.
func composed(text string) string {
	if isASCII(text) {
		return text
	}
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

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(character rune) bool { return character >= utf8.RuneSelf })
}

// compose gives the one character that two are the decomposition of, if there is one.
func compose(starter, next rune) (pair string, ok bool) {
	var both strings.Builder
	both.WriteRune(starter)
	both.WriteRune(next)
	pair = norm.NFC.String(both.String())
	return pair, utf8.RuneCountInString(pair) == 1
}
