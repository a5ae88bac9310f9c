package tokenbooth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

const (
	usVerifier = "the-verifier-of-the-usual-authorization-request"
	usSecret   = "us-secret-of-every-client"
	usCallback = "https://web.example/cb"
)

func usChallenge() string {
	sum := sha256.Sum256([]byte(usVerifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// A usState is a State that does what fault says of each call, where it is set.
type usState struct {
	store.Memory
	mu    sync.Mutex
	fault func(call string) error
	wrote int
}

func (s *usState) set(fault func(call string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.wrote = fault, 0
}

func (s *usState) before(call, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		kind, rest, _ := strings.Cut(key, ":")
		if kind == "epoch" {
			of, _, _ := strings.Cut(rest, "=")
			kind += " " + of
		}
		if err := s.fault(call + " " + kind); err != nil {
			return err
		}
	}
	if call != "get" {
		s.wrote++
	}
	return nil
}

func (s *usState) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if err := s.before("get", key); err != nil {
		return nil, false, err
	}
	return s.Memory.Get(ctx, key)
}

func (s *usState) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	if err := s.before("create", key); err != nil {
		return false, err
	}
	return s.Memory.Create(ctx, key, val, expires)
}

func (s *usState) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	if err := s.before("swap", key); err != nil {
		return false, err
	}
	return s.Memory.Swap(ctx, key, old, val, expires)
}

// A usBooth is a handler with every grant of users, and a login that shows the
// ticket as its page and approves what is posted.
type usBooth struct {
	*epBooth
	state *usState
	login func(http.ResponseWriter, *http.Request, *AuthorizationRequest) // in place of the usual one
	shown int
	seen  *AuthorizationRequest
	err   error // of Approve
}

func usClients() []*store.Client {
	flow := []string{"authorization_code", "refresh_token", "client_credentials"}
	scopes := []string{"openid", "offline_access", "profile", "read", "write"}
	secrets := epSecrets(usSecret)
	return []*store.Client{
		{ID: "web", Secrets: secrets, Grants: flow, Scopes: scopes, RedirectURIs: []string{usCallback}},
		{ID: "old", Secrets: secrets, Grants: flow, Scopes: scopes, RedirectURIs: []string{"https://old.example/cb?tenant=7"}, WithoutPKCE: true},
		{ID: "app", Public: true, Grants: flow, Scopes: scopes, RedirectURIs: []string{
			"http://127.0.0.1/cb", "http://[::1]:8080/cb", "http://localhost/cb", "http://192.0.2.7/cb", "https://127.0.0.1/tls", "http://127.0.0.1/q?a=b", "com.example.app:/cb",
		}},
		{ID: "careless", Public: true, Grants: flow, Scopes: scopes, RedirectURIs: []string{usCallback}, WithoutPKCE: true},
		{ID: "off", Secrets: secrets, Grants: flow, Scopes: scopes, RedirectURIs: []string{usCallback}, Disabled: true},
		{ID: "stay", Secrets: secrets, Grants: flow, Scopes: scopes, RedirectURIs: []string{usCallback}, LongLived: true},
		{ID: "machine", Secrets: secrets, Grants: []string{"client_credentials"}, Scopes: scopes, RedirectURIs: []string{usCallback}},
		{ID: "rootless", Secrets: secrets, Grants: flow, Scopes: scopes},
		{ID: "api", Secrets: secrets, Grants: []string{"client_credentials"}, Audiences: []string{epIssuer}},
		{ID: "stranger", Secrets: secrets, Grants: []string{"client_credentials"}, Audiences: []string{"https://elsewhere.example"}},
	}
}

func usNew(t testing.TB, changes ...epChange) *usBooth {
	t.Helper()
	b := &usBooth{state: new(usState)}
	b.epBooth = epNew(t, nil, append([]epChange{func(c *HandlerConfig) {
		c.State, c.Limiter, c.Formatter = b.state, Unlimited{}, nil
		c.Grants = []grant.Grant{grant.ClientCredentials{}, grant.AuthorizationCode{}, grant.RefreshToken{}}
	}}, changes...)...)
	b.state.Now = b.clock.Now
	for _, c := range usClients() {
		b.clients.all[c.ID] = c
	}
	return b
}

func usFormatter(f response.Formatter) epChange {
	return func(c *HandlerConfig) { c.Formatter = f }
}

// change replaces a client's record by a changed copy.
func (b *usBooth) change(id string, change func(*store.Client)) {
	c := *b.clients.all[id]
	change(&c)
	b.clients.all[id] = &c
}

func (b *usBooth) page(w http.ResponseWriter, r *http.Request, a *AuthorizationRequest) {
	b.shown++
	b.seen = a
	switch {
	case b.login != nil:
		b.login(w, r, a)
	case r.Method == http.MethodGet:
		_, _ = io.WriteString(w, a.Ticket)
	case r.PostForm.Get("deny") != "":
		a.Deny(w, r)
	default:
		if b.err = a.Approve(w, r, response.Subject{ID: "user-7", Username: "ada"}); b.err != nil {
			w.WriteHeader(http.StatusTeapot)
		}
	}
}

// A usBrowser keeps cookies in the order in which they came.
type usBrowser struct {
	*usBooth
	cookies []*http.Cookie
}

func (b *usBooth) browser() *usBrowser { return &usBrowser{usBooth: b} }

func (u *usBrowser) send(r *http.Request, changes []func(*http.Request)) *httptest.ResponseRecorder {
	r.RemoteAddr = epAddress
	for _, c := range u.cookies {
		r.AddCookie(c)
	}
	for _, change := range changes {
		change(r)
	}
	w := httptest.NewRecorder()
	u.Authorize(u.page).ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() { //nolint:bodyclose // a recorder's
		u.cookies = slices.DeleteFunc(u.cookies, func(old *http.Cookie) bool { return old.Name == c.Name })
		if c.MaxAge >= 0 {
			u.cookies = append(u.cookies, c)
		}
	}
	return w
}

func (u *usBrowser) get(query string, changes ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "https://issuer.example/authorize", http.NoBody)
	r.URL.RawQuery = query
	return u.send(r, changes)
}

func (u *usBrowser) post(form string, changes ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "https://issuer.example/authorize", strings.NewReader(form))
	r.Header.Set("Content-Type", formMediaType)
	return u.send(r, changes)
}

