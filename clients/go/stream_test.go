// Streams: questions both ways, and a watch, an export and a listing that go on where they broke off.
package sigil_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sigil "sigil.example/go"
	auditv1 "sigil.example/go/sigil/audit/v1"
	canonv1 "sigil.example/go/sigil/canon/v1"
	trustv1 "sigil.example/go/sigil/trust/v1"
	typev1 "sigil.example/go/sigil/type/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func questions(count int) iter.Seq[sigil.Question] {
	return func(yield func(sigil.Question) bool) {
		for at := range count {
			if !yield(sigil.Question{Action: "read", Target: fmt.Sprint("t/", at)}) {
				return
			}
		}
	}
}

func TestAStreamAnswersEveryQuestionInAnyOrder(t *testing.T) {
	leavesNothing(t)
	const count = 3000
	client := connected(t, &fake{checks: func(stream grpc.BidiStreamingServer[trustv1.StreamChecksRequest, trustv1.StreamChecksResponse]) error {
		held := []*trustv1.StreamChecksRequest{}
		flush := func() error {
			slices.Reverse(held)
			for _, each := range held {
				reply := honest(func(r *trustv1.CheckResponse) { r.AuditId = each.Check.Target })
				if err := stream.Send(streamed(each.CorrelationId, reply)); err != nil {
					return err
				}
			}
			held = held[:0]
			return nil
		}
		for {
			request, err := stream.Recv()
			if err != nil {
				return flush()
			}
			if held = append(held, request); len(held) == 64 {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}})
	seen := map[int]bool{}
	for answer, err := range client.CheckStream(t.Context(), questions(count)) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[answer.Index] || !answer.Decision.Allowed() || answer.Question.Target != fmt.Sprint("t/", answer.Index) ||
			answer.Decision.AuditID() != answer.Question.Target {
			t.Fatalf("%d: %v, %v", answer.Index, answer.Question, answer.Decision)
		}
		seen[answer.Index] = true
	}
	if len(seen) != count {
		t.Errorf("%d answers", len(seen))
	}
}

func TestAStreamThatIsLeftEndsTheCallAndItsQuestions(t *testing.T) {
	leavesNothing(t)
	ended := make(chan struct{})
	client := connected(t, &fake{checks: func(stream grpc.BidiStreamingServer[trustv1.StreamChecksRequest, trustv1.StreamChecksResponse]) error {
		defer close(ended)
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := stream.Send(streamed(request.CorrelationId, honest())); err != nil {
			return err
		}
		<-stream.Context().Done()
		return nil
	}})
	taken := atomic.Int32{}
	endless := func(yield func(sigil.Question) bool) {
		for yield(question) {
			taken.Add(1)
		}
	}
	for _, err := range client.CheckStream(t.Context(), endless) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	<-ended
	if taken.Load() > 300 {
		t.Errorf("%d questions were taken of a server that reads none", taken.Load())
	}
}

func TestAStreamThatBreaksDeniesWhatIsUnanswered(t *testing.T) {
	leavesNothing(t)
	client := connected(t, &fake{checks: func(stream grpc.BidiStreamingServer[trustv1.StreamChecksRequest, trustv1.StreamChecksResponse]) error {
		_, _ = stream.Recv()
		return status.Error(codes.Unavailable, "gone")
	}})
	answers := 0
	for answer, err := range client.CheckStream(t.Context(), questions(100)) {
		answers++
		if failure(t, err).Code != codes.Unavailable || answer.Decision.Allowed() {
			t.Error(answer, err)
		}
	}
	if answers != 1 {
		t.Errorf("%d answers", answers)
	}
}

func heartbeat(next uint64) *canonv1.WatchResponse {
	return &canonv1.WatchResponse{NextPosition: next, Event: &canonv1.WatchResponse_Heartbeat{Heartbeat: &canonv1.Heartbeat{}}}
}

func signedHeartbeat(next, size uint64) *canonv1.WatchResponse {
	message := heartbeat(next)
	message.GetHeartbeat().Checkpoint = fmt.Sprintf("sigil.test\n%d\n%s=\n\n— sigil.test %s\n", size, strings.Repeat("A", 43), strings.Repeat("A", 92))
	return message
}

func recordAt(position uint64) *canonv1.WatchResponse {
	record := &canonv1.VersionedRecord{Record: &typev1.CanonicalRecord{Position: position}}
	return &canonv1.WatchResponse{NextPosition: position + 1, Event: &canonv1.WatchResponse_Record{Record: record}}
}

func erasedAt(position uint64) *canonv1.WatchResponse {
	return &canonv1.WatchResponse{NextPosition: position + 1, Event: &canonv1.WatchResponse_Erased{Erased: &canonv1.ErasedRecord{Position: position}}}
}

// watched serves scripts, one after the other: messages, and how each stream ends. The last one goes on.
type script struct {
	messages []*canonv1.WatchResponse
	end      error
}

func watched(scripts ...script) *fake {
	var at atomic.Int32
	return &fake{watch: func(_ *canonv1.WatchRequest, stream grpc.ServerStreamingServer[canonv1.WatchResponse]) error {
		index := int(at.Add(1)) - 1
		if index >= len(scripts) {
			<-stream.Context().Done()
			return nil
		}
		for _, message := range scripts[index].messages {
			if err := stream.Send(message); err != nil {
				return err
			}
		}
		return scripts[index].end
	}}
}

func watchRequests(server *fake) []*canonv1.WatchRequest {
	server.mu.Lock()
	defer server.mu.Unlock()
	requests := []*canonv1.WatchRequest{}
	for _, each := range server.asks {
		requests = append(requests, each.(*canonv1.WatchRequest))
	}
	return requests
}

func TestAWatchGoesOnWhereItBrokeOff(t *testing.T) {
	leavesNothing(t)
	unavailable := status.Error(codes.Unavailable, "")
	server := watched(
		script{[]*canonv1.WatchResponse{heartbeat(5), recordAt(5), recordAt(9)}, unavailable},
		script{nil, unavailable},
		script{[]*canonv1.WatchResponse{heartbeat(12), recordAt(12)}, status.Error(codes.Unauthenticated, "the token expired")},
		script{[]*canonv1.WatchResponse{recordAt(13)}, nil},
		script{[]*canonv1.WatchResponse{erasedAt(20)}, status.Error(codes.Internal, "stream terminated by RST_STREAM")},
		script{[]*canonv1.WatchResponse{recordAt(21)}, unavailable},
	)
	client := connected(t, server)
	request := &canonv1.WatchRequest{Kinds: []string{"note"}}
	positions := []uint64{}
	for message, err := range client.Watch(t.Context(), request) {
		if err != nil {
			t.Fatal(err)
		}
		positions = append(positions, message.NextPosition-1)
		if message.NextPosition == 22 {
			break
		}
	}
	if want := []uint64{4, 5, 9, 11, 12, 13, 20, 21}; !slices.Equal(positions, want) {
		t.Error(positions)
	}
	from := []string{}
	for _, each := range watchRequests(server) {
		if each.FromPosition == nil {
			from = append(from, "now")
		} else {
			from = append(from, fmt.Sprint(each.GetFromPosition()))
		}
		if !slices.Equal(each.Kinds, []string{"note"}) {
			t.Error("the filter is lost")
		}
	}
	if want := []string{"now", "10", "10", "13", "14", "21"}; !slices.Equal(from, want) {
		t.Errorf("it began at %q", from)
	}
	if request.FromPosition != nil {
		t.Error("the request of the caller was changed")
	}
}

func TestAWatchThatGoesBackIsNoWatch(t *testing.T) {
	for what, messages := range map[string][]*canonv1.WatchResponse{
		"a record twice":                  {recordAt(5), recordAt(5)},
		"an earlier record":               {recordAt(5), recordAt(3)},
		"an earlier heartbeat":            {recordAt(5), heartbeat(2)},
		"an erased record twice":          {erasedAt(5), erasedAt(5)},
		"a record that leads elsewhere":   {func() *canonv1.WatchResponse { m := recordAt(5); m.NextPosition = 9; return m }()},
		"a record before the one to read": {heartbeat(7), func() *canonv1.WatchResponse { m := recordAt(5); m.NextPosition = 8; return m }()},
	} {
		t.Run(what, func(t *testing.T) {
			client := connected(t, watched(script{messages, nil}))
			var last error
			for _, last = range client.Watch(t.Context(), &canonv1.WatchRequest{}) {
			}
			if failure(t, last).Reason != sigil.ReasonReplyContradictory {
				t.Error(last)
			}
		})
	}
	again := connected(t, watched(script{[]*canonv1.WatchResponse{recordAt(5)}, nil}, script{[]*canonv1.WatchResponse{recordAt(5)}, nil}))
	var last error
	for _, last = range again.Watch(t.Context(), &canonv1.WatchRequest{}) {
	}
	if failure(t, last).Reason != sigil.ReasonReplyContradictory {
		t.Error("a record came again after an interruption:", last)
	}
}

func TestAWatchWithProofsIsProvedOverAnInterruption(t *testing.T) {
	server := watched(
		script{[]*canonv1.WatchResponse{signedHeartbeat(5, 9), recordAt(5)}, nil},
		script{[]*canonv1.WatchResponse{signedHeartbeat(6, 9), recordAt(6)}, nil})
	for message, err := range connected(t, server).Watch(t.Context(), &canonv1.WatchRequest{Proof: typev1.RecordProof_RECORD_PROOF_INCLUSION}) {
		if err != nil {
			t.Fatal(err)
		}
		if message.NextPosition == 7 {
			break
		}
	}
	requests := watchRequests(server)
	if requests[0].KnownSize != nil || requests[1].GetKnownSize() != 9 {
		t.Error(requests)
	}
}

func TestAWatchEndsWithWhatWaitingWouldNotHelp(t *testing.T) {
	for what, each := range map[string]struct {
		scripts []script
		code    codes.Code
	}{
		"no level":                  {[]script{{nil, status.Error(codes.PermissionDenied, "")}}, codes.PermissionDenied},
		"a token that never counts": {[]script{{nil, status.Error(codes.Unauthenticated, "")}}, codes.Unauthenticated},
		"a token that counts no more": {[]script{
			{[]*canonv1.WatchResponse{recordAt(1)}, status.Error(codes.Unauthenticated, "")},
			{nil, status.Error(codes.Unauthenticated, "")}}, codes.Unauthenticated},
		"a position of another ledger": {[]script{{nil, status.Error(codes.OutOfRange, "")}}, codes.OutOfRange},
		"an erased tenant":             {[]script{{nil, status.Error(codes.FailedPrecondition, "")}}, codes.FailedPrecondition},
	} {
		t.Run(what, func(t *testing.T) {
			var last error
			for _, last = range connected(t, watched(each.scripts...)).Watch(t.Context(), &canonv1.WatchRequest{}) {
			}
			if failure(t, last).Code != each.code {
				t.Error(last)
			}
		})
	}
}

func TestAWatchGivesUpAfterItsLimitWithoutProgress(t *testing.T) {
	server := &fake{watch: func(*canonv1.WatchRequest, grpc.ServerStreamingServer[canonv1.WatchResponse]) error {
		return status.Error(codes.Unavailable, "gone")
	}}
	client := connected(t, server, sigil.WithResumeLimit(300*time.Millisecond))
	var last error
	for _, last = range client.Watch(t.Context(), &canonv1.WatchRequest{}) {
	}
	if failure(t, last).Code != codes.Unavailable || server.calls() < 2 {
		t.Errorf("%v after %d attempts", last, server.calls())
	}
}

func TestASilentWatchIsBrokenOffAndASlowReaderIsNot(t *testing.T) {
	leavesNothing(t)
	const silence = 300 * time.Millisecond
	server := watched(script{[]*canonv1.WatchResponse{heartbeat(1)}, nil})
	var streams atomic.Int32
	server.watch = func(_ *canonv1.WatchRequest, stream grpc.ServerStreamingServer[canonv1.WatchResponse]) error {
		if streams.Add(1) == 1 {
			_ = stream.Send(heartbeat(1))
			<-stream.Context().Done() // Half-open: it says nothing more.
			return nil
		}
		_ = stream.Send(recordAt(1))
		_ = stream.Send(recordAt(2))
		<-stream.Context().Done()
		return nil
	}
	client := connected(t, server, sigil.WithSilence(silence))
	for message, err := range client.Watch(t.Context(), &canonv1.WatchRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
		if message.NextPosition == 2 {
			time.Sleep(2 * silence)
		}
		if message.NextPosition == 3 {
			break
		}
	}
	if streams.Load() != 2 {
		t.Errorf("%d streams", streams.Load())
	}
	if got := sigil.SilenceMax(0); got < 45*time.Second || sigil.SilenceMax(300) < 15*time.Minute {
		t.Error(got)
	}
}

// A timer that has fired before it was stopped runs whenever the scheduler lets it.
func TestAnAlarmThatFiredBeforeSomethingWasHeardEndsNothing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	alarm := sigil.NewTestedAlarm(time.Hour, cancel)
	alarm.Listen()
	alarm.Heard()
	alarm.Ring()
	if ctx.Err() != nil {
		t.Error("it rang while the reader had the word")
	}
	alarm.Listen()
	alarm.Ring()
	if ctx.Err() != nil {
		t.Error("it rang for a silence that was over")
	}
	alarm.Heard()

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		alarm := sigil.NewTestedAlarm(time.Minute, cancel)
		for range 3 {
			alarm.Listen()
			time.Sleep(time.Minute - time.Nanosecond)
			alarm.Heard()
			time.Sleep(time.Hour)
			alarm.Ring()
		}
		if ctx.Err() != nil {
			t.Error("it rang for a slow reader:", context.Cause(ctx))
		}
		alarm.Listen()
		time.Sleep(time.Minute)
		synctest.Wait()
		if ctx.Err() == nil {
			t.Error("it did not ring")
		}
	})
}

