package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tokenbooth/tokenbooth/internal/testservers"
	"github.com/tokenbooth/tokenbooth/store"
)

func checkUnexpected(t *testing.T, err error) {
	t.Helper()
	if err == nil || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v; want what becomes a 500", err)
	}
}

func checkUnavailable(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v; want ErrUnavailable", err)
	}
}

// calls are all that a handler and a guard make.
var calls = map[string]func(context.Context, *Store) error{
	"Get":     func(ctx context.Context, s *Store) error { _, _, err := s.Get(ctx, "k"); return err },
	"GetMany": func(ctx context.Context, s *Store) error { _, err := s.GetMany(ctx, []string{"k", "l"}); return err },
	"Client":  func(ctx context.Context, s *Store) error { _, err := s.Client(ctx, "none"); return err },
	"Create": func(ctx context.Context, s *Store) error {
		_, err := s.Create(ctx, "k", []byte("v"), later)
		return err
	},
	"Swap": func(ctx context.Context, s *Store) error {
		_, err := s.Swap(ctx, "k", []byte("v"), []byte("w"), later)
		return err
	},
	"Delete": func(ctx context.Context, s *Store) error { _, err := s.Delete(ctx, "k"); return err },
}

var writing = []string{"Create", "Swap", "Delete"}

func TestC8_ReadOnlyIsUnavailable(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) *Store{
		"postgres": func(t *testing.T) *Store {
			url := freshPostgres(t)
			open(t, url)
			return unmigrated(t, url+"&default_transaction_read_only=on")
		},
		"mysql": func(t *testing.T) *Store {
			url := freshMySQL(t)
			open(t, url)
			return unmigrated(t, url+"?"+readOnly(t))
		},
		"mysql, rejecting": func(t *testing.T) *Store {
			url := freshMySQL(t)
			open(t, url)
			return unmigrated(t, url+"?"+readOnly(t)+"&rejectReadOnly=true")
		},
		"sqlite": func(t *testing.T) *Store {
			s := sqliteEngine.open(t)
			if _, err := s.writes.exec(t.Context(), `PRAGMA query_only = true`); err != nil {
				t.Fatal(err)
			}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			for _, call := range writing {
				checkUnavailable(t, calls[call](t.Context(), s))
			}
			if _, ok, err := s.Get(t.Context(), "k"); ok || err != nil {
				t.Errorf("Get: %v, %v", ok, err)
			}
		})
	}
}

func readOnly(t testing.TB) string {
	return setting(t, "tx_read_only", "transaction_read_only", "1")
}

func TestS2_PoolExhausted(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		for _, p := range []*pool{s.reads, s.writes} {
			p.SetMaxOpenConns(1)
			if s.reads == s.writes && p.Stats().InUse > 0 {
				break
			}
			conn, err := p.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
		}
		const patience = 100 * time.Millisecond
		for name, call := range calls {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			began := time.Now()
			err := call(ctx, s)
			cancel()
			checkUnavailable(t, err)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v hides that the context ended", name, err)
			}
			if took := time.Since(began); took > 10*patience {
				t.Errorf("%s took %v", name, took)
			}
		}
	})
}

// Another process holds the lock of the file for longer than a call may take.
func TestS2_LockedFile(t *testing.T) {
	url := freshSQLite(t)
	s, other := open(t, url), open(t, url)
	tx, err := other.writes.Begin() // immediate
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	err = calls["Create"](ctx, s)
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	checkUnavailable(t, err)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v hides that the context ended", err)
	}
	if err := calls["Get"](t.Context(), s); err != nil {
		t.Errorf("a read waits for a write: %v", err)
	}
	done := make(chan error)
	go func() { done <- calls["Create"](t.Context(), s) }()
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("after the lock: %v", err)
	}
}

func TestClosed(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		url := e.fresh(t)
		for _, closed := range []func(s *Store) error{
			(*Store).Close,
			func(s *Store) error { return errors.Join(s.reads.Close(), s.writes.Close()) },
		} {
			s := open(t, url)
			for name, call := range calls {
				if err := call(t.Context(), s); err != nil && name != "Client" {
					t.Errorf("%s: %v", name, err)
				}
			}
			if err := closed(s); err != nil {
				t.Error(err)
			}
			for _, call := range calls {
				checkUnavailable(t, call(t.Context(), s))
			}
			checkUnavailable(t, s.Migrate(t.Context()))
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if e.name != "sqlite" {
			s := open(t, url)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := s.writes.PingContext(t.Context()); err != nil {
				t.Errorf("the caller's pool: %v", err)
			}
		}
	})
}

