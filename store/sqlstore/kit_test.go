package sqlstore

import (
	"crypto/rand"
	"database/sql"
	"io"
	"log"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/tokenbooth/tokenbooth/internal/testservers"
)

func TestMain(m *testing.M) {
	if act := os.Getenv(childVariable); act != "" {
		child(act, os.Getenv(childURLVariable))
		return
	}
	_ = mysql.SetLogger(log.New(io.Discard, "", 0)) // it says what the tests do to it
	code := m.Run()
	for _, f := range slices.Backward(atEnd) {
		f()
	}
	os.Exit(code)
}

var atEnd []func()

// A lasting TB keeps a server for the tests that come after.
type lasting struct{ testing.TB }

func (lasting) Cleanup(f func()) { atEnd = append(atEnd, f) }

// An engine is one that a Store may be over.
type engine struct {
	name  string
	fresh func(t testing.TB) (url string) // an empty database of the test's own
}

var (
	postgresEngine = engine{"postgres", freshPostgres}
	mysqlEngine    = engine{"mysql", freshMySQL}
	sqliteEngine   = engine{"sqlite", freshSQLite}
)

func eachEngine(t *testing.T, f func(t *testing.T, e engine)) {
	for _, e := range []engine{sqliteEngine, postgresEngine, mysqlEngine} {
		t.Run(e.name, func(t *testing.T) { f(t, e) })
	}
}

var servers = map[string]string{}

func server(t testing.TB, name string, start func(testing.TB) string) string {
	if servers[name] == "" {
		servers[name] = start(lasting{t})
	}
	return servers[name]
}

func freshPostgres(t testing.TB) string {
	u := parse(t, server(t, "postgres", testservers.Postgres))
	schema := "t" + strings.ToLower(rand.Text())
	atServer(t, u.String(), "CREATE SCHEMA "+schema, "DROP SCHEMA "+schema+" CASCADE")
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func freshMySQL(t testing.TB) string {
	u := parse(t, server(t, "mysql", testservers.MySQL))
	name := "t" + strings.ToLower(rand.Text())
	atServer(t, u.String(), "CREATE DATABASE "+name, "DROP DATABASE "+name)
	u.Path = "/" + name
	return u.String()
}

// setting returns a parameter of a DSN by the name that the server knows it under.
func setting(t testing.TB, mariaDB, mySQL, value string) string {
	t.Helper()
	var version string
	db := openDB(t, server(t, "mysql", testservers.MySQL))
	if err := db.QueryRow(`SELECT VERSION()`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(version, "MariaDB") {
		return mariaDB + "=" + value
	}
	return mySQL + "=" + value
}

func freshSQLite(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "a file ? of #100%.db")
}

func atServer(t testing.TB, url, begin, end string) {
	t.Helper()
	db := openDB(t, url)
	if _, err := db.Exec(begin); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec(end); err != nil {
			t.Error(err)
		}
	})
}

func parse(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// through returns the URL with another address, as that of a proxy.
func through(t testing.TB, text, addr string) string {
	u := parse(t, text)
	u.Host = addr
	return u.String()
}

const poolSize = 16

func openDB(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := dbOf(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func dbOf(text string) (*sql.DB, error) {
	driver, dsn := "pgx", text
	if strings.HasPrefix(text, "mysql:") {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		cfg := mysql.NewConfig()
		cfg.User = u.User.Username()
		cfg.Passwd, _ = u.User.Password()
		cfg.Net, cfg.Addr, cfg.DBName = "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
		driver, dsn = "mysql", cfg.FormatDSN()
		if u.RawQuery != "" {
			dsn += "?" + u.RawQuery
		}
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	return db, nil
}

func storeOf(text string) (*Store, error) {
	if path, ok := strings.CutPrefix(text, "sqlite:"); ok {
		return OpenSQLite(path)
	}
	db, err := dbOf(text)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(text, "mysql:") {
		return MySQL(db), nil
	}
	return Postgres(db), nil
}

// open returns a Store over the database, which it migrates.
func open(t testing.TB, url string) *Store {
	t.Helper()
	s := unmigrated(t, url)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func unmigrated(t testing.TB, url string) *Store {
	t.Helper()
	s, err := storeOf(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Close()
		_ = s.writes.Close() // a pool that the Store was given
	})
	return s
}

// fresh returns a Store over an empty database.
func (e engine) open(t testing.TB) *Store { return open(t, e.fresh(t)) }
