package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/store"
)

// sharing is how long limiters may take until they share decisions again after
// their server is back. They may have taken a busy machine for an outage meanwhile.
const sharing = 5 * recovery

// TestLimiterOutage checks what a [tokenbooth.Limiter] whose buckets are on a
// server does while that is cut off, refuses connections, or hangs: each call
// answers while the outage goes on, by a decision of its own or by an error that is
// [store.ErrUnavailable]. A key that nothing was taken from is never refused: an
// outage is no limit. After the server's return decisions are shared again.
//
// upstream is the host and port of a real server; open returns a new limiter on the
// server at addr, which is a [Proxy], as that of another process: all of them
// share their buckets.
func TestLimiterOutage(t *testing.T, upstream string, open func(t *testing.T, addr string) tokenbooth.Limiter) {
	o := &limiterOutage{proxy: before(t, upstream)}
	o.one, o.other = open(t, o.proxy.Addr()), open(t, o.proxy.Addr())
	t.Run("Cut", o.testCut)
	t.Run("Refuse", o.testRefuse)
	t.Run("Hang", o.testHang)
}

// A limiterOutage is two limiters behind one proxy.
type limiterOutage struct {
	proxy      *Proxy
	one, other tokenbooth.Limiter
}

// timely makes many calls at once, each with a new key.
func (o *limiterOutage) timely(t *testing.T, during string) {
	t.Helper()
	limit := tokenbooth.Limit{PerSecond: never, Burst: 20}
	atOnce(t, func(i int) (bool, error) {
		l := o.one
		if i%2 == 1 {
			l = o.other
		}
		d, err := promptly(t, l, client(), limit)
		switch {
		case err != nil && !errors.Is(err, store.ErrUnavailable):
			return false, fmt.Errorf("Take %s: %w; want a decision or an error that is store.ErrUnavailable", during, err)
		case err != nil && (d.Allowed || d.RetryAfter != 0):
			return false, fmt.Errorf("Take %s: %+v and %w; want no decision with an error", during, d, err)
		case err == nil && !d.Allowed:
			return false, fmt.Errorf("Take %s: the first request of a key is refused: %+v", during, d)
		case err == nil && d.RetryAfter != 0:
			return false, fmt.Errorf("Take %s: allowed, with RetryAfter %v; want 0", during, d.RetryAfter)
		}
		return true, nil
	})
}

// promptly does not wait for a call that takes longer than a store may. Its context
// has no deadline, since a limiter has one of its own.
func promptly(t *testing.T, l tokenbooth.Limiter, key string, limit tokenbooth.Limit) (tokenbooth.Decision, error) {
	type answer struct {
		d   tokenbooth.Decision
		err error
	}
	done := make(chan answer, 1)
	go func() {
		d, err := l.Take(context.WithoutCancel(t.Context()), key, limit)
		done <- answer{d, err}
	}()
	select {
	case a := <-done:
		return a.d, a.err
	case <-time.After(callTime + slack):
		return tokenbooth.Decision{}, fmt.Errorf("no answer after %v", callTime+slack)
	}
}

// shares expects both to take from one bucket again.
func (o *limiterOutage) shares(t *testing.T) {
	t.Helper()
	for back := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := o.share(t)
		if err == nil {
			return
		}
		if time.Since(back) > sharing {
			t.Fatalf("%v after their server is back, two limiters do not share a bucket: %v", sharing, err)
		}
	}
}

// share empties the bucket of a new key by both, one after the other. That each
// got its part says more than their sum, which two that limit to a half each make
// as well.
func (o *limiterOutage) share(t *testing.T) error {
	const first = 15
	key, limit := client(), tokenbooth.Limit{PerSecond: never, Burst: 20}
	for n := range 2 * limit.Burst {
		l, who := o.one, "one"
		if n >= first {
			l, who = o.other, "the other"
		}
		d, err := promptly(t, l, key, limit)
		if err != nil {
			return err
		}
		if want := n < limit.Burst; d.Allowed != want {
			return fmt.Errorf("request %d of a burst of %d, by %s: allowed %v, want %v", n+1, limit.Burst, who, d.Allowed, want)
		}
	}
	return nil
}

// testCut: that connections were cut is not always an outage.
func (o *limiterOutage) testCut(t *testing.T) {
	o.shares(t)
	for range 5 {
		o.proxy.Cut()
		o.timely(t, "after the connections were cut")
	}
	o.shares(t)
}

func (o *limiterOutage) testRefuse(t *testing.T) {
	o.shares(t)
	o.proxy.Refuse(true)
	defer o.proxy.Refuse(false)
	o.proxy.Cut()
	for range 3 {
		o.timely(t, "while connections are refused")
	}
	o.proxy.Refuse(false)
	o.shares(t)
}

func (o *limiterOutage) testHang(t *testing.T) {
	o.shares(t)
	o.proxy.Hang(true)
	defer o.proxy.Hang(false)
	for range 3 {
		o.timely(t, "while the server hangs")
	}
	o.proxy.Hang(false)
	o.shares(t)
}
