package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/checker"
	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// The markers of the table in the page that shows it.
const (
	tableBegin = "<!-- campaign: made by go run -C campaign . -->"
	tableEnd   = "<!-- end of campaign -->"
)

var stateNames = map[string]string{"database": "PostgreSQL", "redis": "Redis"}

// table is the report in Markdown.
func table(o *options, began time.Time, runs []*result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "`%s` on %s: seed %d, %d copies, tokens of %v.\n\n", o.line(), began.UTC().Format("2006-01-02"), o.seed, copies, tokenLife)
	fmt.Fprintf(&b, "%s.\n\n", machine())
	for _, r := range runs {
		fmt.Fprintf(&b, "State in %s, limits in Redis: %v, %d requests%s.\n\n", stateNames[r.state], r.took.Round(time.Second), r.ops, r.waited)
		faultTable(&b, r)
	}
	promiseTable(&b, runs)
	return b.String()
}

func faultTable(b *strings.Builder, r *result) {
	b.WriteString("| fault | times | with requests in flight | in flight | requests in its time | 503 | broken off | other failures | longest recovery | violations |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	faults := slices.SortedFunc(slices.Values(r.checked.Faults), func(a, b checker.FaultCount) int {
		return strings.Compare(string(a.Fault)+string(a.Target), string(b.Fault)+string(b.Target))
	})
	for i := range faults {
		f := &faults[i]
		fmt.Fprintf(b, "| %s, %s | %d | %s | %s | %d | %d | %d | %d | %s | %s |\n",
			f.Fault, f.Target, f.Times, flight(f, f.Counted()), flight(f, f.InFlight), f.Requests, f.Unavailable, f.Broken, f.Failed, recoveryOf(f), count(f.Violations, f.Owned))
	}
	b.WriteByte('\n')
}

// flight is a figure of requests in flight, which the machine itself has not.
func flight(f *checker.FaultCount, n int) string {
	if f.Target == ledger.Machine {
		return "–"
	}
	return fmt.Sprint(n)
}

func recoveryOf(f *checker.FaultCount) string {
	if f.Recovery == 0 {
		return "–"
	}
	return fmt.Sprintf("%d ms", f.Recovery.Milliseconds())
}

// count tells what is owned up to apart.
func count(broken, owned int) string {
	if owned == 0 {
		return fmt.Sprint(broken)
	}
	return fmt.Sprintf("%d, of which %d lost by Redis", broken, owned)
}

func promiseTable(b *strings.Builder, runs []*result) {
	b.WriteString("| promise |")
	for _, r := range runs {
		fmt.Fprintf(b, " %s: put to the test | broken |", stateNames[r.state])
	}
	b.WriteString("\n|---|")
	for range runs {
		b.WriteString("---|---|")
	}
	b.WriteByte('\n')
	for _, p := range checker.Promises {
		fmt.Fprintf(b, "| %s |", p)
		for _, r := range runs {
			fmt.Fprintf(b, " %d | %s |", r.checked.Checked[p], count(r.checked.Count(p)))
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	for _, r := range runs {
		fmt.Fprintf(b, "With the State in %s, %d refresh tokens were sent again within the grace after an answer got lost, and %d so late that nothing is promised.\n",
			stateNames[r.state], r.checked.Retried, r.checked.LateRetries)
		fmt.Fprintf(b, "The limits were shared beyond doubt, and so put to the test, for %.0f s of each copy on average.\n", r.checked.Calm.Seconds()/copies)
	}
}

// machine says what ran all of it.
func machine() string {
	parts := []string{fmt.Sprintf("%d cores", runtime.NumCPU())}
	if name := cpuName(); name != "" {
		parts[0] += " (" + name + ")"
	}
	parts = append(parts, runtime.GOOS+"/"+runtime.GOARCH, runtime.Version())
	for _, binary := range [][]string{{"postgres", "/usr/lib/postgresql/*/bin/postgres"}, {"redis-server", "/usr/bin/redis-server"}} {
		if v := versionOf(binary[0], binary[1]); v != "" {
			parts = append(parts, v)
		}
	}
	return strings.Join(parts, ", ")
}

func cpuName() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return ""
}

func versionOf(name, pattern string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		found, _ := filepath.Glob(pattern)
		if len(found) == 0 {
			return ""
		}
		path = found[len(found)-1]
	}
	out, err := exec.Command(path, "--version").Output() //nolint:gosec // an installed server
	if err != nil {
		return ""
	}
	words := strings.Fields(string(out))
	for _, w := range words {
		if v := strings.TrimPrefix(w, "v="); v != "" && v[0] >= '0' && v[0] <= '9' {
			return name + " " + v
		}
	}
	return ""
}

var errNoMarkers = errors.New("the page has no markers of a table")

// replaceTable puts the table between the markers of a page.
func replaceTable(path, text string) error {
	page, err := os.ReadFile(path) //nolint:gosec // a flag names it
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(page, []byte(tableBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ok2 {
		return fmt.Errorf("%s: %w", path, errNoMarkers)
	}
	page = fmt.Appendf(nil, "%s%s\n\n%s\n%s%s", before, tableBegin, text, tableEnd, after)
	return os.WriteFile(path, page, 0o644) //nolint:gosec // a page of the documentation
}
