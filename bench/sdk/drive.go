//go:build ignore

// The Go client and its bare stub, driven by bench/sdk.ts.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	sigil "sigil.example/go"
	trustv1 "sigil.example/go/sigil/trust/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

const deadline = 30 * time.Second

type told struct {
	Target, ProvingTarget, Genesis, Origin, Principal, KeyFile, Token string
	InFlight                                                          int
}

type asked struct {
	Load   string
	Checks int
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// checks makes one check, by load.
func checks(given told) map[string]func(context.Context) error {
	question := sigil.Question{Action: "write", Target: "user/notes/shopping", Session: "5f1c"}
	request := &trustv1.CheckRequest{Action: question.Action, Target: question.Target, Session: question.Session}
	conn := must(grpc.NewClient("passthrough:///"+given.Target, grpc.WithTransportCredentials(insecure.NewCredentials())))
	stub := trustv1.NewTrustServiceClient(conn)
	authorization := "Bearer " + given.Token
	options := func(more ...sigil.Option) []sigil.Option {
		return append([]sigil.Option{
			sigil.WithKeyFile(given.Principal, given.Origin, given.KeyFile), sigil.WithoutTLS(), sigil.WithDeadline(deadline),
		}, more...)
	}
	ctx := context.Background()
	client := must(sigil.Connect(ctx, given.Target, options()...))
	proving := must(sigil.Connect(ctx, given.ProvingTarget, options(sigil.VerifyDecisions(given.Genesis))...))
	return map[string]func(context.Context) error{
		"stub": func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, deadline)
			defer cancel()
			_, err := stub.Check(metadata.AppendToOutgoingContext(ctx, "authorization", authorization), request)
			return err
		},
		"client": func(ctx context.Context) error {
			_, err := client.Check(ctx, question)
			return err
		},
		"verified": func(ctx context.Context) error {
			_, err := proving.Check(ctx, question)
			return err
		},
	}
}

// processorTime of this process, of all its threads.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func drive(check func(context.Context) error, count, inFlight int) time.Duration {
	before := processorTime()
	var left atomic.Int64
	left.Store(int64(count))
	var workers sync.WaitGroup
	for range inFlight {
		workers.Go(func() {
			for left.Add(-1) >= 0 {
				if err := check(context.Background()); err != nil {
					log.Fatal(err)
				}
			}
		})
	}
	workers.Wait()
	return processorTime() - before
}

func main() {
	var given told
	if err := json.Unmarshal([]byte(os.Args[1]), &given); err != nil {
		log.Fatal(err)
	}
	loads := checks(given)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var next asked
		if err := json.Unmarshal(lines.Bytes(), &next); err != nil {
			log.Fatal(err)
		}
		took := drive(loads[next.Load], next.Checks, given.InFlight)
		fmt.Printf("{\"cpuUs\":%d}\n", took.Microseconds())
	}
}
