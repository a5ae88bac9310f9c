package tokenbooth

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// gkAnswers are the requests of the guard's table of answers.
func gkAnswers(t *testing.T, b *gkBooth) map[string]func() *httptest.ResponseRecorder {
	get := func(token string, scopes ...string) func() *httptest.ResponseRecorder {
		return func() *httptest.ResponseRecorder { return gkServe(t, b.Guard().Require(scopes...), gkRequest(token)) }
	}
	return map[string]func() *httptest.ResponseRecorder{
		"none":    get(""),
		"bad":     get("garbage"),
		"expired": get(b.mintFor(t, func(c *claims) { c.expires = b.clock.now() })),
		"scope":   get(b.mintFor(t, nil), "read", "write", "admin"),
		"read-only": func() *httptest.ResponseRecorder {
			r := gkRequest(b.mintFor(t, func(c *claims) { c.readOnly = true }))
			r.Method = http.MethodPost
			return gkServe(t, b.Guard().Require(), r)
		},
		"two headers": func() *httptest.ResponseRecorder {
			r := gkRequest(b.mintFor(t, nil))
			r.Header.Add("Authorization", r.Header.Get("Authorization"))
			return gkServe(t, b.Guard().Require(), r)
		},
		"throttled": func() *httptest.ResponseRecorder {
			limit := b.guard.limiter
			defer func() { b.guard.limiter = limit }()
			b.guard.limiter = gkLimiter(func(context.Context, string, Limit) (Decision, error) {
				return Decision{Limit: 3, RetryAfter: 7 * time.Second, Reset: b.clock.now().Add(time.Minute)}, nil
			})
			return get(b.mintFor(t, nil))()
		},
		"unavailable": func() *httptest.ResponseRecorder {
			limit := b.guard.limiter
			defer func() { b.guard.limiter = limit }()
			b.guard.limiter = gkLimiter(func(context.Context, string, Limit) (Decision, error) {
				return Decision{}, errors.New("the limiter's own words")
			})
			return get(b.mintFor(t, nil))()
		},
	}
}

func TestB1_AnswersOfEveryEnvelope(t *testing.T) {
	const (
		missing = "The access token is missing"
		invalid = "The access token is invalid"
		expired = "The access token expired"
		lacks   = "The access token lacks a scope"
		readers = "The access token is read-only"
		unused  = "The Authorization header is not usable"
		many    = "Too many requests"
		down    = "The service is temporarily unavailable"
	)
	oauth := func(code, message string) string {
		return `{"error":"` + code + `","error_description":"` + message + `"}`
	}
	data := func(status int, title string) string {
		return fmt.Sprintf(`{"errors":[{"status":%d,"title":%q}]}`, status, title)
	}
	meta := func(status int, message string) string {
		return fmt.Sprintf(`{"meta":{"pagination":{"limit":0,"offset":0,"total_count":0}},"errors":[{"httpcode":%d,"message":%q}]}`, status, message)
	}
	coded := func(code, reason, message string) string {
		return `{"error":{"code":"` + code + `","code_reason":"` + reason + `","message":"` + message + `"}}`
	}
	coded401 := func(message string) string {
		return `{"error":{"code":"invalid_token","code_reason":"invalid_token","message":"` + message + `","details":"Please request a new access token"}}`
	}
	content := func(code int, message string) string { return fmt.Sprintf(`{"code":%d,"message":%q}`, code, message) }
	const busy = "temporarily_unavailable"
	type answer struct {
		status int
		body   string
	}
	want := map[string]map[string]answer{
		"OAuth": {
			"none":        {401, oauth("invalid_token", missing)},
			"bad":         {401, oauth("invalid_token", invalid)},
			"expired":     {401, oauth("invalid_token", expired)},
			"scope":       {403, oauth("insufficient_scope", lacks)},
			"read-only":   {403, oauth("insufficient_scope", readers)},
			"two headers": {400, oauth("invalid_request", unused)},
			"throttled":   {429, oauth(busy, many)},
			"unavailable": {503, oauth(busy, down)},
		},
		"Data": {
			"none":        {401, data(401, "Unable to validate access token")},
			"bad":         {401, data(401, "Unable to validate access token")},
			"expired":     {401, data(401, "Unable to validate access token")},
			"scope":       {403, data(403, "Forbidden")},
			"read-only":   {403, data(403, "Forbidden")},
			"two headers": {400, data(400, "Bad Request")},
			"throttled":   {429, data(429, "Too Many Requests")},
			"unavailable": {503, data(503, "Service Unavailable")},
		},
		"Meta": {
			"none":        {403, meta(403, missing)},
			"bad":         {403, meta(403, invalid)},
			"expired":     {403, meta(403, expired)},
			"scope":       {403, meta(403, lacks)},
			"read-only":   {403, meta(403, readers)},
			"two headers": {400, meta(400, unused)},
			"throttled":   {429, meta(429, many)},
			"unavailable": {503, meta(503, down)},
		},
		"Coded": {
			"none":        {401, coded401(missing)},
			"bad":         {401, coded401(invalid)},
			"expired":     {401, coded401(expired)},
			"scope":       {403, coded("403000", "insufficient_scope", lacks)},
			"read-only":   {403, coded("403000", "insufficient_scope", readers)},
			"two headers": {400, coded("400000", "invalid_request", unused)},
			"throttled":   {429, coded("rate_limit_exceeded", "rate_limit_exceeded", many)},
			"unavailable": {503, coded("503000", busy, down)},
		},
		"Content": {
			"none":        {403, content(403100, "Subject not authorized")},
			"bad":         {401, content(400001, "Incorrect token")},
			"expired":     {401, content(400001, "Incorrect token")},
			"scope":       {403, content(403100, "Subject not authorized")},
			"read-only":   {403, content(403100, "Subject not authorized")},
			"two headers": {400, content(400000, unused)},
			"throttled":   {429, content(429000, many)},
			"unavailable": {503, content(503000, down)},
		},
	}
	const realm = `Bearer realm="` + gkIssuer + `"`
	challenges := map[string]string{
		"none":        realm,
		"bad":         realm + `, error="invalid_token", error_description="` + invalid + `"`,
		"expired":     realm + `, error="invalid_token", error_description="` + expired + `"`,
		"scope":       realm + `, error="insufficient_scope", error_description="` + lacks + `", scope="write admin"`,
		"read-only":   realm + `, error="insufficient_scope", error_description="` + readers + `"`,
		"two headers": realm + `, error="invalid_request", error_description="` + unused + `"`,
	}
	retries := map[string]string{"throttled": "7", "unavailable": "1"}
	for envelope, formatter := range gkFormatters {
		b := gkNew(t, func(c *HandlerConfig) { c.Formatter = formatter })
		for name, ask := range gkAnswers(t, b) {
			t.Run(envelope+"/"+name, func(t *testing.T) {
				w := ask()
				if w.Code != want[envelope][name].status {
					t.Errorf("status %d, want %d", w.Code, want[envelope][name].status)
				}
				gkSameJSON(t, w.Body.Bytes(), want[envelope][name].body)
				for header, value := range map[string]string{
					"WWW-Authenticate": challenges[name], "Retry-After": retries[name],
					"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache",
					"X-Content-Type-Options": "nosniff", "Content-Length": strconv.Itoa(w.Body.Len()),
				} {
					if got := w.Header().Get(header); got != value {
						t.Errorf("%s is %q, want %q", header, got, value)
					}
				}
				if e := b.events.last(t); e.Status != w.Code {
					t.Errorf("the event says %d, the answer is %d", e.Status, w.Code)
				}
			})
		}
	}
}

func gkSameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	x, y := gkMust(json.Marshal(a)), gkMust(json.Marshal(b))
	if !bytes.Equal(x, y) {
		t.Errorf("body\n%s\nwant\n%s", x, y)
	}
}

func TestB1_AuthorizationHeaders(t *testing.T) {
	b := gkNew(t, nil)
	token := b.mintFor(t, nil)
	for name, c := range map[string]struct {
		lines  []string
		reason response.Reason
	}{
		"good":                  {[]string{"Bearer " + token}, ""},
		"lower case":            {[]string{"bearer " + token}, ""},
		"upper case":            {[]string{"BEARER " + token}, ""},
		"mixed case":            {[]string{"bEaReR " + token}, ""},
		"several spaces":        {[]string{"Bearer    " + token}, ""},
		"none":                  {nil, response.TokenMissing},
		"empty":                 {[]string{""}, response.TokenMissing},
		"Basic":                 {[]string{"Basic YTpi"}, response.TokenMissing},
		"DPoP":                  {[]string{"DPoP " + token}, response.TokenMissing},
		"Token":                 {[]string{"Token " + token}, response.TokenMissing},
		"the token alone":       {[]string{token}, response.TokenMissing},
		"without space":         {[]string{"Bearer" + token}, response.TokenMissing},
		"BearerX":               {[]string{"BearerX " + token}, response.TokenMissing},
		"scheme alone":          {[]string{"Bearer"}, response.TokenInvalid},
		"scheme and a space":    {[]string{"Bearer "}, response.TokenInvalid},
		"two tokens":            {[]string{"Bearer " + token + " " + token}, response.TokenInvalid},
		"two with a comma":      {[]string{"Bearer " + token + ", Bearer " + token}, response.TokenInvalid},
		"quotes":                {[]string{`Bearer "` + token + `"`}, response.TokenInvalid},
		"as a parameter":        {[]string{`Bearer token=` + token}, response.TokenInvalid},
		"control byte":          {[]string{"Bearer " + token + "\x00"}, response.TokenInvalid},
		"padding alone":         {[]string{"Bearer ==="}, response.TokenInvalid},
		"two lines":             {[]string{"Bearer " + token, "Bearer " + token}, response.AuthorizationInvalid},
		"Bearer and Basic":      {[]string{"Bearer " + token, "Basic YTpi"}, response.AuthorizationInvalid},
		"Basic and Basic":       {[]string{"Basic YTpi", "Basic YTpi"}, response.AuthorizationInvalid},
		"an empty and a Bearer": {[]string{"", "Bearer " + token}, response.AuthorizationInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			b.events.all = nil
			r := gkRequest("")
			if c.lines != nil {
				r.Header["Authorization"] = c.lines
			}
			w := gkServe(t, b.Guard().Require(), r)
			if c.reason == "" {
				if w.Code != http.StatusNoContent {
					t.Errorf("status %d", w.Code)
				}
				return
			}
			if e := b.events.last(t); e.Reason != c.reason || w.Code != response.Fail(c.reason).Status {
				t.Errorf("status %d, reason %q, want %q", w.Code, e.Reason, c.reason)
			}
		})
	}
}

func TestB2_QueryTokens(t *testing.T) {
	on := gkNew(t, func(c *HandlerConfig) { c.Formatter = response.Content{QueryTokens: true} })
	token := on.mintFor(t, nil)
	query := "access_token=" + token
	for name, c := range map[string]struct {
		query, header string
		reason        response.Reason
	}{
		"good":                         {query, "", ""},
		"among others":                 {"a=1&" + query + "&b=2", "", ""},
		"escaped":                      {"access_token=" + strings.ReplaceAll(token, ".", "%2E"), "", ""},
		"another name":                 {"xaccess_token=" + token, "", response.TokenMissing},
		"other case":                   {"Access_Token=" + token, "", response.TokenMissing},
		"none":                         {"", "", response.TokenMissing},
		"empty":                        {"access_token=", "", response.TokenInvalid},
		"garbage":                      {"access_token=garbage", "", response.TokenInvalid},
		"newline":                      {query + "%0A", "", response.TokenInvalid},
		"twice":                        {query + "&" + query, "", response.CredentialsTwice},
		"twice, one empty":             {query + "&access_token=", "", response.CredentialsTwice},
		"twice, one in disguise":       {query + "&%61ccess_token=x", "", response.CredentialsTwice},
		"and header":                   {query, "Bearer " + token, response.CredentialsTwice},
		"and a bad header":             {query, "Bearer garbage", response.CredentialsTwice},
		"garbage and header":           {"access_token=garbage", "Bearer " + token, response.CredentialsTwice},
		"empty and header":             {"access_token=", "Bearer " + token, response.CredentialsTwice},
		"twice and header":             {query + "&" + query, "Bearer " + token, response.CredentialsTwice},
		"header alone":                 {"a=1", "BEARER " + token, ""},
		"a query that does not parse":  {query + "&x=%zz", "", response.CredentialsTwice},
		"a token that does not parse":  {query + "&access_token=%zz", "", response.CredentialsTwice},
		"semicolons":                   {query + ";x=1", "", response.CredentialsTwice},
		"a semicolon beside the token": {query + "&x=1;access_token=y", "", response.CredentialsTwice},
	} {
		t.Run(name, func(t *testing.T) {
			on.events.all = nil
			r := gkRequest("")
			r.URL.RawQuery = c.query
			if c.header != "" {
				r.Header.Set("Authorization", c.header)
			}
			w := gkServe(t, on.Guard().Require(), r)
			if c.reason == "" {
				if w.Code != http.StatusNoContent {
					t.Errorf("status %d %s", w.Code, w.Body)
				}
				return
			}
			got := on.events.all
			broken := strings.Contains(name, "parse") || strings.Contains(name, "semicolon")
			if len(got) != 1 || got[0].Reason != c.reason && !(broken && w.Code >= 400 && w.Code < 500) {
				t.Errorf("status %d, events %+v, want %q", w.Code, got, c.reason)
			}
		})
	}
}

// Where no query token is documented or enabled the parameter is one as any
// other.
func TestB2_QueryTokensOff(t *testing.T) {
	for envelope, formatter := range gkFormatters {
		b := gkNew(t, func(c *HandlerConfig) { c.Formatter = formatter })
		token := b.mintFor(t, nil)
		for _, query := range []string{"access_token=" + token, "access_token=x&access_token=y", "access_token=%zz"} {
			r := gkRequest("")
			r.URL.RawQuery = query
			gkServe(t, b.Guard().Require(), r)
			if e := b.events.last(t); e.Reason != response.TokenMissing {
				t.Errorf("%s: query alone: %q", envelope, e.Reason)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			if w := gkServe(t, b.Guard().Require(), r); w.Code != http.StatusNoContent {
				t.Errorf("%s: header and query: %d", envelope, w.Code)
			}
		}
	}
}

// A token in the body is never taken (RFC 6750 §2.2), and the body is left to
// the handler.
func TestB2_BodyTokens(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Formatter = response.Content{QueryTokens: true} })
	form := url.Values{"access_token": {b.mintFor(t, nil)}}.Encode()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if w := gkServe(t, b.Guard().Require(), r); w.Code != http.StatusForbidden {
		t.Errorf("status %d", w.Code)
	}
	if r.Form != nil || r.PostForm != nil {
		t.Error("the guard has read the body")
	}
}

