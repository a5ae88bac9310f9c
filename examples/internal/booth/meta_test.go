package booth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokenbooth/tokenbooth/examples/internal/boothtest"
)

// idToken verifies the signature by the published keys.
func (f *fixture) idToken(token string) map[string]any {
	f.Helper()
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(f.Do("GET", "/jwks.json", nil, "").Body, &keys); err != nil {
		f.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		f.Fatal(err)
	}
	payload, err := signed.Verify(&keys)
	if err != nil {
		f.Fatal(err)
	}
	return f.Object(&boothtest.Answer{Status: http.StatusOK, Body: payload})
}

func TestFlow(t *testing.T) {
	for _, client := range []string{"spa", "acme"} {
		t.Run(client, func(t *testing.T) {
			f := newFixture(t, nil)
			got := f.Issued(f.Redeem(client, boothtest.NewBrowser(f.Kit).Code(boothtest.Asking("client_id", client))))
			if got.Scope != "openid profile offline_access customers:read" || got.RefreshToken == "" {
				t.Errorf("%+v", got)
			}
			f.checkUser(client, got, "n1")
			f.Clock.Advance(time.Hour)
			if a := f.Get("/oauth2/whoami", got.AccessToken); a.Status != http.StatusForbidden {
				t.Errorf("an expired token: %d %s", a.Status, a.Body)
			}
			next := f.Issued(f.Refresh(client, got.RefreshToken))
			if next.RefreshToken == got.RefreshToken || next.Scope != got.Scope {
				t.Errorf("%+v", next)
			}
			f.checkUser(client, next, "")
		})
	}
}

// checkUser uses all that came with a token.
func (f *fixture) checkUser(client string, got *boothtest.Grant, nonce string) {
	f.Helper()
	want := `{"client_id":"` + client + `","subject":"user:7","username":"admin","scopes":["openid","profile","offline_access","customers:read"],"read_only":false}`
	if a := f.Get("/oauth2/whoami", got.AccessToken); strings.TrimSpace(string(a.Body)) != want {
		f.Errorf("whoami: %s, want %s", a.Body, want)
	}
	if info := f.Object(f.Get("/userinfo", got.AccessToken)); !maps.Equal(info, map[string]any{
		"sub": "user:7", "name": "Ada Admin", "preferred_username": "admin",
	}) {
		f.Errorf("userinfo: %v", info)
	}
	hash := sha256.Sum256([]byte(got.AccessToken))
	claims := f.idToken(got.IDToken)
	for name, want := range map[string]any{
		"iss": "http://server.test", "sub": "user:7", "aud": client, "name": "Ada Admin", "preferred_username": "admin",
		"at_hash": base64.RawURLEncoding.EncodeToString(hash[:16]), "iat": float64(f.Clock.Now().Unix()),
	} {
		if claims[name] != want {
			f.Errorf("id_token: %s is %v, want %v", name, claims[name], want)
		}
	}
	if got, there := claims["nonce"]; nonce != "" && got != nonce || there && got != "n1" {
		f.Errorf("id_token: nonce %v", got)
	}
	if claims["auth_time"] == nil || claims["exp"] == nil {
		f.Errorf("id_token: %v", claims)
	}
}

func TestWhatIsNotAskedFor(t *testing.T) {
	f := newFixture(t, nil)
	b := boothtest.NewBrowser(f.Kit)
	got := f.Issued(f.Redeem("spa", b.Code(boothtest.Asking("scope", "customers:read"))))
	if got.RefreshToken != "" || got.IDToken != "" {
		t.Errorf("neither offline_access nor openid: %+v", got)
	}
	f.Refused(f.Get("/userinfo", got.AccessToken), http.StatusForbidden)
	got = f.Issued(f.Redeem("spa", b.Code(boothtest.Asking("scope", "openid"))))
	if info := f.Object(f.Get("/userinfo", got.AccessToken)); len(info) != 1 || info["sub"] != "user:7" {
		t.Errorf("no profile: %v", info)
	}
	f.Refused(f.Get("/userinfo", f.ClientToken("002", "acme", "openid")), http.StatusForbidden)
	f.Refused(f.Get("/userinfo", ""), http.StatusForbidden)
}