// A private server, durable as it is by default, which may be killed.
func started(t testing.TB, start func(string) (*testservers.Server, error)) (*testservers.Server, *Store) {
	t.Helper()
	srv, err := start(filepath.Join(t.TempDir(), "server"))
	if errors.Is(err, testservers.ErrNotInstalled) && os.Getenv("TEST_REQUIRE_SERVERS") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Kill(); err != nil {
			t.Error(err)
		}
	})
	return srv, open(t, srv.URL())
}

func eachServer(t *testing.T, f func(t *testing.T, srv *testservers.Server, s *Store)) {
	t.Run("postgres", func(t *testing.T) {
		srv, s := started(t, testservers.StartPostgres)
		f(t, srv, s)
	})
	t.Run("mysql", func(t *testing.T) {
		srv, s := started(t, testservers.StartMySQL)
		f(t, srv, s)
	})
}

const recovery = 2 * time.Second

func TestS2_OutagesAndRecovery(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *testservers.Server, s *Store) {
		fillPool(t, s)
		if err := srv.Pause(); err != nil {
			t.Fatal(err)
		}
		const patience = 200 * time.Millisecond
		for name, call := range calls {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			began := time.Now()
			err := call(ctx, s)
			cancel()
			checkUnavailable(t, err)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v hides that the context ended", name, err)
			}
			if took := time.Since(began); took > 5*patience {
				t.Errorf("%s took %v", name, took)
			}
		}
		if err := srv.Resume(); err != nil {
			t.Fatal(err)
		}
		recovers(t, s)

		fillPool(t, s)
		if err := srv.Kill(); err != nil {
			t.Fatal(err)
		}
		for _, call := range calls {
			err := call(t.Context(), s)
			checkUnavailable(t, err)
			checkNoSecret(t, err, srv.URL())
		}
		if err := srv.Start(); err != nil {
			t.Fatal(err)
		}
		recovers(t, s)
	})
}

