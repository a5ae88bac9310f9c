package tokenbooth

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// A client authenticates in the way it is registered for and in no other,
// whatever it knows (RFC 7591 §2, token_endpoint_auth_method).
func TestC7_RegisteredMethod(t *testing.T) {
	ways := map[string]func(b *epBooth) *httptest.ResponseRecorder{
		store.AuthPost:  func(b *epBooth) *httptest.ResponseRecorder { return b.post(epAcme) },
		store.AuthBasic: func(b *epBooth) *httptest.ResponseRecorder { return b.post(epGrantOnly, epBasic("acme", epSecret)) },
	}
	for _, registered := range []string{"", store.AuthPost, store.AuthBasic, store.AuthNone} {
		for way, ask := range ways {
			b := epNew(t, response.OAuth{})
			b.clients.all["acme"].AuthMethod = registered
			if registered == "" || registered == way {
				b.want(t, ask(b), 200, "")
				continue
			}
			b.want(t, ask(b), 401, response.SecretWrong)
		}
	}
	b := epNew(t, response.OAuth{})
	for registered, status := range map[string]int{"": 200, store.AuthNone: 200, store.AuthPost: 401, store.AuthBasic: 401} {
		b.clients.all["storefront"].AuthMethod = registered
		if w := b.post("grant_type=implicit&client_id=storefront"); w.Code != status {
			t.Errorf("a public client registered for %q: %d %s, want %d", registered, w.Code, w.Body, status)
		}
	}
}

// A key has one algorithm. Its holder may sign with another one of the family,
// which a verifier that believes the token would not notice (RFC 8725 §3.1).
func TestT2_AlgorithmOfTheKey(t *testing.T) {
	for algorithm, others := range map[string][]jose.SignatureAlgorithm{
		"RS256": {jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512},
		"HS256": {jose.HS384, jose.HS512},
	} {
		key := gkKey(algorithm)
		if algorithm == "HS256" { // long enough for every HS algorithm
			key = Key{ID: key.ID, Material: []byte(strings.Repeat("k", 64))}
		}
		b := gkNew(t, func(c *HandlerConfig) { c.Keys = gkRing(t, key) })
		if status := gkStatus(t, b.Guard(), gpSign(t, key, jose.SignatureAlgorithm(algorithm))); status != http.StatusNoContent {
			t.Fatalf("%s: %d", algorithm, status)
		}
		for _, other := range others {
			gkRefused(t, b, gpSign(t, key, other))
		}
	}
}

func gpSign(t *testing.T, key Key, algorithm jose.SignatureAlgorithm) string {
	t.Helper()
	options := new(jose.SignerOptions).WithType("at+jwt").WithHeader("kid", key.ID)
	signer := gkMust(jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key.Material}, options))
	return gkMust(gkMust(signer.Sign([]byte(gkClaims().with(nil)))).CompactSerialize())
}

// Whichever dependency hangs, the request that waits for it is answered.
func TestS2_StoreCallsAreBounded(t *testing.T) {
	epKeys()
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	tests := []struct {
		name    string
		change  epChange
		disable func(b *epBooth)
	}{
		{"client store", nil, func(b *epBooth) {
			b.clients.fail(func(ctx context.Context, _ string) (*store.Client, error) { return nil, wait(ctx) })
		}},
		{"state", func(c *HandlerConfig) { c.Tokens = Opaque{} }, func(b *epBooth) {
			b.state.fail(func(ctx context.Context) (bool, error) { return false, wait(ctx) })
			b.codec.(*opaqueCodec).state = bounded(gkState{b.state, func(ctx context.Context, _ string) ([]byte, bool, error) {
				return nil, false, wait(ctx)
			}})
		}},
		{"limiter", nil, func(b *epBooth) {
			limiter := gkLimiter(func(ctx context.Context, _ string, _ Limit) (Decision, error) {
				return Decision{}, wait(ctx)
			})
			b.limiter, b.guard.limiter = limiter, limiter
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := epNew(t, response.OAuth{}, func(c *HandlerConfig) {
					if tt.change != nil {
						tt.change(c)
					}
				})
				_, members := epClaims(t, b, b.post(epAcme))
				token, _ := members["access_token"].(string)
				tt.disable(b)
				gpBounded(t, b, epRequest(epAcme))
				gpBounded(t, b.Guard().Require()(gkOpen), gkRequest(token))
			})
		})
	}
}

// gpBounded: the context outlives the bound by far, so that only the handler
// can end the wait.
func gpBounded(t *testing.T, h http.Handler, r *http.Request) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	start := time.Now()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(ctx))
	if took := time.Since(start); w.Code != 503 || took > storeTimeout {
		t.Errorf("%s %s: %d after %v, want 503 within %v: %s", r.Method, r.URL, w.Code, took, storeTimeout, w.Body)
	}
}
