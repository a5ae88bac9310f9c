package redisstore

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/tokenbooth/tokenbooth/store"
)

const (
	// callTimeout bounds each call of a State, whatever the context allows.
	callTimeout = 2 * time.Second
	// A dial that fails is tried again after a second (by go-redis, once as many
	// have failed as the pool has places): together they stay below 2 s.
	dialTimeout = 500 * time.Millisecond
	ioTimeout   = time.Second
)

// A Store is a [store.State] in Redis. Make it with [Open]. It is safe for
// concurrent use.
//
// A call ends with the deadline of its context and within 2 s in any case; one
// that is cancelled while the server is silent, within 1 s. Nothing is sent
// twice: after an error the outcome is unknown, as [store.State] says.
type Store struct {
	client redis.UniversalClient
	prefix string      // of the keys of the State
	safe   atomic.Bool // whether nothing can be evicted, or it was accepted
}

var (
	_ store.State       = (*Store)(nil)
	_ store.MultiGetter = (*Store)(nil)
)

// An Option changes what [Open] does.
type Option func(*Store)

// AcceptEviction accepts a server that may evict entries when its memory is full,
// or whose policy cannot be asked for. An evicted revocation is undone: revoked
// tokens work again, until they expire. An evicted code or refresh token is
// refused.
func AcceptEviction() Option { return func(s *Store) { s.safe.Store(true) } }

// Prefix keeps the State of this Store apart from that of another one in the same
// Redis, whatever both prefixes are. Without it, apps share what has the same key,
// as the revocations of clients of one id. [LimiterConfig] has its own.
func Prefix(prefix string) Option {
	return func(s *Store) {
		if prefix != "" {
			s.prefix = "tb:x" + strconv.Itoa(len(prefix)) + ":" + prefix
		}
	}
}

// Open returns a Store over a server, a server behind Sentinel or a cluster, as
// [redis.NewUniversalClient] chooses it by the options. The options are copied.
//
// Open lowers timeouts that are longer than a call may take, lets contexts end
// calls, and turns off retries, the commands of a new connection that only
// introduce it, and maintenance notifications; RESP2 is spoken unless Protocol
// is set. It refuses options by which reads come from replicas or from a cache of
// the client, since both answer with what was.
//
// Open asks the server (INFO memory) whether it may evict entries, and returns an
// error when it may: with a maxmemory, the policy must be noeviction. A server
// that cannot be reached is no error, so that a copy can start during an outage:
// calls fail with [store.ErrUnavailable] until it is there, and then the policy
// is asked for before anything is read or written; one that may evict makes every
// call fail. The policy is not asked for again. See [AcceptEviction].
func Open(o *redis.UniversalOptions, opts ...Option) (*Store, error) {
	if o == nil {
		return nil, errors.New("redisstore: UniversalOptions is nil: give at least Addrs")
	}
	if err := checkFresh(o); err != nil {
		return nil, err
	}
	s := &Store{client: redis.NewUniversalClient(strict(o)), prefix: statePrefix}
	s.client.AddHook(dialErrors{})
	for _, opt := range opts {
		opt(s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if err := s.ready(ctx); err != nil && !errors.Is(err, store.ErrUnavailable) {
		_ = s.client.Close()
		return nil, err
	}
	return s, nil
}

// Close closes all connections. Calls fail with [store.ErrUnavailable] after it;
// a [Limiter] of the Store answers as in an outage.
func (s *Store) Close() error { return s.client.Close() }

// checkFresh refuses options that let a revoked token be seen as it was.
func checkFresh(o *redis.UniversalOptions) error {
	var errs []error
	for _, f := range []struct {
		field string
		set   bool
	}{
		{"ReadOnly", o.ReadOnly},
		{"RouteByLatency", o.RouteByLatency},
		{"RouteRandomly", o.RouteRandomly},
		{"ClientSideCacheConfig", o.ClientSideCacheConfig != nil},
		{"ClientSideCache", o.ClientSideCache != nil},
	} {
		if f.set {
			errs = append(errs, errors.New("redisstore: UniversalOptions."+f.field+
				" is set: replicas and caches answer with old state; leave it out"))
		}
	}
	if o.MasterName != "" && o.IsClusterMode {
		errs = append(errs, errors.New("redisstore: UniversalOptions.MasterName and IsClusterMode are set: a server behind Sentinel is no cluster; leave one out"))
	}
	return errors.Join(errs...)
}

// strict returns options under which go-redis sends a command once and waits for
// no longer than a call may take.
func strict(o *redis.UniversalOptions) *redis.UniversalOptions {
	c := *o
	c.Addrs = slices.Clone(o.Addrs)
	c.ContextTimeoutEnabled = true
	c.MaxRetries = -1 // 0 means 3
	c.DialerRetries = 1
	c.DialTimeout = atMost(dialTimeout, o.DialTimeout)
	c.ReadTimeout = atMost(ioTimeout, o.ReadTimeout)
	c.WriteTimeout = atMost(ioTimeout, o.WriteTimeout)
	c.PoolTimeout = atMost(ioTimeout, o.PoolTimeout)
	c.PipelinePoolSize = -1 // the pool is large enough
	c.DisableIdentity = true
	c.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if c.Protocol == 0 {
		c.Protocol = 2 // 3 looks for pushes at each call, and none are asked for
	}
	return &c
}

// atMost returns d, or the longest where d is longer or means a default or none.
func atMost(longest, d time.Duration) time.Duration {
	if d <= 0 {
		return longest
	}
	return min(d, longest)
}

func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= callTimeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callTimeout)
}
