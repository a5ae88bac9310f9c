package redisstore_test

import (
	"context"
	"crypto/rand"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/internal/testservers"
	"github.com/tokenbooth/tokenbooth/store/redisstore"
)

// Both benchmarks measure the operation and a bare EVAL of a script that does
// nothing, over connections of the same options, in turns of a few thousand, so
// that what else the machine does falls on both. Their ratio is what counts.

// BenchmarkGetSwap reads and replaces an authorization, as a refresh does.
func BenchmarkGetSwap(b *testing.B) {
	o := universal(b, testservers.Redis(b))
	s := open(b, o)
	expires := time.Now().Add(time.Hour)
	newVal := func() []byte {
		val := make([]byte, 400)
		_, _ = rand.Read(val)
		return val
	}
	key, workers := unique(b), atomic.Int64{}
	beside(b, o, func(pb *testing.PB) {
		key := key + strconv.Itoa(int(workers.Add(1)))
		one, two := newVal(), newVal()
		ctx := context.Background()
		if ok, err := s.Create(ctx, key, one, expires); !ok || err != nil {
			b.Errorf("Create: %v, %v", ok, err)
		}
		for pb.Next() {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			got, _, err := s.Get(ctx, key)
			if err != nil {
				b.Error(err)
			}
			if ok, err := s.Swap(ctx, key, got, two, expires); !ok || err != nil {
				b.Errorf("Swap: %v, %v", ok, err)
			}
			one, two = two, one
			cancel()
		}
	})
}

// BenchmarkTake decides for one of a thousand clients, half of them refused.
func BenchmarkTake(b *testing.B) {
	o := universal(b, testservers.Redis(b))
	l := open(b, o).Limiter(redisstore.LimiterConfig{Prefix: unique(b), Outage: redisstore.FailClosed})
	beside(b, o, func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			limit := tokenbooth.Limit{PerSecond: 1e6, Burst: 1000}
			if i%2 == 0 {
				limit = tokenbooth.Limit{PerSecond: 1e-3, Burst: 1}
			}
			if _, err := l.Take(context.Background(), "client|client-"+strconv.Itoa(i%1000), limit); err != nil {
				b.Error(err)
			}
		}
	})
}

// beside runs f and bare EVALs in turns and reports how many of f there are in
// the time of one EVAL.
func beside(b *testing.B, o *redis.UniversalOptions, f func(*testing.PB)) {
	b.Helper()
	o.MaxRetries, o.ContextTimeoutEnabled, o.Protocol = -1, true, 2
	c := bare(b, o)
	eval := func(pb *testing.PB) {
		for pb.Next() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			if err := c.Eval(ctx, "return 1", []string{"tb:bare"}).Err(); err != nil {
				b.Error(err)
			}
			cancel()
		}
	}
	b.SetParallelism(4)
	b.RunParallel(eval)
	evals := b.Elapsed()
	b.ResetTimer()
	b.RunParallel(f)
	b.StopTimer()
	b.ReportMetric(float64(evals)/float64(b.Elapsed()), "of-a-bare-EVAL")
}
