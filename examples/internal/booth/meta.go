package booth

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
)

// newMeta is the system that has users: they log in here and allow clients to
// act for them.
func newMeta(s *settings) (*system, error) {
	config, err := s.metaConfig()
	if err != nil {
		return nil, err
	}
	booth, err := tokenbooth.NewHandler(config)
	if err != nil {
		return nil, err
	}
	discovery, err := booth.Metadata(s.endpoints())
	if err != nil {
		return nil, err
	}
	return &system{
		name: "002 Meta",
		routes: map[string]http.Handler{
			"/oauth2/tokens":                          booth,
			"/oauth2/authorize":                       booth.Authorize(newLogin(s).serve),
			"/oauth2/tokens/revoke":                   http.HandlerFunc(booth.Revoke),
			"/oauth2/tokens/introspect":               http.HandlerFunc(booth.Introspect),
			"/userinfo":                               booth.UserInfo(),
			"/jwks.json":                              http.HandlerFunc(booth.JWKS),
			"/.well-known/oauth-authorization-server": discovery,
			"/.well-known/openid-configuration":       discovery,
			"GET /oauth2/whoami":                      booth.Guard().Require("customers:read")(whoami),
		},
		curl: s.curl("/oauth2/tokens", s.metaScope()...),
	}, nil
}

func (s *settings) metaConfig() (tokenbooth.HandlerConfig, error) {
	config, err := s.signing("002")
	config.Formatter = response.Meta{}
	config.Grants = []grant.Grant{grant.ClientCredentials{}, grant.AuthorizationCode{}, grant.RefreshToken{}}
	config.UserClaims = s.users.claims
	return config, err
}

// metaScope is what whoami asks for, where the caller may have it.
func (s *settings) metaScope() []string {
	if s.caller != nil && slices.Contains(s.caller.Scopes, "customers:read") {
		return []string{"scope=customers:read"}
	}
	return nil
}

// endpoints are under the issuer's URL, which is how clients reach this server.
func (s *settings) endpoints() tokenbooth.Endpoints {
	at := strings.TrimRight(s.issuer, "/")
	return tokenbooth.Endpoints{
		Token:         at + "/oauth2/tokens",
		Authorization: at + "/oauth2/authorize",
		Revocation:    at + "/oauth2/tokens/revoke",
		Introspection: at + "/oauth2/tokens/introspect",
		UserInfo:      at + "/userinfo",
		JWKS:          at + "/jwks.json",
	}
}

// claims tells clients about a user, as far as the user allowed it.
func (us users) claims(_ context.Context, subject string, scopes []string) (map[string]any, error) {
	if !slices.Contains(scopes, "profile") {
		return nil, nil
	}
	for _, u := range us {
		if u.ID == subject {
			return map[string]any{"name": u.Name, "preferred_username": u.Username}, nil
		}
	}
	return nil, nil
}
