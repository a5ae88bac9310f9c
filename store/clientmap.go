package store

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// A clientMap is a map in shards, so that writers seldom wait for each other.
// Readers wait for nobody. (A sync.Map is three times slower at a million
// clients.) What is in it is never changed, only replaced.
type clientMap [shardCount]struct {
	clientTable
	_ [32]byte // so that no two shards share a cache line
}

// table returns where the client belongs, and its hash within.
func (cm *clientMap) table(id string) (*clientTable, uint64) {
	h := maphash.String(seed, id)
	return &cm[h%shardCount].clientTable, h
}

func (cm *clientMap) load(id string) *Client {
	t, h := cm.table(id)
	_, c := t.find(h, id)
	return c
}

func (cm *clientMap) store(c *Client) {
	t, h := cm.table(c.ID)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(h, c)
}

func (cm *clientMap) remove(id string) bool {
	t, h := cm.table(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.remove(h, id)
}

// update replaces a client by a changed copy, if it is there.
func (cm *clientMap) update(id string, change func(*Client)) error {
	t, h := cm.table(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	slot, old := t.find(h, id)
	if old == nil {
		return ErrNotFound
	}
	c := old.clone()
	c.share(old)
	change(c)
	slot.client.Store(c)
	return nil
}

// A clientTable finds a client with one look into memory where a Go map takes
// four, which is what a request waits for among a million clients: open addressing
// with linear probing, at most three quarters full. To find takes no lock, which
// would have the processor wait for the client before it goes on.
type clientTable struct {
	slots atomic.Pointer[[]clientSlot] // a power of two of them

	mu    sync.Mutex // of those who write
	used  int        // slots that are not free
	count int        // clients
}

// A clientSlot is free as long as it has no client, and then belongs to one hash
// until there are other slots.
type clientSlot struct {
	hash   atomic.Uint64 // stored before the client
	client atomic.Pointer[Client]
}

// removed is in the slot of a client that is no longer there.
var removed = new(Client)

// find returns the client of an id and its slot, or nil.
func (t *clientTable) find(hash uint64, id string) (*clientSlot, *Client) {
	all := t.slots.Load()
	if all == nil {
		return nil, nil
	}
	slots := *all
	for i := home(hash, slots); ; i = (i + 1) & (len(slots) - 1) {
		c := slots[i].client.Load()
		if c == nil {
			return nil, nil
		}
		if slots[i].hash.Load() == hash && c.ID == id && c != removed {
			return &slots[i], c
		}
	}
}

// home is where a client of this hash belongs; the low bits chose the shard.
func home(hash uint64, slots []clientSlot) int { return int(hash>>8) & (len(slots) - 1) }

func (t *clientTable) put(hash uint64, c *Client) {
	if slot, old := t.find(hash, c.ID); old != nil {
		slot.client.Store(c)
		return
	}
	slots := t.room()
	t.used++
	t.count++
	add(slots, hash, c)
}

func (t *clientTable) remove(hash uint64, id string) bool {
	slot, c := t.find(hash, id)
	if c == nil {
		return false
	}
	slot.client.Store(removed)
	t.count--
	return true
}

// room returns slots that have room for one more. New ones are filled before
// anybody sees them, and have none of those who were removed.
func (t *clientTable) room() []clientSlot {
	var old []clientSlot
	if all := t.slots.Load(); all != nil {
		old = *all
	}
	if (t.used+1)*4 <= len(old)*3 {
		return old
	}
	size := max(4, len(old))
	if t.count*2 >= len(old) {
		size = max(4, 2*len(old))
	}
	slots := make([]clientSlot, size)
	for i := range old {
		if c := old[i].client.Load(); c != nil && c != removed {
			add(slots, old[i].hash.Load(), c)
		}
	}
	t.used = t.count
	t.slots.Store(&slots)
	return slots
}

func add(slots []clientSlot, hash uint64, c *Client) {
	i := home(hash, slots)
	for slots[i].client.Load() != nil {
		i = (i + 1) & (len(slots) - 1)
	}
	slots[i].hash.Store(hash)
	slots[i].client.Store(c)
}
