package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

func TestMemoryIsState(t *testing.T) { testState(t, new(store.Memory)) }

// testState checks what every State promises. It leaves other keys alone.
func testState(t *testing.T, s store.State) {
	t.Run("Basics", func(t *testing.T) { testBasics(t, s) })
	t.Run("Bytes", func(t *testing.T) { testBytes(t, s) })
	t.Run("Idempotent", func(t *testing.T) { testIdempotent(t, s) })
	t.Run("Aliasing", func(t *testing.T) { testAliasing(t, s) })
	t.Run("ParallelCreate", func(t *testing.T) { testParallelCreate(t, s) })
	t.Run("ParallelCreateOfOneValue", func(t *testing.T) { testParallelCreateOfOneValue(t, s) })
	t.Run("ParallelSwap", func(t *testing.T) { testParallelSwap(t, s) })
	t.Run("ParallelDelete", func(t *testing.T) { testParallelDelete(t, s) })
	t.Run("Context", func(t *testing.T) { testContext(t, s) })
}

var later = time.Now().Add(time.Hour)

// check calls an operation and compares what it reports.
func check(t *testing.T, want bool, what string) func(bool, error) {
	t.Helper()
	return func(got bool, err error) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", what, got, err, want)
		}
	}
}

func checkValue(t *testing.T, s store.State, key string, want []byte) {
	t.Helper()
	got, ok, err := s.Get(t.Context(), key)
	if err != nil || ok != (want != nil) || !bytes.Equal(got, want) {
		t.Errorf("Get %q: got %q, %v, %v; want %q", key, got, ok, err, want)
	}
}

func testBasics(t *testing.T, s store.State) {
	ctx, key := t.Context(), t.Name()
	one, two, three := []byte("one"), []byte("two"), []byte("three")
	checkValue(t, s, key, nil)
	check(t, false, "Swap of nothing")(s.Swap(ctx, key, one, two, later))
	check(t, false, "Swap of nothing for nil")(s.Swap(ctx, key, nil, two, later))
	check(t, false, "Delete of nothing")(s.Delete(ctx, key))
	check(t, true, "Create")(s.Create(ctx, key, one, later))
	checkValue(t, s, key, one)
	check(t, false, "Create over another")(s.Create(ctx, key, two, later))
	checkValue(t, s, key, one)
	check(t, false, "Swap of another")(s.Swap(ctx, key, two, three, later))
	check(t, true, "Swap")(s.Swap(ctx, key, one, two, later))
	checkValue(t, s, key, two)
	check(t, true, "Delete")(s.Delete(ctx, key))
	checkValue(t, s, key, nil)
	check(t, false, "Delete again")(s.Delete(ctx, key))
	check(t, true, "Create again")(s.Create(ctx, key, three, later))
	checkValue(t, s, key, three)
}

