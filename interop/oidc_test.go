package interop_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// A party is a relying party: golang.org/x/oauth2 and go-oidc, set up by
// discovery alone.
type party struct {
	base     string
	provider *oidc.Provider
	config   *oauth2.Config
	count    counting
	ctx      context.Context
}

func newParty(t *testing.T, base, id string, style oauth2.AuthStyle) *party {
	t.Helper()
	p := &party{base: base}
	p.ctx = p.count.context(t)
	var err error
	if p.provider, err = oidc.NewProvider(p.ctx, base); err != nil {
		t.Fatal(err)
	}
	p.config = &oauth2.Config{
		ClientID: id, ClientSecret: readSecrets(t)[id], Endpoint: p.provider.Endpoint(), RedirectURL: callback,
		Scopes: []string{oidc.ScopeOpenID, "profile", oidc.ScopeOfflineAccess, "customers:read"},
	}
	p.config.Endpoint.AuthStyle = style
	p.count.n.Store(0)
	return p
}

// A consent is what came of one visit of the browser.
type consent struct {
	verifier, nonce, code string
}

// authorize sends a person to the server and takes the code from the redirect.
func (p *party) authorize(t *testing.T) consent {
	t.Helper()
	c := consent{verifier: oauth2.GenerateVerifier(), nonce: rand.Text()}
	state := rand.Text()
	address := p.config.AuthCodeURL(state, oidc.Nonce(c.nonce), oauth2.S256ChallengeOption(c.verifier))
	query := p.wantRedirect(t, newBrowser(t).signIn(t, address, "approve"), state)
	if c.code = query.Get("code"); c.code == "" || query.Has("error") {
		t.Fatalf("no code: %v", query)
	}
	return c
}

// wantRedirect looks for the client's address, its state, and the issuer
// (RFC 9207 §2.4).
func (p *party) wantRedirect(t *testing.T, shown *page, state string) url.Values {
	t.Helper()
	if shown.left == nil || shown.status != http.StatusSeeOther || !strings.HasPrefix(shown.left.String(), callback+"?") {
		t.Fatalf("%d to %v, want 303 to the client: %s", shown.status, shown.left, shown.body)
	}
	query := shown.left.Query()
	if got := query["state"]; len(got) != 1 || got[0] != state {
		t.Errorf("state %q, want %s", got, state)
	}
	if got := query["iss"]; len(got) != 1 || got[0] != p.base {
		t.Errorf("iss %q, want %s", got, p.base)
	}
	return query
}

func (p *party) signIn(t *testing.T) (*oauth2.Token, consent) {
	t.Helper()
	c := p.authorize(t)
	token, err := p.config.Exchange(p.ctx, c.code, oauth2.VerifierOption(c.verifier))
	if err != nil {
		t.Fatal(err)
	}
	return token, c
}

