// Records: a watch and an export that go on where they broke off.

package sigil

import (
	"context"
	"errors"
	"io"
	"iter"

	canonv1 "sigil.example/go/sigil/canon/v1"
	typev1 "sigil.example/go/sigil/type/v1"
	"sigil.example/go/verify/merkle"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Watch yields records as they are committed, in ledger order, each once, and heartbeats. When the connection breaks,
// it goes on after the last message; to go on after a restart of the program, keep NextPosition of the last message
// that was dealt with and give it as FromPosition. It ends when its context ends, when the loop is left, or with an
// error that waiting would not help. It has no deadline but the context's.
func (c *Client) Watch(ctx context.Context, request *canonv1.WatchRequest, options ...grpc.CallOption) iter.Seq2[*canonv1.WatchResponse, error] {
	return func(yield func(*canonv1.WatchResponse, error) bool) {
		watch := watching{
			client:     c,
			request:    proto.CloneOf(request),
			resumption: newResumption(c.channel.settings.resumeLimit),
		}
		for {
			err, left := watch.once(ctx, yield, options)
			if left {
				return
			}
			if ended := watch.resumption.wait(ctx, err); ended != nil {
				yield(nil, ended)
				return
			}
		}
	}
}

type watching struct {
	client     *Client
	request    *canonv1.WatchRequest
	resumption *resumption
}

// once watches until the stream ends. left tells that the loop was.
func (w *watching) once(ctx context.Context, yield func(*canonv1.WatchResponse, error) bool, options []grpc.CallOption) (err error, left bool) {
	return w.client.watchStream(ctx, w.request, options, func(message *canonv1.WatchResponse) (error, bool) {
		if failure := w.follow(message); failure != nil {
			return failure, false
		}
		w.resumption.progress()
		return nil, !yield(message, nil)
	})
}

// watchStream hands on the messages of one stream, until it ends, is silent, or take wants no more of it.
func (c *Client) watchStream(ctx context.Context, request *canonv1.WatchRequest, options []grpc.CallOption, take func(*canonv1.WatchResponse) (err error, left bool)) (err error, left bool) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alarm := &alarm{silence: c.channel.settings.silence(request.GetHeartbeatSeconds()), cancel: cancel}
	alarm.listen()
	defer alarm.heard()
	stream, err := c.Canon().Watch(ctx, request, options...)
	if err != nil {
		return orCause(ctx, err), false
	}
	for {
		alarm.listen()
		message, err := stream.Recv()
		alarm.heard()
		if err != nil {
			return orCause(ctx, err), false
		}
		if err, left := take(message); err != nil || left {
			return err, left
		}
	}
}

// orCause gives why the stream was ended, if it was on this side.
func orCause(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	return err
}

// follow takes the position after a message: nothing comes twice, nor goes back.
func (w *watching) follow(message *canonv1.WatchResponse) *Error {
	next := message.GetNextPosition()
	if w.request.FromPosition != nil && next < w.request.GetFromPosition() {
		return contradiction("the watch goes back to position %d", next)
	}
	for _, position := range positionsOf(message) {
		if position < w.request.GetFromPosition() || next != position+1 {
			return contradiction("position %d is not the next of the watch, which is at %d", position, w.request.GetFromPosition())
		}
	}
	w.request.FromPosition = proto.Uint64(next)
	if heartbeat := message.GetHeartbeat(); heartbeat != nil && needsProof(w.request.GetProof()) {
		if signed, err := merkle.ParseSigned(heartbeat.GetCheckpoint()); err == nil {
			// The first heartbeat after an interruption then proves that its tree begins with this one.
			w.request.KnownSize = proto.Uint64(signed.Checkpoint.Size)
		}
	}
	return nil
}

func needsProof(proof typev1.RecordProof) bool {
	return proof == typev1.RecordProof_RECORD_PROOF_INCLUSION || proof == typev1.RecordProof_RECORD_PROOF_EVIDENCE
}

// positionsOf is the position of a record, or of what is left of one.
func positionsOf(message *canonv1.WatchResponse) []uint64 {
	switch event := message.GetEvent().(type) {
	case *canonv1.WatchResponse_Record:
		return []uint64{event.Record.GetRecord().GetPosition()}
	case *canonv1.WatchResponse_Erased:
		return []uint64{event.Erased.GetPosition()}
	}
	return nil
}

// Records yields every matching record as the ledger was when the call began, in the order of their ids. When the
// connection breaks, it goes on after the last record, at the same size of the ledger.
func (c *Client) Records(ctx context.Context, request *canonv1.StreamRecordsRequest, options ...grpc.CallOption) iter.Seq2[*canonv1.VersionedRecord, error] {
	return func(yield func(*canonv1.VersionedRecord, error) bool) {
		rest := proto.CloneOf(request)
		resumption := newResumption(c.channel.settings.resumeLimit)
		for {
			err, left := c.recordsOnce(ctx, rest, resumption, yield, options)
			if left || errors.Is(err, io.EOF) {
				return
			}
			if ended := resumption.wait(ctx, err); ended != nil {
				yield(nil, ended)
				return
			}
		}
	}
}

func (c *Client) recordsOnce(ctx context.Context, rest *canonv1.StreamRecordsRequest, resumption *resumption, yield func(*canonv1.VersionedRecord, error) bool, options []grpc.CallOption) (err error, left bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Canon().StreamRecords(ctx, rest, options...)
	if err != nil {
		return err, false
	}
	for {
		message, err := stream.Recv()
		if err != nil {
			return err, false
		}
		id, size := message.GetRecord().GetRecord().GetId(), message.GetLedgerSize()
		switch {
		case id == "":
			return contradiction("a message of the export holds no record"), false
		case id <= rest.AfterId:
			return contradiction("a record comes twice, or not in the order of the ids"), false
		case rest.LedgerSize != 0 && rest.LedgerSize != size:
			return contradiction("the export is of size %d, and then of %d", rest.LedgerSize, size), false
		}
		rest.AfterId, rest.LedgerSize = id, size
		resumption.progress()
		if !yield(message.GetRecord(), nil) {
			return nil, true
		}
	}
}

// History yields the versions of a record, newest first unless the request says otherwise.
func (c *Client) History(ctx context.Context, request *canonv1.ListHistoryRequest, options ...grpc.CallOption) iter.Seq2[*canonv1.VersionedRecord, error] {
	return paged(func(token string) ([]*canonv1.VersionedRecord, string, error) {
		page := proto.CloneOf(request)
		page.PageToken = token
		reply, err := c.Canon().ListHistory(ctx, page, options...)
		return reply.GetRecords(), reply.GetNextPageToken(), err
	})
}

// Proposals yields proposals: open ones first, then the ended ones, each newest first.
func (c *Client) Proposals(ctx context.Context, request *canonv1.ListProposalsRequest, options ...grpc.CallOption) iter.Seq2[*canonv1.Proposal, error] {
	return paged(func(token string) ([]*canonv1.Proposal, string, error) {
		page := proto.CloneOf(request)
		page.PageToken = token
		reply, err := c.Canon().ListProposals(ctx, page, options...)
		return reply.GetProposals(), reply.GetNextPageToken(), err
	})
}

// paged yields the items of page after page, from the first; an error ends it.
func paged[Item any](next func(token string) (items []Item, nextToken string, err error)) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for token := ""; ; {
			items, nextToken, err := next(token)
			if err != nil {
				var none Item
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if nextToken == "" {
				return
			}
			token = nextToken
		}
	}
}
