// An HTTP service whose every request is decided by Sigil: GET /orders/ID.
//
//	orders LISTEN SERVER ORIGIN KEY [CA]
//
// KEY is the private key of principal "operator". Without CA there is no TLS, for a server on this machine. Who asks
// is in the header "user", as a proxy in front of it would set it after it had authenticated the request.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	sigil "sigil.example/go"
)

// handler is the service: every route of it is guarded.
func handler(client *sigil.Client) http.Handler {
	guard := client.GuardHTTP(sigil.HTTPRule{
		Action:      "read",
		TargetFrom:  func(r *http.Request) (string, error) { return sigil.TargetOf("public", "orders", r.PathValue("id")) },
		SubjectFrom: userOf,
		OnDenied:    func(r *http.Request, err error) { slog.Warn("denied", "path", r.URL.Path, "why", err) },
	})
	routes := http.NewServeMux()
	routes.Handle("GET /orders/{id}", guard(http.HandlerFunc(showOrder)))
	return routes
}

func userOf(r *http.Request) (string, error) {
	users := r.Header.Values("user")
	if len(users) != 1 {
		return "", errors.New("the request names no user")
	}
	return users[0], nil
}

func showOrder(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, "{\"order\":%q,\"audit_id\":%q}\n", r.PathValue("id"), sigil.DecisionFrom(r.Context()).AuditID())
}

func run(ctx context.Context, listen, server, origin, keyFile string, authority ...string) error {
	security := sigil.WithoutTLS()
	if len(authority) > 0 {
		text, err := os.ReadFile(authority[0])
		if err != nil {
			return err
		}
		security = sigil.WithCA(text)
	}
	client, err := sigil.Connect(ctx, server, security, sigil.WithKeyFile("operator", origin, keyFile))
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()

	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	service := &http.Server{Handler: handler(client), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- service.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return service.Shutdown(ending)
}

func main() {
	if len(os.Args) < 5 || len(os.Args) > 6 {
		fmt.Fprintln(os.Stderr, "usage: orders LISTEN SERVER ORIGIN KEY [CA]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5:]...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
