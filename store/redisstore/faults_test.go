package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/internal/testservers"
	"github.com/tokenbooth/tokenbooth/store"
	"github.com/tokenbooth/tokenbooth/store/redisstore"
)

// A line is a connection whose next reply can be lost after the server sent it.
type line struct {
	net.Conn
	lose *atomic.Bool
}

func (l line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if err == nil && l.lose.CompareAndSwap(true, false) {
		_ = l.Close()
		return 0, io.EOF
	}
	return n, err
}

// loseReplies makes connections lines, and returns what loses the next reply.
func loseReplies(o *redis.UniversalOptions) *atomic.Bool {
	lose := new(atomic.Bool)
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return line{conn, lose}, err
	}
	return lose
}

// scriptsRun returns how many scripts the server has run.
func scriptsRun(t *testing.T, c redis.UniversalClient) (n int) {
	t.Helper()
	info, err := c.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		rest, ok := strings.CutPrefix(line, "cmdstat_eval")
		if _, calls, found := strings.Cut(rest, "calls="); ok && found {
			calls, _, _ = strings.Cut(calls, ",")
			i, err := strconv.Atoi(calls)
			if err != nil {
				t.Fatal(err)
			}
			n += i
		}
	}
	return n
}

func TestS2_NothingIsSentTwice(t *testing.T) {
	eachMode(t, func(t *testing.T, o *redis.UniversalOptions) {
		c, key := bare(t, o), unique(t)
		lossy := *o
		lose := loseReplies(&lossy)
		s := open(t, &lossy)
		later := time.Now().Add(time.Hour)
		one, two := []byte("1"), []byte("2")
		for _, op := range []struct {
			name string
			do   func(key string) (bool, error)
			want string
		}{
			{"create", func(key string) (bool, error) { return s.Create(t.Context(), key, one, later) }, "1"},
			{"swap", func(key string) (bool, error) { return s.Swap(t.Context(), key, one, two, later) }, "2"},
			{"delete", func(key string) (bool, error) { return s.Delete(t.Context(), key) }, ""},
		} {
			_, _ = op.do("warm" + unique(t)) // so that the server knows the script
			before := scriptsRun(t, c)
			lose.Store(true)
			if _, err := op.do(key); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: %v when the reply is lost", op.name, err)
			}
			if n := scriptsRun(t, c) - before; n != 1 {
				t.Errorf("%s: run %d times", op.name, n)
			}
			if val, _, err := s.Get(t.Context(), key); string(val) != op.want || err != nil {
				t.Errorf("%s: then there is %q, %v; want %q", op.name, val, err, op.want)
			}
		}
	})
}

func TestS2_CallsEndAndRecover(t *testing.T) {
	server := private(t)
	s := open(t, at(server.Addr()))
	key, later := unique(t), time.Now().Add(time.Hour)
	if ok, err := s.Create(t.Context(), key, []byte("v"), later); !ok || err != nil {
		t.Fatal(ok, err)
	}
	calls := map[string]func(ctx context.Context) error{
		"Get":     func(ctx context.Context) error { _, _, err := s.Get(ctx, key); return err },
		"GetMany": func(ctx context.Context) error { _, err := s.GetMany(ctx, []string{key}); return err },
		"Create":  func(ctx context.Context) error { _, err := s.Create(ctx, key, []byte("v"), later); return err },
		"Swap": func(ctx context.Context) error {
			_, err := s.Swap(ctx, key, []byte("v"), []byte("v"), later)
			return err
		},
		"Delete": func(ctx context.Context) error { _, err := s.Delete(ctx, key+"none"); return err },
	}
	outages := map[string]struct{ begin, end func() error }{
		"paused": {server.Pause, server.Resume},
		"killed": {server.Kill, server.Start},
	}
	for kind, outage := range outages {
		t.Run(kind, func(t *testing.T) {
			if err := outage.begin(); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			var bounded atomic.Int64
			for name, call := range calls {
				wg.Go(func() {
					// With no deadline the call ends by its own, a second later.
					if err := call(context.Background()); !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("%s: %v", name, err)
					}
					if n := bounded.Load(); kind == "paused" && n != int64(len(calls)) {
						t.Errorf("%s: %d calls ended with their contexts", name, n)
					}
				})
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
					defer cancel()
					err := call(ctx)
					bounded.Add(1)
					if !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("%s: %v", name, err)
					}
					if kind == "paused" && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s: %v hides the error of the context", name, err)
					}
				})
			}
			wg.Wait()
			if err := outage.end(); err != nil {
				t.Fatal(err)
			}
			eventually(t, 2*time.Second, "recovery", func(ctx context.Context) bool { return calls["Swap"](ctx) == nil })
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls {
		if err := call(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v of a context that is cancelled", name, err)
		}
	}
}

