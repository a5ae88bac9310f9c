package store

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// size returns how many entries there are.
func (m *Memory) size() int {
	n := 0
	for i := range m.shards {
		m.shards[i].mu.RLock()
		n += int(m.shards[i].count)
		m.shards[i].mu.RUnlock()
	}
	return n
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *clock) advance(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

func mustCreate(t testing.TB, m *Memory, key string, expires time.Time) {
	t.Helper()
	if ok, err := m.Create(t.Context(), key, []byte("v"), expires); !ok || err != nil {
		t.Fatalf("Create %q: %v, %v", key, ok, err)
	}
}

// modelState is what Memory should be, with a map.
type modelState struct {
	vals map[string][]byte
	exp  map[string]int64
}

func (m *modelState) do(op int, key string, old, val []byte, exp time.Time) bool {
	cur, ok := m.vals[key]
	same := ok && bytes.Equal(cur, val)
	switch {
	case op == 0 && !ok, op == 1 && ok && !same && bytes.Equal(cur, old):
		m.vals[key], m.exp[key] = val, exp.Unix()
		return true
	case op < 2:
		if same {
			m.exp[key] = max(m.exp[key], exp.Unix())
		}
		return same
	}
	delete(m.vals, key)
	return ok
}

func TestMemoryAgainstModel(t *testing.T) {
	ctx := t.Context()
	r := rand.New(rand.NewPCG(1, 2))
	c := &clock{now: testNow}
	m := &Memory{Now: c.Now}
	model := &modelState{map[string][]byte{}, map[string]int64{}}
	pick := func(n int) []byte { return fmt.Appendf(nil, "%d", r.IntN(n)) }
	for i := range 150_000 {
		if r.IntN(100) == 0 {
			c.advance(time.Second)
		}
		// Phases of growing and of shrinking.
		op := r.IntN(3)
		if i/15_000%2 == 0 && op == 2 && r.IntN(4) > 0 {
			op = 0
		}
		key, old, val := string(pick(20_000)), pick(3), pick(3)
		exp := c.Now().Add(time.Duration(r.IntN(2000)) * time.Second)
		if cur, ok, _ := m.Get(ctx, key); !ok && model.vals[key] != nil {
			if model.exp[key] >= c.Now().Unix() {
				t.Fatalf("%d: %s is gone before its expiry", i, key)
			}
			model.do(2, key, nil, nil, exp)
		} else if ok && !bytes.Equal(cur, model.vals[key]) {
			t.Fatalf("%d: %s is %q, want %q", i, key, cur, model.vals[key])
		}
		want := model.do(op, key, old, val, exp)
		if got := apply(ctx, m, op, key, old, val, exp); got != want {
			t.Fatalf("%d: operation %d of %s: got %v, want %v", i, op, key, got, want)
		}
	}
	checkTables(t, m)
}

func apply(ctx context.Context, m *Memory, op int, key string, old, val []byte, exp time.Time) (ok bool) {
	switch op {
	case 0:
		ok, _ = m.Create(ctx, key, val, exp)
	case 1:
		ok, _ = m.Swap(ctx, key, old, val, exp)
	default:
		ok, _ = m.Delete(ctx, key)
	}
	return ok
}

// checkTables looks whether each entry can be found and nothing else can.
func checkTables(t *testing.T, m *Memory) {
	t.Helper()
	for i := range m.shards {
		s := &m.shards[i].table
		entered, ofKinds := uint32(0), int32(0)
		for j := range s.kinds {
			ofKinds += s.kinds[j].Load()
		}
		for j := range s.buckets {
			for b := s.at(j); b != nil; b = b.more {
				for k := range b.entries {
					e := &b.entries[k]
					if e.about == 0 {
						continue
					}
					entered++
					if s.find(e.hash, string(e.key())) != e {
						t.Errorf("shard %d: an entry is not found", i)
					}
				}
			}
		}
		if entered != s.count || ofKinds != int32(entered) || s.count > s.buckets*bucketLoad || s.count < s.buckets {
			t.Errorf("shard %d: %d of %d entries, %d by kind, in %d buckets", i, entered, s.count, ofKinds, s.buckets)
		}
	}
}

func TestTableOfEqualHashes(t *testing.T) {
	var tab table
	key := func(i int) string { return fmt.Sprint("key", i) }
	for i := range 200 {
		e := newEntry(7, key(i), []byte(key(i)), testNow, 0)
		tab.insert(&e)
	}
	for i := 0; i < 200; i += 2 {
		tab.remove(tab.find(7, key(i)))
	}
	for i := range 200 {
		e := tab.find(7, key(i))
		if (e != nil) != (i%2 == 1) || e != nil && string(e.value()) != key(i) {
			t.Errorf("%d: %v", i, e)
		}
	}
}

func TestMemoryNeverCollectsBeforeExpiry(t *testing.T) {
	c := &clock{now: testNow}
	m := &Memory{Now: c.Now}
	exp := testNow.Add(10*time.Second + time.Nanosecond)
	for i := range 1000 {
		mustCreate(t, m, fmt.Sprint(i), exp)
	}
	c.advance(10*time.Second + time.Nanosecond)
	for i := range 10_000 {
		mustCreate(t, m, fmt.Sprint("more", i), testNow.Add(time.Hour))
	}
	if n := m.size(); n != 11_000 {
		t.Errorf("%d entries, want 11000", n)
	}
}

func TestMemoryKeepsExpiredUntilCollected(t *testing.T) {
	ctx := t.Context()
	c := &clock{now: testNow}
	m := &Memory{Now: c.Now}
	mustCreate(t, m, "k", testNow.Add(time.Second))
	c.advance(time.Hour)
	if _, ok, _ := m.Get(ctx, "k"); !ok {
		t.Error("Get does not find it")
	}
	if ok, _ := m.Swap(ctx, "k", []byte("v"), []byte("w"), testNow.Add(2*time.Hour)); !ok {
		t.Error("Swap does not find it")
	}
	if ok, _ := m.Create(ctx, "k", []byte("x"), testNow); ok {
		t.Error("Create takes its place")
	}
	if ok, _ := m.Delete(ctx, "k"); !ok {
		t.Error("Delete does not find it")
	}
}

func TestMemoryCreatedIsThereThoughExpired(t *testing.T) {
	m := new(Memory)
	mustCreate(t, m, "k", time.Time{})
	if _, ok, _ := m.Get(t.Context(), "k"); !ok {
		t.Error("Create collected what it created")
	}
}

func TestMemoryCollectsAtMostTwoPerCreate(t *testing.T) {
	const n = 200_000
	c := &clock{now: testNow}
	m := &Memory{Now: c.Now}
	for i := range n {
		mustCreate(t, m, fmt.Sprint(i), testNow.Add(time.Minute))
	}
	c.advance(time.Hour)
	size := m.size()
	for i := range 200 {
		mustCreate(t, m, fmt.Sprint("a", i), c.Now().Add(time.Hour))
		now := m.size()
		if removed := size + 1 - now; removed != 2 {
			t.Fatalf("Create %d removed %d, want 2", i, removed)
		}
		size = now
	}
	const more = n
	for i := range more {
		mustCreate(t, m, fmt.Sprint("b", i), c.Now().Add(time.Hour))
	}
	checkTables(t, m)
	if got := m.size(); got != more+200 {
		t.Errorf("%d entries, want the %d live ones", got, more+200)
	}
}

// The hand has to be faster than what comes: expired entries stay a fraction.
func TestMemorySteadyState(t *testing.T) {
	c := &clock{now: testNow}
	m := &Memory{Now: c.Now}
	const perSecond, life = 1000, 20
	for s := range 200 {
		for i := range perSecond {
			mustCreate(t, m, fmt.Sprint(s, "-", i), c.Now().Add(life*time.Second))
		}
		c.advance(time.Second)
	}
	const live = perSecond * (life + 1)
	if n := m.size(); n > live*3/2 {
		t.Errorf("%d entries for %d live ones", n, live)
	}
}

func TestMemoryGivesMemoryBack(t *testing.T) {
	m, keys := new(Memory), tokenKeys(50_000)
	before := heap()
	exp := time.Now().Add(time.Hour)
	for _, k := range keys {
		mustCreate(t, m, k, exp)
	}
	for _, k := range keys {
		if ok, _ := m.Delete(t.Context(), k); !ok {
			t.Fatal("not there")
		}
	}
	if grown := heap() - before; grown > 2<<20 {
		t.Errorf("%d bytes remain", grown)
	}
	runtime.KeepAlive(keys)
	runtime.KeepAlive(m)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return int64(ms.HeapAlloc)
}

func tokenKeys(n int) []string {
	r := rand.New(rand.NewPCG(3, 4))
	keys := make([]string, n)
	b := make([]byte, 32)
	for i := range keys {
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		keys[i] = "token:" + string(b)
	}
	return keys
}

func TestMemoryHeapPerToken(t *testing.T) {
	const most = 300
	for _, n := range []int{50_000, 100_001} {
		keys := tokenKeys(n)
		val := make([]byte, 100)
		exp := time.Now().Add(time.Hour)
		m := new(Memory)
		before := heap()
		for _, k := range keys {
			if ok, _ := m.Create(t.Context(), k, val, exp); !ok {
				t.Fatal("not created")
			}
		}
		each := float64(heap()-before) / float64(n)
		runtime.KeepAlive(keys)
		runtime.KeepAlive(m)
		t.Logf("%d tokens: %.0f bytes each", n, each)
		if each > most {
			t.Errorf("%d tokens: %.0f bytes each, want at most %d", n, each, most)
		}
	}
}

func TestMemoryAllocations(t *testing.T) {
	ctx := t.Context()
	c, _ := NewClient("acme")
	m, err := NewMemory(c)
	if err != nil {
		t.Fatal(err)
	}
	exp := time.Now().Add(time.Hour)
	mustCreate(t, m, "k", exp)
	vals := [][]byte{[]byte("v"), []byte("w")}
	turn := 0
	for _, tt := range []struct {
		name string
		most float64
		run  func()
	}{
		{"Client", 0, func() { _, _ = m.Client(ctx, "acme") }},
		{"Client unknown", 0, func() { _, _ = m.Client(ctx, "other") }},
		{"Get", 0, func() { _, _, _ = m.Get(ctx, "k") }},
		{"Get unknown", 0, func() { _, _, _ = m.Get(ctx, "kind") }},
		{"Create and Delete", 1, func() { _, _ = m.Create(ctx, "x", vals[0], exp); _, _ = m.Delete(ctx, "x") }},
		{"Swap", 0, func() { // but for the first
			if ok, _ := m.Swap(ctx, "k", vals[turn], vals[1-turn], exp); !ok {
				t.Error("not swapped")
			}
			turn = 1 - turn
		}},
	} {
		if got := testing.AllocsPerRun(100, tt.run); got > tt.most {
			t.Errorf("%s: %v allocations, want at most %v", tt.name, got, tt.most)
		}
	}
}

// What Get returned stays what it was, whatever is swapped in meanwhile, and is
// never half of one value and half of another.
func TestMemoryValuesDoNotChange(t *testing.T) {
	ctx, m := t.Context(), new(Memory)
	exp := time.Now().Add(time.Hour)
	value := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 300+i%3) } // of lengths that fit
	if ok, err := m.Create(ctx, "k", value(0), exp); !ok || err != nil {
		t.Fatal(ok, err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for i := range 20_000 {
			if ok, err := m.Swap(ctx, "k", value(i), value(i+1), exp); !ok || err != nil {
				t.Errorf("%d: %v, %v", i, ok, err)
			}
		}
	})
	for range 2 {
		all.Go(func() {
			var kept, then [8][]byte
			for i := range 10_000 {
				got, ok, err := m.Get(ctx, "k")
				if !ok || err != nil || !bytes.Equal(got, bytes.Repeat(got[:1], len(got))) {
					t.Errorf("%v, %v: %x", ok, err, got)
				}
				at := i % len(kept)
				if !bytes.Equal(kept[at], then[at]) {
					t.Errorf("%x became %x", then[at], kept[at])
				}
				kept[at], then[at] = got, bytes.Clone(got)
			}
		})
	}
	all.Wait()
}

