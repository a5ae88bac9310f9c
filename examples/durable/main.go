// Command durable is the example server on databases: it may be restarted, and
// copies of it are one server to their clients. With nothing installed, in a
// SQLite file:
//
//	go run -C examples/durable .
//
// README.md has it on PostgreSQL or MariaDB, with rate limits in Redis. Package
// server says what differs from examples/server: what an app of your own would
// have beside its handlers when it is to last.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/tokenbooth/tokenbooth/examples/durable/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(server.Run(ctx, os.Args[1:], os.Stdout, os.Stderr, nil))
}
