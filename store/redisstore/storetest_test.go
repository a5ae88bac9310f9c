package redisstore_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/internal/testservers"
	"github.com/tokenbooth/tokenbooth/store"
	"github.com/tokenbooth/tokenbooth/store/redisstore"
	"github.com/tokenbooth/tokenbooth/store/storetest"
)

func TestS1_State(t *testing.T) {
	eachMode(t, func(t *testing.T, o *redis.UniversalOptions) {
		storetest.TestState(t, func(t *testing.T) store.State { return open(t, o) })
	})
}

func TestS1_Limiter(t *testing.T) {
	eachMode(t, func(t *testing.T, o *redis.UniversalOptions) {
		storetest.TestLimiter(t, func(t *testing.T) tokenbooth.Limiter {
			return open(t, o).Limiter(redisstore.LimiterConfig{Prefix: unique(t), Outage: redisstore.FailClosed}).Patient()
		})
	})
}

func TestS1_Outage(t *testing.T) {
	o := universal(t, testservers.Redis(t))
	storetest.TestOutage(t, o.Addrs[0], func(t *testing.T, addr string) store.State {
		through := *o
		through.Addrs = []string{addr}
		return open(t, &through)
	})
}
