package main

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

const (
	authorizePath = "/oauth2/authorize"
	callback      = "http://127.0.0.1:9999/callback"
	password      = "correct horse battery staple"
	// Of RFC 7636, Appendix B.
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// asking returns an authorization request; more are names and values, of which an
// empty one takes the parameter out.
func asking(more ...string) url.Values {
	q := url.Values{
		"response_type": {"code"}, "client_id": {"spa"}, "redirect_uri": {callback}, "state": {"st&te"}, "nonce": {"n1"},
		"scope":          {"openid profile offline_access customers:read"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(more); i += 2 {
		if q.Set(more[i], more[i+1]); more[i+1] == "" {
			q.Del(more[i])
		}
	}
	return q
}

// A browser keeps cookies and follows no redirect.
type browser struct {
	*fixture
	http.Client
}

func newBrowser(f *fixture) *browser {
	f.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.Fatal(err)
	}
	return &browser{f, http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (b *browser) send(r *http.Request, err error) *answer {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	response, err := b.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.Fatal(err)
	}
	return &answer{response.StatusCode, response.Header, body}
}

func (b *browser) open(q url.Values) *answer {
	b.Helper()
	return b.send(http.NewRequestWithContext(b.Context(), "GET", b.url+authorizePath+"?"+q.Encode(), nil))
}

// page opens the login page and returns its ticket.
func (b *browser) page(q url.Values) string {
	b.Helper()
	a := b.open(q)
	if a.status != http.StatusOK {
		b.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	return ticketIn(b.T, a)
}

var ticketField = regexp.MustCompile(`name="ticket" value="([^"]+)"`)

func ticketIn(t *testing.T, a *answer) string {
	t.Helper()
	m := ticketField.FindSubmatch(a.body)
	if m == nil {
		t.Fatalf("no ticket: %s", a.body)
	}
	return html.UnescapeString(string(m[1]))
}

func (b *browser) post(form url.Values, change ...func(*http.Request)) *answer {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), "POST", b.url+authorizePath, strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range change {
		c(r)
	}
	return b.send(r, nil)
}

func filled(ticket string) url.Values {
	return url.Values{"ticket": {ticket}, "username": {"admin"}, "password": {password}, "decision": {"approve"}}
}

// redirected returns what the client learns, with the issuer and the state that
// every answer has.
func (b *browser) redirected(a *answer, to string) url.Values {
	b.Helper()
	where, query, _ := strings.Cut(a.header.Get("Location"), "?")
	values, err := url.ParseQuery(query)
	if a.status != http.StatusSeeOther || where != to || err != nil {
		b.Fatalf("%d to %q, %v: %s", a.status, where, err, a.body)
	}
	if values.Get("iss") != "http://server.test" || values.Get("state") != "st&te" {
		b.Errorf("iss %q, state %q", values["iss"], values["state"])
	}
	return values
}

// code asks, logs in, allows, and returns the code.
func (b *browser) code(q url.Values) string {
	b.Helper()
	got := b.redirected(b.post(filled(b.page(q))), q.Get("redirect_uri"))
	if got.Get("code") == "" || got.Has("error") {
		b.Fatalf("%v", got)
	}
	return got.Get("code")
}

func TestLoginPage(t *testing.T) {
	b := newBrowser(newFixture(t, nil))
	a := b.open(asking())
	page := string(a.body)
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

func checkPageHeaders(t *testing.T, a *answer) {
	t.Helper()
	m := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindSubmatch(a.body)
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
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	cookie := a.header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Lax"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("Set-Cookie: %s lacks %s", cookie, want)
		}
	}
}

// TestLoginPageEscapes has a client and a scope that nobody put into words.
func TestLoginPageEscapes(t *testing.T) {
	f := newFixture(t, func(s *settings) {
		s.clients = memory(t, &store.Client{
			ID: "odd", Public: true, Name: `<script>alert("1")</script>`,
			Grants: []string{"authorization_code"}, Scopes: []string{"<b>&'"}, RedirectURIs: []string{callback},
		})
	})
	a := newBrowser(f).open(asking("client_id", "odd", "scope", "<b>&'"))
	if a.status != http.StatusOK || strings.Contains(string(a.body), "<script") || strings.Contains(string(a.body), "<b>") {
		t.Errorf("%d %s", a.status, a.body)
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
	b := newBrowser(newFixture(t, nil))
	a := b.post(url.Values{"ticket": {b.page(asking())}, "username": {""}, "password": {""}, "decision": {"deny"}})
	if got := b.redirected(a, callback); got.Get("error") != "access_denied" || got.Has("code") {
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
			b := newBrowser(newFixture(t, nil))
			form := filled(b.page(asking()))
			change(form)
			a := b.post(form)
			page := string(a.body)
			if a.status != http.StatusForbidden || !strings.Contains(page, `role="alert">The username or the password is wrong.`) {
				t.Fatalf("%d %s", a.status, page)
			}
			if !strings.Contains(page, `value="`+html.EscapeString(form.Get("username"))+`"`) || strings.Contains(page, "<script") ||
				strings.Count(page, `aria-invalid="true"`) != 2 || strings.Count(page, "autofocus") != 1 {
				t.Errorf("%s", page)
			}
			if got := b.redirected(b.post(filled(ticketIn(t, a))), callback); got.Get("code") == "" {
				t.Errorf("then the right one: %v", got)
			}
		})
	}
}

func TestNoDecision(t *testing.T) {
	for _, decision := range []string{"", "maybe", "APPROVE"} {
		b := newBrowser(newFixture(t, nil))
		form := filled(b.page(asking()))
		form.Set("decision", decision)
		if a := b.post(form); a.status != http.StatusBadRequest || ticketIn(t, a) == "" || !strings.Contains(string(a.body), `role="alert"`) {
			t.Errorf("%q: %d %s", decision, a.status, a.body)
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
			b := newBrowser(f)
			form := filled(b.page(asking()))
			form.Set("password", "wrong")
			for i := range guesses.Burst {
				form.Set("username", username(i))
				if a := b.post(form); a.status != http.StatusForbidden {
					t.Fatalf("guess %d: %d %s", i, a.status, a.body)
				}
			}
			right := filled(form.Get("ticket"))
			a := b.post(right)
			if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "1" || !strings.Contains(string(a.body), `role="alert"`) {
				t.Errorf("%d %v", a.status, a.header)
			}
			f.advance(time.Second)
			if got := b.redirected(b.post(right), callback); got.Get("code") == "" {
				t.Errorf("a second later: %v", got)
			}
		})
	}
}

