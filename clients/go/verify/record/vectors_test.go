package record_test

import (
	"bytes"
	"errors"
	"testing"

	"sigil.example/go/internal/vectors"
	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/record"
)

type vector struct {
	Name, Format, Subject, Kind, Field, Rule string
	Hex, Hash, Entry                         vectors.Hex
	SchemaVersion                            int   `json:"schema_version"`
	TimeMs                                   int64 `json:"ts"`
	Payload                                  vectors.Notation
}

type golden struct{ Accept, Refuse []vector }

// read gives the bytes that encoding what was read gives.
func (v vector) read(t *testing.T) ([]byte, error) {
	t.Helper()
	switch v.Format {
	case "body":
		body, err := record.DecodeBody(v.Hex)
		if err != nil {
			return nil, err
		}
		return record.EncodeBody(body)
	case "envelope":
		envelope, err := record.DecodeEnvelope(v.Hex)
		if err != nil {
			return nil, err
		}
		return envelope.Encode()
	case "attestation":
		attestation, err := record.DecodeAttestation(v.Hex)
		if err != nil {
			return nil, err
		}
		return attestation.Encode()
	case "record_statement":
		_, body, err := record.ParseStatement(v.Hex)
		if err == nil && body.Subject() != "acme/user/notes/1" {
			t.Errorf("the subject is %s", body.Subject())
		}
		return v.Hex, err
	default:
		t.Fatalf("unknown format %q", v.Format)
		return nil, nil
	}
}

func TestVectorsAccept(t *testing.T) {
	for _, each := range vectors.Read[golden](t, "record.json").Accept {
		t.Run(each.Format+": "+each.Name, func(t *testing.T) {
			again, err := each.read(t)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, each.Hex) {
				t.Errorf("comes back as %x", again)
			}
			if hash := record.EntryOf(each.Hex); each.Format == "envelope" && !bytes.Equal(hash[:], each.Entry) {
				t.Errorf("the entry is %x", hash)
			}
			if each.Format != "body" {
				return
			}
			body, _ := record.DecodeBody(each.Hex)
			hash := record.HashOf(each.Hex)
			if !bytes.Equal(hash[:], each.Hash) || body.Subject() != each.Subject || body.Kind != each.Kind ||
				body.SchemaVersion != each.SchemaVersion || body.TimeMs != each.TimeMs {
				t.Errorf("is %x: %+v", hash, body)
			}
			payload, _ := cbor.Encode(body.Payload)
			if want, err := cbor.Encode(each.Payload.Value); err != nil || !bytes.Equal(payload, want) {
				t.Errorf("the payload is %x, want %x (%v)", payload, want, err)
			}
		})
	}
}

func TestVectorsRefuse(t *testing.T) {
	refusals := vectors.Read[golden](t, "record.json").Refuse
	if len(refusals) < 160 {
		t.Fatalf("only %d refusals", len(refusals))
	}
	for _, each := range refusals {
		t.Run(each.Format+": "+each.Name, func(t *testing.T) {
			_, err := each.read(t)
			var fault *record.Error
			if !errors.As(err, &fault) || fault.Field != each.Field || fault.Rule != each.Rule {
				t.Errorf("%v; want %s %s", err, each.Field, each.Rule)
			}
		})
	}
}

// The records that every implementation builds from their values: this one's decoder takes what its encoder wrote.
func TestVectorsOfValues(t *testing.T) {
	for _, each := range vectors.ReadValues(t).Bodies {
		encoded, err := cbor.Encode(each.Value.Value)
		if err != nil {
			t.Fatalf("%s: %v", each.Name, err)
		}
		body, err := record.DecodeBody(encoded)
		if err != nil {
			t.Errorf("%s: %v", each.Name, err)
			continue
		}
		hash := record.HashOf(encoded)
		again, err := record.EncodeBody(body)
		if err != nil || !bytes.Equal(again, encoded) || !bytes.Equal(hash[:], each.Sha256) {
			t.Errorf("%s: hash %x, want %x (%v)", each.Name, hash, []byte(each.Sha256), err)
		}
	}
}
