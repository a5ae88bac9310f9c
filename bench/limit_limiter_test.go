package bench

import (
	"hash/maphash"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The physical limit of a rate limiter: a GCRA of one compare-and-swap, on a
// sharded map ("limit") and on one flat table of atomics ("limit-table").
func init() {
	rateLimiters = append(rateLimiters,
		rateLimiter{"limit", newShardedGCRA},
		rateLimiter{"limit-table", newTableGCRA},
	)
}

const (
	gcraStep  = 1              // ns between requests at the allowed rate
	gcraBurst = int64(1) << 50 // ns a key may run ahead
)

var started = time.Now()

// take moves one key's theoretical arrival time by a step.
func take(tat *atomic.Int64) bool {
	now := int64(time.Since(started))
	for {
		old := tat.Load()
		next := max(old, now) + gcraStep
		if next-now > gcraBurst {
			return false
		}
		if tat.CompareAndSwap(old, next) {
			return true
		}
	}
}

func newShardedGCRA() (allowFunc, func()) {
	arrivals := newShardedMap(func() *atomic.Int64 { return new(atomic.Int64) })
	return func(_ http.ResponseWriter, _ *http.Request, key string) bool {
		return take(arrivals.get(key))
	}, func() {}
}

// A shardedMap makes a key's value when it is first asked for.
type shardedMap[V any] struct {
	seed   maphash.Seed
	make   func() *V
	shards [256]struct {
		sync.RWMutex
		m map[string]*V
		_ [32]byte // one cache line each
	}
}

func newShardedMap[V any](make func() *V) *shardedMap[V] {
	s := &shardedMap[V]{seed: maphash.MakeSeed(), make: make}
	for i := range s.shards {
		s.shards[i].m = map[string]*V{}
	}
	return s
}

func (m *shardedMap[V]) get(key string) *V {
	s := &m.shards[maphash.String(m.seed, key)%256]
	s.RLock()
	v := s.m[key]
	s.RUnlock()
	if v == nil {
		s.Lock()
		if v = s.m[key]; v == nil {
			v = m.make()
			s.m[key] = v
		}
		s.Unlock()
	}
	return v
}

// newTableGCRA has room for 2^21 keys, known by 64 bits of a keyed hash, in
// slots of 16 bytes. It neither grows nor forgets: the least that can be done.
func newTableGCRA() (allowFunc, func()) {
	type slot struct {
		id  atomic.Uint64
		tat atomic.Int64
	}
	const size = 1 << 21
	slots := make([]slot, size)
	seed := maphash.MakeSeed()
	return func(_ http.ResponseWriter, _ *http.Request, key string) bool {
		h := maphash.String(seed, key) | 1
		for i := h >> 1; ; i++ {
			s := &slots[i%size]
			id := s.id.Load()
			if id == h || id == 0 && (s.id.CompareAndSwap(0, h) || s.id.Load() == h) {
				return take(&s.tat)
			}
		}
	}, func() {}
}
