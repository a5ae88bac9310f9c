package load

import (
	"math/rand/v2"
	"sync"
)

// A pool has tokens for whoever visits routes. It holds so many and no more: a new
// one takes the place of the oldest.
type pool struct {
	mu   sync.Mutex
	ring []*accessToken
	next int
}

func newPool(size int) *pool { return &pool{ring: make([]*accessToken, 0, size)} }

func (p *pool) put(t *accessToken) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ring) < cap(p.ring) {
		p.ring = append(p.ring, t)
		return
	}
	p.ring[p.next] = t
	p.next = (p.next + 1) % len(p.ring)
}

// draw returns any of them, nil when there is none.
func (p *pool) draw(r *rand.Rand) *accessToken {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ring) == 0 {
		return nil
	}
	return p.ring[r.IntN(len(p.ring))]
}
