package sqlstore

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/testservers"
)

// recordSize is what one authorization takes.
const recordSize = 200

// entries are enough for the goroutines of a benchmark not to wait for one
// another's rows.
const entries = 1 << 12

func benchStores(b *testing.B, f func(b *testing.B, s *Store)) {
	b.Run("store=postgres", func(b *testing.B) {
		_, s := started(b, testservers.StartPostgres)
		f(b, filled(b, s))
	})
	b.Run("store=mysql", func(b *testing.B) {
		_, s := started(b, testservers.StartMySQL)
		f(b, filled(b, s))
	})
	b.Run("store=sqlite", func(b *testing.B) { f(b, filled(b, sqliteEngine.open(b))) })
}

func filled(t testing.TB, s *Store) *Store {
	fill(t, s, entries, later)
	return s
}

func fillKey(i int64) string { return fmt.Sprint("fill", i%entries+1) }

// BenchmarkGetSwap is what one refresh asks of a store. The bare update beside
// it goes through the same pool to the same table:
//
//	go test -run '^$' -bench 'GetSwap|BareUpdate' -cpu 16
func BenchmarkGetSwap(b *testing.B) {
	benchStores(b, func(b *testing.B, s *Store) { parallel(b, getSwap(b, s)) })
}

// BenchmarkBareUpdate is one UPDATE of one row by its primary key.
func BenchmarkBareUpdate(b *testing.B) {
	benchStores(b, func(b *testing.B, s *Store) { parallel(b, bareUpdate(b, s)) })
}

// BenchmarkRatio prints the throughput of the one divided by that of the other,
// which take turns.
func BenchmarkRatio(b *testing.B) {
	benchStores(b, func(b *testing.B, s *Store) {
		ours, bare := getSwap(b, s), bareUpdate(b, s)
		var oursTook, bareTook time.Duration
		const turn = 2000
		for b.Loop() {
			oursTook += timed(turn, ours)
			bareTook += timed(turn, bare)
		}
		b.ReportMetric(float64(bareTook)/float64(oursTook), "of-bare")
		b.ReportMetric(0, "ns/op")
	})
}

func parallel(b *testing.B, f func(i int64)) {
	var n atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f(n.Add(1))
		}
	})
}

// timed runs f so often, by as many goroutines as the pool has connections.
func timed(times int64, f func(i int64)) time.Duration {
	began := time.Now()
	var n atomic.Int64
	done := make(chan struct{})
	for range poolSize {
		go func() {
			for i := n.Add(1); i <= times; i = n.Add(1) {
				f(i)
			}
			done <- struct{}{}
		}()
	}
	for range poolSize {
		<-done
	}
	return time.Since(began)
}

func getSwap(b *testing.B, s *Store) func(i int64) {
	ctx := b.Context()
	return func(i int64) {
		key := fillKey(i)
		old, ok, err := s.Get(ctx, key)
		if err != nil || !ok {
			b.Error(ok, err)
			return
		}
		if _, err := s.Swap(ctx, key, old, changed(i), later); err != nil {
			b.Error(err)
		}
	}
}

func bareUpdate(b *testing.B, s *Store) func(i int64) {
	ctx := b.Context()
	text := `UPDATE tokenbooth_state SET value = ? WHERE name = ?`
	if s.dialect == &postgres {
		text = `UPDATE tokenbooth_state SET value = $1 WHERE name = $2`
	}
	return func(i int64) {
		if _, err := s.writes.exec(ctx, text, changed(i), nameOf(fillKey(i))); err != nil {
			b.Error(err)
		}
	}
}

var salt atomic.Int64

// changed is a value that no other has.
func changed(i int64) []byte {
	val := make([]byte, recordSize)
	copy(val, fmt.Sprint(i, " ", salt.Add(1)))
	return val
}

// The tokens are in the database and nowhere else.
func TestHeapIsFlatInTheNumberOfTokens(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		work := func() {
			for i := range 500 {
				key := fmt.Sprint("k", salt.Add(1))
				if ok, err := s.Create(t.Context(), key, changed(int64(i)), later); !ok || err != nil {
					t.Fatal(ok, err)
				}
				if _, err := s.GetMany(t.Context(), []string{key, "none", fillKey(int64(i))}); err != nil {
					t.Fatal(err)
				}
			}
		}
		work()
		before := heap()
		fill(t, s, 30_000, later)
		work()
		const most = 1 << 20 // the tokens have six times as much
		if grown := heap() - before; grown > most {
			t.Errorf("the heap has grown by %d bytes", grown)
		}
	})
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
