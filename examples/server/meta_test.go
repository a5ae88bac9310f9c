package main

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
)

// A grantAnswer is what the token endpoint of 002 answers.
type grantAnswer struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	IDToken      string `json:"id_token"`
	ExpiresIn    int    `json:"expires_in"`
	Scope        string `json:"scope"`
	Type         string `json:"token_type"`
}

// call posts a form as one of the clients: with Basic where it has a secret.
func (f *fixture) call(path, client string, form url.Values) *answer {
	f.Helper()
	header := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	if secret := f.secrets[client]; secret != "" {
		header["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(client)+":"+url.QueryEscape(secret)))
	} else {
		form = maps.Clone(form)
		form.Set("client_id", client)
	}
	return f.do("POST", path, header, form.Encode())
}

func (f *fixture) redeem(client, code string, more ...string) *answer {
	f.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
	for i := 0; i < len(more); i += 2 {
		if form.Set(more[i], more[i+1]); more[i+1] == "" {
			form.Del(more[i])
		}
	}
	return f.call(tokenPaths["002"], client, form)
}

func (f *fixture) refresh(client, token string, more ...string) *answer {
	f.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return f.call(tokenPaths["002"], client, form)
}

func (f *fixture) issued(a *answer) *grantAnswer {
	f.Helper()
	got := new(grantAnswer)
	if err := json.Unmarshal(a.body, got); err != nil || a.status != http.StatusOK || got.AccessToken == "" || got.Type != "bearer" || got.ExpiresIn != 3600 {
		f.Fatalf("%d %s, %v", a.status, a.body, err)
	}
	return got
}

// refused expects the envelope of 002.
func (f *fixture) refused(a *answer, status int) {
	f.Helper()
	var body struct {
		Errors []struct{ HTTPCode int }
	}
	if err := json.Unmarshal(a.body, &body); err != nil || a.status != status || len(body.Errors) != 1 || body.Errors[0].HTTPCode != status {
		f.Errorf("%d %s, want %d", a.status, a.body, status)
	}
}

func (f *fixture) object(a *answer) map[string]any {
	f.Helper()
	var members map[string]any
	if err := json.Unmarshal(a.body, &members); err != nil || a.status != http.StatusOK {
		f.Fatalf("%d %s, %v", a.status, a.body, err)
	}
	return members
}

// idToken verifies the signature by the published keys.
func (f *fixture) idToken(token string) map[string]any {
	f.Helper()
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(f.do("GET", "/jwks.json", nil, "").body, &keys); err != nil {
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
	return f.object(&answer{status: http.StatusOK, body: payload})
}

func TestFlow(t *testing.T) {
	for _, client := range []string{"spa", "acme"} {
		t.Run(client, func(t *testing.T) {
			f := newFixture(t, nil)
			got := f.issued(f.redeem(client, newBrowser(f).code(asking("client_id", client))))
			if got.Scope != "openid profile offline_access customers:read" || got.RefreshToken == "" {
				t.Errorf("%+v", got)
			}
			f.checkUser(client, got, "n1")
			f.advance(time.Hour)
			if a := f.get("/oauth2/whoami", got.AccessToken); a.status != http.StatusForbidden {
				t.Errorf("an expired token: %d %s", a.status, a.body)
			}
			next := f.issued(f.refresh(client, got.RefreshToken))
			if next.RefreshToken == got.RefreshToken || next.Scope != got.Scope {
				t.Errorf("%+v", next)
			}
			f.checkUser(client, next, "")
		})
	}
}

// checkUser uses all that came with a token.
func (f *fixture) checkUser(client string, got *grantAnswer, nonce string) {
	f.Helper()
	want := `{"client_id":"` + client + `","subject":"user:7","username":"admin","scopes":["openid","profile","offline_access","customers:read"],"read_only":false}`
	if a := f.get("/oauth2/whoami", got.AccessToken); strings.TrimSpace(string(a.body)) != want {
		f.Errorf("whoami: %s, want %s", a.body, want)
	}
	if info := f.object(f.get("/userinfo", got.AccessToken)); !maps.Equal(info, map[string]any{
		"sub": "user:7", "name": "Ada Admin", "preferred_username": "admin",
	}) {
		f.Errorf("userinfo: %v", info)
	}
	hash := sha256.Sum256([]byte(got.AccessToken))
	claims := f.idToken(got.IDToken)
	for name, want := range map[string]any{
		"iss": "http://server.test", "sub": "user:7", "aud": client, "name": "Ada Admin", "preferred_username": "admin",
		"at_hash": base64.RawURLEncoding.EncodeToString(hash[:16]), "iat": float64(f.now.Load().Unix()),
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
	b := newBrowser(f)
	got := f.issued(f.redeem("spa", b.code(asking("scope", "customers:read"))))
	if got.RefreshToken != "" || got.IDToken != "" {
		t.Errorf("neither offline_access nor openid: %+v", got)
	}
	f.refused(f.get("/userinfo", got.AccessToken), http.StatusForbidden)
	got = f.issued(f.redeem("spa", b.code(asking("scope", "openid"))))
	if info := f.object(f.get("/userinfo", got.AccessToken)); len(info) != 1 || info["sub"] != "user:7" {
		t.Errorf("no profile: %v", info)
	}
	f.refused(f.get("/userinfo", f.clientToken("002", "acme", "openid")), http.StatusForbidden)
	f.refused(f.get("/userinfo", ""), http.StatusForbidden)
}

func TestG3_Code(t *testing.T) {
	f := newFixture(t, nil)
	b := newBrowser(f)
	other := strings.Repeat("A", 43)
	for name, more := range map[string][]string{
		"wrong verifier":            {"code_verifier", other},
		"no verifier":               {"code_verifier", ""},
		"challenge for a verifier":  {"code_verifier", "", "code_challenge", challenge},
		"another challenge besides": {"code_challenge", other},
		"another redirect":          {"redirect_uri", "http://127.0.0.1:9998/callback"},
		"no redirect":               {"redirect_uri", ""},
	} {
		a := f.redeem("spa", b.code(asking()), more...)
		if a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	f.refused(f.redeem("acme", b.code(asking())), http.StatusBadRequest)
	f.issued(f.redeem("acme", b.code(asking("client_id", "acme")), "code_verifier", "", "code_challenge", challenge))
	code := b.code(asking())
	f.advance(time.Minute)
	f.refused(f.redeem("spa", code), http.StatusBadRequest)
	f.refused(f.refresh("spa", b.code(asking())), http.StatusBadRequest)
}

func TestG4_CodeAgain(t *testing.T) {
	f := newFixture(t, nil)
	code := newBrowser(f).code(asking())
	got := f.issued(f.redeem("spa", code))
	f.refused(f.redeem("spa", code, "code_verifier", strings.Repeat("A", 43)), http.StatusBadRequest)
	f.checkUser("spa", got, "n1")
	f.refused(f.redeem("spa", code), http.StatusBadRequest)
	f.refused(f.get("/oauth2/whoami", got.AccessToken), http.StatusForbidden)
	f.refused(f.refresh("spa", got.RefreshToken), http.StatusBadRequest)
}

func TestG6_NarrowerScope(t *testing.T) {
	f := newFixture(t, nil)
	first := f.issued(f.redeem("spa", newBrowser(f).code(asking())))
	f.refused(f.refresh("spa", first.RefreshToken, "scope", "customers:create"), http.StatusBadRequest)
	f.refused(f.refresh("acme", first.RefreshToken), http.StatusBadRequest)
	second := f.issued(f.refresh("spa", first.RefreshToken, "scope", "customers:read"))
	if second.Scope != "customers:read" || second.IDToken != "" {
		t.Errorf("%+v", second)
	}
	if third := f.issued(f.refresh("spa", second.RefreshToken)); third.Scope != first.Scope || third.IDToken == "" {
		t.Errorf("%+v", third)
	}
}

func TestG7_LostReplyAndReuse(t *testing.T) {
	f := newFixture(t, nil)
	first := f.issued(f.redeem("spa", newBrowser(f).code(asking())))
	second := f.issued(f.refresh("spa", first.RefreshToken))
	f.advance(10 * time.Second)
	again := f.issued(f.refresh("spa", first.RefreshToken))
	if again.RefreshToken != second.RefreshToken {
		t.Error("within the grace: another successor")
	}
	f.checkUser("spa", again, "")
	f.advance(time.Millisecond)
	f.refused(f.refresh("spa", first.RefreshToken), http.StatusBadRequest)
	f.refused(f.refresh("spa", second.RefreshToken), http.StatusBadRequest)
	for _, token := range []string{first.AccessToken, second.AccessToken, again.AccessToken} {
		f.refused(f.get("/oauth2/whoami", token), http.StatusForbidden)
	}
}

func TestRevoke(t *testing.T) {
	const path = "/oauth2/tokens/revoke"
	f := newFixture(t, nil)
	b := newBrowser(f)
	ok := func(a *answer) {
		t.Helper()
		if a.status != http.StatusOK || string(a.body) != "{}" || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	for _, unknown := range []string{"unknown", "r.unknown", f.clientToken("000", "acme", "")} {
		ok(f.call(path, "spa", url.Values{"token": {unknown}}))
	}
	f.refused(f.call(path, "acme", url.Values{}), http.StatusBadRequest)
	f.refused(f.call(path, "nobody", url.Values{"token": {"x"}}), http.StatusForbidden)
	f.refused(f.do("GET", path, nil, ""), http.StatusMethodNotAllowed)

	got := f.issued(f.redeem("spa", b.code(asking())))
	f.refused(f.call(path, "acme", url.Values{"token": {got.AccessToken}}), http.StatusBadRequest)
	f.checkUser("spa", got, "n1")
	ok(f.call(path, "spa", url.Values{"token": {got.AccessToken}, "token_type_hint": {"refresh_token"}}))
	f.refused(f.get("/oauth2/whoami", got.AccessToken), http.StatusForbidden)
	next := f.issued(f.refresh("spa", got.RefreshToken))
	f.checkUser("spa", next, "")
	ok(f.call(path, "spa", url.Values{"token": {next.RefreshToken}}))
	ok(f.call(path, "spa", url.Values{"token": {next.RefreshToken}}))
	f.refused(f.get("/oauth2/whoami", next.AccessToken), http.StatusForbidden)
	f.refused(f.refresh("spa", next.RefreshToken), http.StatusBadRequest)
}

func TestIntrospect(t *testing.T) {
	const path = "/oauth2/tokens/introspect"
	f := newFixture(t, nil)
	b := newBrowser(f)
	inactive := func(a *answer) {
		t.Helper()
		if got := f.object(a); !maps.Equal(got, map[string]any{"active": false}) {
			t.Errorf("%v", got)
		}
	}
	got := f.issued(f.redeem("acme", b.code(asking("client_id", "acme"))))
	seen := f.object(f.call(path, "acme", url.Values{"token": {got.AccessToken}}))
	for name, want := range map[string]any{
		"active": true, "client_id": "acme", "sub": "user:7", "username": "admin", "scope": got.Scope,
		"aud": "http://server.test/002", "iss": "http://server.test", "exp": float64(f.now.Load().Unix() + 3600),
	} {
		if seen[name] != want {
			t.Errorf("%s is %v, want %v", name, seen[name], want)
		}
	}
	if seen := f.object(f.call(path, "acme", url.Values{"token": {got.RefreshToken}})); seen["active"] != true || seen["sub"] != "user:7" {
		t.Errorf("refresh token: %v", seen)
	}
	inactive(f.call(path, "acme", url.Values{"token": {"unknown"}}))
	inactive(f.call(path, "acme", url.Values{"token": {got.IDToken}}))
	others := f.issued(f.redeem("spa", b.code(asking())))
	inactive(f.call(path, "acme", url.Values{"token": {others.AccessToken}}))
	inactive(f.call(path, "acme", url.Values{"token": {others.RefreshToken}}))
	if a := f.call(path, "spa", url.Values{"token": {others.AccessToken}}); a.status < 400 || a.status >= 500 {
		t.Errorf("a client without a secret: %d %s", a.status, a.body)
	}
	f.advance(time.Hour)
	inactive(f.call(path, "acme", url.Values{"token": {got.AccessToken}}))
}

func TestT4_TokensDoNotInterchange(t *testing.T) {
	f := newFixture(t, nil)
	b := newBrowser(f)
	got := f.issued(f.redeem("spa", b.code(asking())))
	for _, token := range []string{got.RefreshToken, got.IDToken, b.code(asking())} {
		f.refused(f.get("/oauth2/whoami", token), http.StatusForbidden)
		f.refused(f.get("/userinfo", token), http.StatusForbidden)
	}
	for _, token := range []string{got.AccessToken, got.IDToken, got.RefreshToken} {
		f.refused(f.redeem("spa", token), http.StatusBadRequest)
	}
	for _, token := range []string{got.AccessToken, got.IDToken} {
		f.refused(f.refresh("spa", token), http.StatusBadRequest)
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
			document := f.object(f.do("GET", path, nil, ""))
			for name, value := range want {
				if document[name] != value {
					t.Errorf("%s: %s is %v, want %v", path, name, document[name], value)
				}
			}
			f.checkAbilities(document)
			for _, url := range want {
				route := strings.TrimPrefix(url.(string), at)
				if a := f.do("DELETE", route, nil, ""); url != issuer && a.status == http.StatusNotFound {
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
