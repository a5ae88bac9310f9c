package storetest

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth"
)

// TestLimiter checks all that [tokenbooth.Limiter] promises. The limiter's clock
// is that of this machine, within a second, and there is room in it for a few
// hundred keys. [TestLimiterOutage] checks what happens when the limiter's server is
// gone.
func TestLimiter(t *testing.T, open func(t *testing.T) tokenbooth.Limiter) {
	l := open(t)
	for _, part := range []struct {
		name string
		run  func(t *testing.T, l tokenbooth.Limiter)
	}{
		{"Burst", testBurst},
		{"ParallelBurst", testParallelBurst},
		{"Refused", testRefused},
		{"Wait", testWait},
		{"Rate", testRate},
		{"LimiterKeys", testLimiterKeys},
		{"ChangedLimit", testChangedLimit},
		{"InvalidLimit", testInvalidLimit},
		{"ExtremeLimit", testExtremeLimit},
		{"LimiterContext", testLimiterContext},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, l) })
	}
}

// never is a rate that regains nothing while a test runs.
const never = 1e-6

// client returns a key of the form that known clients have.
func client() string { return "client|" + draw("") }

func take(t *testing.T, l tokenbooth.Limiter, key string, limit tokenbooth.Limit) tokenbooth.Decision {
	t.Helper()
	d, err := l.Take(t.Context(), key, limit)
	if err != nil {
		t.Fatalf("Take %s of %+v: %v", short(key), limit, err)
	}
	sane(t, limit, d)
	return d
}

// sane checks what is true of every decision.
func sane(t *testing.T, limit tokenbooth.Limit, d tokenbooth.Decision) {
	t.Helper()
	wait := d.RetryAfter
	switch {
	case d.Limit != limit.Burst:
		t.Errorf("%+v: Limit is %d, want the Burst", limit, d.Limit)
	case d.Remaining < 0 || d.Remaining > limit.Burst:
		t.Errorf("%+v: Remaining is %d", limit, d.Remaining)
	case d.Allowed && wait != 0:
		t.Errorf("%+v: allowed, with RetryAfter %v; want 0", limit, wait)
	case !d.Allowed && (wait < time.Second || wait > time.Hour || wait%time.Second != 0):
		t.Errorf("%+v: RetryAfter is %v; want whole seconds from 1 s to 1 h", limit, wait)
	case !d.Allowed && d.Remaining != 0:
		t.Errorf("%+v: refused with %d Remaining", limit, d.Remaining)
	case d.Reset.Before(time.Now().Add(-time.Second)):
		t.Errorf("%+v: Reset is %v, which is over; want when the bucket is full again", limit, d.Reset)
	}
}

// about compares moments of two clocks.
func about(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if (got - want).Abs() > 2*time.Second {
		t.Errorf("%s is %v, want about %v", what, got, want)
	}
}

func testBurst(t *testing.T, l tokenbooth.Limiter) {
	const burst, each = 5, 1000 * time.Second
	limit, key := tokenbooth.Limit{PerSecond: 1 / each.Seconds(), Burst: burst}, client()
	for n := 1; n <= burst; n++ {
		d := take(t, l, key, limit)
		if !d.Allowed || d.Remaining != burst-n {
			t.Errorf("request %d of a burst of %d: allowed %v, Remaining %d; want true, %d", n, burst, d.Allowed, d.Remaining, burst-n)
		}
		about(t, "Reset", time.Until(d.Reset), time.Duration(n)*each)
	}
	for range 3 {
		d := take(t, l, key, limit)
		if d.Allowed {
			t.Errorf("allowed more than the burst of %d", burst)
		}
		about(t, "RetryAfter of an empty bucket", d.RetryAfter, each)
		about(t, "Reset of an empty bucket", time.Until(d.Reset), burst*each)
	}
}

func testParallelBurst(t *testing.T, l tokenbooth.Limiter) {
	for _, key := range []string{client(), "anon|192.0.2.1/32|secret|" + draw("")} {
		limit := tokenbooth.Limit{PerSecond: never, Burst: 20}
		n := 0
		for range 4 {
			n += atOnce(t, func(int) (bool, error) {
				d, err := l.Take(t.Context(), key, limit)
				return d.Allowed, err
			})
		}
		if n != limit.Burst {
			t.Errorf("%s: of %d requests at once %d were allowed, want the burst of %d", short(key), 4*parallel, n, limit.Burst)
		}
	}
}

func testRefused(t *testing.T, l tokenbooth.Limiter) {
	for _, tt := range []struct {
		perSecond float64
		wait      time.Duration
	}{
		{0.5, 2 * time.Second},
		{0.01, 100 * time.Second},
		{1.0 / 3000, 3000 * time.Second},
		{1.0 / 7200, time.Hour},
		{never, time.Hour},
		{1e-300, time.Hour},
	} {
		key, limit := client(), tokenbooth.Limit{PerSecond: tt.perSecond, Burst: 1}
		if !take(t, l, key, limit).Allowed {
			t.Errorf("%+v: the first request is refused", limit)
		}
		d := take(t, l, key, limit)
		if d.Allowed {
			t.Errorf("%+v: the second request at once is allowed", limit)
		}
		about(t, "RetryAfter", d.RetryAfter, tt.wait)
	}
}

