package server_test

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/examples/internal/boothtest"
	"github.com/tokenbooth/tokenbooth/internal/testservers"
)

// private starts a server that the test may do anything to.
func private(t *testing.T, start func(dir string) (*testservers.Server, error)) *testservers.Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "tokenbooth-durable-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := start(dir)
	if errors.Is(err, testservers.ErrNotInstalled) && os.Getenv("TEST_REQUIRE_SERVERS") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// within repeats a request until it is answered with one of the statuses.
func within(t *testing.T, d time.Duration, request func() *boothtest.Answer, status int) {
	t.Helper()
	for deadline := time.Now().Add(d); ; time.Sleep(10 * time.Millisecond) {
		a := request()
		if a.Status == status {
			return
		}
		if a.Status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			t.Fatalf("%d %s, want %d within %v", a.Status, a.Body, status, d)
		}
	}
}

// TestH3_Outages takes away Redis, then the database, and gives them back. What is
// logged about all of it shows no secret.
func TestH3_Outages(t *testing.T) {
	database, redis := private(t, testservers.StartPostgres), private(t, testservers.StartRedis)
	clock := newClock()
	c := start(t, clock, "-database", database.URL(), "-redis", redis.URL(), "-keys", filepath.Join(t.TempDir(), "keys"), "-issuer", issuer, "-copies", "1")
	k := kitOf(t, clock, c)
	b := boothtest.NewBrowser(k)
	ticket, code := b.Page(boothtest.Asking()), b.Code(boothtest.Asking())
	got := k.Issued(k.Redeem("spa", b.Code(boothtest.Asking())))
	opaque := k.ClientToken("003", "acme", "")
	endpoint := func() *boothtest.Answer {
		return k.Call(boothtest.TokenPaths["000"], "acme", url.Values{"grant_type": {"client_credentials"}})
	}
	guard := func() *boothtest.Answer { return k.Get(boothtest.Guarded["003"], opaque) }
	page := func() *boothtest.Answer { return b.Post(boothtest.Filled(ticket)) }

	must(t, redis.Kill())
	within(t, 0, endpoint, http.StatusOK)
	within(t, 0, guard, http.StatusOK)
	slow := func() *boothtest.Answer {
		return k.Call(boothtest.TokenPaths["000"], "slow", url.Values{"grant_type": {"client_credentials"}})
	}
	for range 3 { // all of the limit, for the only copy
		within(t, 0, slow, http.StatusOK)
	}
	within(t, 0, slow, http.StatusTooManyRequests)

	must(t, database.Kill())
	for name, request := range map[string]func() *boothtest.Answer{
		"endpoint": endpoint, "guard": guard, "login": page,
		"refresh": func() *boothtest.Answer { return k.Refresh("spa", got.RefreshToken) },
		"redeem":  func() *boothtest.Answer { return k.Redeem("spa", code) },
		"whoami":  func() *boothtest.Answer { return k.Get(whoami, got.AccessToken) },
	} {
		if a := request(); a.Status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}

	must(t, database.Start())
	must(t, redis.Start())
	within(t, 2*time.Second, endpoint, http.StatusOK)
	within(t, 2*time.Second, guard, http.StatusOK)
	k.Issued(k.Redeem("spa", code))
	next := k.Issued(k.Refresh("spa", got.RefreshToken))
	within(t, 0, page, http.StatusSeeOther)

	c.stop()
	for _, want := range []string{"redis does not answer", "redis answers again"} {
		if !strings.Contains(c.logs.String(), want) {
			t.Errorf("not logged: %s", want)
		}
	}
	password, _ := parse(t, database.URL()).User.Password()
	secrets := []string{
		password, k.Secrets["acme"], "correct horse battery staple",
		ticket, code, opaque, got.AccessToken, got.RefreshToken, got.IDToken, next.AccessToken, next.RefreshToken, next.IDToken,
	}
	for _, secret := range secrets {
		if secret == "" || strings.Contains(c.logs.String(), secret) {
			t.Errorf("%q is logged:\n%s", secret, c.logs)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
