// The numbers of one's own decisions, remembered: a server gives each once, in the order of the ledger, so a number
// that comes a second time, or a lower one after a higher one, is a ledger that lost records or has two pasts. Source:
// docs/spec/completeness.md §4. Bound: one entry for each number above the newest that was known when the oldest call
// under way began.

package sigil

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	trustv1 "sigil.example/go/sigil/trust/v1"

	"google.golang.org/grpc/codes"
)

// CallerNumber is a decision by its number among its caller's.
type CallerNumber struct {
	Seq uint64
	// Position is where its record stands in the ledger.
	Position uint64
	AuditID  string
}

func (n CallerNumber) String() string {
	return fmt.Sprintf("%d (%s at position %d)", n.Seq, printable(n.AuditID, 128), n.Position)
}

// NumberStore keeps the highest number of one caller of one ledger.
type NumberStore interface {
	// Load gives the zero value before the first.
	Load(ctx context.Context) (CallerNumber, error)
	// Save returns once the number is durable. A lower one than is held changes nothing. It gives what is held then.
	Save(ctx context.Context, number CallerNumber) (CallerNumber, error)
}

// NumberGap are numbers that a connection was not answered with, both included.
type NumberGap struct{ From, To uint64 }

// Remember remembers the numbers of a connection's own decisions, by every way of asking. An answer is handed on once
// its number is in the store.
type Remember struct {
	Store NumberStore
	// OnFault is told of a fault in place of the call, whose answer is then handed on. Nil makes the fault the call's
	// error, and denies.
	OnFault func(*CallerNumberError)
	// OnGap is told once no call under way could still bring the numbers: another process of the same caller has them, a
	//  write or a run of its own, or an answer that was lost. May be nil.
	OnGap func(NumberGap)
}

// WithRemember remembers the numbers of this connection's decisions, and notices one that is given twice or goes back.
func WithRemember(remember Remember) Option {
	return func(s *settings) error {
		if remember.Store == nil {
			return errors.New("sigil: numbers are remembered in a store: FileNumbers, MemoryNumbers or one of yours")
		}
		s.remember = newRemembering(remember)
		return nil
	}
}

// NumberFault is the rule that a number breaks.
type NumberFault string

// Faults of numbers.
const (
	// NumberRepeated: the number was another decision's.
	NumberRepeated NumberFault = "was given to another decision before"
	// NumberWentBack: it is not above what was known before the question was asked.
	NumberWentBack NumberFault = "is not above the newest that was known before the question was asked"
	// NumberDisordered: numbers and positions are in different orders.
	NumberDisordered NumberFault = "and the newest that is known are in another order than their records"
	// NumberMissing: the caller has had numbers, and this decision has none.
	NumberMissing NumberFault = "is none, and this caller has had numbers"
)

// CallerNumberError says that the ledger lost records, as by a restore from an older backup, or has two pasts. Keep
// both decisions.
type CallerNumberError struct {
	Fault        NumberFault
	Given, Known CallerNumber
}

func (e *CallerNumberError) Error() string {
	return fmt.Sprintf("sigil: number %s of this caller's decisions %s: known is %s", e.Given, e.Fault, e.Known)
}

func higherOf(one, other CallerNumber) CallerNumber {
	if one.Seq >= other.Seq {
		return one
	}
	return other
}

// askedNumber is a question under way: its number is above the newest that was known when it was asked.
type askedNumber struct{ floor uint64 }

// callerNumbers is what is known of one caller's numbers. Pure.
type callerNumbers struct {
	highest CallerNumber
	// seen are above the floor of every question under way, and the highest.
	seen map[uint64]CallerNumber
	// asked are oldest first, so that the first has the lowest floor.
	asked []*askedNumber
	// Gaps up to told were told; hasTold is false before the first number.
	told    uint64
	hasTold bool
}

// adopt takes what somebody else has seen: an earlier process, or another one.
func (n *callerNumbers) adopt(known CallerNumber) {
	if known.Seq == 0 {
		return
	}
	n.highest = higherOf(n.highest, known)
	n.seen[known.Seq] = known
}

// begin takes what was kept before the first question: gaps below it are not this connection's.
func (n *callerNumbers) begin(known CallerNumber) {
	n.adopt(known)
	n.told, n.hasTold = known.Seq, known.Seq != 0
}

func (n *callerNumbers) ask() *askedNumber {
	asked := &askedNumber{n.highest.Seq}
	n.asked = append(n.asked, asked)
	return asked
}

// take gives the fault, of which nothing is remembered.
func (n *callerNumbers) take(asked *askedNumber, answer *trustv1.CheckResponse) *CallerNumberError {
	given := CallerNumber{answer.GetCallerSeq(), answer.GetLedgerPosition(), answer.GetAuditId()}
	isKnown := n.highest.Seq != 0
	if given.Seq == 0 {
		// A stored answer may be older than numbers are.
		if isKnown && !answer.GetReplayed() {
			return &CallerNumberError{NumberMissing, given, n.highest}
		}
		return nil
	}
	if same, ok := n.seen[given.Seq]; ok {
		if same != given {
			return &CallerNumberError{NumberRepeated, given, same}
		}
		return nil
	}
	if isKnown {
		if !answer.GetReplayed() && given.Seq <= asked.floor {
			return &CallerNumberError{NumberWentBack, given, n.highest}
		}
		if (given.Seq > n.highest.Seq) != (given.Position > n.highest.Position) {
			return &CallerNumberError{NumberDisordered, given, n.highest}
		}
	}
	n.highest = higherOf(n.highest, given)
	if !n.hasTold || given.Seq > n.told {
		n.seen[given.Seq] = given
	}
	return nil
}

