package tokenbooth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

const (
	epIssuer   = "https://issuer.example"
	epSecret   = "acme-secret-7f3c9d1e5b8a2460"
	epPassword = "correct horse battery staple"
	epAddress  = "192.0.2.1:4711"
)

// epAcme asks for a token as acme does, but for what follows.
const epAcme = "grant_type=client_credentials&client_id=acme&client_secret=" + epSecret

const epLogin = "grant_type=password&client_id=acme&client_secret=" + epSecret + "&username=admin&password="

// epEnvelopes are the five documented ones, and Content as it hides who exists.
var epEnvelopes = []epEnvelope{
	{"oauth", response.OAuth{}, 200},
	{"data", response.Data{}, 200},
	{"meta", response.Meta{}, 200},
	{"coded", response.Coded{}, 200},
	{"content", response.Content{}, 201},
	{"content-hidden", response.Content{HideUnknown: true}, 201},
}

type epEnvelope struct {
	name      string
	formatter response.Formatter
	success   int
}

func epEach(t *testing.T, f func(*testing.T, epEnvelope)) {
	for _, e := range epEnvelopes {
		t.Run(e.name, func(t *testing.T) { f(t, e) })
	}
}

// One ring for all, so that no handler makes a key or warns of it.
var epKeys = sync.OnceValue(func() *KeyRing {
	key, err := GenerateKey("ES256")
	if err != nil {
		panic(err)
	}
	ring, err := NewKeyRing(key)
	if err != nil {
		panic(err)
	}
	return ring
})

func epSecrets(plain ...string) (all []store.Secret) {
	for _, p := range plain {
		all = append(all, store.HashSecret(p))
	}
	return all
}

func epFixtures() map[string]*store.Client {
	usual := []string{"client_credentials", "password", "fake"}
	all := map[string]*store.Client{}
	for _, c := range []*store.Client{
		{ID: "acme", Secrets: epSecrets(epSecret), Grants: usual, Scopes: []string{"read", "write"}, Number: 1, Name: "Acme", Description: "Sync", Roles: []int64{1, 2}},
		{ID: "probe", Secrets: epSecrets("probe-secret"), Grants: usual},
		{ID: "narrow", Secrets: epSecrets("narrow-secret"), Grants: []string{"password"}},
		{ID: "storefront", Public: true, Grants: []string{"implicit"}},
		{ID: "spa", Public: true, Grants: []string{"authorization_code"}},
		{ID: "kiosk", Public: true, Grants: []string{"client_credentials", "implicit", "fake"}},
		{ID: "shop", Secrets: epSecrets("shop-secret"), Grants: []string{"client_credentials", "implicit"}},
		{ID: "twofaced", Public: true, Secrets: epSecrets("twofaced-secret"), Grants: []string{"client_credentials", "implicit"}},
		{ID: "disabled", Secrets: epSecrets("disabled-secret"), Grants: usual, Disabled: true},
		{ID: "longlived", Secrets: epSecrets("longlived-secret"), Grants: usual, LongLived: true},
		{ID: "closed", Public: true, Grants: []string{"implicit"}, Disabled: true},
		{ID: "slow", Secrets: epSecrets("slow-secret"), Grants: usual, Rate: &store.Rate{PerSecond: 0.1, Burst: 3}},
		{ID: "odd+d id:é", Secrets: epSecrets("p+l%u s:é&=secret"), Grants: usual},
		{ID: "raw+1", Secrets: epSecrets("s+1%41"), Grants: usual},
		{ID: "bare", Grants: []string{"client_credentials", "implicit", "password", "fake"}},
		{ID: "hollow", Secrets: []store.Secret{{}}, Grants: usual},
		{ID: "prefixed", Secrets: []store.Secret{{Hash: "sha256$"}}, Grants: usual},
		{ID: "post-only", Secrets: epSecrets("post-secret"), Grants: usual, AuthMethod: store.AuthPost},
	} {
		all[c.ID] = c
	}
	return all
}

// epClients is a ClientStore that does what fault says, where it is set.
type epClients struct {
	all   map[string]*store.Client
	asked atomic.Int64
	fault atomic.Pointer[epFault]
}

type epFault func(ctx context.Context, id string) (*store.Client, error)

func (c *epClients) Client(ctx context.Context, id string) (*store.Client, error) {
	c.asked.Add(1)
	if f := c.fault.Load(); f != nil {
		return (*f)(ctx, id)
	}
	return c.find(ctx, id)
}

