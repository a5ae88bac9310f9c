package booth

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/examples/internal/boothtest"
	"github.com/tokenbooth/tokenbooth/store"
)

func TestLoginPage(t *testing.T) {
	b := boothtest.NewBrowser(newFixture(t, nil).Kit)
	a := b.Open(boothtest.Asking())
	page := string(a.Body)
	for _, want := range []string{
		"<strong dir=\"auto\">Single page app</strong> asks to:",
		"know which account is yours", "see your name and username", "stay connected while you are away", "see the customers",
		`<html lang="en">`, `name="viewport"`, `<form method="post">`,
		`<label for="username">`, `<label for="password">`,
		`id="username" name="username" value="" autocomplete="username"`, `autocomplete="current-password"`,
		`<button name="decision" value="approve">`, `<button name="decision" value="deny" formnovalidate>`,
		":focus-visible", "prefers-color-scheme: dark",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Count(page, "autofocus") != 1 || strings.Contains(page, "<script") || strings.Contains(page, `role="alert"`) || len(page) > 8<<10 {
		t.Errorf("%d bytes: %s", len(page), page)
	}
	if strings.Index(page, `value="approve"`) > strings.Index(page, `value="deny"`) {
		t.Error("the key Enter denies")
	}
	checkPageHeaders(t, a)
}

func checkPageHeaders(t *testing.T, a *boothtest.Answer) {
	t.Helper()
	m := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindSubmatch(a.Body)
	if m == nil {
		t.Fatal("no style")
	}
	sum := sha256.Sum256(m[1])
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store",
		"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; frame-ancestors 'none'",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	cookie := a.Header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Lax"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("Set-Cookie: %s lacks %s", cookie, want)
		}
	}
}

