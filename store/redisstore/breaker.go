package redisstore

import (
	"sync"
	"sync/atomic"
	"time"
)

// probeEvery is how often one request asks the server during an outage. It is
// longer than a request waits for it, so that there is one at a time and none
// from before an outage is still under way after it.
const probeEvery = 100 * time.Millisecond

// A breaker knows whether the server is out of reach, so that not every request
// waits to find out. The zero value is ready.
type breaker struct {
	report func(error) // of the beginning of an outage by its cause, and by nil of its end; may be nil

	mu  sync.Mutex
	now atomic.Pointer[outage] // nil when there is none
}

// An outage goes from one failure to the first probe that succeeds.
type outage struct {
	cause error
	begun time.Time
	probe atomic.Int64 // when the next probe may be, in nanoseconds from begun
}

// ask reports whether to ask the server. In an outage it returns it, too; then
// who may ask is its probe.
func (b *breaker) ask() (*outage, bool) {
	o := b.now.Load()
	if o == nil {
		return nil, true
	}
	next := o.probe.Load()
	since := time.Since(o.begun)
	return o, int64(since) >= next && o.probe.CompareAndSwap(next, int64(since+probeEvery))
}

func (b *breaker) failed(cause error) {
	b.change(nil, func() *outage {
		o := &outage{cause: cause, begun: time.Now()}
		o.probe.Store(int64(probeEvery))
		return o
	}, cause)
}

// succeeded ends the outage whose probe it was, if it was one.
func (b *breaker) succeeded(o *outage) {
	if o != nil {
		b.change(o, func() *outage { return nil }, nil)
	}
}

// change reports under the lock, so that beginnings and ends are told in turn.
func (b *breaker) change(from *outage, to func() *outage, reported error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now.Load() != from {
		return
	}
	b.now.Store(to())
	if b.report != nil {
		b.report(reported)
	}
}