func TestG3_Code(t *testing.T) {
	f := newFixture(t, nil)
	b := boothtest.NewBrowser(f.Kit)
	other := strings.Repeat("A", 43)
	for name, more := range map[string][]string{
		"wrong verifier":            {"code_verifier", other},
		"no verifier":               {"code_verifier", ""},
		"challenge for a verifier":  {"code_verifier", "", "code_challenge", boothtest.Challenge},
		"another challenge besides": {"code_challenge", other},
		"another redirect":          {"redirect_uri", "http://127.0.0.1:9998/callback"},
		"no redirect":               {"redirect_uri", ""},
	} {
		a := f.Redeem("spa", b.Code(boothtest.Asking()), more...)
		if a.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	f.Refused(f.Redeem("acme", b.Code(boothtest.Asking())), http.StatusBadRequest)
	f.Issued(f.Redeem("acme", b.Code(boothtest.Asking("client_id", "acme")), "code_verifier", "", "code_challenge", boothtest.Challenge))
	code := b.Code(boothtest.Asking())
	f.Clock.Advance(time.Minute)
	f.Refused(f.Redeem("spa", code), http.StatusBadRequest)
	f.Refused(f.Refresh("spa", b.Code(boothtest.Asking())), http.StatusBadRequest)
}

func TestG4_CodeAgain(t *testing.T) {
	f := newFixture(t, nil)
	code := boothtest.NewBrowser(f.Kit).Code(boothtest.Asking())
	got := f.Issued(f.Redeem("spa", code))
	f.Refused(f.Redeem("spa", code, "code_verifier", strings.Repeat("A", 43)), http.StatusBadRequest)
	f.checkUser("spa", got, "n1")
	f.Refused(f.Redeem("spa", code), http.StatusBadRequest)
	f.Refused(f.Get("/oauth2/whoami", got.AccessToken), http.StatusForbidden)
	f.Refused(f.Refresh("spa", got.RefreshToken), http.StatusBadRequest)
}

func TestG6_NarrowerScope(t *testing.T) {
	f := newFixture(t, nil)
	first := f.Issued(f.Redeem("spa", boothtest.NewBrowser(f.Kit).Code(boothtest.Asking())))
	f.Refused(f.Refresh("spa", first.RefreshToken, "scope", "customers:create"), http.StatusBadRequest)
	f.Refused(f.Refresh("acme", first.RefreshToken), http.StatusBadRequest)
	second := f.Issued(f.Refresh("spa", first.RefreshToken, "scope", "customers:read"))
	if second.Scope != "customers:read" || second.IDToken != "" {
		t.Errorf("%+v", second)
	}
	if third := f.Issued(f.Refresh("spa", second.RefreshToken)); third.Scope != first.Scope || third.IDToken == "" {
		t.Errorf("%+v", third)
	}
}

func TestG7_LostReplyAndReuse(t *testing.T) {
	f := newFixture(t, nil)
	first := f.Issued(f.Redeem("spa", boothtest.NewBrowser(f.Kit).Code(boothtest.Asking())))
	second := f.Issued(f.Refresh("spa", first.RefreshToken))
	f.Clock.Advance(10 * time.Second)
	again := f.Issued(f.Refresh("spa", first.RefreshToken))
	if again.RefreshToken != second.RefreshToken {
		t.Error("within the grace: another successor")
	}
	f.checkUser("spa", again, "")
	f.Clock.Advance(time.Millisecond)
	f.Refused(f.Refresh("spa", first.RefreshToken), http.StatusBadRequest)
	f.Refused(f.Refresh("spa", second.RefreshToken), http.StatusBadRequest)
	for _, token := range []string{first.AccessToken, second.AccessToken, again.AccessToken} {
		f.Refused(f.Get("/oauth2/whoami", token), http.StatusForbidden)
	}
}

func TestRevoke(t *testing.T) {
	const path = "/oauth2/tokens/revoke"
	f := newFixture(t, nil)
	b := boothtest.NewBrowser(f.Kit)
	ok := func(a *boothtest.Answer) {
		t.Helper()
		if a.Status != http.StatusOK || string(a.Body) != "{}" || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	for _, unknown := range []string{"unknown", "r.unknown", f.ClientToken("000", "acme", "")} {
		ok(f.Call(path, "spa", url.Values{"token": {unknown}}))
	}
	f.Refused(f.Call(path, "acme", url.Values{}), http.StatusBadRequest)
	f.Refused(f.Call(path, "nobody", url.Values{"token": {"x"}}), http.StatusForbidden)
	f.Refused(f.Do("GET", path, nil, ""), http.StatusMethodNotAllowed)

	got := f.Issued(f.Redeem("spa", b.Code(boothtest.Asking())))
	f.Refused(f.Call(path, "acme", url.Values{"token": {got.AccessToken}}), http.StatusBadRequest)
	f.checkUser("spa", got, "n1")
	ok(f.Call(path, "spa", url.Values{"token": {got.AccessToken}, "token_type_hint": {"refresh_token"}}))
	f.Refused(f.Get("/oauth2/whoami", got.AccessToken), http.StatusForbidden)
	next := f.Issued(f.Refresh("spa", got.RefreshToken))
	f.checkUser("spa", next, "")
	ok(f.Call(path, "spa", url.Values{"token": {next.RefreshToken}}))
	ok(f.Call(path, "spa", url.Values{"token": {next.RefreshToken}}))
	f.Refused(f.Get("/oauth2/whoami", next.AccessToken), http.StatusForbidden)
	f.Refused(f.Refresh("spa", next.RefreshToken), http.StatusBadRequest)
}

func TestIntrospect(t *testing.T) {
	const path = "/oauth2/tokens/introspect"
	f := newFixture(t, nil)
	b := boothtest.NewBrowser(f.Kit)
	inactive := func(a *boothtest.Answer) {
		t.Helper()
		if got := f.Object(a); !maps.Equal(got, map[string]any{"active": false}) {
			t.Errorf("%v", got)
		}
	}
	got := f.Issued(f.Redeem("acme", b.Code(boothtest.Asking("client_id", "acme"))))
	seen := f.Object(f.Call(path, "acme", url.Values{"token": {got.AccessToken}}))
	for name, want := range map[string]any{
		"active": true, "client_id": "acme", "sub": "user:7", "username": "admin", "scope": got.Scope,
		"aud": "http://server.test/002", "iss": "http://server.test", "exp": float64(f.Clock.Now().Unix() + 3600),
	} {
		if seen[name] != want {
			t.Errorf("%s is %v, want %v", name, seen[name], want)
		}
	}
	if seen := f.Object(f.Call(path, "acme", url.Values{"token": {got.RefreshToken}})); seen["active"] != true || seen["sub"] != "user:7" {
		t.Errorf("refresh token: %v", seen)
	}
	inactive(f.Call(path, "acme", url.Values{"token": {"unknown"}}))
	inactive(f.Call(path, "acme", url.Values{"token": {got.IDToken}}))
	others := f.Issued(f.Redeem("spa", b.Code(boothtest.Asking())))
	inactive(f.Call(path, "acme", url.Values{"token": {others.AccessToken}}))
	inactive(f.Call(path, "acme", url.Values{"token": {others.RefreshToken}}))
	if a := f.Call(path, "spa", url.Values{"token": {others.AccessToken}}); a.Status < 400 || a.Status >= 500 {
		t.Errorf("a client without a secret: %d %s", a.Status, a.Body)
	}
	f.Clock.Advance(time.Hour)
	inactive(f.Call(path, "acme", url.Values{"token": {got.AccessToken}}))
}

func TestT4_TokensDoNotInterchange(t *testing.T) {
	f := newFixture(t, nil)
	b := boothtest.NewBrowser(f.Kit)
	got := f.Issued(f.Redeem("spa", b.Code(boothtest.Asking())))
	for _, token := range []string{got.RefreshToken, got.IDToken, b.Code(boothtest.Asking())} {
		f.Refused(f.Get("/oauth2/whoami", token), http.StatusForbidden)
		f.Refused(f.Get("/userinfo", token), http.StatusForbidden)
	}
	for _, token := range []string{got.AccessToken, got.IDToken, got.RefreshToken} {
		f.Refused(f.Redeem("spa", token), http.StatusBadRequest)
	}
	for _, token := range []string{got.AccessToken, got.IDToken} {
		f.Refused(f.Refresh("spa", token), http.StatusBadRequest)
	}
	f.checkUser("spa", got, "n1")
}

func TestDiscovery(t *testing.T) {
	for issuer, at := range map[string]string{
		"": "http://server.test", "https://auth.example.com/tenant/": "https://auth.example.com/tenant",
	} {
		f := newFixture(t, func(s *settings) {
			if issuer != "" {
				s.issuer = issuer
			} else {
				issuer = s.issuer
			}
		})
		want := map[string]any{
			"issuer":                 issuer,
			"token_endpoint":         at + "/oauth2/tokens",
			"authorization_endpoint": at + "/oauth2/authorize",
			"revocation_endpoint":    at + "/oauth2/tokens/revoke",
			"introspection_endpoint": at + "/oauth2/tokens/introspect",
			"userinfo_endpoint":      at + "/userinfo",
			"jwks_uri":               at + "/jwks.json",
		}
		for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
			document := f.Object(f.Do("GET", path, nil, ""))
			for name, value := range want {
				if document[name] != value {
					t.Errorf("%s: %s is %v, want %v", path, name, document[name], value)
				}
			}
			f.checkAbilities(document)
			for _, url := range want {
				route := strings.TrimPrefix(url.(string), at)
				if a := f.Do("DELETE", route, nil, ""); url != issuer && a.Status == http.StatusNotFound {
					t.Errorf("%s is not served", route)
				}
			}
		}
	}
}

func (f *fixture) checkAbilities(document map[string]any) {
	f.Helper()
	for name, want := range map[string][]any{
		"grant_types_supported":                 {"authorization_code", "client_credentials", "refresh_token"},
		"response_types_supported":              {"code"},
		"code_challenge_methods_supported":      {"S256"},
		"id_token_signing_alg_values_supported": {"ES256"},
		"subject_types_supported":               {"public"},
	} {
		if got, _ := document[name].([]any); !slices.Equal(got, want) {
			f.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if document["authorization_response_iss_parameter_supported"] != true {
		f.Error("iss is not announced")
	}
}