// Reports keeps what OnOutage was told.
type reports struct {
	mu   sync.Mutex
	errs []error
}

func (r *reports) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

func (r *reports) all() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]error(nil), r.errs...)
}

func TestL6_Policies(t *testing.T) {
	server := private(t)
	s := open(t, at(server.Addr()))
	outages := map[string]struct{ begin, end func() error }{
		"paused": {server.Pause, server.Resume},
		"killed": {server.Kill, server.Start},
	}
	limit := slow(20)
	allowed := func(t *testing.T, l *redisstore.Limiter, key string) (n int) {
		for range 100 {
			if mustTake(t, l, key, limit).Allowed {
				n++
			}
		}
		return n
	}
	for kind, outage := range outages {
		t.Run(kind, func(t *testing.T) {
			var told [3]reports
			limiter := func(o redisstore.Outage) *redisstore.Limiter {
				return s.Limiter(redisstore.LimiterConfig{Prefix: kind, Outage: o, Copies: 4, OnOutage: told[o].add}).Patient()
			}
			local, failOpen, failClosed := limiter(redisstore.LocalShare), limiter(redisstore.FailOpen), limiter(redisstore.FailClosed)
			if n := allowed(t, local, "before"); n != 20 {
				t.Fatalf("%d allowed of 20 before", n)
			}
			if err := outage.begin(); err != nil {
				t.Fatal(err)
			}
			for _, l := range []*redisstore.Limiter{local, failOpen, failClosed} {
				l.Impatient()
			}
			// Only the Limiter's own deadline can end these: t has none.
			for i, key := range []string{"before", "client|new", "anon|1.2.3.4/32|token|x"} {
				if n := allowed(t, local, key); n != 5 {
					t.Errorf("LocalShare: %d allowed of key %d, want a quarter of 20", n, i)
				}
			}
			if n := allowed(t, failOpen, "before"); n != 100 {
				t.Errorf("FailOpen: %d allowed of 100", n)
			}
			for range 100 {
				if d, err := failClosed.Take(t.Context(), "before", limit); d.Allowed || !errors.Is(err, store.ErrUnavailable) {
					t.Fatalf("FailClosed: %+v, %v", d, err)
				}
			}
			if err := outage.end(); err != nil {
				t.Fatal(err)
			}
			for o, l := range map[redisstore.Outage]*redisstore.Limiter{
				redisstore.LocalShare: local, redisstore.FailOpen: failOpen, redisstore.FailClosed: failClosed,
			} {
				eventually(t, 2*time.Second, fmt.Sprintf("recovery of %d", o), func(ctx context.Context) bool {
					d, err := l.Take(ctx, "after", slow(1000))
					return err == nil && d.Limit == 1000
				})
				errs := told[o].all()
				if len(errs) < 2 || errs[0] == nil || errs[len(errs)-1] != nil {
					t.Errorf("OnOutage of %d was told %v", o, errs)
				}
				if kind == "paused" && !errors.Is(errs[0], context.DeadlineExceeded) {
					t.Errorf("OnOutage of %d was told %v, want the deadline of the Limiter", o, errs[0])
				}
			}
		})
	}
}

func TestL6_PoolIsExhausted(t *testing.T) {
	server := private(t)
	o := at(server.Addr())
	o.PoolSize, o.MaxActiveConns = 1, 1
	s := open(t, o)
	var told reports
	l := s.Limiter(redisstore.LimiterConfig{OnOutage: told.add})
	mustTake(t, l, "k", slow(10))
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { _, _, _ = s.Get(t.Context(), "k") })
		wg.Go(func() {
			if d := mustTake(t, l, "k", slow(10)); d.Limit != 5 {
				t.Errorf("%+v, want that of a share", d)
			}
		})
	}
	wg.Wait()
	if errs := told.all(); len(errs) == 0 || !errors.Is(errs[0], store.ErrUnavailable) {
		t.Errorf("OnOutage was told %v", errs)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
}

