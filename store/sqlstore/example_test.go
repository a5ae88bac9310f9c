package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/tokenbooth/tokenbooth/store"
	"github.com/tokenbooth/tokenbooth/store/sqlstore"
)

func openPostgres() (*sqlstore.Store, error) {
	db, err := sql.Open("pgx", "postgres://booth:PASSWORD@db.example:5432/booth?sslmode=verify-full&connect_timeout=2")
	if err != nil {
		return nil, err
	}
	pool(db)
	return sqlstore.Postgres(db), nil
}

func openMariaDB() (*sqlstore.Store, error) {
	db, err := sql.Open("mysql", "booth:PASSWORD@tcp(db.example:3306)/booth?tls=true&timeout=2s&rejectReadOnly=true")
	if err != nil {
		return nil, err
	}
	pool(db)
	return sqlstore.MySQL(db), nil
}

func pool(db *sql.DB) {
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16) // of the default of 2, all others are made anew each time
	db.SetConnMaxLifetime(30 * time.Minute)
}

// The store of a new file, with a client in it.
func Example() {
	dir, err := os.MkdirTemp("", "booth-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	s, err := sqlstore.OpenSQLite(filepath.Join(dir, "booth.db")) // or openPostgres(), or openMariaDB()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	if err := s.Migrate(ctx); err != nil {
		log.Fatal(err)
	}

	client, secret := store.NewClient("acme", "customers:read")
	if err := s.CreateClient(ctx, client); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s has a secret of %d characters, which is not to be seen again\n", client.ID, len(secret))

	// In tokenbooth.HandlerConfig: Clients: s, State: s.

	// Output: acme has a secret of 43 characters, which is not to be seen again
}

var _, _ = openPostgres, openMariaDB
