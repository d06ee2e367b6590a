// Package merkle verifies what a ledger proves of its tree: inclusion and consistency proofs (RFC 6962 §2.1), signed
// notes, checkpoints and cosignatures (C2SP), policies over them, and the text formats that carry proofs. Pure. Source:
// docs/spec/ledger.md §1 to §5. At most 64 hashes for inclusion, 65 for consistency.
package merkle

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/bits"
)

// HashBytes is the length of every hash.
const HashBytes = sha256.Size

// Hash is SHA-256 of a leaf, a node or an entry.
type Hash = [HashBytes]byte

// The prefixes keep a node from passing as a leaf.
const (
	leafPrefix = 0x00
	nodePrefix = 0x01
)

// LeafHash is H(0x00 ‖ entry).
func LeafHash(entry []byte) Hash { return sha256.Sum256(append([]byte{leafPrefix}, entry...)) }

// NodeHash is H(0x01 ‖ left ‖ right).
func NodeHash(left, right Hash) Hash {
	preimage := make([]byte, 0, 1+2*HashBytes)
	preimage = append(preimage, nodePrefix)
	preimage = append(preimage, left[:]...)
	return sha256.Sum256(append(preimage, right[:]...))
}

// EmptyRoot is H(""), the root of the tree without leaves.
func EmptyRoot() Hash { return sha256.Sum256(nil) }

// ProofError is the rule that a proof breaks.
type ProofError struct{ Rule string }

func (e *ProofError) Error() string { return e.Rule }

func wrong(rule string) error { return &ProofError{rule} }

// Inclusion claims that a leaf stands at an index of a tree. Nothing of it is checked yet.
type Inclusion struct {
	LeafIndex uint64
	TreeSize  uint64
	LeafHash  []byte
	// Path is the siblings from leaf to root.
	Path [][]byte
}

// Root is the root to which the path leads.
func (claim Inclusion) Root() (Hash, error) {
	if claim.LeafIndex >= claim.TreeSize {
		return Hash{}, wrong("leaf index must be below tree size")
	}
	if len(claim.LeafHash) != HashBytes {
		return Hash{}, wrong("leaf hash must be 32 bytes")
	}
	// The lowest siblings may be on either side; above them the path follows the tree's right edge.
	inner := bits.Len64(claim.LeafIndex ^ (claim.TreeSize - 1))
	edge := bits.OnesCount64(shifted(claim.LeafIndex, inner))
	path, err := hashes(claim.Path, inner+edge)
	if err != nil {
		return Hash{}, err
	}
	turned := climb(Hash(claim.LeafHash), path[:inner], claim.LeafIndex)
	return climbEdge(turned, path[inner:]), nil
}

// CheckInclusion says which rule the claim breaks that its leaf is in the tree with that root.
func CheckInclusion(claim Inclusion, root []byte) error {
	if len(root) != HashBytes {
		return wrong("root must be 32 bytes")
	}
	computed, err := claim.Root()
	if err != nil {
		return err
	}
	if !bytes.Equal(computed[:], root) {
		return wrong("proof must lead to the root")
	}
	return nil
}

// shifted is value >> count, 0 for 64.
func shifted(value uint64, count int) uint64 { return value >> uint(count) }

// hashes takes exactly so many hashes of 32 bytes: surplus ones are refused, never ignored.
func hashes(raw [][]byte, wanted int) ([]Hash, error) {
	if len(raw) != wanted {
		return nil, wrong(fmt.Sprintf("proof must hold exactly %d hashes, got %d", wanted, len(raw)))
	}
	taken := make([]Hash, 0, len(raw))
	for _, hash := range raw {
		if len(hash) != HashBytes {
			return nil, wrong("a proof hash must be 32 bytes")
		}
		taken = append(taken, Hash(hash))
	}
	return taken, nil
}

// climb folds siblings into a hash: where bit i of turns is set, the i-th sibling is on the left.
func climb(start Hash, siblings []Hash, turns uint64) Hash {
	hash := start
	for height, sibling := range siblings {
		if shifted(turns, height)&1 == 1 {
			hash = NodeHash(sibling, hash)
		} else {
			hash = NodeHash(hash, sibling)
		}
	}
	return hash
}

// climbEdge folds siblings along the right edge, where each is on the left.
func climbEdge(start Hash, siblings []Hash) Hash {
	hash := start
	for _, sibling := range siblings {
		hash = NodeHash(sibling, hash)
	}
	return hash
}

// climbLeft is climb without right siblings: their leaves are not in the old tree.
func climbLeft(start Hash, siblings []Hash, turns uint64) Hash {
	hash := start
	for height, sibling := range siblings {
		if shifted(turns, height)&1 == 1 {
			hash = NodeHash(sibling, hash)
		}
	}
	return hash
}

// Consistency claims that a tree begins with an older one. Nothing of it is checked yet.
type Consistency struct {
	OldSize uint64
	NewSize uint64
	OldRoot []byte
	NewRoot []byte
	Path    [][]byte
}

// CheckConsistency says which rule the claim breaks.
func CheckConsistency(claim Consistency) error {
	switch {
	case claim.OldSize > claim.NewSize:
		return wrong("old size must not be above new size")
	case len(claim.OldRoot) != HashBytes:
		return wrong("old root must be 32 bytes")
	case len(claim.NewRoot) != HashBytes:
		return wrong("new root must be 32 bytes")
	case claim.OldSize == 0 || claim.OldSize == claim.NewSize:
		return checkWithoutPath(claim)
	default:
		return checkPath(claim)
	}
}

// checkWithoutPath is for an empty old tree and for equal sizes.
func checkWithoutPath(claim Consistency) error {
	if _, err := hashes(claim.Path, 0); err != nil {
		return err
	}
	if empty := EmptyRoot(); claim.OldSize == 0 && !bytes.Equal(claim.OldRoot, empty[:]) {
		return wrong("old root must be the empty root at size 0")
	}
	if claim.OldSize == claim.NewSize && !bytes.Equal(claim.OldRoot, claim.NewRoot) {
		return wrong("roots must be equal at equal sizes")
	}
	return nil
}

func checkPath(claim Consistency) error {
	// The climb starts at the last complete subtree of the old tree, 2^height leaves wide.
	height := bits.TrailingZeros64(claim.OldSize)
	lastLeaf := claim.OldSize - 1
	meeting := bits.Len64(lastLeaf ^ (claim.NewSize - 1))
	inner := meeting - height
	edge := bits.OnesCount64(shifted(lastLeaf, meeting))
	seeds := 1
	if claim.OldSize == uint64(1)<<uint(height) {
		seeds = 0 // A complete old tree is its own seed.
	}
	path, err := hashes(claim.Path, seeds+inner+edge)
	if err != nil {
		return err
	}
	seed := Hash(claim.OldRoot)
	if seeds == 1 {
		seed = path[0]
	}
	turning, rising := path[seeds:seeds+inner], path[seeds+inner:]
	turns := shifted(lastLeaf, height)
	if root := climbEdge(climbLeft(seed, turning, turns), rising); !bytes.Equal(root[:], claim.OldRoot) {
		return wrong("proof must lead to the old root")
	}
	if root := climbEdge(climb(seed, turning, turns), rising); !bytes.Equal(root[:], claim.NewRoot) {
		return wrong("proof must lead to the new root")
	}
	return nil
}
