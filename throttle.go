package tokenbooth

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// take takes one from a bucket, or returns the Failure of an empty one.
func (h *Handler) take(ctx context.Context, key string, l Limit) error {
	_, err := take(ctx, h.limiter, key, l)
	return err
}

// expect tells a limiter in memory which bucket it is likely to be asked for.
func (h *Handler) expect(key string) {
	if m, ok := h.limiter.(*MemoryLimiter); ok {
		m.expect(key)
	}
}

// limit takes from the buckets that the grant names, if the client may use it, and
// from the client's own. A request that one bucket refuses has taken from those
// before it: the own one comes last, since it may regain the most slowly.
func (h *Handler) limit(ctx context.Context, x *exchange, entitled bool) error {
	if entitled && x.grant.limitKeys != nil {
		for _, key := range x.grant.limitKeys(h.request(x)) {
			name := strconv.Itoa(len(x.grant.name)) + ":" + x.grant.name + key
			if err := h.take(ctx, bucketOf("grant", name, !x.authenticated, x.address), h.failureLimit); err != nil {
				return err
			}
		}
	}
	return h.limitClient(ctx, x, x.client)
}

// limitClient takes from the client's own bucket. A public client cannot prove
// that it is itself: its bucket is by address too, so that nobody empties
// another's (L1).
func (h *Handler) limitClient(ctx context.Context, x *exchange, client *store.Client) error {
	key := x.nameClient(client.ID).bucket
	if client.Public {
		key = anonKey(x.address, tokenBucket, client.ID)
	}
	return h.take(ctx, key, limitOf(client, h.clientLimit))
}

func take(ctx context.Context, limiter Limiter, key string, l Limit) (Decision, error) {
	if err := l.check(); err != nil {
		return Decision{}, err // a record of the client store that makes no sense
	}
	var d Decision
	var err error
	if m, local := limiter.(*MemoryLimiter); local {
		d, err = m.Take(ctx, key, l)
	} else {
		d, err = takeElsewhere(ctx, limiter, key, l)
	}
	if err == nil && d.Allowed {
		return d, nil
	}
	return d, limited(&d, err)
}

func takeElsewhere(ctx context.Context, limiter Limiter, key string, l Limit) (Decision, error) {
	if _, none := limiter.(Unlimited); !none {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, storeTimeout)
		defer cancel()
	}
	return limiter.Take(ctx, key, l)
}

func limited(d *Decision, err error) error {
	if err != nil {
		return because(response.Unavailable, fmt.Errorf("tokenbooth: limiter: %w", err))
	}
	f := response.Fail(response.Throttled)
	f.RetryAfter = d.RetryAfter
	return f
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
