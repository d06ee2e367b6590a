// Package record reads record bodies, payloads of every kind, envelopes, attestations and disclosures, and checks each
// field by the rules of docs/spec/record.md §2 to §7. Pure; no signature is verified here.
package record

import (
	"fmt"
	"slices"
	"strings"

	"sigil.example/go/verify/cbor"
)

// Error is a field that breaks a rule. Field is its dotted path, indexes in brackets.
type Error struct{ Field, Rule string }

func (e *Error) Error() string { return "malformed record: " + e.Field + " " + e.Rule }

// Hash is SHA-256.
type Hash = [32]byte

// reading remembers the first rule that is broken, after which everything reads as nothing: so that checks stand one
// under the other in the order of the specification, and a caller looks once.
type reading struct{ fault *Error }

func (r *reading) refuse(path, name, rule string) {
	if r.fault != nil {
		return
	}
	field := path + "." + name
	switch {
	case path == "":
		field = name
	case name == "":
		field = path
	}
	r.fault = &Error{field, rule}
}

func (r *reading) err() error {
	if r.fault == nil {
		return nil
	}
	return r.fault
}

// fields is a map that is read; path names the map itself.
type fields struct {
	*reading
	path string
	m    cbor.Map
}

// anyMap is a map of any keys. found is false where there is no value.
func (r *reading) anyMap(value any, found bool, path string) fields {
	typed, isMap := value.(cbor.Map)
	switch {
	case !found:
		r.refuse(path, "", "is missing")
	case !isMap:
		r.refuse(path, "", "must be a map")
	}
	return fields{r, path, typed}
}

// mapOf is a map with all of keys, any of optional, and nothing else.
func (r *reading) mapOf(value any, found bool, path string, keys []string, optional ...string) fields {
	read := r.anyMap(value, found, path)
	if r.fault != nil {
		return read
	}
	for _, key := range keys {
		if !read.m.Has(key) {
			r.refuse(path, key, "is missing")
		}
	}
	for _, entry := range read.m {
		if !slices.Contains(keys, entry.Key) && !slices.Contains(optional, entry.Key) {
			r.refuse(path, entry.Key, "is not a field of this kind")
		}
	}
	return read
}

func words(text string) []string { return strings.Fields(text) }

func (f fields) at(name string) string {
	if f.path == "" {
		return name
	}
	return f.path + "." + name
}

func (f fields) get(name string) any {
	value, _ := f.m.Get(name)
	return value
}

func (f fields) no(name, rule string) { f.refuse(f.path, name, rule) }

// inner is the map under a name.
func (f fields) inner(name string, keys []string, optional ...string) fields {
	value, found := f.m.Get(name)
	return f.mapOf(value, found, f.at(name), keys, optional...)
}

func (f fields) isNull(name string) bool {
	value, found := f.m.Get(name)
	return found && value == nil
}

func (f fields) anyText(name string) string {
	text, ok := f.get(name).(string)
	if !ok {
		f.no(name, "must be text")
	}
	return text
}

func (f fields) text(name string) string {
	text := f.anyText(name)
	if text == "" {
		f.no(name, "must not be empty")
	}
	return text
}

func (f fields) shortText(name string, bytesMax int) string {
	text := f.text(name)
	if len(text) > bytesMax {
		f.no(name, fmt.Sprintf("must be at most %d bytes", bytesMax))
	}
	return text
}

func (f fields) oneOf(name string, choices ...string) string {
	text, ok := f.get(name).(string)
	if !ok || !slices.Contains(choices, text) {
		f.no(name, "must be one of "+strings.Join(choices, ", "))
	}
	return text
}

func (f fields) boolean(name string) bool {
	value, ok := f.get(name).(bool)
	if !ok {
		f.no(name, "must be true or false")
	}
	return value
}

// asNumber is a double. Integers beyond ±(2⁵³−1) are none: doubles do not hold them.
func asNumber(value any) (float64, bool) {
	switch typed := value.(type) {
	case int64:
		return float64(typed), typed >= -cbor.SafeMax && typed <= cbor.SafeMax
	case float64:
		return typed, true
	default:
		return 0, false
	}
}

func (f fields) number(name string) float64 {
	number, ok := asNumber(f.get(name))
	if !ok {
		f.no(name, "must be a number")
	}
	return number
}

func (f fields) numberOrNull(name string) *float64 {
	if f.isNull(name) {
		return nil
	}
	number := f.number(name)
	return &number
}

