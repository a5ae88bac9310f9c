// Package tokenboothtest issues access tokens to the tests of programs that
// stand behind a guard: without a network, in a few milliseconds.
package tokenboothtest

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// What the tokens of an [Issuer] say.
const (
	URL      = "https://issuer.test"
	Audience = "https://api.test"
	ClientID = "test-client"
)

const grantType = "urn:tokenbooth:test"

// An Issuer issues tokens that a guard with its configuration accepts, and
// tokens that it has to refuse. They are real: made by a real handler. It is
// safe for concurrent use.
type Issuer struct {
	t    testing.TB
	keys *tokenbooth.KeyRing
}

// NewIssuer returns an issuer with a key of its own. Its methods end the test
// where something goes wrong.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	key, err := tokenbooth.GenerateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := tokenbooth.NewKeyRing(key)
	if err != nil {
		t.Fatal(err)
	}
	return &Issuer{t, keys}
}

// GuardConfig is the configuration of a guard that accepts the issuer's tokens,
// without limits and without logs. Change what your program has otherwise, as
// the Formatter.
func (i *Issuer) GuardConfig() tokenbooth.GuardConfig {
	return tokenbooth.GuardConfig{
		Issuer: URL, Audience: Audience, Keys: i.keys.Public(),
		Limiter: tokenbooth.Unlimited{}, Logger: quiet(),
	}
}

// Guard is a guard of that configuration.
func (i *Issuer) Guard() *tokenbooth.Guard {
	i.t.Helper()
	guard, err := tokenbooth.NewGuard(i.GuardConfig())
	if err != nil {
		i.t.Fatal(err)
	}
	return guard
}

// Token returns a good token of [ClientID] for itself, with the scopes.
func (i *Issuer) Token(scopes ...string) string {
	i.t.Helper()
	return i.issue(Audience, time.Now, &grant.Issue{Scopes: scopes})
}

// UserToken returns a good token of [ClientID] for a user.
func (i *Issuer) UserToken(subject string, scopes ...string) string {
	i.t.Helper()
	return i.issue(Audience, time.Now, &grant.Issue{User: &response.Subject{ID: subject, Username: subject}, Scopes: scopes})
}

// ReadOnly returns a good token that may read and not write.
func (i *Issuer) ReadOnly(scopes ...string) string {
	i.t.Helper()
	return i.issue(Audience, time.Now, &grant.Issue{Scopes: scopes, ReadOnly: true})
}

// Expired returns a token that ended an hour ago.
func (i *Issuer) Expired(scopes ...string) string {
	i.t.Helper()
	past := func() time.Time { return time.Now().Add(-2 * time.Hour) }
	return i.issue(Audience, past, &grant.Issue{Scopes: scopes})
}

// WrongAudience returns a token that is good for somebody else.
func (i *Issuer) WrongAudience(scopes ...string) string {
	i.t.Helper()
	return i.issue("https://other.test", time.Now, &grant.Issue{Scopes: scopes})
}

// WrongKey returns a token that says all the right things and is signed with a
// key that nobody knows.
func (i *Issuer) WrongKey(scopes ...string) string {
	i.t.Helper()
	return NewIssuer(i.t).Token(scopes...)
}

// Authorize puts a token into the request's Authorization header and returns the
// request.
func Authorize(r *http.Request, token string) *http.Request {
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func (i *Issuer) issue(audience string, now func() time.Time, what *grant.Issue) string {
	i.t.Helper()
	client, secret := store.NewClient(ClientID)
	client.Grants = []string{grantType}
	clients, err := store.NewMemory(client)
	if err != nil {
		i.t.Fatal(err)
	}
	handler, err := tokenbooth.NewHandler(tokenbooth.HandlerConfig{
		Issuer: URL, Audience: audience, Clients: clients, Keys: i.keys,
		Grants:  []grant.Grant{fixed{what}},
		Limiter: tokenbooth.Unlimited{}, Logger: quiet(), Now: now,
	})
	if err != nil {
		i.t.Fatal(err)
	}
	form := url.Values{"grant_type": {grantType}, "client_id": {ClientID}, "client_secret": {secret}}
	request := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(form.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &token); err != nil || token.AccessToken == "" {
		i.t.Fatalf("tokenboothtest: status %d: %s", answer.Code, answer.Body)
	}
	return token.AccessToken
}

// fixed is a grant that issues the same to everybody.
type fixed struct{ issue *grant.Issue }

func (fixed) Type() string { return grantType }

func (f fixed) Exchange(context.Context, *grant.Request) (*grant.Issue, error) { return f.issue, nil }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }
