// Command redact takes the e-mail addresses out of a text: {"text":"Ask ada@example.com"} in,
// {"text":"Ask [e-mail]","redacted":1} and a newline out. The same tool stands in ../assemblyscript and ../rust; all three
// give the same bytes.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

type output struct {
	Text     string `json:"text"`
	Redacted int    `json:"redacted"`
}

func isAlphanumeric(b byte) bool {
	return b >= '0' && b <= '9' || b|32 >= 'a' && b|32 <= 'z'
}

func isLocal(b byte) bool {
	return isAlphanumeric(b) || strings.IndexByte("._%+-", b) >= 0
}

func isDomain(b byte) bool {
	return isAlphanumeric(b) || b == '.' || b == '-'
}

// endOfDomain gives the end of the domain that begins at from, without a full stop or hyphen at its end; -1 without a dot
// inside.
func endOfDomain(text string, from int) int {
	end := from
	for end < len(text) && isDomain(text[end]) {
		end++
	}
	for end > from && !isAlphanumeric(text[end-1]) {
		end--
	}
	if end == from || text[from] == '.' || !strings.Contains(text[from:end], ".") {
		return -1
	}
	return end
}

// redact gives the text with [e-mail] for each address, and how many there were.
func redact(text string) (string, int) {
	var kept strings.Builder
	copied, redacted := 0, 0
	for at := 0; at < len(text); at++ {
		if text[at] != '@' {
			continue
		}
		start := at
		for start > copied && isLocal(text[start-1]) {
			start--
		}
		end := endOfDomain(text, at+1)
		if start == at || end < 0 {
			continue
		}
		kept.WriteString(text[copied:start])
		kept.WriteString("[e-mail]")
		redacted++
		copied = end
		at = end - 1
	}
	kept.WriteString(text[copied:])
	return kept.String(), redacted
}

func run() error {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	text, err := readOnlyMember("text", input)
	if err != nil {
		return err
	}
	text, redacted := redact(text)
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(output{Text: text, Redacted: redacted})
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