// TestLoginPageEscapes has a client and a scope that nobody put into words.
func TestLoginPageEscapes(t *testing.T) {
	f := newFixture(t, func(s *settings) {
		s.backend.Clients = memory(t, &store.Client{
			ID: "odd", Public: true, Name: `<script>alert("1")</script>`,
			Grants: []string{"authorization_code"}, Scopes: []string{"<b>&'"}, RedirectURIs: []string{boothtest.Callback},
		})
	})
	a := boothtest.NewBrowser(f.Kit).Open(boothtest.Asking("client_id", "odd", "scope", "<b>&'"))
	if a.Status != http.StatusOK || strings.Contains(string(a.Body), "<script") || strings.Contains(string(a.Body), "<b>") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func memory(t *testing.T, clients ...*store.Client) *store.Memory {
	t.Helper()
	m, err := store.NewMemory(clients...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDeny(t *testing.T) {
	b := boothtest.NewBrowser(newFixture(t, nil).Kit)
	a := b.Post(url.Values{"ticket": {b.Page(boothtest.Asking())}, "username": {""}, "password": {""}, "decision": {"deny"}})
	if got := b.Redirected(a, boothtest.Callback); got.Get("error") != "access_denied" || got.Has("code") {
		t.Errorf("%v", got)
	}
}

// TestWrongPassword goes on with the page that it got as its answer.
func TestWrongPassword(t *testing.T) {
	for name, change := range map[string]func(url.Values){
		"wrong password": func(form url.Values) { form.Set("password", "wrong") },
		"no password":    func(form url.Values) { form.Del("password") },
		"unknown name":   func(form url.Values) { form.Set("username", `nobody"><script>`) },
		"another case":   func(form url.Values) { form.Set("username", "Admin") },
	} {
		t.Run(name, func(t *testing.T) {
			b := boothtest.NewBrowser(newFixture(t, nil).Kit)
			form := boothtest.Filled(b.Page(boothtest.Asking()))
			change(form)
			a := b.Post(form)
			page := string(a.Body)
			if a.Status != http.StatusForbidden || !strings.Contains(page, `role="alert">The username or the password is wrong.`) {
				t.Fatalf("%d %s", a.Status, page)
			}
			if !strings.Contains(page, `value="`+html.EscapeString(form.Get("username"))+`"`) || strings.Contains(page, "<script") ||
				strings.Count(page, `aria-invalid="true"`) != 2 || strings.Count(page, "autofocus") != 1 {
				t.Errorf("%s", page)
			}
			if got := b.Redirected(b.Post(boothtest.Filled(boothtest.TicketIn(t, a))), boothtest.Callback); got.Get("code") == "" {
				t.Errorf("then the right one: %v", got)
			}
		})
	}
}

func TestNoDecision(t *testing.T) {
	for _, decision := range []string{"", "maybe", "APPROVE"} {
		b := boothtest.NewBrowser(newFixture(t, nil).Kit)
		form := boothtest.Filled(b.Page(boothtest.Asking()))
		form.Set("decision", decision)
		if a := b.Post(form); a.Status != http.StatusBadRequest || boothtest.TicketIn(t, a) == "" || !strings.Contains(string(a.Body), `role="alert"`) {
			t.Errorf("%q: %d %s", decision, a.Status, a.Body)
		}
	}
}

// TestLoginLimits holds the clock: no guess is regained.
func TestLoginLimits(t *testing.T) {
	for name, username := range map[string]func(i int) string{
		"of a user":     func(int) string { return "admin" },
		"of an address": func(i int) string { return "user" + string(rune('a'+i)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			b := boothtest.NewBrowser(f.Kit)
			form := boothtest.Filled(b.Page(boothtest.Asking()))
			form.Set("password", "wrong")
			for i := range guesses.Burst {
				form.Set("username", username(i))
				if a := b.Post(form); a.Status != http.StatusForbidden {
					t.Fatalf("guess %d: %d %s", i, a.Status, a.Body)
				}
			}
			right := boothtest.Filled(form.Get("ticket"))
			a := b.Post(right)
			if a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") != "1" || !strings.Contains(string(a.Body), `role="alert"`) {
				t.Errorf("%d %v", a.Status, a.Header)
			}
			f.Clock.Advance(time.Second)
			if got := b.Redirected(b.Post(right), boothtest.Callback); got.Get("code") == "" {
				t.Errorf("a second later: %v", got)
			}
		})
	}
}

// TestLoginLimitOfUser comes from two addresses, which share what the user has.
func TestLoginLimitOfUser(t *testing.T) {
	l := &login{limits: &tokenbooth.MemoryLimiter{Now: func() time.Time { return time.Unix(1e9, 0) }}}
	for i := range guesses.Burst + 1 {
		r := &http.Request{RemoteAddr: []string{"192.0.2.1:1", "[2001:db8::1]:1"}[i%2]}
		wait, err := l.limit(r.WithContext(t.Context()), []string{"admin", "ADMIN"}[i/2%2])
		if err != nil || wait > 0 != (i == guesses.Burst) {
			t.Errorf("guess %d: wait %v, %v", i, wait, err)
		}
	}
}

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7:80": "192.0.2.7/32", "[::ffff:192.0.2.7]:80": "192.0.2.7/32",
		"[2001:db8:1:2:3::4%eth0]:80": "2001:db8:1:2::/64", "@": "", "": "",
	} {
		if got := network(&http.Request{RemoteAddr: address}); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestTwoTabs(t *testing.T) {
	b := boothtest.NewBrowser(newFixture(t, nil).Kit)
	first, second := b.Page(boothtest.Asking()), b.Page(boothtest.Asking("scope", "openid"))
	for _, ticket := range []string{second, first} {
		if got := b.Redirected(b.Post(boothtest.Filled(ticket)), boothtest.Callback); got.Get("code") == "" {
			t.Errorf("%v", got)
		}
	}
	if a := b.Post(boothtest.Filled(first)); a.Status != http.StatusBadRequest || a.Header.Get("Location") != "" {
		t.Errorf("the same form again: %d %s", a.Status, a.Body)
	}
}

// TestTicketsRefused has right credentials every time.
func TestTicketsRefused(t *testing.T) {
	for name, run := range map[string]func(b *boothtest.Browser, ticket string) *boothtest.Answer{
		"in another browser": func(b *boothtest.Browser, ticket string) *boothtest.Answer {
			return boothtest.NewBrowser(b.Kit).Post(boothtest.Filled(ticket))
		},
		"in another browser with a request of its own": func(b *boothtest.Browser, ticket string) *boothtest.Answer {
			other := boothtest.NewBrowser(b.Kit)
			other.Page(boothtest.Asking())
			return other.Post(boothtest.Filled(ticket))
		},
		"changed": func(b *boothtest.Browser, ticket string) *boothtest.Answer {
			i, changed := len(ticket)/2, byte('A')
			if ticket[i] == changed {
				changed = 'B'
			}
			return b.Post(boothtest.Filled(ticket[:i] + string(changed) + ticket[i+1:]))
		},
		"shortened": func(b *boothtest.Browser, ticket string) *boothtest.Answer {
			return b.Post(boothtest.Filled(ticket[:len(ticket)-1]))
		},
		"missing": func(b *boothtest.Browser, _ string) *boothtest.Answer { return b.Post(boothtest.Filled("")) },
		"twice": func(b *boothtest.Browser, ticket string) *boothtest.Answer {
			form := boothtest.Filled(ticket)
			form.Add("ticket", ticket)
			return b.Post(form)
		},
		"in the query": func(b *boothtest.Browser, ticket string) *boothtest.Answer {
			return b.PostTo("?"+boothtest.Filled(ticket).Encode(), "")
		},
		"after ten minutes": func(b *boothtest.Browser, ticket string) *boothtest.Answer {
			b.Clock.Advance(10 * time.Minute)
			return b.Post(boothtest.Filled(ticket))
		},
		"from another site": func(b *boothtest.Browser, ticket string) *boothtest.Answer {
			return b.Post(boothtest.Filled(ticket), "Sec-Fetch-Site", "cross-site")
		},
		"from another origin": func(b *boothtest.Browser, ticket string) *boothtest.Answer {
			return b.Post(boothtest.Filled(ticket), "Origin", "https://evil.example")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := boothtest.NewBrowser(newFixture(t, nil).Kit)
			a := run(b, b.Page(boothtest.Asking()))
			if a.Status != http.StatusBadRequest || a.Header.Get("Location") != "" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
			}
		})
	}
}

