package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// checker looks at one answer. It runs for every call, so it walks the bytes instead of building a message.
type checker func(reply []byte) error

// leaf is an expected value as it stands on the wire.
type leaf struct {
	wire protowire.Type
	// number where wire is VarintType, text where it is BytesType.
	number uint64
	text   []byte
	// isImplicit: a field without presence, absent where it has its zero value.
	isImplicit bool
}

type step struct {
	number   protowire.Number
	isRepeat bool
}

// path is a compiled expectation: the messages on the way, and the field at the end.
type path struct {
	name  string
	steps []step
	leaf  leaf
}

// compilePath resolves names to field numbers once.
func compilePath(message protoreflect.MessageDescriptor, want expected) (*path, error) {
	made := &path{name: want.Path}
	names := strings.Split(want.Path, ".")
	for at, name := range names {
		field := message.Fields().ByName(protoreflect.Name(name))
		if field == nil {
			return nil, fmt.Errorf("%s has no field %q (of %q)", message.FullName(), name, want.Path)
		}
		isRepeat := field.IsList() || field.IsMap()
		made.steps = append(made.steps, step{number: field.Number(), isRepeat: isRepeat})
		if at < len(names)-1 {
			if message = field.Message(); message == nil {
				return nil, fmt.Errorf("%q of %q is no message", name, want.Path)
			}
			continue
		}
		found, err := leafOf(field, want.Value)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", want.Path, err)
		}
		made.leaf = found
	}
	return made, nil
}

func leafOf(field protoreflect.FieldDescriptor, value string) (leaf, error) {
	made := leaf{wire: protowire.VarintType, isImplicit: !field.IsList() && !field.HasPresence()}
	var err error
	switch field.Kind() {
	case protoreflect.StringKind:
		made.wire, made.text = protowire.BytesType, []byte(value)
	case protoreflect.BoolKind:
		var isTrue bool
		isTrue, err = strconv.ParseBool(value)
		made.number = protowire.EncodeBool(isTrue)
	case protoreflect.EnumKind:
		one := field.Enum().Values().ByName(protoreflect.Name(value))
		if one == nil {
			return made, fmt.Errorf("%s has no value %q", field.Enum().FullName(), value)
		}
		made.number = uint64(one.Number())
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Int32Kind, protoreflect.Int64Kind:
		made.number, err = strconv.ParseUint(value, 10, 63)
	default:
		err = fmt.Errorf("a field of kind %s cannot be expected", field.Kind())
	}
	return made, err
}

var errMalformed = errors.New("the answer is no message")

// count walks a message from step `at` on. It returns how many fields at the end of the path have the value; the first
// one that has another is an error.
func (p *path) count(message []byte, at int) (int, error) {
	own := p.steps[at]
	isLast := at == len(p.steps)-1
	found, times := 0, 0
	for len(message) > 0 {
		number, wire, size := protowire.ConsumeTag(message)
		if size < 0 {
			return 0, errMalformed
		}
		message = message[size:]
		if size = protowire.ConsumeFieldValue(number, wire, message); size < 0 {
			return 0, errMalformed
		}
		value := message[:size]
		message = message[size:]
		if number != own.number {
			continue
		}
		if times++; times > 1 && !own.isRepeat {
			return 0, fmt.Errorf("%s stands there twice", p.name)
		}
		if isLast {
			matched, err := p.leaf.match(value, wire, own.isRepeat)
			if err != nil {
				return 0, fmt.Errorf("%s %w", p.name, err)
			}
			found += matched
			continue
		}
		if wire != protowire.BytesType {
			return 0, errMalformed
		}
		inner, _ := protowire.ConsumeBytes(value)
		deeper, err := p.count(inner, at+1)
		if err != nil {
			return 0, err
		}
		found += deeper
	}
	if isLast && times == 0 && p.leaf.isImplicit {
		if p.leaf.number != 0 || len(p.leaf.text) != 0 {
			return 0, fmt.Errorf("%s is not there", p.name)
		}
		return 1, nil
	}
	return found, nil
}

var errOther = errors.New("has another value")

// match compares a field's value; numbers of a list may be packed.
func (l leaf) match(value []byte, wire protowire.Type, isRepeat bool) (int, error) {
	if l.wire == protowire.BytesType {
		text, size := protowire.ConsumeBytes(value)
		if wire != protowire.BytesType || size < 0 || !bytes.Equal(text, l.text) {
			return 0, errOther
		}
		return 1, nil
	}
	if wire == protowire.VarintType {
		if number, _ := protowire.ConsumeVarint(value); number != l.number {
			return 0, errOther
		}
		return 1, nil
	}
	if wire != protowire.BytesType || !isRepeat {
		return 0, errMalformed
	}
	packed, _ := protowire.ConsumeBytes(value)
	found := 0
	for len(packed) > 0 {
		number, size := protowire.ConsumeVarint(packed)
		if size < 0 {
			return 0, errMalformed
		}
		if number != l.number {
			return 0, errOther
		}
		found++
		packed = packed[size:]
	}
	return found, nil
}

// messageChecker wants every path to end in its value once a decision.
func messageChecker(message protoreflect.MessageDescriptor, wanted []expected, decisions int) (checker, error) {
	var paths []*path
	for _, want := range wanted {
		compiled, err := compilePath(message, want)
		if err != nil {
			return nil, err
		}
		paths = append(paths, compiled)
	}
	return func(reply []byte) error {
		for _, one := range paths {
			found, err := one.count(reply, 0)
			if err != nil {
				return err
			}
			if found != decisions {
				return fmt.Errorf("%s stands there %d times, not %d", one.name, found, decisions)
			}
		}
		return nil
	}, nil
}

// jsonChecker wants members of the answer's object to be the values, as JSON text, or lists of one a decision.
func jsonChecker(wanted []expected, decisions int) checker {
	return func(reply []byte) error {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(reply, &members); err != nil {
			return err
		}
		for _, want := range wanted {
			value, ok := members[want.Path]
			if !ok {
				return fmt.Errorf("%s is not there", want.Path)
			}
			values := []json.RawMessage{value}
			if value[0] == '[' {
				if err := json.Unmarshal(value, &values); err != nil {
					return err
				}
			}
			if len(values) != decisions {
				return fmt.Errorf("%s has %d values, not %d", want.Path, len(values), decisions)
			}
			for _, one := range values {
				if string(one) != want.Value {
					return fmt.Errorf("%s %w", want.Path, errOther)
				}
			}
		}
		return nil
	}
}
