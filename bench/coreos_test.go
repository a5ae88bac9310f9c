package bench

import (
	"context"
	"crypto"
	"net/http"

	"github.com/coreos/go-oidc/v3/oidc"
)

// coreos' verifier, which is meant for ID tokens, over a static set of one key.
// It has no HS256.
func init() {
	bearerGuards = append(bearerGuards, bearerGuard{"coreos-oidc", publicAlgs, newCoreOSGuard})
}

func newCoreOSGuard(alg string) func(http.Handler) http.Handler {
	keys := &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{signingKeys[alg].public}}
	verifier := oidc.NewVerifier(issuer, keys, &oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{alg}})
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			raw, ok := bearerToken(r)
			token, err := verifier.Verify(r.Context(), raw)
			if !ok || err != nil {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, token)))
		})
	}
}
