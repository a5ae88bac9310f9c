package redisstore_test

import (
	"testing"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/internal/testservers"
	"github.com/tokenbooth/tokenbooth/store/redisstore"
	"github.com/tokenbooth/tokenbooth/store/storetest"
)

func TestS2_LimiterOutage(t *testing.T) {
	o := universal(t, testservers.Redis(t))
	for _, tt := range []struct {
		name   string
		outage redisstore.Outage
	}{
		{"LocalShare", redisstore.LocalShare},
		{"FailOpen", redisstore.FailOpen},
		{"FailClosed", redisstore.FailClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			prefix := unique(t)
			storetest.TestLimiterOutage(t, o.Addrs[0], func(t *testing.T, addr string) tokenbooth.Limiter {
				through := *o
				through.Addrs = []string{addr}
				return open(t, &through).Limiter(redisstore.LimiterConfig{Prefix: prefix, Outage: tt.outage})
			})
		})
	}
}
