// Command loadgen asks one server one question, over and over, and measures what the server makes of it. The question
// is encoded once and sent as bytes; every answer is checked, and the first wrong one ends the run without a result.
//
//	loadgen call  < plan.json    one call; the answer as JSON
//	loadgen drive < plan.json    a load; what it measured as JSON
//
// A plan is described in plan.go, what comes of it in drive.go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, words []string, in io.Reader, out io.Writer) error {
	if len(words) != 1 || (words[0] != "call" && words[0] != "drive") {
		return errors.New("usage: loadgen call|drive < plan.json")
	}
	plan, err := readPlan(in)
	if err != nil {
		return err
	}
	target, err := dial(ctx, plan)
	if err != nil {
		return err
	}
	defer target.close()
	if words[0] == "call" {
		reply, err := target.call(ctx, 0)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(json.RawMessage(target.show(reply)))
	}
	measured, err := drive(ctx, plan, target)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(measured)
}