// ticket starts a request and returns the ticket of its page.
func (u *usBrowser) ticket(t testing.TB, query string) string {
	t.Helper()
	w := u.get(query)
	if w.Code != http.StatusOK || u.seen == nil {
		t.Fatalf("no page: %d %s %s", w.Code, w.Body, w.Header())
	}
	return u.seen.Ticket
}

func (u *usBrowser) approve(ticket string) *httptest.ResponseRecorder {
	return u.post("ticket=" + url.QueryEscape(ticket))
}

// usQuery is the usual request of web with some parameters set, or removed where
// they are "-".
func usQuery(pairs ...string) string {
	v := url.Values{
		"client_id": {"web"}, "redirect_uri": {usCallback}, "response_type": {"code"}, "scope": {"openid offline_access read"},
		"state": {"a state"}, "nonce": {"a-nonce"}, "code_challenge": {usChallenge()}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(pairs); i += 2 {
		if v.Set(pairs[i], pairs[i+1]); pairs[i+1] == "-" {
			v.Del(pairs[i])
		}
	}
	return v.Encode()
}

// usLocation returns the redirect URI of an answer, which must begin with want,
// and the parameters behind it, each of which must stand there once.
func usLocation(t testing.TB, w *httptest.ResponseRecorder, want string) url.Values {
	t.Helper()
	all := w.Header()["Location"]
	if w.Code != http.StatusSeeOther || len(all) != 1 {
		t.Fatalf("no redirect: %d %s %q", w.Code, w.Body, all)
	}
	separator := "?"
	if strings.Contains(want, "?") {
		separator = "&"
	}
	rest, ok := strings.CutPrefix(all[0], want+separator)
	if !ok {
		t.Fatalf("the redirect goes to %q, want %q", all[0], want)
	}
	values, err := url.ParseQuery(rest)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range values {
		if len(v) != 1 {
			t.Errorf("%s is %q", name, v)
		}
	}
	if values.Get("iss") != epIssuer {
		t.Errorf("iss is %q (RFC 9207)", values.Get("iss"))
	}
	return values
}

// code runs the flow of a browser to its code.
func (b *usBooth) code(t testing.TB, pairs ...string) string {
	t.Helper()
	u := b.browser()
	values := usLocation(t, u.approve(u.ticket(t, usQuery(pairs...))), usCallback)
	if values.Get("code") == "" {
		t.Fatalf("no code: %s", values)
	}
	return values.Get("code")
}

type usTokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	IDToken      string `json:"id_token"`
	Scope        string `json:"scope"`
}

const usWeb = "&client_id=web&client_secret=" + usSecret

func usRedeem(code string) string {
	return "grant_type=authorization_code&code=" + code + "&redirect_uri=" + url.QueryEscape(usCallback) + "&code_verifier=" + usVerifier + usWeb
}

func usRefresh(token string) string {
	return "grant_type=refresh_token&refresh_token=" + token + usWeb
}

// tokens asks the token endpoint.
func (b *usBooth) tokens(t testing.TB, body string) (all usTokens) {
	t.Helper()
	w := b.post(body)
	if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil || all.AccessToken == "" {
		t.Fatalf("no tokens: %d %s", w.Code, w.Body)
	}
	return all
}

// refused asks the token endpoint for what it must not give.
func (b *usBooth) refused(t testing.TB, body, code string) {
	t.Helper()
	if w := b.post(body); w.Code/100 != 4 || !strings.Contains(w.Body.String(), `"error":"`+code) {
		t.Errorf("%d %s, want %s", w.Code, w.Body, code)
	}
}

// flow runs the whole flow.
func (b *usBooth) flow(t testing.TB, pairs ...string) usTokens {
	t.Helper()
	return b.tokens(t, usRedeem(b.code(t, pairs...)))
}

func TestAuthorize_Flow(t *testing.T) {
	b := usNew(t)
	u := b.browser()
	ticket := u.ticket(t, usQuery())
	if a := b.seen; a.Client.ID != "web" || strings.Join(a.Scopes, " ") != "openid offline_access read" ||
		!a.Expires.Equal(b.clock.Now().Add(10*time.Minute)) {
		t.Errorf("%+v", b.seen)
	}
	values := usLocation(t, u.approve(ticket), usCallback)
	if values.Get("state") != "a state" || len(values) != 3 {
		t.Errorf("%s", values)
	}
	all := b.tokens(t, usRedeem(values.Get("code")))
	if all.RefreshToken == "" || all.IDToken == "" || all.Scope != "openid offline_access read" {
		t.Errorf("%+v", all)
	}
	if len(u.cookies) != 0 {
		t.Errorf("%d cookies stay", len(u.cookies))
	}
	if status := gkStatus(t, b.Guard(), all.AccessToken); status != http.StatusNoContent {
		t.Errorf("the guard answers %d", status)
	}
}

// usShown are requests that the person sees refused and that are never
// redirected (RFC 6749 §4.1.2.1).
func usShown() map[string]string {
	shown := map[string]string{
		"nothing":             "",
		"no client":           usQuery("client_id", "-"),
		"empty client":        usQuery("client_id", ""),
		"unknown client":      usQuery("client_id", "nobody"),
		"client case":         usQuery("client_id", "WEB"),
		"huge client":         usQuery("client_id", strings.Repeat("w", 257)),
		"client control":      usQuery("client_id", "web\x00"),
		"client not UTF-8":    usQuery("client_id", "web\xff"),
		"client twice":        usQuery() + "&client_id=web",
		"client twice, empty": usQuery() + "&client_id=",
		"redirect twice":      usQuery() + "&redirect_uri=" + url.QueryEscape(usCallback),
		"redirect twice evil": usQuery() + "&redirect_uri=https%3A%2F%2Fevil.example",
		"disabled":            usQuery("client_id", "off"),
		"long-lived":          usQuery("client_id", "stay"),
		"no redirect of many": usQuery("client_id", "app", "redirect_uri", "-"),
		"no redirect at all":  usQuery("client_id", "rootless", "redirect_uri", "-"),
		"unregistered":        usQuery("client_id", "rootless"),
		"broken escape":       usQuery() + "&x=%zz",
		"semicolon":           usQuery() + "&x=1;y=2",
		"huge":                usQuery("state", strings.Repeat("s", 8<<10)),
	}
	for _, uri := range usBadRedirects {
		shown["redirect "+uri] = usQuery("redirect_uri", uri)
	}
	for _, uri := range []string{"https://old.example/cb", "https://old.example/cb?tenant=8", "https://old.example/cb?tenant=7&x=1", "https://old.example/cb?TENANT=7"} {
		shown["redirect "+uri] = usQuery("client_id", "old", "redirect_uri", uri)
	}
	for _, uri := range usBadLoopbacks {
		shown["loopback "+uri] = usQuery("client_id", "app", "redirect_uri", uri)
	}
	return shown
}

