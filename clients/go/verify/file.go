package verify

import (
	"fmt"
	"strings"

	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/keys"
	"sigil.example/go/verify/merkle"
	"sigil.example/go/verify/record"
)

// FileBytesMax is the length of an evidence file, in bytes. Source: docs/spec/verify.md §1.
const FileBytesMax = 16 << 20

// file is an evidence file that is parsed and not verified.
type file struct {
	origin     string
	position   uint64
	checkpoint string
	signed     *merkle.Signed
	opened     []opened
	// disclosures are nil if there are none.
	disclosures []byte
}

func wrongFile(field, rule string) error {
	return &record.Error{Field: "evidence." + field, Rule: rule}
}

func parseFile(input []byte) (*file, error) {
	value, err := cbor.DecodeFile(input, FileBytesMax)
	if err != nil {
		return nil, err
	}
	layout, err := record.ReadEvidence(value)
	if err != nil {
		return nil, err
	}
	paths, err := pathsOf(layout)
	if err != nil {
		return nil, err
	}
	if err := checkOrder(layout); err != nil {
		return nil, err
	}
	parsed := &file{
		origin: layout.Origin, position: layout.Position, checkpoint: layout.Checkpoint, disclosures: layout.Disclosures,
	}
	if parsed.signed, err = merkle.ParseSigned(layout.Checkpoint); err != nil {
		return nil, err
	}
	for index, each := range layout.Records {
		one, err := open(StoredRecord{each.Position, each.Envelope}, paths[index])
		if err != nil {
			return nil, err
		}
		parsed.opened = append(parsed.opened, one)
	}
	return parsed, nil
}

// pathsOf resolves indexes into nodes. Each node is there once, because a path needs it, and in the order of that
// need: so there is one file for one evidence.
func pathsOf(layout *record.EvidenceLayout) ([][][]byte, error) {
	seen := map[record.Hash]bool{}
	for _, node := range layout.Nodes {
		if seen[node] {
			return nil, wrongFile("nodes", "must be distinct")
		}
		seen[node] = true
	}
	var needed uint64
	paths := make([][][]byte, 0, len(layout.Records))
	for _, each := range layout.Records {
		path := make([][]byte, 0, len(each.Path))
		for _, index := range each.Path {
			if index > needed || index >= uint64(len(layout.Nodes)) {
				return nil, wrongFile("nodes", "must stand in the order in which paths name them")
			}
			if index == needed {
				needed++
			}
			path = append(path, layout.Nodes[index][:])
		}
		paths = append(paths, path)
	}
	if needed < uint64(len(layout.Nodes)) {
		return nil, wrongFile("nodes", "must each be named by a path")
	}
	return paths, nil
}

func checkOrder(layout *record.EvidenceLayout) error {
	records := layout.Records
	if len(records) == 0 || records[0].Position != 0 {
		return wrongFile("records", "must begin with position 0, the genesis record")
	}
	hasAsked := false
	for index, each := range records {
		if index > 0 && each.Position <= records[index-1].Position {
			return wrongFile(fmt.Sprintf("records[%d]", index), "must stand at a position after the one before")
		}
		hasAsked = hasAsked || each.Position == layout.Position
	}
	if !hasAsked {
		return wrongFile("position", "must be that of one of the records")
	}
	return nil
}

// isOfKeys says whether it is genesis, or announces or retires a key.
func (o *opened) isOfKeys() bool {
	subject := o.statement.Subject
	return o.Position == 0 || strings.HasPrefix(subject, "system/system/signing_key/") ||
		strings.HasPrefix(subject, "system/system/key_retirement/")
}

func (f *file) keyRecords() []opened {
	var records []opened
	for _, each := range f.opened {
		if each.isOfKeys() {
			records = append(records, each)
		}
	}
	return records
}

// requireSignatures wants those of all but the records of the walk, which were verified in it by the ring of their
// moment: a key may have been retired since.
func (f *file) requireSignatures(ring keys.Ring) (count int, err error) {
	for _, each := range f.opened {
		if each.isOfKeys() {
			continue
		}
		count++
		if _, err := each.requireSignature(ring); err != nil {
			return count, err
		}
	}
	return count, nil
}

// roles reads every record, and finds out what each is there for.
func (f *file) roles() (*roles, error) {
	result := &roles{}
	var others []opened
	for _, each := range f.opened {
		switch {
		case each.Position == f.position:
			found, err := each.found(f.origin)
			if err != nil {
				return nil, err
			}
			result.record = found
		case each.isOfKeys():
		case each.Position > f.position:
			return nil, refused("the record at position %d is later than the one it is for", each.Position)
		default:
			others = append(others, each)
		}
	}
	earlier := make([]Found, 0, len(others))
	for _, each := range others {
		found, err := each.found(f.origin)
		if err != nil {
			return nil, err
		}
		earlier = append(earlier, found)
	}
	return result, result.assign(earlier)
}
