package bench

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// golang-jwt with the few lines around it that people write themselves.
func init() {
	tokenEndpoints = append(tokenEndpoints, tokenEndpoint{"golang-jwt-naive", algs, newGolangJWTToken})
	bearerGuards = append(bearerGuards, bearerGuard{"golang-jwt", algs, newGolangJWTGuard})
}

type golangClaims struct {
	jwt.RegisteredClaims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

func newGolangJWTToken(alg string) http.Handler {
	method, key := jwt.GetSigningMethod(alg), signingKeys[alg].private
	return naiveToken(func() (string, error) {
		var id [16]byte
		rand.Read(id[:])
		now := time.Now()
		token := jwt.NewWithClaims(method, golangClaims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer: issuer, Subject: clientID, Audience: jwt.ClaimStrings{audience},
				IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
				ID: base64.RawURLEncoding.EncodeToString(id[:]),
			},
			ClientID: clientID, Scope: scope,
		})
		token.Header["typ"], token.Header["kid"] = "at+jwt", keyID
		return token.SignedString(key)
	})
}

// newGolangJWTParser is shared with the MCP SDK's guard.
func newGolangJWTParser(alg string) func(raw string) (*golangClaims, error) {
	key := signingKeys[alg].public
	keyFunc := func(*jwt.Token) (any, error) { return key, nil }
	parser := jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(issuer),
		jwt.WithAudience(audience), jwt.WithExpirationRequired())
	return func(raw string) (*golangClaims, error) {
		var claims golangClaims
		_, err := parser.ParseWithClaims(raw, &claims, keyFunc)
		return &claims, err
	}
}

func newGolangJWTGuard(alg string) func(http.Handler) http.Handler {
	parse := newGolangJWTParser(alg)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			claims, err := parse(raw)
			if !ok || err != nil {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims)))
		})
	}
}
