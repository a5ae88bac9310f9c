package storetest

import (
	"context"
	"math"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/store"
)

func forget(c *store.Client, field string) {
	reflect.ValueOf(c).Elem().FieldByName(field).SetZero()
}

// A limiter is a right Limiter, but for its fault.
type limiter struct {
	fault fault
	tokenbooth.MemoryLimiter
	mu     sync.Mutex
	limits map[string]tokenbooth.Limit
	left   map[string]int
}

func (l *limiter) Take(ctx context.Context, key string, limit tokenbooth.Limit) (tokenbooth.Decision, error) {
	asked := limit
	key = folded(l.fault, "keys", key)
	switch f := l.fault; {
	case f.is("one more"):
		limit.Burst++
	case f.is("one less") && limit.Burst > 1:
		limit.Burst--
	case f.is("twice the rate"):
		limit.PerSecond *= 2
	case f.is("a third of the rate"):
		limit.PerSecond /= 3
	case f.is("an invalid limit passes") && math.IsInf(limit.PerSecond, 1):
		return tokenbooth.Decision{Allowed: true}, nil
	case f.is("large limits fail") && limit.Burst > math.MaxInt32:
		return tokenbooth.Decision{}, errOther
	case f.is("the first limit holds"):
		limit = l.first(key, limit)
	case f.is("looks, then takes"):
		return l.racy(key, limit), nil
	case f.is("cancelled costs all") && ctx.Err() != nil:
		for range limit.Burst {
			_, _ = l.MemoryLimiter.Take(ctx, key, limit)
		}
	}
	d, err := l.MemoryLimiter.Take(ctx, key, limit)
	if err != nil {
		return d, err
	}
	d.Limit = asked.Burst
	return l.spoilt(d, key, limit), nil
}

func (l *limiter) spoilt(d tokenbooth.Decision, key string, limit tokenbooth.Limit) tokenbooth.Decision {
	switch f := l.fault; {
	case f.is("Remaining before the request") && d.Allowed:
		d.Remaining++
	case f.is("Reset is the next request"):
		d.Reset = time.Now().Add(d.RetryAfter)
	case f.is("no Reset"):
		d.Reset = time.Time{}
	case f.is("RetryAfter of milliseconds") && !d.Allowed:
		d.RetryAfter -= time.Millisecond
	case f.is("RetryAfter of 0"):
		d.RetryAfter = 0
	case f.is("RetryAfter of days") && !d.Allowed:
		d.RetryAfter = time.Duration(1/limit.PerSecond) * time.Second
	case f.is("refused costs") && !d.Allowed && strings.HasPrefix(key, "client|"):
		// The bucket begins anew.
		l.MemoryLimiter = tokenbooth.MemoryLimiter{}
		_, _ = l.MemoryLimiter.Take(context.Background(), key, limit)
	}
	return d
}

func (l *limiter) first(key string, limit tokenbooth.Limit) tokenbooth.Limit {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limits == nil {
		l.limits = make(map[string]tokenbooth.Limit)
	}
	if _, ok := l.limits[key]; !ok {
		l.limits[key] = limit
	}
	return l.limits[key]
}

func (l *limiter) racy(key string, limit tokenbooth.Limit) tokenbooth.Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == nil {
		l.left = make(map[string]int)
	}
	left, ok := l.left[key]
	if !ok {
		left = limit.Burst
	}
	l.mu.Unlock()
	runtime.Gosched()
	l.mu.Lock()
	if left == 0 {
		return tokenbooth.Decision{Limit: limit.Burst}
	}
	l.left[key] = left - 1
	return tokenbooth.Decision{Allowed: true, Limit: limit.Burst, Remaining: left - 1}
}
