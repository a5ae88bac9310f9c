package store

import (
	"hash/maphash"
	"sync"
)

// A clientMap is a map in shards, so that readers on many cores do not all
// write to the counter of one lock. (A sync.Map is three times slower at a
// million clients.) What is in it is never changed, only replaced.
type clientMap [shardCount]struct {
	mu sync.RWMutex
	clientTable
	_ [8]byte
}

func (cm *clientMap) load(id string) *Client {
	h := maphash.String(seed, id)
	s := &cm[h%shardCount]
	s.mu.RLock()
	defer s.mu.RUnlock()
	if i := s.find(h, id); i >= 0 {
		return s.slots[i].client
	}
	return nil
}

func (cm *clientMap) store(c *Client) {
	h := maphash.String(seed, c.ID)
	s := &cm[h%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(h, c)
}

func (cm *clientMap) remove(id string) bool {
	h := maphash.String(seed, id)
	s := &cm[h%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(h, id)
	if i >= 0 {
		s.clear(i)
	}
	return i >= 0
}

// update replaces a client by a changed copy, if it is there.
func (cm *clientMap) update(id string, change func(*Client)) error {
	h := maphash.String(seed, id)
	s := &cm[h%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(h, id)
	if i < 0 {
		return ErrNotFound
	}
	c := s.slots[i].client.clone()
	change(c)
	s.slots[i] = clientSlot{h, c.ID, c}
	return nil
}

// A clientTable finds a client with one look into memory where a Go map takes
// four, which is what a request waits for among a million clients: open addressing
// with linear probing, at most three quarters full.
type clientTable struct {
	slots []clientSlot // a power of two of them
	count int
}

// The id is here too, so that it and the client are waited for at once.
type clientSlot struct {
	hash   uint64
	id     string
	client *Client // nil in a free slot
}

// home is where a client of this hash belongs; the low bits chose the shard.
func (t *clientTable) home(hash uint64) int { return int(hash>>8) & (len(t.slots) - 1) }

// find returns the slot of a client, or -1.
func (t *clientTable) find(hash uint64, id string) int {
	if t.count == 0 {
		return -1
	}
	for i := t.home(hash); t.slots[i].client != nil; i = (i + 1) & (len(t.slots) - 1) {
		if t.slots[i].hash == hash && t.slots[i].id == id {
			return i
		}
	}
	return -1
}

func (t *clientTable) put(hash uint64, c *Client) {
	if i := t.find(hash, c.ID); i >= 0 {
		t.slots[i] = clientSlot{hash, c.ID, c}
		return
	}
	if (t.count+1)*4 > len(t.slots)*3 {
		t.grow()
	}
	t.add(clientSlot{hash, c.ID, c})
	t.count++
}

func (t *clientTable) add(s clientSlot) {
	i := t.home(s.hash)
	for t.slots[i].client != nil {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = s
}

func (t *clientTable) grow() {
	old := t.slots
	t.slots = make([]clientSlot, max(4, 2*len(old)))
	for _, s := range old {
		if s.client != nil {
			t.add(s)
		}
	}
}

// clear frees a slot and moves up those behind it that the gap would hide.
func (t *clientTable) clear(gap int) {
	mask := len(t.slots) - 1
	for i := (gap + 1) & mask; t.slots[i].client != nil; i = (i + 1) & mask {
		if (i-t.home(t.slots[i].hash))&mask >= (i-gap)&mask {
			t.slots[gap] = t.slots[i]
			gap = i
		}
	}
	t.slots[gap] = clientSlot{}
	t.count--
}
