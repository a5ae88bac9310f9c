package redisstore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tokenbooth/tokenbooth"
)

// Longer keys are hashed, so that nobody can make long ones.
const longestKey = 32

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
	// or the goroutine that finds out, one call at a time and in order. Others do
	// not wait for it, and it may call the Limiter.
	OnOutage func(err error)
}

// A Limiter is a [tokenbooth.Limiter] of token buckets in Redis, shared by all
// processes that use the same Redis and Prefix. Make it with [Store.Limiter]. It
// is safe for concurrent use.
//
// Each decision is one script on the clock of the server (GCRA, with its state kept
// as tokens). A Limit that differs from the key's last one holds at once: the
// tokens left are kept as far as they fit into the new Burst, and what is regained
// since the last request that was allowed counts at the new rate. A forward step
// of the clock refills buckets, a backward step counts as no time at all.
//
// When Redis fails or takes longer than 70 to 80 ms, the decision is that of the
// configured [Outage]; after that all are decided so, at once. Every 100 ms a request
// starts a goroutine, one at a time, that makes a connection where there is none and
// ends the outage when a decision takes less than 80 ms; it ends after 1.1 s at the
// latest. Any error of Redis counts.
//
// A bucket that is not full takes up to 180 bytes of Redis and the length of the
// Prefix; keys longer than 32 bytes are kept as their SHA-256. It expires when it
// is full. So a flood of keys before authentication costs 180 bytes for each
// request of the last 1/PerSecond seconds, and nothing once it has ended.
type Limiter struct {
	store         *Store
	plain, hashed string // before keys
	outage        Outage
	copies        int
	breaker       breaker
	deadline      deadline
	local         tokenbooth.MemoryLimiter
}

var _ tokenbooth.Limiter = (*Limiter)(nil)

// Limiter returns a new Limiter. It shares the connections of the Store.
func (s *Store) Limiter(c LimiterConfig) *Limiter {
	if c.Copies <= 0 {
		c.Copies = 2
	}
	prefix := strconv.Itoa(len(c.Prefix)) + ":" + c.Prefix
	return &Limiter{
		store:    s,
		plain:    "tb:l" + prefix,
		hashed:   "tb:h" + prefix,
		outage:   c.Outage,
		copies:   c.Copies,
		breaker:  breaker{report: c.OnOutage},
		deadline: deadline{timeout: takeTimeout},
	}
}

// Take implements [tokenbooth.Limiter]. The error is that of an invalid Limit, of
// a context that has ended before, or that of [FailClosed]; a context that ends
// later does not end the call.
func (l *Limiter) Take(ctx context.Context, key string, limit tokenbooth.Limit) (tokenbooth.Decision, error) {
	if err := check(limit); err != nil {
		return tokenbooth.Decision{}, err
	}
	if err := ctx.Err(); err != nil {
		return tokenbooth.Decision{}, fmt.Errorf("redisstore: take: %w", err)
	}
	if o, probe := l.breaker.ongoing(); o != nil {
		if probe {
			go l.probe(o, key)
		}
		return l.withoutRedis(ctx, key, limit, o.cause)
	}
	d, err := l.take(key, limit)
	if err != nil {
		l.breaker.failed(err)
		return l.withoutRedis(ctx, key, limit, err)
	}
	return d, nil
}

// probe ends the outage once a decision is in time, over a connection that is
// there. Making one and teaching the server the script may take longer than a
// request waits, and who gives up takes the connection with him: so that is done
// first, within 1 s.
func (l *Limiter) probe(o *outage, key string) {
	err := l.tryOut(key, ioTimeout)
	if err == nil {
		err = l.tryOut(key, takeTimeout)
	}
	l.breaker.probed(o, err)
}

// tryOut makes a decision that concerns nobody, in a cluster where the bucket of
// the key is.
func (l *Limiter) tryOut(key string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, err := takeScript.run(ctx, l.store.client, "tb:p{"+l.key(key)+"}", maxPerSecond, 1)
	return err
}

func (l *Limiter) take(key string, limit tokenbooth.Limit) (tokenbooth.Decision, error) {
	ctx := l.deadline.context()
	rate := min(limit.PerSecond, maxPerSecond)
	cmd, err := takeScript.run(ctx, l.store.client, l.key(key), rate, limit.Burst)
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
		return l.hashed + string(sum[:])
	}
	return l.plain + key
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
