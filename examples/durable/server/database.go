package server

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/tokenbooth/tokenbooth/store/sqlstore"
)

const (
	// dialTimeout is as long as the handler waits for a store.
	dialTimeout = 2 * time.Second
	// Connections are replaced now and then, so that copies spread over what is
	// behind an address after it has changed.
	connLife = 30 * time.Minute
	connIdle = 5 * time.Minute
)

// Errors about a URL do not show it: it has a password.
var (
	errDatabase = errors.New("-database: want sqlite:FILE, postgres://USER:PASSWORD@HOST:PORT/DATABASE or mysql://USER:PASSWORD@HOST:PORT/DATABASE")
	errPostgres = errors.New("-database: the URL or a parameter in it is not what the driver of PostgreSQL takes")
	errMySQL    = errors.New("-database: the URL or a parameter in it is not what the driver of MariaDB takes")
)

func (b *backend) openDatabase() error {
	kind, rest, _ := strings.Cut(b.config.database, ":")
	switch kind {
	case "sqlite":
		return b.openSQLite(rest)
	case "postgres", "postgresql":
		return b.openPostgres()
	case "mysql":
		return b.openMySQL()
	}
	return errDatabase
}

func (b *backend) openSQLite(file string) error {
	var err error
	if b.database, err = sqlstore.OpenSQLite(file); err == nil {
		b.opened = append(b.opened, b.database.Close)
	}
	return err
}

func (b *backend) openPostgres() error {
	c, err := pgx.ParseConfig(b.config.database)
	if err != nil {
		return errPostgres
	}
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, dialTimeout)
	db := stdlib.OpenDB(*c)
	b.pool(db)
	b.database = sqlstore.Postgres(db)
	b.opened = append(b.opened, db.Close, b.database.Close)
	return nil
}

func (b *backend) openMySQL() error {
	c, err := mysqlConfig(b.config.database)
	if err != nil {
		return err
	}
	c.Logger = slog.NewLogLogger(b.setup.Logger.Handler(), slog.LevelWarn)
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return errMySQL
	}
	db := sql.OpenDB(connector)
	b.pool(db)
	b.database = sqlstore.MySQL(db)
	b.opened = append(b.opened, db.Close, b.database.Close)
	return nil
}

func (b *backend) pool(db *sql.DB) {
	db.SetMaxOpenConns(b.config.conns)
	db.SetMaxIdleConns(b.config.conns)
	db.SetConnMaxLifetime(connLife)
	db.SetConnMaxIdleTime(connIdle)
}

// mysqlConfig reads a URL, which the driver has no form for. Its parameters are
// those of the driver's DSN.
func mysqlConfig(address string) (*mysql.Config, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User == nil || strings.Trim(u.Path, "/") == "" {
		return nil, errDatabase
	}
	host := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "3306"))
	c, err := mysql.ParseDSN(fmt.Sprintf("tcp(%s)/?%s", host, u.RawQuery))
	if err != nil {
		return nil, errMySQL
	}
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.DBName = strings.Trim(u.Path, "/")
	c.Timeout = cmp.Or(c.Timeout, dialTimeout)
	return c, nil
}

// keysBeside returns the default directory of keys, or nothing: a database that
// copies on several machines use says nothing of a directory that they share.
func keysBeside(database string) string {
	file, ok := strings.CutPrefix(database, "sqlite:")
	if !ok {
		return ""
	}
	return filepath.Join(filepath.Dir(file), "tokenbooth-keys")
}
