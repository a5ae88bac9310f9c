package bench

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/didip/tollbooth/v7"
	"github.com/go-chi/httprate"
	sethvargo "github.com/sethvargo/go-limiter"
	"github.com/sethvargo/go-limiter/memorystore"
	ulule "github.com/ulule/limiter/v3"
	ululememory "github.com/ulule/limiter/v3/drivers/store/memory"
	"golang.org/x/time/rate"
)

// The rate limiters, each at a limit that is never reached.
func init() {
	rateLimiters = append(rateLimiters,
		rateLimiter{"x-rate-mutex", newMutexedRate},
		rateLimiter{"x-rate-syncmap", newSyncMapRate},
		rateLimiter{"x-rate-sharded", newShardedRate},
		rateLimiter{"httprate", newHTTPRate},
		rateLimiter{"sethvargo", newSethvargo},
		rateLimiter{"ulule", newUlule},
		rateLimiter{"tollbooth", newTollbooth},
	)
}

// Buckets that are never empty, and after the first decision never full either: one
// that is full again each time would be less work than users' are.
const (
	perSecond = 1
	keysBurst = 1_000_000_000
)

// newMutexedRate is what most tutorials show.
func newMutexedRate() (allowFunc, func()) {
	var mu sync.Mutex
	limiters := map[string]*rate.Limiter{}
	return func(_ http.ResponseWriter, _ *http.Request, key string) bool {
		mu.Lock()
		l, ok := limiters[key]
		if !ok {
			l = rate.NewLimiter(perSecond, keysBurst)
			limiters[key] = l
		}
		mu.Unlock()
		return l.Allow()
	}, func() {}
}

func newSyncMapRate() (allowFunc, func()) {
	var limiters sync.Map
	return func(_ http.ResponseWriter, _ *http.Request, key string) bool {
		l, ok := limiters.Load(key)
		if !ok {
			l, _ = limiters.LoadOrStore(key, rate.NewLimiter(perSecond, keysBurst))
		}
		return l.(*rate.Limiter).Allow()
	}, func() {}
}

// newShardedRate is x/time/rate in the limit's sharded map: about the best that
// can be built on it.
func newShardedRate() (allowFunc, func()) {
	limiters := newShardedMap(func() *rate.Limiter { return rate.NewLimiter(perSecond, keysBurst) })
	return func(_ http.ResponseWriter, _ *http.Request, key string) bool {
		return limiters.get(key).Allow()
	}, func() {}
}

// newHTTPRate decides only together with setting its response headers.
func newHTTPRate() (allowFunc, func()) {
	l := httprate.NewRateLimiter(keysBurst, time.Minute)
	return func(w http.ResponseWriter, r *http.Request, key string) bool {
		return !l.OnLimit(w, r, key)
	}, func() {}
}

// newSethvargo has an interval that no run outlasts: version 0.7.1 refills with
// interval/tokens per interval, which is too few where tokens exceed the square
// root of the interval in nanoseconds (31,622 for a second).
func newSethvargo() (allowFunc, func()) {
	var store sethvargo.Store = must(memorystore.New(&memorystore.Config{Tokens: 1 << 40, Interval: 24 * time.Hour}))
	ctx := context.Background()
	return func(_ http.ResponseWriter, _ *http.Request, key string) bool {
		_, _, _, ok, err := store.Take(ctx, key)
		return ok && err == nil
	}, func() { store.Close(ctx) }
}

func newUlule() (allowFunc, func()) {
	l := ulule.New(ululememory.NewStore(), ulule.Rate{Period: 24 * time.Hour, Limit: 1 << 40})
	ctx := context.Background()
	return func(_ http.ResponseWriter, _ *http.Request, key string) bool {
		c, err := l.Get(ctx, key)
		return err == nil && !c.Reached
	}, func() {}
}

func newTollbooth() (allowFunc, func()) {
	l := tollbooth.NewLimiter(perSecond, nil).SetBurst(keysBurst)
	return func(_ http.ResponseWriter, _ *http.Request, key string) bool {
		return tollbooth.LimitByKeys(l, []string{key}) == nil
	}, func() {}
}