func TestAReaderThatIsSlowerThanTheLimitLosesNoStream(t *testing.T) {
	leavesNothing(t)
	const limit = 300 * time.Millisecond
	unavailable := status.Error(codes.Unavailable, "a restart")
	patient := func(what string, last int, each iter.Seq2[int, error]) {
		seen := 0
		for got, err := range each {
			if err != nil {
				t.Errorf("%s ended after %d: %v", what, seen, err)
				return
			}
			if seen++; seen == 1 {
				time.Sleep(2 * limit)
			}
			if got == last {
				return
			}
		}
	}
	watch := connected(t, watched(
		script{[]*canonv1.WatchResponse{recordAt(1)}, unavailable},
		script{[]*canonv1.WatchResponse{recordAt(2)}, unavailable},
	), sigil.WithResumeLimit(limit))
	patient("the watch", 3, func(yield func(int, error) bool) {
		for message, err := range watch.Watch(t.Context(), &canonv1.WatchRequest{}) {
			if !yield(int(message.GetNextPosition()), err) {
				return
			}
		}
	})
	sent := 0
	export := connected(t, &fake{records: func(_ *canonv1.StreamRecordsRequest, stream grpc.ServerStreamingServer[canonv1.StreamRecordsResponse]) error {
		sent++
		if err := stream.Send(exported(fmt.Sprint(sent), 9)); err != nil {
			return err
		}
		return unavailable
	}}, sigil.WithResumeLimit(limit))
	patient("the export", 2, func(yield func(int, error) bool) {
		for record, err := range export.Records(t.Context(), &canonv1.StreamRecordsRequest{}) {
			id, _ := strconv.Atoi(record.GetRecord().GetId())
			if !yield(id, err) {
				return
			}
		}
	})
	listed := 0
	listing := connected(t, &fake{list: func(*auditv1.ListFrozenChainsRequest) (*auditv1.ListFrozenChainsResponse, error) {
		if listed++; listed == 2 {
			return nil, unavailable
		}
		position := uint64(listed)
		chain := &auditv1.FrozenChain{Record: &typev1.CanonicalRecord{Position: position}}
		return &auditv1.ListFrozenChainsResponse{Chains: []*auditv1.FrozenChain{chain}, ResumePosition: position + 1}, nil
	}}, sigil.WithResumeLimit(limit), sigil.WithoutRetries())
	// A pause is no interruption either.
	patient("the listing", 3, func(yield func(int, error) bool) {
		for chain, err := range listing.Follow(t.Context(), &auditv1.ListFrozenChainsRequest{}, 2*limit) {
			if !yield(int(chain.GetRecord().GetPosition()), err) {
				return
			}
		}
	})
}

