package grant_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
)

type authenticate = func(context.Context, string, string) (*grant.User, error)

func always(u *grant.User, err error) authenticate {
	return func(context.Context, string, string) (*grant.User, error) { return u, err }
}

func user(scopes ...string) *grant.User {
	return &grant.User{Subject: response.Subject{ID: "u"}, Scopes: scopes}
}

func reasonOf(err error) response.Reason {
	var f *response.Failure
	if errors.As(err, &f) {
		return f.Reason
	}
	return ""
}

func login() *grant.Request { return request("username", "ada", "password", "pass") }

func TestPasswordValidate(t *testing.T) {
	for _, tt := range []struct {
		p    *grant.Password
		fine bool
	}{
		{&grant.Password{}, false},
		{&grant.Password{Authenticate: always(nil, nil)}, true},
		{&grant.Password{Authenticate: always(nil, nil), Concurrency: 1}, true},
		{&grant.Password{Authenticate: always(nil, nil), Concurrency: -1}, false},
	} {
		if err := tt.p.Validate(); (err == nil) != tt.fine {
			t.Errorf("Concurrency %d: %v", tt.p.Concurrency, err)
		}
	}
}

func TestG8_RefusalsAndFailures(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want response.Reason
	}{
		{"unknown", grant.ErrUserUnknown, response.UserUnknown},
		{"wrong", grant.ErrWrongPassword, response.PasswordWrong},
		{"locked", grant.ErrUserLocked, response.UserLocked},
		{"wrapped", fmt.Errorf("x: %w", grant.ErrUserLocked), response.UserLocked},
		{"a failure of its own", response.Fail(response.GrantRefused), response.GrantRefused},
		{"unexpected", io.ErrUnexpectedEOF, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			issue, err := (&grant.Password{Authenticate: always(nil, tt.err)}).Exchange(t.Context(), login())
			if issue != nil || err == nil || reasonOf(err) != tt.want || tt.want == "" && !errors.Is(err, tt.err) {
				t.Errorf("got %+v, %v", issue, err)
			}
		})
	}
}

func TestG8_NeitherUserNorError(t *testing.T) {
	for _, u := range []*grant.User{nil, {}} {
		if issue, err := (&grant.Password{Authenticate: always(u, nil)}).Exchange(t.Context(), login()); err == nil || reasonOf(err) != "" {
			t.Errorf("%+v: got %+v, %v", u, issue, err)
		}
	}
}

