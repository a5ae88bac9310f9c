package tokenbooth

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A heldClock stands still until it is moved.
type heldClock struct{ ns atomic.Int64 }

func newHeldClock() *heldClock {
	c := new(heldClock)
	c.ns.Store(time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC).UnixNano())
	return c
}

func (c *heldClock) Now() time.Time          { return time.Unix(0, c.ns.Load()).UTC() }
func (c *heldClock) move(d time.Duration)    { c.ns.Add(int64(d)) }
func (c *heldClock) limiter() *MemoryLimiter { return &MemoryLimiter{Now: c.Now} }

func mustTake(t testing.TB, m Limiter, key string, l Limit) Decision {
	t.Helper()
	d, err := m.Take(context.Background(), key, l)
	if err != nil {
		t.Fatalf("Take(%q, %+v): %v", key, l, err)
	}
	return d
}

// drain takes until the key is refused and returns how often it was allowed.
func drain(t testing.TB, m Limiter, key string, l Limit) int {
	t.Helper()
	for n := 0; ; n++ {
		if !mustTake(t, m, key, l).Allowed {
			return n
		}
		if n > l.Burst+1 {
			t.Fatalf("key %q of burst %d still allowed after %d", key, l.Burst, n)
		}
	}
}

// anonIDs takes once for each of n ids that were never seen, each from an address
// of its own where address is given.
func anonIDs(t testing.TB, m Limiter, n int, l Limit, address func(int) netip.Prefix) {
	t.Helper()
	for i := range n {
		mustTake(t, m, anonKey(address(i), "secret", strconv.FormatUint(rand.Uint64(), 36)), l)
	}
}

var (
	attacker = netip.MustParsePrefix("198.51.100.1/32")
	bystand  = netip.MustParsePrefix("2001:db8:1:2::/64")
)

func oneAddress(int) netip.Prefix { return attacker }

func eachAddress(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
}

func TestLimiterKeys(t *testing.T) {
	tests := []struct {
		name, key, want, share string
		anon                   bool
	}{
		{"IPv4", anonKey(attacker, "secret", "a|b"), "anon|198.51.100.1/32|secret|a|b", "anon|198.51.100.1/32", true},
		{"IPv6", anonKey(bystand, "user", ""), "anon|2001:db8:1:2::/64|user|", "anon|2001:db8:1:2::/64", true},
		{"no address", anonKey(netip.Prefix{}, "user", "x"), "anon||user|x", "anon|", true},
		{"foreign", "anon|x", "anon|x", "anon|x", true},
		{"client", clientKey("client", "anon|x"), "client|anon|x", "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.key != test.want {
				t.Errorf("key %q, want %q", test.key, test.want)
			}
			if share, anon := anonShare(test.key); share != test.share || anon != test.anon {
				t.Errorf("share %q, %v, want %q, %v", share, anon, test.share, test.anon)
			}
		})
	}
}

func TestLimiterRefusesLimits(t *testing.T) {
	for _, l := range []Limit{{}, {1, 0}, {0, 1}, {-1, 1}, {1, -1}, {math.NaN(), 1}, {math.Inf(1), 1}} {
		if d, err := new(MemoryLimiter).Take(context.Background(), "k", l); err == nil || d.Allowed {
			t.Errorf("Take(%+v) = %+v, %v, want an error", l, d, err)
		}
	}
}

func TestLimiterExtremeLimits(t *testing.T) {
	for _, l := range []Limit{
		{math.SmallestNonzeroFloat64, 1},
		{math.SmallestNonzeroFloat64, math.MaxInt},
		{math.MaxFloat64, 1},
		{math.MaxFloat64, math.MaxInt},
		{1e-9, math.MaxInt32},
	} {
		c := newHeldClock()
		m := c.limiter()
		for range 3 {
			d := mustTake(t, m, "k", l)
			if d.Limit != l.Burst || d.Remaining < 0 || d.Remaining > l.Burst || d.Reset.Before(c.Now()) {
				t.Errorf("%+v: %+v", l, d)
			}
			if want := d.Allowed; want != (d.RetryAfter == 0) || d.RetryAfter > time.Hour {
				t.Errorf("%+v: RetryAfter %v with Allowed %v", l, d.RetryAfter, d.Allowed)
			}
		}
	}
}