// A slowStart is a connection whose first reply takes longer than a request waits,
// as with TLS and AUTH from afar.
type slowStart struct {
	net.Conn
	begun *sync.Once
}

func (c slowStart) Read(p []byte) (int, error) {
	c.begun.Do(func() { time.Sleep(150 * time.Millisecond) })
	return c.Conn.Read(p)
}

func TestL6_OutageEndsWhereConnectionsBeginSlowly(t *testing.T) {
	eachMode(t, func(t *testing.T, o *redis.UniversalOptions) {
		slowly := *o
		slowly.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return slowStart{conn, new(sync.Once)}, err
		}
		var told reports
		s := open(t, &slowly, redisstore.AcceptEviction()) // no connection yet
		l := s.Limiter(redisstore.LimiterConfig{Prefix: unique(t), OnOutage: told.add})
		if d := mustTake(t, l, "k", slow(1000)); d.Limit != 500 {
			t.Fatalf("%+v before there is a connection, want that of a share", d)
		}
		eventually(t, 5*time.Second, "the end of the outage", func(ctx context.Context) bool {
			d, err := l.Take(ctx, "k", slow(1000))
			return err == nil && d.Limit == 1000
		})
		if errs := told.all(); len(errs) < 2 || errs[0] == nil || errs[1] != nil {
			t.Errorf("OnOutage was told %v", errs)
		}
	})
}

// A probe is charged to nobody.
func TestL6_ProbesLeaveNothing(t *testing.T) {
	server := private(t)
	o := at(server.Addr())
	l := open(t, o).Limiter(redisstore.LimiterConfig{}).Patient()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		mustTake(t, l, "k", slow(10))
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	c := bare(t, o)
	eventually(t, 10*time.Second, "the end of the outage", func(context.Context) bool {
		return mustTake(t, l, "another", slow(1000)).Limit == 1000
	})
	if d := mustTake(t, l, "k", slow(10)); d.Remaining != 9 {
		t.Errorf("%+v, want a bucket that nobody has used", d)
	}
	eventually(t, 5*time.Second, "two keys", func(ctx context.Context) bool { return c.DBSize(ctx).Val() == 2 })
}

// No goroutine that nothing ends: a probe ends when the Store is closed.
func TestH4_CloseEndsAProbe(t *testing.T) {
	server := private(t)
	s := open(t, at(server.Addr()))
	l := s.Limiter(redisstore.LimiterConfig{}).Patient()
	mustTake(t, l, "k", slow(10))
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	probed := make(chan error, 1)
	go func() { probed <- l.TryOut("k", time.Minute) }()
	eventually(t, 5*time.Second, "a probe that waits", func(context.Context) bool { return s.Busy() })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-probed:
		if err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("goes on after Close")
	}
}

func TestL6_AnyErrorOfRedisIsAnOutage(t *testing.T) {
	o := universal(t, testservers.Redis(t))
	var told reports
	l := open(t, o).Limiter(redisstore.LimiterConfig{Prefix: unique(t), OnOutage: told.add}).Patient()
	if err := bare(t, o).LPush(t.Context(), l.Key("k"), "a list").Err(); err != nil {
		t.Fatal(err)
	}
	if d := mustTake(t, l, "k", slow(10)); !d.Allowed || d.Limit != 5 {
		t.Errorf("%+v, want that of a share", d)
	}
	if errs := told.all(); len(errs) != 1 || errors.Is(errs[0], store.ErrUnavailable) || !strings.Contains(errs[0].Error(), "WRONGTYPE") {
		t.Errorf("OnOutage was told %v", errs)
	}
}

