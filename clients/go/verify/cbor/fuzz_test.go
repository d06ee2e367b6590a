package cbor_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"sigil.example/go/internal/vectors"
	"sigil.example/go/verify/cbor"
)

func unhex(t testing.TB, digits string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// FuzzDecode: what is accepted is what encoding the value gives, byte for byte; what is refused names an offset inside
// of the input; and nothing panics.
func FuzzDecode(f *testing.F) {
	seeds := vectors.Read[golden](f, "cbor.json")
	for _, vector := range seeds.Accept {
		f.Add([]byte(vector.Hex))
	}
	for _, vector := range seeds.Refuse {
		f.Add([]byte(vector.Hex))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		before := bytes.Clone(input)
		for _, decode := range []func([]byte) (any, error){cbor.Decode, cbor.DecodeHeader} {
			value, err := decode(input)
			if !bytes.Equal(before, input) {
				t.Fatal("the input was changed")
			}
			if fault, refused := cbor.AsDecodeError(err); refused {
				if fault.Offset < 0 || fault.Offset > len(input) || value != nil {
					t.Fatalf("refused at %d of %d", fault.Offset, len(input))
				}
				continue
			}
			encoded, err := cbor.Encode(value)
			if err != nil || !bytes.Equal(encoded, input) {
				t.Fatalf("%x was accepted, and is encoded as %x (%v)", input, encoded, err)
			}
		}
	})
}
