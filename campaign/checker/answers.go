package checker

import (
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// answers holds every answer against the faults of its time.
func (c *check) answers() {
	for _, op := range c.Ops {
		if c.excused(op, meets) {
			c.Checked[OnlyUnavailable]++
		}
		_, limited := c.Run.Limits[op.Client]
		switch {
		case op.Outcome == ledger.Unavailable && op.End-op.Begin > longest && !c.excused(op, stands),
			op.Outcome == ledger.Wrong, op.Outcome == ledger.Late, op.Outcome == ledger.Throttled && !limited,
			op.Outcome == ledger.Refused && neverRefused(op):
			c.violate(OnlyUnavailable, op.End, "%s at copy %d, %v to %v: %s %d %s", op.Kind, op.Copy, op.Begin, op.End, op.Outcome, op.Status, op.Note)
		}
		if !c.excused(op, c.mayFail) {
			c.Checked[NeedlessRefusal]++
			if op.Outcome == ledger.Unavailable {
				c.violate(NeedlessRefusal, op.End, "%s at copy %d, %v to %v: %d %s", op.Kind, op.Copy, op.Begin, op.End, op.Status, op.Note)
			}
		}
		if !c.excused(op, breaks) {
			c.Checked[NeedlessBreak]++
			if op.Outcome == ledger.Broken || op.Outcome == ledger.Truncated || op.Again {
				c.violate(NeedlessBreak, op.End, "%s at copy %d, %v to %v: %s %s", op.Kind, op.Copy, op.Begin, op.End, op.Outcome, op.Note)
			}
		}
	}
}

// longest is how long a request may take to be answered with 503: a call of a store
// takes 2 s at most, and after one that failed there is no other.
const longest = 3 * time.Second

// stands: a copy that was frozen answers late, and all when the machine stood still.
func stands(o *ledger.Outage, op *ledger.Op) (bool, time.Duration) {
	return o.Target == ledger.Machine || o.Target == ledger.Copy && o.Copy == op.Copy && o.Fault == ledger.Stop, 0
}

// meets says whether a request came in an outage.
func meets(o *ledger.Outage, op *ledger.Op) (bool, time.Duration) {
	return o.Fault != ledger.Clock && (o.Target != ledger.Copy || o.Copy == op.Copy), 0
}

// neverRefused are requests with credentials that are always good. What becomes of
// a token is another matter.
func neverRefused(op *ledger.Op) bool {
	return op.Kind == ledger.Mint || op.Kind == ledger.Login || op.Kind == ledger.Revoke
}

// excused says whether one of the outages may be why op failed. An outage is over
// when its target is back and the time that recovery may take has passed.
func (c *check) excused(op *ledger.Op, may func(*ledger.Outage, *ledger.Op) (bool, time.Duration)) bool {
	for _, o := range c.Outages[c.reaching(op.Begin):] {
		if o.Begin > op.End {
			return false
		}
		if ok, more := may(o, op); ok && op.Begin <= o.Return+more {
			return true
		}
	}
	return false
}

// mayFail: a request fails with 503 only where something is gone that it needs.
// With the State in the database that is the database: without Redis the limits
// are local ones. With the State in Redis the clients are in the database still.
// Where only replies to writes get lost, or writes are refused, what only reads goes on.
// A copy that was frozen finds its deadlines over when it goes on, and so do all
// when the machine stands still.
func (c *check) mayFail(o *ledger.Outage, op *ledger.Op) (bool, time.Duration) {
	if o.Target == ledger.Copy {
		return o.Copy == op.Copy && o.Fault == ledger.Stop, c.Run.Recovery
	}
	if (o.Fault == ledger.ReadOnly || o.Fault == ledger.Swallow) && c.Run.State != "redis" && !op.Writes {
		return false, 0
	}
	return o.Target != ledger.Redis || c.Run.State == "redis", c.Run.Recovery
}

// breaks: connections break when the copy behind them is killed, or has been asked
// to end and takes no new ones. It takes them again from its return on.
func breaks(o *ledger.Outage, op *ledger.Op) (bool, time.Duration) {
	if o.Target != ledger.Copy || o.Copy != op.Copy {
		return false, 0
	}
	return o.Fault == ledger.Kill || o.Fault == ledger.Term && op.Outcome != ledger.Truncated, 0
}

// beganBefore is how long before SIGTERM a request must have begun for the copy to
// be at work on it beyond doubt.
const beganBefore = 100 * time.Millisecond

// drains: a copy that is asked to end answers first what it is working on. That is
// known beyond doubt of a request whose body it had asked for, or which it had for a
// while. A connection that it had not read from may be closed, and an answer that
// began always ends.
func (c *check) drains() {
	for _, o := range c.Outages {
		if o.Fault != ledger.Term {
			continue
		}
		if o.Exit != 0 {
			c.violate(DrainTruncates, o.Begin, "copy %d ended with status %d", o.Copy, o.Exit)
		}
		for _, op := range c.Ops[c.from(o.Begin):] {
			if op.Begin >= o.Begin {
				break
			}
			atWork := op.Begin <= o.Begin-beganBefore || op.Entered > 0 && op.Entered < o.Begin
			if op.Copy != o.Copy || op.End <= o.Begin || !atWork {
				continue
			}
			c.Checked[DrainTruncates]++
			if op.Outcome == ledger.Broken || op.Outcome == ledger.Late || op.Again {
				c.violate(DrainTruncates, op.End, "copy %d at %v: %s of %v: %s %s", o.Copy, o.Begin, op.Kind, op.Begin, op.Outcome, op.Note)
			}
		}
	}
}
