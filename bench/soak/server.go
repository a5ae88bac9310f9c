package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

const (
	callback = "https://app.example/callback"
	password = "correct horse battery staple"
	life     = 20 * time.Second // of access tokens
)

// A clock is time.Now and what it was stepped on by.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) stepOn(by time.Duration) { c.ahead.Add(int64(by)) }

// A server is two handlers, one for each form of token, that share clients, users,
// State and limits; and a guard that knows the first one by its JWKS only.
type server struct {
	clock
	jwt, opaque *tokenbooth.Handler
	http        http.Server
	base        string
	secret      string // of all clients that have one
}

func newServer() (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{base: "http://" + listener.Addr().String()}
	if err := s.open(); err != nil {
		return nil, err
	}
	s.http.ReadHeaderTimeout = 5 * time.Second
	go func() { _ = s.http.Serve(listener) }() // ends with close
	return s, nil
}

func (s *server) close() { _ = s.http.Close() }

func (s *server) open() error {
	clients, err := s.newClients()
	if err != nil {
		return err
	}
	config := tokenbooth.HandlerConfig{
		Issuer:  s.base,
		Clients: clients,
		Grants: []grant.Grant{
			grant.ClientCredentials{},
			grant.AuthorizationCode{},
			grant.RefreshToken{},
			grant.Implicit{},
			&grant.Password{Authenticate: authenticate},
		},
		State:           &store.Memory{Now: s.now},
		AccessTokenTTL:  life,
		RefreshIdle:     life,
		RefreshAbsolute: life,
		RefreshGrace:    time.Second,
		UserClaims: func(_ context.Context, subject string, _ []string) (map[string]any, error) {
			return map[string]any{"name": subject}, nil
		},
		Limiter:        &tokenbooth.MemoryLimiter{Now: s.now},
		Limit:          tokenbooth.Limit{PerSecond: 1e6, Burst: 1e6},
		FailureLimit:   tokenbooth.Limit{PerSecond: 1e6, Burst: 1e6},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Logger:         slog.New(slog.NewTextHandler(io.Discard, nil)),
		Now:            s.now,
	}
	if config.Keys, err = newKeys(); err != nil {
		return err
	}
	if s.jwt, err = tokenbooth.NewHandler(config); err != nil {
		return err
	}
	config.Tokens, config.Audience = tokenbooth.Opaque{}, s.base+"/opaque"
	if s.opaque, err = tokenbooth.NewHandler(config); err != nil {
		return err
	}
	remote, err := tokenbooth.NewGuard(tokenbooth.GuardConfig{
		Issuer: s.base, JWKSURL: s.base + "/jwks.json", Clients: clients, Limiter: config.Limiter, Logger: config.Logger, Now: s.now,
		// A connection kept alive would be there at one count and not at the next.
		HTTPClient: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	})
	if err != nil {
		return err
	}
	return s.mount(remote)
}

func newKeys() (*tokenbooth.KeyRing, error) {
	key, err := tokenbooth.GenerateKey("ES256")
	if err != nil {
		return nil, err
	}
	return tokenbooth.NewKeyRing(key)
}

func (s *server) newClients() (*store.Memory, error) {
	secret, plain := store.NewSecret()
	s.secret = plain
	often := &store.Rate{PerSecond: 1e6, Burst: 1e6}
	scopes := []string{"read", "write", "openid", "offline_access"}
	return store.NewMemory(
		&store.Client{ID: "machine", Secrets: []store.Secret{secret}, Scopes: scopes, Rate: often, Grants: []string{"client_credentials", "password"}},
		&store.Client{ID: "slow", Secrets: []store.Secret{secret}, Scopes: scopes, Rate: &store.Rate{PerSecond: 1, Burst: 5}, Grants: []string{"client_credentials"}},
		&store.Client{ID: "app", Public: true, Scopes: scopes, Rate: often, RedirectURIs: []string{callback}, Grants: []string{"authorization_code", "refresh_token", "implicit"}},
	)
}

func (s *server) mount(remote *tokenbooth.Guard) error {
	metadata, err := s.jwt.Metadata(tokenbooth.Endpoints{Token: s.base + "/jwt/token", JWKS: s.base + "/jwks.json"})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	for path, h := range map[string]*tokenbooth.Handler{"/jwt": s.jwt, "/opaque": s.opaque} {
		mux.Handle(path+"/token", h)
		mux.Handle(path+"/authorize", h.Authorize(login))
		mux.HandleFunc(path+"/revoke", h.Revoke)
		mux.HandleFunc(path+"/introspect", h.Introspect)
		mux.Handle(path+"/userinfo", h.UserInfo())
		mux.Handle(path+"/resource", h.Guard().Require("read")(http.HandlerFunc(resource)))
	}
	mux.Handle("/remote/resource", remote.Require("read")(http.HandlerFunc(resource)))
	mux.HandleFunc("/jwks.json", s.jwt.JWKS)
	mux.Handle("/.well-known/oauth-authorization-server", metadata)
	s.http.Handler = mux
	return nil
}

func resource(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// login is a page that asks for a name and no password.
func login(w http.ResponseWriter, r *http.Request, a *tokenbooth.AuthorizationRequest) {
	switch user := r.PostForm.Get("username"); user {
	case "":
		_, _ = io.WriteString(w, a.Ticket)
	case "nobody":
		a.Deny(w, r)
	default:
		if err := a.Approve(w, r, response.Subject{ID: user}); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}
}

func authenticate(_ context.Context, username, given string) (*grant.User, error) {
	if given != password {
		return nil, grant.ErrWrongPassword
	}
	return &grant.User{Subject: response.Subject{ID: username}}, nil
}
