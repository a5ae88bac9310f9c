// Package sqlstore keeps clients and state in PostgreSQL, in MariaDB or MySQL,
// or in a SQLite file, so that they outlive the process and may be shared by
// many. What it has acknowledged is there for as long as the database keeps what
// it has acknowledged to commit.
//
// Each operation of the state is one statement that commits by itself, and none
// whose outcome is unknown is sent again. Everything is compared byte by byte.
//
// All reads and writes have to go to the one server that takes the writes: what
// a replica has not heard of yet is an old token accepted again.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// A Store is a [store.ClientStore] and a [store.State] in a database. It is safe
// for concurrent use and must not be copied; it starts no goroutine.
//
// Its errors wrap [store.ErrUnavailable] while the database cannot be reached or
// does not take writes for now, and the error of the context where that ended
// the call. A context without a deadline waits for as long as the driver does.
type Store struct {
	dialect       *dialect
	reads, writes *pool
	owned         bool // the pools are for Close to close
	closed        atomic.Bool
	creates       atomic.Uint64 // since the last purge in passing
	purging       sync.Mutex
	purgeNext     time.Time // under purging
	purges        int       // in passing, under purging
}

var (
	_ store.ClientStore    = (*Store)(nil)
	_ store.State          = (*Store)(nil)
	_ store.MultiGetter    = (*Store)(nil)
	_ store.SecretUpgrader = (*Store)(nil)
)

// Postgres returns a Store in a PostgreSQL database of version 12 or newer, which
// the caller opened by the driver of github.com/jackc/pgx/v5/stdlib, has migrated
// ([Store.Migrate]), and closes. The tables are those that the search path finds.
// Migrate refuses default_query_exec_mode=simple_protocol, in which pgx sends twice
// what may have been done.
//
// The server keeps what it acknowledged unless its synchronous_commit is off.
func Postgres(db *sql.DB) *Store { return shared(db, &postgres) }

// MySQL returns a Store in a database of MariaDB 10.5 or MySQL 8 or newer, which
// the caller opened by the driver of github.com/go-sql-driver/mysql, has migrated
// ([Store.Migrate]), and closes. No parameter of the DSN is needed, but
// autocommit has to stay on, and the character sets of client and connection have
// to be the same, as charset makes them; Migrate refuses anything else.
//
// The server keeps what it acknowledged unless its innodb_flush_log_at_trx_commit
// is not 1.
func MySQL(db *sql.DB) *Store { return shared(db, &mysqlDialect) }

func shared(db *sql.DB, d *dialect) *Store {
	p := &pool{DB: db, prepares: d.prepares}
	return &Store{dialect: d, reads: p, writes: p}
}

// Close closes what the Store itself opened: the file of SQLite and prepared
// statements, never a pool that was given to it. After it every call fails with
// [store.ErrUnavailable].
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	errs := []error{s.reads.closeStatements(), s.writes.closeStatements()}
	if s.owned {
		errs = append(errs, s.reads.Close(), s.writes.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sqlstore: close: %w", err)
	}
	return nil
}

// Format prints the name of the type: below a Store is all that it was opened
// with.
func (*Store) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "sqlstore.Store") }

// LogValue returns the name of the type.
func (*Store) LogValue() slog.Value { return slog.StringValue("sqlstore.Store") }

// A pool prepares each statement once where the driver does not do so by itself.
type pool struct {
	*sql.DB
	prepares   bool
	statements sync.Map // of *sql.Stmt by their text
}

func (p *pool) exec(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if !p.prepares {
		return p.ExecContext(ctx, text, args...)
	}
	stmt, err := p.prepared(ctx, text)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

func (p *pool) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if !p.prepares {
		return p.QueryContext(ctx, text, args...)
	}
	stmt, err := p.prepared(ctx, text)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

func (p *pool) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	if stmt, ok := p.statements.Load(text); ok {
		return stmt.(*sql.Stmt), nil
	}
	stmt, err := p.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	if first, ok := p.statements.LoadOrStore(text, stmt); ok {
		_ = stmt.Close()
		return first.(*sql.Stmt), nil
	}
	return stmt, nil
}

func (p *pool) closeStatements() error {
	var errs []error
	p.statements.Range(func(text, stmt any) bool {
		p.statements.Delete(text)
		errs = append(errs, stmt.(*sql.Stmt).Close())
		return true
	})
	return errors.Join(errs...)
}
