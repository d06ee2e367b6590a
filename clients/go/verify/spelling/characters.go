package spelling

import (
	"fmt"
	"strings"
	"unicode"
)

// Characters that readers, or best-fit mappings of file systems, confuse with / \ . .. % or *.
const lookAlikes = "\u2044\u2215\u2571\u27cb\u29f8\uff0f\u2100\u2101\u2105\u2106" +
	"\u2216\u2572\u27cd\u29f5\u29f9\ufe68\uff3c" +
	"\u2024\u2025\ufe30\ufe52\uff0e" +
	"\ufe6a\uff05\ufe61\uff0a"

// Replacement characters of decoders: a name with one was corrupted.
const lost = "\ufffc\ufffd"

// Drawn as nothing, though Unicode counts them as letters, marks or symbols. What else is ignorable by default is a
// format character, and refused as one.
var drawnBlank = []*unicode.RangeTable{unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector}

const (
	brailleBlank  = '\u2800'
	nullNotehead  = '\U0001d159'
	plainASCII    = " ._~:@+=|,;!*'()-"
	mustBeEscaped = "\"#$&<>?[\\]^`{}"
)

func isSeen(character rune) bool {
	return character != brailleBlank && character != nullNotehead && !unicode.In(character, drawnBlank...)
}

// characterFault is why a character is refused in names, escaped or not; "" if it is allowed.
func characterFault(character rune) string {
	switch {
	case unicode.Is(unicode.Cc, character):
		return "must hold no control characters"
	case character < 0x80:
		return ""
	case strings.ContainsRune(lost, character):
		return fmt.Sprintf("must not hold %U, which stands for what was lost", character)
	case strings.ContainsRune(lookAlikes, character):
		return fmt.Sprintf("must not hold %U, which looks like one of / \\ . %% *", character)
	case unicode.In(character, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S) && isSeen(character):
		return ""
	default:
		return fmt.Sprintf(
			"must not hold %U: only letters, marks, digits, punctuation and symbols that can be seen", character)
	}
}

// isPlain says whether a character that is allowed stands for itself in a canonical name.
func isPlain(character rune) bool {
	return character >= 0x80 || isLetterOrDigit(character) || strings.ContainsRune(plainASCII, character)
}

func isLetterOrDigit(character rune) bool {
	return 'A' <= character && character <= 'Z' || 'a' <= character && character <= 'z' ||
		'0' <= character && character <= '9'
}

func isMark(character rune) bool { return unicode.Is(unicode.M, character) }
