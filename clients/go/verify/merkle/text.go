package merkle

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const (
	tlogProofHeader   = "c2sp.org/tlog-proof@v1"
	tlogPathMax       = 64
	tlogProofBytesMax = 4 * noteBytesMax
)

// TlogProof is an inclusion proof as a file, C2SP tlog-proof. What is parsed is not verified.
type TlogProof struct {
	LeafIndex uint64
	// Path is from the leaf's sibling to the root's child.
	Path []Hash
	// Checkpoint is the signed note, verbatim.
	Checkpoint string
	// Extra is signed by nobody: nothing may rest on it. Nil if there is none, as in what Sigil writes.
	Extra []byte
}

func refuseTlogProof(rule string) error { return refuse("tlog-proof: " + rule) }

// ParseTlogProof parses the file. Format gives it back.
func ParseTlogProof(text string) (*TlogProof, error) {
	if len(text) > tlogProofBytesMax {
		return nil, refuseTlogProof(fmt.Sprintf("must be at most %d characters", tlogProofBytesMax))
	}
	above, checkpoint, found := strings.Cut(text, "\n\n")
	if !found {
		return nil, refuseTlogProof("must have an empty line before its checkpoint")
	}
	lines := strings.Split(above, "\n")
	if lines[0] != tlogProofHeader {
		return nil, refuseTlogProof("must begin with " + tlogProofHeader)
	}
	lines = lines[1:]
	proof := &TlogProof{Checkpoint: checkpoint}
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		extra, ok := fromBase64(strings.TrimPrefix(lines[0], "extra "))
		if !ok {
			return nil, refuseTlogProof("extra data must be padded standard base64")
		}
		proof.Extra = append([]byte{}, extra...)
		lines = lines[1:]
	}
	index, ok := "", false
	if len(lines) > 0 {
		index, ok = strings.CutPrefix(lines[0], "index ")
	}
	if !ok || !isDecimal(index) {
		return nil, refuseTlogProof("must name the index in decimal without leading zeroes")
	}
	var err error
	if proof.LeafIndex, err = strconv.ParseUint(index, 10, 64); err != nil {
		return nil, refuseTlogProof("the index must be a uint64")
	}
	lines = lines[1:]
	if len(lines) > tlogPathMax {
		return nil, refuseTlogProof(fmt.Sprintf("the path must have at most %d lines", tlogPathMax))
	}
	for _, line := range lines {
		hash, ok := hashFromBase64(line)
		if !ok {
			return nil, refuseTlogProof("a line of the path must be padded standard base64 of 32 bytes")
		}
		proof.Path = append(proof.Path, hash)
	}
	if _, err := ParseSigned(checkpoint); err != nil {
		return nil, err
	}
	return proof, nil
}

// Format writes the file.
func (p *TlogProof) Format() string {
	lines := []string{tlogProofHeader}
	if p.Extra != nil {
		lines = append(lines, "extra "+base64.StdEncoding.EncodeToString(p.Extra))
	}
	lines = append(lines, fmt.Sprintf("index %d", p.LeafIndex))
	for _, hash := range p.Path {
		lines = append(lines, base64.StdEncoding.EncodeToString(hash[:]))
	}
	return strings.Join(lines, "\n") + "\n\n" + p.Checkpoint
}

// TileWidthMax is how many hashes or entries a whole tile has.
const TileWidthMax = 256

// Tile is what a path names, C2SP tlog-tiles: a tile of hashes, or a bundle of entries, whose Level is 0.
type Tile struct {
	IsEntries bool
	Level     int
	Index     uint64
	// Width is in hashes or entries, 1 to 256.
	Width int
}

var tileShape = regexp.MustCompile(`^tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?$`)

// ParseTilePath takes the one path of each tile.
func ParseTilePath(path string) (Tile, error) {
	parts := tileShape.FindStringSubmatch(path)
	if parts == nil {
		return Tile{}, refuse("must be tile/<L>/<N>[.p/<W>] or tile/entries/<N>[.p/<W>]")
	}
	level, groups, width := parts[1], parts[2], parts[3]
	tile := Tile{IsEntries: level == "entries", Width: TileWidthMax}
	if level != "entries" && !isDecimal(level) || strings.HasPrefix(groups, "x000") {
		return Tile{}, refuse("must have no needless zeroes")
	}
	if !tile.IsEntries {
		tile.Level, _ = strconv.Atoi(level)
	}
	if tile.Level > 63 {
		return Tile{}, refuse("the level must be at most 63")
	}
	if width != "" {
		if width != "0" && !isDecimal(width) {
			return Tile{}, refuse("must have no needless zeroes")
		}
		tile.Width, _ = strconv.Atoi(width)
		if tile.Width < 1 || tile.Width >= TileWidthMax {
			return Tile{}, refuse("a partial tile is 1 to 255 wide")
		}
	}
	digits := strings.NewReplacer("x", "", "/", "").Replace(groups)
	var err error
	if tile.Index, err = strconv.ParseUint(digits, 10, 64); err != nil {
		return Tile{}, refuse("the index must be a uint64")
	}
	return tile, nil
}

// Path is the tile's path.
func (t Tile) Path() string {
	groups := fmt.Sprintf("%03d", t.Index%1000)
	for left := t.Index / 1000; left > 0; left /= 1000 {
		groups = fmt.Sprintf("x%03d/", left%1000) + groups
	}
	path := fmt.Sprintf("tile/%d/%s", t.Level, groups)
	if t.IsEntries {
		path = "tile/entries/" + groups
	}
	if t.Width < TileWidthMax {
		path += fmt.Sprintf(".p/%d", t.Width)
	}
	return path
}
