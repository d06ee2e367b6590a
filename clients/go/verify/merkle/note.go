package merkle

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	noteBytesMax      = 512 << 10
	noteSignaturesMax = 64
	keyIDBytes        = 4
	signaturePrefix   = "— "
)

// Signature types of C2SP signed-note.
const (
	typeEd25519     = 0x01
	typeCosignature = 0x04
	typeMldsa44     = 0x06
)

// Error is the rule that a note, a checkpoint, a policy or a proof as text breaks.
type Error struct{ Rule string }

func (e *Error) Error() string { return "malformed checkpoint: " + e.Rule }

func refuse(rule string) error { return &Error{rule} }

// NoteSignature is one line. Name and KeyID together name a key and its algorithm.
type NoteSignature struct {
	Name      string
	KeyID     [keyIDBytes]byte
	Signature []byte
}

// Note is a signed note: Text ends in a newline, Signatures include those by unknown keys.
type Note struct {
	Text       string
	Signatures []NoteSignature
}

// SignaturesBy gives the lines that claim to be by that key.
func (n *Note) SignaturesBy(name string, keyID [keyIDBytes]byte) [][]byte {
	var found [][]byte
	for _, line := range n.Signatures {
		if line.Name == name && line.KeyID == keyID {
			found = append(found, line.Signature)
		}
	}
	return found
}

func checkNoteText(text string) error {
	switch {
	case len(text) > noteBytesMax:
		return refuse(fmt.Sprintf("must be at most %d bytes", noteBytesMax))
	case !utf8.ValidString(text):
		return refuse("must be well-formed Unicode")
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' }):
		return refuse("must hold no control character")
	case !strings.HasSuffix(text, "\n"):
		return refuse("must end in a newline")
	default:
		return nil
	}
}

func checkKeyName(name string) error {
	isRefused := func(r rune) bool { return r == '+' || unicode.Is(unicode.White_Space, r) }
	if name == "" || strings.ContainsFunc(name, isRefused) {
		return refuse("a key name must be non-empty, without white space and plus signs")
	}
	return nil
}

// fromBase64 is strict: padded, unused bits zero, and no line breaks, which Go's decoder skips.
func fromBase64(text string) ([]byte, bool) {
	raw, err := base64.StdEncoding.DecodeString(text)
	return raw, err == nil && base64.StdEncoding.EncodeToString(raw) == text
}

func hashFromBase64(text string) (Hash, bool) {
	raw, ok := fromBase64(text)
	if !ok || len(raw) != HashBytes {
		return Hash{}, false
	}
	return Hash(raw), true
}

func parseSignatureLine(line string) (NoteSignature, error) {
	rest, ok := strings.CutPrefix(line, signaturePrefix)
	words := strings.Split(rest, " ")
	if !ok || len(words) != 2 {
		return NoteSignature{}, refuse("a signature line must be an em dash, a key name and base64, one space apart")
	}
	if err := checkKeyName(words[0]); err != nil {
		return NoteSignature{}, err
	}
	blob, ok := fromBase64(words[1])
	if !ok {
		return NoteSignature{}, refuse("a signature must be padded standard base64")
	}
	if len(blob) <= keyIDBytes {
		return NoteSignature{}, refuse("a signature must be a 4-byte key id and at least one byte more")
	}
	return NoteSignature{words[0], [keyIDBytes]byte(blob), blob[keyIDBytes:]}, nil
}

// ParseNote keeps lines of any key and algorithm; a malformed line refuses the note. Nothing is verified.
func ParseNote(note string) (*Note, error) {
	if err := checkNoteText(note); err != nil {
		return nil, err
	}
	blank := strings.LastIndex(note, "\n\n")
	if blank < 0 {
		return nil, refuse("must have a blank line before its signatures")
	}
	lines := strings.Split(note[blank+2:], "\n")
	lines = lines[:len(lines)-1]
	if len(lines) == 0 {
		return nil, refuse("must have at least one signature")
	}
	if len(lines) > noteSignaturesMax {
		return nil, refuse(fmt.Sprintf("must have at most %d signatures", noteSignaturesMax))
	}
	parsed := &Note{Text: note[:blank+1]}
	for _, line := range lines {
		signature, err := parseSignatureLine(line)
		if err != nil {
			return nil, err
		}
		parsed.Signatures = append(parsed.Signatures, signature)
	}
	return parsed, nil
}

// Format writes the note. The result parses back, or there is none.
func (n *Note) Format() (string, error) {
	var text strings.Builder
	text.WriteString(n.Text + "\n")
	for _, line := range n.Signatures {
		blob := base64.StdEncoding.EncodeToString(append(line.KeyID[:], line.Signature...))
		text.WriteString(signaturePrefix + line.Name + " " + blob + "\n")
	}
	if _, err := ParseNote(text.String()); err != nil {
		return "", err
	}
	return text.String(), nil
}

// keyID is H(name ‖ 0x0A ‖ type ‖ public key)[0..4].
func keyID(name string, kind byte, publicKey []byte) [keyIDBytes]byte {
	preimage := bytes.Join([][]byte{[]byte(name), {'\n', kind}, publicKey}, nil)
	digest := sha256.Sum256(preimage)
	return [keyIDBytes]byte(digest[:])
}

// KeyID names a log's Ed25519 key, CosignatureKeyID a cosigner's, Mldsa44KeyID a log's ML-DSA-44 key.
func KeyID(name string, publicKey []byte) [keyIDBytes]byte {
	return keyID(name, typeEd25519, publicKey)
}

// CosignatureKeyID is of a cosigner's Ed25519 key.
func CosignatureKeyID(name string, publicKey []byte) [keyIDBytes]byte {
	return keyID(name, typeCosignature, publicKey)
}

// Mldsa44KeyID is of a log's ML-DSA-44 key.
func Mldsa44KeyID(name string, publicKey []byte) [keyIDBytes]byte {
	return keyID(name, typeMldsa44, publicKey)
}
