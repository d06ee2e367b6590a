// Command ferretdb serves MongoDB's wire protocol from SQLite files, for tests. The published command of this version
// ends at start, the library does not, and knows no users: the module is named so that it may import what does. It does
// not wait for disks: no test kills the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/internal/clientconn"
	"github.com/FerretDB/FerretDB/internal/clientconn/connmetrics"
	"github.com/FerretDB/FerretDB/internal/handler/registry"
	"github.com/FerretDB/FerretDB/internal/util/password"
	"github.com/FerretDB/FerretDB/internal/util/state"
)

func main() {
	data := flag.String("data", "", "directory of its files")
	listen := flag.String("listen", "", "HOST:PORT")
	cert := flag.String("tls-cert", "", "PEM; with it TLS alone is spoken")
	key := flag.String("tls-key", "", "PEM")
	user := flag.String("user", "", "NAME; with it whoever else comes is refused. The password is PASSWORD of the environment")
	flag.Parse()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	if err := serve(logger, *data, *listen, *cert, *key, *user); err != nil {
		logger.Error(err.Error())
		os.Exit(1)
	}
}

func serve(logger *slog.Logger, data, listen, cert, key, user string) error {
	provider, err := state.NewProvider("")
	if err != nil {
		return err
	}
	telemetry := func(s *state.State) {
		s.DisableTelemetry()
		s.TelemetryLocked = true
	}
	if err := provider.Update(telemetry); err != nil {
		return err
	}
	metrics := connmetrics.NewListenerMetrics()
	opts := &registry.NewHandlerOpts{
		Logger:        logger,
		ConnMetrics:   metrics.ConnMetrics,
		StateProvider: provider,
		TCPHost:       listen,
		SQLiteURL:     "file:" + data + "/?_pragma=synchronous(off)",
		TestOpts:      registry.TestOpts{CappedCleanupPercentage: 10, BatchSize: 100},
	}
	if user != "" {
		opts.EnableNewAuth = true
		opts.SetupDatabase = "admin"
		opts.SetupUsername = user
		opts.SetupPassword = password.WrapPassword(os.Getenv("PASSWORD"))
	}
	handler, closeBackend, err := registry.NewHandler("sqlite", opts)
	if err != nil {
		return err
	}
	defer closeBackend()
	listening := &clientconn.NewListenerOpts{
		TCP:     listen,
		Mode:    clientconn.NormalMode,
		Metrics: metrics,
		Handler: handler,
		Logger:  logger,
	}
	if cert != "" {
		listening.TCP, listening.TLS = "", listen
		listening.TLSCertFile, listening.TLSKeyFile = cert, key
	}
	listener, err := clientconn.Listen(listening)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener.Run(ctx)
	if ctx.Err() == nil {
		return errors.New("ended")
	}
	return nil
}
