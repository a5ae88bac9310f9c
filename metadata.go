package tokenbooth

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// Endpoints are the absolute URLs under which a handler's parts are mounted;
// empty for those that are not. A handler knows no paths of its own.
type Endpoints struct {
	Token         string // the [Handler] itself. Required
	JWKS          string // [Handler.JWKS]
	Authorization string // [Handler.Authorize]
	UserInfo      string // [Handler.UserInfo]
	Revocation    string // [Handler.Revoke]
	Introspection string // [Handler.Introspect]
}

// metadata is RFC 8414 §2 and OpenID Connect Discovery §3, as far as there is
// something to say.
type metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint,omitempty"`
	TokenEndpoint         string   `json:"token_endpoint"`
	JWKSURI               string   `json:"jwks_uri,omitempty"`
	UserInfoEndpoint      string   `json:"userinfo_endpoint,omitempty"`
	RevocationEndpoint    string   `json:"revocation_endpoint,omitempty"`
	RevocationAuth        []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	IntrospectionEndpoint string   `json:"introspection_endpoint,omitempty"`
	IntrospectionAuth     []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	Scopes                []string `json:"scopes_supported,omitempty"`
	ResponseTypes         []string `json:"response_types_supported"`
	ResponseModes         []string `json:"response_modes_supported,omitempty"`
	GrantTypes            []string `json:"grant_types_supported"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported,omitempty"`
	IssInResponse         bool     `json:"authorization_response_iss_parameter_supported,omitempty"`
	SubjectTypes          []string `json:"subject_types_supported,omitempty"`
	IDTokenAlgorithms     []string `json:"id_token_signing_alg_values_supported,omitempty"`
	RequestURI            *bool    `json:"request_uri_parameter_supported,omitempty"` // true where it is missing
}

// Metadata returns the handler of the authorization server metadata (RFC 8414
// §3), to be mounted at /.well-known/oauth-authorization-server on the issuer's
// host; where the issuer has a path, it comes behind that. It serves at
// /.well-known/openid-configuration as well, which comes behind the issuer's path.
// Any origin may read it and anybody may keep it for 5 minutes. The error names
// each URL that is not absolute.
func (h *Handler) Metadata(at Endpoints) (http.Handler, error) {
	m := &mistakes{of: "Endpoints"}
	m.endpoint("Token", at.Token, true)
	m.endpoint("JWKS", at.JWKS, false)
	m.endpoint("Authorization", at.Authorization, false)
	m.endpoint("UserInfo", at.UserInfo, false)
	m.endpoint("Revocation", at.Revocation, false)
	m.endpoint("Introspection", at.Introspection, false)
	if err := m.err(); err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := json.Marshal(h.describe(at)) // each time: keys may change, and their algorithms
		if err != nil {
			h.refuse(w, r, h.newExchange(r), err)
			return
		}
		h.serveDocument(w, r, "application/json", body)
	}), nil
}

func (m *mistakes) endpoint(field, value string, required bool) {
	if value == "" && !required {
		return
	}
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || strings.Contains(value, "#") {
		m.add(field, "not an absolute URL without user and fragment", `set it as clients reach it, as "https://auth.example.com/token"`)
	}
}

func (h *Handler) describe(at Endpoints) metadata {
	d := metadata{
		Issuer: h.issuer, TokenEndpoint: at.Token, JWKSURI: at.JWKS, AuthorizationEndpoint: at.Authorization,
		UserInfoEndpoint: at.UserInfo, RevocationEndpoint: at.Revocation, IntrospectionEndpoint: at.Introspection,
		ResponseTypes: []string{}, Scopes: slices.Clone(h.defaultScopes),
		AuthMethods: []string{store.AuthBasic, store.AuthPost},
	}
	if at.Authorization != "" {
		d.ResponseTypes, d.ResponseModes = []string{"code"}, []string{"query"}
		d.ChallengeMethods, d.IssInResponse = []string{"S256"}, true
		d.SubjectTypes, d.RequestURI = []string{"public"}, new(bool)
		d.Scopes = h.withOpenID(d.Scopes)
		if h.keys != nil {
			d.IDTokenAlgorithms = h.keys.set().algorithms()
		}
	}
	public := false
	for i := range h.grants {
		d.GrantTypes = append(d.GrantTypes, h.grants[i].name)
		public = public || h.grants[i].public
	}
	slices.Sort(d.GrantTypes)
	if at.Introspection != "" {
		d.IntrospectionAuth = d.AuthMethods
	}
	if public {
		d.AuthMethods = append(slices.Clone(d.AuthMethods), store.AuthNone)
	}
	if at.Revocation != "" {
		d.RevocationAuth = d.AuthMethods
	}
	return d
}

// withOpenID adds the scopes that mean something to the handler itself.
func (h *Handler) withOpenID(scopes []string) []string {
	for grantType, scope := range map[string]string{"authorization_code": "openid", "refresh_token": "offline_access"} {
		if h.grant(grantType) != nil && !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	slices.Sort(scopes)
	return scopes
}

// JWKS answers the public keys as a JSON Web Key Set (RFC 7517 §5), which any
// origin may read and anybody may keep for 5 minutes.
func (h *Handler) JWKS(w http.ResponseWriter, r *http.Request) {
	body := []byte(`{"keys":[]}`)
	if h.keys != nil {
		body = h.keys.set().jwks
	}
	h.serveDocument(w, r, "application/jwk-set+json", body)
}

// serveDocument answers a public document.
func (h *Handler) serveDocument(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		f := response.Fail(response.MethodNotAllowed)
		f.Message = "The request method must be GET"
		f.Param = "GET, HEAD"
		h.refuse(w, r, h.newExchange(r), f)
		return
	}
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "public, max-age=300")
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(body)
}