var usBadRedirects = []string{
	"https://WEB.example/cb", "HTTPS://web.example/cb", "https://web.example/CB", "https://web.example/cb/", "https://web.example/./cb",
	"https://web.example/x/../cb", "https://web.example//cb", "https://user@web.example/cb", "https://web.example/cb#", "https://web.example/cb#x",
	"https://web.example/%63b", "https://web.example/cb?", "https://web.example/cb?x=1", "https://web.example/cb&x=1", "https://web.example:443/cb",
	"http://web.example/cb", "https://web.example.evil.example/cb", "https://web.example@evil.example/cb", `https://web.example\@evil.example/cb`,
	"//web.example/cb", "/cb", "cb", " https://web.example/cb", "https://web.example/cb ", "javascript:alert(1)", "data:text/html,x",
	"https://web.example/cb\r\nSet-Cookie: a=b", "https://web.example/cb\x00", "https://web.example/cb\xff", "https://web.example/c\u0431",
	"https://web.example/cb" + strings.Repeat("x", 2100),
}

var usBadLoopbacks = []string{
	"http://localhost:5000/cb", "http://192.0.2.7:5000/cb", "https://127.0.0.1:5000/tls", "https://127.0.0.1:5000/cb", "http://127.0.0.2:5000/cb", "http://127.0.0.1:0/cb",
	"http://127.0.0.1:65536/cb", "http://127.0.0.1:99999/cb", "http://127.0.0.1:/cb", "http://127.0.0.1:080/cb", "http://127.0.0.1:+80/cb",
	"http://127.0.0.1:18446744073709551617/cb", "http://[::2]:5000/cb", "http://[0:0:0:0:0:0:0:1]:5000/cb", "http://127.1:5000/cb", "http://2130706433:5000/cb",
	"http://0x7f.0.0.1:5000/cb", "http://127.0.0.1:5000/cb/", "http://127.0.0.1:5000/cb?x", "http://127.0.0.1:5000/cb#x", "http://127.0.0.1:5000/cb#",
	"http://127.0.0.1:5000/./cb", "http://127.0.0.1:5000/%63b", "http://u@127.0.0.1:5000/cb", "http://127.0.0.1:5000@evil.example/cb",
	"http://127.0.0.1.evil.example:5000/cb", `http://127.0.0.1:5000\@evil.example/cb`, "http://::1:5000/cb", "http://[::1%25lo]:5000/cb",
	"http://[::ffff:127.0.0.1]:5000/cb", "HTTP://127.0.0.1:5000/cb", "http://127.0.0.1:5000/q", "http://127.0.0.1:5000/q?a=c", "http://127.0.0.1:5000",
	"http://[::1]/cb", "com.example.app:5000/cb", "com.example.app:/cb/", "com.example.app://cb",
}

func TestAuthorize_ShownNeverRedirected(t *testing.T) {
	for name, query := range usShown() {
		t.Run(name, func(t *testing.T) {
			b := usNew(t)
			w := b.browser().get(query)
			epHeaders(t, w)
			if w.Code < 400 || w.Code > 499 || w.Header()["Location"] != nil || w.Header()["Set-Cookie"] != nil || b.shown != 0 {
				t.Errorf("%d %s %s, the login ran %d times", w.Code, w.Header(), w.Body, b.shown)
			}
			if e := b.last(t); e.Status != w.Code || e.Reason == "" || len(b.all()) != 1 {
				t.Errorf("events %+v", b.all())
			}
		})
	}
}

func TestP8_AuthorizeClientID(t *testing.T) {
	b := usNew(t)
	unknown := b.browser().get(usQuery("client_id", "nobody"))
	for _, id := range []string{"web\x00", "web\xff", "off", "stay", strings.Repeat("w", 257)} {
		w := b.browser().get(usQuery("client_id", id))
		if w.Code != unknown.Code || w.Body.String() != unknown.Body.String() {
			t.Errorf("%q: %d %s, an unknown one %d %s", id, w.Code, w.Body, unknown.Code, unknown.Body)
		}
	}
}

func TestAuthorize_Loopback(t *testing.T) {
	for _, uri := range []string{
		"http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", "http://127.0.0.1:51004/q?a=b",
		"http://[::1]:8080/cb", "http://[::1]:61023/cb", "http://localhost/cb", "com.example.app:/cb",
	} {
		u := usNew(t).browser()
		if usLocation(t, u.approve(u.ticket(t, usQuery("client_id", "app", "redirect_uri", uri))), uri).Get("code") == "" {
			t.Errorf("%s: no code", uri)
		}
	}
}

