package redisstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/internal/testservers"
	"github.com/tokenbooth/tokenbooth/store/redisstore"
)

// universal returns the options of a URL.
func universal(t testing.TB, url string) *redis.UniversalOptions {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return &redis.UniversalOptions{Addrs: []string{o.Addr}, Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: o.TLSConfig}
}

func at(addr string) *redis.UniversalOptions { return &redis.UniversalOptions{Addrs: []string{addr}} }

// open returns a Store that is closed with the test.
func open(t testing.TB, o *redis.UniversalOptions, opts ...redisstore.Option) *redisstore.Store {
	t.Helper()
	s, err := redisstore.Open(o, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// private starts a server that the test may do anything to.
func private(t testing.TB) *testservers.Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "tokenbooth-redisstore-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := testservers.StartRedis(dir)
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

// bare is a client that knows nothing of the store.
func bare(t testing.TB, o *redis.UniversalOptions) redis.UniversalClient {
	t.Helper()
	c := redis.NewUniversalClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// unique makes keys that no other test has, since the server may be shared.
func unique(t testing.TB) string { return t.Name() + rand.Text() }

func mustTake(t testing.TB, l tokenbooth.Limiter, key string, limit tokenbooth.Limit) tokenbooth.Decision {
	t.Helper()
	d, err := l.Take(t.Context(), key, limit)
	if err != nil {
		t.Fatalf("Take(%q, %+v): %v", key, limit, err)
	}
	return d
}

// eventually waits for what must come true within d.
func eventually(t testing.TB, d time.Duration, what string, ok func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", d, what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
