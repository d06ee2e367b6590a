package verify

import (
	"errors"
	"fmt"

	"sigil.example/go/verify/merkle"
	"sigil.example/go/verify/record"
)

// FeedStart is what a reader of a feed begins with.
type FeedStart struct {
	Keys *Keys
	// Renew gives the keys as they are now. Keys change while a feed is read: what does not hold is looked at again with
	//  those that were announced since. Nil never renews.
	Renew func() (*Keys, error)
	// Known is the newest checkpoint that was verified before, a signed note; "" for none. A ledger with another past is
	//  then found out.
	Known string
	// Rebuild is the tree of the leaves that were read before, the zero value for none of them, to be rebuilt from every
	//  further leaf: then nothing can be left out. Nil does not rebuild, as a reader of a part of the ledger.
	Rebuild *merkle.Frontier
	// Next is the position that the feed begins at; of a tree that is rebuilt, its size.
	Next uint64
}

// Feed verifies what a server says of its ledger, message by message, in the order of the ledger: each checkpoint is
// signed by the key that follows from genesis and leads on from the one before, each record stands where it is said
// to, and nothing comes twice. After an error it is over. Source: docs/spec/feed.md §4. Pure. Holds one checkpoint, and
// 64 hashes of a tree that is rebuilt. For one goroutine.
type Feed struct {
	keys      *Keys
	renew     func() (*Keys, error)
	known     *merkle.Checkpoint
	knownNote string
	// proofsTo is the note that proofs of records lead to: the last one of the stream under way.
	proofsTo string
	next     uint64
	rebuilt  *merkle.Frontier
	// ahead is the first checkpoint that is ahead of what was rebuilt.
	ahead *merkle.Checkpoint
}

// NewFeed begins one.
func NewFeed(start FeedStart) (*Feed, error) {
	if !start.Keys.isWalked() {
		return nil, errNoKeys
	}
	feed := &Feed{keys: start.Keys, renew: start.Renew, next: start.Next}
	if start.Known != "" {
		signed, err := merkle.ParseSigned(start.Known)
		if err != nil {
			return nil, fmt.Errorf("the known checkpoint: %w", err)
		}
		feed.known, feed.knownNote = signed.Checkpoint, start.Known
	}
	if start.Rebuild != nil {
		if err := start.Rebuild.Check(); err != nil {
			return nil, fmt.Errorf("the tree to be rebuilt: %w", err)
		}
		if start.Next != start.Rebuild.Size {
			return nil, fmt.Errorf("the tree to be rebuilt has %d leaves, and the feed begins at %d", start.Rebuild.Size, start.Next)
		}
		rebuilt := start.Rebuild.Clone()
		feed.rebuilt = &rebuilt
	}
	return feed, nil
}

// Next is the position that a stream goes on at.
func (f *Feed) Next() uint64 { return f.next }

// Known is the newest checkpoint that was verified, a signed note; "" before the first.
func (f *Feed) Known() string { return f.knownNote }

// KnownSize is the size of its tree; found is false before the first.
func (f *Feed) KnownSize() (size uint64, found bool) {
	if f.known == nil {
		return 0, false
	}
	return f.known.Size, true
}

// Rebuilt is the tree of the leaves that were read; nil where none is rebuilt.
func (f *Feed) Rebuilt() *merkle.Frontier {
	if f.rebuilt == nil {
		return nil
	}
	rebuilt := f.rebuilt.Clone()
	return &rebuilt
}

// Reopened says that another stream begins: its records are proved against a checkpoint of its own.
func (f *Feed) Reopened() { f.proofsTo = "" }

// verifying tries again with newer keys what does not hold. What Renew fails with is given as it is.
func (f *Feed) verifying(verify func(keys *Keys) error) error {
	err := verify(f.keys)
	if err == nil || f.renew == nil {
		return err
	}
	newer, renewErr := f.renew()
	if renewErr != nil {
		return renewErr
	}
	if !newer.isWalked() || newer.records <= f.keys.records {
		return err
	}
	if err := verify(newer); err != nil {
		return err
	}
	f.keys = newer
	return nil
}

