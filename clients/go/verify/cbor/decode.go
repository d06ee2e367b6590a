package cbor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// Decode accepts exactly what Encode produces, and refuses anything else with a *DecodeError. Byte strings are copies.
func Decode(input []byte) (any, error) { return DecodeFile(input, BytesMax) }

// DecodeFile is Decode for a file, of which each part is a value of its own: bytesMax in place of BytesMax.
func DecodeFile(input []byte, bytesMax int) (any, error) {
	return decodeAll(input, bytesMax, (*Reader).textMap)
}

// DecodeHeader is Decode for a COSE header: every map is a HeaderMap.
func DecodeHeader(input []byte) (any, error) {
	return decodeAll(input, BytesMax, (*Reader).headerMap)
}

func decodeAll(input []byte, bytesMax int, readMap mapReader) (any, error) {
	reader, err := newReader(input, bytesMax, readMap)
	if err != nil {
		return nil, err
	}
	value, err := reader.Value()
	if err != nil {
		return nil, err
	}
	if err := reader.Done(); err != nil {
		return nil, err
	}
	return value, nil
}

type mapReader func(reader *Reader, start int, info byte) (any, error)

// Reader takes items one after the other: for messages such as COSE_Sign1, which hold a tag and byte strings.
type Reader struct {
	input   []byte
	at      int
	depth   int
	readMap mapReader
}

func newReader(input []byte, bytesMax int, readMap mapReader) (*Reader, error) {
	if len(input) > bytesMax {
		if bytesMax == BytesMax {
			return nil, &DecodeError{0, TooLong}
		}
		return nil, &DecodeError{0, Rule(fmt.Sprintf("input is longer than %d bytes", bytesMax))}
	}
	return &Reader{input: input, readMap: readMap}, nil
}

// NewHeaderReader reads a message in whose maps keys may be integers.
func NewHeaderReader(input []byte) (*Reader, error) {
	return newReader(input, BytesMax, (*Reader).headerMap)
}

func refuse(offset int, rule Rule) error { return &DecodeError{offset, rule} }

func (r *Reader) left() int { return len(r.input) - r.at }

// Done requires the end of input.
func (r *Reader) Done() error {
	if r.left() > 0 {
		return refuse(r.at, Trailing)
	}
	return nil
}

// Take consumes the next byte if it is the expected one.
func (r *Reader) Take(expected byte) bool {
	if r.left() == 0 || r.input[r.at] != expected {
		return false
	}
	r.at++
	return true
}

// ByteString reads a byte string, copied; ok is false if the next item is something else.
func (r *Reader) ByteString() (value []byte, ok bool, err error) {
	start := r.at
	if r.left() == 0 {
		return nil, false, refuse(start, Truncated)
	}
	initial := r.input[start]
	if initial>>5 != majorBytes {
		return nil, false, nil
	}
	r.at++
	value, err = r.span(start, initial&31)
	return bytes.Clone(value), err == nil, err
}

const (
	majorUnsigned = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
)

// Value reads one item.
func (r *Reader) Value() (any, error) {
	start := r.at
	if r.left() == 0 {
		return nil, refuse(start, Truncated)
	}
	initial := r.input[start]
	r.at++
	info := initial & 31
	switch initial >> 5 {
	case majorUnsigned:
		argument, err := r.argument(start, info)
		if err != nil {
			return nil, err
		}
		return integer(argument), nil
	case majorNegative:
		return r.negative(start, info)
	case majorBytes:
		value, err := r.span(start, info)
		if err != nil {
			return nil, err
		}
		return append([]byte{}, value...), nil
	case majorText:
		return r.text(start, info)
	case majorArray:
		return r.array(start, info)
	case majorMap:
		return r.readMap(r, start, info)
	case majorTag:
		return nil, refuse(start, Tagged)
	default:
		return r.simple(start, info)
	}
}

func integer(argument uint64) any {
	if argument > math.MaxInt64 {
		return argument
	}
	return int64(argument)
}

func (r *Reader) negative(start int, info byte) (any, error) {
	argument, err := r.argument(start, info)
	if err != nil {
		return nil, err
	}
	if argument > math.MaxInt64 {
		return nil, refuse(start, BelowRange)
	}
	return -1 - int64(argument), nil
}

// argument reads what follows the head, which must be in its shortest form.
func (r *Reader) argument(start int, info byte) (uint64, error) {
	if info < 24 {
		return uint64(info), nil
	}
	if info == 31 {
		return 0, refuse(start, Indefinite)
	}
	if info > 27 {
		return 0, refuse(start, Reserved)
	}
	width := 1 << (info - 24)
	if width > r.left() {
		return 0, refuse(start, Truncated)
	}
	var padded [8]byte
	copy(padded[8-width:], r.input[r.at:r.at+width])
	r.at += width
	argument := binary.BigEndian.Uint64(padded[:])
	if headBytes(argument) != 1+width {
		return 0, refuse(start, NotShortest)
	}
	return argument, nil
}

