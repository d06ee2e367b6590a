package merkle

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"sigil.example/go/verify/internal/sig"
)

// Checkpoint is a tree head, C2SP tlog-checkpoint.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   Hash
	// Extensions are opaque lines of other logs, none empty. Sigil writes none.
	Extensions []string
}

// Log is the log that a reader trusts: known beforehand, never taken from the note.
type Log struct {
	Origin    string
	PublicKey []byte
	// Mldsa44Key is nil unless the log is known to have such a key. A note need not have a line by it.
	Mldsa44Key []byte
}

func isDecimal(text string) bool {
	if text == "0" {
		return true
	}
	return text != "" && text[0] != '0' && strings.Trim(text, "0123456789") == ""
}

func parseSize(text string) (uint64, error) {
	if !isDecimal(text) {
		return 0, refuse("size must be decimal without leading zeroes")
	}
	size, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, refuse("size must be a uint64")
	}
	return size, nil
}

// ParseCheckpoint parses the unsigned text. Format gives it back.
func ParseCheckpoint(text string) (*Checkpoint, error) {
	if err := checkNoteText(text); err != nil {
		return nil, err
	}
	lines := strings.Split(text[:len(text)-1], "\n")
	if len(lines) < 3 {
		return nil, refuse("must have an origin, a size and a root line")
	}
	if lines[0] == "" {
		return nil, refuse("origin must not be empty")
	}
	size, err := parseSize(lines[1])
	if err != nil {
		return nil, err
	}
	root, ok := hashFromBase64(lines[2])
	if !ok {
		return nil, refuse("root must be padded standard base64 of 32 bytes")
	}
	if slices.Contains(lines[3:], "") {
		return nil, refuse("an extension line must not be empty")
	}
	return &Checkpoint{lines[0], size, root, slices.Clone(lines[3:])}, nil
}

// Format is the unsigned text, with its last newline.
func (c *Checkpoint) Format() string {
	lines := []string{c.Origin, strconv.FormatUint(c.Size, 10), base64.StdEncoding.EncodeToString(c.Root[:])}
	return strings.Join(append(lines, c.Extensions...), "\n") + "\n"
}

// Signed is a note that is parsed, and its checkpoint. Nothing is verified yet.
type Signed struct {
	Note       *Note
	Checkpoint *Checkpoint
}

// ParseSigned parses a note and the checkpoint that it is over.
func ParseSigned(note string) (*Signed, error) {
	parsed, err := ParseNote(note)
	if err != nil {
		return nil, err
	}
	checkpoint, err := ParseCheckpoint(parsed.Text)
	if err != nil {
		return nil, err
	}
	return &Signed{parsed, checkpoint}, nil
}

// VerifyCheckpoint verifies a note and returns its checkpoint. Lines by other keys are ignored; each that names a key
// of this log must verify, and one by its Ed25519 key must be there.
func VerifyCheckpoint(note string, log Log) (*Checkpoint, error) {
	signed, err := ParseSigned(note)
	if err != nil {
		return nil, err
	}
	if err := signed.VerifyBy(log); err != nil {
		return nil, err
	}
	return signed.Checkpoint, nil
}

// VerifyBy verifies the log's lines.
func (s *Signed) VerifyBy(log Log) error {
	if s.Checkpoint.Origin != log.Origin {
		return refuse("origin must be the one expected")
	}
	if err := checkKeyName(log.Origin); err != nil {
		return err
	}
	own := s.Note.SignaturesBy(log.Origin, KeyID(log.Origin, log.PublicKey))
	if len(own) == 0 {
		return refuse("must be signed by the log's key")
	}
	for _, signature := range own {
		if len(signature) != sig.SignatureBytes {
			return refuse("an Ed25519 signature must be 64 bytes")
		}
		if !sig.Verify(log.PublicKey, []byte(s.Note.Text), signature) {
			return refuse("the signature must verify")
		}
	}
	if log.Mldsa44Key == nil {
		return nil
	}
	return s.verifySubtreeLines(log.Mldsa44Key)
}

