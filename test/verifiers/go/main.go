// Verifies what Sigil signs and proves with libraries that are not Sigil's: statements and receipts with go-cose,
// checkpoints with sumdb/note and transparency-dev/formats, proofs with sumdb/tlog. Reads one JSON object a line, answers "ok" or "refused: why".
package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/fxamacker/cbor/v2"
	cosignatures "github.com/transparency-dev/formats/note"
	"github.com/veraison/go-cose"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A question; byte strings are hexadecimal.
type question struct {
	Kind     string   `json:"kind"`
	Key      string   `json:"key"`
	Bytes    string   `json:"bytes"`
	Entry    string   `json:"entry"`
	Origin   string   `json:"origin"`
	Note     string   `json:"note"`
	Size     int64    `json:"size"`
	OldSize  int64    `json:"oldSize"`
	Position int64    `json:"position"`
	Root     string   `json:"root"`
	OldRoot  string   `json:"oldRoot"`
	Proof    []string `json:"proof"`
}

func unhex(text string) []byte {
	bytes, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return bytes
}

func hashOf(text string) (hash tlog.Hash) {
	copy(hash[:], unhex(text))
	return hash
}

func hashesOf(texts []string) (hashes []tlog.Hash) {
	for _, text := range texts {
		hashes = append(hashes, hashOf(text))
	}
	return hashes
}

func verifySign1(message *cose.Sign1Message, key string) error {
	verifier, err := cose.NewVerifier(cose.AlgorithmEdDSA, ed25519.PublicKey(unhex(key)))
	if err != nil {
		return err
	}
	return message.Verify(nil, verifier)
}

func statement(q question) error {
	var message cose.Sign1Message
	if err := message.UnmarshalCBOR(unhex(q.Bytes)); err != nil {
		return err
	}
	return verifySign1(&message, q.Key)
}

// The proof of RFC 9942, section 5.2.1.
type inclusionProof struct {
	_     struct{} `cbor:",toarray"`
	Size  uint64
	Index uint64
	Path  [][]byte
}

// Computes the root as RFC 9162, section 2.1.3.2, says.
func rootOf(proof inclusionProof, leaf tlog.Hash) (tlog.Hash, error) {
	if proof.Index >= proof.Size {
		return leaf, errors.New("the index is not below the size")
	}
	fn, sn, root := proof.Index, proof.Size-1, leaf
	for _, sibling := range proof.Path {
		if sn == 0 || len(sibling) != sha256.Size {
			return root, errors.New("the path is too long, or holds what is no hash")
		}
		var other tlog.Hash
		copy(other[:], sibling)
		if fn&1 == 1 || fn == sn {
			root = tlog.NodeHash(other, root)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			root = tlog.NodeHash(root, other)
		}
		fn, sn = fn>>1, sn>>1
	}
	if sn != 0 {
		return root, errors.New("the path is too short")
	}
	return root, nil
}

func receipt(q question) error {
	var message cose.Sign1Message
	if err := message.UnmarshalCBOR(unhex(q.Bytes)); err != nil {
		return err
	}
	if vds, ok := message.Headers.Protected[int64(395)].(int64); !ok || vds != 1 {
		return errors.New("395 is not RFC9162_SHA256")
	}
	claims, ok := message.Headers.Protected[int64(15)].(map[interface{}]interface{})
	if !ok || claims[int64(1)] != q.Origin {
		return errors.New("the issuer is not the origin")
	}
	proofs, ok := message.Headers.Unprotected[int64(396)].(map[interface{}]interface{})
	if !ok {
		return errors.New("396 is no map")
	}
	list, ok := proofs[int64(-1)].([]interface{})
	if !ok || len(list) != 1 {
		return errors.New("there is not one inclusion proof")
	}
	bytes, ok := list[0].([]byte)
	if !ok {
		return errors.New("the inclusion proof is no byte string")
	}
	var proof inclusionProof
	if err := cbor.Unmarshal(bytes, &proof); err != nil {
		return err
	}
	if claims[int64(2)] != fmt.Sprintf("checkpoint/%d", proof.Size) {
		return errors.New("the subject is of another size")
	}
	root, err := rootOf(proof, tlog.RecordHash(unhex(q.Entry)))
	if err != nil {
		return err
	}
	message.Payload = root[:]
	return verifySign1(&message, q.Key)
}

func checkpoint(q question) error {
	// A verifier key's first byte is the algorithm: 1 for Ed25519.
	encoded, err := note.NewEd25519VerifierKey(q.Origin, ed25519.PublicKey(unhex(q.Key)))
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(encoded)
	if err != nil {
		return err
	}
	_, err = note.Open([]byte(q.Note), note.VerifierList(verifier))
	return err
}

// The log's ML-DSA-44 line, by an implementation of C2SP tlog-cosignature for witnesses: the origin cosigns itself.
func mldsa44(q question) error {
	key := append([]byte{6}, unhex(q.Key)...)
	id := sha256.Sum256(append([]byte(q.Origin+"\n"), key...))
	encoded := fmt.Sprintf("%s+%x+%s", q.Origin, id[:4], base64.StdEncoding.EncodeToString(key))
	verifier, err := cosignatures.NewVerifierForCosignatureV1(encoded)
	if err != nil {
		return err
	}
	_, err = note.Open([]byte(q.Note), note.VerifierList(verifier))
	return err
}

func inclusion(q question) error {
	leaf := tlog.RecordHash(unhex(q.Entry))
	return tlog.CheckRecord(tlog.RecordProof(hashesOf(q.Proof)), q.Size, hashOf(q.Root), q.Position, leaf)
}

func consistency(q question) error {
	proof := tlog.TreeProof(hashesOf(q.Proof))
	return tlog.CheckTree(proof, q.Size, hashOf(q.Root), q.OldSize, hashOf(q.OldRoot))
}

func answer(line []byte) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	var q question
	if err := json.Unmarshal(line, &q); err != nil {
		return err
	}
	checks := map[string]func(question) error{
		"statement": statement, "receipt": receipt, "checkpoint": checkpoint,
		"mldsa44": mldsa44, "inclusion": inclusion, "consistency": consistency,
	}
	check, ok := checks[q.Kind]
	if !ok {
		return fmt.Errorf("unknown kind %q", q.Kind)
	}
	return check(q)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if err := answer(lines.Bytes()); err != nil {
			fmt.Println("refused:", err)
		} else {
			fmt.Println("ok")
		}
	}
}
