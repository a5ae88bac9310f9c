package tokenbooth

import (
	"context"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	anonBuckets    = 1 << 17
	defaultMaxKeys = 1 << 20
	maxRetryAfter  = time.Hour
	// A rate above one per nanosecond, the resolution of the clock, is that.
	maxPerSecond = 1e9
)

// A MemoryLimiter is a [Limiter] of token buckets in the memory of one process.
// The zero value is ready; use it by pointer and do not copy it after the first
// Take. The fields are not changed after that. It is safe for concurrent use,
// starts no goroutine and allocates nothing for a key that it knows.
//
// Memory grows with the keys seen, about 120 bytes each, and is never given
// back. Requests before authentication (see [Limiter]) have a table of their
// own, of 131,072 buckets. When a table has no room a newcomer takes the place
// of a bucket that is full, which changes nothing for its owner; a bucket that is
// not full is never given up, so that no flood of keys can refill an empty one.
// A newcomer that finds no place among the few buckets looked at shares one of
// 4,096 others, meanwhile: with all of its address prefix before authentication,
// with whoever has the same hash after it.
//
// Keys are told apart by a hash of 64 bits under a random seed.
//
// The clock may step: a forward step refills buckets, a backward step of 1 s or
// more counts as no time at all, a lesser one as the later time, and so nobody
// waits for longer than the bucket takes to refill.
type MemoryLimiter struct {
	// MaxKeys is how many keys have a bucket of their own after authentication,
	// about, since the hash spreads them over 64 parts (from 16,384 keys on);
	// never more. 1,048,576 when not positive.
	MaxKeys int
	// Now is the clock; time.Now when nil.
	Now func() time.Time

	once  sync.Once
	anon  *bucketTable
	known *bucketTable
}

// Take decides in memory and looks at no deadline. The error is that of an
// invalid Limit. A Limit that differs from the key's last one holds at once: the
// tokens left are kept, as far as they fit into the new Burst.
func (m *MemoryLimiter) Take(_ context.Context, key string, l Limit) (d Decision, err error) {
	if err = l.check(); err != nil {
		return d, err
	}
	l.PerSecond = min(l.PerSecond, maxPerSecond)
	m.once.Do(m.init)
	d.Limit = l.Burst
	now := m.now()
	if share, ok := anonShare(key); ok {
		m.anon.take(&d, key, share, now, l)
	} else {
		m.known.take(&d, key, key, now, l)
	}
	return d, nil
}

// expect has the processor fetch the bucket of a known key, which is soon to be
// taken from: among a million it takes as long as all else that is done meanwhile.
func (m *MemoryLimiter) expect(key string) {
	m.once.Do(m.init)
	h := maphash.String(m.known.seed, key)
	if slot := m.known.shards[h>>m.known.shift].find(h); slot != nil {
		slot.number.Load() // the other end of it
	}
}

func (m *MemoryLimiter) init() {
	m.anon = newBucketTable(anonBuckets)
	m.known = newBucketTable(m.MaxKeys)
}

// now is asked before any lock is taken: a clock that panics leaves none behind.
func (m *MemoryLimiter) now() time.Time {
	if m.Now == nil {
		return time.Now()
	}
	return m.Now()
}

const (
	tableShards = 64
	// Below this many keys the shards would be so small that chance fills some
	// long before the others.
	minShardedKeys = 1 << 14
	// 64 stripes of 64 are the 4,096 shared buckets.
	stripes       = 64
	stripeBuckets = 64
)

// A bucketTable finds the bucket of a key, its own or a shared one.
type bucketTable struct {
	seed    maphash.Seed
	shards  []bucketShard // 1 or tableShards
	shift   int           // what leaves of a hash the number of its shard
	stripes [stripes]bucketStripe
}

func newBucketTable(maxKeys int) *bucketTable {
	if maxKeys <= 0 {
		maxKeys = defaultMaxKeys
	}
	n := 1
	if maxKeys >= minShardedKeys {
		n = tableShards
	}
	t := &bucketTable{
		seed:   maphash.MakeSeed(),
		shards: make([]bucketShard, n),
		shift:  64 - bits.TrailingZeros(uint(n)),
	}
	for i := range t.shards {
		t.shards[i].max = min(maxKeys/n, 1<<30)
	}
	return t
}

