package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/checker"
	"github.com/tokenbooth/tokenbooth/campaign/ledger"
	"github.com/tokenbooth/tokenbooth/internal/testservers"
)

// TestMain makes the test's program a copy where the campaign starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv(copyVariable) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		os.Exit(beCopy(ctx, os.Args[1:])) //nolint:gocritic // the process ends
	}
	os.Exit(m.Run())
}

// needServers skips the test where servers are not installed.
func needServers(t *testing.T) {
	t.Helper()
	for _, start := range []func(string) (*testservers.Server, error){testservers.StartPostgres, testservers.StartRedis} {
		s, err := start(t.TempDir())
		switch {
		case errors.Is(err, testservers.ErrNotInstalled) && os.Getenv("TEST_REQUIRE_SERVERS") != "1":
			t.Skip(err)
		case err != nil:
			t.Fatal(err)
		}
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestS4_FaultsBesideEachOtherAreTold: a step may have several, and each says what it
// did when it is over.
func TestS4_FaultsBesideEachOtherAreTold(t *testing.T) {
	var out bytes.Buffer
	p := &player{state: "redis", stderr: &out}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { p.say("%s of %s: %d replies", ledger.Swallow, ledger.Redis, 3) })
	}
	all.Wait()
	if want := strings.Repeat("redis: replies swallowed of Redis: 3 replies\n", 8); out.String() != want {
		t.Errorf("%q", out.String())
	}
}

// TestS4_ShortCampaign is a campaign of seconds, whole.
func TestS4_ShortCampaign(t *testing.T) {
	needServers(t)
	dir := t.TempDir()
	page := filepath.Join(dir, "page.md")
	if err := os.WriteFile(page, []byte("before\n"+tableBegin+"\nold\n"+tableEnd+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	if status := run(t.Context(), []string{"-minutes", "0.25", "-seed", "5", "-rate", "120", "-dir", filepath.Join(dir, "run"), "-o", page}, &out, &log); status != 0 {
		t.Fatalf("%d: %s%s", status, &log, &out)
	}
	for _, state := range []string{"database", "redis"} {
		ledgerOf(t, filepath.Join(dir, "run", state, "ledger.jsonl"), state)
	}
	text, err := os.ReadFile(page) //nolint:gosec // our own
	if err != nil {
		t.Fatal(err)
	}
	if got := string(text); !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "\nafter\n") || strings.Contains(got, "old") || !strings.Contains(got, out.String()) {
		t.Error(got)
	}
}

func ledgerOf(t *testing.T, path, state string) {
	t.Helper()
	file, err := os.Open(path) //nolint:gosec // our own
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	l, err := ledger.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[ledger.Kind]int{}
	for _, op := range l.Ops {
		if op.Outcome == ledger.OK {
			kinds[op.Kind]++
		}
	}
	if l.Run.State != state || len(kinds) != 7 || len(l.Outages) < 3 {
		t.Errorf("%s: %v, %d outages", state, kinds, len(l.Outages))
	}
}

// TestInterrupted ends a campaign early: an error, and nothing is left running.
func TestInterrupted(t *testing.T) {
	needServers(t)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var out, log bytes.Buffer
	if status := run(ctx, []string{"-minutes", "5", "-state", "database", "-dir", dir}, &out, &log); status != 1 || out.Len() > 0 {
		t.Errorf("%d: %s%s", status, &log, &out)
	}
	for _, name := range []string{"postgres", "redis"} {
		if left, err := filepath.Glob(filepath.Join(dir, "database", name, "data", "postmaster.pid")); err != nil || len(left) > 0 && alive(t, left[0]) {
			t.Errorf("%s runs", name)
		}
	}
}

// alive says whether the process that the first line of a file names is there.
func alive(t *testing.T, path string) bool {
	t.Helper()
	data, err := os.ReadFile(path) //nolint:gosec // our own
	if err != nil {
		return false
	}
	pid, _, _ := strings.Cut(string(data), "\n")
	_, err = os.Stat("/proc/" + pid)
	return err == nil
}

func TestFlags(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-minutes", "0"},
		{"-minutes", "-1"},
		{"-minutes", "NaN"},
		{"-minutes", "2000"},
		{"-state", "disk"},
		{"-minutes", "200"},
		{"-dir", full},
		{"-dir", filepath.Join(full, "file")},
		{"-rate", "0"},
		{"-rate", "1e9"},
		{"-seed", "x"},
		{"more"},
		{"-unknown"},
	} {
		var out, log bytes.Buffer
		if status := run(t.Context(), args, &out, &log); status != 2 || log.Len() == 0 || out.Len() > 0 {
			t.Errorf("%q: %d %s", args, status, &log)
		}
	}
	if status := run(t.Context(), []string{"-h"}, new(bytes.Buffer), new(bytes.Buffer)); status != 0 {
		t.Errorf("-h: %d", status)
	}
}

func TestTable(t *testing.T) {
	r := &result{state: "redis", ops: 12, took: time.Minute, wantKills: 20, checked: &checker.Result{
		Checked: map[checker.Promise]int{checker.CodeTwice: 7},
		Violations: []checker.Violation{
			{Promise: checker.CodeTwice, Owned: true}, {Promise: checker.CodeTwice},
		},
		Faults: []checker.FaultCount{
			{Fault: ledger.Kill, Target: ledger.Redis, Times: 21, Idle: 2, InFlight: 60, Requests: 100, Unavailable: 9, Broken: 3, Failed: 1, Recovery: 1234 * time.Millisecond, Violations: 2, Owned: 1},
		},
	}}
	o := &options{minutes: 10, seed: 3, states: []string{"redis"}, rate: 200}
	got := table(o, time.Unix(0, 0), []*result{r})
	for _, want := range []string{
		"`go run -C campaign . -minutes 10 -seed 3 -state redis` on 1970-01-01",
		"| kill -9, Redis | 21 | 19 | 60 | 100 | 9 | 3 | 1 | 1234 ms | 2, of which 1 lost by Redis |",
		"| no code is redeemed twice | 7 | 2, of which 1 lost by Redis |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	var log bytes.Buffer
	if !r.complain(&log) || strings.Count(log.String(), "VIOLATION") != 1 || strings.Count(log.String(), "owned up to") != 1 ||
		!strings.Contains(log.String(), "19 kills of Redis") || !strings.Contains(log.String(), "TOO FEW") ||
		strings.Count(log.String(), "NOTHING PUT TO THE TEST") != len(checker.Promises)-1 {
		t.Error(log.String())
	}
}

func TestPressure(t *testing.T) {
	before, after := pressure{"cpu": time.Second, "io": time.Second}, pressure{"cpu": 4 * time.Second, "io": time.Second}
	if got := after.since(before, 10*time.Second); got != "; something on the machine waited for a processor 30 % and for the disk 0 % of the time" {
		t.Error(got)
	}
	if got := after.since(pressure{}, 10*time.Second); got != "" {
		t.Error(got)
	}
}

// TestWatch has a machine that does not stand still, and a pulse file that is none.
func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	book := ledger.NewWriter(io.Discard, new(ledger.Run), nil)
	if err := watchMachine(ctx, filepath.Join(t.TempDir(), "pulse"), book); err != nil {
		t.Error(err)
	}
	if err := watchMachine(t.Context(), t.TempDir(), book); err == nil {
		t.Error("a directory for a pulse")
	}
}

func TestPageWithoutMarkers(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replaceTable(page, "table"); !errors.Is(err, errNoMarkers) {
		t.Error(err)
	}
}