func TestUnlimited(t *testing.T) {
	d, err := Unlimited{}.Take(context.Background(), "k", Limit{})
	if err != nil || d != (Decision{Allowed: true}) {
		t.Errorf("Take = %+v, %v", d, err)
	}
}

func oddRates() []float64 {
	rates := []float64{1.0 / 3600, 1.0 / 3599, 1.0 / 1800, 1.0 / 60, 1.0 / 7, 1.0 / 3, 0.1, 0.3, 0.7, 1, 1.1, math.Pi, 10, 1e3, 1e9}
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		rates = append(rates, math.Exp(random.Float64()*math.Log(3600*20))/3600)
	}
	return rates
}

func TestL2_AllowedAfterAdvertisedWait(t *testing.T) {
	for _, perSecond := range oddRates() {
		for _, burst := range []int{1, 3, 20} {
			c := newHeldClock()
			m := c.limiter()
			l := Limit{perSecond, burst}
			for round := range 4 {
				drain(t, m, "k", l)
				c.move(time.Duration(round) * 137 * time.Nanosecond)
				if perSecond < 1000 {
					checkAdvertisedWait(t, c, m, l)
				}
				c.move(time.Duration(float64(round) * 0.37 / perSecond * 1e9))
			}
		}
	}
}

// checkAdvertisedWait expects of an empty bucket that its wait is whole seconds,
// the fewest that help, and that refusals in the meantime change nothing.
func checkAdvertisedWait(t *testing.T, c *heldClock, m *MemoryLimiter, l Limit) {
	t.Helper()
	d := mustTake(t, m, "k", l)
	wait := d.RetryAfter
	if d.Allowed || wait < time.Second || wait > time.Hour || wait%time.Second != 0 || d.Remaining != 0 {
		t.Fatalf("%+v: %+v on an empty bucket", l, d)
	}
	c.move(wait - time.Second)
	if wait > time.Second {
		if d := mustTake(t, m, "k", l); d.Allowed || d.RetryAfter != time.Second {
			t.Fatalf("%+v: %+v a second before the wait of %v is over", l, d, wait)
		}
	}
	c.move(time.Second)
	if d := mustTake(t, m, "k", l); !d.Allowed || d.RetryAfter != 0 {
		t.Fatalf("%+v: %+v after the advertised wait of %v", l, d, wait)
	}
}

func TestL2_WaitCountsFromAnEarlierReading(t *testing.T) {
	c := newHeldClock()
	m := c.limiter()
	l := Limit{1, 1}
	drain(t, m, "k", l)
	c.move(-900 * time.Millisecond)
	wait := mustTake(t, m, "k", l).RetryAfter
	if wait != 2*time.Second {
		t.Errorf("wait %v from 0.9 s before the bucket was emptied, want 2s", wait)
	}
	c.move(wait)
	if !mustTake(t, m, "k", l).Allowed {
		t.Errorf("refused after the advertised wait of %v", wait)
	}
}

func TestL2_BelowOneAnHourWaitsAnHour(t *testing.T) {
	for _, perSecond := range []float64{0.99 / 3600, 1e-5, 1e-300} {
		m := newHeldClock().limiter()
		l := Limit{perSecond, 2}
		drain(t, m, "k", l)
		if d := mustTake(t, m, "k", l); d.RetryAfter != time.Hour {
			t.Errorf("%v per second: wait %v, want 1h", perSecond, d.RetryAfter)
		}
	}
}

func TestL2_RefusalsCostNothing(t *testing.T) {
	c := newHeldClock()
	m := c.limiter()
	l := Limit{1, 1}
	drain(t, m, "k", l)
	for range 10_000 {
		c.move(99 * time.Microsecond)
		if mustTake(t, m, "k", l).Allowed {
			t.Fatal("allowed within the second")
		}
	}
	c.move(10 * time.Millisecond)
	if !mustTake(t, m, "k", l).Allowed {
		t.Error("refused after a second of refusals")
	}
}

