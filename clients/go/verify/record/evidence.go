package record

// EvidenceRecord is a record of an evidence file, and its path as indexes into the file's nodes.
type EvidenceRecord struct {
	Position uint64
	Envelope []byte
	Path     []uint64
}

// EvidenceLayout is an evidence file's fields, of which nothing but the shape was checked. Source:
// docs/spec/verify.md §1.
type EvidenceLayout struct {
	Origin      string
	Position    uint64
	Checkpoint  string
	Nodes       []Hash
	Records     []EvidenceRecord
	Disclosures []byte
}

// ReadEvidence reads the fields of a decoded file.
func ReadEvidence(value any) (*EvidenceLayout, error) {
	r := &reading{}
	f := r.mapOf(value, true, "evidence", words("version origin position checkpoint nodes records"), "disclosures")
	if f.get("version") != int64(1) {
		f.no("version", "must be 1")
	}
	layout := &EvidenceLayout{}
	layout.Nodes = list(f, "nodes", entriesMax, hashItem)
	layout.Records = list(f, "records", entriesMax, func(item fields) EvidenceRecord {
		each := item.itemMap(words("position envelope path"))
		position, envelope := each.uint64("position"), each.bytes("envelope")
		path := list(each, "path", entriesMax, func(index fields) uint64 { return index.uint(itemKey) })
		return EvidenceRecord{position, envelope, path}
	})
	layout.Origin, layout.Position = f.text("origin"), f.uint64("position")
	layout.Checkpoint = f.text("checkpoint")
	if f.m.Has("disclosures") {
		layout.Disclosures = append([]byte{}, f.bytes("disclosures")...)
	}
	if r.fault != nil {
		return nil, r.fault
	}
	return layout, nil
}
