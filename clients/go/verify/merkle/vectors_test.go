package merkle_test

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strconv"
	"testing"

	"sigil.example/go/internal/vectors"
	"sigil.example/go/verify/merkle"
)

func ruleOf(err error) string {
	var proof *merkle.ProofError
	var text *merkle.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &proof):
		return proof.Rule
	case errors.As(err, &text):
		return text.Rule
	default:
		return "no rule: " + err.Error()
	}
}

func expectRule(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatal("was accepted")
	}
	if rule := ruleOf(err); rule != want {
		t.Errorf("refused by %q, want %q", rule, want)
	}
}

// public hashes are in base64, which is how encoding/json writes []byte. Null is no proof.
type publicInclusion struct {
	Name      string
	LeafIdx   uint64
	TreeSize  uint64
	Root      []byte
	LeafHash  []byte
	Proof     [][]byte
	WantError bool `json:"wantErr"`
}

type publicConsistency struct {
	Name      string
	Size1     uint64
	Size2     uint64
	Root1     []byte
	Root2     []byte
	Proof     [][]byte
	WantError bool `json:"wantErr"`
}

func TestPublicVectorsOfInclusion(t *testing.T) {
	cases := vectors.Read[struct{ Cases []publicInclusion }](t, "merkle-inclusion.json").Cases
	if len(cases) != 82 {
		t.Fatalf("%d cases, want 82", len(cases))
	}
	for _, each := range cases {
		claim := merkle.Inclusion{
			LeafIndex: each.LeafIdx, TreeSize: each.TreeSize, LeafHash: each.LeafHash, Path: each.Proof,
		}
		if err := merkle.CheckInclusion(claim, each.Root); (err != nil) != each.WantError {
			t.Errorf("%s: %v, want an error: %v", each.Name, err, each.WantError)
		}
	}
}

func TestPublicVectorsOfConsistency(t *testing.T) {
	cases := vectors.Read[struct{ Cases []publicConsistency }](t, "merkle-consistency.json").Cases
	if len(cases) != 84 {
		t.Fatalf("%d cases, want 84", len(cases))
	}
	for _, each := range cases {
		claim := merkle.Consistency{
			OldSize: each.Size1, NewSize: each.Size2, OldRoot: each.Root1, NewRoot: each.Root2, Path: each.Proof,
		}
		if err := merkle.CheckConsistency(claim); (err != nil) != each.WantError {
			t.Errorf("%s: %v, want an error: %v", each.Name, err, each.WantError)
		}
	}
}

type goldenCase struct {
	Name, Kind, Rule    string
	Size                string
	LeafIndex, TreeSize string
	OldSize, NewSize    string
	LeafHash, Root      vectors.Hex
	OldRoot, NewRoot    vectors.Hex
	Proof               []vectors.Hex
}

type golden struct{ Accept, Refuse []goldenCase }

// naiveRoot is RFC 6962 §2.1 as it stands there.
func naiveRoot(leaves []merkle.Hash) merkle.Hash {
	switch len(leaves) {
	case 0:
		return merkle.EmptyRoot()
	case 1:
		return leaves[0]
	}
	split := 1
	for 2*split < len(leaves) {
		split *= 2
	}
	return merkle.NodeHash(naiveRoot(leaves[:split]), naiveRoot(leaves[split:]))
}

func (c goldenCase) judge(t *testing.T) error {
	t.Helper()
	number := func(digits string) uint64 {
		value, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			t.Skipf("%q is no uint64, so that no Go caller can ask this", digits)
		}
		return value
	}
	path := make([][]byte, 0, len(c.Proof))
	for _, hash := range c.Proof {
		path = append(path, hash)
	}
	switch c.Kind {
	case "root":
		leaves := []merkle.Hash{}
		for index := range number(c.Size) {
			entry := sha256.Sum256([]byte(strconv.FormatUint(index, 10)))
			leaves = append(leaves, merkle.LeafHash(entry[:]))
		}
		if root := naiveRoot(leaves); !slices.Equal(root[:], c.Root) {
			return errors.New("another root")
		}
		return nil
	case "inclusion":
		claim := merkle.Inclusion{
			LeafIndex: number(c.LeafIndex), TreeSize: number(c.TreeSize), LeafHash: c.LeafHash, Path: path,
		}
		return merkle.CheckInclusion(claim, c.Root)
	case "consistency":
		return merkle.CheckConsistency(merkle.Consistency{
			OldSize: number(c.OldSize), NewSize: number(c.NewSize), OldRoot: c.OldRoot, NewRoot: c.NewRoot, Path: path,
		})
	default:
		t.Fatalf("unknown kind %q", c.Kind)
		return nil
	}
}

func TestGoldenVectorsOfProofs(t *testing.T) {
	whole := vectors.Read[golden](t, "merkle-golden.json")
	for _, vector := range whole.Accept {
		t.Run("accept "+vector.Kind+": "+vector.Name, func(t *testing.T) {
			if err := vector.judge(t); err != nil {
				t.Error(err)
			}
		})
	}
	for _, vector := range whole.Refuse {
		t.Run("refuse "+vector.Kind+": "+vector.Name, func(t *testing.T) {
			expectRule(t, vector.judge(t), vector.Rule)
		})
	}
}

