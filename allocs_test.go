//go:build !race

package tokenbooth

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

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// A rewound body is read again for each request, so that only the handler's own
// allocations are counted.
type rewound struct{ strings.Reader }

func (*rewound) Close() error { return nil }

// allocsOf counts what a handler allocates for a request that is answered 200.
func allocsOf(t *testing.T, h http.Handler, template *http.Request, form func() string) float64 {
	t.Helper()
	w := &discard{header: http.Header{}}
	body := new(rewound)
	r := *template
	r.Body = body
	return testing.AllocsPerRun(200, func() {
		body.Reset(form())
		clear(w.header)
		h.ServeHTTP(w, &r)
		if w.status != http.StatusOK {
			t.Fatalf("status %d", w.status)
		}
	})
}

// TestAllocsOfIssuance: with limits, events, a logger and every header. crypto/ecdsa
// makes 56 of its own.
func TestAllocsOfIssuance(t *testing.T) {
	for name, c := range map[string]struct {
		tokens    TokenFormat
		algorithm string
		most      float64
	}{
		"HS256":  {JWT{}, "HS256", 3},
		"EdDSA":  {JWT{}, "EdDSA", 3},
		"ES256":  {JWT{}, "ES256", 3 + 56},
		"opaque": {Opaque{}, "HS256", 9},
	} {
		t.Run(name, func(t *testing.T) {
			h, secret := benchHandler(t, c.tokens, c.algorithm)
			events := 0
			h.events = func(context.Context, Event) { events++ }
			r, form := tokenRequest(secret)
			if got := allocsOf(t, h, r, func() string { return form }); got > c.most {
				t.Errorf("%.0f allocations, want at most %.0f", got, c.most)
			}
			if events == 0 {
				t.Error("nobody was told")
			}
		})
	}
}

// TestAllocsOfRefresh: memory State, HS256, no id_token.
func TestAllocsOfRefresh(t *testing.T) {
	h, secret, token := allocsBooth(t)
	r, _ := tokenRequest(secret)
	last := token
	h.formatter = refreshSpy{&last}
	for i := range h.grants {
		h.grants[i].ours = true // the spy keeps a string only
	}
	form := func() string {
		return "grant_type=refresh_token&client_id=acme&client_secret=" + secret + "&refresh_token=" + last
	}
	const formItself = 1
	if got := allocsOf(t, h, r, form); got > 7+formItself {
		t.Errorf("%.0f allocations, want at most 7", got-formItself)
	}
	if last == token {
		t.Error("nothing was refreshed")
	}
}

type refreshSpy struct{ last *string }

func (s refreshSpy) Token(t *response.Token) (response.Reply, error) {
	*s.last = t.RefreshToken
	return response.OAuth{}.Token(t)
}

func (refreshSpy) Failure(f *response.Failure) (response.Reply, error) {
	return response.OAuth{}.Failure(f)
}

// allocsBooth returns a handler with an authorization, and its refresh token.
func allocsBooth(t *testing.T) (h *Handler, secret, token string) {
	t.Helper()
	client, secret := store.NewClient("acme", "read", "write")
	client.Grants = []string{"authorization_code", "refresh_token"}
	client.RedirectURIs = []string{"https://app.example/callback"}
	client.WithoutPKCE = true
	client.Rate = &store.Rate{PerSecond: 1e9, Burst: 1e9}
	clients, err := store.NewMemory(client)
	if err != nil {
		t.Fatal(err)
	}
	key, err := GenerateKey("HS256")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := NewKeyRing(key)
	if err != nil {
		t.Fatal(err)
	}
	h, err = NewHandler(HandlerConfig{
		Issuer: "https://issuer.example", Clients: clients, Keys: ring, AlwaysRefresh: true,
		Grants: []grant.Grant{grant.AuthorizationCode{}, grant.RefreshToken{}},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.Authorize(func(w http.ResponseWriter, r *http.Request, a *AuthorizationRequest) {
		if err := a.Approve(w, r, response.Subject{ID: "user"}); err != nil {
			t.Error(err)
		}
	}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/authorize?response_type=code&client_id=acme&scope=read", nil))
	location, err := url.Parse(w.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(
		"grant_type=authorization_code&client_id=acme&client_secret="+secret+"&code="+location.Query().Get("code")))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var body struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Refresh == "" {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return h, secret, body.Refresh
}
