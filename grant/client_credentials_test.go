package grant_test

import (
	"slices"
	"testing"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/store"
)

func request(params ...string) *grant.Request {
	r := &grant.Request{Client: &store.Client{ID: "acme", Scopes: []string{"read", "write"}}, Authenticated: true}
	for i := 0; i < len(params); i += 2 {
		r.Params = append(r.Params, grant.Param{Name: params[i], Value: params[i+1]})
	}
	return r
}

func TestScopesOrDefault(t *testing.T) {
	tests := []struct {
		name                  string
		asked, defaults, want []string
	}{
		{"none", nil, nil, nil},
		{"asked", []string{"write"}, []string{"read"}, []string{"write"}},
		{"default", nil, []string{"write", "read"}, []string{"write", "read"}},
		{"default as far as the client may", nil, []string{"admin", "read"}, []string{"read"}},
		{"default that the client may not", nil, []string{"admin"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request()
			r.Scopes, r.DefaultScopes = tt.asked, tt.defaults
			if got := r.ScopesOrDefault(); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if !slices.Equal(r.DefaultScopes, tt.defaults) {
				t.Errorf("the defaults became %q", r.DefaultScopes)
			}
		})
	}
}

func TestParam(t *testing.T) {
	r := request("code", "c", "state", "s")
	for name, want := range map[string]string{"code": "c", "state": "s", "Code": "", "": ""} {
		if got := r.Param(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestG1_ClientCredentials(t *testing.T) {
	g := grant.ClientCredentials{}
	r := request()
	r.Scopes = []string{"read"}
	issue, err := g.Exchange(t.Context(), r)
	if err != nil || issue.User != nil || issue.RefreshToken != "" || issue.ReadOnly || issue.Commit != nil || !slices.Equal(issue.Scopes, r.Scopes) {
		t.Errorf("got %+v, %v", issue, err)
	}
	if _, public := any(g).(grant.PublicClients); public || g.Type() != "client_credentials" {
		t.Errorf("type %q, for public clients %t", g.Type(), public)
	}
}

func TestG2_Implicit(t *testing.T) {
	g := grant.Implicit{}
	issue, err := g.Exchange(t.Context(), request())
	if err != nil || issue.User != nil || issue.RefreshToken != "" || !issue.ReadOnly || issue.Commit != nil || len(issue.Scopes) != 0 {
		t.Errorf("got %+v, %v", issue, err)
	}
	if !g.PublicClients() || g.Type() != "implicit" {
		t.Errorf("type %q, for public clients %t", g.Type(), g.PublicClients())
	}
}