// fillPool makes every connection that the pool may have.
func fillPool(t *testing.T, s *Store) {
	t.Helper()
	var conns []*sql.Conn
	for range poolSize {
		conn, err := s.writes.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
}

// recovers asks until every call was answered, of many at once.
func recovers(t *testing.T, s *Store) {
	t.Helper()
	began := time.Now()
	var wg sync.WaitGroup
	for range poolSize {
		wg.Go(func() {
			for name, call := range calls {
				for {
					ctx, cancel := context.WithTimeout(t.Context(), recovery)
					err := call(ctx, s)
					cancel()
					if err == nil || errors.Is(err, store.ErrNotFound) {
						break
					}
					if !errors.Is(err, store.ErrUnavailable) || time.Since(began) > recovery {
						t.Errorf("%s, %v after the server came back: %v", name, time.Since(began), err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > recovery {
		t.Errorf("recovered after %v", took)
	}
}

func checkNoSecret(t *testing.T, err error, url string) {
	t.Helper()
	secret, _ := parse(t, url).User.Password()
	if secret == "" || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
		t.Error("an error shows the password")
	}
}

func TestWrongPassword(t *testing.T) {
	for _, fresh := range []func(testing.TB) string{freshPostgres, freshMySQL} {
		u := parse(t, fresh(t))
		const canary = "canary-secret"
		u.User = nil
		wrong := strings.Replace(u.String(), "//", "//tokenbooth:"+canary+"@", 1)
		s := unmigrated(t, wrong)
		for _, err := range []error{calls["Get"](t.Context(), s), s.Migrate(t.Context())} {
			checkUnexpected(t, err)
			checkNoSecret(t, err, wrong)
		}
		if got := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(got, canary) {
			t.Error("a Store shows the password")
		}
	}
}

func TestFailuresAreSorted(t *testing.T) {
	pg := func(state string) error { return fmt.Errorf("x: %w", &pgconn.PgError{Code: state}) }
	my := func(number uint16) error { return fmt.Errorf("x: %w", &mysql.MySQLError{Number: number}) }
	for _, c := range []struct {
		err         error
		unavailable bool
	}{
		{driver.ErrBadConn, true},
		{sql.ErrConnDone, true},
		{mysql.ErrInvalidConn, true},
		{io.ErrUnexpectedEOF, true},
		{net.ErrClosed, true},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, true},
		{&net.DNSError{Err: "no such host"}, true},
		{context.DeadlineExceeded, true},
		{pg("08006"), true},
		{pg("53300"), true},
		{pg("53100"), true},
		{pg("57P01"), true},
		{pg("57P03"), true},
		{pg("57014"), true},
		{pg("55P03"), true},
		{pg("25006"), true},
		{pg("40001"), true},
		{pg("40P01"), true},
		{pg("26000"), true},
		{pg("42P01"), false},
		{pg("42P05"), false},
		{pg("42601"), false},
		{pg("23505"), false},
		{pg("28P01"), false},
		{pg("XX001"), false},
		{my(1040), true},
		{my(1053), true},
		{my(1205), true},
		{my(1213), true},
		{my(1290), true},
		{my(1021), true},
		{my(1243), true},
		{my(1615), true},
		{my(1461), true},
		{my(1045), false},
		{my(1064), false},
		{my(1146), false},
		{my(1062), false},
		{errors.New("sql: expected 1 arguments, got 2"), false},
		{errDamaged, false},
		{fmt.Errorf("x: %w", store.ErrNotFound), false},
	} {
		err := failed(t.Context(), "get", c.err)
		if errors.Is(err, store.ErrUnavailable) != c.unavailable || !errors.Is(err, c.err) {
			t.Errorf("%v: %v; want unavailable %v", c.err, err, c.unavailable)
		}
	}
}

// PgBouncer hands out sessions that have prepared what the driver has not, and
// others that have not prepared what it has.
func TestPoolerIsNamed(t *testing.T) {
	for _, state := range []string{"42P05", "26000"} {
		err := failed(t.Context(), "get", &pgconn.PgError{Code: state})
		if !strings.Contains(err.Error(), "default_query_exec_mode=exec") || sqlState(err) != state {
			t.Errorf("%s: %v", state, err)
		}
	}
	if err := failed(t.Context(), "get", &pgconn.PgError{Code: "42P01"}); strings.Contains(err.Error(), "pooler") {
		t.Errorf("got %v", err)
	}
}

// Nothing is sent again but what the server rolled back for another.
func TestS2_WhatIsSentAgain(t *testing.T) {
	s := &Store{dialect: &postgres}
	for _, c := range []struct {
		err    error
		writes int
		reads  int
	}{
		{nil, 1, 1},
		{&pgconn.PgError{Code: "40001"}, mostWrites, mostWrites},
		{&pgconn.PgError{Code: "40P01"}, mostWrites, mostWrites},
		{&mysql.MySQLError{Number: deadlock}, mostWrites, mostWrites},
		{&mysql.MySQLError{Number: changedSince}, mostWrites, mostWrites},
		{&pgconn.PgError{Code: "26000"}, mostWrites, mostWrites},
		{&mysql.MySQLError{Number: 1243}, mostWrites, mostWrites},
		{&mysql.MySQLError{Number: 1615}, mostWrites, mostWrites},
		{&mysql.MySQLError{Number: 1461}, 1, 1},
		{&pgconn.PgError{Code: "57P01"}, 1, 1},
		{&pgconn.PgError{Code: "08007"}, 1, 1}, // transaction resolution unknown
		{&mysql.MySQLError{Number: 1205}, 1, 1},
		{io.ErrUnexpectedEOF, 1, mostReads},
		{driver.ErrBadConn, 1, mostReads},
		{mysql.ErrInvalidConn, 1, mostReads},
		{store.ErrNotFound, 1, 1},
	} {
		n := 0
		run := func() error { n++; return c.err }
		_ = s.write(t.Context(), "x", run)
		if n != c.writes {
			t.Errorf("%v: written %d times, want %d", c.err, n, c.writes)
		}
		n = 0
		_ = s.read(t.Context(), "x", run)
		if n != c.reads {
			t.Errorf("%v: read %d times, want %d", c.err, n, c.reads)
		}
	}
}

// A pooler may hand out a session that has not prepared what the driver takes for
// prepared, or forget it.
func TestS2_ForgottenStatements(t *testing.T) {
	s := postgresEngine.open(t)
	s.writes.SetMaxOpenConns(1)
	for _, call := range writing {
		for range 2 {
			if err := calls[call](t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if _, err := s.writes.ExecContext(t.Context(), `DISCARD ALL`); err != nil {
				t.Fatal(err)
			}
		}
	}
}
