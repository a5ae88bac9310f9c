// Mutants shows that the tests hold the rules whose numbers they carry. It
// breaks one line at a time, runs the test of that line's rule, and fails where
// the test does not notice. The tree is never changed: the broken copy of a file
// is laid over it by go test -overlay.
//
//	go run ./.ci/mutants              from the root of the repository
//	go run ./.ci/mutants -only T2     the rules whose number begins so
//
// It prints a line for each mutant and exits with 1 where one survives, does not
// compile, is not to be found exactly once in its file, or names no test.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	atOnce      = 2                // mutants
	testTimeout = 60 * time.Second // of one test; it is slow only where something hangs
	goTimeout   = 5 * time.Minute  // of compiling and testing together
)

func main() {
	only := flag.String("only", "", "check only the rules whose number begins with this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	failed, err := check(ctx, *only)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

func check(ctx context.Context, only string) (failed bool, err error) {
	root, err := os.Getwd()
	if err != nil {
		return true, err
	}
	if _, err := os.Stat(filepath.Join(root, ".ci", "mutants", "mutants.go")); err != nil {
		return true, errors.New("run it from the root of the repository: go run ./.ci/mutants")
	}
	temp, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return true, err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	chosen := slices.DeleteFunc(slices.Clone(mutants), func(m mutant) bool { return !strings.HasPrefix(m.Demand, only) })
	if len(chosen) == 0 {
		return true, fmt.Errorf("there is no rule %q", only)
	}
	l := lab{root: root, temp: temp}
	if l.whole, err = l.unbroken(ctx, chosen); err != nil {
		return true, err
	}
	return report(chosen, l.start(ctx, chosen)), nil
}

// report prints the outcomes in the order of the table, as they come.
func report(chosen []mutant, outcomes []chan string) (failed bool) {
	passed := 0
	for i, m := range chosen {
		verdict, why := "ok  ", <-outcomes[i]
		if why == "" {
			passed++
			why = "killed by " + m.Run
		} else {
			verdict = "FAIL"
		}
		fmt.Printf("%s %-8s %-22s %s: %s\n", verdict, m.Demand, m.File, m.Why, why)
	}
	fmt.Printf("%d passed, %d failed\n", passed, len(chosen)-passed)
	return passed < len(chosen)
}

// A lab has the tree at root, and copies of it in temp.
type lab struct {
	root, temp string
	whole      map[string]bool // the tests that pass where nothing is broken
}

// start checks mutants, a few at a time, and returns where each outcome will be:
// what is wrong, or nothing where it was killed as it should be.
func (l *lab) start(ctx context.Context, chosen []mutant) []chan string {
	outcomes := make([]chan string, len(chosen))
	slots := make(chan struct{}, atOnce)
	for i := range chosen {
		outcomes[i] = make(chan string, 1)
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			outcomes[i] <- l.try(ctx, strconv.Itoa(i), &chosen[i])
		}()
	}
	return outcomes
}

func (l *lab) try(ctx context.Context, name string, m *mutant) (wrong string) {
	if !m.named() {
		return "does not belong to " + m.Run + ", whose name must begin with Test" + m.Demand + "_"
	}
	if !l.whole[m.key()] {
		return "there is no " + m.Run + " in " + m.Package
	}
	overlay, err := l.infect(name, m)
	if err != nil {
		return err.Error()
	}
	seen, err := l.test(ctx, m.Package, m.Run, "-overlay", overlay)
	switch {
	case err != nil:
		return err.Error()
	case seen.broken:
		return "does not compile\n" + seen.output
	case seen.late:
		return m.Run + " hangs, which tells nothing"
	case !seen.failed[m.Run]:
		return "SURVIVES " + m.Run
	}
	return ""
}

// infect writes the broken copy of the file, and the overlay that puts it there.
func (l *lab) infect(name string, m *mutant) (overlay string, err error) {
	original := filepath.Join(l.root, filepath.FromSlash(m.File))
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	if n := bytes.Count(source, []byte(m.Old)); n != 1 || m.Old == m.New {
		return "", fmt.Errorf("the text is %d times in the file, want once: %s", n, m.Old)
	}
	broken := filepath.Join(l.temp, name+".go")
	overlay = filepath.Join(l.temp, name+".json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: broken}})
	if err != nil {
		return "", err
	}
	source = bytes.Replace(source, []byte(m.Old), []byte(m.New), 1)
	return overlay, errors.Join(os.WriteFile(broken, source, 0o600), os.WriteFile(overlay, replace, 0o600))
}

// unbroken runs the tests on the tree as it is. A test that fails there proves
// nothing when it fails elsewhere.
func (l *lab) unbroken(ctx context.Context, chosen []mutant) (map[string]bool, error) {
	tests := map[string][]string{}
	for i := range chosen {
		tests[chosen[i].Package] = append(tests[chosen[i].Package], chosen[i].Run)
	}
	passed := map[string]bool{}
	for _, pkg := range slices.Sorted(maps.Keys(tests)) {
		names := slices.Compact(slices.Sorted(slices.Values(tests[pkg])))
		seen, err := l.test(ctx, pkg, strings.Join(names, "|"))
		if err != nil {
			return nil, err
		}
		if seen.broken || seen.late || len(seen.failed) > 0 {
			return nil, fmt.Errorf("%s fails without a mutant: %v\n%s", pkg, slices.Sorted(maps.Keys(seen.failed)), seen.output)
		}
		for name := range seen.passed {
			passed[pkg+" "+name] = true
		}
	}
	return passed, nil
}

// A sighting is what go test told of the tests at the top.
type sighting struct {
	passed, failed map[string]bool
	broken         bool // it did not compile
	late           bool // a test ran into its timeout
	output         string
}

// test runs the tests whose names are exactly these, separated by "|".
func (l *lab) test(ctx context.Context, pkg, names string, flags ...string) (*sighting, error) {
	ctx, cancel := context.WithTimeout(ctx, goTimeout)
	defer cancel()
	// Without inlining a package compiles in two thirds of the time.
	args := []string{"test", "-json", "-vet=off", "-gcflags=-l", "-short", "-count=1", "-timeout", testTimeout.String(), "-run", "^(?:" + names + ")$"}
	cmd := exec.CommandContext(ctx, "go", append(append(args, flags...), pkg)...)
	cmd.Dir = l.root
	cmd.WaitDelay = time.Second
	var told, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &told, &trouble
	failure := cmd.Run()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("go test did not end: %w", ctx.Err())
	}
	seen := read(told.Bytes())
	seen.output += trouble.String()
	if failure != nil && !seen.broken && !seen.late && len(seen.failed) == 0 {
		return nil, fmt.Errorf("go test: %w\n%s", failure, seen.output)
	}
	return seen, nil
}

var timedOut = regexp.MustCompile(`(?m)^panic: test timed out after `)

func read(told []byte) *sighting {
	seen := &sighting{passed: map[string]bool{}, failed: map[string]bool{}}
	for line := range bytes.Lines(told) {
		var event struct{ Action, Test, Output string }
		if json.Unmarshal(line, &event) != nil {
			continue
		}
		seen.output += event.Output
		top, _, _ := strings.Cut(event.Test, "/")
		switch {
		case event.Action == "build-fail":
			seen.broken = true
		case top != "" && event.Action == "fail":
			seen.failed[top] = true
		case top != "" && event.Action == "pass":
			seen.passed[top] = true
		}
	}
	seen.late = timedOut.MatchString(seen.output)
	return seen
}