func TestL2_RemainingAndResetAreTrue(t *testing.T) {
	for _, perSecond := range oddRates() {
		c := newHeldClock()
		m := c.limiter()
		l := Limit{perSecond, 7}
		drain(t, m, "k", l)
		// As exactly 3 tokens as floats allow, some just below.
		c.move(time.Duration(math.Ceil(3 / perSecond * 1e9)))
		d := mustTake(t, m, "k", l)
		if n := drain(t, m, "k", l); n != d.Remaining {
			t.Fatalf("%+v: %d more allowed, Remaining was %d", l, n, d.Remaining)
		}
		d = mustTake(t, m, "k", l)
		c.move(d.Reset.Sub(c.Now()))
		if n := drain(t, m, "k", l); n != l.Burst {
			t.Fatalf("%+v: %d allowed at Reset", l, n)
		}
	}
}

func TestL2_ChangedLimitHoldsAtOnce(t *testing.T) {
	c := newHeldClock()
	m := c.limiter()
	if n := drain(t, m, "k", Limit{1, 5}); n != 5 {
		t.Fatalf("%d allowed of 5", n)
	}
	if n := drain(t, m, "k", Limit{1, 50}); n != 0 {
		t.Errorf("a greater burst gave %d at once", n)
	}
	c.move(20 * time.Second)
	if n := drain(t, m, "k", Limit{1, 50}); n != 20 {
		t.Errorf("%d allowed 20 s after the burst became 50", n)
	}
	c.move(time.Minute)
	if n := drain(t, m, "k", Limit{0.5, 3}); n != 3 {
		t.Errorf("%d allowed after the burst became 3", n)
	}
	c.move(4 * time.Second)
	if n := drain(t, m, "k", Limit{0.5, 3}); n != 2 {
		t.Errorf("%d allowed in 4 s at one every 2 s", n)
	}
}