// TestLoginLimitOfUser comes from two addresses, which share what the user has.
func TestLoginLimitOfUser(t *testing.T) {
	l := newLogin(&settings{now: func() time.Time { return time.Unix(1e9, 0) }})
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
	b := newBrowser(newFixture(t, nil))
	first, second := b.page(asking()), b.page(asking("scope", "openid"))
	for _, ticket := range []string{second, first} {
		if got := b.redirected(b.post(filled(ticket)), callback); got.Get("code") == "" {
			t.Errorf("%v", got)
		}
	}
	if a := b.post(filled(first)); a.status != http.StatusBadRequest || a.header.Get("Location") != "" {
		t.Errorf("the same form again: %d %s", a.status, a.body)
	}
}

// TestTicketsRefused has right credentials every time.
func TestTicketsRefused(t *testing.T) {
	for name, run := range map[string]func(b *browser, ticket string) *answer{
		"in another browser": func(b *browser, ticket string) *answer { return newBrowser(b.fixture).post(filled(ticket)) },
		"in another browser with a request of its own": func(b *browser, ticket string) *answer {
			other := newBrowser(b.fixture)
			other.page(asking())
			return other.post(filled(ticket))
		},
		"changed": func(b *browser, ticket string) *answer {
			i, changed := len(ticket)/2, byte('A')
			if ticket[i] == changed {
				changed = 'B'
			}
			return b.post(filled(ticket[:i] + string(changed) + ticket[i+1:]))
		},
		"shortened": func(b *browser, ticket string) *answer { return b.post(filled(ticket[:len(ticket)-1])) },
		"missing":   func(b *browser, _ string) *answer { return b.post(filled("")) },
		"twice": func(b *browser, ticket string) *answer {
			form := filled(ticket)
			form.Add("ticket", ticket)
			return b.post(form)
		},
		"in the query": func(b *browser, ticket string) *answer {
			return b.post(url.Values{}, func(r *http.Request) { r.URL.RawQuery = filled(ticket).Encode() })
		},
		"after ten minutes": func(b *browser, ticket string) *answer {
			b.advance(10 * time.Minute)
			return b.post(filled(ticket))
		},
		"from another site": func(b *browser, ticket string) *answer {
			return b.post(filled(ticket), func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
		},
		"from another origin": func(b *browser, ticket string) *answer {
			return b.post(filled(ticket), func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(newFixture(t, nil))
			a := run(b, b.page(asking()))
			if a.status != http.StatusBadRequest || a.header.Get("Location") != "" || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %v %s", a.status, a.header, a.body)
			}
		})
	}
}

