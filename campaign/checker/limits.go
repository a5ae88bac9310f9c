package checker

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// limits counts what clients were admitted that ask for more than they may.
func (c *check) limits() {
	shared := map[string][]*ledger.Op{}
	gaps, slow := c.gaps(), c.slow()
	for n := range c.Run.Copies {
		// A copy shares the limits beyond doubt in between.
		calm := between(append(slices.Clone(gaps), slow[n]...), c.end())
		for _, w := range calm {
			c.Calm += w.to - w.from
		}
		for _, op := range c.Ops {
			if _, limited := c.Run.Limits[op.Client]; limited && op.Copy == n && granted(op) && within(calm, op) {
				shared[op.Client] = append(shared[op.Client], op)
			}
		}
	}
	for client, limit := range c.Run.Limits {
		c.Checked[OverLimit] += len(shared[client])
		for _, w := range between(gaps, c.end()) {
			c.limited(client, limit, w, shared[client])
		}
	}
}

type window struct{ from, to time.Duration }

const (
	// hesitation is how long a copy waits for Redis before it decides alone.
	hesitation = 80 * time.Millisecond
	// reunion is how long it may go on so: until 100 ms have passed and a request
	// has come that tries Redis, which with the traffic of a campaign is soon. A
	// try in vain is slow itself.
	reunion = 400 * time.Millisecond
)

// gaps are the times when copies may have decided without Redis, or Redis may have
// forgotten: its outages, and those after one was frozen or the machine stood still.
func (c *check) gaps() (all []window) {
	for _, o := range c.Outages {
		if o.Target == ledger.Redis || o.Target == ledger.Machine || o.Target == ledger.Copy && o.Fault == ledger.Stop {
			all = append(all, window{o.Begin, o.Return + c.Run.Recovery})
		}
	}
	return all
}

// slow are, of each copy, the times when it may have waited for Redis in vain and
// then admitted its share by itself, since it was slow to answer. What it answers
// alone takes nothing from what is shared, which stays bounded without it. A login
// is slow for its password.
func (c *check) slow() [][]window {
	all := make([][]window, c.Run.Copies)
	for _, op := range c.Ops {
		if op.End-op.Begin >= hesitation && op.Kind != ledger.Login && op.Copy < len(all) {
			all[op.Copy] = append(all[op.Copy], window{op.Begin, op.End + reunion})
		}
	}
	return all
}

// between are the times outside the windows, until the end.
func between(windows []window, end time.Duration) (all []window) {
	slices.SortFunc(windows, func(a, b window) int { return cmp.Compare(a.from, b.from) })
	from := time.Duration(0)
	for _, w := range windows {
		if w.from > from {
			all = append(all, window{from, w.from})
		}
		from = max(from, w.to)
	}
	if from < end {
		all = append(all, window{from, end})
	}
	return all
}

// within says whether a request lies in one of the windows as a whole.
func within(windows []window, op *ledger.Op) bool {
	at := sort.Search(len(windows), func(i int) bool { return windows[i].to >= op.End })
	return at < len(windows) && op.Begin >= windows[at].from
}

// end is when the last request ended.
func (c *check) end() (last time.Duration) {
	for _, op := range c.Ops {
		last = max(last, op.End)
	}
	return last
}

// limited: between the beginning of one admitted request and the end of another,
// all those in between were admitted, and the bucket was at most full at first.
// Only requests that lie in the window as a whole count.
func (c *check) limited(client string, limit ledger.Limit, w window, admitted []*ledger.Op) {
	var in []*ledger.Op
	for _, op := range admitted {
		if op.Begin >= w.from && op.End <= w.to {
			in = append(in, op)
		}
	}
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
