// Package sig verifies signatures strictly, so that none is accepted here that another careful verifier refuses. Pure.
// Source: RFC 8032 §5.1.7; SBS 2020, "Taming the many EdDSAs"; FIPS 204 §5.3.
package sig

import (
	"bytes"
	"crypto/ed25519"
	"errors"

	"filippo.io/edwards25519"
	"filippo.io/mldsa"
)

const (
	// PublicKeyBytes and SignatureBytes are of Ed25519.
	PublicKeyBytes = ed25519.PublicKeySize
	SignatureBytes = ed25519.SignatureSize
	// Mldsa44KeyBytes and Mldsa44SignatureBytes are of ML-DSA-44.
	Mldsa44KeyBytes       = 1312
	Mldsa44SignatureBytes = 2420

	pointBytes = 32
)

// Verify says whether an Ed25519 signature holds by Go's verifier and by the strict rules: both points are encoded
// canonically, the key is not of small order, and S is below the group's order.
func Verify(publicKey, message, signature []byte) bool {
	if len(publicKey) != PublicKeyBytes || len(signature) != SignatureBytes {
		return false
	}
	return isStrict(publicKey, signature) && ed25519.Verify(publicKey, message, signature)
}

func isStrict(publicKey, signature []byte) bool {
	key, err := canonicalPoint(publicKey)
	if err != nil || isSmallOrder(key) {
		return false
	}
	if _, err := canonicalPoint(signature[:pointBytes]); err != nil {
		return false
	}
	_, err = edwards25519.NewScalar().SetCanonicalBytes(signature[pointBytes:])
	return err == nil
}

var (
	errNotCanonical = errors.New("must be the canonical encoding of a point on Ed25519")
	errSmallOrder   = errors.New("must not be a point of small order")
	errTorsion      = errors.New("must lie in the group of prime order")
)

// canonicalPoint takes the one encoding of a point: y below the field's prime, and no negative zero.
func canonicalPoint(raw []byte) (*edwards25519.Point, error) {
	point, err := new(edwards25519.Point).SetBytes(raw)
	if err != nil || !bytes.Equal(point.Bytes(), raw) {
		return nil, errNotCanonical
	}
	return point, nil
}

func isIdentity(point *edwards25519.Point) bool {
	return point.Equal(edwards25519.NewIdentityPoint()) == 1
}

func isSmallOrder(point *edwards25519.Point) bool {
	return isIdentity(new(edwards25519.Point).MultByCofactor(point))
}

// CheckPublicKey says which rule a key breaks that is to be enrolled: canonical, on the curve and in the group of prime
// order. A key of small order accepts forged signatures; one with a torsion component makes verifiers disagree.
func CheckPublicKey(publicKey []byte) error {
	if len(publicKey) != PublicKeyBytes {
		return errNotCanonical
	}
	point, err := canonicalPoint(publicKey)
	switch {
	case err != nil:
		return err
	case isSmallOrder(point):
		return errSmallOrder
	case !isIdentity(timesOrder(point)):
		return errTorsion
	default:
		return nil
	}
}

// timesOrder multiplies by the order of the prime group, which no scalar can be: by one less, and once more.
func timesOrder(point *edwards25519.Point) *edwards25519.Point {
	one, _ := edwards25519.NewScalar().SetCanonicalBytes(append([]byte{1}, make([]byte, 31)...))
	minusOne := edwards25519.NewScalar().Negate(one)
	most := new(edwards25519.Point).ScalarMult(minusOne, point)
	return most.Add(most, point)
}

// VerifyMldsa44 says whether an ML-DSA-44 signature with an empty context holds.
func VerifyMldsa44(publicKey, message, signature []byte) bool {
	if len(publicKey) != Mldsa44KeyBytes || len(signature) != Mldsa44SignatureBytes {
		return false
	}
	key, err := mldsa.NewPublicKey(mldsa.MLDSA44(), publicKey)
	if err != nil {
		return false
	}
	return mldsa.Verify(key, message, signature, nil) == nil
}
