package tokenbooth

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// usJOSE verifies a JWS as a client would, with the keys that the handler
// publishes, and returns its header and its claims.
func usJOSE(t testing.TB, b *usBooth, algorithm, token string) (header jose.Header, claims map[string]any) {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := jws.Verify(usPublished(t, b, algorithm))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return jws.Signatures[0].Header, claims
}

func usPublished(t testing.TB, b *usBooth, algorithm string) any {
	t.Helper()
	if algorithm == "HS256" {
		return gkKey(algorithm).Material
	}
	w := httptest.NewRecorder()
	b.JWKS(w, httptest.NewRequest(http.MethodGet, "/jwks", http.NoBody))
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return set.Keys[0]
}

func usAlgorithm(t testing.TB, algorithm string) epChange {
	return func(c *HandlerConfig) { c.Keys = gkRing(t, gkKey(algorithm)) }
}

// usHalf is at_hash as OpenID Connect Core §3.1.3.6 has it.
func usHalf(algorithm, token string) string {
	whole := sha512.Sum512([]byte(token))
	half := whole[:32]
	if algorithm != "EdDSA" {
		sum := sha256.Sum256([]byte(token))
		half = sum[:16]
	}
	return base64.RawURLEncoding.EncodeToString(half)
}

func TestIDToken_Claims(t *testing.T) {
	for _, algorithm := range gkAlgorithms {
		for name, format := range map[string]TokenFormat{"JWT": JWT{}, "Opaque": Opaque{}} {
			t.Run(algorithm+"/"+name, func(t *testing.T) {
				b := usNew(t, usAlgorithm(t, algorithm), func(c *HandlerConfig) { c.Tokens = format })
				all := b.flow(t)
				header, claims := usJOSE(t, b, algorithm, all.IDToken)
				if header.KeyID == "" || header.ExtraHeaders[jose.HeaderType] != "JWT" {
					t.Errorf("header %+v", header)
				}
				now := float64(b.clock.Now().Unix())
				want := map[string]any{
					"iss": epIssuer, "sub": "user-7", "aud": "web", "azp": "web", "iat": now, "exp": now + 3600, "auth_time": now,
					"nonce": "a-nonce", "at_hash": usHalf(algorithm, all.AccessToken),
				}
				if !maps.Equal(claims, want) {
					t.Errorf("%v\nwant %v", claims, want)
				}
			})
		}
	}
}

// TestIDToken_Refresh is OpenID Connect Core §12.2.
func TestIDToken_Refresh(t *testing.T) {
	b := usNew(t)
	all := b.flow(t)
	_, first := usJOSE(t, b, "ES256", all.IDToken)
	for range 3 {
		b.clock.move(time.Hour)
		all = b.tokens(t, usRefresh(all.RefreshToken))
		_, claims := usJOSE(t, b, "ES256", all.IDToken)
		for _, name := range []string{"iss", "sub", "aud", "azp", "auth_time"} {
			if claims[name] != first[name] {
				t.Errorf("%s became %v, was %v", name, claims[name], first[name])
			}
		}
		if _, has := claims["nonce"]; has || claims["at_hash"] != usHalf("ES256", all.AccessToken) || claims["iat"] != float64(b.clock.Now().Unix()) {
			t.Errorf("%v", claims)
		}
	}
}

// TestIDToken_OnlyForOpenID: without the scope there is none, whether it was not
// asked for, not granted, narrowed away or taken from the client since.
func TestIDToken_OnlyForOpenID(t *testing.T) {
	b := usNew(t)
	if all := b.flow(t, "scope", "read offline_access"); all.IDToken != "" {
		t.Error("an id_token that was not asked for")
	}
	all := b.flow(t)
	all = b.tokens(t, usRefresh(all.RefreshToken)+"&scope=read")
	if all.IDToken != "" || all.Scope != "read" {
		t.Errorf("narrowed: %+v", all)
	}
	if all = b.tokens(t, usRefresh(all.RefreshToken)); all.IDToken == "" || all.Scope != "openid offline_access read" {
		t.Errorf("the authorization keeps its scope: %+v", all)
	}
	b.change("web", func(c *store.Client) { c.Scopes = []string{"read"} })
	if all = b.tokens(t, usRefresh(all.RefreshToken)); all.IDToken != "" || all.Scope != "read" {
		t.Errorf("taken away: %+v", all)
	}
	b = usNew(t)
	if all = b.tokens(t, "grant_type=client_credentials&scope=openid"+usWeb); all.IDToken != "" || all.Scope != "openid" {
		t.Errorf("of a client: %+v", all)
	}
}

func TestIDToken_NoNonceNoClaim(t *testing.T) {
	b := usNew(t)
	_, claims := usJOSE(t, b, "ES256", b.flow(t, "nonce", "-").IDToken)
	if nonce, has := claims["nonce"]; has {
		t.Errorf("nonce %v", nonce)
	}
}

