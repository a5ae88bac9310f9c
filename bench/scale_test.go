package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// manyOf is how many make many: a million, or fewer in the short form.
func manyOf() int {
	if testing.Short() {
		return 100_000
	}
	return 1_000_000
}

// BenchmarkClients is the issuance of HS256 tokens to clients drawn at random, each
// of which has come before, so that its bucket is there too.
func BenchmarkClients(b *testing.B) {
	for _, n := range []int{10, manyOf()} {
		b.Run(fmt.Sprintf("alg=HS256/clients=%d", n), func(b *testing.B) {
			h := manyClients(n)
			onAll(n, func(from, to int) {
				c := newClientCall()
				for i := from; i < to; i++ {
					c.ask(b, h, uint64(i))
				}
			})
			c := newClientCall()
			overCollection(b, func() { c.ask(b, h, mrand.Uint64N(uint64(n))) })
		})
	}
}

const (
	manyID     = "client-00000000"
	manySecret = "3q2-7wAAAAEjRWeJq83vEjRWeJq83vEjRWe00000000"
)

func manyClients(n int) http.Handler {
	clients := make([]*store.Client, n)
	for i := range clients {
		clients[i] = &store.Client{
			ID:      fmt.Sprintf("client-%08x", i),
			Secrets: []store.Secret{store.HashSecret(fmt.Sprintf("%s%08x", manySecret[:len(manySecret)-8], i))},
			Grants:  []string{"client_credentials"},
			Scopes:  []string{"read", "write"},
			Rate:    &store.Rate{PerSecond: perSecond, Burst: keysBurst},
		}
	}
	config := ourConfig("HS256")
	config.Clients = must(store.NewMemory(clients...))
	return newOurs(config)
}

// A clientCall is a token request whose client is written over the one before.
type clientCall struct {
	*call
	id, secret []byte // the digits, in the form
}

func newClientCall() clientCall {
	form := []byte(strings.NewReplacer(clientID, manyID, clientSecret, manySecret).Replace(tokenForm(clientSecret)))
	c := tokenCall(clientSecret)
	c.form = unsafe.String(&form[0], len(form))
	c.template.ContentLength = int64(len(form))
	digits := func(of string) []byte {
		end := bytes.Index(form, []byte(of)) + len(of)
		return form[end-8 : end]
	}
	return clientCall{c, digits(manyID), digits(manySecret)}
}

func (c *clientCall) ask(b *testing.B, h http.Handler, i uint64) {
	writeHex(c.id, i)
	writeHex(c.secret, i)
	if got := c.serve(h); got != http.StatusOK {
		b.Fatalf("client %d: status %d", i, got)
	}
}

// BenchmarkRefresh renews HS256 tokens, without an id_token, of as many
// authorizations as the name says, in no order.
//
// A tenth of them were authorized and are renewed, which is more than any cache of
// a processor holds. The rest are entries of the same size between theirs: an
// authorization that rests is no more than its entry.
func BenchmarkRefresh(b *testing.B) {
	for _, n := range []int{1, manyOf()} {
		b.Run(fmt.Sprintf("alg=HS256/families=%d", n), func(b *testing.B) {
			h, tokens := manyFamilies(b, n)
			c := newRefreshCall()
			next := 0
			overCollection(b, func() {
				c.renew(b, h, &tokens[next])
				if next++; next == len(tokens) {
					next = 0
				}
			})
		})
	}
}

// A keptToken is one that the client holds, in the order in which it uses them: it
// has them all in the processor's caches, and what misses those is the package's.
type keptToken struct {
	length int
	text   [184]byte
}

func (k *keptToken) keep(token []byte) { k.length = copy(k.text[:], token) }

func manyFamilies(b *testing.B, n int) (h http.Handler, tokens []keptToken) {
	state := &crowdedState{Memory: new(store.Memory), copies: 9}
	if n == 1 {
		state.copies = 0
	}
	config := ourConfig("HS256")
	config.State = state
	config.AlwaysRefresh = true
	config.Grants = []grant.Grant{grant.AuthorizationCode{}, grant.RefreshToken{}}
	client := userClient()
	config.Clients = must(store.NewMemory(client))

	open := config // sign-ins come from one address, which is limited
	open.Limiter = tokenbooth.Unlimited{}
	booth := newOurs(open)
	authorize := booth.Authorize(approve)
	tokens = make([]keptToken, max(1, n/10))
	onAll(len(tokens), func(from, to int) {
		for i := from; i < to; i++ {
			tokens[i].keep(signIn(b, authorize, booth, fmt.Sprintf("user:%d", i)))
		}
	})
	mrand.Shuffle(len(tokens), func(i, j int) { tokens[i], tokens[j] = tokens[j], tokens[i] })
	config.State = state.Memory
	return newOurs(config), tokens
}

// crowdedState puts as many entries like it beside each that is made.
type crowdedState struct {
	*store.Memory
	copies int
}

