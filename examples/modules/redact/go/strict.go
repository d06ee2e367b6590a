package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

var errShape = errors.New("the input is not a JSON object with the one member that is asked for")

// readOnlyMember gives the value of the only member of the object in input. encoding/json reads more than that: it takes
// a member twice, null for a string, and puts U+FFFD for what is no Unicode. So the tokens are looked at one by one.
func readOnlyMember(name string, input []byte) (string, error) {
	if !utf8.Valid(input) || hasLoneSurrogate(input) {
		return "", errors.New("the input is not Unicode")
	}
	if !json.Valid(input) {
		return "", errors.New("the input is not JSON")
	}
	decoder := json.NewDecoder(bytes.NewReader(input))
	var tokens []json.Token
	for len(tokens) <= 4 {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
		tokens = append(tokens, token)
	}
	if len(tokens) != 4 || tokens[0] != json.Delim('{') || tokens[1] != name || tokens[3] != json.Delim('}') {
		return "", errShape
	}
	text, isString := tokens[2].(string)
	if !isString {
		return "", errShape
	}
	return text, nil
}

// hasLoneSurrogate looks through the escapes of a JSON text for a \ud800 … \udfff without its other half.
func hasLoneSurrogate(input []byte) bool {
	for at := 0; at < len(input); at++ {
		if input[at] != '\\' {
			continue
		}
		first := escaped(input[at:])
		if !utf16.IsSurrogate(first) {
			at++
			continue
		}
		if len(input) < at+6 || utf16.DecodeRune(first, escaped(input[at+6:])) == utf8.RuneError {
			return true
		}
		at += 11
	}
	return false
}

// escaped gives the code unit of the \uXXXX that input begins with, 0 if it begins with anything else.
func escaped(input []byte) rune {
	if len(input) < 6 || input[0] != '\\' || input[1] != 'u' {
		return 0
	}
	unit, err := strconv.ParseUint(string(input[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(unit)
}
