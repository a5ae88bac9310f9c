// Package schedule draws which faults a campaign has, and when.
package schedule

import (
	"math/rand/v2"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// A Fault is what is done to a target, and for how long it stays so.
type Fault struct {
	Kind   ledger.Fault
	Target ledger.Target
	Copy   int           // where the target is a copy
	After  time.Duration // of the step's beginning
	Hold   time.Duration
	Offset time.Duration // of the copy's clock, from then on: for Clock, and for each start of a copy
}

// A Step is one fault, or two that overlap, and then a time of calm, which begins
// when all is well again.
type Step struct {
	Faults []Fault
	Calm   time.Duration
}

// deck is the mixture: each kind of fault as often as it stands here.
var deck = []Fault{
	{Kind: ledger.Kill, Target: ledger.Postgres},
	{Kind: ledger.Kill, Target: ledger.Postgres},
	{Kind: ledger.Kill, Target: ledger.Postgres},
	{Kind: ledger.Kill, Target: ledger.Redis},
	{Kind: ledger.Kill, Target: ledger.Redis},
	{Kind: ledger.Kill, Target: ledger.Redis},
	{Kind: ledger.Kill, Target: ledger.Copy},
	{Kind: ledger.Kill, Target: ledger.Copy},
	{Kind: ledger.Kill, Target: ledger.Copy},
	{Kind: ledger.Stop, Target: ledger.Postgres},
	{Kind: ledger.Stop, Target: ledger.Redis},
	{Kind: ledger.Stop, Target: ledger.Copy},
	{Kind: ledger.Term, Target: ledger.Copy},
	{Kind: ledger.Term, Target: ledger.Copy},
	{Kind: ledger.Cut, Target: ledger.Postgres},
	{Kind: ledger.Cut, Target: ledger.Redis},
	{Kind: ledger.Hang, Target: ledger.Postgres},
	{Kind: ledger.Hang, Target: ledger.Redis},
	{Kind: ledger.Swallow, Target: ledger.Postgres},
	{Kind: ledger.Swallow, Target: ledger.Redis},
	{Kind: ledger.Exhaust, Target: ledger.Postgres},
	{Kind: ledger.ReadOnly, Target: ledger.Postgres},
	{Kind: ledger.Clock, Target: ledger.Copy},
	{Kind: ledger.Clock, Target: ledger.Copy},
}

// A Schedule draws one step after another: a deck is dealt to its end before it is
// shuffled again, so that each kind of fault has its turn. The same seed draws the
// same.
type Schedule struct {
	random *rand.Rand
	copies int
	maxOff time.Duration
	left   []Fault
}

// New returns a schedule for so many copies, whose clocks are off by at most the
// skew from each other.
func New(seed uint64, copies int, skew time.Duration) *Schedule {
	return &Schedule{random: rand.New(rand.NewPCG(seed, 0)), copies: copies, maxOff: skew / 2} //nolint:gosec // no secret
}

// Next draws a step.
func (s *Schedule) Next() Step {
	step := Step{Faults: []Fault{s.draw()}, Calm: s.between(600*time.Millisecond, 2600*time.Millisecond)}
	if s.random.IntN(8) == 0 && len(s.left) > 0 && apart(&step.Faults[0], &s.left[0]) {
		second := s.draw()
		second.After = s.between(0, step.Faults[0].Hold)
		step.Faults = append(step.Faults, second)
	}
	return step
}

// apart says whether two faults can be told apart, and undone one by one.
func apart(a, b *Fault) bool { return a.Target != b.Target }

func (s *Schedule) draw() Fault {
	if len(s.left) == 0 {
		s.left = append(s.left, deck...)
		s.random.Shuffle(len(s.left), func(i, j int) { s.left[i], s.left[j] = s.left[j], s.left[i] })
	}
	f := s.left[0]
	s.left = s.left[1:]
	f.Copy = s.random.IntN(s.copies)
	f.Offset = s.between(-s.maxOff, s.maxOff)
	f.Hold = s.hold(f.Kind)
	return f
}

// hold is how long a fault stays. What makes a request wait stays now and then for
// longer than the 2 s that a call of a store may take.
func (s *Schedule) hold(kind ledger.Fault) time.Duration {
	switch kind {
	case ledger.Clock:
		return 0
	case ledger.Stop, ledger.Hang, ledger.Exhaust:
		if s.random.IntN(2) == 0 {
			return s.between(2200*time.Millisecond, 3*time.Second)
		}
	}
	return s.between(100*time.Millisecond, 700*time.Millisecond)
}

func (s *Schedule) between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(s.random.Int64N(int64(high-low)))
}
