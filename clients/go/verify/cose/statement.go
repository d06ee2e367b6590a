package cose

import "sigil.example/go/verify/cbor"

// Content types of statements.
const (
	RecordContentType      = "application/vnd.sigil.record.v1+cbor"
	AttestationContentType = "application/vnd.sigil.attestation.v1+cbor"
)

// Header is the content of a protected header. Subject is `<tenant>/<space>/<id>`, or a proposal's id in an
// attestation.
type Header struct {
	ContentType string
	Kid         [32]byte
	Origin      string
	Subject     string
}

// Statement is a parsed statement. Protected and Payload are the bytes that were signed.
type Statement struct {
	Header
	Protected []byte
	Payload   []byte
	Signature [64]byte
}

// ToBeSigned is what the statement's signature is over.
func (s *Statement) ToBeSigned() []byte { return ToBeSigned(s.Protected, s.Payload) }

// ParseStatement parses a statement and its header. It does not verify the signature. Errors are an *Error for the
// shape, and a *cbor.DecodeError for heads that are not canonical, cut or followed by more bytes.
func ParseStatement(input []byte) (*Statement, error) {
	reader, err := cbor.NewHeaderReader(input)
	if err != nil {
		return nil, err
	}
	if !reader.Take(taggedSign1) {
		return nil, refuse("must begin with tag 18")
	}
	if !reader.Take(arrayOfFour) {
		return nil, refuse("must be an array of four")
	}
	protected, err := part(reader, "protected header must be a byte string")
	if err != nil {
		return nil, err
	}
	if !reader.Take(emptyMap) {
		return nil, refuse("unprotected header must be empty")
	}
	payload, err := part(reader, "payload must be a byte string")
	if err != nil {
		return nil, err
	}
	signature, err := part(reader, "signature must be 64 bytes")
	if err != nil {
		return nil, err
	}
	if len(signature) != signatureBytes {
		return nil, refuse("signature must be 64 bytes")
	}
	if err := reader.Done(); err != nil {
		return nil, err
	}
	header, err := parseHeader(protected)
	if err != nil {
		return nil, err
	}
	return &Statement{Header: header, Protected: protected, Payload: payload, Signature: [64]byte(signature)}, nil
}

// parseHeader takes exactly alg, content type, kid and claims.
func parseHeader(protected []byte) (Header, error) {
	decoded, err := cbor.DecodeHeader(protected)
	if err != nil {
		return Header{}, refuse(nested("protected header", err))
	}
	const rule = "protected header must be the map of alg, content type, kid and CWT claims"
	header, ok := headerMap(decoded, 4)
	if !ok {
		return Header{}, refuse(rule)
	}
	var values [4]any
	for index, label := range []int64{headerAlg, headerContentType, headerKid, headerClaims} {
		if values[index], ok = header.Get(label); !ok {
			return Header{}, refuse(rule)
		}
	}
	if values[0] != int64(algEdDSA) {
		return Header{}, refuse("alg must be EdDSA (-8)")
	}
	contentType, _ := values[1].(string)
	if contentType != RecordContentType && contentType != AttestationContentType {
		return Header{}, refuse("content type is not one of ours")
	}
	kid, _ := values[2].([]byte)
	if len(kid) != kidBytes {
		return Header{}, refuse("kid must be 32 bytes")
	}
	origin, subject, ok := claims(values[3])
	if !ok || origin == "" || subject == "" {
		return Header{}, refuse("CWT claims must be issuer and subject, both non-empty text")
	}
	return Header{contentType, [32]byte(kid), origin, subject}, nil
}

// EncodeHeader writes a protected header.
func EncodeHeader(header Header) ([]byte, error) {
	if header.Origin == "" || header.Subject == "" {
		return nil, refuse("CWT claims must be issuer and subject, both non-empty text")
	}
	return cbor.Encode(cbor.HeaderMap{
		{Key: headerAlg, Value: algEdDSA},
		{Key: headerContentType, Value: header.ContentType},
		{Key: headerKid, Value: header.Kid[:]},
		{Key: headerClaims, Value: claimsOf(header.Origin, header.Subject)},
	})
}

func claimsOf(origin, subject string) cbor.HeaderMap {
	return cbor.HeaderMap{{Key: claimIssuer, Value: origin}, {Key: claimSubject, Value: subject}}
}

// EncodeStatement writes a statement: what was signed, with its signature. The result parses back, or there is none.
func EncodeStatement(protected, payload, signature []byte) ([]byte, error) {
	writer := longWriter{output: []byte{taggedSign1, arrayOfFour}}
	writer.bytes(protected)
	writer.head(5, 0)
	writer.bytes(payload)
	writer.bytes(signature)
	if _, err := ParseStatement(writer.output); err != nil {
		return nil, err
	}
	return writer.output, nil
}