func (c *epClients) find(_ context.Context, id string) (*store.Client, error) {
	if client, ok := c.all[id]; ok {
		return client, nil
	}
	return nil, fmt.Errorf("epClients: %w", store.ErrNotFound)
}

func (c *epClients) fail(f epFault) { c.fault.Store(&f) }
func (c *epClients) heal()          { c.fault.Store(nil) }

// epState is a State whose Create does what fault says, where it is set.
type epState struct {
	store.Memory
	fault   atomic.Pointer[func(context.Context) (bool, error)]
	created atomic.Int64
}

func (s *epState) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	if f := s.fault.Load(); f != nil {
		return (*f)(ctx)
	}
	s.created.Add(1)
	return s.Memory.Create(ctx, key, val, expires)
}

func (s *epState) fail(f func(context.Context) (bool, error)) { s.fault.Store(&f) }
func (s *epState) heal()                                      { s.fault.Store(nil) }

// epGrant is the grant "fake", which does what exchange says.
type epGrant struct {
	public   bool
	exchange func(context.Context, *grant.Request) (*grant.Issue, error)
	keys     func(*grant.Request) []string
}

func (*epGrant) Type() string          { return "fake" }
func (g *epGrant) PublicClients() bool { return g.public }

func (g *epGrant) Exchange(ctx context.Context, r *grant.Request) (*grant.Issue, error) {
	return g.exchange(ctx, r)
}

func (g *epGrant) LimitKeys(r *grant.Request) []string {
	if g.keys == nil {
		return nil
	}
	return g.keys(r)
}

func epIssuing(issue grant.Issue) *epGrant {
	return &epGrant{exchange: func(context.Context, *grant.Request) (*grant.Issue, error) { return &issue, nil }}
}

func epRefusing(err error) *epGrant {
	return &epGrant{exchange: func(context.Context, *grant.Request) (*grant.Issue, error) { return nil, err }}
}

const epFake = "grant_type=fake&client_id=acme&client_secret=" + epSecret

// epFormatter is OAuth where its functions are nil.
type epFormatter struct {
	token   func(*response.Token) (response.Reply, error)
	failure func(*response.Failure) (response.Reply, error)
}

func (f *epFormatter) Token(t *response.Token) (response.Reply, error) {
	if f.token != nil {
		return f.token(t)
	}
	return response.OAuth{}.Token(t)
}

func (f *epFormatter) Failure(x *response.Failure) (response.Reply, error) {
	if f.failure != nil {
		return f.failure(x)
	}
	return response.OAuth{}.Failure(x)
}

type epLimiter func(ctx context.Context, key string, l Limit) (Decision, error)

func (f epLimiter) Take(ctx context.Context, key string, l Limit) (Decision, error) {
	return f(ctx, key, l)
}

// epWatch keeps every event and every line of the log, of any level.
type epWatch struct {
	mu     sync.Mutex
	events []Event
	lines  bytes.Buffer
}

func (w *epWatch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines.Write(p)
}

func (w *epWatch) event(_ context.Context, e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *epWatch) all() []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Event(nil), w.events...)
}

func (w *epWatch) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines.String()
}

func (w *epWatch) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{AddSource: true, Level: slog.Level(-100)}))
}

// epBooth is a handler and everything around it.
type epBooth struct {
	*Handler
	epWatch
	clock   *heldClock
	clients *epClients
	state   *epState
}

type epChange func(*HandlerConfig)

// epNew makes a handler with every grant, in the envelope. The grant "fake" is
// there only where a change puts it there.
func epNew(t testing.TB, f response.Formatter, changes ...epChange) *epBooth {
	t.Helper()
	b := &epBooth{clock: newHeldClock(), clients: &epClients{all: epFixtures()}, state: new(epState)}
	c := HandlerConfig{
		Issuer: epIssuer, Clients: b.clients, Formatter: f, State: b.state, Keys: epKeys(),
		Grants: []grant.Grant{grant.ClientCredentials{}, grant.Implicit{}, &grant.Password{Authenticate: epAuthenticate}},
		Logger: b.logger(), Events: b.event, Now: b.clock.Now,
	}
	for _, change := range changes {
		change(&c)
	}
	h, err := NewHandler(c)
	if err != nil {
		t.Fatal(err)
	}
	b.Handler = h
	return b
}

