package bench

import (
	"context"
	"net/http"

	"github.com/go-chi/jwtauth/v5"
	jwtv2 "github.com/lestrrat-go/jwx/v2/jwt"
	"github.com/lestrrat-go/jwx/v3/jwa"
	jwtv3 "github.com/lestrrat-go/jwx/v3/jwt"
)

// jwx twice: version 2 inside go-chi's jwtauth, version 3 by itself.
func init() {
	bearerGuards = append(bearerGuards,
		bearerGuard{"jwtauth-jwx2", algs, newJWTAuthGuard},
		bearerGuard{"jwx3", algs, newJWX3Guard},
	)
}

func newJWTAuthGuard(alg string) func(http.Handler) http.Handler {
	key := signingKeys[alg]
	ja := jwtauth.New(alg, key.private, key.public, jwtv2.WithIssuer(issuer), jwtv2.WithAudience(audience))
	verifier, authenticator := jwtauth.Verifier(ja), jwtauth.Authenticator(ja)
	return func(next http.Handler) http.Handler { return verifier(authenticator(next)) }
}

func newJWX3Guard(alg string) func(http.Handler) http.Handler {
	algorithm, _ := jwa.LookupSignatureAlgorithm(alg)
	options := []jwtv3.ParseOption{
		jwtv3.WithKey(algorithm, signingKeys[alg].public),
		jwtv3.WithIssuer(issuer), jwtv3.WithAudience(audience),
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			raw, ok := bearerToken(r)
			token, err := jwtv3.ParseString(raw, options...)
			if !ok || err != nil {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, token)))
		})
	}
}