func TestAWatchEndsWithItsContext(t *testing.T) {
	leavesNothing(t)
	client := connected(t, watched(script{[]*canonv1.WatchResponse{heartbeat(1)}, status.Error(codes.Unavailable, "")}))
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	defer cancel(enough)
	var last error
	for _, last = range client.Watch(ctx, &canonv1.WatchRequest{}) {
		cancel(enough)
	}
	if !errors.Is(last, context.Canceled) || !errors.Is(last, enough) {
		t.Error(last)
	}
}

func exported(id string, size uint64) *canonv1.StreamRecordsResponse {
	return &canonv1.StreamRecordsResponse{LedgerSize: size, Record: &canonv1.VersionedRecord{Record: &typev1.CanonicalRecord{Id: id}}}
}

func TestAnExportGoesOnWhereItBrokeOff(t *testing.T) {
	leavesNothing(t)
	scripts := []struct {
		messages []*canonv1.StreamRecordsResponse
		end      error
	}{
		{[]*canonv1.StreamRecordsResponse{exported("a", 9), exported("b", 9)}, status.Error(codes.Unavailable, "")},
		{nil, status.Error(codes.Unavailable, "")},
		{[]*canonv1.StreamRecordsResponse{exported("c", 9)}, nil},
	}
	at := 0
	server := &fake{records: func(_ *canonv1.StreamRecordsRequest, stream grpc.ServerStreamingServer[canonv1.StreamRecordsResponse]) error {
		one := scripts[at]
		at++
		for _, message := range one.messages {
			if err := stream.Send(message); err != nil {
				return err
			}
		}
		return one.end
	}}
	ids := []string{}
	for record, err := range connected(t, server).Records(t.Context(), &canonv1.StreamRecordsRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, record.Record.Id)
	}
	if !slices.Equal(ids, []string{"a", "b", "c"}) {
		t.Error(ids)
	}
	last := server.asks[len(server.asks)-1].(*canonv1.StreamRecordsRequest)
	if last.AfterId != "b" || last.LedgerSize != 9 {
		t.Error(last)
	}
}