func epGrants(grants ...grant.Grant) epChange {
	return func(c *HandlerConfig) { c.Grants = append(c.Grants, grants...) }
}

// epPasswords replaces the password grant.
func epPasswords(p *grant.Password) epChange {
	return func(c *HandlerConfig) { c.Grants = []grant.Grant{grant.ClientCredentials{}, grant.Implicit{}, p} }
}

func epAuthenticate(_ context.Context, username, password string) (*grant.User, error) {
	switch {
	case username == "locked":
		return nil, fmt.Errorf("epAuthenticate: %w", grant.ErrUserLocked)
	case username != "admin":
		return nil, grant.ErrUserUnknown
	case password != epPassword:
		return nil, grant.ErrWrongPassword
	}
	return &grant.User{
		Subject: response.Subject{ID: "user-7", Number: 7, Username: "admin", Name: "Ada", Roles: []int64{1}},
		Scopes:  []string{"read"},
	}, nil
}

func epRequest(body string, changes ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(body))
	r.RemoteAddr = epAddress
	r.Header.Set("Content-Type", formMediaType)
	for _, change := range changes {
		change(r)
	}
	return r
}

// post sends a request. A panic that leaves the handler is no answer: status 0.
func (b *epBooth) post(body string, changes ...func(*http.Request)) (w *httptest.ResponseRecorder) {
	defer func() {
		if v := recover(); v != nil {
			w = &httptest.ResponseRecorder{Body: bytes.NewBufferString(fmt.Sprintf("a %T left the handler", v))}
		}
	}()
	w = httptest.NewRecorder()
	b.ServeHTTP(w, epRequest(body, changes...))
	return w
}

func epBasic(id, secret string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Add("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
	}
}

func epEscapedBasic(id, secret string) func(*http.Request) {
	return epBasic(url.QueryEscape(id), url.QueryEscape(secret))
}

func epHeader(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[name] = values }
}

func epFrom(remote string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = remote }
}

func epCredentials(id, secret string) string {
	return "grant_type=client_credentials&client_id=" + url.QueryEscape(id) + "&client_secret=" + url.QueryEscape(secret)
}

// alive proves that the handler still issues tokens, to a client that takes no
// other part.
func (b *epBooth) alive(t testing.TB) {
	t.Helper()
	w := b.post(epCredentials("probe", "probe-secret"), epFrom("198.51.100.77:1"))
	if w.Code != 200 && w.Code != 201 {
		t.Errorf("later requests are answered %d %s", w.Code, w.Body)
	}
}

// last returns the event of the last request.
func (b *epBooth) last(t testing.TB) Event {
	t.Helper()
	all := b.all()
	if len(all) == 0 {
		t.Fatal("no event")
	}
	return all[len(all)-1]
}

// want checks the last answer against a reason, "" for a token.
func (b *epBooth) want(t testing.TB, w *httptest.ResponseRecorder, status int, reason response.Reason) {
	t.Helper()
	if epHeaders(t, w); w.Code == 0 {
		return
	}
	if e := b.last(t); w.Code != status || e.Reason != reason || e.Status != w.Code {
		t.Errorf("got %d %s, event %d %q (%v); want %d %q", w.Code, w.Body, e.Status, e.Reason, e.Err, status, reason)
	}
}