func TestMemoryAppendsAValue(t *testing.T) {
	ctx, m := t.Context(), new(Memory)
	mustCreate(t, m, "k", time.Now().Add(time.Hour))
	room := append(make([]byte, 0, 8), "x"...)
	got, ok, err := m.AppendValue(ctx, "k", room)
	if string(got) != "xv" || !ok || err != nil || &got[0] != &room[0] {
		t.Errorf("%q, %v, %v", got, ok, err)
	}
	if got, ok, err = m.AppendValue(ctx, "other", room); got != nil || ok || err != nil {
		t.Errorf("%q, %v, %v", got, ok, err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, ok, err = m.AppendValue(over, "k", room); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestMemoryKeepsNoRoomOfALongValue(t *testing.T) {
	ctx, m, exp := t.Context(), new(Memory), time.Now().Add(time.Hour)
	long := make([]byte, 1<<20)
	mustCreate(t, m, "k", exp)
	for _, swap := range [][2][]byte{{[]byte("v"), long}, {long, []byte("w")}, {[]byte("w"), []byte("x")}} {
		if ok, err := m.Swap(ctx, "k", swap[0], swap[1], exp); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	s, hash := m.shard("k")
	if held := cap(s.find(hash, "k").data); held > 2*maxFree {
		t.Errorf("a value of one byte holds %d", held)
	}
}

// What two callers append to one value is not the other's.
func TestMemoryValuesHaveNoRoom(t *testing.T) {
	ctx, m := t.Context(), new(Memory)
	for _, n := range []int{0, 1, 11, 100} {
		key := fmt.Sprint(n)
		if ok, err := m.Create(ctx, key, make([]byte, n), time.Now().Add(time.Hour)); !ok || err != nil {
			t.Fatal(ok, err)
		}
		a, _, _ := m.Get(ctx, key)
		b, _, _ := m.Get(ctx, key)
		if a == nil {
			t.Error("an empty value is none")
		}
		first := append(a, 'A') //nolint:gocritic // that is what is tried
		_ = append(b, 'B')
		if first[n] != 'A' {
			t.Errorf("%d bytes: what was appended is %q", n, first[n])
		}
	}
}

func TestMemoryParallelOnDistinctKeys(t *testing.T) {
	c := &clock{now: testNow}
	m := &Memory{Now: c.Now}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				key := fmt.Sprint(g, "-", i)
				mustCreate(t, m, key, testNow.Add(time.Duration(i%3)*time.Second))
				_, _, _ = m.Get(t.Context(), key)
				_, _ = m.Swap(t.Context(), key, []byte("v"), []byte("w"), testNow.Add(time.Second))
				if i%5 == 0 {
					_, _ = m.Delete(t.Context(), key)
				}
				if i%100 == 0 {
					c.advance(time.Second)
				}
			}
		})
	}
	wg.Wait()
	checkTables(t, m)
}

