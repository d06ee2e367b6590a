package vectors

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"sigil.example/go/verify/cbor"
)

// Values are the records of values.json: described as typed values, with no encoding of any.
type Values struct {
	// Sha256 is over the 500 hashes, Bodies before Values.
	Sha256         Hex
	Bodies, Values []struct {
		Name   string
		Bytes  int
		Sha256 Hex
		Value  Typed
	}
	// Refuse have no canonical encoding.
	Refuse []struct {
		Name, Rule string
		Value      Typed
	}
}

// ReadValues reads values.json.
func ReadValues(t testing.TB) Values {
	t.Helper()
	return Read[Values](t, "values.json")
}

// ErrNoGoInteger says that a number is outside of what Go's integers, and so CBOR's of the profile, hold.
var ErrNoGoInteger = errors.New("no Go type holds the integer")

// Typed is a value of values.json. Err is set where no Go value can be built.
type Typed struct {
	Value any
	Err   error
}

type described struct {
	I64, U64      *string
	F16, F32, F64 *string
	Bytes, Text   *string
	Array         *[]Typed
	Map           *[]keyAndValue
	Times         *int
}

type keyAndValue struct {
	Key   string
	Value Typed
}

func (k *keyAndValue) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&k.Key, &k.Value})
}

// UnmarshalJSON builds the value.
func (v *Typed) UnmarshalJSON(text []byte) error {
	if trimmed := bytes.TrimSpace(text); trimmed[0] != '{' {
		return json.Unmarshal(text, &v.Value)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var raw described
	if err := decoder.Decode(&raw); err != nil {
		return err
	}
	return v.build(raw)
}

func (v *Typed) build(raw described) error {
	times := 1
	if raw.Times != nil {
		times = *raw.Times
	}
	var err error
	switch {
	case raw.I64 != nil:
		v.Value, err = v.integer(strconv.ParseInt(*raw.I64, 10, 64))
	case raw.U64 != nil:
		v.Value, err = v.integer(strconv.ParseUint(*raw.U64, 10, 64))
	case raw.F16 != nil:
		v.Value, err = bits(*raw.F16, 16, half)
	case raw.F32 != nil:
		v.Value, err = bits(*raw.F32, 32, func(b uint64) float64 { return float64(math.Float32frombits(uint32(b))) })
	case raw.F64 != nil:
		v.Value, err = bits(*raw.F64, 64, math.Float64frombits)
	case raw.Bytes != nil:
		var once []byte
		once, err = hex.DecodeString(*raw.Bytes)
		v.Value = bytes.Repeat(once, times)
	case raw.Text != nil:
		v.Value = strings.Repeat(*raw.Text, times)
	case raw.Array != nil:
		v.Value = v.array(*raw.Array, times)
	case raw.Map != nil:
		v.Value = v.entries(*raw.Map)
	default:
		return errors.New("a value without a type")
	}
	return err
}

// integer keeps the error of a number that is too large: the file has some that must be refused.
func (v *Typed) integer(value any, err error) (any, error) {
	if errors.Is(err, strconv.ErrRange) {
		v.Err = ErrNoGoInteger
		return nil, nil
	}
	return value, err
}

// half is by the definition of IEEE 754 alone, and shares nothing with the decoder under test.
func half(b uint64) float64 {
	sign, exponent, fraction := b>>15, int(b>>10&31), float64(b&1023)
	value := math.Ldexp(fraction, -24)
	switch {
	case exponent == 31 && fraction != 0:
		value = math.NaN()
	case exponent == 31:
		value = math.Inf(1)
	case exponent > 0:
		value = math.Ldexp(1024+fraction, exponent-25)
	}
	if sign == 1 {
		return math.Copysign(value, -1)
	}
	return value
}

func bits(digits string, width int, float func(uint64) float64) (any, error) {
	if len(digits) != width/4 {
		return nil, fmt.Errorf("a float of %d bits has %d digits", width, len(digits))
	}
	raw, err := strconv.ParseUint(digits, 16, width)
	return float(raw), err
}

func (v *Typed) array(items []Typed, times int) []any {
	values := make([]any, 0, len(items)*times)
	for range times {
		for _, item := range items {
			v.Err = errors.Join(v.Err, item.Err)
			values = append(values, item.Value)
		}
	}
	return values
}

func (v *Typed) entries(pairs []keyAndValue) cbor.Map {
	entries := make(cbor.Map, 0, len(pairs))
	for _, pair := range pairs {
		v.Err = errors.Join(v.Err, pair.Value.Err)
		entries = append(entries, cbor.Entry{Key: pair.Key, Value: pair.Value.Value})
	}
	return entries
}

// Broken are the encodings of broken.json.
type Broken struct {
	Cases []struct {
		Hex   Hex
		Parts []struct {
			Hex   Hex
			Times int
		}
		Offset int
		Rule   cbor.Rule
	}
}

// Bytes is the encoding of a case.
func (b Broken) Bytes(index int) []byte {
	each := b.Cases[index]
	whole := []byte(each.Hex)
	for _, part := range each.Parts {
		whole = append(whole, bytes.Repeat(part.Hex, part.Times)...)
	}
	return whole
}
