// Asks a Sigil server one question: check SERVER ACTION TARGET.
//
// Exit code 0: allowed. 1: denied, or in review. 2: no answer, which is a deny too.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	trustv1 "sigil.example/go/sigil/trust/v1"
)

func check(server, action, target string) (*trustv1.CheckResponse, error) {
	connection, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return trustv1.NewTrustServiceClient(connection).Check(ctx, &trustv1.CheckRequest{Action: action, Target: target})
}

// explain prints the code and which fields were refused.
func explain(err error) {
	refusal := status.Convert(err)
	fmt.Fprintln(os.Stderr, "no answer:", refusal.Code())
	for _, detail := range refusal.Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, violation := range bad.GetFieldViolations() {
				fmt.Fprintf(os.Stderr, "%s: %s\n", violation.GetField(), violation.GetDescription())
			}
		}
	}
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: check SERVER ACTION TARGET")
		os.Exit(2)
	}
	answer, err := check(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		explain(err)
		os.Exit(2)
	}
	fmt.Println(answer.GetVerdict(), answer.GetReason(), answer.GetAuditId())
	if !answer.GetAllowed() {
		os.Exit(1)
	}
}
