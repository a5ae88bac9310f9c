package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenbooth/tokenbooth/store"
)

// An answer is an error that the server sent.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

func TestErrors(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	late, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	live := context.Background()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	tests := []struct {
		name        string
		ctx         context.Context
		err         error
		unavailable bool
		is          error
	}{
		{"refused", live, refused, true, syscall.ECONNREFUSED},
		{"reset", live, &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, true, syscall.ECONNRESET},
		{"end of file", live, io.EOF, true, io.EOF},
		{"silence", live, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, true, os.ErrDeadlineExceeded},
		{"pool", live, redis.ErrPoolTimeout, true, redis.ErrPoolTimeout},
		{"pool exhausted", live, redis.ErrPoolExhausted, true, nil},
		{"closed", live, redis.ErrClosed, true, redis.ErrClosed},
		{"cancelled", ended, context.Canceled, true, context.Canceled},
		{"cancelled while reading", ended, io.EOF, true, context.Canceled},
		{"deadline of the context", late, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, true, context.DeadlineExceeded},
		{"LOADING", live, answer("LOADING Redis is loading the dataset in memory"), true, nil},
		{"LOADING in a handshake", live, fmt.Errorf("failed to authenticate: %w", answer("LOADING Redis is loading")), true, nil},
		{"READONLY", live, answer("READONLY You can't write against a read only replica. script: x, on @user_script:1."), true, nil},
		{"OOM", live, answer("OOM command not allowed when used memory > 'maxmemory'."), true, nil},
		{"OOM before 7", live, answer("ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM command not allowed"), true, nil},
		{"CLUSTERDOWN", live, answer("CLUSTERDOWN The cluster is down"), true, nil},
		{"MASTERDOWN", live, answer("MASTERDOWN Link with MASTER is down"), true, nil},
		{"TRYAGAIN", live, answer("TRYAGAIN Multiple keys request during rehashing of slot"), true, nil},
		{"clients", live, answer("ERR max number of clients reached"), true, nil},
		{"WRONGTYPE", live, answer("WRONGTYPE Operation against a key holding the wrong kind of value"), false, nil},
		{"NOPERM", live, answer("NOPERM this user has no permissions"), false, nil},
		{"WRONGPASS", live, fmt.Errorf("failed to authenticate: %w", answer("WRONGPASS invalid username-password pair")), false, nil},
		{"a word that begins like a code", live, answer("OOMPH"), false, nil},
		{"unknown command", live, answer("ERR unknown command 'EVALSHA', with args beginning with: 'abc' '1' 'canary'"), false, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := wrap(test.ctx, "get", test.err)
			if errors.Is(err, store.ErrUnavailable) != test.unavailable {
				t.Errorf("%v: want ErrUnavailable %v", err, test.unavailable)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v: want %v visible", err, test.is)
			}
			if strings.Contains(err.Error(), "canary") || !strings.HasPrefix(err.Error(), "redisstore: get: ") {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := wrap(ended, "get", nil); err != nil {
		t.Errorf("of no error: %v", err)
	}
}

func TestKeepsEntries(t *testing.T) {
	tests := []struct{ info, wrong string }{
		{"# Memory\r\nused_memory:1\r\nmaxmemory:0\r\nmaxmemory_human:0B\r\nmaxmemory_policy:allkeys-lru\r\n", ""},
		{"maxmemory:100\r\nmaxmemory_policy:noeviction\r\n", ""},
		{"maxmemory_policy:noeviction\n", ""},
		{"maxmemory:100\r\nmaxmemory_policy:volatile-ttl\r\n", `"volatile-ttl"`},
		{"maxmemory:100\r\n", "unknown"},
		{"used_memory:1\r\nmaxmemory_policy:allkeys-lfu\r\n", "unknown"},
		{"", "unknown"},
	}
	for _, test := range tests {
		err := keepsEntries(test.info)
		if test.wrong == "" {
			if err != nil {
				t.Errorf("%q: %v", test.info, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "maxmemory-policy: "+test.wrong) || !strings.Contains(err.Error(), "AcceptEviction()") {
			t.Errorf("%q: %v", test.info, err)
		}
	}
}

func TestUnixMilli(t *testing.T) {
	tests := []struct {
		t    time.Time
		want int64
	}{
		{time.UnixMilli(1700000000123), 1700000000123},
		{time.UnixMilli(1700000000123).Add(1), 1700000000124},
		{time.Time{}, 1},
		{time.Unix(0, 0), 1},
		{time.Unix(-1, 5), 1},
		{time.Unix(1<<62, 0), 1 << 52},
		{time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), 253402300799000},
	}
	for _, test := range tests {
		if got := unixMilli(test.t); got != test.want {
			t.Errorf("%v: got %d, want %d", test.t, got, test.want)
		}
	}
}

func TestL6_OneProbeAtATimeDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports []error
		b := breaker{report: func(err error) { reports = append(reports, err) }}
		asked := func(n int) (of *outage, probes int) {
			for range n {
				o, probe := b.ongoing()
				if of = o; probe {
					probes++
				}
			}
			return of, probes
		}
		if o, n := asked(10); n != 0 || o != nil {
			t.Fatalf("%d probes when nothing is wrong, outage %v", n, o)
		}
		cause := errors.New("cause")
		b.failed(cause)
		b.failed(errors.New("another of the same time"))
		for i := range 20 {
			if _, n := asked(1000); n != 0 {
				t.Fatalf("%d probe before it is due", n)
			}
			time.Sleep(probeEvery)
			o, n := asked(1000)
			if n != 1 || !errors.Is(o.cause, cause) {
				t.Fatalf("%d of 1000 probe, in an outage by %v", n, o.cause)
			}
			time.Sleep(time.Duration(i) * probeEvery)
			if _, n := asked(1000); n != 0 {
				t.Fatalf("%d probe beside another", n)
			}
			b.probed(o, errors.New("the probe"))
		}
		time.Sleep(probeEvery)
		first, _ := asked(1)
		b.probed(first, nil)
		if o, n := asked(10); o != nil || n != 0 {
			t.Errorf("%d probes after the outage, %v", n, o)
		}
		b.failed(cause)
		b.probed(first, nil) // of an outage that is over
		if o, _ := asked(10); o == nil {
			t.Error("a probe of another outage ended this one")
		}
		if fmt.Sprint(reports) != fmt.Sprint([]error{cause, nil, cause}) {
			t.Errorf("reported %v", reports)
		}
	})
	if probeEvery <= takeTimeout {
		t.Error("a request from before an outage may end after it")
	}
}

// TestL6_ReportsKeepNobodyWaiting has reports that take long, during which the
// breaker is used, by the report itself too.
func TestL6_ReportsKeepNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		var reports []error
		at := 0
		one, two := errors.New("one"), errors.New("two")
		b.report = func(err error) {
			if at++; at != 1 {
				t.Errorf("%d reports at a time", at)
			}
			reports = append(reports, err)
			time.Sleep(time.Minute)
			if errors.Is(err, one) {
				o, _ := b.ongoing()
				b.probed(o, nil)
				b.failed(two)
			}
			at--
		}
		begun := time.Now()
		told := make(chan struct{})
		go func() {
			defer close(told)
			b.failed(one)
		}()
		synctest.Wait()
		for range 8 {
			b.failed(two)
			if o, _ := b.ongoing(); o == nil || !errors.Is(o.cause, one) {
				t.Errorf("during the report: outage %+v", o)
			}
		}
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("others waited %v for a report", waited)
		}
		<-told
		if fmt.Sprint(reports) != fmt.Sprint([]error{one, nil, two}) {
			t.Errorf("reported %v", reports)
		}
	})
}

