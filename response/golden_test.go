package response_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
)

var update = flag.Bool("update", false, "write the golden files")

const goldenDir = "testdata/golden"

// envelopes are all variants whose bytes differ.
var envelopes = []struct {
	name string
	response.Formatter
}{
	{"oauth", response.OAuth{}},
	{"data", response.Data{}},
	{"data_flat", response.Data{Shape: response.Flat}},
	{"data_both", response.Data{Shape: response.Both}},
	{"meta", response.Meta{}},
	{"coded", response.Coded{}},
	{"content", response.Content{}},
	{"content_hide_unknown", response.Content{HideUnknown: true}},
}

var places = []response.Place{response.Endpoint, response.Guard}

func tokens() map[string]*response.Token {
	client := &response.Subject{ID: "acme", Number: 1, Name: "Acme Integration", Description: "Nightly catalogue sync", Roles: []int64{1, 2}}
	user := &response.Subject{ID: "u-7", Number: 7, Name: "Ada Admin", Description: "Back office", Username: "admin", Roles: []int64{1}}
	rolesNil := func(s response.Subject) *response.Subject { s.Roles = nil; return &s }
	plain := response.Token{
		AccessToken: "eyJh.eyJz.c2ln", Type: "Bearer", ExpiresIn: 3600,
		ExpiresAt: time.Unix(1524486008, 0), GrantType: "client_credentials", Client: client,
	}
	with := func(change func(*response.Token)) *response.Token {
		t := plain
		change(&t)
		return &t
	}
	return map[string]*response.Token{
		"token_client":          &plain,
		"token_scope":           with(func(t *response.Token) { t.Scope = "customers:read customers:create" }),
		"token_client_no_roles": with(func(t *response.Token) { t.Client = rolesNil(*client) }),
		"token_implicit":        with(func(t *response.Token) { t.GrantType = "implicit" }),
		"token_user":            with(func(t *response.Token) { t.GrantType, t.User = "password", user }),
		"token_user_no_roles":   with(func(t *response.Token) { t.GrantType, t.User = "password", rolesNil(*user) }),
		"token_full": with(func(t *response.Token) {
			t.GrantType, t.User = "authorization_code", user
			t.Scope, t.RefreshToken, t.IDToken = "openid offline_access", "r.abc.1.s.m", "eyJh.eyJp.c2ln"
		}),
	}
}

func failure(reason response.Reason, at response.Place) *response.Failure {
	f := response.Fail(reason)
	switch reason {
	case response.ParameterMissing:
		f = response.Missing("client_id")
	case response.ScopeLacking:
		f.Scope = "read"
	case response.Throttled, response.Unavailable, response.Overloaded:
		f.RetryAfter = 30 * time.Second
	}
	f.Place = at
	return f
}

func must(t testing.TB, r response.Reply, err error) response.Reply {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// render writes a reply as HTTP would, sorted. The last newline is the file's.
func render(r response.Reply) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d %s\n", r.Status, http.StatusText(r.Status))
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, v := range r.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", r.Body)
	return b.Bytes()
}

// cases returns every reply of the five envelopes by the name of its file.
func cases(t testing.TB) map[string]response.Reply {
	all := map[string]response.Reply{}
	for _, e := range envelopes {
		for name, token := range tokens() {
			r, err := e.Token(token)
			all[filepath.Join(e.name, string(response.Endpoint), name+".json")] = must(t, r, err)
		}
		for _, at := range places {
			for _, reason := range response.Reasons(at) {
				r, err := e.Failure(failure(reason, at))
				all[filepath.Join(e.name, string(at), string(reason)+".json")] = must(t, r, err)
			}
		}
	}
	return all
}

func TestGolden(t *testing.T) {
	all := cases(t)
	if *update {
		write(t, all)
	}
	for name, r := range all {
		want, err := os.ReadFile(filepath.Join(goldenDir, name))
		if err != nil {
			t.Errorf("%v; run with -update and read the difference", err)
			continue
		}
		if got := render(r); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got: %s\nwant: %s", name, got, want)
		}
	}
	err := filepath.WalkDir(goldenDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(goldenDir, path)
		if _, owned := all[name]; !owned && err == nil {
			t.Errorf("%s belongs to no case", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, all map[string]response.Reply) {
	t.Helper()
	err := os.RemoveAll(goldenDir)
	for name, r := range all {
		path := filepath.Join(goldenDir, name)
		err = errors.Join(err,
			os.MkdirAll(filepath.Dir(path), 0o750),
			os.WriteFile(path, render(r), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}