func TestB3_StateIsDown(t *testing.T) {
	for name, c := range map[string]struct {
		get    func(context.Context, string) ([]byte, bool, error)
		status int
	}{
		"fails":       {func(context.Context, string) ([]byte, bool, error) { return nil, false, errors.New("secret DSN") }, 503},
		"unavailable": {func(context.Context, string) ([]byte, bool, error) { return nil, false, store.ErrUnavailable }, 503},
		"not found":   {func(context.Context, string) ([]byte, bool, error) { return nil, false, store.ErrNotFound }, 503},
		"value beside an error": {func(context.Context, string) ([]byte, bool, error) {
			return []byte{recordVersion}, true, errors.New("x")
		}, 503},
		"panics":             {func(context.Context, string) ([]byte, bool, error) { panic("secret DSN") }, 500},
		"panics by an error": {func(context.Context, string) ([]byte, bool, error) { panic(errors.New("secret DSN")) }, 500},
		"panics by a Failure": {func(context.Context, string) ([]byte, bool, error) {
			panic(response.Fail(response.TokenInvalid))
		}, 500},
		"hangs": {func(ctx context.Context, _ string) ([]byte, bool, error) {
			<-ctx.Done()
			return nil, false, ctx.Err()
		}, 503},
	} {
		for envelope, formatter := range gkFormatters {
			t.Run(name+"/"+envelope, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := gkNew(t, func(h *HandlerConfig) { h.Tokens, h.Formatter = Opaque{}, formatter })
					token := b.mintFor(t, nil)
					b.codec.(*opaqueCodec).state = bounded(gkState{b.state, c.get})
					began := time.Now()
					w := gkServe(t, b.Guard().Require(), gkRequest(token))
					if w.Code != c.status || c.status == 503 && w.Header().Get("Retry-After") != "1" {
						t.Errorf("status %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
					}
					if strings.Contains(w.Body.String(), "DSN") || w.Header().Get("WWW-Authenticate") != "" {
						t.Errorf("%v %s", w.Header(), w.Body)
					}
					if took := time.Since(began); took > storeTimeout {
						t.Errorf("took %v", took)
					}
					if e := b.events.last(t); e.Kind != "failed" || e.Err == nil {
						t.Errorf("event %+v", e)
					}
				})
			})
		}
	}
}

func TestB3_ClientStoreIsDown(t *testing.T) {
	acme, _ := store.NewClient("acme", "read")
	acme.Rate = &store.Rate{PerSecond: 1, Burst: 7}
	clients := &gkClients{inner: gkMust(store.NewMemory(acme)), fail: errors.New("secret DSN")}
	b := gkNew(t, func(c *HandlerConfig) { c.Clients, c.Formatter = clients, response.Coded{} })
	token := b.mintFor(t, nil)
	ask := func(status int, limit string) {
		t.Helper()
		w := gkServe(t, b.Guard().Require(), gkRequest(token))
		if w.Code != status || w.Header().Get("X-Ratelimit-Limit") != limit {
			t.Errorf("status %d, limit %q, want %d, %q", w.Code, w.Header().Get("X-Ratelimit-Limit"), status, limit)
		}
		if strings.Contains(w.Body.String(), "DSN") {
			t.Errorf("%s", w.Body)
		}
	}
	ask(503, "") // never read: unknown
	clients.set(nil)
	ask(204, "7") // a failure is not remembered
	clients.set(errors.New("secret DSN"))
	b.clock.add(59 * time.Second)
	ask(204, "7")
	b.clock.add(time.Hour - time.Minute)
	ask(204, "7") // what was read last holds
	clients.set(nil)
	acme.Rate.Burst = 9
	_ = clients.inner.(*store.Memory).Put(acme)
	b.clock.add(time.Minute)
	token = b.mintFor(t, nil)
	ask(204, "9")
}

// A store that is down is not asked for every request: each would wait for it.
func TestB3_StaleClientIsNotAskedForEveryTime(t *testing.T) {
	clients := &gkClients{}
	b := gkNew(t, func(c *HandlerConfig) {
		clients.inner = c.Clients
		c.Clients = clients
	})
	token := b.mintFor(t, nil)
	gkStatus(t, b.Guard(), token)
	clients.set(store.ErrUnavailable)
	b.clock.add(2 * time.Minute)
	before := clients.count()
	for range 20 {
		if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
			t.Fatalf("status %d", status)
		}
	}
	if n := clients.count() - before; n > 2 {
		t.Errorf("asked %d times within one moment: GuardConfig says at most once a minute", n)
	}
}

func TestB3_ClientStoreMisbehaves(t *testing.T) {
	for name, c := range map[string]struct {
		clients ClientStore
		status  int
	}{
		"returns nothing":        {gkClientFunc(func() (*store.Client, error) { return nil, nil }), 503},
		"returns another client": {gkClientFunc(func() (*store.Client, error) { return &store.Client{ID: "other"}, nil }), 503},
		"panics":                 {gkClientFunc(func() (*store.Client, error) { panic("x") }), 500},
		"knows nobody":           {gkClientFunc(func() (*store.Client, error) { return nil, store.ErrNotFound }), 401},
		"knows it as disabled":   {gkClientFunc(func() (*store.Client, error) { return &store.Client{ID: "acme", Disabled: true}, nil }), 401},
	} {
		b := gkNew(t, func(h *HandlerConfig) { h.Clients = c.clients })
		if status := gkStatus(t, b.Guard(), b.mintFor(t, nil)); status != c.status {
			t.Errorf("%s: status %d, want %d", name, status, c.status)
		}
	}
}

type gkClientFunc func() (*store.Client, error)

func (f gkClientFunc) Client(context.Context, string) (*store.Client, error) { return f() }

func TestB4_OwnValueForEachRequest(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Limiter = Unlimited{} })
	tokens := make([]string, 8)
	for i := range tokens {
		tokens[i] = b.mintFor(t, func(c *claims) { c.subject, c.username = fmt.Sprint("user", i), fmt.Sprint("name", i) })
	}
	var mu sync.Mutex
	seen := map[*Principal]bool{}
	handler := b.Guard().Require("read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := PrincipalFrom(r.Context())
		if !ok || p.Subject != r.Header.Get("X-Want") {
			t.Errorf("principal %+v, want %s", p, r.Header.Get("X-Want"))
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if seen[p] {
			t.Error("two requests have one value")
		}
		seen[p] = true
		p.Subject, p.Scope = "changed by the handler", "admin"
	}))
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			r := gkRequest(tokens[i%len(tokens)])
			r.Header.Set("X-Want", fmt.Sprint("user", i%len(tokens)))
			r.Header.Set("X-Client-Id", "spoofed")
			handler.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	wg.Wait()
	if len(seen) != 400 {
		t.Errorf("%d requests got through, want 400", len(seen))
	}
}