func TestT8_MemoryPrintsNothing(t *testing.T) {
	c, plain := NewClient("acme")
	m, err := NewMemory(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Create(t.Context(), "canary-key", []byte("canary-value"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for how, out := range outputs(t, m) {
		for _, f := range []string{"canary", plain, "sha256$", fmt.Sprintf("%x", "canary"), "99 97 110 97 114 121"} {
			if strings.Contains(out, f) {
				t.Errorf("%s shows %s: %s", how, f, out)
			}
		}
	}
}

func BenchmarkMemory(b *testing.B) {
	ctx := b.Context()
	exp := time.Now().Add(time.Hour)
	val := make([]byte, 100)
	b.Run("Get", func(b *testing.B) {
		m, keys := new(Memory), tokenKeys(100_000)
		for _, k := range keys {
			_, _ = m.Create(ctx, k, val, exp)
		}
		i := 0
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = m.Get(ctx, keys[i%len(keys)])
			i++
		}
	})
	b.Run("GetParallel", func(b *testing.B) {
		m, keys := new(Memory), tokenKeys(100_000)
		for _, k := range keys {
			_, _ = m.Create(ctx, k, val, exp)
		}
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(len(keys)); pb.Next(); i++ {
				_, _, _ = m.Get(ctx, keys[i%len(keys)])
			}
		})
	})
	b.Run("Create", func(b *testing.B) {
		m, keys := new(Memory), tokenKeys(1<<20)
		i := 0
		b.ReportAllocs()
		for b.Loop() {
			if i == len(keys) {
				i, m = 0, new(Memory)
			}
			_, _ = m.Create(ctx, keys[i], val, exp)
			i++
		}
	})
	b.Run("Swap", func(b *testing.B) {
		m := new(Memory)
		vals := [2][]byte{bytes.Repeat([]byte("a"), 100), bytes.Repeat([]byte("b"), 100)}
		_, _ = m.Create(ctx, "authz:0123456789abcdef", vals[0], exp)
		i := 0
		b.ReportAllocs()
		for b.Loop() {
			_, _ = m.Swap(ctx, "authz:0123456789abcdef", vals[i%2], vals[1-i%2], exp)
			i++
		}
	})
	for _, n := range []int{10, 1_000_000} {
		b.Run(fmt.Sprint("Client/", n), func(b *testing.B) { benchmarkClient(b, n) })
	}
}

func benchmarkClient(b *testing.B, n int) {
	m, secret := new(Memory), HashSecret("x")
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint("client-", i)
		if err := m.Put(&Client{ID: ids[i], Secrets: []Secret{secret}}); err != nil {
			b.Fatal(err)
		}
	}
	rand.Shuffle(n, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Client(b.Context(), ids[i%n]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