// TestAuthorize_Redirects: what is known to be the client's redirect URI hears of
// mistakes, with its state, and with iss (RFC 9207).
func TestAuthorize_Redirects(t *testing.T) {
	cases := []struct{ name, query, code string }{
		{"no response_type", usQuery("response_type", "-"), "invalid_request"},
		{"empty response_type", usQuery("response_type", ""), "invalid_request"},
		{"token", usQuery("response_type", "token"), "unsupported_response_type"},
		{"hybrid", usQuery("response_type", "code id_token"), "unsupported_response_type"},
		{"response_type case", usQuery("response_type", "CODE"), "unsupported_response_type"},
		{"response_type space", usQuery("response_type", "code "), "unsupported_response_type"},
		{"response_type twice", usQuery() + "&response_type=code", "invalid_request"},
		{"fragment", usQuery("response_mode", "fragment"), "invalid_request"},
		{"form_post", usQuery("response_mode", "form_post"), "invalid_request"},
		{"response_mode twice", usQuery("response_mode", "query") + "&response_mode=", "invalid_request"},
		{"request", usQuery("request", "e30.e30."), "request_not_supported"},
		{"request_uri", usQuery("request_uri", "https://evil.example/r"), "request_uri_not_supported"},
		{"no prompt", usQuery("prompt", "none"), "login_required"},
		{"scope of another", usQuery("scope", "openid admin"), "invalid_scope"},
		{"scope case", usQuery("scope", "READ"), "invalid_scope"},
		{"scope with two spaces", usQuery("scope", "openid  read"), "invalid_scope"},
		{"scope not a token", usQuery("scope", `re"ad`), "invalid_scope"},
		{"scope control", usQuery("scope", "read\x00"), "invalid_request"},
		{"scope twice", usQuery() + "&scope=read", "invalid_request"},
		{"huge scope", usQuery("scope", strings.Repeat("read ", 500)+"read"), "invalid_scope"},
		{"nonce twice", usQuery() + "&nonce=b", "invalid_request"},
		{"nonce control", usQuery("nonce", "a\nb"), "invalid_request"},
		{"nonce not UTF-8", usQuery("nonce", "\xff"), "invalid_request"},
		{"no challenge", usQuery("code_challenge", "-", "code_challenge_method", "-"), "invalid_request"},
		{"no challenge of a public client", usQuery("client_id", "careless", "code_challenge", "-", "code_challenge_method", "-"), "invalid_request"},
		{"method alone", usQuery("code_challenge", "-"), "invalid_request"},
		{"plain", usQuery("code_challenge_method", "plain"), "invalid_request"},
		{"no method is plain", usQuery("code_challenge_method", "-"), "invalid_request"},
		{"method case", usQuery("code_challenge_method", "s256"), "invalid_request"},
		{"short challenge", usQuery("code_challenge", usChallenge()[1:]), "invalid_request"},
		{"long challenge", usQuery("code_challenge", usChallenge()+"A"), "invalid_request"},
		{"padded challenge", usQuery("code_challenge", usChallenge()+"="), "invalid_request"},
		{"challenge of base64", usQuery("code_challenge", strings.Repeat("+", 42)+"A"), "invalid_request"},
		{"challenge with loose bits", usQuery("code_challenge", strings.Repeat("A", 42)+"B"), "invalid_request"},
		{"challenge twice", usQuery() + "&code_challenge=" + usChallenge(), "invalid_request"},
		{"method twice", usQuery() + "&code_challenge_method=plain", "invalid_request"},
		{"not for this client", usQuery("client_id", "machine"), "unauthorized_client"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := usNew(t)
			w := b.browser().get(c.query)
			values := usLocation(t, w, usCallback)
			if values.Get("error") != c.code || values.Get("state") != "a state" || values.Get("error_description") == "" || len(values) != 4 {
				t.Errorf("%s, want %s", values, c.code)
			}
			if b.shown != 0 || w.Header()["Set-Cookie"] != nil || w.Header().Get("Cache-Control") != "no-store" || w.Body.Len() != 0 {
				t.Errorf("the login ran %d times; %s %s", b.shown, w.Header(), w.Body)
			}
			if e := b.last(t); e.Status != http.StatusSeeOther || e.ClientID == "" {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestAuthorize_State: it comes back as it was, once, or not at all where it is
// not clear what it was; and it adds nothing of its own.
func TestAuthorize_State(t *testing.T) {
	for _, state := range []string{
		"x", "a b&code=evil&iss=evil#frag", "ü €", "%0d%0aLocation: x", `"<script>`, "+", strings.Repeat("s", 4000), strings.Repeat("<", 1200),
	} {
		u := usNew(t).browser()
		values := usLocation(t, u.approve(u.ticket(t, usQuery("state", state))), usCallback)
		if values.Get("state") != state || len(values) != 3 {
			t.Errorf("%q came back as %q", state, values.Get("state"))
		}
		values = usLocation(t, u.get(usQuery("state", state, "response_type", "x")), usCallback)
		if values.Get("state") != state || len(values) != 4 {
			t.Errorf("%q came back as %q", state, values.Get("state"))
		}
	}
	for name, query := range map[string]string{
		"line break": usQuery("state", "x\r\nSet-Cookie: a=b"),
		"not UTF-8":  usQuery("state", "\xc3\x28"),
		"twice":      usQuery() + "&state=a+state",
	} {
		w := usNew(t).browser().get(query)
		if values := usLocation(t, w, usCallback); values.Get("error") != "invalid_request" || values.Has("state") {
			t.Errorf("%s: %s", name, values)
		}
	}
	u := usNew(t).browser()
	for _, query := range []string{usQuery("state", "-"), usQuery("state", "")} {
		if values := usLocation(t, u.approve(u.ticket(t, query)), usCallback); values.Has("state") {
			t.Errorf("a state out of nothing: %s", values)
		}
	}
}

// TestAuthorize_LongState: a request that the login page could not send back is
// refused before it is shown.
func TestAuthorize_LongState(t *testing.T) {
	for n := range 80 {
		u := usNew(t).browser()
		raw := strings.Replace(usQuery("state", "STATE"), "STATE", strings.Repeat("<", 100*n), 1)
		if w := u.get(raw); w.Code == http.StatusOK {
			usLocation(t, u.approve(u.seen.Ticket), usCallback)
		} else if w.Code < 300 || w.Code > 499 {
			t.Errorf("%d: %d %s", n, w.Code, w.Body)
		}
	}
}

// TestAuthorize_RegisteredQuery: the answer is added to a query of the registered
// URI, which stays as it is (RFC 6749 §3.1.2).
func TestAuthorize_RegisteredQuery(t *testing.T) {
	u := usNew(t).browser()
	const uri = "https://old.example/cb?tenant=7"
	values := usLocation(t, u.approve(u.ticket(t, usQuery("client_id", "old", "redirect_uri", uri))), uri)
	if values.Get("code") == "" || values.Get("state") != "a state" {
		t.Errorf("%s", values)
	}
	usLocation(t, u.get(usQuery("client_id", "old", "redirect_uri", uri, "response_type", "x")), uri)
}

func TestAuthorize_WithoutPKCE(t *testing.T) {
	u := usNew(t).browser()
	const uri = "https://old.example/cb?tenant=7"
	query := usQuery("client_id", "old", "redirect_uri", "-", "code_challenge", "-", "code_challenge_method", "-")
	code := usLocation(t, u.approve(u.ticket(t, query)), uri).Get("code")
	body := "grant_type=authorization_code&client_id=old&client_secret=" + usSecret + "&code=" + code
	u.refused(t, body+"&code_verifier="+usVerifier, "invalid_grant")
	u.refused(t, body+"&redirect_uri="+url.QueryEscape(uri), "invalid_grant")
	u.tokens(t, body)
}

func TestAuthorize_DefaultScopes(t *testing.T) {
	b := usNew(t, func(c *HandlerConfig) { c.DefaultScopes = []string{"read", "of-others"} })
	u := b.browser()
	u.ticket(t, usQuery("scope", "-"))
	if !slices.Equal(b.seen.Scopes, []string{"read"}) {
		t.Errorf("%q", b.seen.Scopes)
	}
	u.ticket(t, usQuery("scope", "read read write"))
	if !slices.Equal(b.seen.Scopes, []string{"read", "write"}) {
		t.Errorf("%q", b.seen.Scopes)
	}
}

func TestH1_AuthorizeMethods(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		b := usNew(t, usFormatter(e.formatter))
		for _, method := range []string{"PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "get"} {
			w := b.browser().get(usQuery(), func(r *http.Request) { r.Method = method })
			epHeaders(t, w)
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, POST" || b.shown != 0 {
				t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
			}
		}
	})
}

// TestAuthorize_Envelopes keeps what a person sees in each envelope.
func TestAuthorize_Envelopes(t *testing.T) {
	var golden strings.Builder
	for _, c := range []struct {
		name  string
		serve func(*usBrowser) *httptest.ResponseRecorder
	}{
		{"unknown client", func(u *usBrowser) *httptest.ResponseRecorder { return u.get(usQuery("client_id", "nobody")) }},
		{"disabled client", func(u *usBrowser) *httptest.ResponseRecorder { return u.get(usQuery("client_id", "off")) }},
		{"no client", func(u *usBrowser) *httptest.ResponseRecorder { return u.get("") }},
		{"redirect", func(u *usBrowser) *httptest.ResponseRecorder {
			return u.get(usQuery("redirect_uri", "https://evil.example"))
		}},
		{"client twice", func(u *usBrowser) *httptest.ResponseRecorder { return u.get(usQuery() + "&client_id=web") }},
		{"ticket", func(u *usBrowser) *httptest.ResponseRecorder { return u.post("ticket=x") }},
		{"method", func(u *usBrowser) *httptest.ResponseRecorder {
			return u.get("", func(r *http.Request) { r.Method = http.MethodPut })
		}},
		{"store", func(u *usBrowser) *httptest.ResponseRecorder {
			u.clients.fail(func(context.Context, string) (*store.Client, error) { return nil, store.ErrUnavailable })
			return u.get(usQuery())
		}},
	} {
		before := ""
		for _, e := range epEnvelopes {
			w := c.serve(usNew(t, usFormatter(e.formatter)).browser())
			epHeaders(t, w)
			for _, name := range []string{"X-Frame-Options", "Content-Security-Policy", "Referrer-Policy"} {
				if w.Header().Get(name) == "" {
					t.Errorf("%s: no %s", c.name, name)
				}
				w.Header().Del(name)
			}
			if answer := epRender(w); answer != before {
				fmt.Fprintf(&golden, "%s: %s: %s", c.name, e.name, answer)
				before = answer
			}
		}
		golden.WriteByte('\n')
	}
	epGolden(t, filepath.Join("testdata", "answers", "authorize.golden"), golden.String())
}

func TestC8_AuthorizeStore(t *testing.T) {
	for name, c := range map[string]struct {
		fault  epFault
		status int
	}{
		"unavailable": {func(context.Context, string) (*store.Client, error) { return nil, store.ErrUnavailable }, 503},
		"broken":      {func(context.Context, string) (*store.Client, error) { return nil, errors.New("broken") }, 500},
		"panics":      {func(context.Context, string) (*store.Client, error) { panic("x") }, 500},
		"nothing":     {func(context.Context, string) (*store.Client, error) { return nil, nil }, 500}, //nolint:nilnil // a bad store
		"another":     {func(context.Context, string) (*store.Client, error) { return &store.Client{ID: "x"}, nil }, 500},
		"hangs": {func(ctx context.Context, _ string) (*store.Client, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := usNew(t)
				u := b.browser()
				ticket := u.ticket(t, usQuery())
				b.clients.fail(c.fault)
				for _, w := range []*httptest.ResponseRecorder{
					u.get(usQuery()), u.get(usQuery("redirect_uri", "https://evil.example")), u.approve(ticket),
				} {
					epHeaders(t, w)
					if w.Code != c.status || w.Header()["Location"] != nil || b.shown != 1 {
						t.Errorf("%d %s %s", w.Code, w.Header(), w.Body)
					}
				}
				b.clients.heal()
				usLocation(t, u.approve(ticket), usCallback)
			})
		})
	}
}

