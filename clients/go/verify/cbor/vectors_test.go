package cbor_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigil.example/go/internal/vectors"
	"sigil.example/go/verify/cbor"
)

type accepted struct {
	Name  string
	Hex   vectors.Hex
	Value vectors.Notation
}

type refused struct {
	Name   string
	Hex    vectors.Hex
	Offset int
	Rule   cbor.Rule
}

type golden struct {
	Accept []accepted
	Refuse []refused
}

func TestVectorsAccept(t *testing.T) {
	for _, vector := range vectors.Read[golden](t, "cbor.json").Accept {
		t.Run(vector.Name, func(t *testing.T) {
			decoded, err := cbor.Decode(vector.Hex)
			if err != nil {
				t.Fatal(err)
			}
			// The notation's maps stand in no order of the encoding, so both ways are compared as bytes.
			for _, value := range []any{decoded, vector.Value.Value} {
				encoded, err := cbor.Encode(value)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(encoded, vector.Hex) {
					t.Errorf("encoded as %x, want %x", encoded, []byte(vector.Hex))
				}
			}
			if !reflect.DeepEqual(sorted(decoded), sorted(vector.Value.Value)) {
				t.Errorf("decoded to %#v, want %#v", decoded, vector.Value.Value)
			}
		})
	}
}

// sorted gives a value whose maps stand in the order of their keys as Go compares them.
func sorted(value any) any {
	switch typed := value.(type) {
	case []any:
		values := make([]any, 0, len(typed))
		for _, item := range typed {
			values = append(values, sorted(item))
		}
		return values
	case cbor.Map:
		entries := make(cbor.Map, 0, len(typed))
		for _, entry := range typed {
			entries = append(entries, cbor.Entry{Key: entry.Key, Value: sorted(entry.Value)})
		}
		slices.SortFunc(entries, func(a, b cbor.Entry) int { return strings.Compare(a.Key, b.Key) })
		return entries
	default:
		return value
	}
}

func expectRefused(t *testing.T, input []byte, offset int, rule cbor.Rule) {
	t.Helper()
	value, err := cbor.Decode(input)
	fault, ok := cbor.AsDecodeError(err)
	if !ok {
		t.Fatalf("was accepted as %#v", value)
	}
	if fault.Offset != offset || fault.Rule != rule {
		t.Errorf("refused at %d: %s; want at %d: %s", fault.Offset, fault.Rule, offset, rule)
	}
	if value != nil {
		t.Error("a value came with the error")
	}
}

func TestVectorsRefuse(t *testing.T) {
	refusals := vectors.Read[golden](t, "cbor.json").Refuse
	if len(refusals) < 60 {
		t.Fatalf("only %d refusals", len(refusals))
	}
	for _, vector := range refusals {
		t.Run(vector.Name, func(t *testing.T) { expectRefused(t, vector.Hex, vector.Offset, vector.Rule) })
	}
}

func TestVectorsBreakEveryRule(t *testing.T) {
	broken := map[cbor.Rule]bool{cbor.TooLong: true} // A vector of 1 MiB stands in no file: TestLimits has it.
	for _, vector := range vectors.Read[golden](t, "cbor.json").Refuse {
		broken[vector.Rule] = true
	}
	rules := []cbor.Rule{
		cbor.Truncated, cbor.Trailing, cbor.TooLong, cbor.TooDeep, cbor.TooMany, cbor.Reserved, cbor.Indefinite,
		cbor.NotShortest, cbor.BelowRange, cbor.Tagged, cbor.Simple, cbor.NotFinite, cbor.IntegralFloat, cbor.LongFloat,
		cbor.NotUTF8, cbor.KeyType, cbor.KeyOrder, cbor.KeyTwice,
	}
	for _, rule := range rules {
		if !broken[rule] {
			t.Errorf("no vector breaks: %s", rule)
		}
		delete(broken, rule)
	}
	for rule := range broken {
		t.Errorf("no rule of the decoder is: %s", rule)
	}
}

var (
	outside = regexp.MustCompile(
		`^(c|d|f0|f7|f8|f97c|f97e|f9fc|fa7f8|fa7fc|faff8|fb7ff|fbfff|5f|7f|9f|bf|3bffffffffffffffff|a201)`)
	indefiniteInside = []string{"83018202039f0405ff", "83019f0203ff820405", "826161bf61626163ff"}
	integralFloats   = []string{"f90000", "f98000", "f93c00", "f97bff", "fa47c35000", "f9c400"}
)

func TestVectorsOfRFC8949AppendixA(t *testing.T) {
	inside := 0
	for _, vector := range vectors.Read[[]struct{ Hex vectors.Hex }](t, "cbor-appendix-a.json") {
		digits := fmt.Sprintf("%x", []byte(vector.Hex))
		value, err := cbor.Decode(vector.Hex)
		if outside.MatchString(digits) || slices.Contains(indefiniteInside, digits) || slices.Contains(integralFloats, digits) {
			if err == nil {
				t.Errorf("%s lies outside the profile, and was accepted", digits)
			}
			continue
		}
		inside++
		if err != nil {
			t.Errorf("%s: %v", digits, err)
			continue
		}
		if encoded, err := cbor.Encode(value); err != nil || !bytes.Equal(encoded, vector.Hex) {
			t.Errorf("%s came back as %x, %v", digits, encoded, err)
		}
	}
	if inside != 42 {
		t.Errorf("%d encodings lie inside the profile, want 42", inside)
	}
}

