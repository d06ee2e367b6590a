// Evidence: recorded decisions, listed and followed, and the file that a stranger verifies.

package sigil

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	auditv1 "sigil.example/go/sigil/audit/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// evidenceBytesMax is the longest evidence file that there is. Source: docs/spec/verify.md.
const evidenceBytesMax = 16 << 20

// Decisions yields recorded decisions, newest first unless the request says otherwise.
func (c *Client) Decisions(ctx context.Context, request *auditv1.ListFrozenChainsRequest, options ...grpc.CallOption) iter.Seq2[*auditv1.FrozenChain, error] {
	return paged(func(token string) ([]*auditv1.FrozenChain, string, error) {
		page := proto.CloneOf(request)
		page.PageToken = token
		reply, err := c.Audit().ListFrozenChains(ctx, page, options...)
		return reply.GetChains(), reply.GetNextPageToken(), err
	})
}

// Follow yields decisions as they are recorded, oldest first, each exactly once, from FromPosition on; it looks for
// new ones after a pause, a second if it is 0. When the connection breaks, it goes on after the last decision; to go
// on after a restart of the program, give the position after that of the last decision that was dealt with:
//
//	request.FromPosition = chain.GetRecord().GetPosition() + 1
func (c *Client) Follow(ctx context.Context, request *auditv1.ListFrozenChainsRequest, pause time.Duration, options ...grpc.CallOption) iter.Seq2[*auditv1.FrozenChain, error] {
	if pause <= 0 {
		pause = time.Second
	}
	return func(yield func(*auditv1.FrozenChain, error) bool) {
		page := proto.CloneOf(request)
		page.Order, page.PageToken = auditv1.ListOrder_LIST_ORDER_OLDEST_FIRST, ""
		resumption := newResumption(c.channel.settings.resumeLimit)
		for {
			reply, err := c.Audit().ListFrozenChains(ctx, page, options...)
			if err == nil && reply.GetResumePosition() < page.GetFromPosition() {
				err = contradiction("the listing goes back to position %d", reply.GetResumePosition())
			}
			if err != nil {
				if ended := resumption.wait(ctx, err); ended != nil {
					yield(nil, ended)
					return
				}
				continue
			}
			for _, chain := range reply.GetChains() {
				if position := chain.GetRecord().GetPosition(); position < page.GetFromPosition() {
					yield(nil, contradiction("the decision at position %d comes twice", position))
					return
				}
				page.FromPosition = chain.GetRecord().GetPosition() + 1
				if !yield(chain, nil) {
					return
				}
			}
			resumption.progress()
			// A server that stays where it is, and says that there is more, is not asked without a pause either.
			hasMore := reply.GetNextPageToken() != "" && (len(reply.GetChains()) > 0 || reply.GetResumePosition() > page.GetFromPosition())
			page.FromPosition = max(page.GetFromPosition(), reply.GetResumePosition())
			if !hasMore && !sleep(ctx, pause) {
				yield(nil, endedBefore(ctx))
				return
			}
		}
	}
}

func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Evidence gives the evidence file of a record, which is not verified here: package verify does, and `sigil verify`.
func (c *Client) Evidence(ctx context.Context, request *auditv1.GetEvidenceRequest, options ...grpc.CallOption) ([]byte, error) {
	ctx, cancel := c.channel.withDefaultDeadline(ctx)
	defer cancel()
	stream, err := c.Audit().GetEvidence(ctx, request, options...)
	if err != nil {
		return nil, err
	}
	var file []byte
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(file)+len(piece.GetChunk()) > evidenceBytesMax {
			return nil, contradiction("an evidence file has at most %d bytes, and the server sends more", evidenceBytesMax)
		}
		file = append(file, piece.GetChunk()...)
	}
	if len(file) == 0 {
		return nil, &Error{Code: codes.Internal, Message: "the server sent no evidence", Reason: ReasonReplyContradictory}
	}
	return file, nil
}
