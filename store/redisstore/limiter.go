package redisstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tokenbooth/tokenbooth"
)

const (
	// takeTimeout leaves some of the 100 ms of a [tokenbooth.Limiter] for deciding
	// without Redis.
	takeTimeout = 80 * time.Millisecond
	// Longer keys are hashed, so that nobody can make long ones.
	longestKey = 64
)

// A LimiterConfig is the configuration of a [Limiter]. The zero value is ready.
type LimiterConfig struct {
	// Prefix keeps the buckets of this Limiter apart from those of another one in
	// the same Redis.
	Prefix string
	// Outage is how to answer while Redis does not: [LocalShare] when zero.
	Outage Outage
	// Copies is how many processes share the limits, for LocalShare; 2 when not
	// positive.
	Copies int
	// OnOutage is told of each outage: of its beginning with the error of Redis,
	// of its end with nil. Nothing is told when nil. It is called by the request
	// that finds out, one call at a time, and should return at once.
	OnOutage func(err error)
}

// A Limiter is a [tokenbooth.Limiter] of token buckets in Redis, shared by all
// processes that use the same Redis and Prefix. Make it with [Store.Limiter]. It
// is safe for concurrent use.
//
// Each decision is one script on the clock of the server (the generic cell rate
// algorithm, kept as tokens, which a changed Limit does not bend): a Limit that
// differs from the key's last one holds at once, the tokens left are kept as far
// as they fit into the new Burst. A forward step of that clock refills buckets, a
// backward step counts as no time at all.
//
// When Redis fails or takes longer than 80 ms, the decision is that of the
// configured [Outage]; after that one request in 100 ms asks Redis, while all
// others are decided at once, until one is answered. Any error of Redis counts.
//
// A bucket that is not full takes about 130 bytes of Redis for a key of 40 bytes,
// 160 at most: longer keys are kept as their SHA-256. It expires when it is full,
// so that a flood of keys before authentication costs 160 bytes for each request
// of the last 1/PerSecond seconds, and nothing when it ends.
type Limiter struct {
	store   *Store
	prefix  string
	outage  Outage
	copies  int
	breaker breaker
	local   tokenbooth.MemoryLimiter
}

var _ tokenbooth.Limiter = (*Limiter)(nil)

// Limiter returns a new Limiter. It shares the connections of the Store.
func (s *Store) Limiter(c LimiterConfig) *Limiter {
	if c.Copies <= 0 {
		c.Copies = 2
	}
	return &Limiter{
		store:   s,
		prefix:  strconv.Itoa(len(c.Prefix)) + ":" + c.Prefix,
		outage:  c.Outage,
		copies:  c.Copies,
		breaker: breaker{report: c.OnOutage},
	}
}

// Take implements [tokenbooth.Limiter]. The error is that of an invalid Limit, of
// a context that was cancelled, or that of [FailClosed].
func (l *Limiter) Take(ctx context.Context, key string, limit tokenbooth.Limit) (tokenbooth.Decision, error) {
	if err := check(limit); err != nil {
		return tokenbooth.Decision{}, err
	}
	if err := ctx.Err(); err != nil {
		return tokenbooth.Decision{}, fmt.Errorf("redisstore: take: %w", err)
	}
	ongoing, ask := l.breaker.ask()
	if !ask {
		return l.withoutRedis(ctx, key, limit, ongoing.cause)
	}
	d, err := l.take(ctx, key, limit)
	switch {
	case err == nil:
		l.breaker.succeeded(ongoing)
		return d, nil
	case errors.Is(ctx.Err(), context.Canceled):
		return tokenbooth.Decision{}, err // says nothing about Redis
	}
	l.breaker.failed(err)
	return l.withoutRedis(ctx, key, limit, err)
}

func (l *Limiter) take(ctx context.Context, key string, limit tokenbooth.Limit) (tokenbooth.Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, takeTimeout)
	defer cancel()
	rate := min(limit.PerSecond, maxPerSecond)
	cmd, err := l.store.run(ctx, takeScript, takeSource, l.key(key), rate, limit.Burst)
	if err != nil {
		return tokenbooth.Decision{}, wrap(ctx, "take", err)
	}
	reply, err := cmd.Text()
	if err != nil {
		return tokenbooth.Decision{}, wrap(ctx, "take", err)
	}
	b, err := parseBucket(reply, rate, limit.Burst)
	if err != nil {
		return tokenbooth.Decision{}, err
	}
	return b.decision(), nil
}

// key returns the key of a bucket. The length of the Prefix stands before it, so
// that no two pairs make the same key.
func (l *Limiter) key(key string) string {
	if len(key) > longestKey {
		sum := sha256.Sum256([]byte(key))
		return "tb:h" + l.prefix + string(sum[:])
	}
	return "tb:l" + l.prefix + key
}

// check returns an error for a Limit that no bucket can have.
func check(l tokenbooth.Limit) error {
	if !(l.PerSecond > 0) || math.IsInf(l.PerSecond, 1) {
		return fmt.Errorf("redisstore: Limit.PerSecond is %v: it must be above 0 and finite", l.PerSecond)
	}
	if l.Burst < 1 {
		return fmt.Errorf("redisstore: Limit.Burst is %d: it must be at least 1", l.Burst)
	}
	return nil
}