// TestAuthorize_LoginPanics: the login is the host's handler, and what becomes of
// its panics is for the host to say.
func TestAuthorize_LoginPanics(t *testing.T) {
	b := usNew(t)
	b.login = func(http.ResponseWriter, *http.Request, *AuthorizationRequest) { panic("the host's own") }
	defer func() {
		if v := recover(); v != "the host's own" {
			t.Errorf("got %v", v)
		}
	}()
	b.browser().get(usQuery())
	t.Error("no panic")
}

func TestAuthorize_PageHeaders(t *testing.T) {
	b := usNew(t)
	u := b.browser()
	ticket := u.ticket(t, usQuery())
	for name, w := range map[string]*httptest.ResponseRecorder{
		"page": u.get(usQuery()), "shown": u.get(""), "redirected": u.get(usQuery("scope", "x")), "approved": u.approve(ticket),
	} {
		for header, want := range map[string]string{
			"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Content-Security-Policy": "frame-ancestors 'none'", "Referrer-Policy": "same-origin",
		} {
			if got := w.Header()[header]; len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q", name, header, got)
			}
		}
	}
}

func TestAuthorize_Cookie(t *testing.T) {
	for issuer, secure := range map[string]bool{epIssuer: true, "http://127.0.0.1:8080": false} {
		u := usNew(t, func(c *HandlerConfig) { c.Issuer = issuer }).browser()
		u.ticket(t, usQuery())
		c := u.cookies[0]
		if len(u.cookies) != 1 || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure != secure || c.MaxAge != 600 || c.Path != "" || c.Domain != "" {
			t.Errorf("%s: %s", issuer, c)
		}
		if len(c.Value) < 43 || strings.Contains(u.seen.Ticket, c.Value) {
			t.Errorf("%s", c)
		}
	}
}

// TestAuthorize_AnyMount: a browser sends the cookie back under whatever prefix
// the handler is mounted.
func TestAuthorize_AnyMount(t *testing.T) {
	for mount, path := range map[string]string{"/oauth/v2": "/oauth/v2/authorize", "": "/authorize", "/a b;c": "/a%20b%3Bc/authorize", "/x/y": "/x/y/"} {
		b := usNew(t, func(c *HandlerConfig) { c.Issuer = "http://127.0.0.1" })
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.URL.Path, r.URL.RawPath = strings.TrimPrefix(r.URL.Path, mount), ""
			b.Authorize(b.page).ServeHTTP(w, r)
		}))
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		page, err := client.Get(server.URL + path + "?" + usQuery())
		if err != nil {
			t.Fatal(err)
		}
		ticket, _ := io.ReadAll(page.Body)
		_ = page.Body.Close()
		answer, err := client.PostForm(server.URL+path, url.Values{"ticket": {string(ticket)}})
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusSeeOther {
			t.Errorf("%q: %s", mount, answer.Status)
		}
		server.Close()
	}
}