func TestB4_Principal(t *testing.T) {
	for name, tokens := range map[string]TokenFormat{"JWT": JWT{}, "Opaque": Opaque{}} {
		t.Run(name, func(t *testing.T) {
			b := gkNew(t, func(c *HandlerConfig) { c.Tokens = tokens })
			said := claims{
				subject: "ada", username: "Ada", clientID: "acme", scope: "read write", readOnly: true,
				issued: gkStart, expires: gkStart.Add(time.Hour),
			}
			token := gkMust(b.codec.mint(t.Context(), &said))
			p, err := b.Guard().Check(gkRequest(token))
			if err != nil {
				t.Fatal(err)
			}
			want := Principal{
				Subject: "ada", ClientID: "acme", Username: "Ada", Scope: "read write", TokenID: said.id, ReadOnly: true,
				IssuedAt: gkStart, Expires: gkStart.Add(time.Hour),
			}
			if *p != want {
				t.Errorf("%+v\nwant %+v", *p, want)
			}
			if !p.HasScope("read") || p.HasScope("rea") || p.HasScope("read write") || p.HasScope("") || p.IsClient() {
				t.Errorf("%+v", p)
			}
			if got := p.Scopes(); !slices.Equal(got, []string{"read", "write"}) {
				t.Errorf("scopes %q", got)
			}
		})
	}
	if got := (&Principal{}).Scopes(); got == nil || len(got) != 0 {
		t.Errorf("no scopes: %#v", got)
	}
}

func TestB4_Context(t *testing.T) {
	if p, ok := PrincipalFrom(t.Context()); ok || p != nil {
		t.Errorf("%v, %v from an empty context", p, ok)
	}
	if p, ok := PrincipalFrom(ContextWithPrincipal(t.Context(), nil)); ok || p != nil {
		t.Errorf("%v, %v from a nil principal", p, ok)
	}
	want := &Principal{Subject: "ada"}
	if p, ok := PrincipalFrom(ContextWithPrincipal(t.Context(), want)); !ok || p != want {
		t.Errorf("%v, %v", p, ok)
	}
	// What an outer context says is not the guard's word.
	b := gkNew(t, nil)
	r := gkRequest(b.mintFor(t, nil))
	r = r.WithContext(ContextWithPrincipal(r.Context(), &Principal{Subject: "somebody", Scope: "admin"}))
	b.Guard().Require()(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if p, _ := PrincipalFrom(r.Context()); p.Subject != "client:acme" {
			t.Errorf("principal %+v", p)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
}

const gkCanary = "ca-nary"

func TestB5_NothingIsReflected(t *testing.T) {
	var logged bytes.Buffer
	key := gkKey("ES256")
	for envelope, formatter := range gkFormatters {
		b := gkNew(t, func(c *HandlerConfig) {
			c.Formatter = formatter
			c.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		sign := func(header, claims gkMembers) string {
			return gkJWS(t, key.Material, gkHeader(key, "ES256").with(header), gkClaims().with(claims))
		}
		for _, line := range []string{
			"Bearer " + gkCanary,
			"Bearer <script>" + gkCanary + "</script>",
			"Bearer \"" + gkCanary + "\"",
			"Bearer " + gkCanary + "\r\nX-Injected: 1",
			"Basic " + gkCanary,
			gkCanary,
			"Bearer " + gk64(`{"alg":"`+gkCanary+`"}`) + "." + gk64("{}") + ".AAAA",
			"Bearer " + sign(gkMembers{"kid": gkCanary}, nil),
			"Bearer " + sign(gkMembers{"typ": gkCanary}, nil),
			"Bearer " + sign(gkMembers{"crit": []string{gkCanary}}, nil),
			"Bearer " + sign(nil, gkMembers{"iss": gkCanary}),
			"Bearer " + sign(nil, gkMembers{"exp": gkCanary}),
			"Bearer " + sign(nil, gkMembers{"exp": 1, "jti": gkCanary, "sub": gkCanary}),
			"Bearer " + sign(nil, gkMembers{"nbf": 1 << 39, "jti": gkCanary}),
		} {
			r := gkRequest("")
			r.URL.RawQuery = "access_token=" + url.QueryEscape(line)
			r.Header["Authorization"] = []string{line}
			w := gkServe(t, b.Guard().Require("admin"), r)
			text := fmt.Sprint(w.Header(), w.Body, fmt.Sprintf("%+v", b.events.last(t)))
			if w.Code < 400 || strings.Contains(text, gkCanary) || strings.Contains(text, "jose") || w.Header().Get("X-Injected") != "" {
				t.Errorf("%s: %q gives %d %s", envelope, line, w.Code, text)
			}
		}
	}
	if strings.Contains(logged.String(), gkCanary) || strings.Contains(logged.String(), "jose") {
		t.Errorf("the log shows it: %s", logged.String())
	}
}

// A challenge stays one header of quoted strings, whatever the configuration or
// the host's Failure has in it.
func TestB5_ChallengeIsWellFormed(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Issuer = "https://issuer.example/é'()\\" })
	for name, f := range map[string]*response.Failure{
		"message": {Reason: response.TokenInvalid, Message: "a\"b\\c\r\nX-Injected: 1é"},
		"scope":   {Reason: response.ScopeLacking, Scope: "a\"b\\c\r\nX-Injected: 1é"},
		"code":    {Reason: response.TokenInvalid, Code: "x\"\r\n"},
	} {
		w := httptest.NewRecorder()
		b.Guard().Refuse(w, f)
		challenge := w.Header().Get("WWW-Authenticate")
		for i, c := range []byte(challenge) {
			if c < 0x20 || c > 0x7E || c == '\\' {
				t.Errorf("%s: byte %d of %q", name, i, challenge)
			}
		}
		if strings.Count(challenge, `"`)%2 != 0 || strings.Count(challenge, `"`) > 2*(1+strings.Count(challenge, ", ")) {
			t.Errorf("%s: %q", name, challenge)
		}
	}
}

func TestB5_PanicOfTheGuardedHandlerPasses(t *testing.T) {
	b := gkNew(t, nil)
	for _, value := range []any{"boom", http.ErrAbortHandler, errors.New("x")} {
		got := func() (v any) {
			defer func() { v = recover() }()
			b.Guard().Require()(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(value) })).
				ServeHTTP(httptest.NewRecorder(), gkRequest(b.mintFor(t, nil)))
			return nil
		}()
		if got != value {
			t.Errorf("got %v, want %v", got, value)
		}
	}
}

func TestH2_AbortOfTheHostPasses(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) {
		c.Limiter = gkLimiter(func(context.Context, string, Limit) (Decision, error) { panic(http.ErrAbortHandler) })
	})
	defer func() {
		if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // as net/http compares
			t.Errorf("recovered %v", v)
		}
	}()
	gkStatus(t, b.Guard(), b.mintFor(t, nil))
	t.Error("http.ErrAbortHandler was swallowed")
}

