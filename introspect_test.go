package tokenbooth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// at sends a form to one of the endpoints for tokens.
func (b *usBooth) at(serve http.HandlerFunc, body string, changes ...func(*http.Request)) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	serve(w, epRequest(body, changes...))
	return w
}

func usAs(client, token string) string {
	return "client_id=" + client + "&client_secret=" + usSecret + "&token=" + url.QueryEscape(token)
}

// introspected asks as a client.
func (b *usBooth) introspected(t testing.TB, client, token string) (seen introspection) {
	t.Helper()
	w := b.at(b.Introspect, usAs(client, token))
	epHeaders(t, w)
	if err := json.Unmarshal(w.Body.Bytes(), &seen); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if !seen.Active && w.Body.String() != `{"active":false}` {
		t.Errorf("it tells more: %s", w.Body)
	}
	return seen
}

func usFormats(t *testing.T, f func(*testing.T, *usBooth), changes ...epChange) {
	for name, format := range map[string]TokenFormat{"JWT": JWT{}, "Opaque": Opaque{}} {
		t.Run(name, func(t *testing.T) {
			f(t, usNew(t, append(changes, func(c *HandlerConfig) { c.Tokens = format })...))
		})
	}
}

func TestIntrospect_AccessToken(t *testing.T) {
	usFormats(t, func(t *testing.T, b *usBooth) {
		token := b.flow(t).AccessToken
		p, err := b.Guard().Check(gkRequest(token))
		if err != nil {
			t.Fatal(err)
		}
		now := b.clock.Now().Unix()
		want := introspection{
			Active: true, Scope: "openid offline_access read", ClientID: "web", Username: "ada", TokenType: "Bearer",
			Expires: now + 3600, IssuedAt: now, Subject: "user-7", Audience: epIssuer, Issuer: epIssuer, ID: p.TokenID,
		}
		for client, sees := range map[string]bool{"web": true, "api": true, "stranger": false, "old": false, "machine": false} {
			switch seen := b.introspected(t, client, token); {
			case sees && seen != want:
				t.Errorf("%s sees %+v\nwant %+v", client, seen, want)
			case !sees && seen.Active:
				t.Errorf("%s sees %+v", client, seen)
			}
		}
		b.clock.move(time.Hour)
		if b.introspected(t, "web", token).Active {
			t.Error("an expired token is active")
		}
	})
}

func TestIntrospect_ClientToken(t *testing.T) {
	usFormats(t, func(t *testing.T, b *usBooth) {
		token := b.tokens(t, "grant_type=client_credentials&scope=read"+usWeb).AccessToken
		if seen := b.introspected(t, "api", token); seen.Subject != "client:web" || seen.Username != "" || seen.Scope != "read" {
			t.Errorf("%+v", seen)
		}
	})
}

// TestIntrospect_ClientGone: a token that the guard refuses is not active.
func TestIntrospect_ClientGone(t *testing.T) {
	usFormats(t, func(t *testing.T, b *usBooth) {
		token := b.flow(t).AccessToken
		b.change("web", func(c *store.Client) { c.Disabled = true })
		b.clock.move(2 * time.Minute)
		if b.introspected(t, "api", token).Active || gkStatus(t, b.Guard(), token) != http.StatusUnauthorized {
			t.Error("the token of a disabled client is active")
		}
	})
}

func TestIntrospect_RefreshToken(t *testing.T) {
	b := usNew(t)
	first := b.flow(t).RefreshToken
	idle := b.clock.Now().Add(defaultIdle).Unix()
	want := introspection{
		Active: true, Scope: "openid offline_access read", ClientID: "web", Username: "ada", Expires: idle, Subject: "user-7", Issuer: epIssuer,
	}
	if seen := b.introspected(t, "web", first); seen != want {
		t.Errorf("%+v\nwant %+v", seen, want)
	}
	for _, client := range []string{"api", "stranger", "old"} {
		if b.introspected(t, client, first).Active {
			t.Errorf("%s sees a refresh token of web", client)
		}
	}
	second := b.tokens(t, usRefresh(first)).RefreshToken
	if b.introspected(t, "web", first).Active || !b.introspected(t, "web", second).Active {
		t.Error("not the live one is active")
	}
	if again := b.tokens(t, usRefresh(first)).RefreshToken; again != second {
		t.Error("introspection changed the family")
	}
	b.clock.move(defaultIdle)
	if b.introspected(t, "web", second).Active {
		t.Error("an idle one is active")
	}
}