func TestTicketLastsNearlyTenMinutes(t *testing.T) {
	b := boothtest.NewBrowser(newFixture(t, nil).Kit)
	ticket := b.Page(boothtest.Asking())
	b.Clock.Advance(10*time.Minute - time.Second)
	if got := b.Redirected(b.Post(boothtest.Filled(ticket)), boothtest.Callback); got.Get("code") == "" {
		t.Errorf("%v", got)
	}
}

func TestShownAndNeverRedirected(t *testing.T) {
	b := boothtest.NewBrowser(newFixture(t, nil).Kit)
	for name, q := range map[string]url.Values{
		"unknown client":   boothtest.Asking("client_id", "nobody"),
		"no client":        boothtest.Asking("client_id", ""),
		"disabled client":  boothtest.Asking("client_id", "disabled"),
		"another redirect": boothtest.Asking("redirect_uri", "https://evil.example/callback"),
		"another path":     boothtest.Asking("redirect_uri", boothtest.Callback+"/"),
		"another host":     boothtest.Asking("redirect_uri", "http://localhost:9999/callback"),
		"with a query":     boothtest.Asking("redirect_uri", boothtest.Callback+"?x=1"),
		"with a user":      boothtest.Asking("redirect_uri", "http://u@127.0.0.1:9999/callback"),
		"client twice":     func() url.Values { q := boothtest.Asking(); q.Add("client_id", "acme"); return q }(),
		"redirect twice":   func() url.Values { q := boothtest.Asking(); q.Add("redirect_uri", boothtest.Callback); return q }(),
	} {
		a := b.Open(q)
		if a.Status < 400 || a.Status >= 500 || a.Header.Get("Location") != "" || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %v %s", name, a.Status, a.Header, a.Body)
		}
	}
}