func TestIDToken_AuthTime(t *testing.T) {
	b := usNew(t)
	earlier := b.clock.Now().Add(-3 * time.Hour)
	w, err := b.approving(t, func(a *AuthorizationRequest, w http.ResponseWriter, r *http.Request) error {
		a.AuthTime = earlier
		return a.Approve(w, r, response.Subject{ID: "user-7"})
	})
	if err != nil {
		t.Fatal(err)
	}
	all := b.tokens(t, usRedeem(usLocation(t, w, usCallback).Get("code")))
	_, claims := usJOSE(t, b, "ES256", all.IDToken)
	if claims["auth_time"] != float64(earlier.Unix()) {
		t.Errorf("auth_time %v, want %d", claims["auth_time"], earlier.Unix())
	}
}

// usForged is what a host might say and must not be able to: the letters that
// encoding/json takes for s and k included.
func usForged() map[string]any {
	forged := map[string]any{"name": "Ada", "email": "ada@example.org", "address": map[string]any{"country": "GB"}}
	for _, name := range protocolClaims {
		forged[name] = "forged"
		forged[strings.ToUpper(name)] = "forged"
		forged[strings.ReplaceAll(name, "s", "\u017f")] = "forged"
	}
	return forged
}

func TestIDToken_UserClaims(t *testing.T) {
	var asked []string
	b := usNew(t, func(c *HandlerConfig) {
		c.UserClaims = func(_ context.Context, subject string, scopes []string) (map[string]any, error) {
			asked = append(asked, subject+" "+strings.Join(scopes, ","))
			return usForged(), nil
		}
	})
	all := b.flow(t, "scope", "openid profile", "nonce", "-")
	_, claims := usJOSE(t, b, "ES256", all.IDToken)
	if !slices.Equal(asked, []string{"user-7 openid,profile"}) {
		t.Errorf("asked %q", asked)
	}
	want := []string{"address", "at_hash", "aud", "auth_time", "azp", "email", "exp", "iat", "iss", "name", "sub"}
	if got := slices.Sorted(maps.Keys(claims)); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for name, claim := range claims {
		if claim == "forged" {
			t.Errorf("%s is forged", name)
		}
	}
	var reply map[string]any
	w := b.userInfo(all.AccessToken)
	if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(reply)); !slices.Equal(got, []string{"address", "email", "name", "sub"}) || reply["sub"] != "user-7" {
		t.Errorf("userinfo %s", w.Body)
	}
}

// TestT7_UserClaimsFail: where the host cannot tell, or the answer cannot be made,
// nothing was consumed.
func TestT7_UserClaimsFail(t *testing.T) {
	type told func() (map[string]any, error)
	for name, c := range map[string]struct {
		told   told
		status int
	}{
		"error":       {func() (map[string]any, error) { return map[string]any{"name": "x"}, errors.New("broken") }, 500},
		"unavailable": {func() (map[string]any, error) { return nil, store.ErrUnavailable }, 503},
		"panic":       {func() (map[string]any, error) { panic("the host's") }, 500},
		"no JSON":     {func() (map[string]any, error) { return map[string]any{"x": math.NaN()}, nil }, 500},
		"a channel":   {func() (map[string]any, error) { return map[string]any{"x": make(chan int)}, nil }, 500},
	} {
		t.Run(name, func(t *testing.T) {
			var tell told
			b := usNew(t, func(c *HandlerConfig) {
				c.UserClaims = func(context.Context, string, []string) (map[string]any, error) {
					if tell == nil {
						return nil, nil //nolint:nilnil // nothing to tell
					}
					return tell()
				}
			})
			code := b.code(t)
			fail := func(w *httptest.ResponseRecorder) {
				t.Helper()
				if epHeaders(t, w); w.Code != c.status || b.last(t).Kind != "failed" {
					t.Errorf("%d %s, %s", w.Code, w.Body, b.last(t).Kind)
				}
			}
			tell = c.told
			fail(b.post(usRedeem(code)))
			tell = nil
			all := b.tokens(t, usRedeem(code))
			tell = c.told
			fail(b.post(usRefresh(all.RefreshToken)))
			fail(b.userInfo(all.AccessToken))
			tell = nil
			b.tokens(t, usRefresh(all.RefreshToken))
		})
	}
}

