package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite"

	"github.com/tokenbooth/tokenbooth/examples/durable/server"
	"github.com/tokenbooth/tokenbooth/examples/internal/booth"
	"github.com/tokenbooth/tokenbooth/examples/internal/boothtest"
	"github.com/tokenbooth/tokenbooth/internal/testservers"
)

func TestMain(m *testing.M) {
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

var started = map[string]string{}

// running returns the URL of a server that all tests share.
func running(t *testing.T, name string, start func(testing.TB) string) string {
	t.Helper()
	if started[name] == "" {
		started[name] = start(lasting{t})
	}
	return started[name]
}

// A setting is where copies keep everything.
type setting struct {
	name  string
	fresh func(t *testing.T) []string // flags for an empty database of the test's own
}

var (
	onSQLite   = setting{"sqlite", func(t *testing.T) []string { return []string{"-database", sqliteURL(t)} }}
	onPostgres = setting{"postgres and redis", func(t *testing.T) []string {
		return []string{"-database", postgresURL(t), "-redis", redisURL(t)}
	}}
	onMySQL = setting{"mariadb", func(t *testing.T) []string { return []string{"-database", mysqlURL(t)} }}
	onRedis = setting{"mariadb, state in redis", func(t *testing.T) []string {
		return []string{"-database", mysqlURL(t), "-redis", redisURL(t), "-state", "redis"}
	}}
	settings = []setting{onSQLite, onPostgres, onMySQL, onRedis}
)

func eachSetting(t *testing.T, f func(t *testing.T, s setting)) {
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) { f(t, s) })
	}
}

func sqliteURL(t *testing.T) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "a file ? of #100%.db")
}

func postgresURL(t *testing.T) string {
	u := parse(t, running(t, "postgres", testservers.Postgres))
	schema := "t" + strings.ToLower(rand.Text())
	execute(t, u.String(), "CREATE SCHEMA "+schema)
	t.Cleanup(func() { execute(t, u.String(), "DROP SCHEMA "+schema+" CASCADE") })
	q := u.Query()
	q.Set("search_path", schema)
	q.Set("application_name", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func mysqlURL(t *testing.T) string {
	u := parse(t, running(t, "mysql", testservers.MySQL))
	name := "t" + strings.ToLower(rand.Text())
	execute(t, u.String(), "CREATE DATABASE "+name)
	t.Cleanup(func() { execute(t, u.String(), "DROP DATABASE "+name) })
	u.Path = "/" + name
	return u.String()
}

// redisURL also fills the buckets, which tests share: they have the names of
// clients.
func redisURL(t *testing.T) string {
	u := running(t, "redis", testservers.Redis)
	o, err := redis.ParseURL(u)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	defer c.Close()
	for _, pattern := range []string{"tb:l3:00*", "tb:h3:00*", "tb:?5:login*"} {
		for keys := c.Scan(t.Context(), 0, pattern, 1000).Iterator(); keys.Next(t.Context()); {
			if err := c.Del(t.Context(), keys.Val()).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return u
}

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// execute runs a statement at a database as anybody would who has its URL.
func execute(t *testing.T, database, statement string) {
	t.Helper()
	db := connect(t, database)
	defer db.Close()
	if _, err := db.ExecContext(context.Background(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// number is execute for a query that has one.
func number(t *testing.T, database, query string) (n int) {
	t.Helper()
	db := connect(t, database)
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func connect(t *testing.T, database string) *sql.DB {
	t.Helper()
	kind, rest, _ := strings.Cut(database, ":")
	driver, dsn := "pgx", database
	switch kind {
	case "sqlite":
		driver, dsn = "sqlite", (&url.URL{Scheme: "file", Path: rest, OmitHost: true}).String()
	case "mysql":
		u := parse(t, database)
		c := mysql.NewConfig()
		c.User, c.Net, c.Addr, c.DBName = u.User.Username(), "tcp", u.Host, strings.Trim(u.Path, "/")
		c.Passwd, _ = u.User.Password()
		driver, dsn = "mysql", c.FormatDSN()
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// An instance is a server in this process.
type instance struct {
	*testing.T
	url    string
	logs   *logBuffer
	cancel context.CancelFunc
	done   chan int
}

// A logBuffer may be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// begin starts a copy and does not wait for it.
func begin(t *testing.T, clock *boothtest.Clock, flags ...string) (c *instance, ready func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c = &instance{T: t, logs: new(logBuffer), cancel: cancel, done: make(chan int, 1)}
	out, in := io.Pipe()
	go func() {
		c.done <- server.Run(ctx, append([]string{"-addr", "127.0.0.1:0"}, flags...), in, c.logs, clock.Now)
		in.Close()
	}()
	t.Cleanup(c.stop)
	return c, func() {
		t.Helper()
		r := bufio.NewReader(out)
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("no line: %v\n%s", err, c.logs)
		}
		c.url = strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "listening on ")
		go func() { _, _ = io.Copy(io.Discard, r) }()
	}
}

func start(t *testing.T, clock *boothtest.Clock, flags ...string) *instance {
	t.Helper()
	c, ready := begin(t, clock, flags...)
	ready()
	return c
}

// stop lets requests in flight finish.
func (c *instance) stop() {
	c.Helper()
	if c.cancel == nil {
		return
	}
	c.cancel()
	c.cancel = nil
	select {
	case status := <-c.done:
		if status != 0 {
			c.Errorf("exit status %d\n%s", status, c.logs)
		}
	case <-time.After(40 * time.Second):
		c.Errorf("does not end\n%s", c.logs)
	}
}

const issuer = "http://server.test"

// flagsOf makes a database and a directory of keys, and returns what copies over
// them are started with.
func flagsOf(t *testing.T, s setting) []string {
	t.Helper()
	return append(s.fresh(t), "-issuer", issuer, "-keys", filepath.Join(t.TempDir(), "keys"))
}

// newClock stands at the present: what a database shows has expired by its clock
// only after it has by this one.
func newClock() *boothtest.Clock {
	return boothtest.NewClock(time.Now().Truncate(time.Second))
}

// newKit starts copies, which requests alternate between.
func newKit(t *testing.T, copies int, flags []string) *boothtest.Kit {
	t.Helper()
	clock := newClock()
	var all []*instance
	for range copies {
		all = append(all, start(t, clock, flags...))
	}
	return kitOf(t, clock, all...)
}

func kitOf(t *testing.T, clock *boothtest.Clock, copies ...*instance) *boothtest.Kit {
	t.Helper()
	k := &boothtest.Kit{T: t, Issuer: issuer, Secrets: boothtest.Secrets(t, booth.BuiltIn), Clock: clock}
	for _, c := range copies {
		k.URLs = append(k.URLs, c.url)
	}
	return k
}