func TestAnExportThatContradictsItselfIsNone(t *testing.T) {
	for what, messages := range map[string][]*canonv1.StreamRecordsResponse{
		"a record twice":     {exported("a", 9), exported("a", 9)},
		"another size":       {exported("a", 9), exported("b", 10)},
		"no record":          {{}},
		"a record before it": {exported("b", 9), exported("a", 9)},
	} {
		t.Run(what, func(t *testing.T) {
			client := connected(t, &fake{records: func(_ *canonv1.StreamRecordsRequest, stream grpc.ServerStreamingServer[canonv1.StreamRecordsResponse]) error {
				for _, message := range messages {
					if err := stream.Send(message); err != nil {
						return err
					}
				}
				return nil
			}})
			var last error
			for _, last = range client.Records(t.Context(), &canonv1.StreamRecordsRequest{}) {
			}
			if failure(t, last).Reason != sigil.ReasonReplyContradictory {
				t.Error(last)
			}
		})
	}
}

func TestPagesAreOneListing(t *testing.T) {
	client := connected(t, &fake{history: func(request *canonv1.ListHistoryRequest) (*canonv1.ListHistoryResponse, error) {
		switch request.PageToken {
		case "":
			return &canonv1.ListHistoryResponse{Records: []*canonv1.VersionedRecord{{Version: 1}}, NextPageToken: "x"}, nil
		case "x":
			return &canonv1.ListHistoryResponse{NextPageToken: "y"}, nil
		}
		return &canonv1.ListHistoryResponse{Records: []*canonv1.VersionedRecord{{Version: 2}}}, nil
	}})
	listing := client.History(t.Context(), &canonv1.ListHistoryRequest{})
	for range 2 {
		versions := []uint64{}
		for record, err := range listing {
			if err != nil {
				t.Fatal(err)
			}
			versions = append(versions, record.Version)
		}
		if !slices.Equal(versions, []uint64{1, 2}) {
			t.Error(versions)
		}
	}
}