// epHeaders checks what every answer must carry (H1).
func epHeaders(t testing.TB, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code == 0 {
		t.Error(w.Body)
		return
	}
	for name, want := range map[string]string{
		"Content-Type":           "application/json",
		"Cache-Control":          "no-store",
		"Pragma":                 "no-cache",
		"X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header()[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	// Where it is not there net/http counts; who refuses has to say it.
	var want []string
	if w.Code >= 400 || w.Body.Len() > writeWhole {
		want = []string{strconv.Itoa(w.Body.Len())}
	}
	if got := w.Header()["Content-Length"]; !slices.Equal(got, want) {
		t.Errorf("Content-Length is %q, want %q", got, want)
	}
	if !json.Valid(w.Body.Bytes()) {
		t.Errorf("the body is no JSON: %q", w.Body)
	}
	if w.Code == http.StatusTooManyRequests || w.Code == http.StatusServiceUnavailable {
		epRetryAfter(t, w)
	}
}

func epRetryAfter(t testing.TB, w *httptest.ResponseRecorder) time.Duration {
	t.Helper()
	n, err := strconv.Atoi(w.Header().Get("Retry-After"))
	if err != nil || n < 1 || n > 3600 {
		t.Errorf("%d with Retry-After %q", w.Code, w.Header()["Retry-After"])
	}
	return time.Duration(n) * time.Second
}

func epSame(t testing.TB, what string, a, b *httptest.ResponseRecorder) {
	t.Helper()
	if x, y := epRender(a), epRender(b); x != y {
		t.Errorf("%s differ:\n%s%s", what, x, y)
	}
}

var epTokens = regexp.MustCompile(`"(access_token|jwt_token)":"[^"]+"`)

// epRender is an answer as the golden files have it: all of it but for the
// token.
func epRender(w *httptest.ResponseRecorder) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d", w.Code)
	for _, name := range []string{"Allow", "Connection", "Retry-After", "Www-Authenticate"} {
		for _, v := range w.Header()[name] {
			fmt.Fprintf(&s, " %s: %s;", name, v)
		}
	}
	for name := range w.Header() {
		switch name {
		case "Allow", "Connection", "Retry-After", "Www-Authenticate",
			"Content-Type", "Cache-Control", "Pragma", "X-Content-Type-Options", "Content-Length":
		default:
			fmt.Fprintf(&s, " unexpected header %s", name)
		}
	}
	body := epTokens.ReplaceAll(w.Body.Bytes(), []byte(`"$1":"<token>"`))
	fmt.Fprintf(&s, "\n%s\n", body)
	return s.String()
}

// An epCase is one request, answered alike in meaning by all envelopes but those
// in otherwise.
type epCase struct {
	name      string
	body      string
	changes   []func(*http.Request)
	reason    response.Reason // "" for a token
	otherwise map[string]response.Reason
	asks      bool // whether the store may be asked before the refusal
}

func (c *epCase) reasonIn(envelope string) response.Reason {
	if r, ok := c.otherwise[strings.TrimSuffix(envelope, "-hidden")]; ok {
		return r
	}
	return c.reason
}

var epUpdate = flag.Bool("update-answers", false, "write the golden files of whole answers")

// epAnswers sends each request to a new handler in each envelope and compares
// whole answers with testdata/answers/<demand>.golden, where an answer that is
// the envelope's before it is left out.
func epAnswers(t *testing.T, demand string, cases []epCase, changes ...epChange) {
	t.Helper()
	var golden strings.Builder
	for _, c := range cases {
		before := ""
		for _, e := range epEnvelopes {
			t.Run(c.name+"/"+e.name, func(t *testing.T) {
				if answer := epAnswer(t, &c, e, changes); answer != before {
					fmt.Fprintf(&golden, "%s: %s: %s", c.name, e.name, answer)
					before = answer
				}
			})
		}
		golden.WriteByte('\n')
	}
	epGolden(t, filepath.Join("testdata", "answers", demand+".golden"), golden.String())
}

func epAnswer(t *testing.T, c *epCase, e epEnvelope, changes []epChange) string {
	b := epNew(t, e.formatter, changes...)
	w := b.post(c.body, c.changes...)
	epHeaders(t, w)
	reason := c.reasonIn(e.name)
	if all := b.all(); len(all) != 1 || all[0].Reason != reason || all[0].Status != w.Code {
		t.Errorf("events %+v, want one of reason %q and status %d", all, reason, w.Code)
	}
	if issued := w.Code == e.success; issued != (reason == "") {
		t.Errorf("answered %d, want reason %q", w.Code, reason)
	}
	if n := b.clients.asked.Load(); reason != "" && !c.asks && n != 0 {
		t.Errorf("the store was asked %d times for a request that is not well-formed", n)
	}
	b.alive(t)
	return epRender(w)
}

func epGolden(t *testing.T, path, got string) {
	t.Helper()
	if *epUpdate {
		err := os.MkdirAll(filepath.Dir(path), 0o750)
		if err = errors.Join(err, os.WriteFile(path, []byte(got), 0o600)); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path) //nolint:gosec // a name of ours
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Errorf("%s:%d:\n got %s\nwant %s", path, i+1, g[i], w[i])
		}
	}
	if len(g) != len(w) {
		t.Errorf("%s has %d lines, got %d", path, len(w), len(g))
	}
}
