// Command ferretdb serves MongoDB's wire protocol from SQLite files, for tests. The published command of this version
// ends at start, the library does not. It does not wait for disks: no test kills the machine.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	data := flag.String("data", "", "directory of its files")
	listen := flag.String("listen", "", "HOST:PORT")
	cert := flag.String("tls-cert", "", "PEM; with it TLS alone is spoken")
	key := flag.String("tls-key", "", "PEM")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	listener := ferretdb.ListenerConfig{TCP: *listen}
	if *cert != "" {
		listener = ferretdb.ListenerConfig{TLS: *listen, TLSCertFile: *cert, TLSKeyFile: *key}
	}
	server, err := ferretdb.New(&ferretdb.Config{Listener: listener, Handler: "sqlite", SQLiteURL: "file:" + *data + "/?_pragma=synchronous(off)"})
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = server.Run(ctx)
	}
	if err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
}