func (s *crowdedState) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	for range s.copies {
		other := []byte(key)
		rand.Read(other[len(other)-8:])
		if _, err := s.Memory.Create(ctx, string(other), val, expires); err != nil {
			return false, err
		}
	}
	return s.Memory.Create(ctx, key, val, expires)
}

const callback = "https://app.example/callback"

func userClient() *store.Client {
	return &store.Client{
		ID:           clientID,
		Secrets:      []store.Secret{store.HashSecret(clientSecret)},
		Grants:       []string{"authorization_code", "refresh_token"},
		Scopes:       []string{"read", "write"},
		RedirectURIs: []string{callback},
		WithoutPKCE:  true,
		Rate:         &neverReached,
	}
}

// approve stands for a login page: who is asked for is who it is.
func approve(w http.ResponseWriter, r *http.Request, a *tokenbooth.AuthorizationRequest) {
	must(0, a.Approve(w, r, response.Subject{ID: r.Header.Get("User")}))
}

// signIn takes a user through the authorization endpoint and returns the refresh
// token.
func signIn(b *testing.B, authorize, token http.Handler, user string) []byte {
	query := url.Values{"response_type": {"code"}, "client_id": {clientID}, "scope": {scope}}
	r := httptest.NewRequest(http.MethodGet, "/authorize?"+query.Encode(), nil)
	r.Header.Set("User", user)
	c := newCall(r, "")
	if got := c.serve(authorize); got != http.StatusSeeOther {
		b.Fatalf("authorize: status %d", got)
	}
	back := must(url.Parse(c.sink.header.Get("Location")))
	var body []byte
	c = formCall(url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")},
		"client_id": {clientID}, "client_secret": {clientSecret},
	}.Encode())
	c.sink.body = &body
	if got := c.serve(token); got != http.StatusOK {
		b.Fatalf("code: status %d: %s", got, body)
	}
	return bytes.Clone(refreshTokenOf(b, body))
}

var refreshMember = []byte(`"refresh_token":"`)

// refreshTokenOf finds it without the price of reading JSON.
func refreshTokenOf(b *testing.B, body []byte) []byte {
	token, ok := memberAt(body, bytes.Index(body, refreshMember))
	if !ok {
		b.Fatalf("no refresh token in %s", body)
	}
	return token
}

// memberAt returns the refresh token if it is there.
func memberAt(body []byte, at int) (token []byte, ok bool) {
	if at < 0 || at > len(body) || !bytes.HasPrefix(body[at:], refreshMember) {
		return nil, false
	}
	token, _, ok = bytes.Cut(body[at+len(refreshMember):], []byte(`"`))
	return token, ok
}

// A refreshCall renews one token after the other.
type refreshCall struct {
	*call
	token []byte // in the form; nil before the first
	start string
	body  []byte
	at    int // where in the body the last one was
}

func newRefreshCall() *refreshCall {
	c := &refreshCall{call: formCall("x"), start: url.Values{
		"grant_type": {"refresh_token"}, "client_id": {clientID}, "client_secret": {clientSecret},
	}.Encode() + "&refresh_token="}
	c.sink.body = &c.body
	return c
}

// renew writes the successor over the token.
func (c *refreshCall) renew(b *testing.B, h http.Handler, kept *keptToken) {
	token := kept.text[:kept.length]
	if len(c.token) != len(token) {
		form := append([]byte(c.start), token...)
		c.token = form[len(c.start):]
		c.form = unsafe.String(&form[0], len(form))
		c.template.ContentLength = int64(len(form))
	}
	copy(c.token, token)
	c.body = c.body[:0]
	if got := c.serve(h); got != http.StatusOK {
		b.Fatalf("refresh: status %d: %s", got, c.body)
	}
	next, ok := memberAt(c.body, c.at)
	if !ok {
		next = refreshTokenOf(b, c.body)
		c.at = bytes.Index(c.body, refreshMember)
	}
	kept.keep(next)
}

// overCollection measures do as inProcess does, and then goes on until the garbage
// collector has been round once: collected-cpu-ns/op is all of it. With much that
// lives a round is rare and dear, and the usual time is too short for one.
func overCollection(b *testing.B, do func()) {
	debug.FreeOSMemory() // of what was measured before, or it is given back meanwhile
	for range 2000 {
		do()
	}
	runtime.GC()
	b.ReportAllocs()
	rounds, n, before := collections(), 0, cpuTime()
	for b.Loop() {
		do()
		n++
	}
	b.ReportMetric(float64(cpuTime()-before)/float64(n), "cpu-ns/op")
	for rounds == collections() {
		for range 1000 {
			do()
			n++
		}
	}
	b.ReportMetric(float64(cpuTime()-before)/float64(n), "collected-cpu-ns/op")
}

func collections() uint64 {
	sample := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// onAll divides 0 to n among the processors.
func onAll(n int, do func(from, to int)) {
	var all sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		all.Go(func() { do(n*w/workers, n*(w+1)/workers) })
	}
	all.Wait()
}
