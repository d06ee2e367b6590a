// Which records may answer the questions of a connection: a proof shows that a decision was made, not that it is this
// one. The record must be newer than the question, by position and by time, and answer no other. Source:
// docs/spec/verify.md §4. Bound: the questions under way, and those answered meanwhile.

package sigil

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"sigil.example/go/verify"
	"sigil.example/go/verify/merkle"
)

const (
	// clockLeeway is how far the server's clock may be behind this one: that of tokens, docs/spec/tokens.md §2. Before
	// the first answer no position tells old records from new ones, and time alone does.
	clockLeeway = 30 * time.Second
	// takenMax positions are kept before those are dropped that no question under way may have any more.
	takenMax = 1_024
)

// since is what the record of a question must be newer than. Nil where the caller chose the idempotency key: a repeat
// has the first record.
type since struct {
	// The ledger had so many records, as far as it was known.
	floor uint64
	// When the question was first asked, by this machine's clock: repeats of the call are the same question.
	askedMs int64
}

// proven is a record that was proved to answer a question, in a tree whose checkpoint was verified.
type proven struct {
	position uint64
	// timeMs is in milliseconds since 1970-01-01T00:00:00Z.
	timeMs int64
	tree   *merkle.Checkpoint
}

// freshness is what a connection has seen of the ledger. Safe for concurrent use.
type freshness struct {
	now func() time.Time

	mu sync.Mutex
	// known is the largest tree that an answer was proved in.
	known *merkle.Checkpoint
	// taken are the positions of records that answered while questions were under way.
	taken    map[uint64]bool
	takenMax int
	// underWay counts questions by their floors.
	underWay map[uint64]int
}

func newFreshness(now func() time.Time) *freshness {
	return &freshness{now: now, taken: map[uint64]bool{}, takenMax: takenMax, underWay: map[uint64]int{}}
}

// ask begins a question, which is ended.
func (f *freshness) ask() *since {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := &since{askedMs: f.now().UnixMilli()}
	if f.known != nil {
		asked.floor = f.known.Size
	}
	f.underWay[asked.floor]++
	return asked
}

// end of a question, answered or not.
func (f *freshness) end(asked *since) {
	if asked == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.underWay[asked.floor]--; f.underWay[asked.floor] == 0 {
		delete(f.underWay, asked.floor)
	}
	if len(f.underWay) == 0 {
		clear(f.taken)
	}
}

// take refuses a record that was there before the question, or answered another one, and a tree that is not the one
// that is known.
func (f *freshness) take(asked *since, record proven) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if asked != nil {
		if err := f.takeNew(asked, record); err != nil {
			return err
		}
	}
	if f.known != nil && f.known.Size == record.tree.Size && f.known.Root != record.tree.Root {
		return &verify.Fork{Known: f.known, Newer: record.tree, Rule: "they have one size"}
	}
	if f.known == nil || record.tree.Size > f.known.Size {
		f.known = record.tree
	}
	return nil
}

func (f *freshness) takeNew(asked *since, record proven) error {
	if record.position < asked.floor {
		return fmt.Errorf("its record is older than the question: the ledger had %d records then", asked.floor)
	}
	if ageMs := asked.askedMs - record.timeMs; ageMs > clockLeeway.Milliseconds() {
		return fmt.Errorf("its record is %d s older than the question: a stored answer, or clocks that differ by more than %d s",
			(ageMs+999)/1000, int(clockLeeway.Seconds()))
	}
	if f.taken[record.position] {
		return errors.New("its record answered another question")
	}
	f.taken[record.position] = true
	if len(f.taken) > f.takenMax {
		f.forget(asked.floor)
	}
	return nil
}

// forget drops what lies below the floor of every question under way: it is refused for that.
func (f *freshness) forget(oldest uint64) {
	for floor := range f.underWay {
		oldest = min(oldest, floor)
	}
	for position := range f.taken {
		if position < oldest {
			delete(f.taken, position)
		}
	}
	f.takenMax = max(takenMax, 2*len(f.taken))
}
