// Package testservers runs real database servers for tests: private ones, from
// the binaries that are installed, on free ports of the loopback interface. They
// end with their test, and also when its process is killed.
package testservers

import (
	"errors"
	"os"
	"testing"
)

// Postgres returns the URL of a PostgreSQL server for the test: that of
// TEST_POSTGRES_URL where it is set, else that of a private server which ends
// with the test and trades durability for speed. Where the binaries are missing
// the test is skipped, or fails if TEST_REQUIRE_SERVERS is 1.
func Postgres(t testing.TB) string {
	t.Helper()
	return forTest(t, postgres, "TEST_POSTGRES_URL")
}

// MySQL is like [Postgres], for MariaDB or MySQL and TEST_MYSQL_URL.
func MySQL(t testing.TB) string {
	t.Helper()
	return forTest(t, mysql, "TEST_MYSQL_URL")
}

// Redis is like [Postgres], for Redis and TEST_REDIS_URL.
func Redis(t testing.TB) string {
	t.Helper()
	return forTest(t, redis, "TEST_REDIS_URL")
}

// StartPostgres starts a private PostgreSQL server, as durable as it is by
// default. It keeps all it has below dir, which is empty or not there yet.
//
// A database does not run as root: for root the server has a user of its own
// (postgres, else nobody), which gets dir and may pass through the folders above.
//
// The error wraps [ErrNotInstalled] where there are no binaries.
func StartPostgres(dir string) (*Server, error) { return start(postgres, dir, false) }

// StartMySQL is like [StartPostgres], for MariaDB or MySQL.
func StartMySQL(dir string) (*Server, error) { return start(mysql, dir, false) }

// StartRedis is like [StartPostgres], for Redis with an append-only file, which
// it syncs once a second, and no eviction.
func StartRedis(dir string) (*Server, error) { return start(redis, dir, false) }

// ErrNotInstalled says that a server's binaries were not found.
var ErrNotInstalled = errors.New("not installed")

func forTest(t testing.TB, e engine, variable string) string {
	t.Helper()
	if url := os.Getenv(variable); url != "" {
		return url
	}
	dir, err := os.MkdirTemp("", "tokenbooth-"+e.name()+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := start(e, dir, true)
	if errors.Is(err, ErrNotInstalled) && os.Getenv("TEST_REQUIRE_SERVERS") != "1" {
		t.Skipf("%v; or set %s", err, variable)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	})
	return s.URL()
}
