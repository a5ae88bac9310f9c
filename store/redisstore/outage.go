package redisstore

import (
	"context"
	"fmt"
	"math"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/store"
)

// An Outage says how a [Limiter] answers while Redis does not.
type Outage int

const (
	// LocalShare limits in this process alone, each key to its share of the
	// Limit: PerSecond and Burst divided by Copies, Burst at least 1. A key has a
	// full share when the first outage begins.
	LocalShare Outage = iota
	// FailOpen allows everything.
	FailOpen
	// FailClosed makes every decision an error that wraps
	// [store.ErrUnavailable]; a handler and a guard answer 503.
	FailClosed
)

func (l *Limiter) withoutRedis(
	ctx context.Context, key string, limit tokenbooth.Limit, cause error,
) (tokenbooth.Decision, error) {
	switch l.outage {
	case FailOpen:
		return tokenbooth.Decision{Allowed: true}, nil
	case FailClosed:
		return tokenbooth.Decision{}, fmt.Errorf("redisstore: no limits, no requests: %w: %w", store.ErrUnavailable, cause)
	}
	return l.local.Take(ctx, key, shareOf(limit, l.copies))
}

func shareOf(limit tokenbooth.Limit, copies int) tokenbooth.Limit {
	return tokenbooth.Limit{
		PerSecond: max(limit.PerSecond/float64(copies), math.SmallestNonzeroFloat64),
		Burst:     max(1, limit.Burst/copies),
	}
}