func TestL6_WhoGoesAwayBeginsNoOutage(t *testing.T) {
	var told reports
	l := open(t, universal(t, testservers.Redis(t))).Limiter(redisstore.LimiterConfig{Prefix: unique(t), OnOutage: told.add}).Patient()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Take(ctx, "k", slow(10)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if d := mustTake(t, l, "k", slow(10)); d.Limit != 10 || len(told.all()) != 0 {
		t.Errorf("%+v, OnOutage was told %v", d, told.all())
	}
}

// A chain is one key whose value is replaced by the next number, again and again.
type chain struct {
	s                     *redisstore.Store
	key                   string
	tried, acked          int // numbers; 0 is none
	failures, lost, swaps int
}

// step makes the next number, finding out after an error which one is there.
func (c *chain) step(ctx context.Context) error {
	old, next := c.acked, c.tried+1
	c.tried = next
	ok, err := c.swap(ctx, old, next)
	if ok {
		c.acked = next
		c.swaps++
		return nil
	}
	if err != nil {
		c.failures++
		if !errors.Is(err, store.ErrUnavailable) {
			return err
		}
	}
	for ctx.Err() == nil {
		there, err := c.read(ctx)
		if errors.Is(err, store.ErrUnavailable) {
			continue
		}
		if err != nil || there > c.tried {
			return fmt.Errorf("number %d of %d, %w", there, c.tried, err)
		}
		c.lost += max(0, c.acked-there)
		c.acked = there
		return nil
	}
	return ctx.Err()
}

func (c *chain) swap(ctx context.Context, old, next int) (bool, error) {
	later := time.Now().Add(time.Hour)
	if old == 0 {
		return c.s.Create(ctx, c.key, []byte(strconv.Itoa(next)), later)
	}
	return c.s.Swap(ctx, c.key, []byte(strconv.Itoa(old)), []byte(strconv.Itoa(next)), later)
}

func (c *chain) read(ctx context.Context) (int, error) {
	val, ok, err := c.s.Get(ctx, c.key)
	if !ok {
		return 0, err
	}
	return strconv.Atoi(string(val))
}

// TestS4_FaultsUnderTraffic kills and stops the server while chains grow and a
// limiter decides. What a killed server may lose, it loses whole: nothing is
// there that nobody wrote.
func TestS4_FaultsUnderTraffic(t *testing.T) {
	server := private(t)
	s := open(t, at(server.Addr()))
	l := s.Limiter(redisstore.LimiterConfig{Outage: redisstore.FailClosed})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	chains := make([]*chain, 4)
	var steps, decisions, allowed, refusals atomic.Int64
	for i := range chains {
		c := &chain{s: s, key: unique(t)}
		chains[i] = c
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := c.step(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				steps.Add(1)
			}
		})
	}
	limit := tokenbooth.Limit{PerSecond: 100, Burst: 50}
	begun := time.Now()
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				d, err := l.Take(ctx, "k", limit)
				switch {
				case err == nil && d.Allowed:
					allowed.Add(1)
				case err == nil:
				case !errors.Is(err, store.ErrUnavailable) && ctx.Err() == nil:
					t.Error(err)
				default:
					refusals.Add(1)
				}
				decisions.Add(1)
			}
		})
	}
	progress := func(what string) {
		t.Helper()
		s, d := steps.Load(), decisions.Load()-refusals.Load()
		eventually(t, 2*time.Second, what, func(context.Context) bool {
			return steps.Load() >= s+20 && decisions.Load()-refusals.Load() >= d+20
		})
	}
	progress("traffic")
	faults := []struct{ begin, end func() error }{
		{server.Kill, server.Start}, {server.Pause, server.Resume}, {server.Kill, server.Start}, {server.Pause, server.Resume},
	}
	for _, fault := range faults {
		if err := fault.begin(); err != nil {
			t.Fatal(err)
		}
		refused := refusals.Load()
		eventually(t, 5*time.Second, "requests during the fault", func(context.Context) bool { return refusals.Load() > refused+10 })
		if err := fault.end(); err != nil {
			t.Fatal(err)
		}
		progress("recovery")
	}
	stop()
	wg.Wait()
	for _, c := range chains {
		t.Logf("%d swaps, %d failures, %d acknowledged and lost", c.swaps, c.failures, c.lost)
		if c.failures == 0 {
			t.Error("no call was in flight at a fault")
		}
	}
	// A kill may undo what was taken, at most all of it.
	most := float64(limit.Burst*3) + time.Since(begun).Seconds()*limit.PerSecond
	if n := allowed.Load(); float64(n) > most {
		t.Errorf("%d allowed, at most %v", n, most)
	}
}
