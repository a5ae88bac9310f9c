package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// Migrations holds what [Store.Migrate] applies, for those who let another tool
// do it: migrations/postgres, migrations/mysql and migrations/sqlite, each with
// files named 0001_what.sql and so on, to be applied in that order. Each file
// notes its version in the table tokenbooth_migrations at its end.
//
//go:embed migrations
var Migrations embed.FS

// A session is a connection, or a transaction in one.
type session interface {
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row
}

// A migration is a file of Migrations.
type migration struct {
	version int
	file    string
}

// Migrate makes the tables or brings them to what this version of the package
// needs. Any number of processes may call it at once: one migrates, the others
// wait for it as long as their contexts let them. Where there is nothing to do it
// only reads, so that it may run with the rights to read alone. A database that
// is newer than this version of the package is refused.
func (s *Store) Migrate(ctx context.Context) error {
	all, err := migrations(s.dialect.name)
	if err != nil {
		return fmt.Errorf("sqlstore: migrate: %w", err)
	}
	return s.write(ctx, "migrate", func() error {
		if s.dialect.check != nil {
			if err := s.dialect.check(ctx, s.writes); err != nil {
				return err
			}
		}
		if todo, err := s.pending(ctx, s.writes, all); err != nil || len(todo) == 0 {
			return err
		}
		return s.dialect.migrate(ctx, s.writes, func(ctx context.Context, in session) error {
			todo, err := s.pending(ctx, in, all) // another process may have been faster
			for _, m := range todo {
				if err == nil {
					err = m.apply(ctx, in)
				}
			}
			return err
		})
	})
}

// migrations returns the files of an engine in their order.
func migrations(engine string) (all []migration, err error) {
	files, err := fs.Glob(Migrations, path.Join("migrations", engine, "*.sql"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		number, _, _ := strings.Cut(path.Base(file), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return nil, err
		}
		all = append(all, migration{version, file})
	}
	return all, nil
}

// pending returns the migrations that the database lacks.
func (s *Store) pending(ctx context.Context, in session, all []migration) ([]migration, error) {
	var migrated, version int
	if err := in.QueryRowContext(ctx, s.dialect.migrated).Scan(&migrated); err != nil {
		return nil, err
	}
	if migrated == 0 {
		return all, nil
	}
	const last = `SELECT COALESCE(MAX(version), 0) FROM tokenbooth_migrations`
	if err := in.QueryRowContext(ctx, last).Scan(&version); err != nil {
		return nil, err
	}
	for i, m := range all {
		if m.version > version {
			return all[i:], nil
		}
	}
	if newest := all[len(all)-1].version; version > newest {
		return nil, fmt.Errorf("the database is at version %d, this program knows %d: run a newer version of the program", version, newest)
	}
	return nil, nil
}

// apply runs one statement after the other: not every driver takes several. A
// statement ends with the line that ends with a semicolon.
func (m migration) apply(ctx context.Context, in session) error {
	text, err := fs.ReadFile(Migrations, m.file)
	if err != nil {
		return err
	}
	for statement := range strings.SplitSeq(string(text), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := in.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", m.file, err)
		}
	}
	return nil
}

// lockNumber is the advisory lock: "tokenboo" in ASCII.
const lockNumber = 0x746f6b656e626f6f

// migratePostgres names the isolation, since a snapshot from before the lock
// would show nothing of what was done by who held it.
func migratePostgres(ctx context.Context, p *pool, apply func(context.Context, session) error) error {
	return inTx(ctx, p, &sql.TxOptions{Isolation: sql.LevelReadCommitted}, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(lockNumber)); err != nil {
			return err
		}
		return apply(ctx, tx)
	})
}

// migrateSQLite has its lock from the immediate transaction.
func migrateSQLite(ctx context.Context, p *pool, apply func(context.Context, session) error) error {
	return inTx(ctx, p, nil, func(tx *sql.Tx) error { return apply(ctx, tx) })
}

func inTx(ctx context.Context, p *pool, opts *sql.TxOptions, f func(*sql.Tx) error) error {
	tx, err := p.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

const (
	lockSeconds = 600
	unlockTime  = 2 * time.Second
	// lockName is in the server's one space of names, and has at most 64 bytes.
	lockName = `CONCAT('tokenbooth.', SHA1(DATABASE()))`
)

// checkPostgres refuses pgx's simple protocol, in which it says of a statement whose
// reply was lost that it may be sent again, and database/sql does so. There
// arguments are written into the text that the server sees.
func checkPostgres(ctx context.Context, p *pool) error {
	var apart bool
	err := p.QueryRowContext(ctx, `SELECT position('$' || $1::text IN current_query()) > 0`, "1").Scan(&apart)
	if err == nil && !apart {
		err = errors.New("pgx sends statements twice in the simple protocol: set default_query_exec_mode=exec in the DSN")
	}
	return err
}

// checkMySQL refuses sessions in which nothing would be committed, or bytes would
// be converted on their way from the client's character set to the connection's.
func checkMySQL(ctx context.Context, p *pool) error {
	var autocommit bool
	var client, connection string
	err := p.QueryRowContext(ctx, `SELECT @@autocommit, @@character_set_client, @@character_set_connection`).
		Scan(&autocommit, &client, &connection)
	switch {
	case err != nil:
		return err
	case !autocommit:
		return errors.New("autocommit is off, and nothing would ever be committed: remove it from the DSN")
	case client != connection:
		return fmt.Errorf("character_set_client is %s and character_set_connection is %s, and keys would be converted: "+
			"remove both, and collation_connection, from the DSN; charset sets them alike", client, connection)
	}
	return nil
}

// migrateMySQL locks by name, since definitions of tables commit by themselves.
func migrateMySQL(ctx context.Context, p *pool, apply func(context.Context, session) error) error {
	conn, err := p.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var got sql.NullBool
	if err := conn.QueryRowContext(ctx, `SELECT GET_LOCK(`+lockName+`, ?)`, lockSeconds).Scan(&got); err != nil {
		return err
	}
	if !got.Bool {
		return errors.New("another process has been migrating this database for ten minutes")
	}
	defer unlock(ctx, conn)
	return apply(ctx, conn)
}

// unlock gives the connection up where it cannot give up the lock.
func unlock(ctx context.Context, conn *sql.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockTime)
	defer cancel()
	if _, err := conn.ExecContext(ctx, `DO RELEASE_LOCK(`+lockName+`)`); err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
}
