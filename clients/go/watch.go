// A watch by somebody who trusts nobody: nothing is handed on before it is verified. Source: docs/spec/feed.md §4.

package sigil

import (
	"context"
	"errors"
	"fmt"
	"iter"

	canonv1 "sigil.example/go/sigil/canon/v1"
	typev1 "sigil.example/go/sigil/type/v1"
	"sigil.example/go/verify"
	"sigil.example/go/verify/merkle"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// WatchTrust is what the reader of a watch has from elsewhere, and from an earlier watch.
type WatchTrust struct {
	// Genesis is the hash of the genesis record, which must not come from the server; of the zero value, that of
	// VerifyDecisions.
	Genesis verify.Hash
	// Known is the newest checkpoint that an earlier watch verified; "" for none. A ledger with another past is found
	// out.
	Known string
	// Rebuild is the tree of the leaves that were read so far, its zero value for "from the beginning": it is rebuilt
	// from every leaf and compared with each checkpoint, so that nothing can be left out. It takes a watch of every kind
	// in both spaces of every tenant, which begins at its size. Nil does not rebuild.
	Rebuild *merkle.Frontier
}

// VerifiedEvent is a message of a verified watch: one of its pointers is not nil.
type VerifiedEvent struct {
	Record     *VerifiedRecord
	Erased     *ErasedLeaf
	Checkpoint *VerifiedCheckpoint
	// NextPosition is where a watch goes on after this.
	NextPosition uint64
}

// VerifiedRecord stands in the tree of the last checkpoint, and was signed by the key that was in office there.
type VerifiedRecord struct {
	*verify.FeedRecord
	// Version is the server's word: nothing proves it.
	Version uint64
}

// ErasedLeaf is what is left of a record whose tenant was erased.
type ErasedLeaf struct {
	Position uint64
	Leaf     verify.Hash
}

// VerifiedCheckpoint is what the records after it are proved against. Keep Note, Rebuilt and NextPosition to go on
// after a restart of the program.
type VerifiedCheckpoint struct {
	*merkle.Checkpoint
	Note string
	// Rebuilt is the tree of the leaves that were read so far; nil where none is rebuilt.
	Rebuilt *merkle.Frontier
}

// WatchVerified is Watch of which only what was verified comes out: each checkpoint leads on from the one before, each
// record stands where it is said to. It goes on by itself where Watch does, from the last checkpoint that was verified.
// It ends with a *verify.Fork, which holds both checkpoints, where the ledger has two pasts, and with an
// *UnverifiedError where something else does not hold.
func (c *Client) WatchVerified(ctx context.Context, request *canonv1.WatchRequest, trust WatchTrust, options ...grpc.CallOption) iter.Seq2[*VerifiedEvent, error] {
	return func(yield func(*VerifiedEvent, error) bool) {
		watch := &verifiedWatch{client: c, trust: trust, request: proto.CloneOf(request)}
		if err := watch.prepare(); err != nil {
			yield(nil, err)
			return
		}
		resumption := newResumption(c.channel.settings.resumeLimit)
		for {
			err, left := watch.once(ctx, resumption, yield, options)
			if left {
				return
			}
			var doubted *UnverifiedError
			var fork *verify.Fork
			if errors.As(err, &doubted) || errors.As(err, &fork) {
				yield(nil, err)
				return
			}
			if ended := resumption.wait(ctx, err); ended != nil {
				yield(nil, ended)
				return
			}
		}
	}
}

// UnverifiedError is a message of a watch that does not hold. Unwrap gives the rule that was broken.
type UnverifiedError struct{ cause error }

func (e *UnverifiedError) Error() string {
	return "sigil: the watch is not verified: " + printable(e.cause.Error(), messageBytesMax)
}

// Unwrap gives the rule.
func (e *UnverifiedError) Unwrap() error { return e.cause }

// doubt makes an UnverifiedError of what is wrong with a message. What a call failed with may pass.
func doubt(err error) error {
	var failure *Error
	var fork *verify.Fork
	if err == nil || errors.As(err, &failure) || errors.As(err, &fork) {
		return err
	}
	return &UnverifiedError{err}
}

type verifiedWatch struct {
	client  *Client
	trust   WatchTrust
	request *canonv1.WatchRequest
	// feed is nil until the keys are walked.
	feed *verify.Feed
}

func (w *verifiedWatch) prepare() error {
	if w.trust.Genesis == (verify.Hash{}) {
		known := w.client.channel.settings.genesis
		if known == nil {
			return errors.New("sigil: a watch is verified from the hash of the genesis record: say it in WatchTrust, or by VerifyDecisions")
		}
		w.trust.Genesis = *known
	}
	if !needsProof(w.request.GetProof()) {
		w.request.Proof = typev1.RecordProof_RECORD_PROOF_INCLUSION
	}
	if tree := w.trust.Rebuild; tree != nil {
		if w.request.FromPosition != nil && w.request.GetFromPosition() != tree.Size {
			return fmt.Errorf("sigil: a tree of %d leaves is rebuilt from there on: leave out from_position", tree.Size)
		}
		w.request.FromPosition = proto.Uint64(tree.Size)
	}
	return nil
}

// open walks the keys, once.
func (w *verifiedWatch) open(ctx context.Context) error {
	keys, err := w.client.WalkKeys(ctx, w.trust.Genesis)
	if err != nil {
		return doubt(err)
	}
	w.feed, err = verify.NewFeed(verify.FeedStart{
		Keys:    keys,
		Renew:   func() (*verify.Keys, error) { return w.client.WalkKeys(ctx, w.trust.Genesis) },
		Known:   w.trust.Known,
		Rebuild: w.trust.Rebuild,
		Next:    w.request.GetFromPosition(),
	})
	return doubt(err)
}

func (w *verifiedWatch) once(ctx context.Context, resumption *resumption, yield func(*VerifiedEvent, error) bool, options []grpc.CallOption) (err error, left bool) {
	if w.feed == nil {
		if err := w.open(ctx); err != nil {
			return err, false
		}
	}
	w.feed.Reopened()
	if size, found := w.feed.KnownSize(); found {
		w.request.KnownSize = proto.Uint64(size)
	}
	return w.client.watchStream(ctx, w.request, options, func(message *canonv1.WatchResponse) (error, bool) {
		event, err := w.take(message)
		if err != nil {
			return doubt(err), false
		}
		w.request.FromPosition = proto.Uint64(event.NextPosition)
		resumption.progress()
		return nil, !yield(event, nil)
	})
}

func (w *verifiedWatch) take(message *canonv1.WatchResponse) (*VerifiedEvent, error) {
	path, next := message.GetProof().GetHashes(), message.GetNextPosition()
	event := &VerifiedEvent{NextPosition: next}
	switch sent := message.GetEvent().(type) {
	case *canonv1.WatchResponse_Heartbeat:
		note := sent.Heartbeat.GetCheckpoint()
		checkpoint, err := w.feed.Checkpoint(note, path, next)
		if err != nil {
			return nil, err
		}
		event.Checkpoint = &VerifiedCheckpoint{checkpoint, note, w.feed.Rebuilt()}
	case *canonv1.WatchResponse_Record:
		stored := sent.Record.GetRecord()
		record := verify.StoredRecord{Position: stored.GetPosition(), Envelope: stored.GetEnvelope()}
		taken, err := w.feed.Record(record, path, stored.GetDisclosures(), next)
		if err != nil {
			return nil, err
		}
		event.Record = &VerifiedRecord{taken, sent.Record.GetVersion()}
	case *canonv1.WatchResponse_Erased:
		position, leaf := sent.Erased.GetPosition(), sent.Erased.GetLeaf()
		if err := w.feed.Erased(position, leaf, path, next); err != nil {
			return nil, err
		}
		event.Erased = &ErasedLeaf{position, verify.Hash(leaf)}
	default:
		return nil, errors.New("a message holds no event that this client knows")
	}
	return event, nil
}