// The broken encodings that every implementation is given.
func TestVectorsOfBrokenEncodings(t *testing.T) {
	broken := vectors.Read[vectors.Broken](t, "broken.json")
	if len(broken.Cases) != 500 {
		t.Errorf("%d broken encodings, want 500", len(broken.Cases))
	}
	for index, each := range broken.Cases {
		t.Run(fmt.Sprint(index), func(t *testing.T) { expectRefused(t, broken.Bytes(index), each.Offset, each.Rule) })
	}
}

// The records that every implementation builds from their values, and encodes by itself.
func TestVectorsOfValues(t *testing.T) {
	values := vectors.ReadValues(t)
	all := sha256.New()
	whole := slices.Concat(values.Bodies, values.Values)
	if len(whole) != 500 {
		t.Errorf("%d values, want 500", len(whole))
	}
	for _, each := range whole {
		encoded, err := cbor.Encode(each.Value.Value)
		if err != nil {
			t.Fatalf("%s: %v", each.Name, err)
		}
		hash := sha256.Sum256(encoded)
		all.Write(hash[:])
		if len(encoded) != each.Bytes || !bytes.Equal(hash[:], each.Sha256) {
			t.Errorf("%s: %d bytes of hash %x, want %d of %x", each.Name, len(encoded), hash, each.Bytes, []byte(each.Sha256))
		}
		decoded, err := cbor.Decode(encoded)
		if err != nil {
			t.Errorf("%s: %v", each.Name, err)
			continue
		}
		if again, err := cbor.Encode(decoded); err != nil || !bytes.Equal(again, encoded) {
			t.Errorf("%s: does not come back", each.Name)
		}
	}
	if sum := all.Sum(nil); !bytes.Equal(sum, values.Sha256) {
		t.Errorf("all hashes together are %x, want %x", sum, []byte(values.Sha256))
	}
}

func TestVectorsOfValuesWithoutAnEncoding(t *testing.T) {
	rules := map[string]string{
		"notFinite": "NaN and infinities have no encoding",
		"tooDeep":   "is nested deeper than 16",
		"tooMany":   "has more than 4096 entries",
		"tooLong":   "is longer than 1048576 bytes",
	}
	seen := map[string]bool{}
	for _, each := range vectors.ReadValues(t).Refuse {
		seen[each.Rule] = true
		t.Run(each.Rule+": "+each.Name, func(t *testing.T) {
			if each.Rule == "range" {
				if !errors.Is(each.Value.Err, vectors.ErrNoGoInteger) {
					t.Error("a Go type holds it")
				}
				return
			}
			encoded, err := cbor.Encode(each.Value.Value)
			var fault *cbor.EncodeError
			if !errors.As(err, &fault) || fault.Rule != rules[each.Rule] || encoded != nil {
				t.Errorf("%d bytes, %v; want %s", len(encoded), err, rules[each.Rule])
			}
		})
	}
	for rule := range rules {
		if !seen[rule] {
			t.Errorf("no value is refused by %s", rule)
		}
	}
}

func text(length int) []byte {
	head := []byte{0x7a, byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length)}
	return append(head, bytes.Repeat([]byte{'a'}, length)...)
}

