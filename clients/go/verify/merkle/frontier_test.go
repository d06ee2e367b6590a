package merkle_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"sigil.example/go/verify/merkle"
)

func leafAt(position uint64) merkle.Hash {
	return merkle.LeafHash(binary.BigEndian.AppendUint64(nil, position))
}

// rootOver is RFC 6962 §2.1 as it stands there, and slow.
func rootOver(from, to uint64) merkle.Hash {
	switch to - from {
	case 0:
		return merkle.EmptyRoot()
	case 1:
		return leafAt(from)
	}
	split := uint64(1)
	for 2*split < to-from {
		split *= 2
	}
	return merkle.NodeHash(rootOver(from, from+split), rootOver(from+split, to))
}

func TestAFrontierHasTheRootOfItsLeaves(t *testing.T) {
	var tree merkle.Frontier
	for size := uint64(0); size < 200; size++ {
		if tree.Root() != rootOver(0, size) || tree.Check() != nil {
			t.Fatalf("size %d: %v", size, tree)
		}
		if err := tree.Append(leafAt(size)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSubtreesFillAnyGap(t *testing.T) {
	for from := range uint64(40) {
		for to := from; to < 70; to++ {
			tree := merkle.Frontier{}
			for at := range from {
				_ = tree.Append(leafAt(at))
			}
			at := from
			for _, level := range merkle.SubtreeLevels(from, to) {
				if err := tree.AppendSubtree(level, rootOver(at, at+1<<level)); err != nil {
					t.Fatalf("[%d, %d) at %d, level %d: %v", from, to, at, level, err)
				}
				at += 1 << level
			}
			if at != to || tree.Size != to || tree.Root() != rootOver(0, to) {
				t.Fatalf("[%d, %d) came to %d", from, to, at)
			}
		}
	}
	if levels := merkle.SubtreeLevels(0, merkle.TreeSizeMax); len(levels) != 64 {
		t.Error(levels)
	}
}

func TestAFrontierRefusesWhatIsNone(t *testing.T) {
	for _, each := range []merkle.Frontier{
		{Size: 3, Peaks: make([]merkle.Hash, 1)},
		{Size: 0, Peaks: make([]merkle.Hash, 1)},
		{Size: merkle.TreeSizeMax, Peaks: make([]merkle.Hash, 63)},
	} {
		if each.Check() == nil {
			t.Error(each)
		}
	}
	odd := merkle.Frontier{Size: 1, Peaks: []merkle.Hash{leafAt(0)}}
	for _, level := range []int{1, -1, 63, 64} {
		before := odd.Clone()
		if odd.AppendSubtree(level, leafAt(1)) == nil || odd.Size != before.Size || !slices.Equal(odd.Peaks, before.Peaks) {
			t.Errorf("a subtree of level %d was appended to one leaf", level)
		}
	}
	full := merkle.Frontier{Size: merkle.TreeSizeMax, Peaks: make([]merkle.Hash, 64)}
	if full.Append(leafAt(0)) == nil {
		t.Error("a full tree took a leaf")
	}
}
