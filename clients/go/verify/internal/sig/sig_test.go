package sig_test

import (
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"math/big"
	"slices"
	"testing"

	"filippo.io/edwards25519"

	"sigil.example/go/verify/internal/sig"
)

var prime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))

// encodePoint is y in 255 bits, and the sign of x in the last.
func encodePoint(y *big.Int, sign byte) []byte {
	raw := y.FillBytes(make([]byte, 32))
	slices.Reverse(raw)
	raw[31] |= sign << 7
	return raw
}

func unhex(t *testing.T, digits string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// smallOrder are the eight points whose order divides the cofactor, as they are encoded canonically.
func smallOrder(t *testing.T) [][]byte {
	points := [][]byte{
		encodePoint(big.NewInt(1), 0), encodePoint(new(big.Int).Sub(prime, big.NewInt(1)), 0),
		encodePoint(new(big.Int), 0), encodePoint(new(big.Int), 1),
	}
	for _, digits := range []string{
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	} {
		point := unhex(t, digits)
		negative := slices.Clone(point)
		negative[31] |= 0x80
		points = append(points, point, negative)
	}
	return points
}

func scalar(value int64) *edwards25519.Scalar {
	raw := big.NewInt(value).FillBytes(make([]byte, 32))
	slices.Reverse(raw)
	made, err := edwards25519.NewScalar().SetCanonicalBytes(raw)
	if err != nil {
		panic(err)
	}
	return made
}

var message = []byte{1, 2, 3}

// handmade is a signature whose R is r·B + extra: S = r + H(R, A, M)·a.
func handmade(t *testing.T, publicKey []byte, a, r *edwards25519.Scalar, extra *edwards25519.Point) []byte {
	t.Helper()
	point := new(edwards25519.Point).ScalarBaseMult(r)
	encoded := point.Add(point, extra).Bytes()
	digest := sha512.Sum512(slices.Concat(encoded, publicKey, message))
	k, err := edwards25519.NewScalar().SetUniformBytes(digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return append(encoded, edwards25519.NewScalar().MultiplyAdd(k, a, r).Bytes()...)
}

func point(t *testing.T, raw []byte) *edwards25519.Point {
	t.Helper()
	made, err := new(edwards25519.Point).SetBytes(raw)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestVerify(t *testing.T) {
	identity := edwards25519.NewIdentityPoint()
	a, r := scalar(123456789), scalar(987654321)
	publicKey := new(edwards25519.Point).ScalarBaseMult(a).Bytes()
	good := handmade(t, publicKey, a, r, identity)

	t.Run("accepts a vector of RFC 8032 §7.1, and a signature made by hand", func(t *testing.T) {
		key := unhex(t, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
		signature := unhex(t, "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"+
			"085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")
		if !sig.Verify(key, []byte{0x72}, signature) || !sig.Verify(publicKey, message, good) {
			t.Error("was refused")
		}
	})
	t.Run("refuses every length but the right one, and never panics", func(t *testing.T) {
		for length := range 70 {
			if sig.Verify(make([]byte, length), message, good) || length != 64 && sig.Verify(publicKey, message, make([]byte, length)) {
				t.Errorf("%d bytes were accepted", length)
			}
		}
		if sig.Verify(nil, nil, nil) {
			t.Error("nothing was accepted")
		}
	})
	t.Run("refuses S at or above the group's order", func(t *testing.T) {
		order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
		s := slices.Clone(good[32:])
		slices.Reverse(s)
		raised := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
		slices.Reverse(raised)
		if sig.Verify(publicKey, message, append(slices.Clone(good[:32]), raised...)) {
			t.Error("was accepted")
		}
	})
	t.Run("refuses keys of small order, which Go's own verifier takes", func(t *testing.T) {
		taken := 0
		for _, key := range smallOrder(t) {
			for value := int64(1); value < 40; value++ {
				// With such a key k·A is of small order too, so that S = r fits where k·A is the identity.
				r := scalar(value)
				signature := append(new(edwards25519.Point).ScalarBaseMult(r).Bytes(), r.Bytes()...)
				if ed25519.Verify(key, message, signature) {
					taken++
				}
				if sig.Verify(key, message, signature) {
					t.Errorf("key %x signed", key)
				}
			}
		}
		if taken == 0 {
			t.Error("the test shows nothing: Go's own verifier took none")
		}
	})
	t.Run("refuses a key that is not encoded canonically", func(t *testing.T) {
		taken := 0
		for offset := range int64(19) {
			for _, sign := range []byte{0, 1} {
				key := encodePoint(new(big.Int).Add(prime, big.NewInt(offset)), sign)
				for value := int64(1); value < 40; value++ {
					r := scalar(value)
					signature := append(new(edwards25519.Point).ScalarBaseMult(r).Bytes(), r.Bytes()...)
					if ed25519.Verify(key, message, signature) {
						taken++
					}
					if sig.Verify(key, message, signature) {
						t.Errorf("key %x signed", key)
					}
				}
			}
		}
		if taken == 0 {
			t.Error("the test shows nothing: Go's own verifier took none")
		}
	})
	t.Run("refuses an R with a part of small order", func(t *testing.T) {
		for _, raw := range smallOrder(t)[1:] {
			if sig.Verify(publicKey, message, handmade(t, publicKey, a, r, point(t, raw))) {
				t.Errorf("with %x added", raw)
			}
		}
	})
	t.Run("refuses another message, key and signature", func(t *testing.T) {
		other := new(edwards25519.Point).ScalarBaseMult(r).Bytes()
		if sig.Verify(publicKey, []byte{1, 2}, good) || sig.Verify(other, message, good) {
			t.Error("was accepted")
		}
		for at := range good {
			changed := slices.Clone(good)
			changed[at] ^= 1
			if sig.Verify(publicKey, message, changed) {
				t.Errorf("with byte %d changed", at)
			}
		}
	})
}

func TestCheckPublicKey(t *testing.T) {
	good := new(edwards25519.Point).ScalarBaseMult(scalar(123456789))
	if err := sig.CheckPublicKey(good.Bytes()); err != nil {
		t.Error(err)
	}
	expect := func(key []byte, rule string) {
		t.Helper()
		if err := sig.CheckPublicKey(key); err == nil || err.Error() != rule {
			t.Errorf("%x: %v, want %s", key, err, rule)
		}
	}
	const canonical = "must be the canonical encoding of a point on Ed25519"
	for _, raw := range smallOrder(t) {
		expect(raw, "must not be a point of small order")
	}
	for _, raw := range smallOrder(t)[1:] {
		mixed := new(edwards25519.Point).Add(good, point(t, raw))
		expect(mixed.Bytes(), "must lie in the group of prime order")
	}
	for offset := range int64(19) {
		expect(encodePoint(new(big.Int).Add(prime, big.NewInt(offset)), 0), canonical)
		expect(encodePoint(new(big.Int).Add(prime, big.NewInt(offset)), 1), canonical)
	}
	expect(encodePoint(big.NewInt(1), 1), canonical) // A negative zero.
	expect(encodePoint(big.NewInt(2), 0), canonical) // Not on the curve.
	expect(nil, canonical)
}

func TestVerifyMldsa44TakesNothingMalformed(t *testing.T) {
	for _, each := range [][2]int{{0, 0}, {1312, 0}, {0, 2420}, {1312, 2420}, {1311, 2420}} {
		if sig.VerifyMldsa44(make([]byte, each[0]), message, make([]byte, each[1])) {
			t.Errorf("%v were accepted", each)
		}
	}
}
