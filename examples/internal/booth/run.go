// Package booth is what the example servers have in common: tokenbooth in the
// five envelopes on one port. systems.go has the handlers, their envelopes and the
// routes that they guard; meta.go and login.go the system where people sign in;
// backend.go what a server keeps its clients and its state in.
package booth

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
)

// A Program is a server with its flags. The zero value keeps everything in
// memory.
type Program struct {
	Name  string              // for the usage; "server" when empty
	Flags func(*flag.FlagSet) // adds flags of its own; none when nil
	// Open returns what the server keeps everything in; memory when nil. It is
	// called once, when the flags are read, and before the server listens.
	Open func(context.Context, *Setup) (*Backend, error)
	Now  func() time.Time // the clock; time.Now when nil
}

// A Setup is what a Backend is opened for.
type Setup struct {
	Fixtures *Fixtures
	TTL      time.Duration // life of access tokens
	Logger   *slog.Logger
	Now      func() time.Time // may be nil
}

// ErrUsage is wrapped by errors about flags, for which the exit status is 2.
var ErrUsage = errors.New("usage")

// Run is the server in memory: the zero [Program].
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return new(Program).Run(ctx, args, stdout, stderr)
}

// Run serves until the context ends, then lets requests in flight finish, and
// returns the exit status.
func (p *Program) Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := p.parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	err = p.serve(ctx, o, stdout, stderr)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, err)
	if errors.Is(err, ErrUsage) {
		return 2
	}
	return 1
}

type options struct {
	addr, fixtures, issuer string
	ttl                    time.Duration
	shape                  response.Shape
}

// parseFlags reports errors on stderr itself.
func (p *Program) parseFlags(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	flags := flag.NewFlagSet(cmp.Or(p.Name, "server"), flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.addr, "addr", "127.0.0.1:8080", "`ADDRESS` to listen on; port 0 picks one")
	flags.StringVar(&o.fixtures, "fixtures", "", "JSON `FILE` of clients and users; built-in ones when absent")
	flags.StringVar(&o.issuer, "issuer", "", "`URL` that the tokens name; http://ADDRESS when absent")
	flags.DurationVar(&o.ttl, "ttl", time.Hour, "life of access tokens, at least 1s")
	flags.Func("data-shape", "`SHAPE` of system 001's success: documented, flat or both (default documented)", o.setShape)
	if p.Flags != nil {
		p.Flags(flags)
	}
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

func (p *Program) serve(ctx context.Context, o *options, stdout, stderr io.Writer) (err error) {
	fixtures, err := LoadFixtures(o.fixtures)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	open := p.Open
	if open == nil {
		open = inMemory
	}
	backend, err := open(ctx, &Setup{Fixtures: fixtures, TTL: o.ttl, Logger: logger, Now: p.Now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.close()) }()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	s := newSettings(o, fixtures, "http://"+listener.Addr().String(), logger)
	s.backend, s.now = backend, p.Now
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
