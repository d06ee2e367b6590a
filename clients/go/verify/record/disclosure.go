package record

import (
	"crypto/sha256"
	"fmt"

	"sigil.example/go/verify/cbor"
)

const (
	saltBytes        = 32
	commitmentDomain = "sigil/commitment/v1"
)

// Opening is what opens a commitment.
type Opening struct {
	// Salt is 32 random bytes.
	Salt  []byte
	Value any
	// Raw are the bytes of which the value says digest and length; nil if they were not kept.
	Raw []byte
}

// Disclosures are openings by the path of the value in its payload, such as "input" and "context/<name>".
type Disclosures map[string]Opening

// Commitment is SHA-256 of the canonical array of domain, path, salt and value: an opening fits no other field.
func Commitment(path string, opening Opening) (Hash, error) {
	encoded, err := cbor.Encode([]any{commitmentDomain, path, opening.Salt, opening.Value})
	if err != nil {
		return Hash{}, err
	}
	return sha256.Sum256(encoded), nil
}

type digested struct {
	digest Hash
	length uint64
}

// digestedOf reads a value that says the digest and the length of bytes.
func digestedOf(value any, path string) (digested, error) {
	parts, _ := value.([]any)
	if len(parts) != 2 {
		return digested{}, &Error{path, "must be an array of a digest and a length"}
	}
	r := &reading{}
	f := fields{r, path, cbor.Map{{Key: "digest", Value: parts[0]}, {Key: "bytes", Value: parts[1]}}}
	read := digested{f.hash("digest"), f.uint("bytes")}
	return read, r.err()
}

// commitmentsOf gives the commitments of a record by path; none in a kind or a version that makes none.
func commitmentsOf(body *Body) (map[string]Hash, error) {
	commitments := map[string]Hash{}
	if body.SchemaVersion != 2 {
		return commitments, nil
	}
	switch body.Kind {
	case "module_run":
		read, err := parse(body.Payload, (*reading).run2)
		if err != nil {
			return nil, err
		}
		commitments["input"] = read.input
		if read.output != nil {
			commitments["output"] = *read.output
		}
	case "frozen_chain":
		read, err := parse(body.Payload, (*reading).chain2)
		if err != nil {
			return nil, err
		}
		commitments["input"] = read.input
		for _, fact := range read.context {
			commitments["context/"+fact.Name] = fact.Value
		}
	}
	return commitments, nil
}

func readOpening(value any, path string) (Opening, error) {
	r := &reading{}
	f := r.mapOf(value, true, path, words("salt value"), "raw")
	opening := Opening{Salt: f.bytes("salt"), Value: f.get("value")}
	if len(opening.Salt) != saltBytes {
		f.no("salt", fmt.Sprintf("must be %d bytes", saltBytes))
	}
	if !f.m.Has("raw") {
		return opening, r.err()
	}
	opening.Raw = append([]byte{}, f.bytes("raw")...)
	if r.fault != nil {
		return Opening{}, r.fault
	}
	said, err := digestedOf(opening.Value, path+".value")
	if err != nil {
		return Opening{}, err
	}
	if uint64(len(opening.Raw)) != said.length || sha256.Sum256(opening.Raw) != said.digest {
		f.no("raw", "must have the digest and the length of the value")
	}
	return opening, r.err()
}

// ReadDisclosures reads the map that stands beside an envelope, and checks each opening against what the body commits
// to.
func ReadDisclosures(input []byte, body *Body) (Disclosures, error) {
	value, err := cbor.Decode(input)
	if err != nil {
		return nil, err
	}
	r := &reading{}
	f := r.anyMap(value, true, "disclosures")
	if r.fault != nil {
		return nil, r.fault
	}
	commitments, err := commitmentsOf(body)
	if err != nil {
		return nil, err
	}
	disclosures := Disclosures{}
	for _, entry := range f.m {
		opening, err := readOpening(entry.Value, f.at(entry.Key))
		if err != nil {
			return nil, err
		}
		commitment, isCommitted := commitments[entry.Key]
		if !isCommitted {
			return nil, &Error{f.at(entry.Key), "is committed to by nothing"}
		}
		opened, err := Commitment(entry.Key, opening)
		if err != nil {
			return nil, err
		}
		if opened != commitment {
			return nil, &Error{f.at(entry.Key), "is not what the record commits to"}
		}
		disclosures[entry.Key] = opening
	}
	return disclosures, nil
}
