package merkle

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// TreeSizeMax bounds sizes of trees; positions are below it. Source: docs/spec/ledger.md §2.
const TreeSizeMax = math.MaxUint64

// Frontier is a tree as its complete subtrees: what its root, and every larger tree that begins with it, follows from.
// The zero value is the empty tree. At most 64 hashes.
type Frontier struct {
	// Size counts leaves.
	Size uint64
	// Peaks are the roots of the complete subtrees that the size splits into, one for each bit set in it, largest first.
	Peaks []Hash
}

// Check wants one peak for each bit set in the size.
func (f Frontier) Check() error {
	if len(f.Peaks) != bits.OnesCount64(f.Size) {
		return wrong("a frontier must have one peak for each bit set in its size")
	}
	return nil
}

// Clone shares nothing with the original.
func (f Frontier) Clone() Frontier { return Frontier{f.Size, slices.Clone(f.Peaks)} }

// Root of the tree.
func (f Frontier) Root() Hash {
	if len(f.Peaks) == 0 {
		return EmptyRoot()
	}
	root := f.Peaks[len(f.Peaks)-1]
	for _, left := range slices.Backward(f.Peaks[:len(f.Peaks)-1]) {
		root = NodeHash(left, root)
	}
	return root
}

// Append adds one leaf, by its hash.
func (f *Frontier) Append(leaf Hash) error { return f.AppendSubtree(0, leaf) }

// AppendSubtree adds 2^level leaves of which only the root is known. The size must be a multiple of their number.
func (f *Frontier) AppendSubtree(level int, root Hash) error {
	if level < 0 || level > 63 {
		return wrong("a subtree must be of level 0 to 63")
	}
	span := uint64(1) << level
	if f.Size%span != 0 || f.Size > TreeSizeMax-span {
		return wrong(fmt.Sprintf("a subtree of %d leaves must begin at a multiple of its width, within the tree", span))
	}
	// A right child completes its parent, like a carry in binary addition.
	for path := f.Size >> level; path&1 == 1; path >>= 1 {
		last := len(f.Peaks) - 1
		root = NodeHash(f.Peaks[last], root)
		f.Peaks = f.Peaks[:last]
	}
	f.Peaks = append(f.Peaks, root)
	f.Size += span
	return nil
}

// SubtreeLevels gives the levels of the fewest complete subtrees that cover leaves [from, to), left to right: each the
// largest that begins at a multiple of its width and fits. At most 126.
func SubtreeLevels(from, to uint64) []int {
	var levels []int
	for from < to {
		level := bits.Len64(to-from) - 1
		if from != 0 {
			level = min(level, bits.TrailingZeros64(from))
		}
		levels = append(levels, level)
		from += uint64(1) << level
	}
	return levels
}
