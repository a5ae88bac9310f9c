package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

const (
	pulse = 100 * time.Millisecond
	// stall is how long a pulse may be late.
	stall = 250 * time.Millisecond
)

// watchMachine writes down when the machine itself stands still, which is not the
// campaign's doing and no fault of who is tried: what others do to its disk and its
// processors can delay a commit by seconds. A pulse is a wait, and a byte that is
// synced as the commits of the database are.
func watchMachine(ctx context.Context, path string, book *ledger.Writer) (err error) {
	file, err := os.Create(path) //nolint:gosec // our own
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for ctx.Err() == nil {
		began := book.Now()
		time.Sleep(pulse)
		if _, err := file.WriteAt([]byte{1}, 0); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
		if now := book.Now(); now-began > pulse+stall {
			book.Outage(&ledger.Outage{Fault: ledger.Stall, Target: ledger.Machine, Begin: began, Return: now})
		}
	}
	return nil
}

// A pressure is how long somebody has waited since the machine started, by what for.
type pressure map[string]time.Duration

var pressureTotal = regexp.MustCompile(`(?m)^some .*total=(\d+)$`)

// readPressure asks the kernel; nothing is told where it does not know.
func readPressure() pressure {
	p := pressure{}
	for _, what := range []string{"cpu", "io"} {
		data, err := os.ReadFile("/proc/pressure/" + what) //nolint:gosec // one of two
		if err != nil {
			continue
		}
		if m := pressureTotal.FindSubmatch(data); m != nil {
			if us, err := strconv.ParseInt(string(m[1]), 10, 64); err == nil {
				p[what] = time.Duration(us) * time.Microsecond
			}
		}
	}
	return p
}

// since says for how much of the time somebody waited since an earlier reading.
func (p pressure) since(before pressure, took time.Duration) string {
	var parts []string
	for _, what := range []struct{ key, name string }{{"cpu", "a processor"}, {"io", "the disk"}} {
		now, ok := p[what.key]
		if then, ok2 := before[what.key]; ok && ok2 && took > 0 {
			parts = append(parts, fmt.Sprintf("for %s %.0f %%", what.name, 100*float64(now-then)/float64(took)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "; something on the machine waited " + strings.Join(parts, " and ") + " of the time"
}