func TestL3_MillionRandomIDsStayBelow32MiB(t *testing.T) {
	m := newHeldClock().limiter()
	before := heapInUse()
	anonIDs(t, m, 1_000_000, Limit{1.0 / 6, 10}, func(i int) netip.Prefix {
		if i%2 == 0 {
			return attacker
		}
		return eachAddress(i)
	})
	grown := heapInUse() - before
	runtime.KeepAlive(m)
	t.Logf("%.1f MiB", float64(grown)/(1<<20))
	if grown > 32<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

func TestL3_FloodNeverRefillsAnEmptyBucket(t *testing.T) {
	l := Limit{1.0 / 3600, 20}
	tests := []struct {
		name, victim string
		flood        func(m *MemoryLimiter)
	}{
		{"anonymous", anonKey(bystand, "user", "victim"), func(m *MemoryLimiter) {
			anonIDs(t, m, 200_000, l, eachAddress)
		}},
		{"authenticated", clientKey("client", "victim"), func(m *MemoryLimiter) {
			for i := range 100_000 {
				mustTake(t, m, clientKey("client", strconv.Itoa(i)), l)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newHeldClock()
			m := c.limiter()
			m.MaxKeys = 1 << 15
			drain(t, m, test.victim, l)
			test.flood(m)
			c.move(time.Second)
			test.flood(m)
			if d := mustTake(t, m, test.victim, l); d.Allowed {
				t.Errorf("the flood refilled the bucket: %+v", d)
			}
		})
	}
}

func TestL3_OwnerOfABucketIsNeverPushedToTheShared(t *testing.T) {
	m := newHeldClock().limiter()
	l := Limit{1.0 / 3600, 20}
	victim := anonKey(attacker, "user", "victim")
	mustTake(t, m, victim, l)
	anonIDs(t, m, 250_000, l, oneAddress)
	if n := drain(t, m, victim, l); n != 19 {
		t.Errorf("%d more of 20 allowed after a flood from the same address, want 19", n)
	}
}

// fillAnon leaves no anonymous bucket that could be evicted.
func fillAnon(t *testing.T, m *MemoryLimiter, l Limit) {
	t.Helper()
	anonIDs(t, m, 2*anonBuckets, l, eachAddress)
	for i := range m.anon.shards {
		if s := &m.anon.shards[i]; s.used != s.max {
			t.Fatalf("shard %d holds %d of %d", i, s.used, s.max)
		}
	}
}

func TestL3_NewcomersShareByAddressPrefixAlone(t *testing.T) {
	m := newHeldClock().limiter()
	l := Limit{1.0 / 3600, 50}
	fillAnon(t, m, l)
	for i := range 50 {
		mustTake(t, m, anonKey(attacker, "secret", strconv.Itoa(i)), l)
	}
	if d := mustTake(t, m, anonKey(attacker, "user", "another"), l); d.Allowed {
		t.Errorf("the 51st id of one address: %+v", d)
	}
	if n := sharedBuckets(m.anon); n < 4000 {
		t.Errorf("newcomers of 131,072 addresses and more shared %d buckets, want about 4,096", n)
	}
}

func sharedBuckets(table *bucketTable) (n int) {
	for i := range table.stripes {
		for j := range table.stripes[i].buckets {
			if table.stripes[i].buckets[j].Burst() > 0 {
				n++
			}
		}
	}
	return n
}

func TestL3_OnlyFullBucketsMakeRoom(t *testing.T) {
	c := newHeldClock()
	m := c.limiter()
	m.MaxKeys = 3
	l := Limit{1, 2}
	for _, key := range []string{"k|a", "k|b", "k|c"} {
		drain(t, m, key, l)
	}
	c.move(time.Second)
	mustTake(t, m, "k|a", l)
	mustTake(t, m, "k|b", l)
	c.move(time.Second)
	if d := mustTake(t, m, "k|d", l); !d.Allowed || d.Remaining != 1 {
		t.Errorf("a newcomer with one full bucket to take: %+v", d)
	}
	if m.known.shards[0].used != 3 || sharedBuckets(m.known) != 0 {
		t.Errorf("%d slots and %d shared buckets in use", m.known.shards[0].used, sharedBuckets(m.known))
	}
	if n := drain(t, m, "k|a", l); n != 1 {
		t.Errorf("%d allowed to a, want the 1 it regained", n)
	}
	if n := drain(t, m, "k|e", l); n != 2 || sharedBuckets(m.known) != 1 {
		t.Errorf("%d allowed to a newcomer without room, %d shared buckets", n, sharedBuckets(m.known))
	}
}

func TestL3_MaxKeysBoundsTheAuthenticatedTable(t *testing.T) {
	for _, test := range []struct{ maxKeys, keys, want int }{
		{1, 1000, 1},
		{1000, 5000, 1000},
		{1 << 14, 1 << 17, 1 << 14},
		{0, 1000, 1000},
		{-1, 1000, 1000},
	} {
		c := newHeldClock()
		m := c.limiter()
		m.MaxKeys = test.maxKeys
		for i := range test.keys {
			c.move(time.Second)
			mustTake(t, m, clientKey("client", strconv.Itoa(i)), Limit{10, 5})
		}
		used := 0
		for i := range m.known.shards {
			used += m.known.shards[i].used
		}
		if used != test.want {
			t.Errorf("MaxKeys %d: %d slots after %d keys, want %d", test.maxKeys, used, test.keys, test.want)
		}
	}
}

func TestL3_NoAllocationPerDecision(t *testing.T) {
	c := newHeldClock()
	m := c.limiter()
	m.MaxKeys = 1 << 10
	l := Limit{1000, 2}
	keys := make([]string, 1<<12)
	for i := range keys {
		keys[i] = clientKey("client", strconv.Itoa(i))
		mustTake(t, m, keys[i], l)
	}
	i := 0
	// Every fourth key has a bucket; the others evict, share or are refused.
	if n := testing.AllocsPerRun(len(keys), func() {
		c.move(time.Microsecond)
		_, _ = m.Take(context.Background(), keys[i%len(keys)], l)
		i++
	}); n != 0 {
		t.Errorf("%v allocations per decision", n)
	}
}

// TestL4_ExpectingDisturbsNobody: it looks without a lock at what others change.
func TestL4_ExpectingDisturbsNobody(t *testing.T) {
	c := newHeldClock()
	m := c.limiter()
	m.MaxKeys = 200
	key := func(n int) string { return clientKey("client", strconv.Itoa(n)) }
	mustTake(t, m, key(0), Limit{1.0 / 3600, 100})
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for n := 0; ; n++ {
				m.expect(key(n % 1000))
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	allowed := 1
	for n := range 20_000 {
		mustTake(t, m, key(1+n%999), Limit{1e9, 1})
		c.move(time.Microsecond)
		if n%10 == 0 && mustTake(t, m, key(0), Limit{1.0 / 3600, 100}).Allowed {
			allowed++
		}
	}
	close(done)
	readers.Wait()
	if allowed != 100 {
		t.Errorf("%d allowed of one key, want its burst of 100", allowed)
	}
	if used := m.known.shards[0].used; used != 200 {
		t.Errorf("%d slots", used)
	}
}

func TestSlotIndexAgainstMap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	const slots = 700
	var index slotIndex
	var hashes [slots]uint64
	for range 200_000 {
		n := random.IntN(slots)
		if hashes[n] != 0 {
			index.remove(hashes[n], n)
			hashes[n] = 0
		} else {
			// Few distinct low halves, so that entries run together and wrap.
			hashes[n] = random.Uint64()<<32 | uint64(1+random.IntN(300))<<2
			index.add(hashes[n], n, slots)
		}
		probe := random.IntN(slots)
		if found := indexed(&index, hashes[probe], probe); found != (hashes[probe] != 0) {
			t.Fatalf("slot %d of hash %x: found %v", probe, hashes[probe], found)
		}
	}
	for n, h := range hashes {
		if indexed(&index, h, n) != (h != 0) {
			t.Fatalf("slot %d of hash %x is wrong at the end", n, h)
		}
	}
}

func indexed(index *slotIndex, h uint64, want int) bool {
	probe := index.slots(h)
	for n := probe.next(); n >= 0; n = probe.next() {
		if n == want {
			return true
		}
	}
	return false
}

func TestL4_ExactlyTheBurstInParallel(t *testing.T) {
	for _, key := range []string{clientKey("client", "a"), anonKey(attacker, "secret", "a")} {
		m := newHeldClock().limiter()
		var allowed atomic.Int64
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range 500 {
			wg.Go(func() {
				<-start
				if d, err := m.Take(context.Background(), key, Limit{10, 20}); err == nil && d.Allowed {
					allowed.Add(1)
				}
			})
		}
		close(start)
		wg.Wait()
		if n := allowed.Load(); n != 20 {
			t.Errorf("%s: %d of 500 allowed, want 20", key, n)
		}
	}
}

func TestL4_ClockSteps(t *testing.T) {
	l := Limit{1, 20}
	tests := []struct {
		name  string
		step  time.Duration
		after int // allowed at once after the step
	}{
		{"2 h back", -2 * time.Hour, 0},
		{"2 h on", 2 * time.Hour, 20},
		{"1 s back", -time.Second, 0},
		{"half a second back", -500 * time.Millisecond, 0},
		{"none", 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newHeldClock()
			m := c.limiter()
			drain(t, m, "k", l)
			c.move(test.step)
			if n := drain(t, m, "k", l); n != test.after {
				t.Errorf("%d allowed after the step, want %d", n, test.after)
			}
			wait := mustTake(t, m, "k", l).RetryAfter
			c.move(wait)
			if !mustTake(t, m, "k", l).Allowed {
				t.Errorf("refused after the advertised wait of %v", wait)
			}
			c.move(-test.step)
			drain(t, m, "k", l)
			c.move(21 * time.Second)
			if n := drain(t, m, "k", l); n != 20 {
				t.Errorf("%d allowed one refill after the step back, want 20", n)
			}
		})
	}
}

func TestL4_ManySmallStepsBackAreOneStep(t *testing.T) {
	c := newHeldClock()
	m := c.limiter()
	l := Limit{1, 1}
	drain(t, m, "k", l)
	for range 100 {
		c.move(-900 * time.Millisecond)
		drain(t, m, "k", l)
	}
	wait := mustTake(t, m, "k", l).RetryAfter
	if wait > 2*time.Second {
		t.Errorf("wait %v", wait)
	}
	c.move(wait)
	if !mustTake(t, m, "k", l).Allowed {
		t.Errorf("refused after the advertised wait of %v", wait)
	}
}

// A plainBucket counts in 64ths of a token, and its rates and times are such
// that neither it nor floats ever round.
type plainBucket struct {
	tokens, burst, per64th int64 // tokens and burst in 64ths
}

func (b *plainBucket) pass(d time.Duration) {
	b.tokens = min(b.burst, b.tokens+int64(d/plainTick)*b.per64th)
}

func (b *plainBucket) take() bool {
	if b.tokens < 64 {
		return false
	}
	b.tokens -= 64
	return true
}

const plainTick = time.Second / 64

func TestL4_AgainstAPlainBucketUnderRandomClockMoves(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 7))
		c := newHeldClock()
		m := c.limiter()
		m.MaxKeys = 16 // one shard: one clock
		mustTake(t, m, "k|first", Limit{1, 1})
		var model [8]plainBucket
		seen := c.Now()
		for step := range 2000 {
			c.move(randomMove(random))
			if d := c.Now().Sub(seen); d >= 0 || d <= -time.Second {
				seen = c.Now()
				for i := range model {
					model[i].pass(max(0, d))
				}
			}
			i := random.IntN(len(model))
			l := randomLimit(random, &model[i])
			want := model[i].take()
			d := mustTake(t, m, fmt.Sprint("k|", i), l)
			if d.Allowed != want || d.Remaining != int(model[i].tokens/64) {
				t.Fatalf("seed %d step %d: %+v, plain bucket: %v, %+v", seed, step, d, want, model[i])
			}
		}
	}
}

