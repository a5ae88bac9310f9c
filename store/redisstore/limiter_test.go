package redisstore_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/internal/testservers"
	"github.com/tokenbooth/tokenbooth/store/redisstore"
)

// slow is a Limit that regains nothing while a test runs.
func slow(burst int) tokenbooth.Limit { return tokenbooth.Limit{PerSecond: 1e-9, Burst: burst} }

// A bucketKit is a Limiter, and a way to let time pass for one of its keys.
type bucketKit struct {
	*redisstore.Limiter
	c redis.UniversalClient
}

func newBucketKit(t *testing.T, o *redis.UniversalOptions) *bucketKit {
	t.Helper()
	l := open(t, o).Limiter(redisstore.LimiterConfig{Prefix: unique(t), Outage: redisstore.FailClosed}).Patient()
	return &bucketKit{l, bare(t, o)}
}

// pass makes the bucket d older, or younger as a clock does that steps back.
func (k *bucketKit) pass(t *testing.T, key string, d time.Duration) {
	t.Helper()
	val, err := k.c.Get(t.Context(), k.Key(key)).Bytes()
	if errors.Is(err, redis.Nil) {
		return // full
	}
	if err != nil || len(val) != 16 {
		t.Fatalf("bucket %x, %v", val, err)
	}
	at := math.Float64frombits(binary.LittleEndian.Uint64(val[8:])) - float64(d.Microseconds())
	binary.LittleEndian.PutUint64(val[8:], math.Float64bits(at))
	if err := k.c.Set(t.Context(), k.Key(key), val, redis.KeepTTL).Err(); err != nil {
		t.Fatal(err)
	}
}

// drain takes until the key is refused and returns how often it was allowed.
func (k *bucketKit) drain(t *testing.T, key string, l tokenbooth.Limit) int {
	t.Helper()
	for n := 0; ; n++ {
		if !mustTake(t, k, key, l).Allowed {
			return n
		}
		if n > l.Burst+1 {
			t.Fatalf("key %q of burst %d still allowed after %d", key, l.Burst, n)
		}
	}
}

func TestLimiterRefusesLimits(t *testing.T) {
	k := newBucketKit(t, universal(t, testservers.Redis(t)))
	for _, l := range []tokenbooth.Limit{
		{},
		{PerSecond: 1},
		{Burst: 1},
		{PerSecond: -1, Burst: 1},
		{PerSecond: 1, Burst: -1},
		{PerSecond: math.NaN(), Burst: 1},
		{PerSecond: math.Inf(1), Burst: 1},
	} {
		if d, err := k.Take(t.Context(), "k", l); err == nil || d.Allowed {
			t.Errorf("Take(%+v) = %+v, %v, want an error", l, d, err)
		}
	}
}

func TestLimiterExtremeLimits(t *testing.T) {
	k := newBucketKit(t, universal(t, testservers.Redis(t)))
	for i, l := range []tokenbooth.Limit{
		{PerSecond: math.SmallestNonzeroFloat64, Burst: 1},
		{PerSecond: math.SmallestNonzeroFloat64, Burst: math.MaxInt},
		{PerSecond: math.MaxFloat64, Burst: 1},
		{PerSecond: math.MaxFloat64, Burst: math.MaxInt},
		{PerSecond: 1e-9, Burst: math.MaxInt32},
	} {
		for range 3 {
			d := mustTake(t, k, fmt.Sprint(i), l)
			if d.Limit != l.Burst || d.Remaining < 0 || d.Remaining > l.Burst || d.Reset.Before(time.Now().Add(-time.Minute)) {
				t.Errorf("%+v: %+v", l, d)
			}
			if d.Allowed != (d.RetryAfter == 0) || d.RetryAfter > time.Hour {
				t.Errorf("%+v: RetryAfter %v with Allowed %v", l, d.RetryAfter, d.Allowed)
			}
		}
	}
}

func TestL4_ExactlyTheBurstInParallel(t *testing.T) {
	eachMode(t, func(t *testing.T, o *redis.UniversalOptions) {
		one := newBucketKit(t, o)
		var allowed atomic.Int64
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				d, err := one.Take(t.Context(), "k", slow(20))
				if err != nil {
					t.Error(err)
				}
				if d.Allowed {
					allowed.Add(1)
				}
			})
		}
		wg.Wait()
		if n := allowed.Load(); n != 20 {
			t.Errorf("%d allowed of a burst of 20", n)
		}
	})
}

