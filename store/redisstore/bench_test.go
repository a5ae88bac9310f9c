//go:build unix

package redisstore_test

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/internal/testservers"
	"github.com/tokenbooth/tokenbooth/store/redisstore"
)

// BenchmarkGetSwap reads and replaces an authorization, as a refresh does.
func BenchmarkGetSwap(b *testing.B) {
	o := universal(b, testservers.Redis(b))
	s := open(b, o)
	key, expires := unique(b), time.Now().Add(time.Hour)
	var vals [workers][2][]byte
	for w := range vals {
		for i := range vals[w] {
			vals[w][i] = make([]byte, 400)
			_, _ = rand.Read(vals[w][i])
		}
		if ok, err := s.Create(b.Context(), key+strconv.Itoa(w), vals[w][0], expires); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
	beside(b, o, func(ctx context.Context, w, _ int) error {
		key := key + strconv.Itoa(w)
		old, _, err := s.Get(ctx, key)
		if err != nil {
			return err
		}
		_, err = s.Swap(ctx, key, old, vals[w][1], expires)
		vals[w][0], vals[w][1] = vals[w][1], vals[w][0]
		return err
	})
}

// BenchmarkTake decides for a thousand clients, half of whom are refused.
func BenchmarkTake(b *testing.B) {
	o := universal(b, testservers.Redis(b))
	l := open(b, o).Limiter(redisstore.LimiterConfig{Prefix: rand.Text()[:8], Outage: redisstore.FailClosed}).Patient()
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = "client|client-" + strconv.Itoa(i)
	}
	beside(b, o, func(ctx context.Context, w, i int) error {
		n := (i*workers + w) % len(keys)
		key, limit := keys[n], tokenbooth.Limit{PerSecond: 1e6, Burst: 1000}
		if n%2 == 0 {
			limit = tokenbooth.Limit{PerSecond: 1e-3, Burst: 1}
		}
		_, err := l.Take(ctx, key, limit)
		return err
	})
}

const workers = 8

// beside does f and a bare EVAL of a script that does nothing in turns of some
// thousands each, so that what else the machine does falls on both. It reports how
// many of f are done in the time of one EVAL: in that of the clock, and in that of
// the processors, of the server and of this process, which is about the same
// whatever else runs.
func beside(b *testing.B, o *redis.UniversalOptions, f func(ctx context.Context, worker, i int) error) {
	b.Helper()
	o.MaxRetries, o.ContextTimeoutEnabled, o.Protocol, o.DisableIdentity = -1, true, 2, true
	c := bare(b, o)
	eval := func(ctx context.Context, _, _ int) error {
		return c.Eval(ctx, "return 1", []string{"tb:bare"}).Err()
	}
	const turn = 4000 / workers
	var evals, own cost
	for done := 0; done < b.N; done += turn * workers {
		evals.add(b, c, func() { inParallel(b, turn, eval) })
		own.add(b, c, func() { inParallel(b, turn, f) })
	}
	b.ReportMetric(float64(evals.clock)/float64(own.clock), "of-an-EVAL")
	b.ReportMetric(float64(evals.processor)/float64(own.processor), "of-an-EVAL-by-CPU")
	b.ReportMetric(0, "ns/op") // it would be of both
}

type cost struct{ clock, processor time.Duration }

func (c *cost) add(b *testing.B, client redis.UniversalClient, f func()) {
	b.Helper()
	processor, begun := processorTime(b, client), time.Now()
	f()
	c.clock += time.Since(begun)
	c.processor += processorTime(b, client) - processor
}

// processorTime returns that of the server and of this process.
func processorTime(b *testing.B, client redis.UniversalClient) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	total := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	info, err := client.Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			d, err := time.ParseDuration(value + "s")
			if err != nil {
				b.Fatal(err)
			}
			total += d
		}
	}
	return total
}

// inParallel calls f n times in each worker, as a handler does.
func inParallel(b *testing.B, n int, f func(ctx context.Context, worker, i int) error) {
	b.Helper()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range n {
				ctx, cancel := context.WithTimeout(b.Context(), time.Second)
				if err := f(ctx, w, i); err != nil {
					b.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
}