func TestVectorsOfTilePaths(t *testing.T) {
	type vector struct {
		Path, Rule string
		Resource   struct {
			Kind, Index  string
			Level, Width int
		}
	}
	whole := vectors.Read[struct{ Accept, Refuse []vector }](t, "merkle-tiles.json")
	for _, each := range whole.Accept {
		index, _ := strconv.ParseUint(each.Resource.Index, 10, 64)
		want := merkle.Tile{
			IsEntries: each.Resource.Kind == "entries", Level: each.Resource.Level, Index: index, Width: each.Resource.Width,
		}
		if tile, err := merkle.ParseTilePath(each.Path); err != nil || tile != want || tile.Path() != each.Path {
			t.Errorf("%s is %+v (%v), and is written %s", each.Path, tile, err, tile.Path())
		}
	}
	for _, each := range whole.Refuse {
		t.Run(strconv.Quote(each.Path), func(t *testing.T) {
			_, err := merkle.ParseTilePath(each.Path)
			expectRule(t, err, each.Rule)
		})
	}
}

type noteVector struct {
	Name, Note, Rule, Size, Time string
	Root                         []byte
	Origin                       string
	Extensions                   []string
	Lines                        int
}

type noteVectors struct {
	Origin     string
	PublicKey  vectors.Hex
	KeyID      vectors.Hex
	Mldsa44Key vectors.Hex
	Witness    struct {
		Name             string
		PublicKey, KeyID vectors.Hex
	}
	Accept, Refuse []noteVector
	Cosignatures   struct{ Accept, Refuse []noteVector }
}

func TestVectorsOfCheckpoints(t *testing.T) {
	whole := vectors.Read[noteVectors](t, "checkpoint.json")
	log := merkle.Log{Origin: whole.Origin, PublicKey: whole.PublicKey}
	witness := merkle.Cosigner{Name: whole.Witness.Name, PublicKey: whole.Witness.PublicKey}
	if id := merkle.KeyID(log.Origin, log.PublicKey); !slices.Equal(id[:], whole.KeyID) {
		t.Errorf("the log's key id is %x", id)
	}
	if id := merkle.CosignatureKeyID(witness.Name, witness.PublicKey); !slices.Equal(id[:], whole.Witness.KeyID) {
		t.Errorf("the witness's key id is %x", id)
	}
	for _, vector := range whole.Accept {
		t.Run("accept "+vector.Name, func(t *testing.T) {
			own := log
			if vector.Origin != "" {
				own.Origin = vector.Origin
			}
			checkpoint, err := merkle.VerifyCheckpoint(vector.Note, own)
			if err != nil {
				t.Fatal(err)
			}
			size := strconv.FormatUint(checkpoint.Size, 10)
			if size != vector.Size || !slices.Equal(checkpoint.Root[:], vector.Root) || checkpoint.Origin != own.Origin ||
				!slices.Equal(checkpoint.Extensions, vector.Extensions) {
				t.Errorf("is %+v", checkpoint)
			}
			note, err := merkle.ParseNote(vector.Note)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := note.Format(); err != nil || text != vector.Note || checkpoint.Format() != note.Text {
				t.Errorf("comes back as %q, %v", text, err)
			}
		})
	}
	for _, vector := range whole.Refuse {
		t.Run("refuse "+vector.Name, func(t *testing.T) {
			checkpoint, err := merkle.VerifyCheckpoint(vector.Note, log)
			expectRule(t, err, vector.Rule)
			if checkpoint != nil {
				t.Error("a checkpoint came with the error")
			}
		})
	}
	for _, vector := range whole.Cosignatures.Accept {
		t.Run("accept a cosignature: "+vector.Name, func(t *testing.T) {
			signed, err := merkle.ParseSigned(vector.Note)
			if err != nil {
				t.Fatal(err)
			}
			time, err := signed.VerifyCosignature(witness)
			if err != nil || strconv.FormatUint(time, 10) != vector.Time {
				t.Errorf("%d, %v; want %s", time, err, vector.Time)
			}
		})
	}
	for _, vector := range whole.Cosignatures.Refuse {
		t.Run("refuse a cosignature: "+vector.Name, func(t *testing.T) {
			signed, err := merkle.ParseSigned(vector.Note)
			if err == nil {
				_, err = signed.VerifyCosignature(witness)
			}
			expectRule(t, err, vector.Rule)
		})
	}
}

func TestVectorsOfMLDSA44(t *testing.T) {
	whole := vectors.Read[noteVectors](t, "mldsa44.json")
	log := merkle.Log{Origin: whole.Origin, PublicKey: whole.PublicKey, Mldsa44Key: whole.Mldsa44Key}
	if id := merkle.Mldsa44KeyID(log.Origin, log.Mldsa44Key); !slices.Equal(id[:], whole.KeyID) {
		t.Errorf("the key id is %x", id)
	}
	for _, vector := range whole.Accept {
		t.Run("accept "+vector.Name, func(t *testing.T) {
			if _, err := merkle.VerifyCheckpoint(vector.Note, log); err != nil {
				t.Error(err)
			}
			signed, err := merkle.ParseSigned(vector.Note)
			if err != nil {
				t.Fatal(err)
			}
			if lines := len(signed.SubtreeLines(log.Mldsa44Key)); lines != vector.Lines {
				t.Errorf("%d lines of the key, want %d", lines, vector.Lines)
			}
		})
	}
	for _, vector := range whole.Refuse {
		t.Run("refuse "+vector.Name, func(t *testing.T) {
			_, err := merkle.VerifyCheckpoint(vector.Note, log)
			expectRule(t, err, vector.Rule)
			without := merkle.Log{Origin: log.Origin, PublicKey: log.PublicKey}
			if _, err := merkle.VerifyCheckpoint(vector.Note, without); err != nil {
				t.Errorf("who does not know the key ignores its line: %v", err)
			}
		})
	}
}
