package tokenbooth_test

import (
	"testing"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/store/storetest"
)

func TestMemoryLimiterIsLimiter(t *testing.T) {
	storetest.TestLimiter(t, func(*testing.T) tokenbooth.Limiter { return new(tokenbooth.MemoryLimiter) })
}
