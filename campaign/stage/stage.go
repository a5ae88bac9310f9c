// Package stage is the servers of a campaign, real ones, and what can be done to
// them. Everything that it starts ends with it, by its own handle.
package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/testservers"
)

// A Config is what a Stage is set up for.
type Config struct {
	Dir       string   // an empty directory; everything is below it
	State     string   // "database" or "redis"
	Copies    int      // of the server
	Command   []string // the program of a copy, to which its flags are added
	Env       []string // of a copy, beside ours
	Fixtures  []byte   // clients and users
	TokenLife time.Duration
	MaxConns  int  // of a copy to PostgreSQL
	KeepLogs  bool // of the copies, in Dir
}

// A Stage is PostgreSQL, Redis, a proxy before each, and copies of the server that
// reach them only through these.
type Stage struct {
	Copies []*Copy

	postgres, redis           *testservers.Server
	postgresProxy, redisProxy *proxy
	admin                     *admin
	logs                      []io.Closer
}

// Open starts everything. What it has started when it fails, or when the context
// ends, it ends.
func Open(ctx context.Context, c Config) (_ *Stage, err error) {
	s := new(Stage)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.openServers(c.Dir); err != nil {
		return nil, err
	}
	if err := s.openProxies(c.State); err != nil {
		return nil, err
	}
	fixtures := filepath.Join(c.Dir, "fixtures.json")
	if err := os.WriteFile(fixtures, c.Fixtures, 0o600); err != nil {
		return nil, err
	}
	if err := s.makeCopies(c, fixtures); err != nil {
		return nil, err
	}
	// At once, as copies of an app are: they make tables and keys in a race.
	errs := make([]error, len(s.Copies))
	var all sync.WaitGroup
	for i, one := range s.Copies {
		all.Go(func() { errs[i] = one.Start(ctx) })
	}
	all.Wait()
	return s, errors.Join(errs...)
}

func (s *Stage) openServers(dir string) (err error) {
	if s.postgres, err = testservers.StartPostgres(filepath.Join(dir, "postgres")); err != nil {
		return err
	}
	s.admin = newAdmin(s.postgres.URL())
	s.redis, err = testservers.StartRedis(filepath.Join(dir, "redis"))
	return err
}

// openProxies has them lose replies to writes. Where the State is in Redis nobody
// writes to PostgreSQL, and what can be lost is a client's record.
func (s *Stage) openProxies(state string) (err error) {
	matters := postgresWrote
	if state == "redis" {
		matters = postgresRead
	}
	if s.postgresProxy, err = newProxy(s.postgres.Addr(), matters); err != nil {
		return err
	}
	s.redisProxy, err = newProxy(s.redis.Addr(), redisWrote)
	return err
}

func (s *Stage) makeCopies(c Config, fixtures string) error {
	database, err := through(s.postgres.URL(), s.postgresProxy)
	if err != nil {
		return err
	}
	redis, err := through(s.redis.URL(), s.redisProxy)
	if err != nil {
		return err
	}
	issuer := ""
	for i := range c.Copies {
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		if issuer == "" {
			issuer = "http://" + addr // any of them, as long as it is the same
		}
		log := new(tail)
		if c.KeepLogs {
			file, err := os.Create(filepath.Join(c.Dir, fmt.Sprintf("copy-%d.log", i))) //nolint:gosec // of our own directory
			if err != nil {
				return err
			}
			log.all = file
			s.logs = append(s.logs, file)
		}
		s.Copies = append(s.Copies, &Copy{
			command: c.Command, env: c.Env, addr: addr, log: log,
			args: []string{
				"-addr", addr, "-issuer", issuer, "-fixtures", fixtures, "-ttl", c.TokenLife.String(),
				"-database", database, "-redis", redis, "-state", c.State, "-keys", filepath.Join(c.Dir, "keys"),
				"-max-conns", strconv.Itoa(c.MaxConns), "-copies", strconv.Itoa(c.Copies),
			},
		})
	}
	return nil
}

// through is the URL of a server by way of its proxy.
func through(server string, p *proxy) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	u.Host = p.addr()
	return u.String(), nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// Close ends everything, whatever state it is in, and waits for it.
func (s *Stage) Close() error {
	var errs []error
	for _, c := range s.Copies {
		errs = append(errs, c.Kill())
	}
	for _, p := range []*proxy{s.postgresProxy, s.redisProxy} {
		if p != nil {
			p.close()
		}
	}
	for _, server := range []*testservers.Server{s.postgres, s.redis} {
		if server != nil {
			errs = append(errs, server.Kill())
		}
	}
	for _, log := range s.logs {
		errs = append(errs, log.Close())
	}
	return errors.Join(errs...)
}
