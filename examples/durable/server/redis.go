package server

import (
	"errors"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/store/redisstore"
)

// It does not show the URL, which may have a password.
var errRedis = errors.New("-redis: want redis://USER:PASSWORD@HOST:PORT/NUMBER, or rediss:// for TLS")

func (b *backend) openRedis() error {
	if b.config.redis == "" {
		return nil
	}
	o, err := redis.ParseURL(b.config.redis)
	if err != nil {
		return errRedis
	}
	b.redis, err = redisstore.Open(&redis.UniversalOptions{
		Addrs:     []string{o.Addr},
		Username:  o.Username,
		Password:  o.Password,
		DB:        o.DB,
		TLSConfig: o.TLSConfig,
		PoolSize:  o.PoolSize,
	})
	if err == nil {
		b.opened = append(b.opened, b.redis.Close)
	}
	return err
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
