package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

const (
	callTime = time.Second     // what a call is given here
	slack    = time.Second     // how much longer it may take, on a busy machine
	recovery = 2 * time.Second // until a server that is back is used again
)

// TestOutage checks what a store does while its server is cut off, refuses
// connections, hangs, or answers into nothing: each call ends within its context
// with an error that is [store.ErrUnavailable] (or the context's, once that has
// ended), and within 2 s of the server's return the same store works again.
//
// upstream is the host and port of a real server; open returns a new store on the
// server at addr, which is a [Proxy] or upstream itself.
func TestOutage(t *testing.T, upstream string, open func(t *testing.T, addr string) store.State) {
	p := before(t, upstream)
	o := &outage{proxy: p, direct: open(t, upstream), s: open(t, p.Addr())}
	t.Run("Cut", o.testCut)
	t.Run("Refuse", o.testRefuse)
	t.Run("Hang", o.testHang)
	t.Run("HangManyCalls", o.testHangManyCalls)
	t.Run("Cancel", o.testCancel)
	t.Run("SwallowedCreate", o.testSwallowedCreate)
	t.Run("SwallowedSwap", o.testSwallowedSwap)
}

// before returns a proxy that ends with the test.
func before(t *testing.T, upstream string) *Proxy {
	t.Helper()
	p, err := NewProxy(upstream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// An outage is a store behind a proxy, and another that sees the truth.
type outage struct {
	proxy     *Proxy
	direct, s store.State
}

// timely makes one call of each kind, all at once, and expects that none takes longer than it
// was given.
func (o *outage) timely(t *testing.T, key string, val []byte) map[string]error {
	t.Helper()
	ops := map[string]func(ctx context.Context) error{
		"Get": func(ctx context.Context) error { _, _, err := o.s.Get(ctx, key); return err },
		"Create": func(ctx context.Context) error {
			_, err := o.s.Create(ctx, key+" created", val, later())
			return err
		},
		"Swap":   func(ctx context.Context) error { _, err := o.s.Swap(ctx, key, val, val, later()); return err },
		"Delete": func(ctx context.Context) error { _, err := o.s.Delete(ctx, key+" absent"); return err },
	}
	if m, ok := o.s.(store.MultiGetter); ok {
		ops["GetMany"] = func(ctx context.Context) error { _, err := m.GetMany(ctx, []string{key, key + "2"}); return err }
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	errs := make(map[string]error)
	for name, op := range ops {
		wg.Go(func() {
			err := call(t, name, op)
			mu.Lock()
			defer mu.Unlock()
			errs[name] = err
		})
	}
	wg.Wait()
	return errs
}

// call gives an operation callTime, and does not wait for one that takes more.
func call(t *testing.T, name string, op func(ctx context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTime)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- op(ctx) }()
	select {
	case err := <-done:
		return err
	case <-time.After(callTime + slack):
		t.Errorf("%s has not returned after %v, though its context had %v", name, callTime+slack, callTime)
		return context.DeadlineExceeded
	}
}

func (o *outage) get(t *testing.T, key string) error {
	t.Helper()
	return call(t, "Get", func(ctx context.Context) error { _, _, err := o.s.Get(ctx, key); return err })
}

// unavailable says how a call may fail whose server does not answer.
func unavailable(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// recovers expects the store to work again.
func (o *outage) recovers(t *testing.T, key string, val []byte) {
	t.Helper()
	recovers(t, "Get", func(ctx context.Context) error {
		got, ok, err := o.s.Get(ctx, key)
		if err == nil && (!ok || string(got) != string(val)) {
			t.Errorf("after the outage: %q, %v; want the %q of before", got, ok, val)
		}
		return err
	})
	check(t, true, "Create after the outage")(o.s.Create(t.Context(), draw("after"), val, later()))
}

// recovers expects an operation to succeed again.
func recovers(t *testing.T, name string, op func(ctx context.Context) error) {
	t.Helper()
	back := time.Now()
	for {
		err := call(t, name, op)
		took := time.Since(back)
		if err == nil {
			if took > recovery {
				t.Errorf("works again only %v after its server was back, want %v at most", took, recovery)
			}
			return
		}
		if !unavailable(err) {
			t.Errorf("after the outage: %v; want an error that is store.ErrUnavailable", err)
		}
		if took > 5*recovery {
			t.Fatalf("does not work %v after its server is back: %v", took, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// testCut: a connection that was cut may cost an error each, which is no other.
func (o *outage) testCut(t *testing.T) {
	val := []byte("x")
	key := give(t, o.s, val)[0]
	for range 3 {
		o.proxy.Cut()
		for name, err := range o.timely(t, key, val) {
			if err != nil && !unavailable(err) {
				t.Errorf("%s after the connections were cut: %v; want success or an error that is store.ErrUnavailable", name, err)
			}
		}
		o.recovers(t, key, val)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if err := o.get(t, key); err != nil && !unavailable(err) {
					t.Errorf("Get while connections are cut: %v; want success or an error that is store.ErrUnavailable", err)
				}
			}
		})
	}
	for range 10 {
		o.proxy.Cut()
		time.Sleep(2 * time.Millisecond)
	}
	wg.Wait()
	o.recovers(t, key, val)
}

func (o *outage) testRefuse(t *testing.T) {
	val := []byte("x")
	key := give(t, o.s, val)[0]
	o.proxy.Refuse(true)
	defer o.proxy.Refuse(false)
	o.proxy.Cut()
	for range 2 {
		for name, err := range o.timely(t, key, val) {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s while connections are refused: %v; want an error that is store.ErrUnavailable", name, err)
			}
		}
	}
	o.proxy.Refuse(false)
	o.recovers(t, key, val)
}

func (o *outage) testHang(t *testing.T) {
	val := []byte("x")
	key := give(t, o.s, val)[0]
	o.proxy.Hang(true)
	defer o.proxy.Hang(false)
	for name, err := range o.timely(t, key, val) {
		if !unavailable(err) {
			t.Errorf("%s while the server hangs: %v; want an error that is store.ErrUnavailable or context.DeadlineExceeded", name, err)
		}
	}
	o.proxy.Hang(false)
	o.recovers(t, key, val)
}

// testHangManyCalls: more calls than any pool has connections.
func (o *outage) testHangManyCalls(t *testing.T) {
	val := []byte("x")
	key := give(t, o.s, val)[0]
	o.proxy.Hang(true)
	defer o.proxy.Hang(false)
	atOnce(t, func(int) (bool, error) {
		err := call(t, "one of many Swaps", func(ctx context.Context) error {
			_, err := o.s.Swap(ctx, key, val, val, later())
			return err
		})
		if !unavailable(err) {
			return false, fmt.Errorf("one of many Swaps while the server hangs: %w; want store.ErrUnavailable or context.DeadlineExceeded", err)
		}
		return true, nil
	})
	o.proxy.Hang(false)
	o.recovers(t, key, val)
}

// testCancel: a driver that looks at deadlines alone may take until then.
func (o *outage) testCancel(t *testing.T) {
	val := []byte("x")
	key := give(t, o.s, val)[0]
	o.proxy.Hang(true)
	defer o.proxy.Hang(false)
	err := call(t, "Get whose context was cancelled", func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		time.AfterFunc(100*time.Millisecond, cancel)
		_, _, err := o.s.Get(ctx, key)
		return err
	})
	if !unavailable(err) && !errors.Is(err, context.Canceled) {
		t.Errorf("Get of a hanging server whose context was cancelled: %v; want an error that is store.ErrUnavailable or context.Canceled", err)
	}
	o.proxy.Hang(false)
	o.recovers(t, key, val)
}
