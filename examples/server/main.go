// Command server is tokenbooth in the five envelopes, in memory, on one port:
//
//	go run ./examples/server
//
// It prints where it listens and a curl command for each system. SIGTERM and
// SIGINT let requests in flight finish. systems.go has what an app of your own
// would have: a handler, its envelope, and the routes that it guards.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run serves until the context ends and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	if err := serve(ctx, o, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

type options struct {
	addr, fixtures, issuer string
	ttl                    time.Duration
	shape                  response.Shape
}

// parseFlags reports errors on stderr itself.
func parseFlags(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.addr, "addr", "127.0.0.1:8080", "`ADDRESS` to listen on; port 0 picks one")
	flags.StringVar(&o.fixtures, "fixtures", "", "JSON `FILE` of clients and users; built-in ones when absent")
	flags.StringVar(&o.issuer, "issuer", "", "`URL` that the tokens name; http://ADDRESS when absent")
	flags.DurationVar(&o.ttl, "ttl", time.Hour, "life of access tokens, at least 1s")
	flags.Func("data-shape", "`SHAPE` of system 001's success: documented, flat or both (default documented)", o.setShape)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", flags.Arg(0))
		fmt.Fprintln(stderr, err)
		flags.Usage()
		return nil, err
	}
	return o, nil
}

func (o *options) setShape(name string) error {
	shape, ok := map[string]response.Shape{
		"documented": response.Documented, "flat": response.Flat, "both": response.Both,
	}[name]
	if !ok {
		return errors.New("want documented, flat or both")
	}
	o.shape = shape
	return nil
}

func serve(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	fixtures, err := loadFixtures(o.fixtures)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	s := newSettings(o, fixtures, "http://"+listener.Addr().String(), logger)
	systems, err := newSystems(s)
	if err != nil {
		return err
	}
	server := newServer(mount(systems), logger)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	announce(stdout, s.base, systems)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return drain(ctx, server, logger)
	}
}

func newServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelError),
	}
}

// announce is all that goes to standard output.
func announce(stdout io.Writer, base string, systems []*system) {
	fmt.Fprintf(stdout, "listening on %s\n", base)
	for _, s := range systems {
		fmt.Fprintf(stdout, "# %s\n%s\n", s.name, s.curl)
	}
}

func drain(ctx context.Context, server *http.Server, logger *slog.Logger) error {
	logger.Info("draining")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}
