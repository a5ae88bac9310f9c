package redisstore_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenbooth/tokenbooth/internal/testservers"
	"github.com/tokenbooth/tokenbooth/store/redisstore"
)

// The two ways to reach Redis: alone, and as a cluster.
func eachMode(t *testing.T, f func(t *testing.T, o *redis.UniversalOptions)) {
	t.Run("Single", func(t *testing.T) { f(t, universal(t, testservers.Redis(t))) })
	t.Run("Cluster", func(t *testing.T) { f(t, cluster(t)) })
}

func TestExpiryIsTheLaterOfBoth(t *testing.T) {
	eachMode(t, func(t *testing.T, o *redis.UniversalOptions) {
		s, c, key := open(t, o), bare(t, o), unique(t)
		val, next := []byte("one"), []byte("two")
		in := func(d time.Duration) time.Time { return time.Now().Add(d) }
		expect := func(what string, ok bool, err error, want time.Duration) {
			t.Helper()
			if !ok || err != nil {
				t.Fatalf("%s: %v, %v", what, ok, err)
			}
			left, err := c.PTTL(t.Context(), "tb:s:"+key).Result()
			if err != nil || left > want+time.Millisecond || left < want-time.Minute {
				t.Errorf("%s: %v left, %v; want %v", what, left, err, want)
			}
		}
		ok, err := s.Create(t.Context(), key, val, in(2*time.Hour))
		expect("Create", ok, err, 2*time.Hour)
		ok, err = s.Create(t.Context(), key, val, in(time.Hour))
		expect("Create of the same, sooner", ok, err, 2*time.Hour)
		ok, err = s.Create(t.Context(), key, val, in(3*time.Hour))
		expect("Create of the same, later", ok, err, 3*time.Hour)
		ok, err = s.Swap(t.Context(), key, val, val, in(time.Hour))
		expect("Swap by itself, sooner", ok, err, 3*time.Hour)
		ok, err = s.Swap(t.Context(), key, val, val, in(4*time.Hour))
		expect("Swap by itself, later", ok, err, 4*time.Hour)
		ok, err = s.Swap(t.Context(), key, val, next, in(time.Hour))
		expect("Swap", ok, err, time.Hour)
		ok, err = s.Swap(t.Context(), key, val, next, in(2*time.Hour))
		expect("Swap again", ok, err, 2*time.Hour)
	})
}

func TestExpiredEntriesGo(t *testing.T) {
	s := open(t, universal(t, testservers.Redis(t)))
	for _, expires := range []time.Time{{}, time.Unix(1, 0), time.Now().Add(-time.Second)} {
		key := unique(t)
		if ok, err := s.Create(t.Context(), key, []byte("v"), expires); !ok || err != nil {
			t.Fatalf("%v: %v, %v", expires, ok, err)
		}
		if val, ok, err := s.Get(t.Context(), key); ok || err != nil {
			t.Errorf("%v: %q, %v, %v", expires, val, ok, err)
		}
	}
	key := unique(t)
	if ok, err := s.Create(t.Context(), key, []byte("v"), time.Now().Add(50*time.Millisecond)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	eventually(t, 5*time.Second, "gone", func(ctx context.Context) bool {
		_, ok, err := s.Get(ctx, key)
		return !ok && err == nil
	})
}

func TestPrefix(t *testing.T) {
	o := at(private(t).Addr())
	for _, prefix := range []string{"", "1", "1:a", "a", "a1", ":"} {
		s := open(t, o, redisstore.Prefix(prefix))
		for _, key := range []string{"", "a", "1:a", ":a", "1a"} {
			val := []byte(prefix + " and " + key)
			if ok, err := s.Create(t.Context(), key, val, time.Now().Add(time.Hour)); !ok || err != nil {
				t.Errorf("%q under %q is there: %v, %v", key, prefix, ok, err)
			}
			if vals, err := s.GetMany(t.Context(), []string{key}); err != nil || !bytes.Equal(vals[0], val) {
				t.Errorf("%q under %q: %q, %v", key, prefix, vals, err)
			}
		}
	}
}

func TestGetMany(t *testing.T) {
	eachMode(t, func(t *testing.T, o *redis.UniversalOptions) {
		s, prefix := open(t, o), unique(t)
		large := bytes.Repeat([]byte{0, 255, '\r', '\n'}, 16<<10)
		vals := map[string][]byte{"a": []byte("va"), "empty": {}, "\x00\xff{}": large}
		for key, val := range vals {
			if ok, err := s.Create(t.Context(), prefix+key, val, time.Now().Add(time.Hour)); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		keys := []string{"a", "none", "empty", "\x00\xff{}", "a", ""}
		prefixed := make([]string, len(keys))
		for i, key := range keys {
			prefixed[i] = prefix + key
		}
		got, err := s.GetMany(t.Context(), prefixed)
		if err != nil || len(got) != len(keys) {
			t.Fatalf("%d values, %v", len(got), err)
		}
		for i, key := range keys {
			want, there := vals[key]
			if (got[i] != nil) != there || !bytes.Equal(got[i], want) {
				t.Errorf("%q: %.20q, want %.20q", key, got[i], want)
			}
		}
		if got, err := s.GetMany(t.Context(), nil); len(got) != 0 || err != nil {
			t.Errorf("of no keys: %v, %v", got, err)
		}
	})
}

func TestScriptsThatTheServerForgot(t *testing.T) {
	eachMode(t, func(t *testing.T, o *redis.UniversalOptions) {
		s, c, key := open(t, o), bare(t, o), unique(t)
		forget := func() {
			t.Helper()
			if err := c.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			forget()
			if ok, err := s.Create(t.Context(), key, []byte("1"), time.Now().Add(time.Hour)); !ok || err != nil {
				t.Errorf("Create: %v, %v", ok, err)
			}
			forget()
			if ok, err := s.Swap(t.Context(), key, []byte("1"), []byte("2"), time.Now().Add(time.Hour)); !ok || err != nil {
				t.Errorf("Swap: %v, %v", ok, err)
			}
			forget()
			if ok, err := s.Delete(t.Context(), key); !ok || err != nil {
				t.Errorf("Delete: %v, %v", ok, err)
			}
		}
	})
}