func TestErrorsForTheClient(t *testing.T) {
	b := boothtest.NewBrowser(newFixture(t, nil).Kit)
	for name, test := range map[string]struct {
		q    url.Values
		want string
	}{
		"public without PKCE":       {boothtest.Asking("code_challenge", "", "code_challenge_method", ""), "invalid_request"},
		"confidential without PKCE": {boothtest.Asking("client_id", "acme", "code_challenge", "", "code_challenge_method", ""), "invalid_request"},
		"PKCE plain":                {boothtest.Asking("code_challenge_method", "plain"), "invalid_request"},
		"PKCE without a method":     {boothtest.Asking("code_challenge_method", ""), "invalid_request"},
		"short challenge":           {boothtest.Asking("code_challenge", "short"), "invalid_request"},
		"implicit":                  {boothtest.Asking("response_type", "token"), "unsupported_response_type"},
		"no response type":          {boothtest.Asking("response_type", ""), "invalid_request"},
		"a scope of others":         {boothtest.Asking("scope", "openid customers:create"), "invalid_scope"},
	} {
		if got := b.Redirected(b.Open(test.q), boothtest.Callback); got.Get("error") != test.want || got.Has("code") {
			t.Errorf("%s: %v, want %s", name, got, test.want)
		}
	}
}

func TestLoopbackPort(t *testing.T) {
	b := boothtest.NewBrowser(newFixture(t, nil).Kit)
	const other = "http://127.0.0.1:51004/callback"
	code := b.Code(boothtest.Asking("redirect_uri", other))
	if a := b.Redeem("spa", code, "redirect_uri", boothtest.Callback); a.Status != http.StatusBadRequest {
		t.Errorf("redeemed for the registered port: %d %s", a.Status, a.Body)
	}
	b.Issued(b.Redeem("spa", code, "redirect_uri", other))
}

// TestUsersScopes has a user who may grant less than the client asks for, and one
// who may grant nothing.
func TestUsersScopes(t *testing.T) {
	loaded, err := parseFixtures([]byte(`{"clients": [], "users": [
		{"number": 1, "username": "some", "password": "p", "scopes": ["customers:read"]},
		{"number": 2, "username": "none", "password": "p"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	b := boothtest.NewBrowser(newFixture(t, func(s *settings) { s.users = loaded.users }).Kit)
	for username, want := range map[string]string{"some": "customers:read", "none": ""} {
		form := boothtest.Filled(b.Page(boothtest.Asking()))
		form.Set("username", username)
		form.Set("password", "p")
		got := b.Issued(b.Redeem("spa", b.Redirected(b.Post(form), boothtest.Callback).Get("code")))
		if got.Scope != want || got.RefreshToken != "" || got.IDToken != "" {
			t.Errorf("%s: %+v", username, got)
		}
	}
}

func TestAllowed(t *testing.T) {
	u := new(user)
	if got := allowed([]string{"a"}, &u.User); !slices.Equal(got, []string{"a"}) {
		t.Errorf("a user without a list: %q", got)
	}
	u.Scopes = []string{}
	if got := allowed([]string{"a"}, &u.User); got == nil || len(got) > 0 {
		t.Errorf("a user with an empty list: %#v", got)
	}
}

// TestLoginFails keeps the ticket, and tells the person nothing of the cause.
func TestLoginFails(t *testing.T) {
	b := boothtest.NewBrowser(newFixture(t, func(s *settings) {
		u := *s.users["admin"]
		u.ID = "client:acme" // which Approve refuses
		s.users = users{"admin": &u}
	}).Kit)
	a := b.Post(boothtest.Filled(b.Page(boothtest.Asking())))
	if a.Status != http.StatusServiceUnavailable || boothtest.TicketIn(t, a) == "" || strings.Contains(string(a.Body), "client:") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
