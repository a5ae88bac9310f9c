// Package checker holds a ledger against what tokenbooth promises. It is a pure
// function of the ledger, strict wherever the ledger leaves no doubt, and silent
// where it does: each tolerance is there for a reason that stands beside it.
package checker

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// A Promise is something that must never be broken.
type Promise string

// The promises.
const (
	CodeTwice        Promise = "no code is redeemed twice"
	TwoLeaves        Promise = "never two live leaves of a family outside the grace"
	TokenLost        Promise = "an acknowledged token is good until its end or its revocation"
	TokenUndead      Promise = "no token is good after its end"
	RevocationUndone Promise = "no acknowledged revocation is undone"
	FamilyEnded      Promise = "no family is ended by faults alone"
	OnlyUnavailable  Promise = "in an outage there is only 503"
	NeedlessRefusal  Promise = "outside outages there is no 503"
	NeedlessBreak    Promise = "no connection to a copy that runs is broken"
	SlowRecovery     Promise = "the first request succeeds within 2 s of the recovery"
	DrainTruncates   Promise = "SIGTERM truncates nothing"
	OverLimit        Promise = "outside outages the limiter admits at most burst + rate × time"
)

// Promises are all of them, in the order of the tables.
var Promises = []Promise{
	CodeTwice, TwoLeaves, TokenLost, TokenUndead, RevocationUndone, FamilyEnded,
	OnlyUnavailable, NeedlessRefusal, NeedlessBreak, SlowRecovery, DrainTruncates, OverLimit,
}

// A Violation is one promise that was broken once.
type Violation struct {
	Promise Promise
	At      time.Duration
	What    string
	// Owned is a loss that the documentation owns up to: Redis keeps the State
	// and was killed before it had to have synced what it acknowledged.
	Owned bool
}

// A Result is what a ledger shows.
type Result struct {
	Violations []Violation
	// Checked is how often the ledger put each promise to the test.
	Checked map[Promise]int
	// LateRetries are owners whose retry came too late for the grace and was
	// refused: nothing is promised to them.
	LateRetries int
	// Retried are refresh tokens that were presented again after an answer got
	// lost, within the grace.
	Retried int
	// Calm is for how long the limits were shared beyond doubt, all copies together.
	Calm   time.Duration
	Faults []FaultCount
}

// Failures are the violations that nothing owns up to.
func (r *Result) Failures() (all []Violation) {
	for _, v := range r.Violations {
		if !v.Owned {
			all = append(all, v)
		}
	}
	return all
}

// Count says how often a promise was broken, and how many of these are owned.
func (r *Result) Count(p Promise) (broken, owned int) {
	for _, v := range r.Violations {
		if v.Promise == p {
			broken++
			if v.Owned {
				owned++
			}
		}
	}
	return broken, owned
}

// lossWindow is how old an acknowledged write may be that Redis loses: under
// "appendfsync everysec" it syncs once a second, and under load a second later.
const lossWindow = 2 * time.Second

// forever is later than everything in a ledger.
const forever = time.Duration(math.MaxInt64)

type check struct {
	*ledger.Ledger
	Result
	slowest []time.Duration // recovery of each outage
	steps   map[int][]*ledger.Outage
	// The longest of all, so that a search needs to go back no further.
	longestOp, longestOutage time.Duration
}

// Check returns what the ledger shows.
func Check(l *ledger.Ledger) *Result {
	sorted := *l
	sorted.Ops = slices.SortedStableFunc(slices.Values(l.Ops), func(a, b *ledger.Op) int { return cmp.Compare(a.Begin, b.Begin) })
	sorted.Outages = slices.SortedStableFunc(slices.Values(l.Outages), func(a, b *ledger.Outage) int { return cmp.Compare(a.Begin, b.Begin) })
	c := &check{Ledger: &sorted, slowest: make([]time.Duration, len(l.Outages))}
	c.Checked = map[Promise]int{}
	c.steps = c.clocks()
	for _, op := range c.Ops {
		c.longestOp = max(c.longestOp, op.End-op.Begin)
	}
	for _, o := range c.Outages {
		c.longestOutage = max(c.longestOutage, o.Return-o.Begin)
	}
	x := c.index()
	for _, f := range x.families {
		c.family(f)
	}
	for _, t := range x.tokens {
		c.token(t)
	}
	c.answers()
	c.recoveries()
	c.drains()
	c.limits()
	slices.SortStableFunc(c.Violations, func(a, b Violation) int { return cmp.Compare(a.At, b.At) })
	c.Faults = c.count()
	return &c.Result
}

// from returns the index of the first request that can have ended at that time or
// later.
func (c *check) from(at time.Duration) int {
	return sort.Search(len(c.Ops), func(i int) bool { return c.Ops[i].Begin+c.longestOp >= at })
}

// reaching returns the index of the first outage that can excuse something at that
// time or later.
func (c *check) reaching(at time.Duration) int {
	return sort.Search(len(c.Outages), func(i int) bool { return c.Outages[i].Begin+c.longestOutage+c.Run.Recovery >= at })
}

func (c *check) violate(p Promise, at time.Duration, format string, args ...any) *Violation {
	c.Violations = append(c.Violations, Violation{Promise: p, At: at, What: fmt.Sprintf(format, args...)})
	return &c.Violations[len(c.Violations)-1]
}

// lost says whether Redis may have lost one of the writes before a request showed
// it: it was killed soon after the write. When that was made is not known better
// than by its request's beginning and end.
func (c *check) lost(shown *ledger.Op, writes ...*ledger.Op) bool {
	if c.Run.State != "redis" {
		return false
	}
	for _, w := range writes {
		for _, o := range c.Outages {
			if o.Fault == ledger.Kill && o.Target == ledger.Redis &&
				o.Return >= w.Begin && o.Begin <= w.End+lossWindow && o.Begin <= shown.End {
				return true
			}
		}
	}
	return false
}

// allLost says whether Redis may have lost every one of the writes.
func (c *check) allLost(shown *ledger.Op, writes []*ledger.Op) bool {
	for _, w := range writes {
		if !c.lost(shown, w) {
			return false
		}
	}
	return len(writes) > 0
}

// killedAfter says whether Redis was killed when w was young, and had not yet
// returned at that time.
func (c *check) killedAfter(w *ledger.Op, at time.Duration) bool {
	for _, o := range c.Outages {
		if o.Fault == ledger.Kill && o.Target == ledger.Redis && o.Begin <= w.End+lossWindow && o.Return >= at {
			return true
		}
	}
	return false
}

// decided is when a request had decided at the latest. An answer says so, and so
// does a broken connection: the copy behind it is dead, and a statement that it
// had sent to its database compares before it swaps. A request whose client gave
// up may decide at any time.
func decided(op *ledger.Op) time.Duration {
	if op.Outcome == ledger.Late {
		return forever
	}
	return op.End
}

// mayHaveWritten says whether the request can have changed the State. An answer
// other than 200 does not say that nothing was written: the reply to the write
// may have got lost, not the write.
func mayHaveWritten(op *ledger.Op) bool {
	return op.Outcome != ledger.Refused && op.Outcome != ledger.Throttled
}
