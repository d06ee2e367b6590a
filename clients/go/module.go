// Runs of modules. A run is never repeated by itself: nobody could tell whether the first one took place.

package sigil

import (
	"context"
	"errors"
	"io"
	"iter"

	modulev1 "sigil.example/go/sigil/module/v1"

	"google.golang.org/grpc"
)

// Run runs a module on an input and gives what it wrote. The trust model is asked first, and the run is recorded. Its
// output is the one that was recorded, and its version and digest are those that were asked for.
func (c *Client) Run(ctx context.Context, request *modulev1.RunRequest, options ...grpc.CallOption) (*modulev1.RunResponse, error) {
	return c.Modules().Run(ctx, request, options...)
}

// RunStream yields the log and the output of a run as they come, and the result last. Without the result, which an
// error stands in place of, nothing that came before counts. It has no deadline but the context's.
func (c *Client) RunStream(ctx context.Context, request *modulev1.RunRequest, options ...grpc.CallOption) iter.Seq2[*modulev1.RunStreamResponse, error] {
	return func(yield func(*modulev1.RunStreamResponse, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.Modules().RunStream(ctx, &modulev1.RunStreamRequest{Run: request}, options...)
		if err != nil {
			yield(nil, err)
			return
		}
		output := newOutputDigest()
		// It is handed on once nothing comes after it.
		var result *modulev1.RunStreamResponse
		for {
			part, err := stream.Recv()
			switch {
			case errors.Is(err, io.EOF) && result != nil:
				yield(result, nil)
				return
			case errors.Is(err, io.EOF):
				err = contradiction("the run ended without a result")
			case err == nil && result != nil:
				err = contradiction("the run goes on after its result")
			case err == nil && part.GetResult() != nil:
				result = part
				if failure := judgeRan(request, part.GetResult(), output.Sum(nil)); failure != nil {
					err = failure
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			output.Write(part.GetOutput())
			if result == nil && !yield(part, nil) {
				return
			}
		}
	}
}
