package checker

import (
	"cmp"
	"slices"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// limits counts what clients were admitted that ask for more than they may.
func (c *check) limits() {
	for client, limit := range c.Run.Limits {
		for _, w := range c.calm() {
			c.limited(client, limit, w)
		}
	}
}

type window struct{ from, to time.Duration }

// calm are the times outside the outages of what shares the limits. Without Redis
// each copy admits its share, and goes on so until it has Redis back, which the
// recovery bounds. A copy that was frozen finds its deadline for Redis over.
func (c *check) calm() (all []window) {
	from := time.Duration(0)
	for _, o := range c.Outages {
		if o.Target != ledger.Redis && (o.Target != ledger.Copy || o.Fault != ledger.Stop) {
			continue
		}
		if o.Begin > from {
			all = append(all, window{from, o.Begin})
		}
		from = max(from, o.Return+c.Run.Recovery)
	}
	return append(all, window{from, forever})
}

// limited: between the beginning of one admitted request and the end of another,
// all those in between were admitted, and the bucket was at most full at first.
// Only requests that lie in the window as a whole count.
func (c *check) limited(client string, limit ledger.Limit, w window) {
	var in []*ledger.Op
	for _, op := range c.Ops {
		if op.Client == client && granted(op) && op.Begin >= w.from && op.End <= w.to {
			in = append(in, op)
		}
	}
	c.Checked[OverLimit] += len(in)
	ends := slices.SortedFunc(slices.Values(in), func(a, b *ledger.Op) int { return cmp.Compare(a.End, b.End) })
	for _, first := range in {
		n := 0
		for _, op := range ends {
			if op.Begin < first.Begin {
				continue
			}
			n++
			span := op.End - first.Begin
			if most := float64(limit.Burst) + limit.PerSecond*span.Seconds(); float64(n) > most+1e-6 {
				c.violate(OverLimit, op.End, "%s: %d in %v, at most %.2f", client, n, span, most)
				return
			}
		}
	}
}