// Checkpoint takes a signed note, with the proof that its tree begins with the one that is known, and the position that
// follows. A ledger with two pasts is a *Fork.
func (f *Feed) Checkpoint(note string, path [][]byte, next uint64) (*merkle.Checkpoint, error) {
	if next < f.next {
		return nil, refused("the feed goes back to position %d: it is at %d", next, f.next)
	}
	var checkpoint *merkle.Checkpoint
	err := f.verifying(func(keys *Keys) (err error) {
		checkpoint, err = keys.Checkpoint(note)
		return err
	})
	if err != nil {
		return nil, err
	}
	if f.known != nil {
		if fork := growthFault(f.known, checkpoint, path); fork != nil {
			fork.KnownNote, fork.NewerNote = f.knownNote, note
			return nil, fork
		}
	}
	if f.rebuilt != nil {
		if next != f.rebuilt.Size {
			return nil, leftOut(f.rebuilt.Size, next)
		}
		// One at a time is enough: each later checkpoint begins with it.
		if f.ahead == nil && checkpoint.Size >= f.rebuilt.Size {
			f.ahead = checkpoint
		}
		if err := f.compare(); err != nil {
			return nil, err
		}
	}
	f.known, f.knownNote, f.proofsTo, f.next = checkpoint, note, note, next
	return checkpoint, nil
}

// FeedRecord is a record of a feed that was verified.
type FeedRecord struct {
	Found
	// Envelope are the bytes that were verified, and Leaf their hash in the tree.
	Envelope []byte
	Leaf     Hash
	// Disclosures open the record's commitments, each checked against the record; nil without any. A server can leave
	// any out.
	Disclosures record.Disclosures
}

// Record takes a record with its path in the tree of the last checkpoint, what discloses it, if anything does, and the
// position that follows.
func (f *Feed) Record(stored StoredRecord, path [][]byte, disclosures []byte, next uint64) (*FeedRecord, error) {
	if err := f.requireNext(stored.Position, next); err != nil {
		return nil, err
	}
	var found *Found
	err := f.verifying(func(keys *Keys) (err error) {
		found, err = keys.Record(RecordProof{StoredRecord: stored, Path: path, Checkpoint: f.proofsTo})
		return err
	})
	if err != nil {
		return nil, err
	}
	entry := record.EntryOf(stored.Envelope)
	taken := &FeedRecord{Found: *found, Envelope: stored.Envelope, Leaf: Hash(merkle.LeafHash(entry[:]))}
	if len(disclosures) > 0 {
		if taken.Disclosures, err = record.ReadDisclosures(disclosures, found.Body); err != nil {
			return nil, refusedAt(stored.Position, "disclosures", err)
		}
	}
	return taken, f.take(taken.Leaf, next)
}

// Erased takes what is left of a record whose tenant was erased: its leaf.
func (f *Feed) Erased(position uint64, leaf []byte, path [][]byte, next uint64) error {
	if err := f.requireNext(position, next); err != nil {
		return err
	}
	if len(leaf) != len(Hash{}) {
		return refusedAt(position, "inclusion", errors.New("a leaf must be 32 bytes"))
	}
	err := f.verifying(func(keys *Keys) error { return keys.Leaf(position, Hash(leaf), path, f.proofsTo) })
	if err != nil {
		return err
	}
	return f.take(Hash(leaf), next)
}

func leftOut(position, next uint64) error {
	return refused("position %d was left out: the feed goes on at %d", position, next)
}

func (f *Feed) requireNext(position, next uint64) error {
	switch {
	case f.proofsTo == "":
		return refused("the feed does not begin with a checkpoint")
	case position < f.next || position == merkle.TreeSizeMax || next != position+1:
		return refused("position %d is not the next of the feed, which is at %d", position, f.next)
	case f.rebuilt != nil && position != f.rebuilt.Size:
		return leftOut(f.rebuilt.Size, position)
	}
	return nil
}

func (f *Feed) take(leaf Hash, next uint64) error {
	if f.rebuilt != nil {
		if err := f.rebuilt.Append(merkle.Hash(leaf)); err != nil {
			return err
		}
		if err := f.compare(); err != nil {
			return err
		}
	}
	f.next = next
	return nil
}

// compare holds what was rebuilt against the checkpoint of its size.
func (f *Feed) compare() error {
	if f.ahead == nil || f.ahead.Size != f.rebuilt.Size {
		return nil
	}
	said, root := f.ahead.Root, f.rebuilt.Root()
	f.ahead = nil
	if said != root {
		return refused("the %d records that were read have the root %x, the checkpoint says %x", f.rebuilt.Size, root, said)
	}
	return nil
}
