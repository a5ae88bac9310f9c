package load_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/campaign/load"
	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

const tokenLife = 2 * time.Second

// A booth is what two copies in this process share.
type booth struct {
	t       *testing.T
	clients *store.Memory
	state   store.State
	limiter tokenbooth.Limiter
	keys    *tokenbooth.KeyRing
	ticket  tokenbooth.Key
}

func newBooth(t *testing.T, state store.State) *booth {
	t.Helper()
	data, err := load.Fixtures()
	if err != nil {
		t.Fatal(err)
	}
	var fixtures struct{ Clients json.RawMessage }
	if err := json.Unmarshal(data, &fixtures); err != nil {
		t.Fatal(err)
	}
	clients, err := store.ParseClients(fixtures.Clients)
	if err != nil {
		t.Fatal(err)
	}
	b := &booth{t: t, state: state, limiter: new(tokenbooth.MemoryLimiter)}
	if b.clients, err = store.NewMemory(clients...); err != nil {
		t.Fatal(err)
	}
	key, err := tokenbooth.GenerateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	if b.keys, err = tokenbooth.NewKeyRing(key); err != nil {
		t.Fatal(err)
	}
	if b.ticket, err = tokenbooth.GenerateKey("HS256"); err != nil {
		t.Fatal(err)
	}
	return b
}

// open starts one copy, with the paths of the example servers.
func (b *booth) open() string {
	b.t.Helper()
	mux := http.NewServeMux()
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	add := func(token, route string, formatter response.Formatter, format tokenbooth.TokenFormat, grants ...grant.Grant) *tokenbooth.Handler {
		h, err := tokenbooth.NewHandler(tokenbooth.HandlerConfig{
			Issuer: "http://127.0.0.1:8080", Audience: "http://127.0.0.1:8080" + token,
			Clients: b.clients, State: b.state, Limiter: b.limiter, Keys: b.keys, TicketKey: b.ticket,
			Formatter: formatter, Tokens: format, Grants: grants, AccessTokenTTL: tokenLife,
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			b.t.Fatal(err)
		}
		mux.Handle(token, h)
		mux.Handle(route, h.Guard().Require()(ok))
		return h
	}
	add("/adminczar/api/v1/oauth2/token", "/adminczar/api/v1/whoami", response.OAuth{}, nil)
	add("/oauth/access_token", "/v2/products", response.Data{}, tokenbooth.Opaque{Bytes: 20})
	add("/v1/auth/token", "/v1/whoami", response.Coded{}, tokenbooth.Opaque{Prefix: "sk-", Bytes: 16})
	add("/auth/token", "/event/whoami", response.Content{}, nil)
	users := add("/oauth2/tokens", "/oauth2/whoami", response.Meta{}, nil, grant.ClientCredentials{}, grant.AuthorizationCode{}, grant.RefreshToken{})
	mux.HandleFunc("/oauth2/tokens/revoke", users.Revoke)
	mux.HandleFunc("/oauth2/tokens/introspect", users.Introspect)
	mux.Handle("/oauth2/authorize", users.Authorize(b.login))
	server := httptest.NewServer(mux)
	b.t.Cleanup(server.Close)
	return server.URL
}

func (b *booth) login(w http.ResponseWriter, r *http.Request, a *tokenbooth.AuthorizationRequest) {
	if r.Method == http.MethodGet {
		fmt.Fprintf(w, `<form method="post"><input type="hidden" name="ticket" value="%s">`, html.EscapeString(a.Ticket))
		return
	}
	name := r.PostForm.Get("username")
	if err := a.Approve(w, r, response.Subject{ID: "user:" + name, Username: name}); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// forgetful is a State that forgets what it should not: the test of the test.
type forgetful struct {
	store.State
	deaf  bool // does not compare what it swaps
	blind func(key string) bool
}

func (f *forgetful) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	if f.deaf {
		time.Sleep(2 * time.Millisecond) // as a database takes, so that requests meet
		if now, ok, err := f.State.Get(ctx, key); err == nil && ok {
			old = now
		}
	}
	return f.State.Swap(ctx, key, old, val, expires)
}

func (f *forgetful) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if f.blind != nil && f.blind(key) {
		return nil, false, nil
	}
	return f.State.Get(ctx, key)
}
