package booth

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
)

// A system is one documented API: a token endpoint and the routes that its
// tokens open.
type system struct {
	name   string
	routes map[string]http.Handler // by pattern of http.ServeMux
	curl   string                  // a shell command that gets a token
}

// settings are what the systems have in common.
type settings struct {
	base    string // URL of this server
	issuer  string
	ttl     time.Duration
	shape   response.Shape
	backend *Backend
	users   users
	caller  *caller
	logger  *slog.Logger
	now     func() time.Time
}

func newSettings(o *options, f *Fixtures, base string, logger *slog.Logger) *settings {
	issuer := o.issuer
	if issuer == "" {
		issuer = base
	}
	return &settings{
		base: base, issuer: issuer, ttl: o.ttl, shape: o.shape,
		users: f.users, caller: f.caller, logger: logger,
	}
}

func newSystems(s *settings) ([]*system, error) {
	if s.ttl == 0 {
		// The zero value of the field would mean its default.
		return nil, &tokenbooth.ConfigError{Field: "HandlerConfig.AccessTokenTTL", Value: "0s", Mend: "want at least 1s"}
	}
	var all []*system
	for _, open := range []func(*settings) (*system, error){newOAuth, newData, newMeta, newCoded, newContent} {
		one, err := open(s)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func mount(systems []*system) http.Handler {
	mux := http.NewServeMux()
	for _, s := range systems {
		for pattern, handler := range s.routes {
			mux.Handle(pattern, handler)
		}
	}
	return mux
}

func (s *settings) config(system string) tokenbooth.HandlerConfig {
	return tokenbooth.HandlerConfig{
		Issuer:         s.issuer,
		Audience:       s.issuer + "/" + system,
		Clients:        s.backend.Clients,
		State:          s.backend.State(system),
		Limiter:        s.backend.Limiter(system),
		TicketKey:      s.backend.TicketKey,
		AccessTokenTTL: s.ttl,
		Logger:         s.logger,
		Now:            s.now,
	}
}

// signing is config for a system whose tokens are JWTs.
func (s *settings) signing(system string) (tokenbooth.HandlerConfig, error) {
	config := s.config(system)
	var err error
	config.Keys, err = s.backend.Keys(system)
	return config, err
}

func newOAuth(s *settings) (*system, error) {
	config, err := s.signing("000")
	if err != nil {
		return nil, err
	}
	config.Formatter = response.OAuth{}
	booth, err := tokenbooth.NewHandler(config)
	if err != nil {
		return nil, err
	}
	guard := booth.Guard().Require()
	return &system{
		name: "000 OAuth",
		routes: map[string]http.Handler{
			"/adminczar/api/v1/oauth2/token": booth,
			"GET /adminczar/api/v1/whoami":   guard(whoami),
			"POST /adminczar/api/v1/whoami":  guard(whoami),
		},
		curl: s.curl("/adminczar/api/v1/oauth2/token"),
	}, nil
}

func newData(s *settings) (*system, error) {
	config := s.config("001")
	config.Formatter = response.Data{Shape: s.shape}
	config.Grants = []grant.Grant{grant.ClientCredentials{}, grant.Implicit{}}
	config.Tokens = tokenbooth.Opaque{Bytes: 20}
	booth, err := tokenbooth.NewHandler(config)
	if err != nil {
		return nil, err
	}
	guard := booth.Guard().Require()
	shoppers := booth.Guard().AllowReadOnlyWrites().Require()
	mux := http.NewServeMux()
	mux.Handle("/oauth/access_token", booth)
	mux.Handle("GET /v2/products", guard(noData))
	mux.Handle("POST /v2/products", guard(noData))
	mux.Handle("GET /catalog/products", guard(noData))
	mux.Handle("POST /v2/carts", shoppers(noData))
	browsers := cors(mux)
	return &system{
		name: "001 Data",
		routes: map[string]http.Handler{
			"/oauth/access_token": browsers,
			"/v2/products":        browsers,
			"/catalog/products":   browsers,
			"/v2/carts":           browsers,
		},
		curl: s.curl("/oauth/access_token"),
	}, nil
}

func newCoded(s *settings) (*system, error) {
	config := s.config("003")
	config.Formatter = response.Coded{}
	config.Tokens = tokenbooth.Opaque{Prefix: "sk-", Bytes: 16}
	booth, err := tokenbooth.NewHandler(config)
	if err != nil {
		return nil, err
	}
	return &system{
		name: "003 Coded",
		routes: map[string]http.Handler{
			"/v1/auth/token": booth,
			"GET /v1/whoami": booth.Guard().Require()(whoami),
		},
		curl: s.curl("/v1/auth/token"),
	}, nil
}

func newContent(s *settings) (*system, error) {
	config, err := s.signing("004")
	if err != nil {
		return nil, err
	}
	config.Formatter = response.Content{QueryTokens: true}
	config.Grants = []grant.Grant{grant.ClientCredentials{}, &grant.Password{Authenticate: s.users.authenticate}}
	booth, err := tokenbooth.NewHandler(config)
	if err != nil {
		return nil, err
	}
	return &system{
		name: "004 Content",
		routes: map[string]http.Handler{
			"/auth/token":       booth,
			"GET /event/whoami": booth.Guard().Require()(whoami),
		},
		curl: s.curl("/auth/token"),
	}, nil
}

// curl returns a command that gets a token for the caller.
func (s *settings) curl(path string, more ...string) string {
	if s.caller == nil {
		return "# no client of the fixtures may use client_credentials"
	}
	words := []string{"curl", shellWord(s.base + path), "-d", "grant_type=client_credentials"}
	for _, parameter := range more {
		words = append(words, "-d", shellWord(parameter))
	}
	id, secret := s.caller.ID, s.caller.secret
	if s.caller.basic() {
		words = append(words, "-u", shellWord(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
	} else {
		words = append(words,
			"--data-urlencode", shellWord("client_id="+id),
			"--data-urlencode", shellWord("client_secret="+secret))
	}
	return strings.Join(words, " ")
}

// shellWord quotes s for a POSIX shell where that is necessary.
func shellWord(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:/=%+,@"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