// take charges the key's own bucket, or, when there is no room for one, the
// bucket that all of the same share have in common.
func (t *bucketTable) take(d *Decision, key, share string, now time.Time, l Limit) {
	h := maphash.String(t.seed, key)
	if t.shards[h>>t.shift].take(d, h, now, l) {
		return
	}
	h = maphash.String(t.seed, share)
	t.stripes[h%stripes].take(d, h/stripes, now, l)
}

// A bucketStripe is a part of the shared buckets.
type bucketStripe struct {
	mu      sync.Mutex
	clock   steadyClock
	buckets []rate.Limiter // nil until the first is needed
}

func (s *bucketStripe) take(d *Decision, h uint64, now time.Time, l Limit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at instant
	s.clock.read(&at, now)
	if s.buckets == nil {
		s.buckets = make([]rate.Limiter, stripeBuckets)
	}
	b := &s.buckets[h%stripeBuckets]
	if b.Burst() == 0 {
		fillBucket(b, l, at.steady)
	}
	limitBucket(b, l, at.steady)
	charge(d, b, l, &at, false)
}

const (
	// Small enough that a handful of keys in 64 shards cost little; a chunk fills
	// what the allocator has for its size.
	chunkSlots = 29
	// How many buckets a newcomer looks at for a full one. The hand passes them
	// in the order in which they were filled, so that the first is most often
	// the one that has rested longest.
	handReach = 8
)

// A bucketShard is a part of a bucketTable behind one lock. Only find may be called
// without it: a chunk is stored before the cell of the index that leads there.
type bucketShard struct {
	mu    sync.Mutex
	clock steadyClock
	hand  int
	// What decisions write is above and what they only read is below, in cache
	// lines of their own.
	index  slotIndex
	chunks atomic.Pointer[[]*bucketChunk]
	used   int // slots in use; they are never given back
	max    int
	limits []Limit // that buckets have, as far as they have a number
	_      [8]byte // so that no two shards share a cache line
}

// manyLimits stands for every limit that is not among the first of its shard.
const manyLimits = 255

type bucketChunk [chunkSlots]bucketSlot

// A bucketSlot holds a bucket and the hash of the key whose it is.
type bucketSlot struct {
	hash   atomic.Uint64
	bucket rate.Limiter
	full   int64 // when the bucket is full, in nanoseconds of the steady clock
	// The number of the bucket's limit: to ask the bucket itself takes its lock twice.
	number atomic.Uint32
}

// take returns false when the key has no bucket and there is no room for one.
func (s *bucketShard) take(d *Decision, h uint64, now time.Time, l Limit) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at instant
	s.clock.read(&at, now)
	slot := s.find(h)
	full := slot != nil && slot.full <= at.nanos
	if slot == nil {
		if slot = s.add(h, at.nanos); slot == nil {
			return false
		}
		fillBucket(&slot.bucket, l, at.steady)
		slot.number.Store(s.number(l))
	} else if i := slot.number.Load(); i == manyLimits || s.limits[i] != l {
		limitBucket(&slot.bucket, l, at.steady)
		slot.number.Store(s.number(l))
		full = false
	}
	refill := charge(d, &slot.bucket, l, &at, full)
	slot.full = at.nanos + int64(refill)
	return true
}

func (s *bucketShard) slot(n int) *bucketSlot {
	return &(*s.chunks.Load())[n/chunkSlots][n%chunkSlots]
}

// number returns the number of a limit.
func (s *bucketShard) number(l Limit) uint32 {
	n := slices.Index(s.limits, l)
	if n < 0 {
		if n = len(s.limits); n == manyLimits {
			return manyLimits
		}
		s.limits = append(s.limits, l)
	}
	return uint32(n) //nolint:gosec // below manyLimits
}

func (s *bucketShard) find(h uint64) *bucketSlot {
	probe := s.index.slots(h)
	for n := probe.next(); n >= 0; n = probe.next() {
		if slot := s.slot(n); slot.hash.Load() == h {
			return slot
		}
	}
	return nil
}

