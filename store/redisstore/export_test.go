package redisstore

import "github.com/tokenbooth/tokenbooth"

// Key returns the key of a bucket in Redis.
func (l *Limiter) Key(key string) string { return l.key(key) }

func limitOf(perSecond float64, burst int) tokenbooth.Limit {
	return tokenbooth.Limit{PerSecond: perSecond, Burst: burst}
}
