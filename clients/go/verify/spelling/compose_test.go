package spelling

import (
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

func TestCompositionIsThatOfTheLibraryWhereItTakesTheText(t *testing.T) {
	random := rand.New(rand.NewPCG(16, 2))
	pools := [][]rune{
		{'a', 'e', 'o', 'A', 'K', 0x212a, 0x958, 0x915, 0x93c, 0x0f71, 0x0f72, 0x1100, 0x1161, 0x11a8, 0xac00, 0xac01, 0x3d, 0x37e},
		{0x300, 0x301, 0x308, 0x316, 0x327, 0x338, 0x345, 0x5b0, 0x5bf, 0x3099, 0x1d165, 0x302, 0x323, 0xf74},
	}
	for range 20000 {
		var text strings.Builder
		for range 1 + random.IntN(9) {
			pool := pools[random.IntN(2)]
			character := pool[random.IntN(len(pool))]
			if random.IntN(8) == 0 {
				character = rune(0xa0 + random.IntN(0x2f00))
			}
			text.WriteRune(character)
		}
		if got, want := composed(text.String()), norm.NFC.String(text.String()); got != want {
			t.Fatalf("%+q is %+q, want %+q", text.String(), got, want)
		}
	}
}

func TestNothingIsComposedAcrossACharacterInBetween(t *testing.T) {
	for text, want := range map[string]string{
		"K\U00011930\u0323": "K\U00011930\u0323", "K\U00011930\u0308\u0323": "K\U00011930\u0323\u0308", "Ka\u0323": "K\u1ea1",
		"\U00011935\U00011930": "\U00011938", "\U00011935\U00011930\u0323": "\U00011938\u0323",
		"a\u0301\u0301": "\u00e1\u0301", "a\u0323\u0301": "\u1ea1\u0301", "a\u0301\u0323": "\u1ea1\u0301",
	} {
		if got := composed(text); got != want {
			t.Errorf("%+q is %+q, want %+q", text, got, want)
		}
	}
}

func TestManyMarksStayAsTheyAre(t *testing.T) {
	for text, want := range map[string]string{
		"a" + strings.Repeat("\u0316", 40):                                "a" + strings.Repeat("\u0316", 40),
		"a\u0316" + strings.Repeat("\u0301", 35):                          "\u00e1\u0316" + strings.Repeat("\u0301", 34),
		"a" + strings.Repeat("\u0301", 20) + strings.Repeat("\u0316", 20): "\u00e1" + strings.Repeat("\u0316", 20) + strings.Repeat("\u0301", 19),
	} {
		form, err := Target(text)
		if err != nil || form != want {
			t.Errorf("%+q is %+q (%v), want %+q", text, form, err, want)
		}
	}
}
