// Command campaign breaks real servers under real traffic for a while and holds
// what clients saw against what tokenbooth promises:
//
//	go run -C campaign . -minutes 10
//
// It starts PostgreSQL, Redis and copies of the durable example server on the
// loopback interface, kills and freezes them, cuts and stops their connections,
// loses replies, and puts clocks off, as a schedule drawn from a seed says. Its
// clients write each request into a ledger, which a checker reads at the end. It
// prints a table, and exits with 1 if something happened that must not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/checker"
	"github.com/tokenbooth/tokenbooth/campaign/ledger"
	"github.com/tokenbooth/tokenbooth/campaign/stage"
	"github.com/tokenbooth/tokenbooth/examples/durable/server"
)

// copyVariable in the environment makes the program one of the copies.
const copyVariable = "TOKENBOOTH_CAMPAIGN_COPY"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if os.Getenv(copyVariable) != "" {
		os.Exit(beCopy(ctx, os.Args[1:]))
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// beCopy serves by a clock that the campaign sets. It does not outlive the
// campaign, whose end closes the standard input.
func beCopy(ctx context.Context, args []string) int {
	clock := new(stage.Clock)
	go func() {
		clock.Follow(os.Stdin)
		os.Exit(3)
	}()
	return server.Run(ctx, args, os.Stdout, os.Stderr, clock.Now)
}

// options are the flags.
type options struct {
	minutes float64
	seed    uint64
	states  []string
	rate    float64
	page    string
	dir     string
	command []string // of a copy
}

func parseFlags(args []string, stderr io.Writer) (*options, error) {
	o := &options{states: []string{"database", "redis"}}
	flags := flag.NewFlagSet("campaign", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Float64Var(&o.minutes, "minutes", 10, "how long each `STATE` is tried")
	flags.Uint64Var(&o.seed, "seed", 0, "of the schedule and the clients; drawn when 0")
	flags.Func("state", "only database or only redis; one after the other when absent", func(s string) error {
		if s != "database" && s != "redis" {
			return errors.New("want database or redis")
		}
		o.states = []string{s}
		return nil
	})
	flags.Float64Var(&o.rate, "rate", 200, "requests a second, at most")
	flags.StringVar(&o.page, "o", "", "`FILE` whose table, between its markers, is replaced")
	flags.StringVar(&o.dir, "dir", "", "an empty `DIRECTORY` for ledgers and logs, which are kept; none are when absent")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	var err error
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case !(o.minutes > 0 && o.minutes <= 24*60):
		err = errors.New("-minutes: want more than 0 and at most 1440")
	case !(o.rate >= 1 && o.rate <= 10_000):
		err = errors.New("-rate: want 1 to 10000")
	case o.minutes*60*o.rate > mostRequests:
		err = fmt.Errorf("-minutes and -rate: want at most %d requests, which are checked in memory", int(mostRequests))
	default:
		err = checkEmpty(o.dir)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return nil, err
	}
	for o.seed == 0 {
		o.seed = rand.Uint64() >> 32 //nolint:gosec // no secret
	}
	return o, nil
}

// mostRequests are those of one State.
const mostRequests = 2e6

// checkEmpty refuses a directory with something in it, which may be another run's.
func checkEmpty(dir string) error {
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("-dir: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("-dir: %s is not empty", dir)
	}
	return nil
}

func (o *options) length() time.Duration { return time.Duration(o.minutes * float64(time.Minute)) }

// line is the command that repeats the run.
func (o *options) line() string {
	words := []string{fmt.Sprintf("go run -C campaign . -minutes %v -seed %d", o.minutes, o.seed)}
	if len(o.states) == 1 {
		words = append(words, "-state "+o.states[0])
	}
	if o.rate != 200 {
		words = append(words, fmt.Sprintf("-rate %v", o.rate))
	}
	return strings.Join(words, " ")
}

// run returns the exit status: 0 when all promises were kept, 1 when one was not,
// or the kills did not suffice, or the campaign itself failed, 2 for flags.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	o.command = []string{self}
	return o.campaign(ctx, stdout, stderr)
}

func (o *options) campaign(ctx context.Context, stdout, stderr io.Writer) int {
	began := time.Now()
	var runs []*result
	for _, state := range o.states {
		r, err := o.one(ctx, state, stderr)
		if err != nil {
			fmt.Fprintf(stderr, "campaign: %s: %v\n", state, err)
			return 1
		}
		runs = append(runs, r)
	}
	report := table(o, began, runs)
	fmt.Fprint(stdout, report)
	if o.page != "" {
		if err := replaceTable(o.page, report); err != nil {
			fmt.Fprintln(stderr, "campaign:", err)
			return 1
		}
	}
	status := 0
	for _, r := range runs {
		if r.complain(stderr) {
			status = 1
		}
	}
	return status
}

// wantKills is how many kills of each kind must have met requests: 20 in ten
// minutes, none in a run that is too short to say.
func (o *options) wantKills() int {
	if o.minutes < 10 {
		return 0
	}
	return 20
}

// complain says what must not have happened.
func (r *result) complain(stderr io.Writer) (failed bool) {
	const most = 50
	failures := r.checked.Failures()
	for i, v := range failures {
		if i == most {
			fmt.Fprintf(stderr, "and %d more\n", len(failures)-most)
			break
		}
		fmt.Fprintf(stderr, "VIOLATION (%s) at %v: %s: %s\n", r.state, v.At.Round(time.Millisecond), v.Promise, v.What)
	}
	for _, v := range r.checked.Violations {
		if v.Owned {
			fmt.Fprintf(stderr, "owned up to (%s) at %v: %s: %s\n", r.state, v.At.Round(time.Millisecond), v.Promise, v.What)
		}
	}
	for _, target := range []ledger.Target{ledger.Postgres, ledger.Redis, ledger.Copy} {
		kills := r.kills(target)
		fmt.Fprintf(stderr, "%s: %d kills of %s with requests in flight\n", r.state, kills, target)
		if kills < r.wantKills {
			fmt.Fprintf(stderr, "TOO FEW: want %d\n", r.wantKills)
			failed = true
		}
	}
	if r.wantKills > 0 && r.checked.Calm == 0 {
		fmt.Fprintf(stderr, "%s: NO TIME when the limits were shared beyond doubt\n", r.state)
		failed = true
	}
	for _, p := range checker.Promises {
		if r.wantKills > 0 && r.checked.Checked[p] == 0 {
			fmt.Fprintf(stderr, "%s: NOTHING PUT TO THE TEST that %s\n", r.state, p)
			failed = true
		}
	}
	return failed || len(failures) > 0
}
