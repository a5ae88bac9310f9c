package tokenbooth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

const gkIssuer = "https://issuer.example"

var gkStart = time.Unix(1_700_000_000, 0)

var gkAlgorithms = []string{"ES256", "EdDSA", "RS256", "HS256"}

var gkFormatters = map[string]ResponseFormatter{
	"OAuth": response.OAuth{}, "Data": response.Data{}, "Meta": response.Meta{},
	"Coded": response.Coded{}, "Content": response.Content{},
}

// gkKey returns the one key of an algorithm that all tests share.
var gkKey = func() func(algorithm string) Key {
	var mu sync.Mutex
	keys := map[string]Key{}
	return func(algorithm string) Key {
		mu.Lock()
		defer mu.Unlock()
		if _, ok := keys[algorithm]; !ok {
			k, err := GenerateKey(algorithm)
			if err != nil {
				panic(err)
			}
			k.ID = "kid-" + algorithm
			keys[algorithm] = k
		}
		return keys[algorithm]
	}
}()

func gkRing(t testing.TB, keys ...Key) *KeyRing {
	t.Helper()
	ring, err := NewKeyRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// gkPublic returns the public half of a key.
func gkPublic(t testing.TB, k Key) Key {
	t.Helper()
	public, _, algorithm, err := inspect(k.Material)
	if err != nil {
		t.Fatal(err)
	}
	return Key{ID: k.ID, Algorithm: algorithm, Material: public}
}

type gkClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *gkClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *gkClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

func (c *gkClock) add(d time.Duration) { c.set(c.now().Add(d)) }

type gkEvents struct {
	mu  sync.Mutex
	all []Event
}

func (e *gkEvents) take(_ context.Context, event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

func (e *gkEvents) last(t testing.TB) Event {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.all) == 0 {
		t.Fatal("there was no event")
	}
	return e.all[len(e.all)-1]
}

// A gkBooth is a handler with everything that a test turns.
type gkBooth struct {
	*Handler
	clock   *gkClock
	events  *gkEvents
	clients *store.Memory
	state   *store.Memory
	secret  string
}

var gkQuiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// gkNew makes a handler with an ES256 key, the client acme with the scopes read
// and write, and the public client shop, after change has changed the
// configuration.
func gkNew(t testing.TB, change func(*HandlerConfig)) *gkBooth {
	t.Helper()
	acme, secret := store.NewClient("acme", "read", "write")
	acme.Name = "Acme"
	shop := &store.Client{ID: "shop", Public: true, Grants: []string{"implicit"}}
	clients, err := store.NewMemory(acme, shop)
	if err != nil {
		t.Fatal(err)
	}
	b := &gkBooth{clock: &gkClock{t: gkStart}, events: &gkEvents{}, clients: clients, secret: secret}
	b.state = &store.Memory{Now: b.clock.now}
	c := HandlerConfig{
		Issuer: gkIssuer, Clients: clients, State: b.state, Keys: gkRing(t, gkKey("ES256")),
		Logger: gkQuiet, Events: b.events.take, Now: b.clock.now,
	}
	if change != nil {
		change(&c)
	}
	if b.Handler, err = NewHandler(c); err != nil {
		t.Fatal(err)
	}
	return b
}

// gkGuard makes a guard elsewhere.
func gkGuard(t testing.TB, c GuardConfig) *Guard {
	t.Helper()
	if c.Issuer == "" {
		c.Issuer = gkIssuer
	}
	if c.Logger == nil {
		c.Logger = gkQuiet
	}
	g, err := NewGuard(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// mintFor makes a token of the client acme after change has changed what it
// says.
func (b *gkBooth) mintFor(t testing.TB, change func(*claims)) string {
	t.Helper()
	c := claims{
		subject: clientSubjectPrefix + "acme", clientID: "acme", scope: "read",
		issued: b.clock.now(), expires: b.clock.now().Add(time.Hour),
	}
	if change != nil {
		change(&c)
	}
	token, err := b.codec.mint(t.Context(), &c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// gkRequest makes a GET request with a bearer token; none when empty.
func gkRequest(token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/resource", http.NoBody)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// gkOpen is a guarded handler that answers 204.
var gkOpen = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

// gkServe sends a request through the middleware and tells whether the guarded
// handler ran, which it must exactly when the answer is its own.
func gkServe(t testing.TB, require func(http.Handler) http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	ran := false
	w := httptest.NewRecorder()
	require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ran = true
		gkOpen(w, r)
	})).ServeHTTP(w, r)
	if passed := w.Code == http.StatusNoContent; ran != passed {
		t.Fatalf("the guarded handler ran: %v, but the answer is %d %s", ran, w.Code, w.Body)
	}
	return w
}

// gkStatus serves a request that needs any good token.
func gkStatus(t testing.TB, g *Guard, token string) int {
	t.Helper()
	return gkServe(t, g.Require(), gkRequest(token)).Code
}

func verifyJWS(ctx context.Context, keys keyFinder, token, typ string) ([]byte, error) {
	j := jwsVerifier{keys: keys, typ: typ}
	p, err := j.verify(ctx, token)
	return p.bytes, err
}

type gkDropped struct{}

// gkDrop as a value removes the member.
var gkDrop gkDropped

type gkMembers map[string]any

// with returns the JSON of m with some members changed.
func (m gkMembers) with(changes gkMembers) string {
	all := maps.Clone(m)
	for name, value := range changes {
		if value == gkDrop {
			delete(all, name)
			continue
		}
		all[name] = value
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func gkHeader(k Key, algorithm string) gkMembers {
	return gkMembers{"alg": algorithm, "typ": "at+jwt", "kid": k.ID}
}

func gkClaims() gkMembers {
	return gkMembers{
		"iss": gkIssuer, "aud": gkIssuer, "sub": "client:acme", "client_id": "acme", "scope": "read",
		"iat": gkStart.Unix(), "exp": gkStart.Add(time.Hour).Unix(), "jti": "an-id",
	}
}

func gk64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// gkJWS signs a header and a payload, whatever they are, by plain crypto.
func gkJWS(t testing.TB, material any, header, payload string) string {
	t.Helper()
	input := gk64(header) + "." + gk64(payload)
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch k := material.(type) {
	case nil:
	case *ecdsa.PrivateKey:
		r, s, fail := ecdsa.Sign(rand.Reader, k, digest[:])
		err = fail
		if err == nil {
			signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case ed25519.PrivateKey:
		signature = ed25519.Sign(k, []byte(input))
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, digest[:])
	case []byte:
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(input))
		signature = mac.Sum(nil)
	default:
		t.Fatalf("no way to sign with %T", material)
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// A gkState is a State whose Get does what the test says.
type gkState struct {
	store.State
	get func(ctx context.Context, key string) ([]byte, bool, error)
}

func (s gkState) Get(ctx context.Context, key string) ([]byte, bool, error) { return s.get(ctx, key) }

// A gkDump is a State that remembers whatever was written to it.
type gkDump struct {
	store.State
	mu      sync.Mutex
	entries [][2]string
}

func (s *gkDump) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	s.mu.Lock()
	s.entries = append(s.entries, [2]string{key, string(bytes.Clone(val))})
	s.mu.Unlock()
	return s.State.Create(ctx, key, val, expires)
}

// A gkClients is a ClientStore that counts its calls and fails on demand.
type gkClients struct {
	mu    sync.Mutex
	inner ClientStore
	fail  error
	reads int
}

func (s *gkClients) Client(ctx context.Context, id string) (*store.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.fail != nil {
		return nil, s.fail
	}
	return s.inner.Client(ctx, id)
}

func (s *gkClients) set(fail error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *gkClients) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

type gkLimiter func(ctx context.Context, key string, l Limit) (Decision, error)

func (f gkLimiter) Take(ctx context.Context, key string, l Limit) (Decision, error) {
	return f(ctx, key, l)
}

// gkFormatter is OAuth with conventions and failures of the test's own.
type gkFormatter struct {
	response.OAuth
	conventions response.Conventions
	failure     func(*response.Failure) (response.Reply, error)
}

func (f gkFormatter) Conventions() response.Conventions { return f.conventions }

func (f gkFormatter) Failure(x *response.Failure) (response.Reply, error) {
	if f.failure != nil {
		return f.failure(x)
	}
	return f.OAuth.Failure(x)
}

func gkPrefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// gkIssue gets a token from the endpoint.
func gkIssue(t testing.TB, b *gkBooth, form string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	var reply struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || reply.AccessToken == "" {
		t.Fatalf("no token: %d %s", w.Code, w.Body)
	}
	return reply.AccessToken
}