// TestL2_RetryAfterIsTheFewestSecondsThatHelp holds the wait against the formula of
// the script, which TestLimiterModel holds against the script itself.
func TestL2_RetryAfterIsTheFewestSecondsThatHelp(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		b := bucket{
			tokens: random.Float64() * 0.999999,
			at:     1.7e15 + float64(random.IntN(1e9)),
			rate:   math.Exp(random.Float64()*math.Log(3600*20)) / 3600,
			burst:  1 + random.IntN(30),
		}
		b.now = b.at + float64(random.IntN(int(1e6*(1-b.tokens)/b.rate)+1))
		if b.tokensAt(b.now) >= 1 {
			continue
		}
		d := b.decision()
		wait := d.RetryAfter
		if wait < time.Second || wait > time.Hour || wait%time.Second != 0 || d.Remaining != 0 || d.Allowed {
			t.Fatalf("%+v: %+v", b, d)
		}
		if have := b.tokensAt(b.now + float64(wait.Microseconds())); have < 1 {
			t.Fatalf("%+v: %v tokens after %v", b, have, wait)
		}
		if wait > time.Second && b.tokensAt(b.now+float64((wait-time.Second).Microseconds())) >= 1 {
			t.Fatalf("%+v: %v is longer than it takes", b, wait)
		}
		full := float64(d.Reset.UnixMicro() + 1)
		if have := b.tokensAt(full); have < float64(b.burst)-1e-6 {
			t.Fatalf("%+v: %v tokens at Reset", b, have)
		}
	}
}

func TestShares(t *testing.T) {
	l := Limiter{copies: 3}
	for _, test := range []struct{ burst, share int }{{1, 1}, {2, 1}, {3, 1}, {20, 6}, {math.MaxInt, math.MaxInt / 3}} {
		d, err := l.withoutRedis(context.Background(), fmt.Sprint(test.burst), limitOf(math.SmallestNonzeroFloat64, test.burst), nil)
		if err != nil || !d.Allowed || d.Limit != test.share {
			t.Errorf("burst %d: %+v, %v; want a share of %d", test.burst, d, err, test.share)
		}
	}
}

// What a sentinel answers is never taken for the answer of the master, also where
// go-redis passes it on as it is.
func TestDialErrorIsNoAnswer(t *testing.T) {
	dial := dialErrors{}.DialHook(func(context.Context, string, string) (net.Conn, error) { return nil, redis.Nil })
	if _, err := dial(t.Context(), "tcp", "sentinel"); absent(err) || !ofSentinel(err) {
		t.Errorf("got %v", err)
	}
	if !absent(redis.Nil) || ofSentinel(redis.Nil) {
		t.Error("an entry that is not there is an error")
	}
}