// wantUser verifies the id_token by the server's keys, and asks who the user is.
func (p *party) wantUser(t *testing.T, token *oauth2.Token) *oidc.IDToken {
	t.Helper()
	raw, _ := token.Extra("id_token").(string)
	id, err := p.provider.Verifier(&oidc.Config{ClientID: p.config.ClientID}).Verify(p.ctx, raw)
	if err != nil {
		t.Fatalf("id_token %q: %v", raw, err)
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil {
		t.Error(err)
	}
	if err := id.VerifyAccessToken(token.AccessToken + "x"); err == nil {
		t.Error("at_hash is good for another access token")
	}
	var claims struct {
		AuthTime int64 `json:"auth_time"`
	}
	if err := id.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if age := time.Since(time.Unix(claims.AuthTime, 0)); age < 0 || age > 10*time.Minute || id.Subject != "user:7" {
		t.Errorf("%s logged in %v ago", id.Subject, age)
	}
	user, err := p.provider.UserInfo(p.ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		t.Fatal(err)
	}
	var told struct{ Name string }
	if err := user.Claims(&told); err != nil {
		t.Fatal(err)
	}
	if user.Subject != id.Subject || told.Name != "Ada Admin" {
		t.Errorf("userinfo is about %s, %q; the id_token about %s", user.Subject, told.Name, id.Subject)
	}
	return id
}

// wantToken looks at what golang.org/x/oauth2 made of the answer, and uses it.
func (p *party) wantToken(t *testing.T, token *oauth2.Token) {
	t.Helper()
	if left := time.Until(token.Expiry); token.Type() != "Bearer" || left < 59*time.Minute || left > time.Hour {
		t.Errorf("%s for %v, want Bearer for an hour", token.Type(), left)
	}
	if got, want := token.Extra("scope"), strings.Join(p.config.Scopes, " "); got != want {
		t.Errorf("scope %v, want %s", got, want)
	}
	if status, body := p.whoami(t, token); status != http.StatusOK || !strings.Contains(body, `"subject":"user:7","username":"admin"`) {
		t.Errorf("the route answers %d %s", status, body)
	}
}

func (p *party) whoami(t *testing.T, token *oauth2.Token) (status int, body string) {
	t.Helper()
	client := oauth2.NewClient(p.ctx, oauth2.StaticTokenSource(token))
	response, err := client.Get(p.base + "/oauth2/whoami")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// stale is the token when its hour is over.
func stale(token *oauth2.Token) *oauth2.Token {
	old := *token
	old.Expiry = time.Now().Add(-time.Minute)
	return &old
}

// ways are the clients, and how each may say who it is.
var ways = []struct {
	name, id string
	style    oauth2.AuthStyle
}{
	{"spa/InParams", "spa", oauth2.AuthStyleInParams},
	{"spa/AutoDetect", "spa", oauth2.AuthStyleAutoDetect}, // a Basic header with an empty secret
	{"acme/InParams", "acme", oauth2.AuthStyleInParams},
	{"acme/InHeader", "acme", oauth2.AuthStyleInHeader},
	{"acme/AutoDetect", "acme", oauth2.AuthStyleAutoDetect},
}

func TestAuthorizationCode(t *testing.T) {
	base := startServer(t)
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			p := newParty(t, base, way.id, way.style)
			token, c := p.signIn(t)
			if got := p.count.n.Load(); got != 1 {
				t.Errorf("%d requests for one token", got)
			}
			p.wantToken(t, token)
			if id := p.wantUser(t, token); id.Nonce != c.nonce {
				t.Errorf("nonce %q, want %q", id.Nonce, c.nonce)
			}

			fresh, err := p.config.TokenSource(p.ctx, stale(token)).Token()
			if err != nil {
				t.Fatal(err)
			}
			if fresh.AccessToken == token.AccessToken || fresh.RefreshToken == token.RefreshToken || fresh.RefreshToken == "" {
				t.Errorf("not refreshed: %v", fresh)
			}
			p.wantToken(t, fresh)
			// OpenID Connect Core §12.2: the same user; a nonce only if the same.
			if id := p.wantUser(t, fresh); id.Nonce != "" && id.Nonce != c.nonce {
				t.Errorf("nonce %q, want %q or none", id.Nonce, c.nonce)
			}
		})
	}
}

