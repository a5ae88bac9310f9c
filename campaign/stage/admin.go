package stage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// An admin does to the database what its owner may do, past the proxy.
type admin struct{ url string }

func newAdmin(url string) *admin { return &admin{url} }

// adminPatience bounds each thing that it does.
const adminPatience = 10 * time.Second

func (a *admin) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, a.url)
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, "SET default_transaction_read_only = off")
	return conn, err
}

// lockTables holds all tables so that every statement waits for them, and with
// them every connection of the copies' pools. The lock ends with release.
func (a *admin) lockTables(ctx context.Context) (release func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminPatience)
	defer cancel()
	conn, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := lockAll(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), adminPatience)
		defer cancel()
		return conn.Close(ctx) // and the transaction with it
	}, nil
}

func lockAll(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
	if err != nil {
		return err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if len(tables) == 0 {
		return errors.New("the database has no tables")
	}
	_, err = conn.Exec(ctx, "BEGIN; LOCK TABLE "+strings.Join(tables, ", ")+" IN ACCESS EXCLUSIVE MODE")
	return err
}

// readOnly makes the database one that only reads, as a standby is, or ends that.
func (a *admin) readOnly(ctx context.Context, on bool) error {
	ctx, cancel := context.WithTimeout(ctx, adminPatience)
	defer cancel()
	conn, err := a.connect(ctx)
	if err != nil {
		return err
	}
	change := "ALTER SYSTEM RESET default_transaction_read_only"
	if on {
		change = "ALTER SYSTEM SET default_transaction_read_only = on"
	}
	for _, statement := range []string{change, "SELECT pg_reload_conf()"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return errors.Join(err, conn.Close(ctx))
		}
	}
	return errors.Join(a.awaitReadOnly(ctx, on), conn.Close(ctx))
}

// awaitReadOnly returns when new connections see the change, and those that are
// there have been told.
func (a *admin) awaitReadOnly(ctx context.Context, want bool) error {
	for {
		got, err := a.seesReadOnly(ctx)
		if err != nil || got == want {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the database does not change to read-only %v: %w", want, ctx.Err())
		}
	}
}

func (a *admin) seesReadOnly(ctx context.Context) (on bool, err error) {
	conn, err := pgx.Connect(ctx, a.url)
	if err != nil {
		return false, err
	}
	err = conn.QueryRow(ctx, "SELECT current_setting('default_transaction_read_only')::bool").Scan(&on)
	return on, errors.Join(err, conn.Close(ctx))
}