func chainAt(position uint64) *auditv1.FrozenChain {
	return &auditv1.FrozenChain{Record: &typev1.CanonicalRecord{Position: position}}
}

func TestDecisionsAreFollowedEachOnce(t *testing.T) {
	leavesNothing(t)
	ledger := []uint64{3, 4, 8, 9, 10}
	asked := 0
	server := &fake{list: func(request *auditv1.ListFrozenChainsRequest) (*auditv1.ListFrozenChainsResponse, error) {
		if asked++; asked == 2 {
			return nil, status.Error(codes.Unavailable, "")
		}
		reply := &auditv1.ListFrozenChainsResponse{ResumePosition: request.FromPosition}
		for _, position := range ledger[:min(len(ledger), asked)] {
			if position >= request.FromPosition && len(reply.Chains) < 2 {
				reply.Chains = append(reply.Chains, chainAt(position))
				reply.ResumePosition = position + 1
			}
		}
		return reply, nil
	}}
	positions := []uint64{}
	for chain, err := range connected(t, server).Follow(t.Context(), &auditv1.ListFrozenChainsRequest{FromPosition: 2}, time.Millisecond) {
		if err != nil {
			t.Fatal(err)
		}
		if positions = append(positions, chain.Record.Position); len(positions) == len(ledger) {
			break
		}
	}
	if !slices.Equal(positions, ledger) {
		t.Error(positions)
	}
	for _, each := range server.asks {
		if each.(*auditv1.ListFrozenChainsRequest).Order != auditv1.ListOrder_LIST_ORDER_OLDEST_FIRST {
			t.Error("it is not listed oldest first")
		}
	}
}

