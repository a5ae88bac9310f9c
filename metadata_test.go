package tokenbooth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenbooth/tokenbooth/grant"
)

var usEndpoints = Endpoints{
	Token: epIssuer + "/token", JWKS: epIssuer + "/jwks", Authorization: epIssuer + "/authorize?tenant=7", UserInfo: epIssuer + "/userinfo",
	Revocation: epIssuer + "/revoke", Introspection: epIssuer + "/introspect",
}

// described returns the metadata as they are served.
func (b *usBooth) described(t *testing.T, at Endpoints) *httptest.ResponseRecorder {
	t.Helper()
	h, err := b.Metadata(at)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/.well-known/openid-configuration", http.NoBody))
	return w
}

func TestMetadata_Document(t *testing.T) {
	machines := func(c *HandlerConfig) { c.Grants = nil }
	var golden strings.Builder
	for _, c := range []struct {
		name   string
		change epChange
		at     Endpoints
	}{
		{"everything", func(*HandlerConfig) {}, usEndpoints},
		{"own scopes", func(c *HandlerConfig) { c.DefaultScopes = []string{"read", "openid"} }, usEndpoints},
		{"EdDSA", usAlgorithm(t, "EdDSA"), usEndpoints},
		{"opaque", func(c *HandlerConfig) { c.Tokens = Opaque{} }, usEndpoints},
		{"machines", machines, Endpoints{Token: epIssuer + "/token"}},
		{"machines that revoke", machines, Endpoints{Token: epIssuer + "/token", JWKS: epIssuer + "/jwks", Revocation: epIssuer + "/revoke", Introspection: epIssuer + "/introspect"}},
		{"implicit", func(c *HandlerConfig) { c.Grants = []grant.Grant{grant.Implicit{}} }, Endpoints{Token: epIssuer + "/token"}},
	} {
		b := usNew(t, c.change)
		fmt.Fprintf(&golden, "%s: %s\n", c.name, b.described(t, c.at).Body)
	}
	epGolden(t, filepath.Join("testdata", "answers", "metadata.golden"), golden.String())
}

// TestMetadata_Required: the members that RFC 8414 §2 and OpenID Connect Discovery
// §3 require.
func TestMetadata_Required(t *testing.T) {
	b := usNew(t)
	w := b.described(t, usEndpoints)
	var d map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported", "subject_types_supported",
		"id_token_signing_alg_values_supported",
	} {
		if d[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
	if d["issuer"] != epIssuer || d["request_uri_parameter_supported"] != false || d["authorization_response_iss_parameter_supported"] != true {
		t.Errorf("%v", d)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
}

// TestMetadata_Twice: the document of one set of endpoints says nothing of
// another's.
func TestMetadata_Twice(t *testing.T) {
	b := usNew(t, func(c *HandlerConfig) { c.DefaultScopes = []string{"write", "openid", "offline_access"} })
	before := b.described(t, usEndpoints).Body.String()
	b.described(t, Endpoints{Token: epIssuer + "/token"})
	if after := b.described(t, usEndpoints).Body.String(); after != before || b.defaultScopes[0] != "write" {
		t.Errorf("%s\n%s\n%q", before, after, b.defaultScopes)
	}
}

func TestMetadata_Mistakes(t *testing.T) {
	b := usNew(t)
	for _, bad := range []string{"/token", "token", "https://", "https:///token", "ftp://x/token", "https://x/token#", "https://x/token#a", "https://u:p@x/token", "https://x\x00/", "://"} {
		at := Endpoints{Token: bad, JWKS: bad, Authorization: bad, UserInfo: bad, Revocation: bad, Introspection: bad}
		_, err := b.Metadata(at)
		var mistake *ConfigError
		if !errors.As(err, &mistake) {
			t.Errorf("%q: %v", bad, err)
			continue
		}
		for _, field := range []string{"Token", "JWKS", "Authorization", "UserInfo", "Revocation", "Introspection"} {
			if !strings.Contains(err.Error(), "Endpoints."+field+" ") {
				t.Errorf("%q: %s is not named: %v", bad, field, err)
			}
		}
		if strings.Contains(err.Error(), "u:p") {
			t.Errorf("a password is told: %v", err)
		}
	}
	if _, err := b.Metadata(Endpoints{}); err == nil || strings.Count(err.Error(), "Endpoints.") != 1 {
		t.Errorf("nothing set: %v", err)
	}
}

func TestH1_MetadataMethods(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		b := usNew(t, usFormatter(e.formatter))
		h, err := b.Metadata(usEndpoints)
		if err != nil {
			t.Fatal(err)
		}
		for _, served := range []http.Handler{h, http.HandlerFunc(b.JWKS)} {
			for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
				w := httptest.NewRecorder()
				served.ServeHTTP(w, httptest.NewRequest(method, "/", http.NoBody))
				epHeaders(t, w)
				if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
					t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
				}
			}
			w := httptest.NewRecorder()
			served.ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/", http.NoBody))
			if w.Code != http.StatusOK {
				t.Errorf("HEAD: %d", w.Code)
			}
		}
	})
}
