// Which records may answer a question, by their positions and times.
package sigil_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	sigil "sigil.example/go"
	"sigil.example/go/verify"
	"sigil.example/go/verify/merkle"
)

const askedMs = 1_700_000_000_000

func atMs(ms int64) func() time.Time {
	return func() time.Time { return time.UnixMilli(ms) }
}

func treeOf(size uint64) *merkle.Checkpoint { return &merkle.Checkpoint{Size: size} }

func TestTheRecordOfAFirstAnswerIsNotOlderThanItsQuestion(t *testing.T) {
	for olderMs, seconds := range map[int64]int64{
		-3_600_000: 0, -1: 0, 0: 0, 1: 0, 30_000: 0, 30_001: 31, 3_999_001: 4000, askedMs: askedMs / 1000,
	} {
		fresh := sigil.NewTestedFreshness(atMs(askedMs))
		take, _ := fresh.Ask()
		err := take(4, askedMs-olderMs, treeOf(5))
		want := fmt.Sprintf("its record is %d s older than the question: a stored answer, or clocks that differ by more than 30 s", seconds)
		if seconds == 0 && err != nil || seconds != 0 && (err == nil || err.Error() != want) {
			t.Errorf("%d ms older: %v", olderMs, err)
		}
		// What is refused changes nothing that is known.
		if again, _ := fresh.Ask(); seconds != 0 && again(4, askedMs, treeOf(5)) != nil {
			t.Errorf("%d ms older: it was remembered", olderMs)
		}
	}
}

func TestARecordIsAsOldAsTheFirstAttempt(t *testing.T) {
	nowMs := int64(askedMs)
	fresh := sigil.NewTestedFreshness(func() time.Time { return time.UnixMilli(nowMs) })
	take, _ := fresh.Ask()
	nowMs += 600_000
	if err := take(4, askedMs, treeOf(5)); err != nil {
		t.Error("a call that was repeated for ten minutes:", err)
	}
	later, _ := fresh.Ask()
	if err := later(5, askedMs, treeOf(6)); err == nil || !strings.Contains(err.Error(), "600 s older") {
		t.Error(err)
	}
}

func TestARepeatOfTheCallersOwnMayHaveAnOldRecord(t *testing.T) {
	fresh := sigil.NewTestedFreshness(atMs(askedMs))
	for size := range uint64(2) {
		if err := fresh.Repeat(4, 0, treeOf(5+size)); err != nil {
			t.Error(err)
		}
	}
	other := &merkle.Checkpoint{Size: 6, Root: verify.Hash{1}}
	var fork *verify.Fork
	if err := fresh.Repeat(4, 0, other); !errors.As(err, &fork) {
		t.Error(err)
	}
}

func TestPositionsThatNoQuestionMayHaveAnyMoreAreForgotten(t *testing.T) {
	fresh := sigil.NewTestedFreshness(atMs(askedMs))
	take, end := fresh.Ask()
	// Questions overlap all the time: there is always one under way.
	for position := range uint64(20_000) {
		next, endNext := fresh.Ask()
		if err := take(position, askedMs, treeOf(position+1)); err != nil {
			t.Fatal(err)
		}
		end()
		if err := next(position, askedMs, treeOf(position+1)); err == nil || !strings.Contains(err.Error(), "another question") {
			t.Fatal(err)
		}
		take, end = next, endNext
	}
	if kept := fresh.Kept(); kept > 1_024 {
		t.Errorf("%d positions are kept", kept)
	}
	end()
	if kept := fresh.Kept(); kept != 0 {
		t.Errorf("%d positions are kept", kept)
	}
}
