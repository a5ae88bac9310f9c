package checker

import (
	"sort"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// settled is how soon a copy goes by the clock that it was given.
const settled = 2 * time.Second

// clocks are, of each copy, the outages that set its clock.
func (c *check) clocks() map[int][]*ledger.Outage {
	all := map[int][]*ledger.Outage{}
	for _, o := range c.Outages {
		if o.Target == ledger.Copy && (o.Fault == ledger.Clock || o.Fault == ledger.Kill || o.Fault == ledger.Term) {
			all[o.Copy] = append(all[o.Copy], o)
		}
	}
	return all
}

// clock returns how far at least and at most the clock of a copy was ahead of the
// ledger's while it worked on op. It may step meanwhile.
func (c *check) clock(op *ledger.Op) (least, most time.Duration) {
	steps := c.steps[op.Copy]
	// These it had been given, and had taken, before the request came.
	past := sort.Search(len(steps), func(i int) bool { return steps[i].Return+settled >= op.Begin })
	if past > 0 {
		least, most = steps[past-1].Offset, steps[past-1].Offset
	}
	for _, o := range steps[past:] {
		if o.Begin > op.End {
			break
		}
		least, most = min(least, o.Offset), max(most, o.Offset)
	}
	return least, most
}

// ahead returns how far at least and at most the clock of a request was ahead of
// that of another.
func (c *check) ahead(p, q *ledger.Op) (least, most time.Duration) {
	pLeast, pMost := c.clock(p)
	qLeast, qMost := c.clock(q)
	return pLeast - qMost, pMost - qLeast
}
