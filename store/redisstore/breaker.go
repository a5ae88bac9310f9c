package redisstore

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// probeEvery is how long after the beginning of an outage, and after the end of a
// probe, the next one may begin. It is longer than a request waits for the server,
// so that none from before an outage is still under way after it.
const probeEvery = 100 * time.Millisecond

// A breaker knows whether the server is out of reach, so that not every request
// waits to find out. The zero value is ready.
type breaker struct {
	report func(error) // of the beginning of an outage by its cause, and by nil of its end; may be nil

	now atomic.Pointer[outage] // nil when there is none

	mu      sync.Mutex
	untold  []error
	telling bool
}

// An outage goes from one failure to the first probe that succeeds.
type outage struct {
	cause error
	begun time.Time
	probe atomic.Int64 // when the next probe may begin, in nanoseconds from begun
}

// ongoing returns the outage, nil when there is none, and whether its probe is
// due: then the caller makes it and says how it ended, and there is no other one
// meanwhile.
func (b *breaker) ongoing() (o *outage, probe bool) {
	o = b.now.Load()
	if o == nil {
		return nil, false
	}
	next := o.probe.Load()
	return o, int64(time.Since(o.begun)) >= next && o.probe.CompareAndSwap(next, math.MaxInt64)
}

// failed begins an outage where there is none.
func (b *breaker) failed(cause error) {
	o := &outage{cause: cause, begun: time.Now()}
	o.probe.Store(int64(probeEvery))
	b.change(nil, o, cause)
}

// probed says how the probe of the outage ended.
func (b *breaker) probed(o *outage, err error) {
	if err == nil {
		b.change(o, nil, nil)
		return
	}
	o.probe.Store(int64(time.Since(o.begun) + probeEvery))
}

func (b *breaker) change(from, to *outage, reported error) {
	if b.now.Load() != from {
		return // without the lock, which all that fail at once would wait for
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now.Load() != from {
		return
	}
	b.now.Store(to)
	if b.report != nil {
		b.untold = append(b.untold, reported)
		b.tell()
	}
}

// tell is called under the lock, and gives it up while it reports: others change
// the state meanwhile, and leave their reports to the one that is at it, so that
// beginnings and ends are told in turn.
func (b *breaker) tell() {
	if b.telling {
		return
	}
	b.telling = true
	defer func() { b.telling = false }()
	for len(b.untold) > 0 {
		next := b.untold[0]
		b.untold = b.untold[1:]
		func() {
			b.mu.Unlock()
			defer b.mu.Lock()
			b.report(next)
		}()
	}
}