func TestL4_BackwardStepLocksNobodyOut(t *testing.T) {
	k := newBucketKit(t, universal(t, testservers.Redis(t)))
	l := tokenbooth.Limit{PerSecond: 0.01, Burst: 5}
	k.drain(t, "k", l)
	k.pass(t, "k", -2*time.Hour)
	if d := mustTake(t, k, "k", l); d.Allowed || d.RetryAfter < 99*time.Second || d.RetryAfter > 100*time.Second {
		t.Fatalf("after the step: %+v", d)
	}
	k.pass(t, "k", 100*time.Second)
	if n := k.drain(t, "k", l); n != 1 {
		t.Errorf("%d allowed after one refill, want 1", n)
	}
	k.pass(t, "k", -2*time.Hour)
	mustTake(t, k, "k", l)
	k.pass(t, "k", 2*time.Hour)
	if n := k.drain(t, "k", l); n != 5 {
		t.Errorf("%d allowed when it is full", n)
	}
}

func TestL2_ChangedLimitHoldsAtOnce(t *testing.T) {
	k := newBucketKit(t, universal(t, testservers.Redis(t)))
	limit := func(perSecond float64, burst int) tokenbooth.Limit {
		return tokenbooth.Limit{PerSecond: perSecond, Burst: burst}
	}
	if n := k.drain(t, "k", limit(0.01, 5)); n != 5 {
		t.Fatalf("%d allowed of 5", n)
	}
	if n := k.drain(t, "k", limit(0.01, 50)); n != 0 {
		t.Errorf("a greater burst gave %d at once", n)
	}
	k.pass(t, "k", 2000*time.Second)
	if n := k.drain(t, "k", limit(0.01, 50)); n != 20 {
		t.Errorf("%d allowed 2000 s after the burst became 50", n)
	}
	k.pass(t, "k", 10*time.Hour)
	if n := k.drain(t, "k", limit(0.005, 3)); n != 3 {
		t.Errorf("%d allowed after the burst became 3", n)
	}
	k.pass(t, "k", 400*time.Second)
	if n := k.drain(t, "k", limit(0.005, 3)); n != 2 {
		t.Errorf("%d allowed in 400 s at one every 200 s", n)
	}
}

func TestL2_RefusalsCostNothing(t *testing.T) {
	k := newBucketKit(t, universal(t, testservers.Redis(t)))
	l := tokenbooth.Limit{PerSecond: 1.0 / 60, Burst: 1}
	k.drain(t, "k", l)
	before := k.c.Get(t.Context(), k.Key("k")).Val()
	for range 100 {
		if mustTake(t, k, "k", l).Allowed {
			t.Fatal("allowed within the minute")
		}
	}
	if after := k.c.Get(t.Context(), k.Key("k")).Val(); after != before || before == "" {
		t.Errorf("bucket %x became %x", before, after)
	}
	k.pass(t, "k", time.Minute)
	if !mustTake(t, k, "k", l).Allowed {
		t.Error("refused after a minute of refusals")
	}
}

func TestBucketsExpireWhenTheyAreFull(t *testing.T) {
	k := newBucketKit(t, universal(t, testservers.Redis(t)))
	for i, test := range []struct {
		limit tokenbooth.Limit
		full  time.Duration
	}{
		{tokenbooth.Limit{PerSecond: 0.1, Burst: 5}, 10 * time.Second},
		{tokenbooth.Limit{PerSecond: 1.0 / 3600, Burst: 1}, time.Hour},
		{tokenbooth.Limit{PerSecond: math.SmallestNonzeroFloat64, Burst: 1}, 100 * 365 * 24 * time.Hour},
	} {
		d := mustTake(t, k, fmt.Sprint(i), test.limit)
		left := k.c.PTTL(t.Context(), k.Key(fmt.Sprint(i))).Val()
		if left > test.full+time.Second || left < test.full-5*time.Second || left < time.Until(d.Reset) {
			t.Errorf("%+v: expires in %v, full in %v (%v)", test.limit, left, test.full, time.Until(d.Reset))
		}
	}
	mustTake(t, k, "soon", tokenbooth.Limit{PerSecond: 1e9, Burst: 1})
	eventually(t, 5*time.Second, "a full bucket is gone", func(ctx context.Context) bool {
		return k.c.Exists(ctx, k.Key("soon")).Val() == 0
	})
}

func TestLimiterKeysAreUnambiguous(t *testing.T) {
	s := open(t, universal(t, testservers.Redis(t)))
	long := strings.Repeat("x", 300)
	sum := sha256.Sum256([]byte(long))
	seen := make(map[string]string)
	for _, prefix := range []string{"", "0", "1", ":", "0:", "1:a", "a", "a|", "tb:l", long} {
		l := s.Limiter(redisstore.LimiterConfig{Prefix: prefix})
		for _, key := range []string{"", "0:", ":", "a", "|a", "a|", "1:a", "\x00", "\xff", "anon|1.2.3.4/32|token|x", long, long + "y", string(sum[:])} {
			name := fmt.Sprintf("%q %q", prefix, key)
			if other, ok := seen[l.Key(key)]; ok {
				t.Errorf("%s has the key of %s", name, other)
			}
			seen[l.Key(key)] = name
			if len(l.Key(key)) > 32+len(prefix)+9 || strings.HasPrefix(l.Key(key), "tb:s:") || !strings.HasPrefix(l.Key(key), "tb:") {
				t.Errorf("%s: key %q", name, l.Key(key))
			}
		}
	}
}