// Code of the host that panics is a 500, at whatever moment the guard calls it.
func TestH2_HostPanicsInTheGuard(t *testing.T) {
	boom := func() { panic("boom") }
	for name, change := range map[string]func(*HandlerConfig){
		"clock": func(c *HandlerConfig) { c.Limiter = Unlimited{}; c.Now = func() time.Time { boom(); return gkStart } },
		"limiter": func(c *HandlerConfig) {
			c.Limiter = gkLimiter(func(context.Context, string, Limit) (Decision, error) { boom(); return Decision{}, nil })
		},
		"formatter": func(c *HandlerConfig) {
			c.Limiter = gkLimiter(func(context.Context, string, Limit) (Decision, error) { return Decision{}, nil })
			c.Formatter = gkFormatter{failure: func(*response.Failure) (response.Reply, error) { boom(); return response.Reply{}, nil }}
		},
		"rate headers": func(c *HandlerConfig) {
			c.Formatter = gkFormatter{conventions: response.Conventions{RateHeader: func(http.Header, int, int, time.Time) { boom() }}}
		},
		"rate headers of a refusal": func(c *HandlerConfig) {
			c.Limiter = gkLimiter(func(context.Context, string, Limit) (Decision, error) {
				return Decision{Limit: 1, RetryAfter: time.Second}, nil
			})
			c.Formatter = gkFormatter{conventions: response.Conventions{RateHeader: func(http.Header, int, int, time.Time) { boom() }}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if v := recover(); v != nil {
					t.Errorf("the panic %v comes through", v)
				}
			}()
			token := gkNew(t, nil).mintFor(t, nil)
			b := gkNew(t, change)
			if status := gkStatus(t, b.Guard(), token); status != http.StatusInternalServerError {
				t.Errorf("status %d, want 500", status)
			}
		})
	}
}

func TestReadOnlyTokens(t *testing.T) {
	for name, tokens := range map[string]TokenFormat{"JWT": JWT{}, "Opaque": Opaque{}} {
		b := gkNew(t, func(c *HandlerConfig) { c.Tokens = tokens })
		readOnly := b.mintFor(t, func(c *claims) { c.readOnly = true })
		full := b.mintFor(t, nil)
		for method, reads := range map[string]bool{
			"GET": true, "HEAD": true, "OPTIONS": true,
			"POST": false, "PUT": false, "PATCH": false, "DELETE": false, "TRACE": false, "CONNECT": false,
			"get": false, "PROPFIND": false, "": false,
		} {
			ask := func(require func(http.Handler) http.Handler, token string, passes bool) {
				t.Helper()
				r := gkRequest(token)
				r.Method = method
				r.Header.Set("X-Http-Method-Override", "GET")
				w := gkServe(t, require, r)
				if (w.Code == http.StatusNoContent) != passes || !passes && w.Code != http.StatusForbidden {
					t.Errorf("%s %q: status %d, want a pass: %v", name, method, w.Code, passes)
				}
			}
			g := b.Guard()
			ask(g.Require(), readOnly, reads)
			ask(g.RequireAny("read"), readOnly, reads)
			ask(g.AllowReadOnlyWrites().Require(), readOnly, true)
			ask(g.AllowReadOnlyWrites().RequireAny("read"), readOnly, true)
			ask(g.AllowReadOnlyWrites().Require("admin"), readOnly, false)
			ask(g.Require(), full, true) // and AllowReadOnlyWrites has not changed g
		}
	}
}

func TestB1_Require(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Limiter = Unlimited{} })
	for _, c := range []struct {
		held     string
		wanted   []string
		all, any string // what is lacking; "-" for a pass
	}{
		{"read write", []string{"read"}, "-", "-"},
		{"read write", []string{"read", "write"}, "-", "-"},
		{"read write", []string{"write", "read", "read"}, "-", "-"},
		{"read", []string{"read", "write"}, "write", "-"},
		{"read", []string{"write", "admin"}, "write admin", "write admin"},
		{"", []string{"read"}, "read", "read"},
		{"read", []string{"rea"}, "rea", "rea"},
		{"read", []string{"reader"}, "reader", "reader"},
		{"read", []string{"READ"}, "READ", "READ"},
		{"a:read b", []string{"read"}, "read", "read"},
	} {
		token := b.mintFor(t, func(x *claims) { x.scope = c.held })
		for name, ask := range map[string]struct {
			require func(http.Handler) http.Handler
			lacks   string
		}{"Require": {b.Guard().Require(c.wanted...), c.all}, "RequireAny": {b.Guard().RequireAny(c.wanted...), c.any}} {
			w := gkServe(t, ask.require, gkRequest(token))
			challenge := w.Header().Get("WWW-Authenticate")
			if ask.lacks == "-" {
				if w.Code != http.StatusNoContent {
					t.Errorf("%s(%q) of %q: %d", name, c.wanted, c.held, w.Code)
				}
			} else if w.Code != http.StatusForbidden || !strings.HasSuffix(challenge, `, scope="`+ask.lacks+`"`) {
				t.Errorf("%s(%q) of %q: %d %s", name, c.wanted, c.held, w.Code, challenge)
			}
		}
	}
	for _, held := range []string{"", "read"} {
		token := b.mintFor(t, func(x *claims) { x.scope = held })
		if w := gkServe(t, b.Guard().Require(), gkRequest(token)); w.Code != http.StatusNoContent {
			t.Errorf("Require() of %q: %d", held, w.Code)
		}
	}
}

// gkRequireRefuses: whatever no token can have lets no token through. A panic
// when the middleware is made would be as good.
func gkRequireRefuses(t *testing.T, name string, make func() func(http.Handler) http.Handler, token string) {
	t.Helper()
	defer func() { _ = recover() }()
	if w := gkServe(t, make(), gkRequest(token)); w.Code == http.StatusNoContent {
		t.Errorf("%s lets any token through", name)
	}
}

// A scope that is empty, as from a setting that nobody made, or that is none, is
// held by no token.
func TestB1_RequireFailsClosed(t *testing.T) {
	b := gkNew(t, nil)
	g := b.Guard()
	for _, held := range []string{"", "read", "read write", "read  write", " read", "read "} {
		token := b.mintFor(t, func(c *claims) { c.scope = held })
		for _, wanted := range [][]string{{""}, {"read", ""}, {"", ""}, {" "}, {"read write"}, {"read "}, {"\""}} {
			gkRequireRefuses(t, fmt.Sprintf("Require(%q) of %q", wanted, held),
				func() func(http.Handler) http.Handler { return g.Require(wanted...) }, token)
		}
		for _, wanted := range [][]string{{""}, {"", ""}, {" "}, {"read write"}} {
			gkRequireRefuses(t, fmt.Sprintf("RequireAny(%q) of %q", wanted, held),
				func() func(http.Handler) http.Handler { return g.RequireAny(wanted...) }, token)
		}
		gkRequireRefuses(t, fmt.Sprintf("RequireAny() of %q", held),
			func() func(http.Handler) http.Handler { return g.RequireAny() }, token)
	}
}

