package bench

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// go-jose with the few lines around it that one would write first, after its
// README: what ours has to beat to be worth having.
func init() {
	tokenEndpoints = append(tokenEndpoints, tokenEndpoint{"go-jose-naive", algs, newJoseToken})
	bearerGuards = append(bearerGuards, bearerGuard{"go-jose", algs, newJoseGuard})
}

type accessClaims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

func newJoseSigner(alg string) jose.Signer {
	key := jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: signingKeys[alg].private}
	return must(jose.NewSigner(key, new(jose.SignerOptions).WithType("at+jwt").WithHeader("kid", keyID)))
}

func newAccessClaims() accessClaims {
	var id [16]byte
	rand.Read(id[:])
	now := time.Now()
	return accessClaims{
		Claims: jwt.Claims{
			Issuer: issuer, Subject: clientID, Audience: jwt.Audience{audience},
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(lifetime)),
			ID: base64.RawURLEncoding.EncodeToString(id[:]),
		},
		ClientID: clientID, Scope: scope,
	}
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
}

// naiveToken is a token endpoint around what makes the token.
func naiveToken(sign func() (string, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ParseForm() != nil || r.PostForm.Get("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if !authenticated([]byte(r.PostForm.Get("client_id")), []byte(r.PostForm.Get("client_secret"))) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		token, err := sign()
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(tokenAnswer{token, "Bearer", int64(lifetime / time.Second)})
	})
}

func newJoseToken(alg string) http.Handler {
	signer := newJoseSigner(alg)
	return naiveToken(func() (string, error) {
		return jwt.Signed(signer).Claims(newAccessClaims()).Serialize()
	})
}

func newJoseGuard(alg string) func(http.Handler) http.Handler {
	allowed, key := []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)}, signingKeys[alg].public
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			token, err := jwt.ParseSigned(raw, allowed)
			var claims accessClaims
			if !ok || err != nil || token.Claims(key, &claims) != nil ||
				claims.ValidateWithLeeway(jwt.Expected{
					Issuer: issuer, AnyAudience: jwt.Audience{audience}, Time: time.Now(),
				}, 0) != nil {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, &claims)))
		})
	}
}