// A band is what a bucket may have, given that the test knows the clock of the
// server only before and after each call.
type band struct {
	low, high     float64
	before, after time.Time     // of the call that left this
	passed        time.Duration // since then, beyond the time of the clock
}

// TestLimiterModel holds many keys of random limits, which change, against exact
// buckets, while random time passes.
func TestLimiterModel(t *testing.T) {
	k := newBucketKit(t, universal(t, testservers.Redis(t)))
	random := rand.New(rand.NewPCG(5, 6))
	for i := range 60 {
		key := fmt.Sprintf("client|%d", i)
		if i%3 == 0 {
			key = fmt.Sprintf("anon|198.51.100.%d/32|token|%s", i, strings.Repeat("long", 20))
		}
		limit := randomLimit(random)
		b := band{low: float64(limit.Burst), high: float64(limit.Burst), before: time.Now(), after: time.Now()}
		var wait time.Duration // an advertised one
		for range 40 {
			passed := time.Duration(random.ExpFloat64() * float64(time.Second) / limit.PerSecond).Truncate(time.Microsecond)
			if wait > 0 && random.IntN(2) == 0 {
				passed = wait
			} else {
				wait = 0
			}
			if random.IntN(10) == 0 && wait == 0 {
				burst := limit.Burst
				limit = randomLimit(random)
				limit.Burst = max(1, min(limit.Burst, burst)) // a bucket that was full and is gone is one of the new size
			}
			passed = min(passed, 1000*time.Hour)
			k.pass(t, key, passed)
			before := time.Now()
			d := mustTake(t, k, key, limit)
			b.passed += passed
			has := b.at(before, time.Now(), limit)
			if err := has.judge(d, limit); err != nil {
				t.Fatalf("key %s, %+v, %v passed: %+v, of %+v: %v", key, limit, passed, d, has, err)
			}
			if d.Allowed {
				b = has
			}
			if wait > 0 && limit.PerSecond >= 1.0/3600 && !d.Allowed {
				t.Fatalf("key %s, %+v: refused after the advertised wait of %v", key, limit, wait)
			}
			wait = d.RetryAfter
		}
	}
}

func randomLimit(random *rand.Rand) tokenbooth.Limit {
	return tokenbooth.Limit{PerSecond: math.Exp(random.Float64()*math.Log(3600*20)) / 3600, Burst: 1 + random.IntN(12)}
}

// at returns what the bucket has at a call. A new rate holds for all of the time
// since the last request that was allowed.
func (b band) at(before, after time.Time, l tokenbooth.Limit) band {
	regained := func(d time.Duration) float64 { return (d + b.passed).Seconds() * l.PerSecond }
	burst := float64(l.Burst)
	return band{
		low:    min(burst, b.low+regained(before.Sub(b.after))-1e-9),
		high:   min(burst, b.high+regained(after.Sub(b.before))+1e-9),
		before: before, after: after,
	}
}

// judge checks a decision and charges it.
func (b *band) judge(d tokenbooth.Decision, l tokenbooth.Limit) error {
	switch {
	case d.Allowed && b.high < 1:
		return errors.New("allowed without a token")
	case !d.Allowed && b.low >= 1:
		return errors.New("refused with a token")
	case d.Limit != l.Burst:
		return errors.New("another Limit")
	case d.Allowed == (d.RetryAfter > 0):
		return errors.New("RetryAfter")
	}
	if d.Allowed {
		b.low, b.high = max(0, b.low-1), b.high-1
	} else {
		wait := d.RetryAfter
		if wait < time.Second || wait > time.Hour || wait%time.Second != 0 {
			return errors.New("not 1 to 3600 whole seconds")
		}
		if soonest := (1 - b.high) / l.PerSecond; wait < time.Hour && wait.Seconds() < soonest {
			return errors.New("a wait too short")
		}
		if latest := (1-b.low)/l.PerSecond + 1; wait > time.Second && wait.Seconds() > latest {
			return errors.New("a wait too long")
		}
	}
	if float64(d.Remaining) > b.high || float64(d.Remaining) <= b.low-1 {
		return errors.New("Remaining")
	}
	full := func(tokens float64, at time.Time) time.Time {
		return at.Add(time.Duration((float64(l.Burst) - tokens) / l.PerSecond * 1e9))
	}
	if d.Reset.Before(full(b.high, b.before).Add(-10*time.Microsecond)) || d.Reset.After(full(b.low, b.after).Add(10*time.Microsecond)) {
		return fmt.Errorf("Reset, want %v to %v", full(b.high, b.before), full(b.low, b.after))
	}
	return nil
}