func TestG8_Caps(t *testing.T) {
	called := false
	p := &grant.Password{Authenticate: func(context.Context, string, string) (*grant.User, error) {
		called = true
		return user(), nil
	}}
	tests := []struct {
		name, username, password string
		want                     response.Reason
	}{
		{"longest", strings.Repeat("u", 256), strings.Repeat("p", 1024), ""},
		{"not ASCII", "ädä", "pä ss wörd", ""},
		{"long name", strings.Repeat("u", 257), "p", response.UserUnknown},
		{"long password", "u", strings.Repeat("p", 1025), response.PasswordWrong},
		{"NUL in the name", "u\x00", "p", response.UserUnknown},
		{"no UTF-8 in the name", "\xff", "p", response.UserUnknown},
		{"C1 in the name", "u\u0085", "p", response.UserUnknown},
		{"DEL in the password", "u", "p\x7f", response.PasswordWrong},
		{"no UTF-8 in the password", "u", "p\xc3", response.PasswordWrong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			called = false
			_, err := p.Exchange(t.Context(), request("username", tt.username, "password", tt.password))
			if reasonOf(err) != tt.want || called != (tt.want == "") {
				t.Errorf("got %v, called %t", err, called)
			}
		})
	}
	for _, missing := range []string{"username", "password"} {
		r := login()
		r.Params = slices.DeleteFunc(r.Params, func(x grant.Param) bool { return x.Name == missing })
		_, err := p.Exchange(t.Context(), r)
		var f *response.Failure
		if !errors.As(err, &f) || f.Reason != response.ParameterMissing || f.Param != missing {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

func TestG8_ScopesOfTheUser(t *testing.T) {
	tests := []struct {
		name                        string
		asked, defaults, user, want []string
		refused                     bool
	}{
		{name: "any user scopes", asked: []string{"read", "write"}, want: []string{"read", "write"}},
		{name: "asked and had", asked: []string{"read"}, user: []string{"read"}, want: []string{"read"}},
		{name: "asked and not had", asked: []string{"read", "write"}, user: []string{"read"}, refused: true},
		{name: "asked of a user without", asked: []string{"read"}, user: []string{}, refused: true},
		{name: "default narrowed", defaults: []string{"read", "write"}, user: []string{"write", "admin"}, want: []string{"write"}},
		{name: "default of a user without", defaults: []string{"read"}, user: []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := login()
			r.Scopes, r.DefaultScopes = tt.asked, tt.defaults
			u := user()
			u.Scopes = tt.user
			issue, err := (&grant.Password{Authenticate: always(u, nil)}).Exchange(t.Context(), r)
			if tt.refused {
				if reasonOf(err) != response.ScopeInvalid {
					t.Errorf("got %+v, %v", issue, err)
				}
				return
			}
			if err != nil || !slices.Equal(issue.Scopes, tt.want) || issue.User == nil || issue.User.ID != "u" || issue.RefreshToken != "" || issue.ReadOnly {
				t.Errorf("got %+v, %v", issue, err)
			}
			if !slices.Equal(r.Scopes, tt.asked) || !slices.Equal(r.DefaultScopes, tt.defaults) {
				t.Errorf("the request was changed: %+v", r)
			}
		})
	}
}

func TestG8_LimitKeysTellApart(t *testing.T) {
	p := &grant.Password{}
	keys := func(client, username, address string) []string {
		r := request("username", username)
		r.Client.ID = client
		r.Address = netip.MustParsePrefix(address)
		return p.LimitKeys(r)
	}
	seen := map[string]string{}
	for _, who := range [][2]string{{"a", "b"}, {"a", "1:b"}, {"a1:", "b"}, {"ab", ""}, {"a", "bb"}, {"a|b", "c"}, {"a", "|bc"}, {"1", ":b"}, {"", "ab"}} {
		k := keys(who[0], who[1], "192.0.2.1/32")
		if len(k) != 2 {
			t.Fatalf("keys %q, want one of the user and one of the address", k)
		}
		if other, ok := seen[k[1]]; ok {
			t.Errorf("%q and %q share %q", who, other, k[1])
		}
		seen[k[1]] = fmt.Sprint(who)
	}
	if a, b := keys("a", "b", "192.0.2.1/32"), keys("a", "b", "192.0.2.2/32"); a[1] != b[1] || a[0] == b[0] {
		t.Errorf("two addresses: %q and %q", a, b)
	}
	if a, b := keys("a", "Ada", "192.0.2.1/32"), keys("a", "ADA", "192.0.2.1/32"); a[1] != b[1] {
		t.Errorf("two spellings of one name: %q and %q", a, b)
	}
	for _, name := range []string{strings.Repeat("\x00", 8000), strings.Repeat("u", 257), "a\n"} {
		if k := keys("a", name, "192.0.2.1/32"); len(k[1]) > 300 || strings.ContainsAny(k[1], "\x00\n") {
			t.Errorf("a name that no user has is in the key %q", k[1])
		}
	}
}

func TestG8_ContextHasADeadline(t *testing.T) {
	p := &grant.Password{Authenticate: func(ctx context.Context, _, _ string) (*grant.User, error) {
		if d, ok := ctx.Deadline(); !ok || time.Until(d) > 5*time.Second {
			t.Errorf("deadline %v, %t", d, ok)
		}
		return user(), nil
	}}
	if _, err := p.Exchange(t.Context(), login()); err != nil {
		t.Error(err)
	}
}

func TestG8_DefaultConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int64
		open := make(chan struct{})
		p := &grant.Password{Authenticate: func(context.Context, string, string) (*grant.User, error) {
			running.Add(1)
			<-open
			return user(), nil
		}}
		n := runtime.GOMAXPROCS(0)
		var overloaded atomic.Int64
		var wg sync.WaitGroup
		for range 5*n + 7 {
			wg.Go(func() {
				if _, err := p.Exchange(t.Context(), login()); reasonOf(err) == response.Overloaded {
					overloaded.Add(1)
				}
			})
		}
		synctest.Wait()
		if running.Load() != int64(n) || overloaded.Load() != 7 {
			t.Errorf("%d run and %d are refused, want %d and 7", running.Load(), overloaded.Load(), n)
		}
		close(open)
		wg.Wait()
	})
}

// Goexit and panics give their slot back.
func TestG8_NoSlotIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := func() { panic("canary") }
		p := &grant.Password{Concurrency: 1, Authenticate: func(context.Context, string, string) (*grant.User, error) {
			end()
			return user(), nil
		}}
		for _, end = range []func(){func() { panic("canary") }, runtime.Goexit} {
			var wg sync.WaitGroup
			for range 20 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					defer func() { _ = recover() }()
					_, _ = p.Exchange(t.Context(), login())
				}()
				wg.Wait()
			}
		}
		end = func() {}
		for range 20 {
			if _, err := p.Exchange(t.Context(), login()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
