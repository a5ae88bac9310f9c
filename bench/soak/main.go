// Soak puts mixed load on a handler and its guards over loopback, and says whether
// memory and goroutines are back where they were once it has ended:
//
//	go run ./soak -minutes 20
//
// First everything that is bounded is filled to its bound. The load is the same
// each second, so that what lives is level from ten minutes on: so long is an
// authorization kept beyond its end. At the end the clock of the handler steps
// on, everything expires, and what is left must not be more than at the beginning.
// The exit status is 1 when it is, or when an answer was not the right one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"
)

func main() {
	minutes := flag.Float64("minutes", 20, "how long the load lasts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, time.Duration(*minutes*float64(time.Minute)), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// What the heap may be larger by: the runtime's own tables grow a little with the
// most that ever lived.
const slack = 1 << 20

func run(ctx context.Context, length time.Duration, out io.Writer) error {
	s, err := newServer()
	if err != nil {
		return err
	}
	defer s.close()
	l := newLoad(s)
	if err := l.fill(strangers, tokens); err != nil {
		return err
	}
	if err := l.last(ctx, 5*time.Second, time.Second, io.Discard); err != nil { // what is made once and kept
		return err
	}
	before, err := l.settle()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "at the beginning  %v\n", before)
	if err := l.last(ctx, length, time.Minute, out); err != nil {
		return err
	}
	after, err := l.settle()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "at the end        %v\n%v\n", after, l)
	if after.goroutines > before.goroutines {
		_ = pprof.Lookup("goroutine").WriteTo(out, 1)
	}
	return errors.Join(compare(before, after), l.wrong())
}

// compare says what is more than it was.
func compare(before, after census) error {
	var problems []error
	if grown := after.heap - before.heap; grown > slack {
		problems = append(problems, fmt.Errorf("the heap grew by %d KiB", grown>>10))
	}
	if left := after.goroutines - before.goroutines; left > 0 {
		problems = append(problems, fmt.Errorf("%d goroutines are left", left))
	}
	return errors.Join(problems...)
}
