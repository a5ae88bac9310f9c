package tokenbooth

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// What a tokenCache holds at most, all shards together: 32,768 tokens in 32 MiB.
const (
	cacheShards     = 64
	cacheSets       = 64 // of each shard
	cacheWays       = 8  // places that one token may have: a cache line of pointers
	cacheShardSlots = cacheSets * cacheWays
	cacheShardBytes = 512 << 10

	// What an entry needs beside its texts: itself, and the keys of a State.
	cacheEntryBytes = 704
)

// A seenToken is what can never change: that this exact text has a good signature
// by this key, and what it says. Whether the key is still in use, and the token
// not expired, revoked or over a limit, is no part of it.
type seenToken struct {
	text   string
	hash   uint64
	keyID  string
	key    verifier
	claims claims // read by many requests, changed by none
	bytes  int
	used   atomic.Bool // since somebody looked for a place
}

// A tokenCache remembers tokens, so that a signature is verified once. It belongs
// to one codec, since another issuer or audience judges otherwise. Reading takes
// no lock. Where it is full, tokens that came again stay and those that came once
// go, so that a flood of good tokens neither makes it grow nor empties it. Under
// a random seed nobody chooses which tokens share a place.
type tokenCache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	slots atomic.Pointer[cacheSlots] // nil until the first token
	mu    sync.Mutex                 // of whoever writes
	bytes int
	hand  int
	_     [32]byte // so that no two shards share a cache line
}

type cacheSlots [cacheShardSlots]atomic.Pointer[seenToken]

// hash is that of the end of the signature, in which good tokens differ and which
// nobody can choose; what is found is compared as a whole.
func (c *tokenCache) hash(token string) uint64 {
	return maphash.String(c.seed, token[max(0, len(token)-48):])
}

// place returns the shard of a token, the first slot of its set, and the way from
// which to look.
func (c *tokenCache) place(hash uint64) (shard *cacheShard, set, way int) {
	shard = &c.shards[hash%cacheShards]
	hash /= cacheShards
	set, hash = int(hash%cacheSets)*cacheWays, hash/cacheSets
	return shard, set, int(hash % cacheWays)
}

// get returns nil for a token that is not known, and its hash.
func (c *tokenCache) get(token string) (*seenToken, uint64) {
	hash := c.hash(token)
	shard, set, way := c.place(hash)
	slots := shard.slots.Load()
	if slots == nil {
		return nil, hash
	}
	for i := range cacheWays {
		seen := slots[set+(way+i)%cacheWays].Load()
		if seen != nil && seen.hash == hash && seen.text == token {
			if !seen.used.Load() {
				seen.used.Store(true)
			}
			return seen, hash
		}
	}
	return nil, hash
}

// put remembers a token.
func (c *tokenCache) put(seen *seenToken) {
	shard, set, way := c.place(seen.hash)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	slots := shard.slots.Load()
	if slots == nil {
		slots = new(cacheSlots)
		shard.slots.Store(slots)
	}
	shard.set(&slots[set+slots.choose(set, way, seen)], seen)
	shard.makeRoom(slots, seen)
}

// choose returns the way for a token: its own, a free one, that of a token that
// came once, else the first.
func (slots *cacheSlots) choose(set, first int, seen *seenToken) int {
	free, once := -1, -1
	for i := range cacheWays {
		way := (first + i) % cacheWays
		switch old := slots[set+way].Load(); {
		case old == nil:
			if free < 0 {
				free = way
			}
		case old.hash == seen.hash && old.text == seen.text:
			return way
		case once < 0 && !old.used.Load():
			once = way
		}
	}
	switch {
	case free >= 0:
		return free
	case once >= 0:
		return once
	}
	for way := range cacheWays {
		slots[set+way].Load().used.Store(false)
	}
	return first
}

// set fills a slot, or empties it, and keeps count.
func (s *cacheShard) set(slot *atomic.Pointer[seenToken], seen *seenToken) {
	if old := slot.Load(); old != nil {
		s.bytes -= old.bytes
	}
	if seen != nil {
		s.bytes += seen.bytes
	}
	slot.Store(seen)
}

// makeRoom takes out tokens until the rest is small enough. The hand goes round
// and spares once who came again since it passed.
func (s *cacheShard) makeRoom(slots *cacheSlots, fresh *seenToken) {
	for s.bytes > cacheShardBytes {
		slot := &slots[s.hand]
		s.hand = (s.hand + 1) % cacheShardSlots
		if seen := slot.Load(); seen != nil && seen != fresh && !seen.used.Swap(false) {
			s.set(slot, nil)
		}
	}
}
