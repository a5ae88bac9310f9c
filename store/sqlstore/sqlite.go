package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	_ "modernc.org/sqlite" // the driver "sqlite", without cgo
)

const sqliteReaders = 4

// OpenSQLite returns a Store in a file of SQLite, which it makes where there is
// none, for its owner alone to read; two more files beside it have its name and
// -wal and -shm. Several processes of one machine may open the same file; on a
// network file system they must not. A process may open it more than once, but must
// not open it in any other way while it is open here: to close that would give up
// the locks on it. [Store.Migrate] makes its tables, and [Store.Close] closes it.
//
// What was acknowledged is on the disk (synchronous=FULL): a write costs one
// fsync, and there is one at a time. Reads wait for no write. A write that waits
// for another process does so until its context ends, 10 s at most.
func OpenSQLite(path string) (*Store, error) {
	dsn, err := prepareFile(path)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: open: %w", err)
	}
	writes, err := sql.Open("sqlite", dsn+"&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("sqlstore: open: %w", err)
	}
	writes.SetMaxOpenConns(1)
	reads, err := sql.Open("sqlite", dsn+"&_pragma=query_only(true)")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlstore: open: %w", err), writes.Close())
	}
	reads.SetMaxOpenConns(sqliteReaders)
	reads.SetMaxIdleConns(sqliteReaders)
	return &Store{
		dialect: &sqliteDialect, owned: true,
		reads:  &pool{DB: reads, prepares: true},
		writes: &pool{DB: writes, prepares: true},
	}, nil
}

// emptyWAL begins the WAL anew, which otherwise happens only at a moment when
// nobody reads, and waits for readers as busy_timeout says; those that come
// meanwhile read the file alone. Where it does not succeed, a later one will.
func emptyWAL(ctx context.Context, p *pool) error {
	_, err := p.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
	return err
}

// prepareFile makes the file before SQLite would, which makes it for all to read.
// The other files take their mode from it.
func prepareFile(path string) (dsn string, err error) {
	if path == "" {
		return "", errors.New("no path; name a file")
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := makeFile(path); err != nil {
		return "", err
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), OmitHost: true}
	u.RawQuery = "_pragma=busy_timeout(20)&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=journal_size_limit(67108864)"
	return u.String(), nil
}

var making sync.Mutex

// makeFile opens no file that is there: to close it would give up all locks that
// this process has on it (POSIX), those of its open connections too. Another
// process would then take itself for the last one, and remove the WAL in use.
//
// The lock keeps others of this process from the file while it is open here.
func makeFile(path string) error {
	making.Lock()
	defer making.Unlock()
	if err := existing(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the caller names the file
	if errors.Is(err, os.ErrExist) {
		// Another process was faster, or it is a symbolic link to nothing.
		return existing(path)
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// existing follows symbolic links, as SQLite does.
func existing(path string) error {
	info, err := os.Stat(path) //nolint:gosec // the caller names the file
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("not a file")}
	}
	return err
}
