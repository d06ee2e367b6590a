package verify_test

import (
	"errors"
	"fmt"
	"testing"

	"sigil.example/go/internal/ledgers"
	"sigil.example/go/verify"
	"sigil.example/go/verify/merkle"
)

// feedLedger has records by keys that change.
func feedLedger(t *testing.T) (ledger *ledgers.Ledger, keyPositions []uint64) {
	t.Helper()
	ledger = ledgers.New(t)
	keyPositions = []uint64{0}
	for at := range 9 {
		ledger.Append(ledgers.Decision(fmt.Sprint("d-", at), "svc", at+1, 1000))
		switch at {
		case 3:
			keyPositions = append(keyPositions, ledger.Announce("record", 2, "record 2"))
		case 5:
			keyPositions = append(keyPositions, ledger.Announce("checkpoint", 2, "checkpoint 2"))
		}
	}
	return ledger, keyPositions
}

type reader struct {
	*testing.T
	feed *verify.Feed
	all  *ledgers.Ledger
	// size of the last checkpoint.
	size int
}

func (r *reader) checkpointOf(size int, next uint64) error {
	then := r.all.At(size)
	key := "checkpoint 1"
	if size > 8 {
		key = "checkpoint 2"
	}
	_, err := r.feed.Checkpoint(then.Checkpoint(key), then.Growth(r.size), next)
	if err == nil {
		r.size = size
	}
	return err
}

func (r *reader) record(position uint64) error {
	_, err := r.feed.Record(stored(r.all, position)[0], r.all.At(r.size).Path(position), nil, position+1)
	return err
}

func (r *reader) erased(position uint64) error {
	leaf := leafIn(r.all, position)
	return r.feed.Erased(position, leaf[:], r.all.At(r.size).Path(position), position+1)
}

func leafIn(ledger *ledgers.Ledger, position uint64) merkle.Hash {
	// A tree of one leaf has it for its root.
	one := *ledger
	one.Envelopes = ledger.Envelopes[position : position+1]
	return one.Root()
}

func (r *reader) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func reading(t *testing.T, change func(*verify.FeedStart)) *reader {
	t.Helper()
	ledger, positions := feedLedger(t)
	start := verify.FeedStart{Keys: walkOf(t, ledger, positions...), Rebuild: &merkle.Frontier{}}
	if change != nil {
		change(&start)
	}
	feed, err := verify.NewFeed(start)
	if err != nil {
		t.Fatal(err)
	}
	return &reader{T: t, feed: feed, all: ledger}
}

func TestAFeedIsReadAndRebuilt(t *testing.T) {
	r := reading(t, nil)
	r.must(r.checkpointOf(4, 0))
	for position := range uint64(4) {
		r.must(r.record(position))
	}
	r.must(r.checkpointOf(11, 4))
	for position := uint64(4); position < 8; position++ {
		r.must(r.record(position))
	}
	r.must(r.erased(8))
	// Another reader goes on where this one was left.
	kept, tree := r.feed.Known(), r.feed.Rebuilt()
	next := reading(t, func(start *verify.FeedStart) { start.Known, start.Rebuild, start.Next = kept, tree, tree.Size })
	next.size = 11
	next.must(next.checkpointOf(12, 9))
	for position := uint64(9); position < 12; position++ {
		next.must(next.record(position))
	}
	if next.feed.Next() != 12 || next.feed.Rebuilt().Root() != next.all.Root() {
		t.Error(next.feed.Next())
	}
	if r.feed.Rebuilt().Size != 9 {
		t.Error("a tree that was handed out changed with the one that goes on")
	}
}

func TestAFeedGoesOnByKeysThatWereAnnouncedSince(t *testing.T) {
	ledger, positions := feedLedger(t)
	renewed := 0
	r := reading(t, func(start *verify.FeedStart) {
		start.Keys = walkOf(t, ledger, 0)
		start.Renew = func() (*verify.Keys, error) { renewed++; return walkOf(t, ledger, positions...), nil }
	})
	r.must(r.checkpointOf(12, 0))
	for position := range uint64(12) {
		r.must(r.record(position))
	}
	if renewed != 1 {
		t.Error(renewed, "walks")
	}
	away := errors.New("the server is away")
	r = reading(t, func(start *verify.FeedStart) {
		start.Keys = walkOf(t, ledger, 0)
		start.Renew = func() (*verify.Keys, error) { return nil, away }
	})
	if err := r.checkpointOf(12, 0); !errors.Is(err, away) {
		t.Error(err)
	}
}

