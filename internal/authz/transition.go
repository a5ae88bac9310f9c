package authz

import (
	"crypto/hmac"
	"time"
)

// A Verdict is what follows from a token that was presented.
type Verdict int

// The verdicts. What to write, if anything, comes beside them.
const (
	Refuse     Verdict = iota // not good
	Replayed                  // a redeemed code, otherwise right: the family ends
	Reused                    // an old refresh token: the family ends
	Grant                     // good
	Again                     // good, within the grace: the successor that was issued already
	RolledBack                // good, and newer than the record: the store lost writes
)

// Lifetimes bound an authorization.
type Lifetimes struct {
	Access   time.Duration // of access tokens
	Idle     time.Duration // a refresh token that is not used ends
	Absolute time.Duration // all of them end, counted from the redemption
	Grace    time.Duration // how long the one before may be used again; 0 never
}

// maxFails redemptions with the right code and something else wrong end it.
const maxFails = 5

// Redeem decides about a presented code of this record. right says whether
// client, redirect URI and verifier are; lost, whether this same request wrote
// before and lost the race. next is to be swapped in, nil where nothing is to be
// written; s is the new family's secret.
func (r *Record) Redeem(hash [32]byte, right, lost bool, now time.Time, l Lifetimes) (next *Record, s [32]byte, v Verdict) {
	if !hmac.Equal(hash[:], r.CodeHash[:]) || r.Phase == Revoked {
		return nil, s, Refuse
	}
	if r.Phase == Active {
		if !right || lost {
			return nil, s, Refuse
		}
		return r.revoked(), s, Replayed
	}
	if !now.Before(r.CodeUntil) {
		return nil, s, Refuse
	}
	n := *r
	if !right {
		n.Fails++
		if n.Fails >= maxFails {
			n.Phase = Revoked
		}
		return &n, s, Refuse
	}
	s, n.MACNonce = NewSecret()
	n.Phase, n.Gen, n.SecretHash = Active, 1, HashSecret(s)
	n.RotatedAt, n.AbsUntil, n.Until = now, now.Add(l.Absolute), now.Add(l.Access)
	n.IdleUntil = earlier(now.Add(l.Idle), n.AbsUntil)
	if !r.Offline {
		n.AbsUntil, n.IdleUntil = time.Time{}, time.Time{}
	}
	return &n, s, Grant
}

// Good says whether a refresh token is one of this record, of whatever
// generation, and whether the record still lets it live.
func (r *Record) Good(t *Refresh, client string, now time.Time) bool {
	return r.Phase == Active && r.Offline && t.IsOf(r) && r.Client == client &&
		now.Before(r.IdleUntil) && now.Before(r.AbsUntil)
}

// Rotate decides about a refresh token that is [Record.Good]. Where something is to
// be written it is in next after it; the generation to answer with is that of
// next, or of r where the verdict is [Again]. lost says whether this
// same request tried to write before and lost the race: its token was not an old
// one when it came, so where there is a grace it is no reuse, however far and
// however long ago by the clocks the winners went on since.
func (r *Record) Rotate(next *Record, gen uint64, lost bool, now time.Time, l Lifetimes) Verdict {
	lost = lost && l.Grace > 0
	switch age := now.Sub(r.RotatedAt).Abs(); {
	case gen > r.Gen:
		r.rotated(next, gen+1, now, l)
		return RolledBack
	case gen == r.Gen:
		r.rotated(next, gen+1, now, l)
		return Grant
	case gen == r.Gen-1 && l.Grace > 0 && (lost || age <= l.Grace):
		return Again
	case lost:
		return Refuse
	}
	*next = *r
	next.Phase = Revoked
	return Reused
}

func (r *Record) rotated(n *Record, gen uint64, now time.Time, l Lifetimes) {
	*n = *r
	n.Gen, n.RotatedAt = gen, now
	n.IdleUntil = earlier(now.Add(l.Idle), r.AbsUntil)
	if until := now.Add(l.Access); until.After(n.Until) {
		n.Until = until
	}
}

func (r *Record) revoked() *Record {
	n := *r
	n.Phase = Revoked
	return &n
}

// Revoke ends the record; nil where it has ended already.
func (r *Record) Revoke() *Record {
	if r.Phase == Revoked {
		return nil
	}
	return r.revoked()
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
