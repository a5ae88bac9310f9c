package bench

import (
	"context"
	"net/http"

	"github.com/go-oauth2/oauth2/v4"
	"github.com/go-oauth2/oauth2/v4/generates"
	"github.com/go-oauth2/oauth2/v4/manage"
	"github.com/go-oauth2/oauth2/v4/models"
	"github.com/go-oauth2/oauth2/v4/server"
	"github.com/go-oauth2/oauth2/v4/store"
	"github.com/golang-jwt/jwt/v5"
)

// go-oauth2 compares client secrets as plain strings and keeps every token in
// its memory store: "go-oauth2-store". "go-oauth2" keeps nothing. Its JWT has
// only aud, sub and exp.
func init() {
	tokenEndpoints = append(tokenEndpoints,
		tokenEndpoint{"go-oauth2-store", []string{"ES256", "HS256"}, func(alg string) http.Handler {
			return newGoOAuth2(goOAuth2JWT(alg), must(store.NewMemoryTokenStore()))
		}},
		tokenEndpoint{"go-oauth2", algs, func(alg string) http.Handler {
			return newGoOAuth2(goOAuth2JWT(alg), keepsNothing{})
		}},
	)
	tokenStores = append(tokenStores, tokenStore{"go-oauth2", func() (func(), any) {
		tokens := must(store.NewMemoryTokenStore())
		h := newGoOAuth2(generates.NewAccessGenerate(), tokens)
		c := tokenCall(clientSecret)
		return func() { c.serve(h) }, tokens
	}})
}

func goOAuth2JWT(alg string) oauth2.AccessGenerate {
	return generates.NewJWTAccessGenerate(keyID, signingKeys[alg].pem, jwt.GetSigningMethod(alg))
}

func newGoOAuth2(generate oauth2.AccessGenerate, tokens oauth2.TokenStore) http.Handler {
	clients := store.NewClientStore()
	must(0, clients.Set(clientID, &models.Client{ID: clientID, Secret: clientSecret, UserID: clientID}))

	manager := manage.NewManager()
	manager.MapAccessGenerate(generate)
	manager.MapClientStorage(clients)
	manager.MapTokenStorage(tokens)
	manager.SetClientTokenCfg(&manage.Config{AccessTokenExp: lifetime})

	s := server.NewDefaultServer(manager)
	s.SetClientInfoHandler(server.ClientFormHandler)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.HandleTokenRequest(w, r); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
}

// keepsNothing is a token store that forgets at once.
type keepsNothing struct{ oauth2.TokenStore }

func (keepsNothing) Create(context.Context, oauth2.TokenInfo) error { return nil }
