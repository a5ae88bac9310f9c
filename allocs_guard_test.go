//go:build !race

package tokenbooth

import (
	"net/http"
	"runtime"
	"strconv"
	"testing"
)

// allocations serves a request that was served before, and counts the objects of
// one more. The test is not parallel, nor is any beside it.
func allocations(t *testing.T, h http.Handler, r *http.Request) float64 {
	t.Helper()
	w := &discard{header: http.Header{}}
	serve := func() {
		clear(w.header)
		w.status = 0
		h.ServeHTTP(w, r)
		if w.status != http.StatusNoContent {
			t.Fatal(w.status)
		}
	}
	serve()
	return testing.AllocsPerRun(200, serve)
}

func allocsToken(t *testing.T, algorithm string) *http.Request {
	key := gkKey(algorithm)
	r := gkRequest(gkJWS(t, key.Material, gkHeader(key, algorithm).with(nil), gkClaims().with(gkMembers{"sub": "user-7"})))
	r.RemoteAddr = "192.0.2.1:4711"
	return r
}

// TestAllocations_Guard: a token that was seen before costs the copy of the
// request, its context and, where the handler asks for it, the Principal.
func TestAllocations_Guard(t *testing.T) {
	asking := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := PrincipalFrom(r.Context()); !ok || p.Subject != "user-7" {
			t.Errorf("%+v", p)
		}
		gkOpen(w, r)
	})
	for _, algorithm := range gkAlgorithms {
		b := gkNew(t, func(c *HandlerConfig) {
			c.Keys, c.Limit = gkRing(t, gkKey(algorithm)), Limit{PerSecond: 1e9, Burst: 1e9}
		})
		bare := gkGuard(t, GuardConfig{Keys: gkRing(t, gkKey(algorithm)), Limiter: Unlimited{}, Now: b.clock.now})
		r := allocsToken(t, algorithm)
		for _, c := range []struct {
			name string
			h    http.Handler
			most float64
		}{
			{"no limiter, no State", bare.Require()(gkOpen), 2},
			{"no limiter, no State, asked who it is", bare.Require("read")(asking), 3},
			{"the handler's", b.Guard().Require("read")(gkOpen), 2},
			{"the handler's, asked who it is", b.Guard().RequireAny("write", "read")(asking), 3},
		} {
			if n := allocations(t, c.h, r); n > c.most {
				t.Errorf("%s, %s: %v allocations, want at most %v", algorithm, c.name, n, c.most)
			}
		}
	}
}

// TestB6_TokenCacheHeap: what the cache counts is what its tokens cost.
func TestB6_TokenCacheHeap(t *testing.T) {
	key := gkKey("HS256")
	b := gkNew(t, func(c *HandlerConfig) { c.Keys = gkRing(t, key) })
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	for i := range 3000 {
		token := gkJWS(t, key.Material, gkHeader(key, "HS256").with(nil), gkClaims().with(gkMembers{
			"jti": strconv.Itoa(i), "sub": "user-" + strconv.Itoa(i), "fam": gk64("0123456789abcdef"),
		}))
		if _, err := b.codec.verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	cost := heap() - before
	if _, size, _ := b.codec.(*jwtCodec).seen.held(); cost > size+cacheShards*cacheShardSlots*8 {
		t.Errorf("%d bytes of heap, counted as %d", cost, size)
	}
}

func TestAllocations_Limiter(t *testing.T) {
	m, l := new(MemoryLimiter), Limit{PerSecond: 10, Burst: 20}
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = clientKey("client", strconv.Itoa(i))
		mustTake(t, m, keys[i], l)
	}
	i := 0
	if n := testing.AllocsPerRun(5000, func() {
		mustTake(t, m, keys[i%len(keys)], l)
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
