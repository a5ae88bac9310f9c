package redisstore

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// statePrefix stands before the keys of a State that has no Prefix.
const statePrefix = "tb:s:"

// Get implements [store.State].
func (s *Store) Get(ctx context.Context, key string) ([]byte, bool, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := s.ready(ctx); err != nil {
		return nil, false, err
	}
	val, err := s.client.Get(ctx, s.prefix+key).Bytes()
	if absent(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, wrap(ctx, "get", err)
	}
	return val, true, nil
}

// GetMany implements [store.MultiGetter], with one MGET; with a GET for each key,
// in one round trip to each server, in a cluster.
func (s *Store) GetMany(ctx context.Context, keys []string) ([][]byte, error) {
	if len(keys) == 0 {
		return nil, ctx.Err()
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	prefixed := make([]string, len(keys))
	for i, key := range keys {
		prefixed[i] = s.prefix + key
	}
	read := s.mget
	if _, ok := s.client.(*redis.ClusterClient); ok {
		read = s.pipelined
	}
	vals, err := read(ctx, prefixed)
	return vals, wrap(ctx, "get many", err)
}

func (s *Store) mget(ctx context.Context, keys []string) ([][]byte, error) {
	found, err := s.client.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, err
	}
	vals := make([][]byte, len(keys))
	for i := range found {
		if val, ok := found[i].(string); ok {
			vals[i] = []byte(val)
		}
	}
	return vals, nil
}

func (s *Store) pipelined(ctx context.Context, keys []string) ([][]byte, error) {
	gets := make([]*redis.StringCmd, len(keys))
	_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			gets[i] = p.Get(ctx, key)
		}
		return nil
	})
	vals := make([][]byte, len(keys))
	for i, get := range gets {
		val, err := get.Result()
		switch {
		case err == nil:
			vals[i] = []byte(val)
		case !absent(err):
			return nil, err
		}
	}
	return vals, nil
}

// Create implements [store.State].
func (s *Store) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	return s.change(ctx, "create", createScript, key, val, unixMilli(expires))
}

// Swap implements [store.State].
func (s *Store) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	return s.change(ctx, "swap", swapScript, key, old, val, unixMilli(expires))
}

// Delete implements [store.State].
func (s *Store) Delete(ctx context.Context, key string) (bool, error) {
	return s.change(ctx, "delete", deleteScript, key)
}

func (s *Store) change(ctx context.Context, doing string, script script, key string, args ...any) (bool, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	cmd, err := script.run(ctx, s.client, s.prefix+key, args...)
	if err != nil {
		return false, wrap(ctx, doing, err)
	}
	changed, err := cmd.Int64()
	return changed != 0, wrap(ctx, doing, err)
}

// unixMilli rounds up, since nothing goes before its expiry, and to what Redis
// takes and Lua can compute with: from 1 ms after 1970 to far away.
func unixMilli(t time.Time) int64 {
	const latest = 1 << 52
	if t.Unix() > latest/1000-1 {
		return latest
	}
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++
	}
	return max(1, ms)
}