func TestTicket_Tampered(t *testing.T) {
	b := usNew(t)
	u := b.browser()
	ticket := u.ticket(t, usQuery())
	cookie := *u.cookies[0]
	refuse := func(name, form string, changes ...func(*http.Request)) {
		t.Helper()
		u.cookies = []*http.Cookie{&cookie}
		before := b.shown
		w := u.post(form, changes...)
		if epHeaders(t, w); w.Code != http.StatusBadRequest || b.shown != before || w.Header()["Location"] != nil {
			t.Fatalf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for i := range ticket {
		changed := []byte(ticket)
		if changed[i] = 'A'; ticket[i] == 'A' {
			changed[i] = 'B'
		}
		refuse(fmt.Sprintf("character %d", i), "ticket="+string(changed))
	}
	for _, n := range []int{0, 1, 15, 16, 17, 40, len(ticket) - 1} {
		refuse("cut", "ticket="+ticket[:n])
	}
	for name, form := range map[string]string{
		"none": "", "empty": "ticket=", "twice": "ticket=" + ticket + "&ticket=" + ticket, "longer": "ticket=" + ticket + "A",
		"line break": "ticket=" + ticket + "%0A", "padded": "ticket=" + ticket + "%3D", "huge": "ticket=" + strings.Repeat("A", maxTicket+1),
		"broken": "ticket=" + ticket + "&x=%zz", "upper": "TICKET=" + ticket,
	} {
		refuse(name, form)
	}
	refuse("in the URL", "", func(r *http.Request) { r.URL.RawQuery = "ticket=" + ticket })
	refuse("as JSON", `{"ticket":"`+ticket+`"}`, epHeader("Content-Type", jsonMediaType))
	refuse("cookie of another value", "ticket="+ticket, func(r *http.Request) {
		r.Header.Set("Cookie", cookie.Name+"="+cookie.Value+"A")
	})
	refuse("cookie of another name", "ticket="+ticket, func(r *http.Request) {
		r.Header.Set("Cookie", "tokenbooth-AAAAAAAAAAAAAAAA="+cookie.Value)
	})
	refuse("both of another name", "ticket=AAAAAAAAAAAAAAAA"+ticket[bindingChars:], func(r *http.Request) {
		r.Header.Set("Cookie", "tokenbooth-AAAAAAAAAAAAAAAA="+cookie.Value)
	})
	refuse("no cookie", "ticket="+ticket, func(r *http.Request) { r.Header.Del("Cookie") })
	u.cookies = []*http.Cookie{&cookie}
	usLocation(t, u.approve(ticket), usCallback)
	if w := u.post("ticket=" + strings.Repeat("A", maxLoginForm)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a huge form: %d", w.Code)
	}
}

// TestTicket_Planted: where a page of the same site planted a cookie of the same
// name, which comes first, the right one still opens the ticket.
func TestTicket_Planted(t *testing.T) {
	u := usNew(t).browser()
	ticket := u.ticket(t, usQuery())
	planted := *u.cookies[0]
	planted.Value = "planted"
	u.cookies = append([]*http.Cookie{&planted}, u.cookies...)
	usLocation(t, u.approve(ticket), usCallback)
}

func TestTicket_OtherBrowserOrHandler(t *testing.T) {
	key := func(c *HandlerConfig) { c.TicketKey = gkKey("HS256") }
	b := usNew(t, key)
	u, other := b.browser(), b.browser()
	ticket := u.ticket(t, usQuery())
	other.ticket(t, usQuery())
	if w := other.approve(ticket); w.Code != http.StatusBadRequest || b.last(t).Reason != response.AuthorizationRequestInvalid {
		t.Errorf("another browser: %d", w.Code)
	}
	for name, c := range map[string]struct {
		change epChange
		status int
	}{
		"same key":    {key, http.StatusSeeOther},
		"another key": {func(c *HandlerConfig) { c.TicketKey, _ = GenerateKey("HS256") }, http.StatusBadRequest},
		"no key":      {func(*HandlerConfig) {}, http.StatusBadRequest},
	} {
		elsewhere := usNew(t, c.change).browser()
		elsewhere.cookies = slices.Clone(u.cookies)
		if w := elsewhere.approve(ticket); w.Code != c.status {
			t.Errorf("a handler with %s: %d", name, w.Code)
		}
	}
}

func TestTicket_Expires(t *testing.T) {
	b := usNew(t)
	u := b.browser()
	first := u.ticket(t, usQuery())
	b.clock.move(10*time.Minute - time.Second)
	usLocation(t, u.approve(first), usCallback)
	second := u.ticket(t, usQuery())
	b.clock.move(10 * time.Minute)
	if w := u.approve(second); w.Code != http.StatusBadRequest {
		t.Errorf("after 10 minutes: %d", w.Code)
	}
}

// TestTicket_ClientChanged: what was taken from a client since the page was shown
// is gone.
func TestTicket_ClientChanged(t *testing.T) {
	for name, change := range map[string]func(*store.Client){
		"disabled":   func(c *store.Client) { c.Disabled = true },
		"long-lived": func(c *store.Client) { c.LongLived = true },
		"no grant":   func(c *store.Client) { c.Grants = []string{"client_credentials"} },
		"redirect":   func(c *store.Client) { c.RedirectURIs = []string{"https://web.example/new"} },
	} {
		b := usNew(t)
		u := b.browser()
		ticket := u.ticket(t, usQuery())
		b.change("web", change)
		if w := u.approve(ticket); w.Code/100 != 4 || w.Header()["Location"] != nil || b.shown != 1 {
			t.Errorf("%s: %d %s", name, w.Code, w.Header())
		}
	}
	b := usNew(t)
	u := b.browser()
	ticket := u.ticket(t, usQuery())
	delete(b.clients.all, "web")
	if w := u.approve(ticket); w.Code != http.StatusUnauthorized || w.Header()["Location"] != nil {
		t.Errorf("removed: %d", w.Code)
	}
}

func TestTicket_TwoTabs(t *testing.T) {
	u := usNew(t).browser()
	one := u.ticket(t, usQuery("state", "one"))
	two := u.ticket(t, usQuery("state", "two"))
	if got := usLocation(t, u.approve(two), usCallback).Get("state"); got != "two" {
		t.Errorf("state %q", got)
	}
	if got := usLocation(t, u.post("deny=1&ticket="+one), usCallback); got.Get("state") != "one" || got.Get("error") != "access_denied" {
		t.Errorf("%s", got)
	}
	if w := u.approve(two); w.Code != http.StatusBadRequest {
		t.Errorf("the ticket again: %d", w.Code)
	}
}

// TestTicket_ManyCookies: no page fills the jar of who visits it, nor makes the
// handler try what it planted.
func TestTicket_ManyCookies(t *testing.T) {
	b := usNew(t)
	u := b.browser()
	u.cookies = append(u.cookies, &http.Cookie{Name: "session", Value: "of-the-host"})
	for range 50 {
		u.ticket(t, usQuery())
	}
	if len(u.cookies) != 1+maxCookies || u.cookies[0].Name != "session" {
		t.Errorf("%d cookies: %s", len(u.cookies), u.cookies)
	}
	ticket := b.seen.Ticket
	usLocation(t, u.approve(ticket), usCallback)

	for i := range 2500 {
		u.cookies = append(u.cookies, &http.Cookie{Name: fmt.Sprintf("tokenbooth-%016d", i), Value: "planted"})
	}
	w := u.get(usQuery())
	if n := len(w.Header()["Set-Cookie"]); n != maxDropped+1 {
		t.Errorf("%d cookies in one answer", n)
	}
	ticket = b.seen.Ticket
	for range 100 {
		u.cookies = append(u.cookies, &http.Cookie{Name: "tokenbooth-" + ticket[:bindingChars], Value: "planted"})
	}
	tried, sealed := 0, b.tickets
	b.tickets = func() [32]byte {
		tried++
		return sealed()
	}
	u.cookies = slices.DeleteFunc(u.cookies, func(c *http.Cookie) bool { return c.Value != "planted" })
	u.approve(ticket)
	if tried != maxCookies {
		t.Errorf("%d cookies were tried", tried)
	}
}

func TestTicket_CrossSite(t *testing.T) {
	for _, c := range []struct {
		site, origin string
		good         bool
	}{
		{"same-origin", "https://issuer.example", true},
		{"same-origin", "null", true},
		{"none", "", true},
		{"", "https://issuer.example", true},
		{"", "", true},
		{"cross-site", "https://evil.example", false},
		{"cross-site", "", false},
		{"cross-site", "https://issuer.example", false},
		{"same-site", "https://blog.issuer.example", false},
		{"", "https://evil.example", false},
		{"", "null", false},
		{"", "https://issuer.example.evil.example", false},
		{"", "https://issuer.example:8443", false},
	} {
		b := usNew(t)
		u := b.browser()
		w := u.post("ticket="+u.ticket(t, usQuery()), func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", c.site)
			r.Header.Set("Origin", c.origin)
		})
		if good := w.Code == http.StatusSeeOther; good != c.good || !good && (w.Code != http.StatusBadRequest || b.shown != 1) {
			t.Errorf("%q %q: %d", c.site, c.origin, w.Code)
		}
	}
}

// approving runs Approve once by f.
func (b *usBooth) approving(t *testing.T, f func(*AuthorizationRequest, http.ResponseWriter, *http.Request) error) (*httptest.ResponseRecorder, error) {
	t.Helper()
	var err error
	b.login = func(w http.ResponseWriter, r *http.Request, a *AuthorizationRequest) { err = f(a, w, r) }
	defer func() { b.login = nil }()
	w := b.browser().get(usQuery())
	return w, err
}

func TestApprove_Twice(t *testing.T) {
	b := usNew(t)
	w, err := b.approving(t, func(a *AuthorizationRequest, w http.ResponseWriter, r *http.Request) error {
		if err := a.Approve(w, r, response.Subject{ID: "user-7"}); err != nil {
			t.Error(err)
		}
		a.Deny(w, r)
		return a.Approve(w, r, response.Subject{ID: "user-8"})
	})
	if err == nil || usLocation(t, w, usCallback).Get("code") == "" || b.state.wrote != 1 {
		t.Errorf("%v, %d writes", err, b.state.wrote)
	}
	w, err = b.approving(t, func(a *AuthorizationRequest, w http.ResponseWriter, r *http.Request) error {
		a.Deny(w, r)
		return a.Approve(w, r, response.Subject{ID: "user-8"})
	})
	if err == nil || usLocation(t, w, usCallback).Get("error") != "access_denied" || b.state.wrote != 1 {
		t.Errorf("%v, %d writes", err, b.state.wrote)
	}
}

func TestApprove_Scopes(t *testing.T) {
	for _, c := range []struct {
		scopes []string
		want   string
		good   bool
	}{
		{nil, "openid offline_access read", true},
		{[]string{}, "", true},
		{[]string{"read"}, "read", true},
		{[]string{"read", "openid", "read"}, "openid read", true},
		{[]string{"write"}, "", false},
		{[]string{"read", "READ"}, "", false},
		{[]string{""}, "", false},
	} {
		b := usNew(t)
		w, err := b.approving(t, func(a *AuthorizationRequest, w http.ResponseWriter, r *http.Request) error {
			return a.Approve(w, r, response.Subject{ID: "user-7"}, c.scopes...)
		})
		if c.good != (err == nil) {
			t.Fatalf("%q: %v", c.scopes, err)
		}
		if err != nil {
			usUnanswered(t, b, w)
			continue
		}
		all := b.tokens(t, usRedeem(usLocation(t, w, usCallback).Get("code")))
		if all.Scope != c.want || (all.RefreshToken != "") != strings.Contains(c.want, "offline") || (all.IDToken != "") != strings.Contains(c.want, "openid") {
			t.Errorf("%q: %+v", c.scopes, all)
		}
	}
}

// usUnanswered checks that a failed Approve wrote nothing anywhere.
func usUnanswered(t *testing.T, b *usBooth, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Header()["Location"] != nil || w.Body.Len() != 0 || b.state.wrote != 0 {
		t.Errorf("%s %s, %d writes", w.Header(), w.Body, b.state.wrote)
	}
}

func TestApprove_Subject(t *testing.T) {
	for _, id := range []string{"", "client:web", "client:", strings.Repeat("u", 257), "a\x00b", "\xff"} {
		b := usNew(t)
		w, err := b.approving(t, func(a *AuthorizationRequest, w http.ResponseWriter, r *http.Request) error {
			return a.Approve(w, r, response.Subject{ID: id})
		})
		if err == nil {
			t.Errorf("%q was approved", id)
		}
		usUnanswered(t, b, w)
	}
}

func TestApprove_StateFails(t *testing.T) {
	for _, call := range []string{"get epoch sub", "get epoch client", "create authz"} {
		for name, fault := range map[string]error{"unavailable": store.ErrUnavailable, "broken": errors.New("broken"), "panics": nil} {
			b := usNew(t)
			b.state.set(func(c string) error {
				if c != call {
					return nil
				}
				if fault == nil {
					panic("in the store")
				}
				return fault
			})
			again := errors.New("not tried again")
			w, err := b.approving(t, func(a *AuthorizationRequest, w http.ResponseWriter, r *http.Request) error {
				err := a.Approve(w, r, response.Subject{ID: "user-7"})
				if w.Header().Get("Location") == "" && b.state.wrote == 0 {
					b.state.set(nil)
					again = a.Approve(w, r, response.Subject{ID: "user-7"})
				}
				return err
			})
			if err == nil || fault != nil && !errors.Is(err, fault) || again != nil {
				t.Errorf("%s %s: %v, again %v", call, name, err, again)
			}
			usLocation(t, w, usCallback)
		}
	}
}

// TestApprove_ReplyLost: the code was written although the store said that it was
// not known.
func TestApprove_ReplyLost(t *testing.T) {
	b := usNew(t)
	lost := &usLostReplies{State: b.state}
	b.Handler.state = bounded(lost)
	if code := b.code(t); lost.n != 1 || len(b.tokens(t, usRedeem(code)).AccessToken) == 0 {
		t.Error("the code is lost")
	}
}

type usLostReplies struct {
	store.State
	n int
}

func (s *usLostReplies) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	s.n++
	_, err := s.State.Create(ctx, key, val, expires)
	return false, errors.Join(err, store.ErrUnavailable)
}