// headBytes is the length of the shortest head with that argument.
func headBytes(argument uint64) int {
	switch {
	case argument < 24:
		return 1
	case argument <= math.MaxUint8:
		return 2
	case argument <= math.MaxUint16:
		return 3
	case argument <= math.MaxUint32:
		return 5
	default:
		return 9
	}
}

// span reads the length and the bytes of a string, not copied: the input is known to hold them.
func (r *Reader) span(start int, info byte) ([]byte, error) {
	length, err := r.argument(start, info)
	if err != nil {
		return nil, err
	}
	if length > uint64(r.left()) {
		return nil, refuse(start, Truncated)
	}
	from := r.at
	r.at += int(length)
	return r.input[from:r.at], nil
}

func (r *Reader) text(start int, info byte) (string, error) {
	raw, err := r.span(start, info)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(raw) {
		return "", refuse(start, NotUTF8)
	}
	return string(raw), nil
}

// enter goes into a container. Its count is compared with what is left before anything is allocated for it.
func (r *Reader) enter(start int, info byte, entryBytes int) (int, error) {
	count, err := r.argument(start, info)
	if err != nil {
		return 0, err
	}
	if count > EntriesMax {
		return 0, refuse(start, TooMany)
	}
	if int(count)*entryBytes > r.left() {
		return 0, refuse(start, Truncated)
	}
	if r.depth >= DepthMax {
		return 0, refuse(start, TooDeep)
	}
	r.depth++
	return int(count), nil
}

func (r *Reader) array(start int, info byte) (any, error) {
	count, err := r.enter(start, info, 1)
	if err != nil {
		return nil, err
	}
	values := make([]any, 0, count)
	for range count {
		value, err := r.Value()
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	r.depth--
	return values, nil
}

func (r *Reader) textMap(start int, info byte) (any, error) {
	count, err := r.enter(start, info, 2)
	if err != nil {
		return nil, err
	}
	entries := make(Map, 0, count)
	var before []byte
	for range count {
		key, encoded, err := r.key(isTextKey, before)
		if err != nil {
			return nil, err
		}
		value, err := r.Value()
		if err != nil {
			return nil, err
		}
		entries = append(entries, Entry{key.(string), value})
		before = encoded
	}
	r.depth--
	return entries, nil
}

func (r *Reader) headerMap(start int, info byte) (any, error) {
	count, err := r.enter(start, info, 2)
	if err != nil {
		return nil, err
	}
	entries := make(HeaderMap, 0, count)
	var before []byte
	for range count {
		key, encoded, err := r.key(isHeaderKey, before)
		if err != nil {
			return nil, err
		}
		value, err := r.Value()
		if err != nil {
			return nil, err
		}
		entries = append(entries, HeaderEntry{key, value})
		before = encoded
	}
	r.depth--
	return entries, nil
}

func isTextKey(major byte) bool { return major == majorText }

func isHeaderKey(major byte) bool {
	return major == majorText || major == majorUnsigned || major == majorNegative
}

// key reads a key, which must sort after the encoded one before it, if there is one.
func (r *Reader) key(isAllowed func(major byte) bool, before []byte) (key any, encoded []byte, err error) {
	start := r.at
	if r.left() == 0 {
		return nil, nil, refuse(start, Truncated)
	}
	if !isAllowed(r.input[start] >> 5) {
		return nil, nil, refuse(start, KeyType)
	}
	if key, err = r.Value(); err != nil {
		return nil, nil, err
	}
	encoded = r.input[start:r.at]
	if before == nil {
		return key, encoded, nil
	}
	switch order := bytes.Compare(encoded, before); {
	case order < 0:
		return nil, nil, refuse(start, KeyOrder)
	case order == 0:
		return nil, nil, refuse(start, KeyTwice)
	}
	return key, encoded, nil
}

func (r *Reader) simple(start int, info byte) (any, error) {
	switch info {
	case 20:
		return false, nil
	case 21:
		return true, nil
	case 22:
		return nil, nil
	case 25, 26, 27:
		return r.float(start, 1<<(info-24))
	case 28, 29, 30:
		return nil, refuse(start, Reserved)
	case 31:
		return nil, refuse(start, Indefinite)
	default:
		return nil, refuse(start, Simple)
	}
}

func (r *Reader) float(start, width int) (any, error) {
	if width > r.left() {
		return nil, refuse(start, Truncated)
	}
	raw := r.input[r.at : r.at+width]
	r.at += width
	var value float64
	switch width {
	case 2:
		value = halfValue(binary.BigEndian.Uint16(raw))
	case 4:
		value = float64(math.Float32frombits(binary.BigEndian.Uint32(raw)))
	default:
		value = math.Float64frombits(binary.BigEndian.Uint64(raw))
	}
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return nil, refuse(start, NotFinite)
	}
	if isSafeInteger(value) {
		return nil, refuse(start, IntegralFloat)
	}
	if _, isHalf := halfBits(value); isHalf && width > 2 {
		return nil, refuse(start, LongFloat)
	}
	if isSingle(value) && width > 4 {
		return nil, refuse(start, LongFloat)
	}
	return value, nil
}
