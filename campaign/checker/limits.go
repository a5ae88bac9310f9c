package checker

import (
	"cmp"
	"slices"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// limits counts what clients were admitted that ask for more than they may.
func (c *check) limits() {
	calm := c.calm()
	for client, limit := range c.Run.Limits {
		for _, w := range calm {
			c.limited(client, limit, w)
		}
	}
}

type window struct{ from, to time.Duration }

const (
	// hesitation is how long a copy waits for Redis before it decides alone.
	hesitation = 80 * time.Millisecond
	// reunion is how long it may go on so: until 100 ms have passed and a request
	// has come that tries Redis, which with the traffic of a campaign is soon.
	reunion = time.Second
)

// calm are the times when all copies shared the limits beyond doubt.
func (c *check) calm() (all []window) {
	alone := c.alone()
	slices.SortFunc(alone, func(a, b window) int { return cmp.Compare(a.from, b.from) })
	from := time.Duration(0)
	for _, w := range alone {
		if w.from > from {
			all = append(all, window{from, w.from})
		}
		from = max(from, w.to)
	}
	return append(all, window{from, forever})
}

// alone are the times when copies may have decided without Redis and admitted
// their share: in its outages, after one was frozen or the machine stood still, and
// when one was so slow to answer that it may have waited for Redis in vain.
func (c *check) alone() (all []window) {
	for _, o := range c.Outages {
		if o.Target == ledger.Redis || o.Target == ledger.Machine || o.Target == ledger.Copy && o.Fault == ledger.Stop {
			all = append(all, window{o.Begin, o.Return + c.Run.Recovery})
		}
	}
	for _, op := range c.Ops {
		if (op.Kind == ledger.Mint || op.Kind == ledger.Guard) && op.End-op.Begin >= hesitation {
			all = append(all, window{op.Begin, op.End + reunion})
		}
	}
	return all
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
