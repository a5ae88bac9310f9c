package tokenbooth

import "time"

// A steadyClock makes of a clock that steps one that never goes back. A
// rate.Limiter remembers the latest time of a success and regains nothing before
// it: a backward step would lock its key out for as long as the step.
type steadyClock struct {
	seen   time.Time // the latest reading, or the one after a backward step
	steady time.Time // with a monotonic reading whatever the clock has, since these are subtracted faster
}

// Readings are taken outside the lock and may overtake one another; a difference
// of less than this is that, a greater one is a step.
const maxInversion = time.Second

// An instant is one reading of a clock.
type instant struct {
	now    time.Time     // as the clock has it
	steady time.Time     // as the buckets have it
	nanos  int64         // steady in Unix nanoseconds
	lag    time.Duration // how long steady will stand still; below maxInversion
}

// read reads the clock, which says now, into an empty instant.
func (c *steadyClock) read(at *instant, now time.Time) {
	at.now = now
	if c.steady.IsZero() {
		c.seen, c.steady = now, time.Now()
	}
	switch d := now.Sub(c.seen); {
	case d >= 0:
		c.steady = c.steady.Add(d)
		c.seen = now
	case d > -maxInversion:
		at.lag = -d
	default:
		c.seen = now
	}
	at.steady, at.nanos = c.steady, c.steady.UnixNano()
}
