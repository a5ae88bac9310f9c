// Package storetest holds what every store and every limiter promises, as tests
// to run on your own:
//
//	func TestMyStore(t *testing.T) { storetest.TestState(t, openMyStore) }
//
// TestState, TestClientStore and TestLimiter ask for what is promised while all goes
// well. TestOutage, TestClientOutage and TestLimiterOutage put a [Proxy] between
// the same three and their server, and ask for what is promised while it is gone.
//
// Run them with -race. They use keys and ids that they draw, and leave what else
// is in a store alone, except what is under a handful of odd keys such as the
// empty one; what they leave behind expires within minutes.
package storetest

import (
	"bytes"
	"crypto/rand"
	"io"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authztest"
	"github.com/tokenbooth/tokenbooth/store"
)

// TestState checks all that [store.State] promises, and [store.MultiGetter] where
// the store is one. At the end it plays random schedules of grants on it, with
// faults, each held against a model.
//
// open is called once more for a store with a Close method, which is asked what it
// answers after that. The store's clock is that of this machine. [TestOutage] checks what
// happens when the store's server is gone.
func TestState(t *testing.T, open func(t *testing.T) store.State) {
	s := open(t)
	for _, part := range []struct {
		name string
		run  func(t *testing.T, s store.State)
	}{
		{"Basics", testBasics},
		{"Values", testValues},
		{"Keys", testKeys},
		{"Idempotent", testIdempotent},
		{"Aliasing", testAliasing},
		{"ParallelCreate", testParallelCreate},
		{"ParallelCreateOfOneValue", testParallelCreateOfOneValue},
		{"ParallelSwap", testParallelSwap},
		{"ParallelCount", testParallelCount},
		{"ParallelDelete", testParallelDelete},
		{"ParallelAll", testParallelAll},
		{"ParallelRead", testParallelRead},
		{"Context", testContext},
		{"Expiry", testExpiry},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, s) })
	}
	if m, ok := s.(store.MultiGetter); ok {
		t.Run("GetMany", func(t *testing.T) { testGetMany(t, s, m) })
		t.Run("ParallelGetMany", func(t *testing.T) { testParallelGetMany(t, s, m) })
	}
	if _, ok := s.(io.Closer); ok {
		t.Run("Closed", func(t *testing.T) { testClosed(t, open(t)) })
	}
	t.Run("Grants", func(t *testing.T) {
		authztest.Model(t, func(*testing.T) store.State { return s })
	})
}

// draw returns a key that nobody else has.
func draw(name string) string { return "storetest|" + rand.Text() + "|" + name }

// later is when the tests have ended.
func later() time.Time { return time.Now().Add(10 * time.Minute) }

// check compares what an operation reports.
func check(t *testing.T, want bool, what string) func(bool, error) {
	t.Helper()
	return func(got bool, err error) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: reports %v, %v; want %v", what, got, err, want)
		}
	}
}

// checkValue expects a value, or none where want is nil.
func checkValue(t *testing.T, s store.State, key string, want []byte) {
	t.Helper()
	got, ok, err := s.Get(t.Context(), key)
	switch {
	case err != nil:
		t.Errorf("Get %s: %v", short(key), err)
	case ok != (want != nil):
		t.Errorf("Get %s: present %v, want %v", short(key), ok, want != nil)
	case !bytes.Equal(got, want):
		t.Errorf("Get %s: %s, want %s", short(key), short(string(got)), short(string(want)))
	}
}

