package store

import (
	"math/bits"
	"sync/atomic"
)

const (
	bucketSlots = 3
	bucketLoad  = 2  // entries for each bucket, at most
	lookAt      = 8  // entries that one collection looks at, in four times as many buckets at most
	removeMost  = 2  // entries that one collection removes
	chunkLen    = 64 // buckets; 8 KiB
)

// An entry is one key with its value. The zero entry is none.
type entry struct {
	data    []byte // the key and then the value
	expires int64  // Unix seconds
	hash    uint32
	about   uint32 // the length of the key, and the two below
}

const (
	isThere = 1 << 31
	// Nobody else has data: the value may be written over.
	isOwn = 1 << 30
)

func (e *entry) keyLen() int { return int(e.about &^ (isThere | isOwn)) }

func (e *entry) key() []byte { return e.data[:e.keyLen()] }

func (e *entry) value() []byte { return e.data[e.keyLen():] }

// write replaces the value where it lies, where it may and there is room: elsewhere
// would be another place that no cache of the processor has.
func (e *entry) write(val []byte) bool {
	free := cap(e.data) - e.keyLen() - len(val)
	if e.about&isOwn == 0 || free < 0 || free > maxFree {
		return false
	}
	clear(e.value())
	e.data = append(e.key(), val...)
	return true
}

const maxFree = 128 // bytes; where more would lie idle, the value gets another place

const kinds = 32

// kindOf: keys begin with a word for what they are of.
func kindOf[S string | []byte](key S) uint8 {
	if len(key) == 0 {
		return 0
	}
	return key[0] % kinds
}

// A table is a map whose every step is short, also the one that grows it and
// the one after a million entries have expired: a Go map can be searched for
// expired entries only by a range, which is long where the map is large and
// empty. Buckets are added and taken away one by one (linear hashing), so that a
// hand going round meets entries in most of them, and memory goes back when they
// go.
type table struct {
	chunks  []*[chunkLen]bucket
	buckets uint32
	count   uint32 // entries
	hand    uint32
	kinds   [kinds]atomic.Int32 // how many entries there are of each
}

// A bucket is two cache lines side by side. With millions of entries a place that
// no cache has costs as much as hundreds of instructions: a lookup takes one, and
// another for key and value.
type bucket struct {
	entries [bucketSlots]entry
	more    *bucket // of the same bucket, where the slots do not do
}

func (t *table) at(b uint32) *bucket { return &t.chunks[b/chunkLen][b%chunkLen] }

// head returns the bucket of a hash, where there is one.
func (t *table) head(hash uint32) *bucket {
	mask := uint32(1)<<bits.Len32(t.buckets-1) - 1
	b := hash & mask
	if b >= t.buckets {
		b = hash & (mask >> 1)
	}
	return t.at(b)
}

// mayHave is false where there is no such key, and needs no lock. What is asked for
// most, and is hardly ever there, is whether something was revoked: that is not to
// wade through a table full of something else.
func (t *table) mayHave(key string) bool { return t.kinds[kindOf(key)].Load() != 0 }

// find returns nil where there is no such key. What it returns is good until
// the next insert or remove.
func (t *table) find(hash uint32, key string) *entry {
	if t.count == 0 {
		return nil
	}
	for b := t.head(hash); b != nil; b = b.more {
		for i := range b.entries {
			if e := &b.entries[i]; e.hash == hash && e.about != 0 && string(e.key()) == key {
				return e
			}
		}
	}
	return nil
}

// insert adds an entry whose key is not there yet.
func (t *table) insert(e *entry) {
	if t.count++; t.count > t.buckets*bucketLoad {
		t.grow()
	}
	t.kinds[kindOf(e.key())].Add(1)
	t.head(e.hash).add(e)
}

func (b *bucket) add(e *entry) {
	for {
		for i := range b.entries {
			if b.entries[i].about == 0 {
				b.entries[i] = *e
				return
			}
		}
		if b.more == nil {
			b.more = new(bucket)
		}
		b = b.more
	}
}

// remove takes out an entry that find returned.
func (t *table) remove(e *entry) {
	head := t.head(e.hash)
	t.kinds[kindOf(e.key())].Add(-1)
	*e = entry{}
	for b := head; b.more != nil; b = b.more {
		if b.more.isEmpty() {
			b.more = b.more.more
			break
		}
	}
	if t.count--; t.count < t.buckets {
		t.shrink()
	}
}

// grow adds a bucket and gives it its share of the one that it splits.
func (t *table) grow() {
	if t.buckets == uint32(len(t.chunks))*chunkLen {
		t.chunks = append(t.chunks, new([chunkLen]bucket))
	}
	t.buckets++
	if last := t.buckets - 1; last > 0 {
		t.deal(t.at(last &^ (1 << (bits.Len32(last) - 1))))
	}
}

// shrink takes the last bucket away and gives what it has to the one that it was
// split from. One chunk stays in reserve, against one being made and dropped in
// turn.
func (t *table) shrink() {
	if t.buckets--; t.buckets > 0 {
		t.deal(t.at(t.buckets))
	}
	if last := len(t.chunks) - 1; last > int(t.buckets/chunkLen)+1 {
		t.chunks[last] = nil
		t.chunks = t.chunks[:last]
	}
}

// deal empties a bucket and enters what was in it anew.
func (t *table) deal(from *bucket) {
	all := *from
	*from = bucket{}
	for b := &all; b != nil; b = b.more {
		for i := range b.entries {
			if e := &b.entries[i]; e.about != 0 {
				t.head(e.hash).add(e)
			}
		}
	}
}

// collect moves the hand on and removes what expired in a second before now:
// since both are cut to the second, nothing goes too early.
func (t *table) collect(now int64) {
	looked, removed := 0, 0
	for range 4 * lookAt {
		if t.count == 0 || looked >= lookAt || removed == removeMost {
			return
		}
		if t.hand >= t.buckets {
			t.hand = 0
		}
		e, n := t.at(t.hand).expired(now)
		looked += n
		if e == nil {
			t.hand++
			continue
		}
		t.remove(e)
		removed++
	}
}

func (b *bucket) isEmpty() bool {
	for i := range b.entries {
		if b.entries[i].about != 0 {
			return false
		}
	}
	return true
}

// expired returns an entry to collect, if there is one, and how many it looked at.
func (b *bucket) expired(now int64) (e *entry, looked int) {
	for ; b != nil; b = b.more {
		for i := range b.entries {
			if e = &b.entries[i]; e.about == 0 {
				continue
			}
			if looked++; e.expires < now {
				return e, looked
			}
		}
	}
	return nil, looked
}
