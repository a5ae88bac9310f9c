package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/tokenbooth/tokenbooth/store"
)

const (
	mostReads  = 3 // of one read, over connections that turn out to be dead
	mostWrites = 8 // of one write, each rolled back by the server
	firstPause = 2 * time.Millisecond
	mostPauses = 4                // until they get no longer
	busyTime   = 10 * time.Second // for a file that another process has locked
)

var errClosed = errors.New("the store is closed")

// write runs one statement. It is sent again only where the answer was that it
// was rolled back to let another transaction go first, or that it was not run since
// the server has forgotten what was prepared.
//
// Below it, database/sql sends a statement again on driver.ErrBadConn alone.
// Both drivers answer so only while not one byte of the statement has left: pgx
// where its SafeToRetry says so, which its calls set before they write; the
// driver of MySQL where the connection was closed before or the first write took
// nothing. (pgx says it wrongly in its simple protocol, which Migrate refuses. MySQL's
// RejectReadOnly does so too, for what the server refused to run.)
// A statement that may have reached the server fails with another error.
func (s *Store) write(ctx context.Context, what string, run func() error) error {
	return s.try(ctx, what, run, rolledBack)
}

// read runs a query, which changes nothing, again where its connection was lost
// too: after a restart of the server each pooled connection is a dead one.
func (s *Store) read(ctx context.Context, what string, run func() error) error {
	return s.try(ctx, what, run, func(err error, n int) bool { return rolledBack(err, n) || n < mostReads && lost(err) })
}

func (s *Store) try(ctx context.Context, what string, run func() error, again func(err error, n int) bool) error {
	began := time.Now()
	for n := 1; ; n++ {
		err := s.run(ctx, run)
		if err == nil {
			return nil
		}
		more := again(err, n) || busy(err) && time.Since(began) < busyTime
		if !more || !pause(ctx, n) {
			return failed(ctx, what, err)
		}
	}
}

func (s *Store) run(ctx context.Context, run func() error) error {
	if s.closed.Load() {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, errClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return run()
}

// pause waits about twice as long each time, and says whether to go on.
func pause(ctx context.Context, n int) bool {
	d := firstPause << min(n, mostPauses)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d/2 + rand.N(d)): //nolint:gosec // no secret
		return true
	}
}

// failed returns the error that a caller of the Store sees.
func failed(ctx context.Context, what string, err error) error {
	err = explained(err)
	switch {
	case ctx.Err() != nil:
		// What the driver makes of it differs from one to the next.
		return fmt.Errorf("sqlstore: %s: %w: %w", what, store.ErrUnavailable, ctx.Err())
	case errors.Is(err, store.ErrUnavailable), !unavailable(err):
		return fmt.Errorf("sqlstore: %s: %w", what, err)
	}
	return fmt.Errorf("sqlstore: %s: %w: %w", what, store.ErrUnavailable, err)
}

var errPooler = errors.New("a pooler in between keeps no prepared statements (PgBouncer: max_prepared_statements): " +
	"set default_query_exec_mode=exec in the DSN")

// explained adds what to do about an answer that says nothing of its cause: the
// session is not the one that prepared the statement.
func explained(err error) error {
	if state := sqlState(err); state == "42P05" || state == "26000" {
		return fmt.Errorf("%w: %w", err, errPooler)
	}
	return err
}

func unavailable(err error) bool {
	if state := sqlState(err); state != "" {
		return slices.ContainsFunc(unavailableStates, func(p string) bool { return strings.HasPrefix(state, p) })
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return slices.Contains(unavailableNumbers, e.Number)
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return slices.Contains(unavailableCodes, e.Code()&0xff)
	}
	return lost(err)
}

// rolledBack says whether the answer to the n-th try was that nothing was done, only
// for being in the way of another, or for want of the prepared statement, as behind
// a pooler after a failover.
func rolledBack(err error, n int) bool {
	if n >= mostWrites {
		return false
	}
	if state := sqlState(err); state != "" {
		return state == "40001" || state == "40P01" || state == "26000"
	}
	e, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && slices.Contains(rolledBackNumbers, e.Number)
}

// busy says whether a statement was not begun because another process has locked
// the file. The driver would wait for it past the end of the context.
func busy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// lost says whether there is no connection, or not any more.
func lost(err error) bool {
	if sqlState(err) != "" {
		return false // the server's word
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	for _, sign := range []error{
		driver.ErrBadConn, sql.ErrConnDone, mysql.ErrInvalidConn,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded,
		context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, sign) {
			return true
		}
	}
	// These have no name.
	text := err.Error()
	return strings.HasSuffix(text, "sql: database is closed") || strings.HasSuffix(text, "sql: statement is closed") ||
		strings.HasSuffix(text, "conn closed")
}

// sqlState returns the SQLSTATE that PostgreSQL has answered.
func sqlState(err error) string {
	if e, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		return e.SQLState()
	}
	return ""
}

// Beginnings of SQLSTATEs (PostgreSQL, appendix A).
var unavailableStates = []string{
	"08",             // connection exceptions
	"25006",          // read only
	"25P04",          // transaction_timeout
	"26000",          // no such prepared statement
	"40001", "40P01", // in the way of another, again and again
	"53",    // insufficient resources: disk full, too many connections
	"55P03", // lock_timeout
	"57014", // statement_timeout
	"57P",   // shutting down, starting up, recovering
}

const (
	changedSince   = 1020
	deadlock       = 1213
	noStatement    = 1243
	staleStatement = 1615
)

// Error numbers of MariaDB and MySQL.
var (
	rolledBackNumbers  = []uint16{changedSince, deadlock, noStatement, staleStatement}
	unavailableNumbers = []uint16{
		changedSince, deadlock, noStatement, staleStatement,
		1021, 1114, // disk full, table full
		1037, 1041, 1135, // out of memory, no thread
		1040, 1203, 1226, // too many connections, or more than a user may have
		1047,                   // a node of a cluster that is not ready
		1053, 1077, 1079, 1927, // shutting down, killed
		1129,                         // too many broken connections from this host
		1152, 1158, 1159, 1160, 1161, // connection broken
		1184,             // the same
		1205,             // lock wait timeout
		1290, 1792, 1836, // read only
		1317, 1969, 3024, // interrupted, too slow
		1461, // too many prepared statements
		4031, // idle for too long
	}
)

// Primary result codes of SQLite.
var unavailableCodes = []int{
	sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL,
	sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
	sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT,
}
