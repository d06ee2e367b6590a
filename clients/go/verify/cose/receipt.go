package cose

import (
	"bytes"
	"fmt"

	"sigil.example/go/verify/cbor"
)

const (
	headerVds       = 395
	headerVdp       = 396
	rfc9162Sha256   = 1
	inclusionProofs = -1
	pathMax         = 64
)

// Receipt is a parsed receipt: a path from a leaf to a root, and whose signature the root bears.
type Receipt struct {
	// Kid is of the checkpoint key.
	Kid    [32]byte
	Origin string
	// Subject is `checkpoint/<size>`: the size is under the signature.
	Subject string
	// TreeSize, LeafIndex and Path are not signed: they lead to the root, or do not.
	TreeSize  uint64
	LeafIndex uint64
	// Path is from the leaf's sibling to the root's child.
	Path      [][32]byte
	Protected []byte
	Signature [64]byte
}

// ReceiptSubject is the subject of a receipt for a tree of this size.
func ReceiptSubject(treeSize uint64) string { return fmt.Sprintf("checkpoint/%d", treeSize) }

func refuseReceipt(rule string) error { return refuse("receipt: " + rule) }

// ParseReceipt parses a receipt. It does not verify the signature. Errors are as of ParseStatement.
func ParseReceipt(input []byte) (*Receipt, error) {
	reader, err := cbor.NewHeaderReader(input)
	if err != nil {
		return nil, err
	}
	if !reader.Take(taggedSign1) {
		return nil, refuseReceipt("must begin with tag 18")
	}
	if !reader.Take(arrayOfFour) {
		return nil, refuseReceipt("must be an array of four")
	}
	protected, err := part(reader, "receipt: protected header must be a byte string")
	if err != nil {
		return nil, err
	}
	unprotected, err := reader.Value()
	if err != nil {
		return nil, err
	}
	receipt, err := parsePath(unprotected)
	if err != nil {
		return nil, err
	}
	if !reader.Take(null) {
		return nil, refuseReceipt("the payload is detached: it must be null")
	}
	signature, err := part(reader, "receipt: signature must be a byte string")
	if err != nil {
		return nil, err
	}
	if len(signature) != signatureBytes {
		return nil, refuseReceipt("signature must be 64 bytes")
	}
	if err := reader.Done(); err != nil {
		return nil, err
	}
	if err := receipt.parseHeader(protected); err != nil {
		return nil, err
	}
	receipt.Protected = protected
	receipt.Signature = [64]byte(signature)
	return receipt, nil
}

func (r *Receipt) parseHeader(protected []byte) error {
	decoded, err := cbor.DecodeHeader(protected)
	if err != nil {
		return refuseReceipt(nested("protected header", err))
	}
	header, _ := headerMap(decoded, 4)
	if alg, _ := header.Get(headerAlg); alg != int64(algEdDSA) {
		return refuseReceipt("alg must be EdDSA (-8)")
	}
	if tree, _ := header.Get(headerVds); tree != int64(rfc9162Sha256) {
		return refuseReceipt("the tree must be RFC9162_SHA256 (395: 1)")
	}
	kidValue, _ := header.Get(headerKid)
	kid, _ := kidValue.([]byte)
	if len(kid) != kidBytes {
		return refuseReceipt("kid must be 32 bytes")
	}
	said, _ := header.Get(headerClaims)
	origin, subject, ok := claims(said)
	if !ok || origin == "" {
		return refuseReceipt("CWT claims must be issuer and subject")
	}
	r.Kid, r.Origin, r.Subject = [32]byte(kid), origin, subject
	// The five labels are four entries, so that what is encoded again has no other.
	if again, err := r.encodeHeader(); err != nil || !bytes.Equal(again, protected) {
		return refuseReceipt("protected header has other labels")
	}
	return nil
}

func (r *Receipt) encodeHeader() ([]byte, error) {
	return cbor.Encode(cbor.HeaderMap{
		{Key: headerAlg, Value: algEdDSA},
		{Key: headerKid, Value: r.Kid[:]},
		{Key: headerClaims, Value: claimsOf(r.Origin, r.Subject)},
		{Key: headerVds, Value: rfc9162Sha256},
	})
}

func parsePath(unprotected any) (*Receipt, error) {
	wrong := refuseReceipt("must hold one inclusion proof (396: {-1: [proof]}) and nothing else")
	outer, _ := headerMap(unprotected, 1)
	proofs, _ := outer.Get(headerVdp)
	inner, _ := headerMap(proofs, 1)
	listed, _ := inner.Get(inclusionProofs)
	list, _ := listed.([]any)
	if len(list) != 1 {
		return nil, wrong
	}
	encoded, ok := list[0].([]byte)
	if !ok {
		return nil, wrong
	}
	decoded, err := cbor.Decode(encoded)
	if err != nil {
		return nil, refuseReceipt(nested("inclusion proof", err))
	}
	parts, _ := decoded.([]any)
	if len(parts) != 3 {
		return nil, refuseReceipt("an inclusion proof is an array of three")
	}
	receipt := &Receipt{}
	if receipt.TreeSize, ok = position(parts[0]); !ok {
		return nil, refuseReceipt("the tree's size must be a uint64")
	}
	if receipt.LeafIndex, ok = position(parts[1]); !ok {
		return nil, refuseReceipt("the leaf's index must be a uint64")
	}
	path, _ := parts[2].([]any)
	if len(path) == 0 || len(path) > pathMax {
		return nil, refuseReceipt(fmt.Sprintf("the path must have 1 to %d hashes", pathMax))
	}
	for _, item := range path {
		hash, _ := item.([]byte)
		if len(hash) != 32 {
			return nil, refuseReceipt("a hash must be 32 bytes")
		}
		receipt.Path = append(receipt.Path, [32]byte(hash))
	}
	return receipt, nil
}

func position(value any) (uint64, bool) {
	switch typed := value.(type) {
	case int64:
		return uint64(typed), typed >= 0
	case uint64:
		return typed, true
	default:
		return 0, false
	}
}
