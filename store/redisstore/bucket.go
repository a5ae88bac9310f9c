package redisstore

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/tokenbooth/tokenbooth"
)

const (
	maxRetryAfter = time.Hour
	// A rate above one per nanosecond is that.
	maxPerSecond = 1e9
)

// A bucket is what the script of a decision left, with times in microseconds
// since 1970 by the clock of the server.
type bucket struct {
	allowed bool
	tokens  float64 // at the time at
	at, now float64
	rate    float64 // tokens per second
	burst   int
}

// parseBucket reads tokens and time, and the present time of a refusal.
func parseBucket(reply string, rate float64, burst int) (bucket, error) {
	if len(reply) != 2*8 && len(reply) != 3*8 {
		return bucket{}, errors.New("redisstore: take: the answer of the script is of another length")
	}
	number := func(i int) float64 {
		return math.Float64frombits(binary.LittleEndian.Uint64([]byte(reply[8*i:])))
	}
	b := bucket{allowed: len(reply) == 2*8, tokens: number(0), at: number(1), now: number(1), rate: rate, burst: burst}
	if !b.allowed {
		b.now = number(2)
	}
	return b, nil
}

// tokensAt computes as the script does, to the bit: what it says of a moment to
// come is what the script will say then.
func (b *bucket) tokensAt(t float64) float64 {
	tokens := b.tokens
	if t > b.at {
		tokens += (t - b.at) * b.rate / 1e6
	}
	return min(tokens, float64(b.burst))
}

func (b *bucket) decision() tokenbooth.Decision {
	tokens := b.tokensAt(b.now)
	d := tokenbooth.Decision{
		Allowed:   b.allowed,
		Limit:     b.burst,
		Remaining: b.burst,
		Reset:     time.UnixMicro(int64(b.now)).Add(b.timeToFull(tokens)),
	}
	if tokens < float64(b.burst) {
		d.Remaining = int(tokens)
	}
	if !b.allowed {
		d.RetryAfter = b.retryAfter(tokens)
	}
	return d
}

// retryAfter returns the least number of whole seconds after which there is a
// token. Division says about how many, tokensAt has the last word.
func (b *bucket) retryAfter(tokens float64) time.Duration {
	seconds := (1 - tokens) / b.rate
	if seconds >= maxRetryAfter.Seconds() {
		return maxRetryAfter
	}
	d := max(1, time.Duration(seconds)) * time.Second
	for d < maxRetryAfter && b.tokensAt(b.now+float64(d.Microseconds())) < 1 {
		d += time.Second
	}
	return d
}

func (b *bucket) timeToFull(tokens float64) time.Duration {
	const longest = 100 * 365 * 24 * time.Hour
	ns := math.Ceil((float64(b.burst) - tokens) / b.rate * 1e9)
	if ns >= float64(longest) {
		return longest
	}
	return max(0, time.Duration(ns))
}
