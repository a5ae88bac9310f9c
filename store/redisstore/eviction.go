package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ready returns an error until it is known that the servers keep what they are
// given.
func (s *Store) ready(ctx context.Context) error {
	if s.safe.Load() {
		return nil
	}
	if err := s.checkEviction(ctx); err != nil {
		return err
	}
	s.safe.Store(true)
	return nil
}

func (s *Store) checkEviction(ctx context.Context) error {
	check := func(ctx context.Context, c redis.Cmdable) error {
		info, err := c.Info(ctx, "memory").Result()
		if err != nil {
			return err
		}
		return keepsEntries(info)
	}
	var err error
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return check(ctx, c) })
	} else {
		err = check(ctx, s.client)
	}
	if _, ok := errors.AsType[evictionError](err); ok {
		return err
	}
	return wrap(ctx, "asking for maxmemory-policy by INFO memory (AcceptEviction does without)", err)
}

// An evictionError says what is wrong with the policy, and how to mend it.
type evictionError string

func (e evictionError) Error() string { return "redisstore: maxmemory-policy: " + string(e) }

// keepsEntries reads an answer to INFO memory. Every entry has an expiry, so that
// the volatile policies evict it as the others do.
func keepsEntries(info string) error {
	limit, policy := infoField(info, "maxmemory"), infoField(info, "maxmemory_policy")
	switch {
	case limit == "0" || policy == "noeviction":
		return nil
	case limit == "" || policy == "":
		return evictionError("unknown: INFO memory does not tell whether the server may evict codes, tokens and " +
			"revocations; if it may not, or that is accepted, give AcceptEviction()")
	}
	return evictionError(fmt.Sprintf("%q: the server may evict codes, tokens and revocations when it has maxmemory "+
		"(%s bytes) in use; set it to noeviction, or give AcceptEviction()", policy, limit))
}

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
