package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/store/redisstore"
)

// It does not show the URL, which may have a password; nor an option that is not
// known, which may be the rest of a password with a question mark in it.
var errRedis = errors.New("-redis: want redis://USER:PASSWORD@HOST:PORT/NUMBER, or rediss:// for TLS, " +
	"and after a question mark nothing but options of go-redis")

// The timeouts of redisstore.Open, which lowers longer ones without a word.
const (
	longestDial = 500 * time.Millisecond
	longestWait = time.Second
)

const mostConnections = 10_000 // of one copy

func (b *backend) openRedis() error {
	if b.config.redis == "" {
		return nil
	}
	o, err := redisOptions(b.config.redis)
	if err != nil {
		return err
	}
	b.redis, err = redisstore.Open(o)
	if err == nil {
		b.opened = append(b.opened, b.redis.Close)
	}
	return err
}

// redisOptions returns all that the URL says, and refuses what would not hold.
func redisOptions(address string) (*redis.UniversalOptions, error) {
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, errRedis
	}
	if err := checkRedis(address, o); err != nil {
		return nil, err
	}
	return &redis.UniversalOptions{
		Addrs:                 []string{o.Addr},
		Username:              o.Username,
		Password:              o.Password,
		DB:                    o.DB,
		TLSConfig:             o.TLSConfig,
		Protocol:              o.Protocol,
		ClientName:            o.ClientName,
		DialTimeout:           o.DialTimeout,
		ReadTimeout:           o.ReadTimeout,
		WriteTimeout:          o.WriteTimeout,
		PoolTimeout:           o.PoolTimeout,
		PoolFIFO:              o.PoolFIFO,
		PoolSize:              o.PoolSize,
		MinIdleConns:          o.MinIdleConns,
		MaxIdleConns:          o.MaxIdleConns,
		MaxActiveConns:        o.MaxActiveConns,
		MaxConcurrentDials:    o.MaxConcurrentDials,
		ConnMaxIdleTime:       o.ConnMaxIdleTime,
		ConnMaxLifetime:       o.ConnMaxLifetime,
		ConnMaxLifetimeJitter: o.ConnMaxLifetimeJitter,
	}, nil
}

func checkRedis(address string, o *redis.Options) error {
	u, err := url.Parse(address)
	if err != nil {
		return errRedis
	}
	for _, option := range []string{
		"max_retries", "min_retry_backoff", "max_retry_backoff", // nothing is sent twice
		"pipeline_pool_size", "pipeline_read_buffer_size", "pipeline_write_buffer_size", // there is no such pool
	} {
		if u.Query().Has(option) {
			return fmt.Errorf("-redis: the option %s has no effect: leave it out", option)
		}
	}
	if o.PoolSize < 0 || o.PoolSize > mostConnections {
		return fmt.Errorf("-redis: the option pool_size is at most %d", mostConnections)
	}
	for _, t := range []struct {
		option    string
		got, most time.Duration
	}{
		{"dial_timeout", o.DialTimeout, longestDial},
		{"read_timeout", o.ReadTimeout, longestWait},
		{"write_timeout", o.WriteTimeout, longestWait},
		{"pool_timeout", o.PoolTimeout, longestWait},
	} {
		if t.got < 0 || t.got > t.most {
			return fmt.Errorf("-redis: the option %s is at most %v: leave it out, or lower it", t.option, t.most)
		}
	}
	return nil
}

// limiter returns buckets that all copies share, or without Redis some of this
// process alone.
func (b *backend) limiter(name string) tokenbooth.Limiter {
	if b.redis == nil {
		return &tokenbooth.MemoryLimiter{Now: b.setup.Now}
	}
	logger := b.setup.Logger.With("limits", name)
	return b.redis.Limiter(redisstore.LimiterConfig{
		Prefix:   name,
		Copies:   b.config.copies,
		OnOutage: func(err error) { logOutage(logger, err) },
	})
}

func logOutage(logger *slog.Logger, err error) {
	if err != nil {
		logger.Error("redis does not answer: this copy limits to its share", "error", err)
		return
	}
	logger.Info("redis answers again: the limits are shared")
}
