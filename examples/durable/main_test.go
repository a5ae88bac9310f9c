package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/examples/internal/booth"
	"github.com/tokenbooth/tokenbooth/examples/internal/boothtest"
	"github.com/tokenbooth/tokenbooth/internal/testservers"
)

func TestProcess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no SIGTERM, no sh")
	}
	binary := boothtest.Build(t)
	for name, where := range map[string]func(t *testing.T) []string{
		"sqlite": func(t *testing.T) []string {
			return []string{"-database", "sqlite:" + filepath.Join(t.TempDir(), "tokenbooth.db")}
		},
		"postgres and redis": func(t *testing.T) []string {
			return []string{"-database", testservers.Postgres(t), "-redis", testservers.Redis(t), "-keys", t.TempDir()}
		},
		"mariadb": func(t *testing.T) []string { return []string{"-database", testservers.MySQL(t), "-keys", t.TempDir()} },
	} {
		t.Run(name, func(t *testing.T) {
			flags := append(where(t), "-issuer", "http://server.test")
			for range 2 { // the second time everything is there
				p := boothtest.Start(t, binary, flags...)
				p.Commands()
				p.Stop(syscall.SIGTERM)
			}
			boothtest.Start(t, binary, flags...).Drain(boothtest.Secrets(t, booth.BuiltIn)["acme"])
			testTraffic(t, binary, append(flags, "-fixtures", eagerClient(t)))
		})
	}
}

// eagerClient is a client without much of a limit.
func eagerClient(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fixtures.json")
	const text = `{"clients": [{"id": "eager", "secret": "eager-secret", "grants": ["client_credentials"], "rate": {"per_second": 1e6, "burst": 1000000}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// testTraffic ends a server while 16 clients ask for tokens without a pause. What
// they were given is good at its successor.
func testTraffic(t *testing.T, binary string, flags []string) {
	p := boothtest.Start(t, binary, flags...)
	c := new(traffic)
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for c.ask(t, p.Base) {
			}
		})
	}
	for deadline := time.Now().Add(20 * time.Second); c.answers() < 200; {
		if time.Now().After(deadline) {
			t.Fatalf("%d answers in 20 s", c.answers())
		}
		time.Sleep(time.Millisecond)
	}
	if c.asking.Load() == 0 {
		t.Error("nothing is in flight")
	}
	p.Stop(syscall.SIGTERM)
	clients.Wait()

	p = boothtest.Start(t, binary, flags...)
	k := &boothtest.Kit{T: t, URLs: []string{p.Base}}
	for _, token := range c.tokens {
		if a := k.Get(boothtest.Guarded["003"], token); a.Status != http.StatusOK {
			t.Fatalf("a token of before: %d %s", a.Status, a.Body)
		}
	}
	p.Stop(syscall.SIGTERM)
}

// A traffic is what clients see.
type traffic struct {
	asking atomic.Int64
	mu     sync.Mutex
	tokens []string
}

func (c *traffic) answers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.tokens)
}

// ask returns false when nobody answers any more. An answer that has begun ends.
func (c *traffic) ask(t *testing.T, base string) bool {
	begun := false
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotFirstResponseByte: func() { begun = true }})
	form := url.Values{"client_id": {"eager"}, "client_secret": {"eager-secret"}}
	r, err := http.NewRequestWithContext(ctx, "POST", base+boothtest.TokenPaths["003"], strings.NewReader(form.Encode()))
	if err != nil {
		t.Error(err)
		return false
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Close = true // one that is kept may be closed before the next request is seen
	c.asking.Add(1)
	defer c.asking.Add(-1)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		if begun {
			t.Errorf("a truncated answer: %v", err)
		}
		return false
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	token := boothtest.TokenIn(body)
	if err != nil || response.StatusCode != http.StatusOK || token == "" {
		t.Errorf("%d %s, %v", response.StatusCode, body, err)
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens = append(c.tokens, token)
	return true
}
