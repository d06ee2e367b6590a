// Package vectors reads the repository's vector files, which every implementation of the formats runs. For tests alone.
package vectors

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sigil.example/go/verify/cbor"
)

// Directory is test/vectors of the repository that this module lies in. A module unpacked elsewhere has none: the test
// is skipped, and says so.
func Directory(t testing.TB) string {
	t.Helper()
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		candidate := filepath.Join(at, "test", "vectors")
		if info, err := os.Stat(candidate); err == nil && info.IsDir() {
			return candidate
		}
		above := filepath.Dir(at)
		if above == at {
			t.Skip("skipped: the vectors are in the repository, and this module is not")
		}
		at = above
	}
}

// Read parses a file of the directory. A file that is missing where the others are is a failure.
func Read[Shape any](t testing.TB, name string) Shape {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Directory(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return parse[Shape](t, name, text)
}

func parse[Shape any](t testing.TB, name string, text []byte) Shape {
	t.Helper()
	var shape Shape
	if err := json.Unmarshal(text, &shape); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return shape
}

// Hex is bytes that a file writes in hexadecimal.
type Hex []byte

// UnmarshalJSON reads hexadecimal text.
func (h *Hex) UnmarshalJSON(text []byte) error {
	var digits string
	if err := json.Unmarshal(text, &digits); err != nil {
		return err
	}
	raw, err := hex.DecodeString(digits)
	*h = raw
	return err
}

// Notation is a CBOR value as the files write it: JSON numbers are safe integers or floats, `{"$int": "…"}` is another
// integer, `{"$bytes": "hex"}` a byte string and `{"$map": [[key, value]…]}` a map.
type Notation struct{ Value any }

// UnmarshalJSON reads the notation.
func (n *Notation) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	var raw any
	if err := decoder.Decode(&raw); err != nil {
		return err
	}
	value, err := fromNotation(raw)
	n.Value = value
	return err
}

func fromNotation(raw any) (any, error) {
	switch typed := raw.(type) {
	case json.Number:
		return number(typed.String())
	case []any:
		values := make([]any, 0, len(typed))
		for _, item := range typed {
			value, err := fromNotation(item)
			if err != nil {
				return nil, err
			}
			values = append(values, value)
		}
		return values, nil
	case map[string]any:
		return object(typed)
	default:
		return raw, nil
	}
}

// number is of JSON: its digits are no type, so what is integral within ±(2⁵³−1) is an integer, anything else a float.
func number(digits string) (any, error) {
	value, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return nil, err
	}
	if whole := int64(value); float64(whole) == value && whole <= cbor.SafeMax && whole >= -cbor.SafeMax {
		return whole, nil
	}
	return value, nil
}

func object(fields map[string]any) (any, error) {
	if len(fields) != 1 {
		return nil, errors.New("unknown notation")
	}
	if digits, ok := fields["$int"].(string); ok {
		if value, err := strconv.ParseInt(digits, 10, 64); err == nil {
			return value, nil
		}
		return strconv.ParseUint(digits, 10, 64)
	}
	if digits, ok := fields["$bytes"].(string); ok {
		return hex.DecodeString(digits)
	}
	pairs, ok := fields["$map"].([]any)
	if !ok {
		return nil, errors.New("unknown notation")
	}
	entries := make(cbor.Map, 0, len(pairs))
	for _, each := range pairs {
		pair, ok := each.([]any)
		if !ok || len(pair) != 2 {
			return nil, errors.New("an entry is a pair")
		}
		key, ok := pair[0].(string)
		if !ok {
			return nil, errors.New("a key is text")
		}
		value, err := fromNotation(pair[1])
		if err != nil {
			return nil, err
		}
		entries = append(entries, cbor.Entry{Key: key, Value: value})
	}
	return entries, nil
}

// Text is text that may have half a surrogate pair, which Go's strings hold as bytes that are no UTF-8.
type Text string

const (
	standIn       = "\uf8ff"
	halfSurrogate = "\xed\xa0\x80"
)

var surrogates = regexp.MustCompile(`(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89abAB][0-9a-fA-F]{2}`)

// UnmarshalJSON reads the text.
func (s *Text) UnmarshalJSON(raw []byte) error {
	whole := surrogates.ReplaceAllStringFunc(string(raw), func(escaped string) string {
		if len(escaped) > len(`\ud800`) {
			return escaped
		}
		return standIn
	})
	var text string
	err := json.Unmarshal([]byte(whole), &text)
	*s = Text(strings.ReplaceAll(text, standIn, halfSurrogate))
	return err
}
