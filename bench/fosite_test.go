package bench

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"sync"

	josev3 "github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	fositeoauth2 "github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/storage"
	fositejwt "github.com/ory/fosite/token/jwt"
)

// fosite as it ships hashes client secrets with bcrypt at cost 12 and keeps
// every access token: "fosite-default". "fosite-store" hashes with SHA-256,
// "fosite" also keeps nothing, so that its own work shows.
func init() {
	tokenEndpoints = append(tokenEndpoints,
		tokenEndpoint{"fosite-default", []string{"ES256"}, func(alg string) http.Handler {
			return newFosite(fositeJWT(alg), nil, storage.NewMemoryStore())
		}},
		tokenEndpoint{"fosite-store", []string{"ES256", "HS256"}, func(alg string) http.Handler {
			return newFosite(fositeJWT(alg), sha256Hasher{}, storage.NewMemoryStore())
		}},
		tokenEndpoint{"fosite", algs, func(alg string) http.Handler {
			return newFosite(fositeJWT(alg), sha256Hasher{}, forgetful{storage.NewMemoryStore()})
		}},
	)
	tokenStores = append(tokenStores, tokenStore{"fosite", func() (func(), any) {
		store := storage.NewMemoryStore()
		h := newFosite(fositeHMAC, sha256Hasher{}, store)
		c := tokenCall(clientSecret)
		return func() { c.serve(h) }, store
	}})
}

// fositeDefaultHash is the client's secret as fosite hashes it by default; made
// once, for it takes a quarter of a second.
var fositeDefaultHash = sync.OnceValue(func() []byte {
	return must((&fosite.BCrypt{Config: new(fosite.Config)}).Hash(context.Background(), []byte(clientSecret)))
})

type fositeStrategy func(*fosite.Config) any

func fositeJWT(alg string) fositeStrategy {
	key := &josev3.JSONWebKey{Key: signingKeys[alg].private, Algorithm: alg, KeyID: keyID}
	return func(config *fosite.Config) any {
		return compose.NewOAuth2JWTStrategy(
			func(context.Context) (any, error) { return key, nil },
			compose.NewOAuth2HMACStrategy(config), config)
	}
}

func fositeHMAC(config *fosite.Config) any { return compose.NewOAuth2HMACStrategy(config) }

func newFosite(strategy fositeStrategy, hasher fosite.Hasher, store any) http.Handler {
	config := &fosite.Config{
		AccessTokenIssuer:   issuer,
		AccessTokenLifespan: lifetime,
		GlobalSecret:        []byte("0123456789abcdef0123456789abcdef"),
		ClientSecretsHasher: hasher,
	}
	hash := sha256Hash(clientSecret)
	if hasher == nil {
		hash = fositeDefaultHash()
	}
	client := &fosite.DefaultClient{
		ID: clientID, Secret: hash, GrantTypes: []string{"client_credentials"},
		Scopes: []string{"read", "write"}, Audience: []string{audience},
	}
	switch s := store.(type) {
	case *storage.MemoryStore:
		s.Clients[clientID] = client
	case forgetful:
		s.Clients[clientID] = client
	}
	provider := compose.Compose(config, store, strategy(config), compose.OAuth2ClientCredentialsGrantFactory)

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		session := &fositeoauth2.JWTSession{
			JWTClaims: &fositejwt.JWTClaims{Subject: clientID},
			JWTHeader: &fositejwt.Headers{Extra: map[string]any{"kid": keyID, "typ": "at+jwt"}},
		}
		request, err := provider.NewAccessRequest(ctx, r, session)
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		for _, s := range request.GetRequestedScopes() {
			request.GrantScope(s)
		}
		request.GrantAudience(audience)
		response, err := provider.NewAccessResponse(ctx, request)
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		provider.WriteAccessResponse(ctx, w, request, response)
	})
}

// sha256Hasher keeps client secrets as their plain SHA-256.
type sha256Hasher struct{}

func sha256Hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

func (sha256Hasher) Hash(_ context.Context, data []byte) ([]byte, error) {
	return sha256Hash(string(data)), nil
}

func (sha256Hasher) Compare(_ context.Context, hash, data []byte) error {
	sum := sha256.Sum256(data)
	if subtle.ConstantTimeCompare(hash, sum[:]) != 1 {
		return errors.New("secrets differ")
	}
	return nil
}

// forgetful is fosite's memory store without the access tokens.
type forgetful struct{ *storage.MemoryStore }

func (forgetful) CreateAccessTokenSession(context.Context, string, fosite.Requester) error {
	return nil
}