// The list may be changed after Require: the guard does not follow.
func TestB1_RequireCopiesTheList(t *testing.T) {
	b := gkNew(t, nil)
	wanted := []string{"admin"}
	all, some := b.Guard().Require(wanted...), b.Guard().RequireAny(wanted...)
	wanted[0] = "read"
	for name, require := range map[string]func(http.Handler) http.Handler{"Require": all, "RequireAny": some} {
		if w := gkServe(t, require, gkRequest(b.mintFor(t, nil))); w.Code != http.StatusForbidden {
			t.Errorf("%s follows a change of the list: %d", name, w.Code)
		}
	}
}

func TestCheckAndRefuse(t *testing.T) {
	for envelope, formatter := range gkFormatters {
		b := gkNew(t, func(c *HandlerConfig) { c.Formatter = formatter })
		g := b.Guard()
		p, err := g.Check(gkRequest(b.mintFor(t, nil)))
		if err != nil || p.ClientID != "acme" {
			t.Errorf("%s: %+v, %v", envelope, p, err)
		}
		for name, r := range map[string]*http.Request{
			"none": gkRequest(""), "bad": gkRequest("garbage"),
			"expired": gkRequest(b.mintFor(t, func(c *claims) { c.expires = gkStart })),
		} {
			p, err := g.Check(r)
			var f *response.Failure
			if p != nil || !errors.As(err, &f) || f.Place != response.Guard {
				t.Fatalf("%s %s: %+v, %v", envelope, name, p, err)
			}
			w, want := httptest.NewRecorder(), gkServe(t, g.Require(), r)
			g.Refuse(w, fmt.Errorf("wrapped: %w", err))
			if w.Code != want.Code || !bytes.Equal(w.Body.Bytes(), want.Body.Bytes()) || fmt.Sprint(w.Header()) != fmt.Sprint(want.Header()) {
				t.Errorf("%s %s: Refuse answers %d %v %s, Require %d %v %s", envelope, name,
					w.Code, w.Header(), w.Body, want.Code, want.Header(), want.Body)
			}
		}
		for name, err := range map[string]error{"foreign": errors.New("secret DSN"), "nil": nil, "typed nil": (*response.Failure)(nil)} {
			w := httptest.NewRecorder()
			func() {
				defer func() {
					if v := recover(); v != nil {
						t.Errorf("%s: Refuse of a %s error panics: %v", envelope, name, v)
					}
				}()
				g.Refuse(w, err)
			}()
			if w.Code < 500 || name != "typed nil" && w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "DSN") {
				t.Errorf("%s: Refuse of a %s error: %d %s", envelope, name, w.Code, w.Body)
			}
		}
	}
}

func TestCheckOfScopes(t *testing.T) {
	b := gkNew(t, nil)
	r := gkRequest(b.mintFor(t, nil))
	if p, err := b.Guard().Check(r, "read"); err != nil || p.Scope != "read" {
		t.Errorf("%+v, %v", p, err)
	}
	var f *response.Failure
	if p, err := b.Guard().Check(r, "read", "write", "admin"); p != nil || !errors.As(err, &f) || f.Scope != "write admin" {
		t.Errorf("%+v, %v", p, err)
	}
	func() {
		defer func() { _ = recover() }()
		if p, err := b.Guard().Check(r, ""); err == nil {
			t.Errorf("an empty scope lets %+v through", p)
		}
	}()
}

func TestCheckOfReadOnly(t *testing.T) {
	b := gkNew(t, nil)
	r := gkRequest(b.mintFor(t, func(c *claims) { c.readOnly = true }))
	r.Method = http.MethodDelete
	if _, err := b.Guard().Check(r); err == nil || b.events.last(t).Reason != response.ReadOnly {
		t.Errorf("%v", err)
	}
	if p, err := b.Guard().AllowReadOnlyWrites().Check(r); err != nil || !p.ReadOnly {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestL2_GuardRateHeaders(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) {
		c.Formatter, c.Limit = response.Coded{}, Limit{PerSecond: 0.1, Burst: 3}
	})
	token := b.mintFor(t, nil)
	for i, want := range []struct {
		status           int
		remaining, reset string
		retry            string
	}{
		{204, "2", "1700000010", ""}, {204, "1", "1700000020", ""}, {204, "0", "1700000030", ""}, {429, "0", "1700000030", "10"},
	} {
		w := gkServe(t, b.Guard().Require(), gkRequest(token))
		h := w.Header()
		if w.Code != want.status || h.Get("X-RateLimit-Limit") != "3" || h.Get("X-RateLimit-Remaining") != want.remaining ||
			h.Get("X-RateLimit-Reset") != want.reset || h.Get("Retry-After") != want.retry {
			t.Errorf("request %d: %d %v", i+1, w.Code, h)
		}
	}
	b.clock.add(10 * time.Second)
	w := gkServe(t, b.Guard().Require("admin"), gkRequest(token))
	if w.Code != http.StatusForbidden || w.Header().Get("X-RateLimit-Limit") != "3" {
		t.Errorf("after Retry-After, without the scope: %d %v", w.Code, w.Header())
	}
	if w := gkServe(t, b.Guard().Require(), gkRequest("garbage")); w.Header().Get("X-RateLimit-Limit") != "" {
		t.Errorf("headers of a limit that nobody asked for: %v", w.Header())
	}
}

// Where there is no limit there is none to tell.
func TestL2_GuardRateHeadersOfUnlimited(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Formatter, c.Limiter = response.Coded{}, Unlimited{} })
	w := gkServe(t, b.Guard().Require(), gkRequest(b.mintFor(t, nil)))
	for name := range w.Header() {
		if strings.HasPrefix(name, "X-Ratelimit") {
			t.Errorf("%s: %s", name, w.Header().Get(name))
		}
	}
}

// A limiter that says no and not for how long is obeyed all the same.
func TestL2_DeniedWithoutRetryAfter(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) {
		c.Formatter = response.Coded{}
		c.Limiter = gkLimiter(func(context.Context, string, Limit) (Decision, error) { return Decision{Limit: 5, Reset: gkStart}, nil })
	})
	w := gkServe(t, b.Guard().Require(), gkRequest(b.mintFor(t, nil)))
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" || w.Header().Get("X-RateLimit-Limit") != "5" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestL2_GuardRetryAfterInEveryEnvelope(t *testing.T) {
	for envelope, formatter := range gkFormatters {
		b := gkNew(t, func(c *HandlerConfig) { c.Formatter, c.Limit = formatter, Limit{PerSecond: 0.5, Burst: 1} })
		token := b.mintFor(t, nil)
		gkStatus(t, b.Guard(), token)
		w := gkServe(t, b.Guard().Require(), gkRequest(token))
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "2" {
			t.Errorf("%s: %d, Retry-After %q", envelope, w.Code, w.Header().Get("Retry-After"))
		}
		b.clock.add(2 * time.Second)
		if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
			t.Errorf("%s: %d after the wait", envelope, status)
		}
	}
}