func testBytes(t *testing.T, s store.State) {
	ctx := t.Context()
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	parts := []string{
		"", "\x00", "\x00\xff", "\xff\x00", "a", "A", "a ", "á", "a\u0301", "a\x00b", "%00", "'; --", `\`, "*", "{a}", string(all),
	}
	for i, p := range parts {
		key, val := t.Name()+p, []byte(fmt.Sprintf("%d", i)+p)
		check(t, true, fmt.Sprintf("Create %q", key))(s.Create(ctx, key, val, later))
	}
	for i, p := range parts {
		key, val := t.Name()+p, []byte(fmt.Sprintf("%d", i)+p)
		checkValue(t, s, key, val)
		check(t, true, fmt.Sprintf("Swap %q", key))(s.Swap(ctx, key, val, []byte(p), later))
		checkValue(t, s, key, []byte(p))
		check(t, true, fmt.Sprintf("Delete %q", key))(s.Delete(ctx, key))
	}
}

func testIdempotent(t *testing.T, s store.State) {
	ctx, key := t.Context(), t.Name()
	one, two := []byte("one"), []byte("two")
	check(t, true, "Create")(s.Create(ctx, key, one, later))
	check(t, true, "Create of the same")(s.Create(ctx, key, one, later))
	check(t, true, "Swap")(s.Swap(ctx, key, one, two, later))
	check(t, true, "Swap of the same")(s.Swap(ctx, key, one, two, later))
	check(t, true, "Swap to what is there")(s.Swap(ctx, key, []byte("never"), two, later))
	check(t, true, "Swap by itself")(s.Swap(ctx, key, two, two, later))
	check(t, false, "Create of the first")(s.Create(ctx, key, one, later))
	checkValue(t, s, key, two)
}

func testAliasing(t *testing.T, s store.State) {
	ctx, key := t.Context(), t.Name()
	val := []byte("one")
	check(t, true, "Create")(s.Create(ctx, key, val, later))
	val[0] = 'X'
	checkValue(t, s, key, []byte("one"))
	got, _, _ := s.Get(ctx, key)
	next := []byte("two")
	check(t, true, "Swap")(s.Swap(ctx, key, []byte("one"), next, later))
	next[0] = 'X'
	checkValue(t, s, key, []byte("two"))
	if string(got) != "one" {
		t.Errorf("a value read before became %q", got)
	}
	got, _, _ = s.Get(ctx, key)
	_ = append(got, "tail"...)
	check(t, true, "Delete")(s.Delete(ctx, key))
	check(t, true, "Create")(s.Create(ctx, key, []byte("new"), later))
	if string(got) != "two" {
		t.Errorf("a value read before became %q", got)
	}
}

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
	for round := range 20 {
		key := fmt.Sprint(t.Name(), round)
		n := atOnce(t, func(i int) (bool, error) { return s.Create(ctx, key, []byte{byte(i)}, later) })
		if n != 1 {
			t.Fatalf("%d created", n)
		}
	}
}

func testParallelCreateOfOneValue(t *testing.T, s store.State) {
	ctx, key := t.Context(), t.Name()
	n := atOnce(t, func(int) (bool, error) { return s.Create(ctx, key, []byte("same"), later) })
	if n != parallel {
		t.Errorf("%d of %d report that the value is there", n, parallel)
	}
}

// testParallelSwap lets each step of a chain be taken by one of many.
func testParallelSwap(t *testing.T, s store.State) {
	ctx, key := t.Context(), t.Name()
	old := []byte("start")
	check(t, true, "Create")(s.Create(ctx, key, old, later))
	for step := range 20 {
		n := atOnce(t, func(i int) (bool, error) {
			return s.Swap(ctx, key, old, fmt.Appendf(nil, "%d by %d", step, i), later)
		})
		if n != 1 {
			t.Fatalf("step %d: %d swapped", step, n)
		}
		old, _, _ = s.Get(ctx, key)
	}
	counted := t.Name() + "counter"
	check(t, true, "Create")(s.Create(ctx, counted, []byte{0, 0}, later))
	atOnce(t, func(i int) (bool, error) { return true, increment(ctx, s, counted, byte(i+1)) })
	got, _, _ := s.Get(ctx, counted)
	if len(got) != 2 || got[0] != parallel {
		t.Errorf("counted %d of %d", got, parallel)
	}
}

// increment marks its value with who wrote it, since Swap reports success where
// the value is there already.
func increment(ctx context.Context, s store.State, key string, who byte) error {
	for {
		old, _, err := s.Get(ctx, key)
		if err != nil {
			return err
		}
		if ok, err := s.Swap(ctx, key, old, []byte{old[0] + 1, who}, later); ok || err != nil {
			return err
		}
	}
}

func testParallelDelete(t *testing.T, s store.State) {
	ctx, key := t.Context(), t.Name()
	check(t, true, "Create")(s.Create(ctx, key, []byte("x"), later))
	if n := atOnce(t, func(int) (bool, error) { return s.Delete(ctx, key) }); n != 1 {
		t.Errorf("%d deleted", n)
	}
}

func testContext(t *testing.T, s store.State) {
	key, val := t.Name(), []byte("x")
	check(t, true, "Create")(s.Create(t.Context(), key, val, later))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, getErr := s.Get(ctx, key)
	_, createErr := s.Create(ctx, key+"2", val, later)
	_, swapErr := s.Swap(ctx, key, val, []byte("y"), later)
	_, deleteErr := s.Delete(ctx, key)
	for _, err := range []error{getErr, createErr, swapErr, deleteErr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	}
	checkValue(t, s, key, val)
	checkValue(t, s, key+"2", nil)
}
