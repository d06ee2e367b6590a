// Package cose parses and writes COSE_Sign1 messages (RFC 9052 §4.2) in the profile that Sigil signs: statements over
// records and attestations, and receipts of inclusion (RFC 9942). Each has one encoding; any other is refused. Pure;
// nothing is verified here. Source: docs/spec/record.md §3, docs/spec/ledger.md §3.
package cose

import (
	"crypto/sha256"
	"fmt"

	"sigil.example/go/verify/cbor"
)

const (
	headerAlg         = 1
	headerContentType = 3
	headerKid         = 4
	headerClaims      = 15
	claimIssuer       = 1
	claimSubject      = 2
	algEdDSA          = -8

	taggedSign1 = 6<<5 | 18
	arrayOfFour = 4<<5 | 4
	emptyMap    = 5 << 5
	null        = 0xf6

	kidBytes       = 32
	signatureBytes = 64
)

// Error is the rule that a message breaks, beyond those of canonical CBOR.
type Error struct{ Rule string }

func (e *Error) Error() string { return "malformed COSE_Sign1: " + e.Rule }

func refuse(rule string) error { return &Error{rule} }

// headerMap is a map of exactly so many entries.
func headerMap(value any, entries int) (cbor.HeaderMap, bool) {
	header, ok := value.(cbor.HeaderMap)
	return header, ok && len(header) == entries
}

// nested says of an error within a byte string what it is of: an offset in there means nothing for the whole.
func nested(what string, err error) string {
	if fault, ok := cbor.AsDecodeError(err); ok {
		return fmt.Sprintf("%s at offset %d: %s", what, fault.Offset, fault.Rule)
	}
	return what + ": " + err.Error()
}

// part reads a byte string of a message.
func part(reader *cbor.Reader, rule string) ([]byte, error) {
	value, ok, err := reader.ByteString()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refuse(rule)
	}
	return value, nil
}

// claims reads the issuer and the subject, which are all there is.
func claims(value any) (origin, subject string, ok bool) {
	header, ok := headerMap(value, 2)
	if !ok {
		return "", "", false
	}
	issuer, _ := header.Get(claimIssuer)
	about, _ := header.Get(claimSubject)
	origin, isText := issuer.(string)
	subject, isAlsoText := about.(string)
	return origin, subject, isText && isAlsoText
}

// ToBeSigned is the Sig_structure whose bytes are signed (RFC 9052 §4.4): no external data.
func ToBeSigned(protected, payload []byte) []byte {
	writer := longWriter{}
	writer.head(4, 4)
	writer.text("Signature1")
	writer.bytes(protected)
	writer.bytes(nil)
	writer.bytes(payload)
	return writer.output
}

// longWriter writes heads and strings of parts that were limited before: what surrounds them may pass 1 MiB.
type longWriter struct{ output []byte }

func (w *longWriter) head(major byte, argument int) {
	var head cbor.Writer
	_ = head.Head(major, uint64(argument)) // At most nine bytes, which no limit refuses.
	w.output = append(w.output, head.Bytes()...)
}

func (w *longWriter) bytes(value []byte) {
	w.head(2, len(value))
	w.output = append(w.output, value...)
}

func (w *longWriter) text(value string) {
	w.head(3, len(value))
	w.output = append(w.output, value...)
}

func thumbprint(key cbor.HeaderMap) [32]byte {
	encoded, err := cbor.Encode(key)
	if err != nil {
		panic("a key of fixed members is encodable: " + err.Error())
	}
	return sha256.Sum256(encoded)
}

// Thumbprint is the COSE key thumbprint (RFC 9679) of an Ed25519 public key: the kid of what it signs.
func Thumbprint(publicKey []byte) [32]byte {
	return thumbprint(cbor.HeaderMap{{Key: 1, Value: 1}, {Key: -1, Value: 6}, {Key: -2, Value: publicKey}})
}

// Mldsa44Thumbprint is that of an ML-DSA-44 public key.
func Mldsa44Thumbprint(publicKey []byte) [32]byte {
	return thumbprint(cbor.HeaderMap{{Key: 1, Value: 7}, {Key: 3, Value: -48}, {Key: -1, Value: publicKey}})
}
