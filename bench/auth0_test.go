package bench

import (
	"context"
	"net/http"

	jwtmiddleware "github.com/auth0/go-jwt-middleware/v2"
	"github.com/auth0/go-jwt-middleware/v2/validator"
)

// Auth0's middleware, version 2, with one key and no look-up of key sets.
func init() {
	bearerGuards = append(bearerGuards, bearerGuard{"auth0-v2", algs, newAuth0Guard})
}

func newAuth0Guard(alg string) func(http.Handler) http.Handler {
	key := signingKeys[alg].public
	v := must(validator.New(
		func(context.Context) (any, error) { return key, nil },
		validator.SignatureAlgorithm(alg), issuer, []string{audience}))
	return jwtmiddleware.New(v.ValidateToken).CheckJWT
}
