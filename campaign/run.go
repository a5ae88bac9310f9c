package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/checker"
	"github.com/tokenbooth/tokenbooth/campaign/ledger"
	"github.com/tokenbooth/tokenbooth/campaign/load"
	"github.com/tokenbooth/tokenbooth/campaign/schedule"
	"github.com/tokenbooth/tokenbooth/campaign/stage"
)

const (
	copies    = 2
	tokenLife = 30 * time.Second
	maxConns  = 8 // few, so that a database that does not answer exhausts them
	// Defaults of the package, which the example servers keep.
	grace    = 10 * time.Second
	codeLife = time.Minute
	// What the documentation asks of clocks, and promises of recovery.
	skew     = 5 * time.Second
	recovery = 2 * time.Second
	// lull is without faults: before the first, and after the last so that it can
	// be seen what came of it.
	lull = 3 * time.Second
)

// A result is what one run showed.
type result struct {
	state     string
	checked   *checker.Result
	ops       int
	took      time.Duration
	waited    string // how busy the machine was
	wantKills int
}

// kills are those that met requests.
func (r *result) kills(t ledger.Target) int {
	for i := range r.checked.Faults {
		if f := &r.checked.Faults[i]; f.Fault == ledger.Kill && f.Target == t {
			return f.Counted()
		}
	}
	return 0
}

// one runs one state for its time, and checks the ledger.
func (o *options) one(ctx context.Context, state string, stderr io.Writer) (_ *result, err error) {
	dir, keep, err := o.directory(state)
	if err != nil {
		return nil, err
	}
	if !keep {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }() //nolint:gosec // which we made
	}
	path := filepath.Join(dir, "ledger.jsonl")
	before := readPressure()
	took, err := o.play(ctx, state, dir, path, keep, stderr)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	waited := readPressure().since(before, took)
	file, err := os.Open(path) //nolint:gosec // our own
	if err != nil {
		return nil, err
	}
	defer file.Close()
	l, err := ledger.Read(file)
	if err != nil {
		return nil, err
	}
	return &result{state: state, checked: checker.Check(l), ops: len(l.Ops), took: took, waited: waited, wantKills: o.wantKills()}, nil
}

func (o *options) directory(state string) (dir string, keep bool, err error) {
	if o.dir == "" {
		dir, err = os.MkdirTemp("", "tokenbooth-campaign-")
		return dir, false, err
	}
	dir = filepath.Join(o.dir, state)
	if err := os.MkdirAll(dir, 0o700); err != nil { //nolint:gosec // a flag names it
		return "", true, err
	}
	dir, err = filepath.Abs(dir)
	return dir, true, err
}

