package bench

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/store"
)

// tokenbooth as it is configured in any program: what a field is not set for here
// has its default, and so limits, checks, events and revocation are on.
//
//   - The client's record has a rate that is never reached, since the other peers
//     have no limit at all; it is asked and charged all the same.
//   - Events go to a logger at slog's default level and to a counter, as they would
//     to metrics.
//   - "ours" as a guard is the handler's own: memory State, limiter, scopes.
//     "ours-bare" is one in another process that has the keys and nothing else.
func init() {
	tokenEndpoints = append(tokenEndpoints,
		tokenEndpoint{"ours", algs, func(alg string) http.Handler { return newOurs(ourConfig(alg)) }},
	)
	bearerGuards = append(bearerGuards,
		bearerGuard{"ours", algs, func(alg string) func(http.Handler) http.Handler {
			return newOurs(ourConfig(alg)).Guard().Require("read")
		}},
		bearerGuard{"ours-bare", algs, newOurBareGuard},
	)
	rateLimiters = append(rateLimiters, rateLimiter{"ours", newOurLimiter})
	tokenStores = append(tokenStores, tokenStore{"ours", func() (func(), any) {
		config := ourConfig("ES256")
		config.Tokens = tokenbooth.Opaque{}
		h := newOurs(config)
		c := tokenCall(clientSecret)
		return func() { c.serve(h) }, h
	}})
}

var ourLogger = slog.New(slog.NewTextHandler(io.Discard, nil))

var neverReached = store.Rate{PerSecond: perSecond, Burst: keysBurst}

func ourConfig(alg string) tokenbooth.HandlerConfig {
	return tokenbooth.HandlerConfig{
		Issuer:   issuer,
		Audience: audience,
		Clients: must(store.NewMemory(&store.Client{
			ID:      clientID,
			Secrets: []store.Secret{store.HashSecret(clientSecret)},
			Grants:  []string{"client_credentials"},
			Scopes:  []string{"read", "write"},
			Rate:    &neverReached,
		})),
		Keys:   ourKeys(alg, signingKeys[alg].private),
		Logger: ourLogger,
		Events: countEvent,
	}
}

func newOurs(config tokenbooth.HandlerConfig) *tokenbooth.Handler {
	return must(tokenbooth.NewHandler(config))
}

func ourKeys(alg string, material any) *tokenbooth.KeyRing {
	return must(tokenbooth.NewKeyRing(tokenbooth.Key{ID: keyID, Algorithm: alg, Material: material}))
}

var events atomic.Int64

func countEvent(context.Context, tokenbooth.Event) { events.Add(1) }

func newOurBareGuard(alg string) func(http.Handler) http.Handler {
	return must(tokenbooth.NewGuard(tokenbooth.GuardConfig{
		Issuer:   issuer,
		Audience: audience,
		Keys:     ourKeys(alg, signingKeys[alg].public),
		Limiter:  tokenbooth.Unlimited{},
		Logger:   ourLogger,
		Events:   countEvent,
	})).Require()
}

func newOurLimiter() (allowFunc, func()) {
	limiter := new(tokenbooth.MemoryLimiter)
	limit := tokenbooth.Limit{PerSecond: perSecond, Burst: keysBurst}
	ctx := context.Background()
	return func(_ http.ResponseWriter, _ *http.Request, key string) bool {
		d, err := limiter.Take(ctx, key, limit)
		return d.Allowed && err == nil
	}, func() {}
}