// add returns a slot for a new key, its bucket to be filled; nil when there is no
// room.
func (s *bucketShard) add(h uint64, now int64) *bucketSlot {
	n := s.used
	if n < s.max {
		s.makeRoom(n)
		s.used++
	} else if n = s.reclaim(now); n < 0 {
		return nil
	}
	s.index.add(h, n, s.used)
	slot := s.slot(n)
	slot.hash.Store(h)
	return slot
}

// makeRoom makes the chunk of a slot, where the slot is its first.
func (s *bucketShard) makeRoom(n int) {
	if n%chunkSlots != 0 {
		return
	}
	var chunks []*bucketChunk
	if all := s.chunks.Load(); all != nil {
		chunks = *all
	}
	chunks = append(chunks, new(bucketChunk))
	s.chunks.Store(&chunks)
}

// reclaim takes a full bucket from its key and returns the number of its slot, or -1.
func (s *bucketShard) reclaim(now int64) int {
	for range handReach {
		n := s.hand
		s.hand = (n + 1) % s.used
		if slot := s.slot(n); slot.full <= now {
			s.index.remove(slot.hash.Load(), n)
			return n
		}
	}
	return -1
}

// fillBucket makes a bucket of any state, the zero one too, a full one of the
// limit, in its place: a rate.Limiter holds a lock and cannot be copied, and only
// a new one or one that time has passed for is full.
func fillBucket(b *rate.Limiter, l Limit, t time.Time) {
	past := t.Add(-time.Second)
	b.SetBurstAt(past, l.Burst)
	b.SetLimitAt(past, 1e300)
	b.SetLimitAt(t, rate.Limit(l.PerSecond))
}

// limitBucket gives a bucket another limit, and leaves it the tokens that fit.
func limitBucket(b *rate.Limiter, l Limit, t time.Time) {
	if b.Limit() != rate.Limit(l.PerSecond) {
		b.SetLimitAt(t, rate.Limit(l.PerSecond))
	}
	if b.Burst() != l.Burst {
		b.SetBurstAt(t, l.Burst)
	}
}

// charge takes one token from a bucket of this limit, if it has one, and need not
// ask how many are left in one that was full. It returns how long the bucket takes
// to be full.
func charge(d *Decision, b *rate.Limiter, l Limit, at *instant, full bool) time.Duration {
	d.Allowed = b.AllowN(at.steady, 1)
	tokens := float64(l.Burst - 1)
	d.Remaining = l.Burst - 1
	if !full || !d.Allowed {
		tokens = b.TokensAt(at.steady)
		d.Remaining = wholeTokens(tokens, l)
	}
	refill := timeToFull(tokens, l)
	d.Reset = at.now.Add(at.lag + refill)
	if !d.Allowed {
		d.RetryAfter = retryAfter(b, tokens, l, at)
	}
	return refill
}

// suffices reports whether AllowN gives n tokens when there are so many: it
// forgives what is regained in less than a nanosecond.
func suffices(tokens, n float64, l Limit) bool {
	return tokens >= n || (n-tokens)/l.PerSecond*1e9 < 1
}

func wholeTokens(tokens float64, l Limit) int {
	if tokens >= float64(l.Burst) {
		return l.Burst
	}
	whole := max(0, math.Floor(tokens))
	if suffices(tokens, whole+1, l) {
		whole++
	}
	return int(whole)
}

func timeToFull(tokens float64, l Limit) time.Duration {
	const longest = 100 * 365 * 24 * time.Hour
	ns := math.Ceil((float64(l.Burst) - tokens) / l.PerSecond * 1e9)
	if ns >= float64(longest) {
		return longest
	}
	return max(0, time.Duration(ns))
}

// retryAfter returns the least number of whole seconds after which the bucket
// has a token. Division says about how many; the bucket itself has the last
// word, since a quotient that is off by one bit would be a false promise.
func retryAfter(b *rate.Limiter, tokens float64, l Limit, at *instant) time.Duration {
	seconds := (1-tokens)/l.PerSecond + at.lag.Seconds()
	if seconds >= maxRetryAfter.Seconds() {
		return maxRetryAfter
	}
	d := max(1, time.Duration(seconds)) * time.Second
	for d < maxRetryAfter && !suffices(b.TokensAt(at.steady.Add(d-at.lag)), 1, l) {
		d += time.Second
	}
	return d
}
