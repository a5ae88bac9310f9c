// Package gate bounds how many slow hashes run at once, and how many wait.
package gate

import (
	"context"
	"runtime"
	"sync/atomic"
)

// A Gate lets a number of callers in at once. Four times as many wait, for as
// long as their context allows; the rest is turned away.
type Gate struct {
	slots  chan struct{}
	inside atomic.Int64 // that run or wait
}

// New returns a gate for n at once; for as many as there are processors when n
// is 0.
func New(n int) *Gate {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return &Gate{slots: make(chan struct{}, n)}
}

// Enter says whether the caller may go on; then it has to Leave.
func (g *Gate) Enter(ctx context.Context) bool {
	if g.inside.Add(1) > int64(5*cap(g.slots)) {
		g.inside.Add(-1)
		return false
	}
	select {
	case g.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		g.inside.Add(-1)
		return false
	}
}

// Leave gives the place back.
func (g *Gate) Leave() {
	<-g.slots
	g.inside.Add(-1)
}