func testBasics(t *testing.T, s store.State) {
	ctx, key := t.Context(), draw("key")
	one, two, three := []byte("one"), []byte("two"), []byte("three")
	checkValue(t, s, key, nil)
	check(t, false, "Swap where there is nothing")(s.Swap(ctx, key, one, two, later()))
	check(t, false, "Swap of nil where there is nothing")(s.Swap(ctx, key, nil, two, later()))
	checkValue(t, s, key, nil)
	check(t, false, "Delete where there is nothing")(s.Delete(ctx, key))
	check(t, true, "Create")(s.Create(ctx, key, one, later()))
	checkValue(t, s, key, one)
	check(t, false, "Create over another value")(s.Create(ctx, key, two, later()))
	checkValue(t, s, key, one)
	check(t, false, "Swap of a value that is not there")(s.Swap(ctx, key, two, three, later()))
	checkValue(t, s, key, one)
	check(t, false, "Swap of a part of the value")(s.Swap(ctx, key, one[:2], three, later()))
	check(t, false, "Swap of nil for another value")(s.Swap(ctx, key, nil, three, later()))
	checkValue(t, s, key, one)
	check(t, true, "Swap")(s.Swap(ctx, key, one, two, later()))
	checkValue(t, s, key, two)
	check(t, true, "Delete")(s.Delete(ctx, key))
	checkValue(t, s, key, nil)
	check(t, false, "Swap of what was deleted")(s.Swap(ctx, key, two, one, later()))
	check(t, false, "Delete again")(s.Delete(ctx, key))
	check(t, true, "Create of what was deleted")(s.Create(ctx, key, three, later()))
	checkValue(t, s, key, three)
}

// A reply may get lost after the write: who asks again hears of a success.
func testIdempotent(t *testing.T, s store.State) {
	ctx, key := t.Context(), draw("key")
	one, two := []byte("one"), []byte("two")
	check(t, true, "Create")(s.Create(ctx, key, one, later()))
	check(t, true, "Create of the value that is there")(s.Create(ctx, key, one, later()))
	check(t, true, "Swap")(s.Swap(ctx, key, one, two, later()))
	check(t, true, "the same Swap again")(s.Swap(ctx, key, one, two, later()))
	check(t, true, "Swap to the value that is there")(s.Swap(ctx, key, []byte("never"), two, later()))
	check(t, true, "Swap of a value by itself")(s.Swap(ctx, key, two, two, later()))
	check(t, false, "Create of a value that was there before")(s.Create(ctx, key, one, later()))
	checkValue(t, s, key, two)
	// A database may say of a row that stays as it was that none was changed.
	same := time.Now().Add(time.Hour).Truncate(time.Second)
	check(t, true, "Swap")(s.Swap(ctx, key, two, one, same))
	check(t, true, "the same Swap again with the same expiry")(s.Swap(ctx, key, two, one, same))
	check(t, true, "Create of the value that is there with the same expiry")(s.Create(ctx, key, one, same))
	checkValue(t, s, key, one)
}

// What a store was given belongs to the caller again.
func testAliasing(t *testing.T, s store.State) {
	ctx, key := t.Context(), draw("key")
	val := []byte("one")
	check(t, true, "Create")(s.Create(ctx, key, val, later()))
	val[0] = 'X'
	checkValue(t, s, key, []byte("one"))
	first, _, _ := s.Get(ctx, key)
	next := []byte("two")
	check(t, true, "Swap")(s.Swap(ctx, key, []byte("one"), next, later()))
	next[0] = 'X'
	checkValue(t, s, key, []byte("two"))
	second, _, _ := s.Get(ctx, key)
	_ = append(second, "tail"...)
	check(t, true, "Delete")(s.Delete(ctx, key))
	check(t, true, "Create")(s.Create(ctx, key, []byte("new"), later()))
	checkValue(t, s, key, []byte("new"))
	if string(first) != "one" || string(second) != "two" {
		t.Errorf("values read as one and two became %q and %q after later writes", first, second)
	}
}

// give calls f with a store that has the values under a drawn key each.
func give(t *testing.T, s store.State, vals ...[]byte) (keys []string) {
	t.Helper()
	for _, val := range vals {
		key := draw("given")
		check(t, true, "Create")(s.Create(t.Context(), key, val, later()))
		keys = append(keys, key)
	}
	return keys
}
