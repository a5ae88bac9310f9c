package storetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tokenbooth/tokenbooth/store"
)

const parallel = 50

// atOnce runs f in parallel and returns how many reported true.
func atOnce(t *testing.T, f func(i int) (bool, error)) int {
	t.Helper()
	var wg sync.WaitGroup
	var n atomic.Int64
	start := make(chan struct{})
	for i := range parallel {
		wg.Go(func() {
			<-start
			ok, err := f(i)
			if err != nil {
				t.Error(err)
			}
			if ok {
				n.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(n.Load())
}

func testParallelCreate(t *testing.T, s store.State) {
	ctx := t.Context()
	for range 20 {
		key := draw("key")
		n := atOnce(t, func(i int) (bool, error) { return s.Create(ctx, key, []byte{byte(i)}, later()) })
		if n != 1 {
			t.Fatalf("of %d Creates of different values under one key at once %d report success, want 1", parallel, n)
		}
	}
}

func testParallelCreateOfOneValue(t *testing.T, s store.State) {
	ctx, key := t.Context(), draw("key")
	n := atOnce(t, func(int) (bool, error) { return s.Create(ctx, key, []byte("same"), later()) })
	if n != parallel {
		t.Errorf("of %d Creates of the same value at once %d report success, want all", parallel, n)
	}
}

// testParallelSwap lets each step of a chain be taken by one of many.
func testParallelSwap(t *testing.T, s store.State) {
	ctx, old := t.Context(), []byte("start")
	key := give(t, s, old)[0]
	for step := range 20 {
		n := atOnce(t, func(i int) (bool, error) {
			return s.Swap(ctx, key, old, fmt.Appendf(nil, "%d by %d", step, i), later())
		})
		if n != 1 {
			t.Fatalf("step %d: of %d Swaps of one value at once %d report success, want 1", step, parallel, n)
		}
		old, _, _ = s.Get(ctx, key)
	}
}

func testParallelCount(t *testing.T, s store.State) {
	ctx := t.Context()
	key := give(t, s, []byte{0, 0})[0]
	atOnce(t, func(i int) (bool, error) { return true, increment(ctx, s, key, byte(i+1)) })
	if got, _, _ := s.Get(ctx, key); len(got) != 2 || got[0] != parallel {
		t.Errorf("%d Swaps that each added 1 made %v: some got lost", parallel, got)
	}
}

// increment marks its value with who wrote it, since Swap reports success where
// the value is there already.
func increment(ctx context.Context, s store.State, key string, who byte) error {
	for {
		old, ok, err := s.Get(ctx, key)
		if err != nil {
			return err
		}
		if !ok || len(old) != 2 {
			return fmt.Errorf("Get during Swaps: %v, present %v", old, ok)
		}
		if ok, err := s.Swap(ctx, key, old, []byte{old[0] + 1, who}, later()); ok || err != nil {
			return err
		}
	}
}

func testParallelDelete(t *testing.T, s store.State) {
	ctx := t.Context()
	for range 10 {
		key := give(t, s, []byte("x"))[0]
		if n := atOnce(t, func(int) (bool, error) { return s.Delete(ctx, key) }); n != 1 {
			t.Fatalf("of %d Deletes of one entry at once %d report success, want 1", parallel, n)
		}
	}
}

// testParallelAll mixes all that writes to one key.
func testParallelAll(t *testing.T, s store.State) {
	c := mixed{s: s, key: draw("key"), swapped: make(map[string]int)}
	atOnce(t, func(i int) (bool, error) {
		for round := range 10 {
			if err := c.write(t.Context(), i+round, fmt.Appendf(nil, "%d of %d", round, i)); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	for val, n := range c.swapped {
		if n > 1 || val == "" {
			t.Errorf("the value %q was swapped for another %d times", val, n)
		}
	}
	_, there, err := s.Get(t.Context(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[bool]int{true: 1}[there]; c.created-c.deleted != want {
		t.Errorf("%d Creates and %d Deletes of one key report success, and at the end there is %d", c.created, c.deleted, want)
	}
}

// A mixed counts the writes to one key. No two values are alike, so that each that
// came must have gone once: it was swapped, deleted, or is there.
type mixed struct {
	s                store.State
	key              string
	mu               sync.Mutex
	created, deleted int
	swapped          map[string]int
}

func (c *mixed) write(ctx context.Context, kind int, val []byte) error {
	old, _, err := c.s.Get(ctx, c.key)
	if err != nil {
		return err
	}
	var done bool
	switch kind % 3 {
	case 0:
		done, err = c.s.Create(ctx, c.key, val, later())
	case 1:
		done, err = c.s.Swap(ctx, c.key, old, val, later())
	default:
		done, err = c.s.Delete(ctx, c.key)
	}
	if !done {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch kind % 3 {
	case 0:
		c.created++
	case 1:
		c.swapped[string(old)]++
	default:
		c.deleted++
	}
	return err
}

// testParallelRead reads during Swaps: what is being replaced is there as a
// whole, before or after.
func testParallelRead(t *testing.T, s store.State) {
	ctx := t.Context()
	key := give(t, s, long(0))[0]
	var swaps atomic.Int64
	atOnce(t, func(i int) (bool, error) {
		for range 10 {
			got, ok, err := s.Get(ctx, key)
			if err != nil {
				return false, err
			}
			if !ok || len(got) == 0 || !bytes.Equal(got, long(got[0])) {
				return false, fmt.Errorf("Get during Swaps: present %v, %s; want a whole value", ok, short(string(got)))
			}
			if i >= 5 {
				continue
			}
			done, err := s.Swap(ctx, key, got, long(got[0]+1), later())
			if err != nil {
				return false, err
			}
			if done {
				swaps.Add(1)
			}
		}
		return true, nil
	})
	if swaps.Load() == 0 {
		t.Error("no Swap succeeded")
	}
}

// testParallelGetMany reads several keys while others create, swap and delete
// them: each value is a whole one of its own key.
func testParallelGetMany(t *testing.T, s store.State, m store.MultiGetter) {
	swapped := give(t, s, long(0), long(50), long(100))
	fleeting := draw("fleeting")
	keys := append(slices.Clone(swapped), fleeting, swapped[0])
	var swaps atomic.Int64
	atOnce(t, func(i int) (bool, error) {
		for range 10 {
			vals, err := m.GetMany(t.Context(), keys)
			if err == nil {
				err = whole(vals, 0, 50, 100, 200, 0)
			}
			done := false
			switch n := i % len(swapped); {
			case err != nil:
			case i < 5:
				done, err = s.Swap(t.Context(), swapped[n], vals[n], long(vals[n][0]+1), later())
			case i == 5:
				err = comeAndGo(t.Context(), s, fleeting, long(200))
			}
			if err != nil {
				return false, err
			}
			if done {
				swaps.Add(1)
			}
		}
		return true, nil
	})
	if swaps.Load() == 0 {
		t.Error("no Swap succeeded")
	}
}

// long returns a value that says in each byte which one it is.
func long(b byte) []byte { return bytes.Repeat([]byte{b}, 4096+int(b)) }

// whole expects long values, each within 20 Swaps of where its key began. What
// began at 200 comes and goes.
func whole(vals [][]byte, begun ...byte) error {
	if len(vals) != len(begun) {
		return fmt.Errorf("GetMany during writes: %d values, want %d", len(vals), len(begun))
	}
	for i, b := range begun {
		v := vals[i]
		if v == nil && b == 200 {
			continue
		}
		if len(v) == 0 || v[0] < b || v[0] > b+20 || !bytes.Equal(v, long(v[0])) {
			return fmt.Errorf("GetMany during writes: value %d is %s, nil %v; want a whole value of its key", i, short(string(v)), v == nil)
		}
	}
	return nil
}

func comeAndGo(ctx context.Context, s store.State, key string, val []byte) error {
	created, err := s.Create(ctx, key, val, later())
	if err != nil {
		return err
	}
	deleted, err := s.Delete(ctx, key)
	if err != nil {
		return err
	}
	if !created || !deleted {
		return fmt.Errorf("beside GetMany: created %v, deleted %v; want both", created, deleted)
	}
	return nil
}
