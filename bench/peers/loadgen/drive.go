package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// measured is what a load came to, without its warm-up unless it says so.
type measured struct {
	Calls          int     `json:"calls"`
	ElapsedSeconds float64 `json:"elapsedSeconds"`
	// From the call, or in an open loop from when it was due.
	P50Ms float64 `json:"p50Ms"`
	P99Ms float64 `json:"p99Ms"`
	MaxMs float64 `json:"maxMs"`
	// ServerCPUUs is processor time of the server's process with its threads, not of processes that it started.
	ServerCPUUs    float64 `json:"serverCpuUs"`
	GeneratorCPUUs float64 `json:"generatorCpuUs"`
	// OthersCPUUs is what every other process of the machine used: what disturbed this run.
	OthersCPUUs float64 `json:"othersCpuUs"`
	// WrittenBytes is what the server's process caused to be written to disk.
	WrittenBytes int64 `json:"writtenBytes"`
	RSSPeakBytes int64 `json:"rssPeakBytes"`
	// AllCalls is every call that was answered, the first and the warm-up with them.
	AllCalls int `json:"allCalls"`
}

const rssEvery = 50 * time.Millisecond

func drive(ctx context.Context, p *plan, t *target) (*measured, error) {
	if _, err := t.call(ctx, 0); err != nil {
		return nil, fmt.Errorf("the first call: %w", err)
	}
	warmUp, _, err := load(ctx, p, t, p.WarmUpSeconds)
	if err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	process := watch(p.Pid, rssEvery)
	latencies, elapsed, err := load(ctx, p, t, p.Seconds)
	used := process.end()
	if err != nil {
		return nil, err
	}
	if len(latencies) == 0 {
		return nil, errors.New("no call was answered in time")
	}
	slices.Sort(latencies)
	return &measured{
		Calls:          len(latencies),
		ElapsedSeconds: elapsed.Seconds(),
		P50Ms:          milliseconds(quantile(latencies, 0.5)),
		P99Ms:          milliseconds(quantile(latencies, 0.99)),
		MaxMs:          milliseconds(latencies[len(latencies)-1]),
		ServerCPUUs:    used.serverUs,
		GeneratorCPUUs: used.generatorUs,
		OthersCPUUs:    used.othersUs,
		WrittenBytes:   used.writtenBytes,
		RSSPeakBytes:   used.rssPeakBytes,
		AllCalls:       1 + len(warmUp) + len(latencies),
	}, nil
}

// load runs until the time is over and every call that was begun is answered. The first error ends it.
func load(ctx context.Context, p *plan, t *target, seconds float64) ([]time.Duration, time.Duration, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	length := time.Duration(seconds * float64(time.Second))
	start := time.Now()
	var latencies []time.Duration
	if p.PerSecond > 0 {
		latencies = openLoop(ctx, fail, p.PerSecond, start, length, t)
	} else {
		latencies = closedLoop(ctx, fail, p.InFlight, start, length, t)
	}
	elapsed := time.Since(start)
	return latencies, elapsed, context.Cause(ctx)
}

func closedLoop(ctx context.Context, fail context.CancelCauseFunc, inFlight int, start time.Time,
	length time.Duration, t *target) []time.Duration {
	own := make([][]time.Duration, inFlight)
	var workers sync.WaitGroup
	for worker := range inFlight {
		workers.Go(func() {
			for time.Since(start) < length && ctx.Err() == nil {
				begun := time.Now()
				if _, err := t.call(ctx, worker); err != nil {
					fail(err)
					return
				}
				own[worker] = append(own[worker], time.Since(begun))
			}
		})
	}
	workers.Wait()
	return slices.Concat(own...)
}

// openLoop starts calls when they are due. A server that falls behind is waited for at inFlightMax calls, and the wait
// counts as latency of the calls that were due meanwhile: nothing is left out that a caller would have felt.
func openLoop(ctx context.Context, fail context.CancelCauseFunc, perSecond float64, start time.Time,
	length time.Duration, t *target) []time.Duration {
	total := int(perSecond * length.Seconds())
	latencies := make([]time.Duration, total)
	places := make(chan struct{}, inFlightMax)
	var calls sync.WaitGroup
	for call := range total {
		due := start.Add(time.Duration(float64(call) / perSecond * float64(time.Second)))
		time.Sleep(time.Until(due))
		if ctx.Err() != nil {
			break
		}
		places <- struct{}{}
		calls.Go(func() {
			defer func() { <-places }()
			if _, err := t.call(ctx, call); err != nil {
				fail(err)
				return
			}
			latencies[call] = time.Since(due)
		})
	}
	calls.Wait()
	return latencies
}

// quantile by nearest rank, of sorted values.
func quantile(sorted []time.Duration, share float64) time.Duration {
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func milliseconds(latency time.Duration) float64 { return latency.Seconds() * 1000 }
