package main

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// A set of described files is at hand, and has lists of messages, of strings and of numbers.
func files(names ...string) []byte {
	set := &descriptorpb.FileDescriptorSet{}
	for _, name := range names {
		set.File = append(set.File, &descriptorpb.FileDescriptorProto{
			Name:             proto.String(name),
			Dependency:       []string{name + ".import"},
			PublicDependency: []int32{3, 3},
		})
	}
	bytes, err := proto.Marshal(set)
	if err != nil {
		panic(err)
	}
	return bytes
}

func TestMessageChecker(t *testing.T) {
	set := (&descriptorpb.FileDescriptorSet{}).ProtoReflect().Descriptor()
	packed := func(numbers ...uint64) []byte {
		var list []byte
		for _, number := range numbers {
			list = protowire.AppendVarint(list, number)
		}
		file := protowire.AppendBytes(protowire.AppendTag(nil, 10, protowire.BytesType), list)
		return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), file)
	}
	nameTwice := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "a")
	nameTwice = append(nameTwice, nameTwice...)
	twice := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nameTwice)
	for _, row := range []struct {
		name      string
		reply     []byte
		want      expected
		decisions int
		// fails holds part of the error; empty: accepted.
		fails string
	}{
		{"one as expected", files("a"), expected{"file.name", "a"}, 1, ""},
		{"three as expected", files("a", "a", "a"), expected{"file.name", "a"}, 3, ""},
		{"a list in a list", files("a", "a"), expected{"file.dependency", "a.import"}, 2, ""},
		{"numbers of a list", files("a"), expected{"file.public_dependency", "3"}, 2, ""},
		{"packed numbers", packed(3, 3), expected{"file.public_dependency", "3"}, 2, ""},
		{"the last of three is another", files("a", "a", "b"), expected{"file.name", "a"}, 3, "another value"},
		{"one too few", files("a", "a"), expected{"file.name", "a"}, 3, "2 times, not 3"},
		{"one too many", files("a", "a"), expected{"file.name", "a"}, 1, "2 times, not 1"},
		{"nothing at all", nil, expected{"file.name", "a"}, 1, "0 times, not 1"},
		{"a packed number is another", packed(3, 4), expected{"file.public_dependency", "3"}, 2, "another value"},
		{"a longer text", files("ab"), expected{"file.name", "a"}, 1, "another value"},
		{"cut short", files("abc")[:4], expected{"file.name", "abc"}, 1, "no message"},
		{"stands there twice", twice, expected{"file.name", "a"}, 1, "twice"},
	} {
		t.Run(row.name, func(t *testing.T) {
			check, err := messageChecker(set, []expected{row.want}, row.decisions)
			if err != nil {
				t.Fatal(err)
			}
			expectError(t, check(row.reply), row.fails)
		})
	}
}

func TestPathsThatDoNotExist(t *testing.T) {
	set := (&descriptorpb.FileDescriptorSet{}).ProtoReflect().Descriptor()
	for _, want := range []expected{{"fil", "a"}, {"file.name.more", "a"}, {"file", "a"}, {"file.public_dependency", "-1"}} {
		if _, err := messageChecker(set, []expected{want}, 1); err == nil {
			t.Errorf("%v compiles", want)
		}
	}
}

func TestJSONChecker(t *testing.T) {
	for _, row := range []struct {
		name, reply string
		decisions   int
		fails       string
	}{
		{"one", `{"result":true}`, 1, ""},
		{"beside others", `{"decision_id":"1","result":true}`, 1, ""},
		{"a list", `{"result":[true,true]}`, 2, ""},
		{"false", `{"result":false}`, 1, "another value"},
		{"the last is false", `{"result":[true,false]}`, 2, "another value"},
		{"one too few", `{"result":[true]}`, 2, "1 values, not 2"},
		{"undefined", `{}`, 1, "not there"},
		{"null", `{"result":null}`, 1, "another value"},
		{"a string", `{"result":"true"}`, 1, "another value"},
		{"no JSON", `true`, 1, "cannot unmarshal"},
	} {
		t.Run(row.name, func(t *testing.T) {
			check := jsonChecker([]expected{{"result", "true"}}, row.decisions)
			expectError(t, check([]byte(row.reply)), row.fails)
		})
	}
}

func expectError(t *testing.T, err error, part string) {
	t.Helper()
	switch {
	case part == "" && err != nil:
		t.Errorf("refused: %v", err)
	case part != "" && (err == nil || !strings.Contains(err.Error(), part)):
		t.Errorf("got %v, want an error with %q", err, part)
	}
}