func TestAListingThatGoesBackIsNotFollowed(t *testing.T) {
	for what, reply := range map[string]*auditv1.ListFrozenChainsResponse{
		"a decision before the one to read": {Chains: []*auditv1.FrozenChain{chainAt(2)}, ResumePosition: 9},
		"a decision twice":                  {Chains: []*auditv1.FrozenChain{chainAt(5), chainAt(5)}, ResumePosition: 9},
		"a position to go on at before it":  {ResumePosition: 2},
	} {
		t.Run(what, func(t *testing.T) {
			client := connected(t, &fake{list: func(*auditv1.ListFrozenChainsRequest) (*auditv1.ListFrozenChainsResponse, error) { return reply, nil }})
			var last error
			for _, last = range client.Follow(t.Context(), &auditv1.ListFrozenChainsRequest{FromPosition: 5}, time.Millisecond) {
			}
			if failure(t, last).Reason != sigil.ReasonReplyContradictory {
				t.Error(last)
			}
		})
	}
}

func TestAnEvidenceFileIsJoinedAndBounded(t *testing.T) {
	leavesNothing(t)
	pieces := 3
	server := &fake{evidence: func(stream grpc.ServerStreamingServer[auditv1.GetEvidenceResponse]) error {
		for range pieces {
			if err := stream.Send(&auditv1.GetEvidenceResponse{Chunk: make([]byte, 1<<20)}); err != nil {
				return err
			}
		}
		return nil
	}}
	client := connected(t, server)
	file, err := client.Evidence(t.Context(), &auditv1.GetEvidenceRequest{AuditId: "a"})
	if err != nil || len(file) != 3<<20 {
		t.Error(len(file), err)
	}
	for _, pieces = range []int{0, 17} {
		if _, err := client.Evidence(t.Context(), &auditv1.GetEvidenceRequest{AuditId: "a"}); failure(t, err).Reason != sigil.ReasonReplyContradictory {
			t.Error(pieces, err)
		}
	}
}