// testWait asks all the time: who is refused pays nothing, and is allowed when the
// wait that was told is over.
func testWait(t *testing.T, l tokenbooth.Limiter) {
	key, limit := client(), tokenbooth.Limit{PerSecond: 1, Burst: 1}
	take(t, l, key, limit)
	told := take(t, l, key, limit)
	if told.Allowed {
		t.Fatal("the second request at once is allowed")
	}
	over := time.Now().Add(told.RetryAfter)
	for refused := 0; ; refused++ {
		begun := time.Now()
		if take(t, l, key, limit).Allowed {
			return
		}
		if begun.After(over) {
			t.Fatalf("refused after the wait of %v that was told; %d requests were refused meanwhile, which cost nothing", told.RetryAfter, refused)
		}
		time.Sleep(time.Millisecond)
	}
}

func testRate(t *testing.T, l tokenbooth.Limiter) {
	key, limit := client(), tokenbooth.Limit{PerSecond: 20, Burst: 10}
	begun := time.Now()
	allowed := 0
	for elapsed := time.Duration(0); elapsed < time.Second; {
		if take(t, l, key, limit).Allowed {
			allowed++
		}
		elapsed = time.Since(begun)
		if float64(allowed) > float64(limit.Burst)+limit.PerSecond*elapsed.Seconds()+0.01 {
			t.Fatalf("%+v: %d allowed in %v, more than the burst and what was regained", limit, allowed, elapsed)
		}
		time.Sleep(time.Millisecond)
	}
	// A machine that stands still for a second regains one burst.
	if allowed < 2*limit.Burst {
		t.Errorf("%+v: %d allowed in a second, want about 30", limit, allowed)
	}
}

func testLimiterKeys(t *testing.T, l tokenbooth.Limiter) {
	limit := tokenbooth.Limit{PerSecond: never, Burst: 1}
	run := draw("")
	keys := []string{"anon|192.0.2.1/32|user|" + run, "anon|192.0.2.2/32|user|" + run, "anon|2001:db8::/64|user|" + run, "anon||user|" + run, "user|" + run}
	for _, o := range oddities() {
		keys = append(keys, run+"|"+o)
	}
	for _, key := range keys {
		if !take(t, l, key, limit).Allowed {
			t.Errorf("the first request under %s is refused: another key was taken for it", short(key))
		}
	}
	for _, key := range keys {
		if take(t, l, key, limit).Allowed {
			t.Errorf("the second request under %s is allowed", short(key))
		}
	}
}

// testChangedLimit: an administrator's change does not wait for the bucket.
func testChangedLimit(t *testing.T, l tokenbooth.Limiter) {
	slow := tokenbooth.Limit{PerSecond: never, Burst: 5}
	drain := func(key string, limit tokenbooth.Limit) (n int) {
		for n <= 1000 && take(t, l, key, limit).Allowed {
			n++
		}
		return n
	}
	key := client()
	take(t, l, key, tokenbooth.Limit{PerSecond: never, Burst: 50})
	if n := drain(key, slow); n > slow.Burst {
		t.Errorf("%d allowed after the burst was lowered from 50 to %d", n, slow.Burst)
	}
	if n := drain(key, tokenbooth.Limit{PerSecond: never, Burst: 10}); n > 10 {
		t.Errorf("%d allowed after the burst became 10", n)
	}
	key = client()
	drain(key, slow)
	fast := tokenbooth.Limit{PerSecond: 100, Burst: 5}
	for begun := time.Now(); !take(t, l, key, fast).Allowed; time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Second {
			t.Fatalf("refused for a second after the rate was raised from %v to %v a second", slow.PerSecond, fast.PerSecond)
		}
	}
	drain(key, slow)
	if take(t, l, key, slow).Allowed {
		t.Error("allowed after the rate was lowered and the bucket emptied")
	}
}

func testInvalidLimit(t *testing.T, l tokenbooth.Limiter) {
	for _, limit := range []tokenbooth.Limit{
		{},
		{PerSecond: 1},
		{Burst: 1},
		{PerSecond: -1, Burst: 1},
		{PerSecond: 1, Burst: -1},
		{PerSecond: math.NaN(), Burst: 1},
		{PerSecond: math.Inf(1), Burst: 1},
		{PerSecond: math.Inf(-1), Burst: 1},
	} {
		if d, err := l.Take(t.Context(), client(), limit); err == nil || d.Allowed {
			t.Errorf("%+v: %+v, %v; want an error", limit, d, err)
		}
	}
}

// What [store.Client.Validate] lets through is decided.
func testExtremeLimit(t *testing.T, l tokenbooth.Limiter) {
	for _, perSecond := range []float64{math.SmallestNonzeroFloat64, 1e-12, 1e9, math.MaxFloat64} {
		for _, burst := range []int{1, math.MaxInt32, math.MaxInt} {
			key, limit := client(), tokenbooth.Limit{PerSecond: perSecond, Burst: burst}
			if d := take(t, l, key, limit); !d.Allowed {
				t.Errorf("%+v: the first request is refused: %+v", limit, d)
			}
			take(t, l, key, limit)
		}
	}
}

// A limiter in memory has no use for a context; any other says what it is.
func testLimiterContext(t *testing.T, l tokenbooth.Limiter) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	key, limit := client(), tokenbooth.Limit{PerSecond: never, Burst: 2}
	begun := time.Now()
	d, err := l.Take(ctx, key, limit)
	if err == nil {
		sane(t, limit, d)
	} else if d.Allowed {
		t.Errorf("with a cancelled context: allowed, and %v", err)
	}
	if elapsed := time.Since(begun); elapsed > time.Second {
		t.Errorf("with a cancelled context: an answer after %v", elapsed)
	}
	if d := take(t, l, key, limit); !d.Allowed {
		t.Errorf("after a request with a cancelled context: %+v; want one to be allowed, since it took one of two at most", d)
	}
}
