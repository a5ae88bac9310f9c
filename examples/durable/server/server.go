// Package server is the example server on databases. Clients and state are in a
// SQLite file, PostgreSQL or MariaDB (database.go), rate limits in Redis where
// there is one (redis.go), keys in a directory (keys.go); each of the five systems
// has a part of its own in all of them (backend.go).
package server

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/tokenbooth/tokenbooth/examples/internal/booth"
)

// Run serves until the context ends, lets requests in flight finish, and returns
// the exit status. The clock is time.Now when now is nil; that by which key files
// begin to sign and by which databases collect what has expired is the system's in
// any case.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer, now func() time.Time) int {
	c := new(config)
	p := &booth.Program{Name: "durable", Flags: c.flags, Open: c.open, Now: now}
	return p.Run(ctx, args, stdout, stderr)
}

// A config is what the flags say beside those of package booth.
type config struct {
	database, redis, state, keys string
	conns, copies                int
}

func (c *config) flags(f *flag.FlagSet) {
	f.StringVar(&c.database, "database", "sqlite:tokenbooth.db", "sqlite:FILE, or a postgres:// or mysql:// `URL`")
	f.StringVar(&c.redis, "redis", "", "redis:// `URL` for rate limits that copies share; in memory when absent")
	f.StringVar(&c.state, "state", "database", "`WHERE` codes, tokens and revocations are kept: database or redis")
	f.StringVar(&c.keys, "keys", "", "`DIRECTORY` of keys that copies share; tokenbooth-keys beside a SQLite file when absent")
	f.IntVar(&c.conns, "max-conns", 16, "connections to a database that is not SQLite, at most")
	f.IntVar(&c.copies, "copies", 2, "how many copies share the limits while Redis is down")
}

// check also fills in where the keys are.
func (c *config) check() error {
	if c.keys == "" {
		c.keys = keysBeside(c.database)
	}
	switch {
	case c.state != "database" && c.state != "redis":
		return usage("-state is %q: want database or redis", c.state)
	case c.state == "redis" && c.redis == "":
		return usage("-state redis needs -redis")
	case c.keys == "":
		return usage("-keys is missing: name the directory that all copies share")
	case c.conns < 1:
		return usage("-max-conns is %d: want at least 1", c.conns)
	case c.copies < 1:
		return usage("-copies is %d: want at least 1", c.copies)
	}
	return nil
}

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", booth.ErrUsage, fmt.Sprintf(format, args...))
}