func TestLimits(t *testing.T) {
	t.Run("an encoding of 1,048,576 bytes is taken, one byte more is not", func(t *testing.T) {
		largest := text(cbor.BytesMax - 5)
		value, err := cbor.Decode(largest)
		if err != nil {
			t.Fatal(err)
		}
		if encoded, err := cbor.Encode(value); err != nil || !bytes.Equal(encoded, largest) {
			t.Errorf("did not come back: %v", err)
		}
		expectRefused(t, text(cbor.BytesMax-4), 0, cbor.TooLong)
		if _, err := cbor.Encode(strings.Repeat("a", cbor.BytesMax-4)); err == nil {
			t.Error("a longer one was encoded")
		}
	})
	t.Run("4,096 entries are taken, one more is not", func(t *testing.T) {
		many := make([]any, cbor.EntriesMax+1)
		encoded, err := cbor.Encode(many[1:])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cbor.Decode(encoded); err != nil {
			t.Error(err)
		}
		if _, err := cbor.Encode(many); err == nil {
			t.Error("4,097 items were encoded")
		}
		expectRefused(t, append([]byte{0x99, 0x10, 0x01}, bytes.Repeat([]byte{0xf6}, 4097)...), 0, cbor.TooMany)
		entries := append([]byte{0xb9, 0x10, 0x01}, bytes.Repeat([]byte{0x60, 0xf6}, 4097)...)
		expectRefused(t, entries, 0, cbor.TooMany)
	})
	t.Run("16 containers are taken, one more is not", func(t *testing.T) {
		var nested any
		for range cbor.DepthMax {
			nested = []any{nested}
		}
		if _, err := cbor.Encode(nested); err != nil {
			t.Error(err)
		}
		if _, err := cbor.Encode([]any{nested}); err == nil {
			t.Error("17 arrays deep was encoded")
		}
		if _, err := cbor.Encode(cbor.Map{{Key: "a", Value: nested}}); err == nil {
			t.Error("17 containers deep was encoded")
		}
	})
	t.Run("containers beside each other are not deeper", func(t *testing.T) {
		beside := append([]byte{0x98, 40}, bytes.Repeat([]byte{0x80}, 40)...)
		if _, err := cbor.Decode(beside); err != nil {
			t.Error(err)
		}
		maps := append([]byte{0x98, 40}, bytes.Repeat([]byte{0xa1, 0x60, 0xa0}, 40)...)
		if _, err := cbor.Decode(maps); err != nil {
			t.Error(err)
		}
	})
	t.Run("a count is compared with what is left before anything is allocated for it", func(t *testing.T) {
		claims := bytes.Repeat([]byte{0x99, 0x10, 0x00}, 4096/16)
		if cost := testing.AllocsPerRun(10, func() { _, _ = cbor.Decode(claims[:3]) }); cost > 4 {
			t.Errorf("a claim cost %v allocations", cost)
		}
		long := []byte{0x5b, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff}
		expectRefused(t, long, 0, cbor.Truncated)
	})
}

func TestEncode(t *testing.T) {
	t.Run("writes a float that is integral within 2^53-1 as an integer", func(t *testing.T) {
		for value, want := range map[float64]string{
			1: "01", math.Copysign(0, -1): "00", -1: "20", 9007199254740991: "1b001fffffffffffff",
			9007199254740992: "fa5a000000", -9007199254740992: "fada000000", 65504: "19ffe0",
		} {
			if encoded, err := cbor.Encode(value); err != nil || fmt.Sprintf("%x", encoded) != want {
				t.Errorf("%v is %x, want %s (%v)", value, encoded, want, err)
			}
		}
		if encoded, _ := cbor.Encode(int64(1) << 53); fmt.Sprintf("%x", encoded) != "1b0020000000000000" {
			t.Errorf("2^53 as an integer is %x", encoded)
		}
	})
	t.Run("names the place of what has no encoding", func(t *testing.T) {
		cases := []struct {
			value any
			path  string
		}{
			{math.NaN(), ""},
			{[]any{1, math.Inf(-1)}, "/1"},
			{cbor.Map{{Key: "a/b", Value: []any{"\xff"}}}, "/a~1b/0"},
			{cbor.Map{{Key: "\xff", Value: 1}}, "/\xff"},
			{cbor.Map{{Key: "a", Value: 1}, {Key: "b", Value: 1}, {Key: "a", Value: 1}}, "/a"},
			{[]any{struct{}{}}, "/0"},
			{cbor.HeaderMap{{Key: 1.5, Value: 1}}, ""},
		}
		for _, each := range cases {
			encoded, err := cbor.Encode(each.value)
			var fault *cbor.EncodeError
			if !errors.As(err, &fault) || fault.Path != each.path || encoded != nil {
				t.Errorf("%#v: %x, %v", each.value, encoded, err)
			}
		}
	})
}

func TestHeaders(t *testing.T) {
	t.Run("may have integer keys, in their own order", func(t *testing.T) {
		encoded, err := cbor.Encode(cbor.HeaderMap{
			{Key: "a", Value: 4}, {Key: -1, Value: 3}, {Key: 24, Value: 2}, {Key: 1, Value: cbor.HeaderMap{}},
		})
		if err != nil || fmt.Sprintf("%x", encoded) != "a401a01818022003616104" {
			t.Fatalf("%x, %v", encoded, err)
		}
		value, err := cbor.DecodeHeader(encoded)
		header, ok := value.(cbor.HeaderMap)
		if err != nil || !ok || len(header) != 4 {
			t.Fatalf("%#v, %v", value, err)
		}
		if two, _ := header.Get(24); two != int64(2) {
			t.Errorf("24 is %v", two)
		}
	})
	t.Run("refuse other keys, and keys in another order", func(t *testing.T) {
		for digits, want := range map[string]cbor.DecodeError{
			"a1410100":     {Offset: 1, Rule: cbor.KeyType},
			"a1f600":       {Offset: 1, Rule: cbor.KeyType},
			"a203000100":   {Offset: 3, Rule: cbor.KeyOrder},
			"a201000100":   {Offset: 3, Rule: cbor.KeyTwice},
			"a22000181800": {Offset: 3, Rule: cbor.KeyOrder},
		} {
			_, err := cbor.DecodeHeader(unhex(t, digits))
			if fault, ok := cbor.AsDecodeError(err); !ok || *fault != want {
				t.Errorf("%s: %v, want %v", digits, err, want)
			}
		}
	})
}
