package checker

import (
	"sort"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// A FaultCount is what one kind of fault did, all of its times together.
type FaultCount struct {
	Fault  ledger.Fault
	Target ledger.Target
	Times  int
	// Idle are those at whose moment the target was at work on no request: they
	// count for nothing.
	Idle        int
	InFlight    int // at the moments of the fault, all times together
	Requests    int // that met it: until the target was back and the recovery over
	Unavailable int // of these: 503
	Broken      int // of these: no answer, of a copy that was killed or ended
	Failed      int // of these: failed in any other way
	Recovery    time.Duration
	Violations  int // that came in its time
	Owned       int // of these: losses that are owned up to
}

// Counted are the times that requests were in flight.
func (f *FaultCount) Counted() int { return f.Times - f.Idle }

// count sums the outages up by kind, in the order in which they first came.
func (c *check) count() []FaultCount {
	var all []FaultCount
	place := map[[2]string]int{}
	meets := c.meetings()
	for i, o := range c.Outages {
		key := [2]string{string(o.Fault), string(o.Target)}
		at, ok := place[key]
		if !ok {
			at = len(all)
			place[key] = at
			all = append(all, FaultCount{Fault: o.Fault, Target: o.Target})
		}
		f := &all[at]
		f.Times++
		f.InFlight += o.InFlight
		if o.InFlight == 0 {
			f.Idle++
		}
		f.Recovery = max(f.Recovery, c.slowest[i])
		for _, op := range meets[i] {
			c.met(f, o, op)
		}
	}
	for _, v := range c.Violations {
		if i := c.during(v.At); i >= 0 {
			o := c.Outages[i]
			f := &all[place[[2]string{string(o.Fault), string(o.Target)}]]
			f.Violations++
			if v.Owned {
				f.Owned++
			}
		}
	}
	return all
}

// met counts a request that met the outage. What another one that overlaps must
// have done is counted there.
func (c *check) met(f *FaultCount, o *ledger.Outage, op *ledger.Op) {
	f.Requests++
	switch op.Outcome {
	case ledger.Unavailable:
		if may, _ := c.mayFail(o, op); may {
			f.Unavailable++
		}
	case ledger.Broken:
		if may, _ := breaks(o, op); may {
			f.Broken++
		}
	case ledger.Truncated, ledger.Late, ledger.Wrong:
		f.Failed++
	}
}

// meetings are the requests of the time of each outage: until the recovery is over
// or the next outage begins. A copy's meet only that copy's.
func (c *check) meetings() [][]*ledger.Op {
	all := make([][]*ledger.Op, len(c.Outages))
	for i, o := range c.Outages {
		until := o.Return + c.Run.Recovery
		if after := sort.Search(len(c.Outages), func(i int) bool { return c.Outages[i].Begin > o.Return }); after < len(c.Outages) {
			until = min(until, c.Outages[after].Begin)
		}
		for _, op := range c.Ops[c.from(o.Begin):] {
			if op.Begin > until {
				break
			}
			if op.End >= o.Begin && (o.Target != ledger.Copy || o.Copy == op.Copy) {
				all[i] = append(all[i], op)
			}
		}
	}
	return all
}

// during returns the index of the last outage that had begun by then; -1 for none.
func (c *check) during(at time.Duration) int {
	last := -1
	for i, o := range c.Outages {
		if o.Begin <= at {
			last = i
		}
	}
	return last
}
