package cbor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Encode gives the one encoding of a value, or a *EncodeError.
func Encode(value any) ([]byte, error) { return EncodeFile(value, BytesMax) }

// EncodeFile is Encode for a file: bytesMax in place of BytesMax.
func EncodeFile(value any, bytesMax int) ([]byte, error) {
	writer := Writer{bytesMax: bytesMax}
	if err := writer.Value(value); err != nil {
		return nil, err
	}
	return writer.Bytes(), nil
}

// Writer writes items one after the other. The zero value is ready, and writes at most BytesMax bytes.
type Writer struct {
	output   []byte
	bytesMax int
	depth    int
	path     []string
}

// Bytes is what was written.
func (w *Writer) Bytes() []byte { return w.output }

func (w *Writer) refuse(rule string) error {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	pointer := ""
	for _, step := range w.path {
		pointer += "/" + escape.Replace(step)
	}
	return &EncodeError{pointer, rule}
}

func (w *Writer) append(written ...byte) error {
	bytesMax := w.bytesMax
	if bytesMax == 0 {
		bytesMax = BytesMax
	}
	if len(w.output)+len(written) > bytesMax {
		return w.refuse(fmt.Sprintf("is longer than %d bytes", bytesMax))
	}
	w.output = append(w.output, written...)
	return nil
}

// Head writes a major type and an argument in its shortest form.
func (w *Writer) Head(major byte, argument uint64) error {
	var wide [8]byte
	binary.BigEndian.PutUint64(wide[:], argument)
	kind := major << 5
	switch headBytes(argument) {
	case 1:
		return w.append(kind | byte(argument))
	case 2:
		return w.append(kind|24, wide[7])
	case 3:
		return w.append(append([]byte{kind | 25}, wide[6:]...)...)
	case 5:
		return w.append(append([]byte{kind | 26}, wide[4:]...)...)
	default:
		return w.append(append([]byte{kind | 27}, wide[:]...)...)
	}
}

// Value writes one item.
func (w *Writer) Value(value any) error {
	switch typed := value.(type) {
	case nil:
		return w.append(0xf6)
	case bool:
		if typed {
			return w.append(0xf5)
		}
		return w.append(0xf4)
	case int:
		return w.integer(int64(typed))
	case int64:
		return w.integer(typed)
	case uint64:
		return w.Head(majorUnsigned, typed)
	case float64:
		return w.float(typed)
	case string:
		return w.text(typed)
	case []byte:
		return w.byteString(typed)
	case []any:
		return w.array(typed)
	case Map:
		return w.textMap(typed)
	case HeaderMap:
		return w.headerMap(typed)
	default:
		return w.refuse(fmt.Sprintf("%T has no encoding", value))
	}
}

func (w *Writer) integer(value int64) error {
	if value < 0 {
		return w.Head(majorNegative, uint64(-1-value))
	}
	return w.Head(majorUnsigned, uint64(value))
}

func (w *Writer) float(value float64) error {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return w.refuse("NaN and infinities have no encoding")
	}
	if isSafeInteger(value) {
		return w.integer(int64(value)) // Minus zero becomes 0.
	}
	if half, exact := halfBits(value); exact {
		return w.append(0xf9, byte(half>>8), byte(half))
	}
	if isSingle(value) {
		return w.append(binary.BigEndian.AppendUint32([]byte{0xfa}, math.Float32bits(float32(value)))...)
	}
	return w.append(binary.BigEndian.AppendUint64([]byte{0xfb}, math.Float64bits(value))...)
}

func (w *Writer) text(value string) error {
	if !utf8.ValidString(value) {
		return w.refuse("text is not UTF-8")
	}
	if err := w.Head(majorText, uint64(len(value))); err != nil {
		return err
	}
	return w.append([]byte(value)...)
}

func (w *Writer) byteString(value []byte) error {
	if err := w.Head(majorBytes, uint64(len(value))); err != nil {
		return err
	}
	return w.append(value...)
}

func (w *Writer) enter(major byte, entries int) error {
	if w.depth >= DepthMax {
		return w.refuse(fmt.Sprintf("is nested deeper than %d", DepthMax))
	}
	if entries > EntriesMax {
		return w.refuse(fmt.Sprintf("has more than %d entries", EntriesMax))
	}
	w.depth++
	return w.Head(major, uint64(entries))
}

// within writes a part of the container that was entered. An error keeps the path that led to it.
func (w *Writer) within(step string, value any) error {
	w.path = append(w.path, step)
	if err := w.Value(value); err != nil {
		return err
	}
	w.path = w.path[:len(w.path)-1]
	return nil
}

func (w *Writer) array(values []any) error {
	if err := w.enter(majorArray, len(values)); err != nil {
		return err
	}
	for index, value := range values {
		if err := w.within(strconv.Itoa(index), value); err != nil {
			return err
		}
	}
	w.depth--
	return nil
}

// keyed is an entry with its key as it is written, which determines its place.
type keyed struct {
	encoded []byte
	name    string
	value   any
}

func (w *Writer) textMap(entries Map) error {
	sorted := make([]keyed, 0, len(entries))
	for _, entry := range entries {
		item, err := w.keyedBy(entry.Key, entry.Key, entry.Value)
		if err != nil {
			return err
		}
		sorted = append(sorted, item)
	}
	return w.sortedMap(sorted)
}

func (w *Writer) headerMap(entries HeaderMap) error {
	sorted := make([]keyed, 0, len(entries))
	for _, entry := range entries {
		switch entry.Key.(type) {
		case int, int64, uint64, string:
		default:
			return w.refuse("key must be an integer or text")
		}
		item, err := w.keyedBy(entry.Key, fmt.Sprint(entry.Key), entry.Value)
		if err != nil {
			return err
		}
		sorted = append(sorted, item)
	}
	return w.sortedMap(sorted)
}

func (w *Writer) keyedBy(key any, name string, value any) (keyed, error) {
	aside := Writer{path: append(slices.Clone(w.path), name)}
	if err := aside.Value(key); err != nil {
		return keyed{}, err
	}
	return keyed{aside.Bytes(), name, value}, nil
}

func (w *Writer) sortedMap(entries []keyed) error {
	if err := w.enter(majorMap, len(entries)); err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b keyed) int { return bytes.Compare(a.encoded, b.encoded) })
	for index, entry := range entries {
		if index > 0 && bytes.Equal(entries[index-1].encoded, entry.encoded) {
			w.path = append(w.path, entry.name)
			return w.refuse("key occurs twice")
		}
		if err := w.append(entry.encoded...); err != nil {
			return err
		}
		if err := w.within(entry.name, entry.value); err != nil {
			return err
		}
	}
	w.depth--
	return nil
}
