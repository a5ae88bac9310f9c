package tokenbooth

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// take takes one from a bucket, or returns the Failure of an empty one.
func (h *Handler) take(ctx context.Context, key string, l Limit) error {
	_, err := take(ctx, h.limiter, key, l)
	return err
}

func take(ctx context.Context, limiter Limiter, key string, l Limit) (Decision, error) {
	if err := l.check(); err != nil {
		return Decision{}, err // a record of the client store that makes no sense
	}
	if _, local := limiter.(*MemoryLimiter); !local {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, storeTimeout)
		defer cancel()
	}
	d, err := limiter.Take(ctx, key, l)
	switch {
	case err != nil:
		return d, because(response.Unavailable, fmt.Errorf("tokenbooth: limiter: %w", err))
	case !d.Allowed:
		f := response.Fail(response.Throttled)
		f.RetryAfter = d.RetryAfter
		return d, f
	}
	return d, nil
}

// bucketOf names a bucket of a client. One that anybody can claim to be has a
// bucket for each address, so that nobody empties it for others (L1).
func bucketOf(kind, id string, claimed bool, address netip.Prefix) string {
	if claimed {
		return anonKey(address, kind, id)
	}
	return clientKey(kind, id)
}

func limitOf(client *store.Client, otherwise Limit) Limit {
	if client.Rate == nil {
		return otherwise
	}
	return Limit{PerSecond: client.Rate.PerSecond, Burst: client.Rate.Burst}
}
