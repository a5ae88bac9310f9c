package redisstore

import (
	"sync/atomic"
	"time"

	"github.com/tokenbooth/tokenbooth"
)

// Key returns the key of a bucket in Redis.
func (l *Limiter) Key(key string) string { return l.key(key) }

func limitOf(perSecond float64, burst int) tokenbooth.Limit {
	return tokenbooth.Limit{PerSecond: perSecond, Burst: burst}
}

// Patient returns the Limiter with a timeout at which no busy machine takes Redis
// for dead. It is not called beside other calls.
func (l *Limiter) Patient() *Limiter { return l.within(time.Minute) }

// Impatient takes Patient back.
func (l *Limiter) Impatient() *Limiter { return l.within(takeTimeout) }

func (l *Limiter) within(d time.Duration) *Limiter {
	l.deadline.timeout = d
	l.deadline.latest = atomic.Pointer[sharedContext]{}
	return l
}