func randomMove(random *rand.Rand) time.Duration {
	switch random.IntN(12) {
	case 0:
		return 2 * time.Hour
	case 1:
		return -2 * time.Hour
	case 2:
		return -time.Duration(random.IntN(130)) * plainTick
	case 3, 4, 5, 6:
		return time.Duration(random.IntN(64)) * plainTick
	default:
		return 0
	}
}

// randomLimit returns the limit of the bucket, a new one now and then.
func randomLimit(random *rand.Rand, b *plainBucket) Limit {
	fresh := b.burst == 0
	if fresh || random.IntN(50) == 0 {
		b.per64th = 1 << random.IntN(4)
		b.burst = int64(64 * (1 + random.IntN(20)))
		b.tokens = min(b.tokens, b.burst)
	}
	if fresh {
		b.tokens = b.burst
	}
	return Limit{float64(b.per64th), int(b.burst / 64)}
}

func TestLimiterClockThatPanics(t *testing.T) {
	bad := true
	m := &MemoryLimiter{Now: func() time.Time {
		if bad {
			panic("no time")
		}
		return time.Unix(1, 0)
	}}
	func() {
		defer func() { _ = recover() }()
		_, _ = m.Take(context.Background(), "k", Limit{1, 1})
	}()
	bad = false
	if !mustTake(t, m, "k", Limit{1, 1}).Allowed {
		t.Error("refused")
	}
}

func BenchmarkMemoryLimiter(b *testing.B) {
	for _, n := range []int{1, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			keys := make([]string, n)
			for i := range keys {
				keys[i] = clientKey("client", strconv.Itoa(i))
			}
			l := Limit{10, 20}
			m := new(MemoryLimiter)
			before := heapInUse()
			for _, key := range keys {
				mustTake(b, m, key, l)
			}
			perKey := float64(heapInUse()-before) / float64(n)
			var seed atomic.Uint64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				random := rand.New(rand.NewPCG(seed.Add(1), 0))
				ctx := context.Background()
				for pb.Next() {
					if _, err := m.Take(ctx, keys[random.IntN(n)], l); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(perKey, "B/key")
			runtime.KeepAlive(m)
		})
	}
}