func (f fields) share(name string) float64 {
	number := f.number(name)
	if number < 0 || number > 1 {
		f.no(name, "must be from 0 to 1")
	}
	return number
}

func (f fields) uintWithin(name string, least, most int64) uint64 {
	value, ok := f.get(name).(int64)
	if !ok || value < least || value > most {
		f.no(name, fmt.Sprintf("must be an integer from %d to %d", least, most))
	}
	return uint64(value)
}

func (f fields) uint(name string) uint64 { return f.uintWithin(name, 0, cbor.SafeMax) }

func (f fields) uintFrom1(name string) uint64 { return f.uintWithin(name, 1, cbor.SafeMax) }

// uint64 is a position or another count of 64 bits.
func (f fields) uint64(name string) uint64 {
	switch typed := f.get(name).(type) {
	case uint64:
		return typed
	case int64:
		if typed >= 0 {
			return uint64(typed)
		}
	}
	f.no(name, "must be an integer from 0 to 2^64-1")
	return 0
}

func (f fields) bytes(name string) []byte {
	value, ok := f.get(name).([]byte)
	if !ok {
		f.no(name, "must be a byte string")
	}
	return value
}

func (f fields) someBytes(name string) []byte {
	value := f.bytes(name)
	if len(value) == 0 {
		f.no(name, "must not be empty")
	}
	return value
}

func (f fields) hash(name string) Hash {
	value := f.bytes(name)
	if len(value) != len(Hash{}) {
		f.no(name, "must be 32 bytes")
		return Hash{}
	}
	return Hash(value)
}

func (f fields) hashOrNull(name string) *Hash {
	if f.isNull(name) {
		return nil
	}
	hash := f.hash(name)
	return &hash
}

// list is at most so many items; each is read as the field "item" of a map whose path is that of the item.
func list[Item any](f fields, name string, most int, read func(item fields) Item) []Item {
	values, ok := f.get(name).([]any)
	if !ok {
		f.no(name, "must be a list")
		return nil
	}
	if len(values) > most {
		f.no(name, fmt.Sprintf("must have at most %d items", most))
		return nil
	}
	items := make([]Item, 0, len(values))
	for index, value := range values {
		path := fmt.Sprintf("%s[%d]", f.at(name), index)
		items = append(items, read(fields{f.reading, path, cbor.Map{{Key: itemKey, Value: value}}}))
	}
	return items
}

const itemKey = "item"

// itemMap is the item as a map.
func (f fields) itemMap(keys []string) fields { return f.mapOf(f.get(itemKey), true, f.path, keys) }

func textItem(f fields) string {
	text, ok := f.get(itemKey).(string)
	if !ok || text == "" {
		f.no("", "must be non-empty text")
	}
	return text
}

// keyItem is a public key in a list.
func keyItem(f fields) []byte {
	key, ok := f.get(itemKey).([]byte)
	if !ok || len(key) != ed25519KeyBytes {
		f.no("", "must be a byte string of 32 bytes")
	}
	return key
}

// hashItem is a hash in a list.
func hashItem(f fields) Hash { return f.hash(itemKey) }

// Named is an entry of a table, in the order of the encoding.
type Named[Value any] struct {
	Name  string
	Value Value
}

// Table is a map from any text to values of one type.
type Table[Value any] []Named[Value]

// Get returns the value of a name.
func (t Table[Value]) Get(name string) (value Value, found bool) {
	for _, entry := range t {
		if entry.Name == name {
			return entry.Value, true
		}
	}
	return value, false
}

func table[Value any](f fields, name string, read func(entries fields, key string) Value) Table[Value] {
	value, found := f.m.Get(name)
	entries := f.anyMap(value, found, f.at(name))
	taken := make(Table[Value], 0, len(entries.m))
	for _, entry := range entries.m {
		taken = append(taken, Named[Value]{entry.Key, read(entries, entry.Key)})
	}
	return taken
}

func (f fields) numbers(name string) Table[float64] { return table(f, name, fields.number) }

func (f fields) texts(name string) Table[string] { return table(f, name, fields.anyText) }

// distinct refuses a list that has an item twice.
func distinct[Item comparable](f fields, name string, items []Item, rule string) {
	seen := make(map[Item]bool, len(items))
	for _, item := range items {
		if seen[item] {
			f.refuse(f.at(name), "", rule)
		}
		seen[item] = true
	}
}

// keyNames makes keys comparable.
func keyNames(keys [][]byte) []string {
	names := make([]string, 0, len(keys))
	for _, key := range keys {
		names = append(names, string(key))
	}
	return names
}
