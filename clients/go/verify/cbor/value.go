// Package cbor encodes and decodes canonical CBOR: a profile of RFC 8949 §4.2.1 in which every value has one encoding
// and every encoding one value. Source: docs/spec/record.md §1. Pure. At most 1 MiB, 16 containers deep and 4,096
// entries a container.
//
// Values are Go's own types:
//
//	nil, bool
//	int64      an integer from −2⁶³ to 2⁶³−1; encoding takes int as well
//	uint64     an integer from 2⁶³ on; encoding takes any
//	float64    any other number; encoding writes one that is integral within ±(2⁵³−1) as an integer
//	string     text, valid UTF-8
//	[]byte     a byte string
//	[]any      an array
//	Map        a map with text keys, in canonical order after decoding; encoding takes any order
//	HeaderMap  a map of a COSE header, whose keys may also be integers
package cbor

import (
	"errors"
	"fmt"
)

// Limits of one value. Source: docs/spec/record.md §1.
const (
	// BytesMax is the length of an encoding, in bytes.
	BytesMax = 1 << 20
	// DepthMax is how deep containers nest: shallow enough for recursion on any stack.
	DepthMax = 16
	// EntriesMax is how many entries one array or map has.
	EntriesMax = 4096
)

// SafeMax is 2⁵³−1: up to here an integral number is an integer, whatever its type was.
const SafeMax = 1<<53 - 1

// Entry is one key of a map and its value.
type Entry struct {
	Key   string
	Value any
}

// Map is a map with text keys. A decoded one is in canonical order, and has each key once.
type Map []Entry

// Get returns the value of a key; found is false if there is none, which is not the same as a value of nil.
func (m Map) Get(key string) (value any, found bool) {
	for _, entry := range m {
		if entry.Key == key {
			return entry.Value, true
		}
	}
	return nil, false
}

// Has says whether the map has the key.
func (m Map) Has(key string) bool {
	_, found := m.Get(key)
	return found
}

// HeaderEntry is one key of a header's map, an int64, a uint64 or a string, and its value.
type HeaderEntry struct {
	Key   any
	Value any
}

// HeaderMap is a map of a COSE header.
type HeaderMap []HeaderEntry

// Get returns the value of an integer key.
func (m HeaderMap) Get(key int64) (value any, found bool) {
	for _, entry := range m {
		if entry.Key == key {
			return entry.Value, true
		}
	}
	return nil, false
}

// Rule is why bytes are refused. It holds no content of the input.
type Rule string

// The rules of the decoder.
const (
	Truncated     Rule = "input ends inside the item"
	Trailing      Rule = "bytes follow the value"
	TooLong       Rule = "input is longer than 1048576 bytes"
	TooDeep       Rule = "nested deeper than 16"
	TooMany       Rule = "more than 4096 entries"
	Reserved      Rule = "additional information 28 to 30 is reserved"
	Indefinite    Rule = "indefinite length is not canonical"
	NotShortest   Rule = "integer or length is not in its shortest form"
	BelowRange    Rule = "integer is below -2^63"
	Tagged        Rule = "tags are outside the profile"
	Simple        Rule = "only false, true and null are simple values of the profile"
	NotFinite     Rule = "NaN and infinities are outside the profile"
	IntegralFloat Rule = "an integral value within 2^53-1 must be an integer"
	LongFloat     Rule = "float is not in its shortest form"
	NotUTF8       Rule = "text is not UTF-8"
	KeyType       Rule = "map key has the wrong type"
	KeyOrder      Rule = "map keys are out of order"
	KeyTwice      Rule = "map key occurs twice"
)

// DecodeError says where bytes break which rule. Offset is in bytes, and points at the first byte of the offending
// item; of trailing bytes, at the first; where an item should begin and the input ends, at the end.
type DecodeError struct {
	Offset int
	Rule   Rule
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("malformed CBOR at offset %d: %s", e.Offset, e.Rule)
}

// EncodeError says which part of a value has no canonical encoding. Path is a JSON pointer into the value.
type EncodeError struct {
	Path string
	Rule string
}

func (e *EncodeError) Error() string {
	return fmt.Sprintf("value at %q cannot be encoded: %s", e.Path, e.Rule)
}

// AsDecodeError returns the decoder's error within err.
func AsDecodeError(err error) (*DecodeError, bool) {
	var fault *DecodeError
	ok := errors.As(err, &fault)
	return fault, ok
}
