package redisstore

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// takeTimeout leaves some of the 100 ms of a [tokenbooth.Limiter] for deciding
	// without Redis.
	takeTimeout = 80 * time.Millisecond
	// shared is how long one deadline serves new calls.
	shared = 10 * time.Millisecond
)

// A deadline makes contexts that end after its timeout or at most 10 ms before.
// Calls share them, since a timer for each would cost a tenth of the call.
type deadline struct {
	timeout time.Duration
	latest  atomic.Pointer[sharedContext]
}

type sharedContext struct {
	context.Context
	begun time.Time
}

func (d *deadline) context() context.Context {
	c := d.latest.Load()
	if c != nil && time.Since(c.begun) < shared {
		return c.Context
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.timeout)
	context.AfterFunc(ctx, cancel) // nobody knows whose call is the last
	d.latest.Store(&sharedContext{ctx, time.Now()})
	return ctx
}
