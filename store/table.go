package store

import "math/bits"

const (
	chunkLen   = 64 // entries; 3 KiB
	lookAt     = 8  // entries that one collection looks at
	removeMost = 2  // entries that one collection removes
)

// An entry is one key with its value.
type entry struct {
	data    []byte // the key and then the value, never changed once it is here
	expires int64  // Unix seconds
	hash    uint32
	next    uint32 // the next entry of its bucket: its index plus 1, or 0
	keyLen  uint32
}

func (e *entry) key() []byte { return e.data[:e.keyLen] }

func (e *entry) value() []byte { return e.data[e.keyLen:] }

// A table is a map whose every step is short, also the one that grows it and
// the one after a million entries have expired: a Go map can be searched for
// expired entries only by a range, which is long where the map is large and
// empty. Buckets are added one by one (linear hashing); the entries lie without
// gaps in chunks, so that a hand going round meets nothing but entries, and
// memory goes back when they go.
type table struct {
	chunks []*[chunkLen]entry
	heads  []uint32 // of each bucket the first entry: its index plus 1, or 0
	count  uint32
	hand   uint32
}

func (t *table) at(i uint32) *entry { return &t.chunks[i/chunkLen][i%chunkLen] }

func (t *table) bucket(hash uint32) uint32 {
	n := uint32(len(t.heads))
	mask := uint32(1)<<bits.Len32(n-1) - 1
	if b := hash & mask; b < n {
		return b
	}
	return hash & (mask >> 1)
}

// find returns nil where there is no such key. What it returns is good until
// the next insert or remove.
func (t *table) find(hash uint32, key string) (uint32, *entry) {
	if t.count == 0 {
		return 0, nil
	}
	for i := t.heads[t.bucket(hash)]; i != 0; {
		e := t.at(i - 1)
		if e.hash == hash && string(e.key()) == key {
			return i - 1, e
		}
		i = e.next
	}
	return 0, nil
}

// insert adds an entry whose key is not there yet.
func (t *table) insert(e entry) {
	if int(t.count) == len(t.heads) {
		t.grow()
	}
	if int(t.count) == len(t.chunks)*chunkLen {
		t.chunks = append(t.chunks, new([chunkLen]entry))
	}
	*t.at(t.count) = e
	t.push(t.count)
	t.count++
}

// grow adds a bucket and gives it its share of the one that it splits.
func (t *table) grow() {
	t.heads = append(t.heads, 0)
	last := uint32(len(t.heads) - 1)
	if last == 0 {
		return
	}
	split := last &^ (1 << (bits.Len32(last) - 1))
	i := t.heads[split]
	t.heads[split] = 0
	for i != 0 {
		next := t.at(i - 1).next
		t.push(i - 1)
		i = next
	}
}

func (t *table) push(i uint32) {
	e := t.at(i)
	head := &t.heads[t.bucket(e.hash)]
	e.next, *head = *head, i+1
}

// link returns where the index of an entry stands.
func (t *table) link(i uint32) *uint32 {
	p := &t.heads[t.bucket(t.at(i).hash)]
	for *p != i+1 {
		p = &t.at(*p - 1).next
	}
	return p
}

// remove closes the gap with the last entry.
func (t *table) remove(i uint32) {
	*t.link(i) = t.at(i).next
	last := t.count - 1
	if i != last {
		*t.link(last) = i + 1
		*t.at(i) = *t.at(last)
	}
	*t.at(last) = entry{}
	t.count = last
	t.release()
}

// release keeps one chunk in reserve, against one being made and dropped in
// turn.
func (t *table) release() {
	if last := len(t.chunks) - 1; last > int(t.count)/chunkLen+1 {
		t.chunks[last] = nil
		t.chunks = t.chunks[:last]
	}
}

// collect moves the hand on and removes what expired in a second before now:
// since both are cut to the second, nothing goes too early.
func (t *table) collect(now int64) {
	for looked, removed := 0, 0; looked < lookAt && removed < removeMost && t.count > 0; looked++ {
		if t.hand >= t.count {
			t.hand = 0
		}
		if t.at(t.hand).expires >= now {
			t.hand++
			continue
		}
		t.remove(t.hand)
		removed++
	}
}