// TestT7_IDTokenSigner: a ring without a private key issues nothing.
func TestT7_IDTokenSigner(t *testing.T) {
	ring := gkRing(t, gkKey("ES256"))
	b := usNew(t, func(c *HandlerConfig) { c.Keys, c.Tokens = ring, Opaque{} })
	code := b.code(t)
	b.Handler.keys = ring.Public()
	if w := b.post(usRedeem(code)); w.Code != http.StatusInternalServerError {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	b.Handler.keys = ring
	b.tokens(t, usRedeem(code))
}

// TestT4_NothingInterchanges presents each kind of token in the place of every
// other.
func TestT4_NothingInterchanges(t *testing.T) {
	for name, format := range map[string]TokenFormat{"JWT": JWT{}, "Opaque": Opaque{}} {
		t.Run(name, func(t *testing.T) {
			b := usNew(t, func(c *HandlerConfig) { c.Tokens, c.Audience = format, "web" })
			code := b.code(t)
			b.refused(t, usRefresh(code), "invalid_grant")
			all := b.tokens(t, usRedeem(code))
			for kind, token := range map[string]string{"id_token": all.IDToken, "refresh token": all.RefreshToken, "code": code} {
				if status := gkStatus(t, b.Guard(), token); status != http.StatusUnauthorized {
					t.Errorf("the guard answers %d to a %s", status, kind)
				}
				if w := b.userInfo(token); w.Code != http.StatusUnauthorized {
					t.Errorf("userinfo answers %d to a %s", w.Code, kind)
				}
			}
			writes := b.state.wrote
			for kind, token := range map[string]string{"id_token": all.IDToken, "access token": all.AccessToken, "refresh token": all.RefreshToken} {
				b.refused(t, usRedeem(token), "invalid_")
				if kind != "refresh token" {
					b.refused(t, usRefresh(token), "invalid_")
				}
			}
			if b.state.wrote != writes {
				t.Errorf("%d writes", b.state.wrote-writes)
			}
			for kind, token := range map[string]string{"id_token": all.IDToken, "code": code} {
				if seen := b.introspected(t, "web", token); seen.Active {
					t.Errorf("a %s is active: %+v", kind, seen)
				}
			}
			b.tokens(t, usRefresh(all.RefreshToken))
		})
	}
}

// userInfo asks with a GET.
func (b *usBooth) userInfo(token string, changes ...func(*http.Request)) *httptest.ResponseRecorder {
	r := gkRequest(token)
	for _, change := range changes {
		change(r)
	}
	w := httptest.NewRecorder()
	b.UserInfo().ServeHTTP(w, r)
	return w
}

func TestUserInfo(t *testing.T) {
	for name, format := range map[string]TokenFormat{"JWT": JWT{}, "Opaque": Opaque{}} {
		b := usNew(t, func(c *HandlerConfig) { c.Tokens = format })
		token := b.flow(t).AccessToken
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			w := b.userInfo(token, func(r *http.Request) { r.Method = method })
			epHeaders(t, w)
			if w.Code != http.StatusOK || w.Body.String() != `{"sub":"user-7"}` {
				t.Errorf("%s %s: %d %s", name, method, w.Code, w.Body)
			}
		}
		for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodHead} {
			w := b.userInfo(token, func(r *http.Request) { r.Method = method })
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, POST" {
				t.Errorf("%s %s: %d, Allow %q", name, method, w.Code, w.Header().Get("Allow"))
			}
		}
		b.clock.move(time.Hour)
		if w := b.userInfo(token); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: an expired token: %d", name, w.Code)
		}
	}
}

// TestUserInfo_ReadOnly: a POST only reads here.
func TestUserInfo_ReadOnly(t *testing.T) {
	b := usNew(t)
	c := claims{subject: "user-7", clientID: "web", scope: "openid", readOnly: true, issued: b.clock.Now(), expires: b.clock.Now().Add(time.Hour)}
	token, err := b.codec.mint(t.Context(), &c)
	if err != nil {
		t.Fatal(err)
	}
	if w := b.userInfo(token, func(r *http.Request) { r.Method = http.MethodPost }); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestUserInfo_Refuses: no token, one without openid, and one of a client, in
// each envelope as its guard refuses.
func TestUserInfo_Refuses(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		b := usNew(t, usFormatter(e.formatter))
		mint := func(subject, scope string) string {
			c := claims{subject: subject, clientID: "web", scope: scope, issued: b.clock.Now(), expires: b.clock.Now().Add(time.Hour)}
			token, err := b.codec.mint(t.Context(), &c)
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		lacking := b.userInfo(mint("user-7", "read"))
		ofClient := b.userInfo(mint("client:web", "openid"))
		for name, w := range map[string]*httptest.ResponseRecorder{"none": b.userInfo(""), "lacking": lacking, "of a client": ofClient} {
			epHeaders(t, w)
			if w.Code != http.StatusUnauthorized && w.Code != http.StatusForbidden {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
		}
		if lacking.Code != http.StatusForbidden || ofClient.Code != http.StatusForbidden || !strings.Contains(ofClient.Header().Get("WWW-Authenticate"), `error="insufficient_scope"`) {
			t.Errorf("%d, %d %s", lacking.Code, ofClient.Code, ofClient.Header())
		}
		if e := b.last(t); e.Kind != "access_refused" || e.Place != response.Guard {
			t.Errorf("%+v", e)
		}
	})
}