func TestAFeedThatLiesIsRefused(t *testing.T) {
	other := func(t *testing.T) *ledgers.Ledger {
		ledger, _ := feedLedger(t)
		ledger.Envelopes[2] = ledger.Envelopes[3]
		return ledger
	}
	for _, lie := range []struct {
		what string
		rule string
		tell func(r *reader) error
	}{
		{"records before any checkpoint", "does not begin with a checkpoint", func(r *reader) error { return r.record(0) }},
		{"records of a stream before its checkpoint", "does not begin with a checkpoint", func(r *reader) error {
			r.must(r.checkpointOf(4, 0))
			r.feed.Reopened()
			return r.record(0)
		}},
		{"a record twice", "is not the next", func(r *reader) error {
			r.must(r.checkpointOf(4, 0))
			r.must(r.record(0))
			return r.record(0)
		}},
		{"a record that is left out", "position 1 was left out", func(r *reader) error {
			r.must(r.checkpointOf(4, 0))
			r.must(r.record(0))
			return r.record(2)
		}},
		{"a position that a checkpoint skips", "position 0 was left out", func(r *reader) error { return r.checkpointOf(4, 3) }},
		{"a checkpoint that goes back", "goes back", func(r *reader) error {
			r.must(r.checkpointOf(4, 0))
			r.must(r.record(0))
			return r.checkpointOf(5, 0)
		}},
		{"a position that leads elsewhere", "is not the next", func(r *reader) error {
			r.must(r.checkpointOf(4, 0))
			_, err := r.feed.Record(stored(r.all, 0)[0], r.all.At(4).Path(0), nil, 3)
			return err
		}},
		{"a record at another's position", "", func(r *reader) error {
			r.must(r.checkpointOf(4, 0))
			r.must(r.record(0))
			moved := stored(r.all, 2)[0]
			moved.Position = 1
			_, err := r.feed.Record(moved, r.all.At(4).Path(1), nil, 2)
			return err
		}},
		{"a path of another tree", "", func(r *reader) error {
			r.must(r.checkpointOf(4, 0))
			_, err := r.feed.Record(stored(r.all, 0)[0], r.all.Path(0), nil, 1)
			return err
		}},
		{"disclosures of nothing", "is committed to by nothing", func(r *reader) error {
			r.must(r.checkpointOf(4, 0))
			r.must(r.record(0))
			empty := []byte{0xa1, 0x61, 'x', 0xa2, 0x64, 's', 'a', 'l', 't', 0x58, 0x20}
			empty = append(append(empty, make([]byte, 32)...), 0x65, 'v', 'a', 'l', 'u', 'e', 0x01)
			_, err := r.feed.Record(stored(r.all, 1)[0], r.all.At(4).Path(1), empty, 2)
			return err
		}},
		{"a leaf that is not there", "", func(r *reader) error {
			r.must(r.checkpointOf(4, 0))
			leaf := leafIn(r.all, 1)
			return r.feed.Erased(0, leaf[:], r.all.At(4).Path(0), 1)
		}},
		{"half a leaf", "32 bytes", func(r *reader) error {
			r.must(r.checkpointOf(4, 0))
			return r.feed.Erased(0, make([]byte, 16), r.all.At(4).Path(0), 1)
		}},
		{"a checkpoint of another key", "", func(r *reader) error {
			_, err := r.feed.Checkpoint(r.all.At(4).Checkpoint("checkpoint 2"), nil, 0)
			return err
		}},
	} {
		t.Run(lie.what, func(t *testing.T) {
			expectError(t, lie.tell(reading(t, nil)), lie.rule)
		})
	}
	t.Run("another past", func(t *testing.T) {
		r := reading(t, nil)
		r.must(r.checkpointOf(4, 0))
		fork := other(t)
		_, err := r.feed.Checkpoint(fork.At(6).Checkpoint("checkpoint 1"), fork.At(6).Growth(4), 0)
		var found *verify.Fork
		if !errors.As(err, &found) || found.KnownNote != r.all.At(4).Checkpoint("checkpoint 1") || found.NewerNote != fork.At(6).Checkpoint("checkpoint 1") {
			t.Error(err)
		}
	})
	t.Run("another past after a restart", func(t *testing.T) {
		fork := other(t)
		kept := fork.At(4).Checkpoint("checkpoint 1")
		r := reading(t, func(start *verify.FeedStart) { start.Known = kept })
		r.size = 4
		var found *verify.Fork
		if err := r.checkpointOf(6, 0); !errors.As(err, &found) {
			t.Error(err)
		}
	})
	t.Run("a tree that was rebuilt from other leaves", func(t *testing.T) {
		fork := other(t)
		tree := merkle.Frontier{}
		for position := range uint64(4) {
			_ = tree.Append(leafIn(fork, position))
		}
		r := reading(t, func(start *verify.FeedStart) { start.Rebuild, start.Next = &tree, 4 })
		r.must(r.checkpointOf(6, 4))
		r.must(r.record(4))
		expectError(t, r.record(5), "have the root")
	})
}

func TestAFeedBeginsWithWhatFitsTogether(t *testing.T) {
	ledger, positions := feedLedger(t)
	keys := walkOf(t, ledger, positions...)
	for _, start := range []verify.FeedStart{
		{},
		{Keys: &verify.Keys{}},
		{Keys: keys, Known: "no note"},
		{Keys: keys, Rebuild: &merkle.Frontier{Size: 2}},
		{Keys: keys, Rebuild: &merkle.Frontier{}, Next: 3},
	} {
		if _, err := verify.NewFeed(start); err == nil {
			t.Errorf("%+v", start)
		}
	}
}