// play sets the stage, lets clients and faults loose on it for the time, and
// writes the ledger.
func (o *options) play(ctx context.Context, state, dir, path string, keep bool, stderr io.Writer) (took time.Duration, err error) {
	fixtures, err := load.Fixtures()
	if err != nil {
		return 0, err
	}
	file, err := os.Create(path) //nolint:gosec // our own
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	s, err := stage.Open(ctx, stage.Config{
		Dir: dir, State: state, Copies: copies, Command: o.command, Env: []string{copyVariable + "=1"},
		Fixtures: fixtures, TokenLife: tokenLife, MaxConns: maxConns, KeepLogs: keep,
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	book := ledger.NewWriter(file, &ledger.Run{
		State: state, Copies: copies, Seed: o.seed, Grace: grace, CodeLife: codeLife, Recovery: recovery, Limits: load.Limits(),
	}, nil)
	p := &player{state: state, stage: s, book: book, stderr: stderr}
	for _, c := range s.Copies {
		p.urls = append(p.urls, c.URL())
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	var watch sync.WaitGroup
	watch.Go(func() { p.watched = watchMachine(watching, filepath.Join(dir, "pulse"), book) })
	p.load = load.New(load.Config{Copies: p.urls, Book: book, Rate: o.rate, Seed: o.seed, TokenLife: tokenLife, CodeLife: codeLife})
	err = p.play(ctx, schedule.New(o.seed, copies, skew), o.length())
	stop()
	watch.Wait()
	return book.Now(), errors.Join(err, p.watched, book.Flush())
}

// A player has a stage, clients, and a ledger for both.
type player struct {
	state  string
	stage  *stage.Stage
	book   *ledger.Writer
	load   *load.Load
	urls   []string
	faults int

	watched error

	saying sync.Mutex // the faults of a step are beside each other
	stderr io.Writer
}

// say prints a line about the run.
func (p *player) say(format string, args ...any) {
	p.saying.Lock()
	defer p.saying.Unlock()
	fmt.Fprintf(p.stderr, "%s: %s\n", p.state, fmt.Sprintf(format, args...))
}

// play returns when the clients have finished.
func (p *player) play(ctx context.Context, s *schedule.Schedule, length time.Duration) error {
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var clients sync.WaitGroup
	clients.Go(func() { p.load.Run(loading) })
	pause(ctx, min(lull, length/4))
	var err error
	for next := p.book.Now(); err == nil && ctx.Err() == nil && p.book.Now() < length-lull; {
		step := s.Next()
		if err = p.step(ctx, &step); err == nil {
			pause(ctx, step.Calm)
		}
		if p.book.Now() > next {
			p.say("%v, %d requests, %d faults", p.book.Now().Round(time.Second), p.book.Ops(), p.faults)
			next += 30 * time.Second
		}
	}
	if err == nil {
		pause(ctx, lull)
	}
	stop()
	clients.Wait()
	return err
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// step does the faults of a step, beside each other, and returns when all is well.
func (p *player) step(ctx context.Context, step *schedule.Step) error {
	errs := make([]error, len(step.Faults))
	var all sync.WaitGroup
	for i := range step.Faults {
		all.Go(func() {
			f := &step.Faults[i]
			pause(ctx, f.After)
			errs[i] = p.fault(ctx, f)
		})
	}
	all.Wait()
	p.faults += len(step.Faults)
	return errors.Join(errs...)
}

// fault waits until requests are in flight to what it is about to break, and
// writes down what it did.
func (p *player) fault(ctx context.Context, f *schedule.Fault) error {
	o := &ledger.Outage{Fault: f.Kind, Target: f.Target}
	if f.Target == ledger.Copy {
		o.Copy = f.Copy
	}
	if f.Kind == ledger.Term {
		release := p.load.Hold(f.Copy, 4)
		time.AfterFunc(f.Hold/2, release)
		defer release()
	}
	o.InFlight = p.awaitFlight(ctx, f)
	o.Begin = p.book.Now()
	if err := p.stage.Do(ctx, f, o); err != nil {
		return err
	}
	o.Return = p.book.Now()
	if f.Target == ledger.Redis {
		o.Shared = p.awaitDecision(ctx)
	}
	p.book.Outage(o)
	if o.Detail != "" {
		p.say("%s of %s: %s", f.Kind, f.Target, o.Detail)
	}
	return nil
}

// awaitDecision returns when Redis has decided about a limit, which shows that the
// copies use it again; 0 when it does not do so for longer than recovery may take.
func (p *player) awaitDecision(ctx context.Context) time.Duration {
	before := p.stage.Decisions()
	for until := p.book.Now() + recovery + time.Second; p.book.Now() < until && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if p.stage.Decisions() > before {
			return p.book.Now()
		}
	}
	return 0
}

// awaitFlight returns as soon as the target is at work on requests, and on how many;
// 0 when there are none for a while, as when everybody waits for something else that
// is broken.
func (p *player) awaitFlight(ctx context.Context, f *schedule.Fault) (n int) {
	const glance = 50 * time.Microsecond
	for until := p.book.Now() + 2*time.Second; p.book.Now() < until && ctx.Err() == nil; {
		if n = p.inFlight(f); n > 0 {
			break
		}
		time.Sleep(glance)
	}
	return n
}

func (p *player) inFlight(f *schedule.Fault) int {
	if f.Target == ledger.Copy {
		return p.load.InFlight(f.Copy)
	}
	return p.stage.Busy(f.Target)
}