// TestIntrospect_Garbage: nothing that is no token of ours is active, and none of
// it writes.
func TestIntrospect_Garbage(t *testing.T) {
	usFormats(t, func(t *testing.T, b *usBooth) {
		all := b.flow(t)
		writes := b.state.wrote
		for _, token := range usGarbage(all) {
			if b.introspected(t, "web", token).Active {
				t.Errorf("%q is active", token)
			}
		}
		if b.state.wrote != writes {
			t.Errorf("%d writes", b.state.wrote-writes)
		}
	})
}

// usGarbage is what looks like a token and is none.
func usGarbage(all usTokens) []string {
	garbage := []string{"x", "r.", "r.x.1.y.z", "c.x.y", "..", "\x00", "\xff", "a b", strings.Repeat("A", 8192), all.IDToken}
	for _, token := range []string{all.AccessToken, all.RefreshToken} {
		last := byte('A')
		if token[len(token)-1] == last {
			last = 'Q'
		}
		garbage = append(garbage, token+"A", token+"=", token+"\n", " "+token, token[1:], token[:len(token)-1], token[:len(token)-1]+string(last))
	}
	return garbage
}

func TestIntrospect_Authenticates(t *testing.T) {
	for name, c := range map[string]struct {
		body    string
		changes []func(*http.Request)
		status  int
		reason  response.Reason
	}{
		"basic":          {"token=x", []func(*http.Request){epBasic("web", usSecret)}, 200, ""},
		"post":           {usAs("web", "x"), nil, 200, ""},
		"public":         {"client_id=app&token=x", nil, 400, response.GrantNotAllowed},
		"public, basic":  {"token=x", []func(*http.Request){epBasic("app", "")}, 400, response.GrantNotAllowed},
		"no credentials": {"token=x", nil, 400, response.ParameterMissing},
		"no secret":      {"client_id=web&token=x", nil, 401, response.ClientUnknown},
		"wrong secret":   {"client_id=web&client_secret=x&token=x", nil, 401, response.SecretWrong},
		"unknown":        {"client_id=nobody&client_secret=x&token=x", nil, 401, response.ClientUnknown},
		"disabled":       {usAs("off", "x"), nil, 400, response.ClientDisabled},
		"both":           {usAs("web", "x"), []func(*http.Request){epBasic("web", usSecret)}, 400, response.CredentialsTwice},
		"bearer":         {"token=x", []func(*http.Request){epHeader("Authorization", "Bearer x")}, 400, response.AuthorizationInvalid},
		"no token":       {usAs("web", ""), nil, 400, response.ParameterMissing},
		"token twice":    {usAs("web", "x") + "&token=", nil, 400, response.ParameterRepeated},
		"hint twice":     {usAs("web", "x") + "&token_type_hint=a&token_type_hint=b", nil, 400, response.ParameterRepeated},
		"unknown hint":   {usAs("web", "x") + "&token_type_hint=pac", nil, 200, ""},
		"too long":       {usAs("web", strings.Repeat("x", 8193)), nil, 400, response.ParameterInvalid},
		"GET":            {"", []func(*http.Request){func(r *http.Request) { r.Method = http.MethodGet }}, 405, response.MethodNotAllowed},
		"JSON":           {`{"token":"x"}`, []func(*http.Request){epHeader("Content-Type", jsonMediaType), epBasic("web", usSecret)}, 200, ""},
		"text":           {"token=x", []func(*http.Request){epHeader("Content-Type", "text/plain")}, 400, response.ContentType},
		"token in URL": {"", []func(*http.Request){
			epBasic("web", usSecret), func(r *http.Request) { r.URL.RawQuery = "token=x" },
		}, 400, response.ParameterMissing},
	} {
		for endpoint, serve := range map[string]func(*usBooth) http.HandlerFunc{
			"introspect": func(b *usBooth) http.HandlerFunc { return b.Introspect },
			"revoke":     func(b *usBooth) http.HandlerFunc { return b.Revoke },
		} {
			b := usNew(t)
			w := b.at(serve(b), c.body, c.changes...)
			epHeaders(t, w)
			status := c.status
			if endpoint == "revoke" && c.reason == response.GrantNotAllowed {
				status = http.StatusOK // public clients may revoke their own
			}
			if w.Code != status {
				t.Errorf("%s, %s: %d %s", endpoint, name, w.Code, w.Body)
			}
			if status != http.StatusOK && (b.last(t).Reason != c.reason || b.last(t).Status != w.Code) {
				t.Errorf("%s, %s: %+v", endpoint, name, b.last(t))
			}
		}
	}
}

