package sqlstore

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

var later = time.Now().Add(time.Hour)

func TestNamesNeverCollide(t *testing.T) {
	long := strings.Repeat("x", mostKey+1)
	hashed := string(nameOf(long))
	keys := []string{"", "\x00", "\x01", "a", "a\x00", strings.Repeat("x", mostKey), long, long + "x", hashed, hashed[1:], "\x00" + hashed}
	seen := map[string]string{}
	for _, key := range keys {
		name := string(nameOf(key))
		if other, ok := seen[name]; ok {
			t.Errorf("%q and %q have one name", key, other)
		}
		if len(name) > 256 {
			t.Errorf("%q: %d bytes", key, len(name))
		}
		seen[name] = key
	}
}

func TestSizes(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		ctx, s := t.Context(), e.open(t)
		for _, n := range []int{0, 1, mostKey, mostKey + 1, 1 << 16, 1<<16 + 1, 1 << 20} {
			key := strings.Repeat("\xff", n)
			old, val := bytes.Repeat([]byte{0xfe, 0, '\''}, n/3), bytes.Repeat([]byte{0xc3, '\\'}, n/2)
			if ok, err := s.Create(ctx, key, old, later); !ok || err != nil {
				t.Fatalf("%d bytes: %v, %v", n, ok, err)
			}
			if ok, err := s.Swap(ctx, key, old, val, later); !ok || err != nil {
				t.Fatalf("%d bytes: %v, %v", n, ok, err)
			}
			if got, ok, err := s.Get(ctx, key); !ok || err != nil || !bytes.Equal(got, val) {
				t.Errorf("%d bytes: %d bytes, %v, %v", n, len(got), ok, err)
			}
		}
	})
}

func TestGetManyInChunks(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		ctx, s := t.Context(), e.open(t)
		if vals, err := s.GetMany(ctx, nil); len(vals) != 0 || err != nil {
			t.Errorf("no keys: %q, %v", vals, err)
		}
		var keys []string
		for i := range mostNames + 5 {
			keys = append(keys, fmt.Sprint(i%(mostNames+3))) // some twice
		}
		put(t, s, "0", later)
		put(t, s, fmt.Sprint(mostNames), later)
		if ok, err := s.Create(ctx, "1", nil, later); !ok || err != nil {
			t.Fatal(ok, err)
		}
		vals, err := s.GetMany(ctx, keys)
		if err != nil || len(vals) != len(keys) {
			t.Fatalf("%d of %d, %v", len(vals), len(keys), err)
		}
		for i, key := range keys {
			want := map[string]string{"0": "v", fmt.Sprint(mostNames): "v", "1": ""}
			w, ok := want[key]
			if (vals[i] != nil) != ok || string(vals[i]) != w {
				t.Errorf("%s: %q, want %q, %v", key, vals[i], w, ok)
			}
		}
	})
}

// The later of both expiries holds where the value is there already, and only
// there.
func TestExpiryOfIdempotentWrites(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		ctx, s := t.Context(), e.open(t)
		a, b := []byte("a"), []byte("b")
		early, late := time.UnixMilli(1_000), time.UnixMilli(2_000)
		for _, c := range []struct {
			name string
			run  func(expires time.Time) (bool, error)
			at   time.Time
			ok   bool
			want time.Time
		}{
			{"created", func(at time.Time) (bool, error) { return s.Create(ctx, "k", a, at) }, early, true, early},
			{"created again", func(at time.Time) (bool, error) { return s.Create(ctx, "k", a, late) }, late, true, late},
			{"created once more", func(at time.Time) (bool, error) { return s.Create(ctx, "k", a, at) }, early, true, late},
			{"another", func(at time.Time) (bool, error) { return s.Create(ctx, "k", b, at) }, later, false, late},
			{"swapped, sooner", func(at time.Time) (bool, error) { return s.Swap(ctx, "k", a, b, at) }, early, true, early},
			{"swapped again", func(at time.Time) (bool, error) { return s.Swap(ctx, "k", a, b, at) }, late, true, late},
			{"swapped once more", func(at time.Time) (bool, error) { return s.Swap(ctx, "k", a, b, at) }, early, true, late},
			{"swapped by itself", func(at time.Time) (bool, error) { return s.Swap(ctx, "k", b, b, at) }, early, true, late},
			{"swap of another", func(at time.Time) (bool, error) { return s.Swap(ctx, "k", a, []byte("c"), at) }, later, false, late},
		} {
			s.creates.Store(0) // what is written here has expired long ago
			if ok, err := c.run(c.at); ok != c.ok || err != nil {
				t.Errorf("%s: %v, %v", c.name, ok, err)
			}
			var ms int64
			if err := s.writes.QueryRow(`SELECT expires FROM tokenbooth_state`).Scan(&ms); err != nil || ms != c.want.UnixMilli() {
				t.Errorf("%s: expires %d, want %d; %v", c.name, ms, c.want.UnixMilli(), err)
			}
		}
	})
}

// What a host has set for its own use of the pool changes nothing.
func TestSettingsOfTheCaller(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{
		"postgres, serializable":    with(freshPostgres, "&default_transaction_isolation=serializable"),
		"postgres, repeatable read": with(freshPostgres, "&default_transaction_isolation=repeatable%20read"),
		"postgres, exec":            with(freshPostgres, "&default_query_exec_mode=exec"),
		"postgres, describe":        with(freshPostgres, "&default_query_exec_mode=cache_describe"),
		"postgres, latin1":          with(freshPostgres, "&client_encoding=latin1"),
		"mysql, found rows":         with(freshMySQL, "?clientFoundRows=true"),
		"mysql, interpolated":       with(freshMySQL, "?interpolateParams=true"),
		"mysql, lax":                with(freshMySQL, "?sql_mode=''"),
		"mysql, ansi":               with(freshMySQL, "?sql_mode='ANSI,STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'"),
		"mysql, latin1":             with(freshMySQL, "?charset=latin1"),
		"mysql, serializable":       isolated("'SERIALIZABLE'"),
		"mysql, read committed":     isolated("'READ-COMMITTED'"),
		"mysql, compressed":         with(freshMySQL, "?compress=true"),
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, url(t))
			checkSwaps(t, s)
			checkParallel(t, s)
			checkPassing(t, s)
		})
	}
}

func with(fresh func(testing.TB) string, more string) func(testing.TB) string {
	return func(t testing.TB) string { return fresh(t) + more }
}

func isolated(level string) func(testing.TB) string {
	return func(t testing.TB) string {
		return freshMySQL(t) + "?" + setting(t, "tx_isolation", "transaction_isolation", level)
	}
}

func checkSwaps(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	key, a, b := "k\x00\xff'\\", []byte("\xff\x00'\\ "), []byte("\xff\x00'\\")
	for i, want := range []struct {
		run func() (bool, error)
		ok  bool
	}{
		{func() (bool, error) { return s.Swap(ctx, key, nil, a, later) }, false},
		{func() (bool, error) { return s.Create(ctx, key, a, later) }, true},
		{func() (bool, error) { return s.Create(ctx, key, a, later) }, true},
		{func() (bool, error) { return s.Create(ctx, key, b, later) }, false},
		{func() (bool, error) { return s.Swap(ctx, key, b, nil, later) }, false},
		{func() (bool, error) { return s.Swap(ctx, key, a, b, later) }, true},
		{func() (bool, error) { return s.Swap(ctx, key, a, b, later) }, true},
		{func() (bool, error) { return s.Swap(ctx, key, b, b, later) }, true},
		{func() (bool, error) { return s.Create(ctx, key, a, later) }, false},
	} {
		if ok, err := want.run(); ok != want.ok || err != nil {
			t.Errorf("step %d: %v, %v", i, ok, err)
		}
	}
	vals, err := s.GetMany(ctx, []string{key, "none", key})
	if err != nil || len(vals) != 3 || !bytes.Equal(vals[0], b) || vals[1] != nil || !bytes.Equal(vals[2], b) {
		t.Errorf("got %q, %v", vals, err)
	}
	if ok, err := s.Delete(ctx, key); !ok || err != nil {
		t.Errorf("delete: %v, %v", ok, err)
	}
}

// checkParallel lets many race for the steps of one entry, which a strict
// isolation lets fail unless they are tried again.
func checkParallel(t *testing.T, s *Store) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := map[string]int{}
	for g := range 8 {
		wg.Go(func() {
			for i := range 10 {
				key := fmt.Sprint("race", i)
				if ok, err := s.Create(t.Context(), key, []byte{byte(g)}, later); err != nil {
					t.Errorf("create: %v", err)
				} else if ok {
					mu.Lock()
					won[key]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for i := range 10 {
		if n := won[fmt.Sprint("race", i)]; n != 1 {
			t.Errorf("%d created race%d", n, i)
		}
	}
}

func checkPassing(t *testing.T, s *Store) {
	t.Helper()
	put(t, s, "gone", time.Now().Add(-time.Hour))
	if n, err := s.Purge(t.Context(), 10); n != 1 || err != nil {
		t.Errorf("purge: %d, %v", n, err)
	}
}

func TestGetIsWhatWasAcknowledgedElsewhere(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		url := e.fresh(t)
		one, two := open(t, url), open(t, url)
		ctx := context.Background()
		put(t, one, "k", later)
		for i := range 50 {
			val := fmt.Append(nil, i)
			old, _, err := two.Get(ctx, "k")
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := one.Swap(ctx, "k", old, val, later); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if got, _, err := two.Get(ctx, "k"); err != nil || !bytes.Equal(got, val) {
				t.Fatalf("got %q, %v; want %q", got, err, val)
			}
		}
	})
}