// settle ends a question, answered or not. It gives the gaps that nothing under way can fill any more.
func (n *callerNumbers) settle(asked *askedNumber) []NumberGap {
	n.asked = slices.DeleteFunc(n.asked, func(each *askedNumber) bool { return each == asked })
	if n.highest.Seq == 0 {
		return nil
	}
	until := n.highest.Seq
	if len(n.asked) > 0 {
		until = n.asked[0].floor
	}
	var closed []uint64
	for seq := range n.seen {
		if seq <= until {
			closed = append(closed, seq)
		}
	}
	slices.SortFunc(closed, cmp.Compare)
	var gaps []NumberGap
	for _, seq := range closed {
		if n.hasTold && seq > n.told+1 {
			gaps = append(gaps, NumberGap{n.told + 1, seq - 1})
		}
		if !n.hasTold || seq > n.told {
			n.told, n.hasTold = seq, true
		}
		if seq != n.highest.Seq {
			delete(n.seen, seq)
		}
	}
	return gaps
}

// remembering are the numbers of one connection, kept in a store. Nil remembers nothing.
type remembering struct {
	options Remember
	// turn has one place: who loads or saves does it for all who wait.
	turn chan struct{}

	mu       sync.Mutex
	numbers  callerNumbers
	isLoaded bool
	saved    uint64
}

func newRemembering(options Remember) *remembering {
	return &remembering{options: options, turn: make(chan struct{}, 1), numbers: callerNumbers{seen: map[uint64]CallerNumber{}}}
}

// inTurn does work that the store takes, unless somebody else has done it meanwhile.
func (r *remembering) inTurn(ctx context.Context, isDone func() bool, work func() error) error {
	locked := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return isDone()
	}
	if locked() {
		return nil
	}
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return endedBefore(ctx)
	}
	defer func() { <-r.turn }()
	if locked() {
		return nil
	}
	if err := work(); err != nil {
		if ctx.Err() != nil {
			return endedBefore(ctx)
		}
		return &Error{Code: codes.FailedPrecondition, Message: "the store of this caller's numbers failed", cause: err}
	}
	return nil
}

// ask fails with the store: without what it holds nothing could be noticed.
func (r *remembering) ask(ctx context.Context) (*askedNumber, error) {
	if r == nil {
		return nil, nil
	}
	err := r.inTurn(ctx, func() bool { return r.isLoaded }, func() error {
		known, err := r.options.Store.Load(ctx)
		if err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.numbers.begin(known)
		r.saved, r.isLoaded = known.Seq, true
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.numbers.ask(), nil
}

// take returns once the newest number is in the store, so that what was handed on is known after a crash.
func (r *remembering) take(ctx context.Context, asked *askedNumber, answers ...*trustv1.CheckResponse) error {
	if r == nil || len(answers) == 0 {
		return nil
	}
	for _, answer := range answers {
		r.mu.Lock()
		fault := r.numbers.take(asked, answer)
		r.mu.Unlock()
		switch {
		case fault == nil:
		case r.options.OnFault == nil:
			return &Error{Code: codes.DataLoss, Message: fault.Error(), Reason: ReasonCallerNumber, cause: fault}
		default:
			r.options.OnFault(fault)
		}
	}
	r.mu.Lock()
	wanted := r.numbers.highest.Seq
	r.mu.Unlock()
	return r.inTurn(ctx, func() bool { return r.saved >= wanted }, func() error {
		r.mu.Lock()
		newest := r.numbers.highest
		r.mu.Unlock()
		held, err := r.options.Store.Save(ctx, newest)
		if err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if held.Seq < newest.Seq {
			return errors.New("it holds a lower number than the one that was saved")
		}
		r.saved = held.Seq
		r.numbers.adopt(held)
		return nil
	})
}

func (r *remembering) settle(asked *askedNumber) {
	if r == nil || asked == nil {
		return
	}
	r.mu.Lock()
	gaps := r.numbers.settle(asked)
	r.mu.Unlock()
	if r.options.OnGap == nil {
		return
	}
	for _, gap := range gaps {
		r.options.OnGap(gap)
	}
}

// streamNumbers are of the answers of one stream, which come in any order.
type streamNumbers struct {
	remembering *remembering
	mu          sync.Mutex
	asked       map[string][]*askedNumber
	count       int
	isClosed    bool
}

// streamQuestionsMax bounds what a stream has asked and not been answered.
const streamQuestionsMax = 65_536

func (s *streamNumbers) ask(ctx context.Context, id string) error {
	asked, err := s.remembering.ask(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed || s.count == streamQuestionsMax {
		s.remembering.settle(asked)
		return &Error{Code: codes.ResourceExhausted, Message: fmt.Sprintf("a stream has at most %d open questions", streamQuestionsMax)}
	}
	s.count++
	s.asked[id] = append(s.asked[id], asked)
	return nil
}

// answer: of several open questions of one id any may be answered: the oldest bounds them all, and stays until the
// last. believed are the decisions of the answer that are, none or one.
func (s *streamNumbers) answer(ctx context.Context, id string, believed []*trustv1.CheckResponse) error {
	s.mu.Lock()
	open := s.asked[id]
	if len(open) == 0 {
		s.mu.Unlock()
		return nil
	}
	oldest, newest := open[0], open[len(open)-1]
	s.count--
	if s.asked[id] = open[:len(open)-1]; len(open) == 1 {
		delete(s.asked, id)
	}
	s.mu.Unlock()
	defer s.remembering.settle(newest)
	return s.remembering.take(ctx, oldest, believed...)
}

func (s *streamNumbers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isClosed = true
	for _, open := range s.asked {
		for _, asked := range open {
			s.remembering.settle(asked)
		}
	}
	clear(s.asked)
}