// TestC8_TokenEndpointsStore: where the store cannot tell, neither does the answer.
func TestC8_TokenEndpointsStore(t *testing.T) {
	for _, call := range []string{"get denied", "get authz", "get epoch sub", "get epoch client", "get token", "create denied", "swap authz"} {
		usFormats(t, func(t *testing.T, b *usBooth) {
			all := b.flow(t)
			for _, fault := range []error{store.ErrUnavailable, errors.New("broken")} {
				failed := 0
				b.state.set(func(c string) error {
					if c != call {
						return nil
					}
					failed++
					return fault
				})
				status := map[bool]int{true: http.StatusServiceUnavailable, false: http.StatusInternalServerError}[errors.Is(fault, store.ErrUnavailable)]
				for _, token := range []string{all.AccessToken, all.RefreshToken} {
					for _, serve := range []http.HandlerFunc{b.Introspect, b.Revoke} {
						failed = 0
						w := b.at(serve, usAs("web", token))
						if epHeaders(t, w); failed > 0 && w.Code != status || failed == 0 && w.Code != http.StatusOK {
							t.Errorf("%s failed %d times: %d %s", call, failed, w.Code, w.Body)
						}
					}
				}
				b.state.set(nil)
				all = b.flow(t)
			}
		})
	}
}

// TestTokenEndpoints_Envelopes keeps the answers of both endpoints.
func TestTokenEndpoints_Envelopes(t *testing.T) {
	var golden strings.Builder
	for _, c := range []struct{ name, body string }{
		{"unknown token", usAs("web", "x")},
		{"no token", usAs("web", "")},
		{"wrong secret", "client_id=web&client_secret=x&token=x"},
		{"public client", "client_id=app&token=x"},
		{"token of another", "other"},
	} {
		for _, endpoint := range []string{"introspect", "revoke"} {
			before := ""
			for _, e := range epEnvelopes {
				b := usNew(t, usFormatter(e.formatter))
				body := c.body
				if body == "other" {
					token, err := b.codec.mint(t.Context(), &claims{subject: "user-7", clientID: "old", expires: b.clock.Now().Add(time.Hour)})
					if err != nil {
						t.Fatal(err)
					}
					body = usAs("web", token)
				}
				serve := map[string]http.HandlerFunc{"introspect": b.Introspect, "revoke": b.Revoke}[endpoint]
				if answer := epRender(b.at(serve, body)); answer != before {
					fmt.Fprintf(&golden, "%s: %s: %s: %s", c.name, endpoint, e.name, answer)
					before = answer
				}
			}
		}
		golden.WriteByte('\n')
	}
	epGolden(t, filepath.Join("testdata", "answers", "token-endpoints.golden"), golden.String())
}
