package redisstore

import (
	"sync/atomic"
	"time"

	"github.com/tokenbooth/tokenbooth"
)

// Key returns the key of a bucket in Redis.
func (l *Limiter) Key(key string) string { return l.key(key) }

// TryOut does what a probe does.
func (l *Limiter) TryOut(key string, timeout time.Duration) error { return l.tryOut(key, timeout) }

// Busy reports whether a connection is in use.
func (s *Store) Busy() bool {
	stats := s.client.PoolStats()
	return stats.TotalConns > stats.IdleConns
}

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
