package checker

import (
	"cmp"
	"slices"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// recoveries: after an outage each copy that was without its target grants a
// request soon that needs it.
func (c *check) recoveries() {
	ends := slices.SortedFunc(slices.Values(c.Ops), func(a, b *ledger.Op) int { return cmp.Compare(a.End, b.End) })
	for i, o := range c.Outages {
		if o.Fault == ledger.Clock || o.Fault == ledger.Stall {
			continue
		}
		if o.Target == ledger.Redis && c.Run.State != "redis" {
			c.slowest[i] = c.reunited(o, ends)
			continue
		}
		for n := range c.Run.Copies {
			if o.Target != ledger.Copy || o.Copy == n {
				c.slowest[i] = max(c.slowest[i], c.recovered(o, n, ends))
			}
		}
	}
}

// recovered judges one copy, and returns how long it took; 0 where that is not known.
func (c *check) recovered(o *ledger.Outage, n int, ends []*ledger.Op) time.Duration {
	took, tried, over := c.recovery(o, n, ends)
	if tried && !over {
		c.Checked[SlowRecovery]++
		if took < 0 {
			c.violate(SlowRecovery, o.Return, "copy %d after %s of %s: nothing granted from %v to %v", n, o.Fault, o.Target, o.Return, o.Return+c.Run.Recovery)
		}
	}
	return max(took, 0)
}

// reunited: where Redis has the limits alone nothing that is granted proves that it
// is back, since copies grant without it. That it decides does. It returns how long
// after the return that was, 0 when it was not.
func (c *check) reunited(o *ledger.Outage, ends []*ledger.Op) time.Duration {
	until := o.Return + c.Run.Recovery
	over := len(ends) == 0 || ends[len(ends)-1].End < until
	for _, other := range c.Outages {
		over = over || other != o && other.Fault != ledger.Clock && other.Begin < until && other.Return > o.Return
	}
	inTime := o.Shared > 0 && o.Shared <= until
	if !over {
		c.Checked[SlowRecovery]++
		if !inTime {
			c.violate(SlowRecovery, o.Return, "%s of %s: no limit shared from %v to %v", o.Fault, o.Target, o.Return, until)
		}
	}
	if !inTime {
		return 0
	}
	return o.Shared - o.Return
}

// recovery returns how long after the return copy n granted a request, or -1. over
// says that another outage, or the end of the ledger, came first, so that nothing
// follows from it; tried, that a request had a fair chance.
func (c *check) recovery(o *ledger.Outage, n int, ends []*ledger.Op) (took time.Duration, tried, over bool) {
	until := o.Return + c.Run.Recovery
	over = len(ends) == 0 || ends[len(ends)-1].End < until
	for _, other := range c.Outages {
		// An outage that overlaps the recovery prolongs it.
		if other != o && c.hinders(other, n) && other.Begin < until && other.Return > o.Return {
			over = true
		}
	}
	at, _ := slices.BinarySearchFunc(ends, o.Return, func(op *ledger.Op, t time.Duration) int { return cmp.Compare(op.End, t) })
	for _, op := range ends[at:] {
		if op.Copy != n || !c.needs(op, o) {
			continue
		}
		if granted(op) && op.End <= until {
			return op.End - o.Return, true, over
		}
		// One that began early enough had its chance, however late it ended.
		if tried = tried || op.Begin <= o.Return+c.Run.Recovery/2; tried && op.End > until {
			break
		}
	}
	return -1, tried, over
}

// hinders says whether an outage can keep copy n from granting anything.
func (c *check) hinders(o *ledger.Outage, n int) bool {
	switch {
	case o.Fault == ledger.Clock:
		return false
	case o.Target == ledger.Copy:
		return o.Copy == n
	}
	return o.Target != ledger.Redis || c.Run.State == "redis"
}

// needs says whether granting op proves that the target is back.
func (c *check) needs(op *ledger.Op, o *ledger.Outage) bool {
	switch {
	case o.Target != ledger.Postgres:
		return true
	case o.Fault == ledger.ReadOnly && c.Run.State != "redis":
		return op.Writes
	case c.Run.State == "redis":
		return op.Kind != ledger.Guard // it remembers clients for a minute
	}
	return true
}