// Goroutines that share a TokenSource cost one request between them.
func TestRefreshShared(t *testing.T) {
	base := startServer(t)
	for _, id := range []string{"spa", "acme"} {
		t.Run(id, func(t *testing.T) {
			p := newParty(t, base, id, oauth2.AuthStyleInParams)
			token, _ := p.signIn(t)
			p.count.n.Store(0)
			source := p.config.TokenSource(p.ctx, stale(token))
			all := refreshAtOnce(t, func() oauth2.TokenSource { return source })
			for _, got := range all {
				if got.AccessToken != all[0].AccessToken {
					t.Error("the goroutines have different tokens")
				}
			}
			if n := p.count.n.Load(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			p.wantToken(t, all[0])
		})
	}
}

// TestG7_RefreshOfOneToken: goroutines, each with a TokenSource of its own, as
// several tabs or processes have, all get the same successor, which is good.
func TestG7_RefreshOfOneToken(t *testing.T) {
	base := startServer(t)
	for _, id := range []string{"spa", "acme"} {
		t.Run(id, func(t *testing.T) {
			p := newParty(t, base, id, oauth2.AuthStyleInParams)
			token, _ := p.signIn(t)
			all := refreshAtOnce(t, func() oauth2.TokenSource { return p.config.TokenSource(p.ctx, stale(token)) })
			for _, got := range all {
				if got.RefreshToken != all[0].RefreshToken {
					t.Error("one refresh token has two successors")
				}
				p.wantToken(t, got)
			}
			next, err := p.config.TokenSource(p.ctx, stale(all[0])).Token()
			if err != nil {
				t.Fatal(err)
			}
			p.wantUser(t, next)
		})
	}
}

// refreshAtOnce asks eight sources for their token, none before all are there.
func refreshAtOnce(t *testing.T, source func() oauth2.TokenSource) []*oauth2.Token {
	t.Helper()
	all := make([]*oauth2.Token, 8)
	errs := make([]error, len(all))
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range all {
		s := source()
		group.Go(func() {
			<-start
			all[i], errs[i] = s.Token()
		})
	}
	close(start)
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDeny(t *testing.T) {
	p := newParty(t, startServer(t), "spa", oauth2.AuthStyleInParams)
	address := p.config.AuthCodeURL("a state", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
	query := p.wantRedirect(t, newBrowser(t).signIn(t, address, "deny"), "a state")
	if query.Get("error") != "access_denied" || query.Has("code") {
		t.Errorf("%v, want access_denied", query)
	}
}

func TestWrongPasswordIsAskedAgain(t *testing.T) {
	p := newParty(t, startServer(t), "spa", oauth2.AuthStyleInParams)
	verifier := oauth2.GenerateVerifier()
	b := newBrowser(t)
	login := b.open(t, p.config.AuthCodeURL("a state", oauth2.S256ChallengeOption(verifier)))
	login.fields.Set("username", "admin")
	login.fields.Set("password", "wrong")
	again := b.press(t, login, "approve")
	if again.left != nil || again.fields.Get("ticket") == "" {
		t.Fatalf("%d to %v, want the form: %s", again.status, again.left, again.body)
	}
	again.fields.Set("username", "admin")
	again.fields.Set("password", "correct horse battery staple")
	query := p.wantRedirect(t, b.press(t, again, "approve"), "a state")
	token, err := p.config.Exchange(p.ctx, query.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	p.wantToken(t, token)
}

// TestG3_WrongVerifier: the code outlives it, and is still good for who has the
// right one.
func TestG3_WrongVerifier(t *testing.T) {
	p := newParty(t, startServer(t), "spa", oauth2.AuthStyleInParams)
	c := p.authorize(t)
	p.wantRefused(t, c.code, oauth2.VerifierOption(oauth2.GenerateVerifier()))
	p.wantRefused(t, c.code)
	token, err := p.config.Exchange(p.ctx, c.code, oauth2.VerifierOption(c.verifier))
	if err != nil {
		t.Fatal(err)
	}
	p.wantToken(t, token)
}

// TestG4_CodeTwice: the second redemption is refused and ends what the first one
// gave.
func TestG4_CodeTwice(t *testing.T) {
	for _, id := range []string{"spa", "acme"} {
		t.Run(id, func(t *testing.T) {
			p := newParty(t, startServer(t), id, oauth2.AuthStyleInParams)
			token, c := p.signIn(t)
			p.wantToken(t, token)
			p.wantRefused(t, c.code, oauth2.VerifierOption(c.verifier))
			if status, body := p.whoami(t, token); status != http.StatusForbidden {
				t.Errorf("the route answers %d %s", status, body)
			}
			var refused *oauth2.RetrieveError
			if _, err := p.config.TokenSource(p.ctx, stale(token)).Token(); !errors.As(err, &refused) {
				t.Errorf("%v, want a RetrieveError", err)
			}
			if _, err := p.provider.UserInfo(p.ctx, oauth2.StaticTokenSource(token)); err == nil {
				t.Error("userinfo answers for an ended authorization")
			}
		})
	}
}

func (p *party) wantRefused(t *testing.T, code string, options ...oauth2.AuthCodeOption) {
	t.Helper()
	var refused *oauth2.RetrieveError
	if _, err := p.config.Exchange(p.ctx, code, options...); !errors.As(err, &refused) {
		t.Fatalf("%v, want a RetrieveError", err)
	}
	if refused.Response.StatusCode != http.StatusBadRequest {
		t.Errorf("%d %s, want 400", refused.Response.StatusCode, refused.Body)
	}
}

// An id_token is no access token, and an access token no id_token.
func TestIDTokenIsNoAccessToken(t *testing.T) {
	p := newParty(t, startServer(t), "acme", oauth2.AuthStyleInHeader)
	token, _ := p.signIn(t)
	raw, _ := token.Extra("id_token").(string)
	if status, body := p.whoami(t, &oauth2.Token{AccessToken: raw}); status != http.StatusForbidden {
		t.Errorf("the route answers %d %s to an id_token", status, body)
	}
	if _, err := p.provider.Verifier(&oidc.Config{ClientID: "acme"}).Verify(p.ctx, token.AccessToken); err == nil {
		t.Error("go-oidc takes the access token for an id_token")
	}
}

// Without openid and offline_access there are neither id_token nor refresh token.
func TestAuthorizationCodeWithoutOpenID(t *testing.T) {
	p := newParty(t, startServer(t), "spa", oauth2.AuthStyleInParams)
	p.config.Scopes = []string{"customers:read"}
	token, _ := p.signIn(t)
	p.wantToken(t, token)
	if token.Extra("id_token") != nil || token.RefreshToken != "" {
		t.Errorf("%v %q, want neither", token.Extra("id_token"), token.RefreshToken)
	}
	if _, err := p.provider.UserInfo(p.ctx, oauth2.StaticTokenSource(token)); err == nil {
		t.Error("userinfo answers without the scope openid")
	}
}
