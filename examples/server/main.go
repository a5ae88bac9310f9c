// Command server is tokenbooth in the five envelopes, in memory, on one port:
//
//	go run ./examples/server
//
// It prints where it listens and a curl command for each system. SIGTERM and
// SIGINT let requests in flight finish.
//
// What it is made of is in examples/internal/booth. Begin there with systems.go,
// which has what an app of your own would have: a handler, its envelope, and the
// routes that it guards. examples/durable is the same on databases.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/tokenbooth/tokenbooth/examples/internal/booth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(booth.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
