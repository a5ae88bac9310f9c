package tokenbooth

import (
	"context"
	"sync"
	"time"
)

const (
	cacheLife  = time.Minute
	cacheRetry = storeTimeout + time.Second // while one caller reads, and after it failed
	cacheLimit = 1 << 14                    // clients
)

// guardBucket is the kind of the guard's buckets, which are apart from the token
// endpoint's.
const guardBucket = "guard"

// A clientCache remembers what the guard has to know of a client for a minute:
// whether it is still there, its rate, and whether anybody can claim to be it.
type clientCache struct {
	clients ClientStore // nil where nothing is known of clients
	unknown knownClient // a client of which nothing is known
	mu      sync.RWMutex
	known   map[string]*knownClient
}

func newClientCache(clients ClientStore, otherwise Limit) *clientCache {
	return &clientCache{clients: clients, unknown: knownClient{limit: otherwise}}
}

// A knownClient is never changed.
type knownClient struct {
	limit  Limit
	public bool
	gone   bool   // disabled or removed
	bucket string // its key, unless that is by address; empty where nothing is remembered

	read, until time.Time // the time span for which this holds
}

// get asks the store where the cache is too old. Where the store fails, what was
// read last holds, and the store is left alone for a moment.
func (c *clientCache) get(ctx context.Context, id string, now time.Time) (*knownClient, error) {
	if c.clients == nil {
		return &c.unknown, nil
	}
	c.mu.RLock()
	known, ok := c.known[id]
	c.mu.RUnlock()
	if ok && !now.Before(known.read) && now.Before(known.until) {
		return known, nil
	}
	if ok && !c.claim(id, now) {
		return known, nil
	}
	fresh := &knownClient{limit: c.unknown.limit, bucket: clientKey(guardBucket, id), read: now, until: now.Add(cacheLife)}
	client, err := findClient(ctx, c.clients, id)
	switch {
	case err != nil && ok:
		return known, nil // for as long as claim has said
	case err != nil:
		return fresh, err
	case client == nil:
		fresh.gone = true
	default:
		fresh.limit, fresh.public, fresh.gone = limitOf(client, c.unknown.limit), client.Public, client.Disabled
	}
	c.put(id, fresh)
	return fresh, nil
}

// claim says whether the caller is the one to read an entry again. The others go
// on with the old one for as long as that may take.
func (c *clientCache) claim(id string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, ok := c.known[id]
	if !ok {
		return true
	}
	if !now.Before(old.read) && now.Before(old.until) {
		return false
	}
	k := *old
	k.read, k.until = now, now.Add(cacheRetry)
	c.known[id] = &k
	return true
}

func (c *clientCache) put(id string, k *knownClient) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= cacheLimit {
		clear(c.known) // rare, and each client costs one read a minute anyway
	}
	if c.known == nil {
		c.known = map[string]*knownClient{}
	}
	c.known[id] = k
}
