package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"
)

// What every peer is set up with: the same keys, client, claims and token.
const (
	issuer       = "https://issuer.example"
	audience     = "https://api.example"
	scope        = "read write"
	keyID        = "bench-1"
	clientID     = "client-0001"
	clientSecret = "3q2-7wAAAAEjRWeJq83vEjRWeJq83vEjRWeJq83vEjQ"
	lifetime     = time.Hour
)

var (
	algs       = []string{"ES256", "RS256", "EdDSA", "HS256"}
	publicAlgs = algs[:3]
)

// A signingKey is one algorithm's key: private and public as the standard
// library has them ([]byte for both with HS256), and the private one as PEM.
type signingKey struct {
	private, public any
	pem             []byte
}

var signingKeys = makeKeys()

func makeKeys() map[string]signingKey {
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	rs := must(rsa.GenerateKey(rand.Reader, 2048))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(0, err)
	secret := make([]byte, 32)
	rand.Read(secret)

	keys := map[string]signingKey{"HS256": {private: secret, public: secret, pem: secret}}
	for alg, k := range map[string]crypto.Signer{"ES256": ec, "RS256": rs, "EdDSA": ed} {
		der := must(x509.MarshalPKCS8PrivateKey(k))
		keys[alg] = signingKey{
			private: k,
			public:  k.Public(),
			pem:     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		}
	}
	return keys
}

// payload is an RFC 9068 access token's claims, as one would have them.
var payload = payloadNamed("AAECAwQFBgcICQoLDA0ODw")

func payloadNamed(id string) []byte {
	return fmt.Appendf(nil,
		`{"iss":%q,"sub":%q,"aud":%q,"client_id":%q,"scope":%q,"iat":%d,"exp":%d,"jti":%q}`,
		issuer, clientID, audience, clientID, scope, time.Now().Unix(), time.Now().Add(24*time.Hour).Unix(), id)
}

// bearer is one valid token for each algorithm.
var bearer = makeTokens()

func makeTokens() map[string]string {
	tokens := map[string]string{}
	for _, alg := range algs {
		tokens[alg] = signed(alg, payload)
	}
	return tokens
}

func signed(alg string, payload []byte) string {
	input := append(encodedHeader(alg), base64.RawURLEncoding.EncodeToString(payload)...)
	signature := rawSigner(alg)(nil, input)
	return string(input) + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// encodedHeader is a JWT's first part and the dot after it.
func encodedHeader(alg string) []byte {
	header := fmt.Appendf(nil, `{"alg":%q,"kid":%q,"typ":"at+jwt"}`, alg, keyID)
	return append(base64.RawURLEncoding.AppendEncode(nil, header), '.')
}

func tokenForm(secret string) string {
	return url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {clientID},
		"client_secret": {secret},
		"scope":         {scope},
	}.Encode()
}

func tokenCall(secret string) *call { return formCall(tokenForm(secret)) }

func formCall(form string) *call {
	r := httptest.NewRequest(http.MethodPost, "/token", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.ContentLength = int64(len(form))
	return newCall(r, form)
}

func bearerCall(token string) *call {
	r := httptest.NewRequest(http.MethodGet, "/resource", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return newCall(r, "")
}

// resource is what the guards guard.
var resource = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusNoContent)
})

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