// The guard's bucket is apart from the endpoint's.
func TestL1_GuardBucketApart(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Limit = Limit{PerSecond: 0.001, Burst: 2} })
	form := "grant_type=client_credentials&client_id=acme&client_secret=" + b.secret
	token := gkIssue(t, b, form)
	gkIssue(t, b, form) // the endpoint's is empty now
	for range 2 {
		if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
			t.Fatalf("the guard's bucket: %d", status)
		}
	}
	if status := gkStatus(t, b.Guard(), token); status != http.StatusTooManyRequests {
		t.Errorf("the guard's bucket never ends: %d", status)
	}
}

func TestL1_ClientRateThroughTheCache(t *testing.T) {
	acme, _ := store.NewClient("acme", "read")
	acme.Rate = &store.Rate{PerSecond: 1, Burst: 5}
	memory := gkMust(store.NewMemory(acme))
	clients := &gkClients{inner: memory}
	b := gkNew(t, func(c *HandlerConfig) {
		c.Clients, c.Formatter, c.AccessTokenTTL = clients, response.Coded{}, time.Hour
	})
	token := b.mintFor(t, nil)
	limit := func() string {
		return gkServe(t, b.Guard().Require(), gkRequest(token)).Header().Get("X-RateLimit-Limit")
	}
	if got := limit(); got != "5" {
		t.Fatalf("limit %s", got)
	}
	changed := *acme
	changed.Rate = &store.Rate{PerSecond: 1, Burst: 8}
	_ = memory.Put(&changed)
	b.clock.add(time.Minute - time.Nanosecond)
	if got, n := limit(), clients.count(); got != "5" || n != 1 {
		t.Errorf("before a minute: limit %s, %d reads", got, n)
	}
	b.clock.add(time.Nanosecond)
	if got, n := limit(), clients.count(); got != "8" || n != 2 {
		t.Errorf("after a minute: limit %s, %d reads", got, n)
	}
	changed.Rate = nil
	_ = memory.Put(&changed)
	b.clock.add(time.Minute)
	if got := limit(); got != "100" {
		t.Errorf("a client without a rate has the default, not %s", got)
	}
	b.clock.add(-time.Hour) // a clock that stepped back makes no entry eternal
	before := clients.count()
	limit()
	if clients.count() == before {
		t.Error("not read again after a step back of the clock")
	}
}

func TestB6_ClientCacheIsBounded(t *testing.T) {
	cache := newClientCache(gkClientFunc(func() (*store.Client, error) { return nil, store.ErrNotFound }), defaultLimit)
	for i := range 3 * cacheLimit {
		if _, err := cache.get(t.Context(), strconv.Itoa(i), gkStart); err != nil {
			t.Fatal(err)
		}
		if len(cache.known) > cacheLimit {
			t.Fatalf("%d entries, want at most %d", len(cache.known), cacheLimit)
		}
	}
}

// An unknown kid, issuer or client of a refused token fills nothing.
func TestB6_RefusedTokensGrowNothing(t *testing.T) {
	b := gkNew(t, nil)
	key := gkKey("ES256")
	for i := range 100 {
		name := strconv.Itoa(i)
		gkStatus(t, b.Guard(), gkJWS(t, key.Material, gkHeader(key, "ES256").with(gkMembers{"kid": name}), gkClaims().with(nil)))
		gkStatus(t, b.Guard(), gkJWS(t, key.Material, gkHeader(key, "ES256").with(nil), gkClaims().with(gkMembers{"client_id": name, "exp": 1})))
	}
	if n := len(b.guard.clients.known); n != 0 {
		t.Errorf("%d clients remembered", n)
	}
}

// A token that anybody can get has a bucket for each address.
func TestL1_GuardOfPublicClientsByAddress(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Limit = Limit{PerSecond: 0.001, Burst: 1} })
	ask := func(token, address string) int {
		r := gkRequest(token)
		r.RemoteAddr = address
		return gkServe(t, b.Guard().Require(), r).Code
	}
	shop := b.mintFor(t, func(c *claims) { c.clientID, c.subject = "shop", "client:shop" })
	acme := b.mintFor(t, nil)
	for _, c := range []struct {
		token, address string
		status         int
	}{
		{shop, "192.0.2.1:1", 204},
		{shop, "192.0.2.1:2", 429},
		{shop, "192.0.2.2:1", 204},
		{shop, "[2001:db8::1]:1", 204},
		{shop, "[2001:db8::2]:1", 429}, // the same /64
		{shop, "[2001:db8:0:1::1]:1", 204},
		{acme, "192.0.2.1:1", 204},
		{acme, "192.0.2.2:1", 429},
	} {
		if got := ask(c.token, c.address); got != c.status {
			t.Errorf("%s: %d, want %d", c.address, got, c.status)
		}
	}
}

func TestNewGuard_Elsewhere(t *testing.T) {
	for _, algorithm := range []string{"ES256", "EdDSA", "RS256"} {
		t.Run(algorithm, func(t *testing.T) {
			key := Key{Material: gkKey(algorithm).Material} // named by its thumbprint
			b := gkNew(t, func(c *HandlerConfig) { c.Keys, c.Audience = gkRing(t, key), "https://api.example" })
			der := gkMust(x509.MarshalPKIXPublicKey(gkPublic(t, key).Material))
			keys, err := ParsePEM(gkPEM(t, "PUBLIC KEY", der, nil))
			if err != nil {
				t.Fatal(err)
			}
			token := b.mintFor(t, nil)
			for name, c := range map[string]struct {
				config GuardConfig
				status int
			}{
				"right":          {GuardConfig{Audience: "https://api.example"}, 204},
				"audience":       {GuardConfig{}, 401},
				"other audience": {GuardConfig{Audience: "https://api.example/"}, 401},
				"other issuer":   {GuardConfig{Issuer: gkIssuer + "/", Audience: "https://api.example"}, 401},
				"other key":      {GuardConfig{Audience: "https://api.example", Keys: gkRing(t, gkMust(GenerateKey(algorithm)))}, 401},
			} {
				c.config.Now = b.clock.now
				if c.config.Keys == nil {
					c.config.Keys = gkRing(t, keys...)
				}
				if status := gkStatus(t, gkGuard(t, c.config), token); status != c.status {
					t.Errorf("%s: %d, want %d", name, status, c.status)
				}
			}
		})
	}
}

func TestNewGuard_Opaque(t *testing.T) {
	format := Opaque{Prefix: "sk-", Bytes: 16}
	b := gkNew(t, func(c *HandlerConfig) { c.Tokens = format })
	token := b.mintFor(t, nil)
	for name, c := range map[string]struct {
		config GuardConfig
		status int
	}{
		"right":        {GuardConfig{Tokens: format, State: b.state}, 204},
		"other state":  {GuardConfig{Tokens: format, State: new(store.Memory)}, 401},
		"other format": {GuardConfig{Tokens: Opaque{}, State: b.state}, 401},
		"other issuer": {GuardConfig{Tokens: format, State: b.state, Issuer: "https://b.example"}, 401},
		"audience":     {GuardConfig{Tokens: format, State: b.state, Audience: "https://api.example"}, 401},
	} {
		c.config.Now = b.clock.now
		if status := gkStatus(t, gkGuard(t, c.config), token); status != c.status {
			t.Errorf("%s: %d, want %d", name, status, c.status)
		}
	}
}