func TestTicketLastsNearlyTenMinutes(t *testing.T) {
	b := newBrowser(newFixture(t, nil))
	ticket := b.page(asking())
	b.advance(10*time.Minute - time.Second)
	if got := b.redirected(b.post(filled(ticket)), callback); got.Get("code") == "" {
		t.Errorf("%v", got)
	}
}

func TestShownAndNeverRedirected(t *testing.T) {
	b := newBrowser(newFixture(t, nil))
	for name, q := range map[string]url.Values{
		"unknown client":   asking("client_id", "nobody"),
		"no client":        asking("client_id", ""),
		"disabled client":  asking("client_id", "disabled"),
		"another redirect": asking("redirect_uri", "https://evil.example/callback"),
		"another path":     asking("redirect_uri", callback+"/"),
		"another host":     asking("redirect_uri", "http://localhost:9999/callback"),
		"with a query":     asking("redirect_uri", callback+"?x=1"),
		"with a user":      asking("redirect_uri", "http://u@127.0.0.1:9999/callback"),
		"client twice":     func() url.Values { q := asking(); q.Add("client_id", "acme"); return q }(),
		"redirect twice":   func() url.Values { q := asking(); q.Add("redirect_uri", callback); return q }(),
	} {
		a := b.open(q)
		if a.status < 400 || a.status >= 500 || a.header.Get("Location") != "" || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
		}
	}
}

func TestErrorsForTheClient(t *testing.T) {
	b := newBrowser(newFixture(t, nil))
	for name, test := range map[string]struct {
		q    url.Values
		want string
	}{
		"public without PKCE":       {asking("code_challenge", "", "code_challenge_method", ""), "invalid_request"},
		"confidential without PKCE": {asking("client_id", "acme", "code_challenge", "", "code_challenge_method", ""), "invalid_request"},
		"PKCE plain":                {asking("code_challenge_method", "plain"), "invalid_request"},
		"PKCE without a method":     {asking("code_challenge_method", ""), "invalid_request"},
		"short challenge":           {asking("code_challenge", "short"), "invalid_request"},
		"implicit":                  {asking("response_type", "token"), "unsupported_response_type"},
		"no response type":          {asking("response_type", ""), "invalid_request"},
		"a scope of others":         {asking("scope", "openid customers:create"), "invalid_scope"},
	} {
		if got := b.redirected(b.open(test.q), callback); got.Get("error") != test.want || got.Has("code") {
			t.Errorf("%s: %v, want %s", name, got, test.want)
		}
	}
}

func TestLoopbackPort(t *testing.T) {
	b := newBrowser(newFixture(t, nil))
	const other = "http://127.0.0.1:51004/callback"
	code := b.code(asking("redirect_uri", other))
	if a := b.redeem("spa", code, "redirect_uri", callback); a.status != http.StatusBadRequest {
		t.Errorf("redeemed for the registered port: %d %s", a.status, a.body)
	}
	b.issued(b.redeem("spa", code, "redirect_uri", other))
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
	b := newBrowser(newFixture(t, func(s *settings) { s.users = loaded.users }))
	for username, want := range map[string]string{"some": "customers:read", "none": ""} {
		form := filled(b.page(asking()))
		form.Set("username", username)
		form.Set("password", "p")
		got := b.issued(b.redeem("spa", b.redirected(b.post(form), callback).Get("code")))
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
	b := newBrowser(newFixture(t, func(s *settings) {
		u := *s.users["admin"]
		u.ID = "client:acme" // which Approve refuses
		s.users = users{"admin": &u}
	}))
	a := b.post(filled(b.page(asking())))
	if a.status != http.StatusServiceUnavailable || ticketIn(t, a) == "" || strings.Contains(string(a.body), "client:") {
		t.Errorf("%d %s", a.status, a.body)
	}
}