// SubtreeLines gives the lines that claim to be by the log's ML-DSA-44 key; there may be none.
func (s *Signed) SubtreeLines(publicKey []byte) [][]byte {
	origin := s.Checkpoint.Origin
	return s.Note.SignaturesBy(origin, Mldsa44KeyID(origin, publicKey))
}

const (
	timeBytes       = 8
	subtreeLabel    = "subtree/v1\n\x00"
	subtreeNameMax  = math.MaxUint8
	cosignatureName = "cosignature/v1"
)

// verifySubtreeLines verifies each line that names the ML-DSA-44 key. C2SP tlog-cosignature, type 0x06.
func (s *Signed) verifySubtreeLines(publicKey []byte) error {
	for _, blob := range s.SubtreeLines(publicKey) {
		if len(s.Checkpoint.Extensions) > 0 {
			return refuse("a checkpoint with extension lines must have no ML-DSA-44 signature")
		}
		if len(blob) != timeBytes+sig.Mldsa44SignatureBytes {
			return refuse("an ML-DSA-44 signature with its time must be 2,428 bytes")
		}
		message, err := s.Checkpoint.subtreeMessage(binary.BigEndian.Uint64(blob))
		if err != nil {
			return err
		}
		if !sig.VerifyMldsa44(publicKey, message, blob[timeBytes:]) {
			return refuse("the ML-DSA-44 signature must verify")
		}
	}
	return nil
}

func (c *Checkpoint) subtreeMessage(timeSeconds uint64) ([]byte, error) {
	if timeSeconds > math.MaxInt64 {
		return nil, refuse("a time under ML-DSA-44 must be below 2^63 seconds")
	}
	if len(c.Origin) > subtreeNameMax {
		return nil, refuse(fmt.Sprintf("an origin under ML-DSA-44 has at most %d bytes", subtreeNameMax))
	}
	name := append([]byte{byte(len(c.Origin))}, c.Origin...)
	message := slices.Concat([]byte(subtreeLabel), name, u64be(timeSeconds), name, u64be(0), u64be(c.Size))
	return append(message, c.Root[:]...), nil
}

func u64be(value uint64) []byte { return binary.BigEndian.AppendUint64(nil, value) }

// Cosigner is a witness whose key is known beforehand.
type Cosigner struct {
	Name      string
	PublicKey []byte
}

// CosignerName is the key name under which a witness of a deployment cosigns.
func CosignerName(origin, witness string) string { return origin + "/witness/" + witness }

// VerifyCosignature verifies every line that names the cosigner's key, and gives the newest time that they state, in
// seconds. C2SP tlog-cosignature, version 1.
func (s *Signed) VerifyCosignature(by Cosigner) (timeSeconds uint64, err error) {
	lines := s.cosignatures(by)
	if len(lines) == 0 {
		return 0, refuse("must be cosigned by the witness's key")
	}
	for _, blob := range lines {
		if len(blob) != timeBytes+sig.SignatureBytes {
			return 0, refuse("a cosignature must be 72 bytes")
		}
		stated := binary.BigEndian.Uint64(blob)
		if stated > math.MaxInt64 {
			return 0, refuse("a cosignature's time must be below 2^63 seconds")
		}
		message := fmt.Appendf(nil, "%s\ntime %d\n%s", cosignatureName, stated, s.Note.Text)
		if !sig.Verify(by.PublicKey, message, blob[timeBytes:]) {
			return 0, refuse("the cosignature must verify")
		}
		timeSeconds = max(timeSeconds, stated)
	}
	return timeSeconds, nil
}

func (s *Signed) cosignatures(by Cosigner) [][]byte {
	return s.Note.SignaturesBy(by.Name, CosignatureKeyID(by.Name, by.PublicKey))
}