// The guard elsewhere keeps no key that signs.
func TestNewGuard_KeepsPublicHalves(t *testing.T) {
	ring := gkRing(t, gkKey("ES256"))
	g := gkGuard(t, GuardConfig{Keys: ring})
	if g.codec.(*jwtCodec).keys.canSign() {
		t.Error("the guard can sign")
	}
}

func TestNewGuard_Limits(t *testing.T) {
	b := gkNew(t, nil)
	token := b.mintFor(t, nil)
	g := gkGuard(t, GuardConfig{
		Keys: b.keys, Now: b.clock.now, Clients: b.clients, Formatter: response.Coded{},
		Limit: Limit{PerSecond: 0.01, Burst: 2},
	})
	for _, want := range []int{204, 204, 429} {
		if status := gkStatus(t, g, token); status != want {
			t.Errorf("status %d, want %d", status, want)
		}
	}
	if status := gkStatus(t, b.Guard(), token); status != 204 {
		t.Errorf("the handler's own guard: %d", status)
	}
}

// Every Reason that a guard can give is given to a real request.
func TestEveryReasonOfTheGuard(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Formatter = response.Content{QueryTokens: true} })
	refuse := func(f error) func() {
		return func() {
			b.guard.limiter = gkLimiter(func(context.Context, string, Limit) (Decision, error) { return Decision{}, f })
		}
	}
	var panics gkLimiter = func(context.Context, string, Limit) (Decision, error) { panic("x") }
	readOnly := b.mintFor(t, func(c *claims) { c.readOnly = true })
	cases := map[response.Reason]struct {
		token, query, method string
		twice                bool
		before               func()
	}{
		response.AuthorizationInvalid: {token: b.mintFor(t, nil), twice: true},
		response.CredentialsTwice:     {token: b.mintFor(t, nil), query: "access_token=x"},
		response.TokenMissing:         {},
		response.TokenInvalid:         {token: "garbage"},
		response.TokenExpired:         {token: b.mintFor(t, func(c *claims) { c.expires = gkStart })},
		response.ScopeLacking:         {token: b.mintFor(t, func(c *claims) { c.scope = "write" })},
		response.ReadOnly:             {token: readOnly, method: http.MethodPost},
		response.Throttled: {token: b.mintFor(t, nil), before: func() {
			b.guard.limiter = gkLimiter(func(context.Context, string, Limit) (Decision, error) { return Decision{RetryAfter: time.Second}, nil })
		}},
		response.Unavailable: {token: b.mintFor(t, nil), before: refuse(errors.New("down"))},
		response.Overloaded:  {}, // below: the guard queues nothing itself
		response.Internal:    {token: b.mintFor(t, nil), before: func() { b.guard.limiter = panics }},
	}
	for _, reason := range response.Reasons(response.Guard) {
		c, ok := cases[reason]
		if !ok {
			t.Errorf("no request gives %q", reason)
			continue
		}
		if reason == response.Overloaded {
			w := httptest.NewRecorder()
			b.Guard().Refuse(w, response.Fail(reason))
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
				t.Errorf("overloaded: %d %v", w.Code, w.Header())
			}
			continue
		}
		limiter := b.guard.limiter
		if c.before != nil {
			c.before()
		}
		r := gkRequest(c.token)
		r.URL.RawQuery = c.query
		if c.twice {
			r.Header.Add("Authorization", "Basic YTpi")
		}
		if c.method != "" {
			r.Method = c.method
		}
		gkServe(t, b.Guard().Require("read"), r)
		if got := b.events.last(t).Reason; got != reason {
			t.Errorf("reason %q, want %q", got, reason)
		}
		b.guard.limiter = limiter
	}
	if len(cases) != len(response.Reasons(response.Guard)) {
		t.Errorf("%d cases for %d reasons", len(cases), len(response.Reasons(response.Guard)))
	}
}

// FuzzBearerHeader: what is taken for a token is in the one line there is;
// everything else is a Failure of the guard. What is no token68 is refused by
// every codec, and nothing but the shape of an opaque token is looked up.
func FuzzBearerHeader(f *testing.F) {
	for _, line := range []string{
		"", "Bearer", "Bearer ", "bearer abc", "BEARER  a.b.c", "Basic YTpi", "Bearer a b", "Bearer \x00", "Bearer a==", "Bearer ==", "Bearer\tabc", "Beareré abc",
	} {
		f.Add(line, "", false)
		f.Add(line, "access_token=x", true)
	}
	f.Add("", "access_token=a&access_token=b", true)
	f.Add("", "access_token=%zz", true)
	f.Add("Bearer "+strings.Repeat("0a", 32), "", false)
	keys := gkRing(f, gkKey("ES256"))
	f.Fuzz(func(t *testing.T, line, query string, taken bool) {
		r := &http.Request{Header: http.Header{"Authorization": {line}}, URL: &url.URL{RawQuery: query}}
		token, err := bearerToken(r, taken)
		if err != nil {
			var fail *response.Failure
			if !errors.As(err, &fail) || !slices.Contains(response.Reasons(response.Guard), fail.Reason) {
				t.Fatalf("%q %v", token, err)
			}
			return
		}
		reads := 0
		state := gkState{get: func(context.Context, string) ([]byte, bool, error) { reads++; return nil, false, nil }}
		for _, format := range []TokenFormat{JWT{}, Opaque{}} {
			codec := format.codec(codecConfig{issuer: gkIssuer, audience: gkIssuer, keys: keys, state: state})
			if _, err := codec.verify(t.Context(), token); !errors.Is(err, errToken) {
				t.Fatalf("%q was taken from %q %q: %v", token, line, query, err)
			}
		}
		if raw, err := hex.DecodeString(token); reads > 0 && (err != nil || len(raw) != 32 || strings.ToLower(token) != token) {
			t.Fatalf("%q was looked up, from %q %q", token, line, query)
		}
		if !isToken68(token) {
			return
		}
		fromLine := len(line) > 7 && strings.EqualFold(line[:7], "bearer ") && strings.HasSuffix(line, token)
		if !fromLine && !taken {
			t.Fatalf("%q is not in %q", token, line)
		}
		if fromLine && taken && r.URL.Query().Has("access_token") {
			t.Fatalf("two ways at once: %q %q", line, query)
		}
	})
}

// Whoever disables or removes a client need not wait for its tokens to end.
func TestB6_DisabledAndRemovedClientsWithinAMinute(t *testing.T) {
	for name, change := range map[string]func(*store.Memory, *store.Client){
		"disabled": func(m *store.Memory, c *store.Client) { c.Disabled = true; _ = m.Put(c) },
		"removed":  func(m *store.Memory, c *store.Client) { m.Remove(c.ID) },
	} {
		acme, _ := store.NewClient("acme")
		clients := gkMust(store.NewMemory(acme))
		b := gkNew(t, func(c *HandlerConfig) { c.Clients = clients })
		token := b.mintFor(t, nil)
		if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
			t.Fatalf("%s: status %d before", name, status)
		}
		change(clients, acme)
		b.clock.add(time.Minute)
		if status := gkStatus(t, b.Guard(), token); status != http.StatusUnauthorized {
			t.Errorf("%s: status %d a minute after", name, status)
		}
	}
}
