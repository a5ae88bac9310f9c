package checker

import (
	"slices"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

func (c *check) family(f *family) {
	c.redeemed(f)
	for _, r := range f.ended {
		f.disturb(r)
		if granted(r) {
			f.end(r)
		}
	}
	for _, p := range f.refreshes {
		c.presented(f, p)
	}
	c.forks(f)
	c.endedByFaults(f)
	c.undone(f)
}

// disturb notes a request that may end the family. When it began is the earliest
// moment at which it can have done so.
func (f *family) disturb(op *ledger.Op) { f.disturbed = min(f.disturbed, op.Begin) }

// end notes an answer from which it follows that the family has ended.
func (f *family) end(op *ledger.Op) {
	if f.over == nil || op.End < f.over.End {
		f.over = op
	}
}

func (c *check) redeemed(f *family) {
	c.codeRefused(f)
	winner := first(f.redeems, granted)
	if winner == nil {
		return
	}
	if len(f.redeems) > 1 {
		c.Checked[CodeTwice]++
	}
	for _, r := range f.redeems {
		switch {
		case r == winner:
		case granted(r):
			c.violate(CodeTwice, r.End, "code %s at %v and %v", r.Sent, winner.End, r.End).Owned = c.lost(r, winner)
			f.disturb(r)
		case decided(r) > winner.Begin:
			// A redemption beside or after the one that won finds the code redeemed
			// and ends the family, as it should. One that was over before found
			// nothing of the kind.
			f.disturb(r)
			if r.Begin > winner.End && r.Outcome == ledger.Refused {
				f.end(r)
			}
		}
	}
}

// codeRefused: a code that was sent once, in time, is good. After another try,
// whatever its answer, it may have been redeemed already.
func (c *check) codeRefused(f *family) {
	if f.login == nil || len(f.redeems) == 0 {
		return
	}
	p := f.redeems[0]
	_, most := c.ahead(p, f.login)
	if len(f.redeems) > 1 && f.redeems[1].Begin < p.End || p.End+most > f.login.Begin+c.Run.CodeLife-rounding {
		return
	}
	c.Checked[TokenLost]++
	if p.Outcome == ledger.Refused {
		c.violate(TokenLost, p.End, "code %s of %v refused at %v", p.Sent, f.login.End, p.End).Owned = c.lost(p, f.login)
	}
}

// presented judges a refresh token that somebody sent.
func (c *check) presented(f *family, p *ledger.Op) {
	switch replaced := c.replaced(f, p); {
	case replaced != nil:
		// The token was an old one when the request began: reuse.
		c.Checked[TwoLeaves]++
		f.disturb(p)
		switch p.Outcome {
		case ledger.OK:
			c.violate(TwoLeaves, p.End, "family %s: generation %d, replaced by %v, was good at %v", f.name, p.Gen, replaced.End, p.End).
				Owned = c.allLost(p, c.replacements(f, p))
		case ledger.Refused:
			f.end(p)
		}
	case !granted(p) && !c.withinGrace(f, p): // reuse is never granted
		// Whether the clocks of the copies make it reuse cannot be known.
		f.disturb(p)
	}
}

// replaced returns the answer after which p was an old token beyond doubt; nil
// where there is none. The one before is good within the grace, by the clocks of
// the copies. That grace counts from the rotation, which came before the end of
// the first answer that had the successor, and does not slide. Any older one is
// reuse at once.
func (c *check) replaced(f *family, p *ledger.Op) *ledger.Op {
	return first(f.refreshes, func(q *ledger.Op) bool { return c.makesOld(f, q, p) })
}

// makesOld says whether p was an old token after the answer q.
func (c *check) makesOld(f *family, q, p *ledger.Op) bool {
	switch {
	case !granted(q) || q.End >= p.Begin:
		return false
	case q.Gen == p.Gen:
		return c.rotated(f, q, p)+c.Run.Grace < p.Begin
	}
	return q.Gen > p.Gen
}

// rotated is when at the latest the rotation was, of which q is an answer, by the
// clock of p: a request whose answer got lost may have made it.
func (c *check) rotated(f *family, q, p *ledger.Op) (latest time.Duration) {
	for _, r := range f.refreshes {
		if r.Gen == q.Gen && r.Begin <= q.End && mayHaveWritten(r) {
			least, _ := c.ahead(p, r)
			latest = max(latest, min(q.End, decided(r))-least)
		}
	}
	return latest
}

// replacements are all answers of which each by itself makes p an old token.
func (c *check) replacements(f *family, p *ledger.Op) (all []*ledger.Op) {
	for _, q := range f.refreshes {
		if c.makesOld(f, q, p) {
			all = append(all, q)
		}
	}
	return all
}

// withinGrace says that p has to be granted, beyond doubt: nobody can have moved
// on from its successor, and if its token was replaced at all, then so late that
// even by clocks that differ the grace was not over when p was decided.
func (c *check) withinGrace(f *family, p *ledger.Op) bool {
	for _, q := range f.refreshes {
		if q == p || !mayHaveWritten(q) || q.Begin >= decided(p) {
			continue
		}
		if q.Gen > p.Gen {
			return false
		}
		if _, most := c.ahead(p, q); q.Gen == p.Gen && decided(p) > q.Begin+c.Run.Grace-most-time.Millisecond {
			return false // times of rotations count milliseconds
		}
	}
	return true
}

// forks: a token has one successor, whoever asks and however often.
func (c *check) forks(f *family) {
	next := map[uint64]*ledger.Op{}
	for _, p := range f.refreshes {
		if !granted(p) || p.Next == "" {
			continue
		}
		if q := next[p.Gen]; q != nil && q.Next != p.Next {
			c.violate(TwoLeaves, p.End, "family %s: generation %d has two successors", f.name, p.Gen).Owned = c.lost(p, c.writes(f, p.Begin)...)
			return
		}
		next[p.Gen] = p
	}
}

// endedByFaults: who retries within the grace keeps the family, unless somebody
// ended it on purpose.
func (c *check) endedByFaults(f *family) {
	judged := false
	again := map[uint64]bool{} // generations that were sent again
	for _, p := range f.refreshes {
		if f.disturbed < decided(p) || !c.withinGrace(f, p) {
			if p.Outcome == ledger.Refused && f.late(p) && c.replaced(f, p) == nil {
				c.LateRetries++
			}
			continue
		}
		judged = true
		if f.retries(p) {
			again[p.Gen] = true
		}
		if p.Outcome == ledger.Refused {
			c.violate(FamilyEnded, p.End, "family %s: generation %d refused at %v", f.name, p.Gen, p.End).Owned = c.lost(p, c.writes(f, p.Begin)...)
			break
		}
	}
	c.Retried += len(again)
	if judged {
		c.Checked[FamilyEnded]++
	}
}

// retries says whether p repeats a request that was not granted.
func (f *family) retries(p *ledger.Op) bool {
	return first(f.refreshes, func(q *ledger.Op) bool {
		return q.Gen == p.Gen && q.End <= p.Begin && q != p && !granted(q)
	}) != nil
}

// late says whether p is the first thing that can have ended the family, and
// repeats a request that was not granted.
func (f *family) late(p *ledger.Op) bool { return f.disturbed == p.Begin && f.retries(p) }

// writes are the writes to the family's record until then that a kill of Redis may
// have undone unseen: none from before a kill after which the record was seen to be
// there and as new, by a refresh token that was granted.
func (c *check) writes(f *family, until time.Duration) (all []*ledger.Op) {
	seen := time.Duration(-1)
	for _, p := range f.refreshes {
		if granted(p) && p.End < until {
			seen = max(seen, p.Begin)
		}
	}
	if f.login != nil {
		all = append(all, f.login)
	}
	for _, ops := range [][]*ledger.Op{f.redeems, f.refreshes, f.ended} {
		for _, op := range ops {
			if op.Begin < until && mayHaveWritten(op) {
				all = append(all, op)
			}
		}
	}
	return slices.DeleteFunc(all, func(w *ledger.Op) bool { return w.End+lossWindow < seen && !c.killedAfter(w, seen) })
}

// undone: what has ended stays so. A request that began before the answer may have
// looked before.
func (c *check) undone(f *family) {
	if f.over == nil {
		return
	}
	for _, ops := range [][]*ledger.Op{f.redeems, f.refreshes, f.uses} {
		for _, op := range ops {
			if op.Begin <= f.over.End {
				continue
			}
			c.Checked[RevocationUndone]++
			if granted(op) {
				c.violate(RevocationUndone, op.End, "family %s: over at %v by %s, %s at %v", f.name, f.over.End, f.over.Kind, op.Kind, op.End).
					Owned = c.lost(op, f.over)
				return
			}
		}
	}
}
