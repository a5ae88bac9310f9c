package tokenbooth

import (
	"context"
	"sync"
	"time"
)

const (
	cacheLife  = time.Minute
	cacheRetry = time.Second // after a failure of the store
	cacheLimit = 1 << 14     // clients
)

// A clientCache remembers what the guard has to know of a client for a minute:
// whether it is still there, its rate, and whether anybody can claim to be it.
type clientCache struct {
	clients   ClientStore
	otherwise Limit
	mu        sync.RWMutex
	known     map[string]knownClient
}

type knownClient struct {
	limit  Limit
	public bool
	gone   bool // disabled or removed

	read, until time.Time // the time span for which this holds
}

// get asks the store where the cache is too old. Where the store fails, what was
// read last holds, and the store is left alone for a second.
func (c *clientCache) get(ctx context.Context, id string, now time.Time) (knownClient, error) {
	if c.clients == nil {
		return knownClient{limit: c.otherwise}, nil
	}
	c.mu.RLock()
	known, ok := c.known[id]
	c.mu.RUnlock()
	if ok && !now.Before(known.read) && now.Before(known.until) {
		return known, nil
	}
	fresh := knownClient{limit: c.otherwise, read: now, until: now.Add(cacheLife)}
	client, err := findClient(ctx, c.clients, id)
	switch {
	case err != nil && ok:
		known.read, known.until = now, now.Add(cacheRetry)
		c.put(id, known)
		return known, nil
	case err != nil:
		return fresh, err
	case client == nil:
		fresh.gone = true
	default:
		fresh.limit, fresh.public, fresh.gone = limitOf(client, c.otherwise), client.Public, client.Disabled
	}
	c.put(id, fresh)
	return fresh, nil
}

func (c *clientCache) put(id string, k knownClient) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= cacheLimit {
		clear(c.known) // rare, and each client costs one read a minute anyway
	}
	if c.known == nil {
		c.known = map[string]knownClient{}
	}
	c.known[id] = k
}
