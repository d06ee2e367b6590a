package cose_test

import (
	"bytes"
	"errors"
	"testing"

	"sigil.example/go/internal/vectors"
	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/cose"
	"sigil.example/go/verify/internal/sig"
)

type golden struct {
	Accept []struct {
		Name        string
		Statement   vectors.Hex
		ContentType string `json:"content_type"`
		Kid         vectors.Hex
		Origin      string
		Subject     string
		Protected   vectors.Hex
		Payload     vectors.Hex
		ToBeSigned  vectors.Hex `json:"to_be_signed"`
		Signature   vectors.Hex
		PublicKey   vectors.Hex `json:"public_key"`
	}
	Refuse []struct {
		Name, Kind, Rule string
		Hex              vectors.Hex
	}
}

func TestVectorsAccept(t *testing.T) {
	for _, vector := range vectors.Read[golden](t, "cose.json").Accept {
		t.Run(vector.Name, func(t *testing.T) {
			statement, err := cose.ParseStatement(vector.Statement)
			if err != nil {
				t.Fatal(err)
			}
			want := cose.Header{
				ContentType: vector.ContentType, Kid: [32]byte(vector.Kid), Origin: vector.Origin, Subject: vector.Subject,
			}
			if statement.Header != want {
				t.Errorf("header is %+v, want %+v", statement.Header, want)
			}
			for what, pair := range map[string][2][]byte{
				"protected": {statement.Protected, vector.Protected},
				"payload":   {statement.Payload, vector.Payload},
				"message":   {statement.ToBeSigned(), vector.ToBeSigned},
				"signature": {statement.Signature[:], vector.Signature},
			} {
				if !bytes.Equal(pair[0], pair[1]) {
					t.Errorf("%s is %x, want %x", what, pair[0], pair[1])
				}
			}
			if thumbprint := cose.Thumbprint(vector.PublicKey); thumbprint != want.Kid {
				t.Errorf("thumbprint is %x, want %x", thumbprint, want.Kid)
			}
			if !sig.Verify(vector.PublicKey, statement.ToBeSigned(), statement.Signature[:]) {
				t.Error("the signature does not verify")
			}
			protected, err := cose.EncodeHeader(want)
			if err != nil || !bytes.Equal(protected, vector.Protected) {
				t.Errorf("the header is encoded as %x, %v", protected, err)
			}
			encoded, err := cose.EncodeStatement(protected, vector.Payload, vector.Signature)
			if err != nil || !bytes.Equal(encoded, vector.Statement) {
				t.Errorf("the statement is encoded as %x, %v", encoded, err)
			}
		})
	}
}

func TestVectorsRefuse(t *testing.T) {
	for _, vector := range vectors.Read[golden](t, "cose.json").Refuse {
		t.Run(vector.Name, func(t *testing.T) {
			_, err := cose.ParseStatement(vector.Hex)
			var shape *cose.Error
			kind, rule := "", ""
			if errors.As(err, &shape) {
				kind, rule = "malformedCose", shape.Rule
			}
			if fault, ok := cbor.AsDecodeError(err); ok {
				kind, rule = "malformedCbor", string(fault.Rule)
			}
			if kind != vector.Kind || rule != vector.Rule {
				t.Errorf("%v, want %s: %s", err, vector.Kind, vector.Rule)
			}
		})
	}
}