func TestH3_AuthorizeTellsNoSecret(t *testing.T) {
	b := usNew(t)
	u := b.browser()
	ticket := u.ticket(t, usQuery("state", "the-state"))
	cookie := u.cookies[0].Value
	u.post("ticket=" + ticket[:len(ticket)-1])
	code := usLocation(t, u.approve(ticket), usCallback).Get("code")
	u.get(usQuery("state", "the-state", "scope", "the-scope"))
	u.get(usQuery("client_id", "the-unknown"))
	all := b.tokens(t, usRedeem(code))
	b.post(usRedeem(code))
	b.post(usRefresh(all.RefreshToken))
	text := b.logged() + fmt.Sprintf("%+v", b.all())
	for name, secret := range map[string]string{
		"ticket": ticket, "cookie": cookie, "code": code, "state": "the-state", "scope": "the-scope", "client": "the-unknown",
		"access token": all.AccessToken, "refresh token": all.RefreshToken, "id_token": all.IDToken, "verifier": usVerifier, "nonce": "a-nonce",
	} {
		if strings.Contains(text, secret) {
			t.Errorf("the %s is told", name)
		}
	}
	if !bytes.Contains([]byte(text), []byte("code_replayed")) {
		t.Error("nothing was logged")
	}
}

func TestL1_AuthorizeIsLimited(t *testing.T) {
	b := usNew(t, func(c *HandlerConfig) { c.Limiter, c.Limit = nil, Limit{PerSecond: 1, Burst: 3} })
	u := b.browser()
	ticket := u.ticket(t, usQuery())
	u.get(usQuery("client_id", "nobody"))
	u.post("ticket=x")
	for _, w := range []*httptest.ResponseRecorder{u.get(usQuery()), u.approve(ticket), u.get("")} {
		if epHeaders(t, w); w.Code != http.StatusTooManyRequests || w.Header()["Location"] != nil {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	b.clock.move(time.Second)
	usLocation(t, u.approve(ticket), usCallback)
}

func FuzzAuthorizeQuery(f *testing.F) {
	for _, query := range usShown() {
		f.Add(query)
	}
	b := usNew(f)
	f.Fuzz(func(t *testing.T, query string) {
		b.shown = 0
		w := b.browser().get(query)
		location := w.Header().Get("Location")
		switch {
		case w.Code == http.StatusOK && b.shown == 1 && location == "":
		case w.Code == http.StatusSeeOther && b.shown == 0:
			usRegistered(t, b, query, location)
		case w.Code >= 400 && w.Code < 500 && b.shown == 0 && location == "":
			epHeaders(t, w)
		default:
			t.Errorf("%d %q, shown %d", w.Code, location, b.shown)
		}
	})
}

// usRegistered checks that an answer goes to a redirect URI of the client that
// the query names.
func usRegistered(t *testing.T, b *usBooth, query, location string) {
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	client := b.clients.all[values.Get("client_id")]
	if client == nil || client.Disabled || strings.ContainsAny(location, "\r\n#") {
		t.Fatalf("redirected to %q", location)
	}
	for _, uri := range client.RedirectURIs {
		if strings.HasPrefix(location, uri+"?") || strings.HasPrefix(location, uri+"&") {
			return
		}
	}
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "http" || u.Hostname() != "127.0.0.1" && u.Hostname() != "::1" {
		t.Errorf("redirected to %q", location)
	}
}

func FuzzTicket(f *testing.F) {
	b := usNew(f)
	u := b.browser()
	ticket := u.ticket(f, usQuery())
	cookie := u.cookies[0]
	f.Add("ticket="+ticket, cookie.Name+"="+cookie.Value)
	f.Add("ticket="+ticket, cookie.Name+"=")
	f.Add("ticket="+ticket[:20], cookie.Name+"="+cookie.Value)
	f.Add("ticket="+strings.Repeat("A", 60), "tokenbooth-AAAAAAAAAAAAAAAA=x; tokenbooth-AAAAAAAAAAAAAAAA=y")
	f.Add("ticket", "tokenbooth-=")
	f.Fuzz(func(t *testing.T, form, cookies string) {
		b.shown = 0
		w := b.browser().post(form, func(r *http.Request) { r.Header["Cookie"] = []string{cookies} })
		values, _ := url.ParseQuery(form)
		good := values.Get("ticket") == ticket && strings.Contains(cookies, cookie.Value)
		if b.shown > 0 && !good || w.Header().Get("Location") != "" && !good || w.Code >= 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
