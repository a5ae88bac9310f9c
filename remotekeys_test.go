//nolint:bodyclose // the client under test closes what the fake network answers
package tokenbooth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokenbooth/tokenbooth/response"
)

const rkURL = "https://issuer.example/jwks.json"

// An rkIssuer is the network: it publishes a key set and counts who asks.
type rkIssuer struct {
	asked atomic.Int64
	mu    sync.Mutex
	serve func(*http.Request) (*http.Response, error)
}

func (i *rkIssuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.asked.Add(1)
	i.mu.Lock()
	serve := i.serve
	i.mu.Unlock()
	answer, err := serve(r)
	if answer != nil {
		answer.Request = r
	}
	return answer, err
}

func (i *rkIssuer) set(serve func(*http.Request) (*http.Response, error)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serve = serve
}

func (i *rkIssuer) fetches(t testing.TB, when string, want int64) {
	t.Helper()
	if got := i.asked.Load(); got != want {
		t.Errorf("%s: %d fetches, want %d", when, got, want)
	}
}

func rkServe(status int, body, contentType string, cacheControl ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		header := http.Header{"Cache-Control": cacheControl}
		if contentType != "" {
			header.Set("Content-Type", contentType)
		}
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

// rkPublish answers the public halves of keys.
func rkPublish(t testing.TB, keys ...Key) func(*http.Request) (*http.Response, error) {
	t.Helper()
	return rkServe(200, string(gkRing(t, keys...).JWKS()), "application/jwk-set+json", "public, max-age=300")
}

func rkFail(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// An rkBooth is a guard elsewhere, with the network and the clock it goes by.
type rkBooth struct {
	*Guard
	*rkIssuer
	clock  *gkClock
	events *gkEvents
}

func rkNew(t testing.TB, serve func(*http.Request) (*http.Response, error), change func(*GuardConfig)) *rkBooth {
	t.Helper()
	b := &rkBooth{rkIssuer: &rkIssuer{serve: serve}, clock: &gkClock{t: gkStart}, events: &gkEvents{}}
	c := GuardConfig{
		JWKSURL: rkURL, HTTPClient: &http.Client{Transport: b.rkIssuer},
		Limiter: Unlimited{}, Now: b.clock.now, Events: b.events.take,
	}
	if change != nil {
		change(&c)
	}
	b.Guard = gkGuard(t, c)
	return b
}

func (b *rkBooth) remote() *remoteKeys { return b.codec.(*jwtCodec).jws.keys.(*remoteKeys) }

// want serves a token of the key and checks the status.
func (b *rkBooth) want(t testing.TB, when, token string, status int) {
	t.Helper()
	if got := gkStatus(t, b.Guard, token); got != status {
		t.Errorf("%s: %d, want %d", when, got, status)
	}
}

// rkToken is signed by the key and good for two days.
func rkToken(t testing.TB, k Key) string {
	t.Helper()
	claims := gkClaims().with(gkMembers{"exp": gkStart.Add(48 * time.Hour).Unix()})
	_, _, algorithm, err := inspect(k.Material)
	if err != nil {
		t.Fatal(err)
	}
	return gkJWS(t, k.Material, gkHeader(k, algorithm).with(nil), claims)
}

// rkGarbage names a key that nobody has.
func rkGarbage(t testing.TB, n int) string {
	t.Helper()
	return rkToken(t, Key{ID: fmt.Sprint("garbage-", n), Material: gkKey("HS256").Material})
}

func rkNewKey(t testing.TB, id string) Key {
	t.Helper()
	k, err := GenerateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	k.ID = id
	return k
}

func TestT6_RemoteKeysOfEachAlgorithm(t *testing.T) {
	keys := []Key{gkKey("ES256"), gkKey("EdDSA"), gkKey("RS256")}
	b := rkNew(t, rkPublish(t, keys...), nil)
	for _, k := range keys {
		b.want(t, k.Algorithm, rkToken(t, k), 204)
	}
	b.want(t, "a key with the ID of another", rkToken(t, Key{ID: keys[0].ID, Material: gkKey("EdDSA").Material}), 401)
	b.fetches(t, "for all", 1)
}

func TestT6_RemoteRequest(t *testing.T) {
	var got *http.Request
	publish := rkPublish(t, gkKey("ES256"))
	b := rkNew(t, func(r *http.Request) (*http.Response, error) {
		got = r
		return publish(r)
	}, nil)
	b.fetches(t, "before the first token", 0)
	b.want(t, "the first token", rkToken(t, gkKey("ES256")), 204)
	if got.Method != http.MethodGet || got.URL.String() != rkURL || !strings.Contains(got.Header.Get("Accept"), "application/jwk-set+json") {
		t.Errorf("asked by %s %s, Accept %q", got.Method, got.URL, got.Header.Get("Accept"))
	}
	if got.Header.Get("Authorization") != "" {
		t.Error("the token was sent along")
	}
	if until, ok := got.Context().Deadline(); !ok || time.Until(until) > fetchTimeout {
		t.Errorf("the fetch has the deadline %v, %v", until, ok)
	}
}

// rkParallel serves the tokens at once and returns how often each status came.
func rkParallel(t testing.TB, g *Guard, tokens []string) map[int]int {
	t.Helper()
	var mu sync.Mutex
	statuses := map[int]int{}
	var all sync.WaitGroup
	for _, token := range tokens {
		all.Go(func() {
			w := httptest.NewRecorder()
			g.Require()(gkOpen).ServeHTTP(w, gkRequest(token))
			mu.Lock()
			defer mu.Unlock()
			statuses[w.Code]++
		})
	}
	all.Wait()
	return statuses
}

func TestT6_OneFetchAtATime(t *testing.T) {
	token := rkToken(t, gkKey("ES256"))
	for name, tt := range map[string]struct {
		serve  func(*http.Request) (*http.Response, error)
		status int
	}{
		"found":       {rkPublish(t, gkKey("ES256")), 204},
		"unreachable": {rkFail(errors.New("connection refused")), 503},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				b := rkNew(t, func(r *http.Request) (*http.Response, error) {
					<-release
					return tt.serve(r)
				}, nil)
				done := make(chan map[int]int)
				go func() { done <- rkParallel(t, b.Guard, slices.Repeat([]string{token}, 100)) }()
				synctest.Wait()
				b.fetches(t, "while all wait", 1)
				close(release)
				if got := <-done; got[tt.status] != 100 {
					t.Errorf("got %v, want 100 of %d", got, tt.status)
				}
				b.fetches(t, "after all", 1)
			})
		})
	}
}

// Keys that are too old serve on while one request fetches newer ones.
func TestT6_NobodyWaitsWhoHasAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := rkToken(t, gkKey("ES256"))
		b := rkNew(t, rkPublish(t, gkKey("ES256")), nil)
		b.want(t, "first", token, 204)
		release := make(chan struct{})
		b.set(func(r *http.Request) (*http.Response, error) {
			<-release
			return rkPublish(t, gkKey("ES256"))(r)
		})
		b.clock.add(time.Hour)
		first := make(chan int)
		go func() { first <- rkParallel(t, b.Guard, []string{token})[204] }()
		synctest.Wait()
		for range 100 {
			b.want(t, "while another fetches", token, 204)
		}
		close(release)
		if <-first != 1 {
			t.Error("who fetched was refused")
		}
		b.fetches(t, "in all", 2)
	})
}

func TestT6_UnknownKeyAsksEveryTenSeconds(t *testing.T) {
	b := rkNew(t, rkPublish(t, gkKey("ES256")), nil)
	token := rkToken(t, gkKey("ES256"))
	b.want(t, "first", token, 204)
	for second := 1; second <= 60; second++ {
		b.clock.add(time.Second)
		tokens := make([]string, 20)
		for i := range tokens {
			tokens[i] = rkGarbage(t, second*100+i)
		}
		if got := rkParallel(t, b.Guard, tokens); got[401] != len(tokens) {
			t.Fatalf("second %d: %v, want only 401", second, got)
		}
		b.fetches(t, fmt.Sprintf("second %d", second), int64(1+second/10))
		b.want(t, "a good token beside", token, 204)
	}
	if n := len(b.remote().known.Load().verifiers); n != 1 {
		t.Errorf("%d keys are known after unknown ones, want 1", n)
	}
}

func TestT6_NewKeyIsFoundAfterTenSeconds(t *testing.T) {
	old, fresh := gkKey("ES256"), rkNewKey(t, "fresh")
	b := rkNew(t, rkPublish(t, old), nil)
	b.want(t, "old", rkToken(t, old), 204)
	b.set(rkPublish(t, fresh))
	b.clock.add(10*time.Second - 1)
	b.want(t, "new, too early", rkToken(t, fresh), 401)
	b.clock.add(1)
	b.want(t, "new", rkToken(t, fresh), 204)
	b.want(t, "retired", rkToken(t, old), 401)
	b.fetches(t, "in all", 2)
}

func TestT6_RetiredKeyEndsWithTheAge(t *testing.T) {
	old, fresh := gkKey("ES256"), rkNewKey(t, "fresh")
	b := rkNew(t, rkPublish(t, old, fresh), nil)
	b.want(t, "old", rkToken(t, old), 204)
	b.set(rkPublish(t, fresh))
	b.clock.add(5*time.Minute - 1)
	b.want(t, "old, before max-age has passed", rkToken(t, old), 204)
	b.clock.add(1)
	b.want(t, "old, after it", rkToken(t, old), 401)
	if known := b.remote().known.Load().verifiers; len(known) != 1 || known["fresh"].public == nil {
		t.Errorf("%d keys are known, want the new one alone", len(known))
	}
}

func TestT6_MaxAge(t *testing.T) {
	const minute, day = time.Minute, 24 * time.Hour
	for name, tt := range map[string]struct {
		header []string
		want   time.Duration
	}{
		"missing":           {nil, 5 * minute},
		"something else":    {[]string{"public, immutable"}, 5 * minute},
		"120 s":             {[]string{"max-age=120"}, 2 * minute},
		"among others":      {[]string{"public, Max-Age=600 , must-revalidate"}, 10 * minute},
		"quoted":            {[]string{`max-age="600"`}, 10 * minute},
		"on a second line":  {[]string{"public", "max-age=600"}, 10 * minute},
		"0":                 {[]string{"max-age=0"}, minute},
		"59 s":              {[]string{"max-age=59"}, minute},
		"a day":             {[]string{"max-age=86400"}, day},
		"more than a day":   {[]string{"max-age=86401"}, day},
		"a year":            {[]string{"max-age=31536000"}, day},
		"beyond 64 bits":    {[]string{"max-age=99999999999999999999999"}, day},
		"twice":             {[]string{"max-age=600, max-age=120"}, 2 * minute},
		"s-maxage is not":   {[]string{"s-maxage=600"}, 5 * minute},
		"garbage":           {[]string{"max-age=soon"}, 5 * minute},
		"negative":          {[]string{"max-age=-1"}, 5 * minute},
		"empty":             {[]string{"max-age="}, 5 * minute},
		"without value":     {[]string{"max-age"}, 5 * minute},
		"no-store":          {[]string{"no-store"}, minute},
		"no-cache":          {[]string{"No-Cache"}, minute},
		"no-store with age": {[]string{"max-age=3600, no-store"}, minute},
	} {
		t.Run(name, func(t *testing.T) {
			token := rkToken(t, gkKey("ES256"))
			b := rkNew(t, rkServe(200, string(gkRing(t, gkKey("ES256")).JWKS()), "application/json", tt.header...), nil)
			b.want(t, "first", token, 204)
			b.clock.add(tt.want - 1)
			b.want(t, "just before", token, 204)
			b.fetches(t, "just before", 1)
			b.clock.add(1)
			b.want(t, "then", token, 204)
			b.fetches(t, "then", 2)
		})
	}
}

func rkSet(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

// rkMember is one key of a set, with members that may leak or be odd.
func rkMember(t testing.TB, material any, members gkMembers) string {
	t.Helper()
	id, _ := members["kid"].(string)
	b, err := (&jose.JSONWebKey{Key: material, KeyID: id}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var all gkMembers
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all.with(members)
}

// rkFaults are the ways in which a key set cannot be had.
func rkFaults(t testing.TB) map[string]func(*http.Request) (*http.Response, error) {
	const kind = "application/json"
	public := func(algorithm string, members gkMembers) string {
		return rkMember(t, gkPublic(t, gkKey(algorithm)).Material, members)
	}
	good := public("ES256", gkMembers{"kid": "kid-ES256"})
	x25519 := `{"kty":"OKP","crv":"X25519","x":"AAAA","d":"AAAA"}`
	set := func(keys ...string) func(*http.Request) (*http.Response, error) {
		return rkServe(200, rkSet(keys...), kind)
	}
	return map[string]func(*http.Request) (*http.Response, error){
		"refused":              rkFail(errors.New("connection refused")),
		"500":                  rkServe(500, rkSet(good), kind),
		"404":                  rkServe(404, rkSet(good), kind),
		"204":                  rkServe(204, "", ""),
		"HTML":                 rkServe(200, "<html>", "text/html"),
		"HTML, unlabelled":     rkServe(200, "<html>", ""),
		"labelled as text":     rkServe(200, rkSet(good), "text/plain"),
		"empty":                rkServe(200, "", kind),
		"cut off":              rkServe(200, rkSet(good)[:40], kind),
		"trailing data":        rkServe(200, rkSet(good)+"{}", kind),
		"null":                 rkServe(200, "null", kind),
		"an array":             rkServe(200, "["+good+"]", kind),
		"no keys":              rkServe(200, `{"error":"try later"}`, kind),
		"null as keys":         rkServe(200, `{"keys":null}`, kind),
		"keys of other case":   rkServe(200, `{"KEYS":[`+good+`]}`, kind),
		"keys twice":           rkServe(200, `{"keys":[`+good+`],"keys":[`+good+`]}`, kind),
		"over 1 MiB":           rkServe(200, rkSet(good)+strings.Repeat(" ", maxJWKS), kind),
		"101 keys":             set(slices.Repeat([]string{`{"kty":"new"}`}, 101)...),
		"a duplicate kid":      set(good, public("EdDSA", gkMembers{"kid": "kid-ES256"})),
		"the same key twice":   set(good, good),
		"private EC":           set(good, rkMember(t, gkKey("ES256").Material, gkMembers{"kid": "x"})),
		"private RSA":          set(good, rkMember(t, gkKey("RS256").Material, gkMembers{"kid": "x"})),
		"private OKP":          set(good, rkMember(t, gkKey("EdDSA").Material, gkMembers{"kid": "x"})),
		"private P-384":        set(good, rkMember(t, rkP384(t), gkMembers{"kid": "x"})),
		"private X25519":       set(good, x25519),
		"private, for enc":     set(good, rkMember(t, gkKey("ES256").Material, gkMembers{"kid": "x", "use": "enc"})),
		"private, without ID":  set(good, rkMember(t, gkKey("ES256").Material, nil)),
		"private, broken":      set(good, rkMember(t, gkKey("ES256").Material, gkMembers{"x": "!"})),
		"RSA with a prime":     set(good, public("RS256", gkMembers{"kid": "x", "p": "AQAB"})),
		"private AKP":          set(good, `{"kty":"AKP","alg":"ML-DSA-44","priv":"AAAA"}`),
		"symmetric":            set(good, rkMember(t, gkKey("HS256").Material, gkMembers{"kid": "x"})),
		"symmetric, alone":     set(rkMember(t, gkKey("HS256").Material, gkMembers{"kid": "kid-HS256"})),
		"symmetric, without k": set(good, `{"kty":"oct"}`),
	}
}

func rkP384(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestB3_NoKeySetAtFirstUse(t *testing.T) {
	token := rkToken(t, gkKey("ES256"))
	for name, fault := range rkFaults(t) {
		t.Run(name, func(t *testing.T) {
			b := rkNew(t, fault, nil)
			b.want(t, "at first", token, 503)
			b.want(t, "garbage", rkGarbage(t, 1), 503)
			b.set(rkPublish(t, gkKey("ES256")))
			b.clock.add(time.Second - 1)
			b.want(t, "before the pause is over", token, 503)
			b.fetches(t, "before the pause is over", 1)
			b.clock.add(1)
			b.want(t, "after a second", token, 204)
			b.fetches(t, "after a second", 2)
		})
	}
}

func TestB3_NoKeySetInEveryEnvelope(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		b := rkNew(t, rkFail(errors.New("canary of the network")), func(c *GuardConfig) { c.Formatter = e.formatter })
		w := gkServe(t, b.Require(), gkRequest(rkToken(t, gkKey("ES256"))))
		epHeaders(t, w)
		if event := b.events.last(t); w.Code != 503 || event.Reason != response.Unavailable || !strings.Contains(fmt.Sprint(event.Err), "canary") {
			t.Errorf("got %d %s, event %+v", w.Code, w.Body, event)
		}
		if w.Header().Get("WWW-Authenticate") != "" || strings.Contains(w.Body.String(), "canary") {
			t.Errorf("got %v %s", w.Header(), w.Body)
		}
	})
}

// What was good serves on; what nobody could look up is not refused as bad.
func TestB3_OldKeysServeOnWhileNoneCanBeHad(t *testing.T) {
	token := rkToken(t, gkKey("ES256"))
	for name, fault := range rkFaults(t) {
		t.Run(name, func(t *testing.T) {
			b := rkNew(t, rkPublish(t, gkKey("ES256")), nil)
			b.want(t, "first", token, 204)
			b.set(fault)
			b.clock.add(5 * time.Minute)
			b.want(t, "too old", token, 204)
			b.fetches(t, "too old", 2)
			b.want(t, "an unknown key", rkGarbage(t, 1), 503)
			b.want(t, "a bad signature", token[:len(token)-8]+"AAAAAAAA", 401)
			b.clock.add(time.Second - 1)
			b.want(t, "in the pause", token, 204)
			b.fetches(t, "in the pause", 2)
			b.clock.add(20 * time.Hour)
			b.want(t, "hours later", token, 204)
			b.fetches(t, "hours later", 3)
			b.set(rkPublish(t, rkNewKey(t, "other")))
			b.clock.add(fetchPause - 1)
			b.want(t, "with a key to go on with the issuer is left alone", token, 204)
			b.fetches(t, "left alone", 3)
			b.clock.add(1)
			b.want(t, "retired meanwhile", token, 401)
		})
	}
}

// A key that cannot be looked up while the known ones are young is no reason to
// ask more often than every 10 s.
func TestB3_UnknownKeyWhileUnreachable(t *testing.T) {
	fresh := rkNewKey(t, "fresh")
	b := rkNew(t, rkPublish(t, gkKey("ES256")), nil)
	b.want(t, "first", rkToken(t, gkKey("ES256")), 204)
	b.set(rkFail(errors.New("connection refused")))
	b.clock.add(10 * time.Second)
	b.want(t, "unknown", rkToken(t, fresh), 503)
	for i := range 9 {
		b.clock.add(time.Second)
		b.want(t, "unknown, in the pause", rkGarbage(t, i), 503)
		b.want(t, "known, in the pause", rkToken(t, gkKey("ES256")), 204)
	}
	b.fetches(t, "in the pause", 2)
	b.set(rkPublish(t, fresh))
	b.clock.add(time.Second)
	b.want(t, "reachable again", rkToken(t, fresh), 204)
	b.want(t, "garbage, now that one knows", rkGarbage(t, 1), 401)
}

func TestT6_KeysOfOtherKindsAreLeftOut(t *testing.T) {
	public := func(algorithm string, members gkMembers) string {
		return rkMember(t, gkPublic(t, gkKey(algorithm)).Material, members)
	}
	good := public("ES256", gkMembers{"kid": "kid-ES256"})
	p384 := &rkP384(t).PublicKey
	for name, odd := range map[string]string{
		"P-384":               rkMember(t, p384, gkMembers{"kid": "x"}),
		"P-384 with our kid":  rkMember(t, p384, gkMembers{"kid": "kid-ES256"}),
		"unknown kty":         `{"kty":"future","kid":"x"}`,
		"unknown curve":       `{"kty":"OKP","crv":"Ed448","x":"AAAA","kid":"x"}`,
		"for encryption":      public("EdDSA", gkMembers{"kid": "x", "use": "enc"}),
		"encryption, our kid": public("EdDSA", gkMembers{"kid": "kid-ES256", "use": "enc"}),
		"another algorithm":   public("RS256", gkMembers{"kid": "x", "alg": "PS256"}),
		"HS256 by label":      public("RS256", gkMembers{"kid": "x", "alg": "HS256"}),
		"none by label":       public("EdDSA", gkMembers{"kid": "x", "alg": "none"}),
		"without kid":         public("EdDSA", gkMembers{"kid": gkDrop}),
		"with an empty kid":   public("EdDSA", gkMembers{"kid": ""}),
		"not on the curve":    public("ES256", gkMembers{"kid": "x", "y": gk64(strings.Repeat("y", 32))}),
		"RSA of 1024 bits":    public("RS256", gkMembers{"kid": "x", "n": gk64(strings.Repeat("\xff", 128))}),
		"RSA of 8192 bits":    public("RS256", gkMembers{"kid": "x", "n": gk64(strings.Repeat("\xff", 1024))}),
		"RSA with e of 1":     public("RS256", gkMembers{"kid": "x", "e": "AQ"}),
		"without kty":         `{"kid":"x"}`,
		"no object":           `"x"`,
		"null":                `null`,
		"kid is a number":     `{"kty":"EC","kid":7}`,
	} {
		for _, body := range []string{rkSet(odd, good), rkSet(good, odd)} {
			t.Run(name, func(t *testing.T) {
				b := rkNew(t, rkServe(200, body, "application/jwk-set+json; charset=utf-8"), nil)
				b.want(t, "the key beside it", rkToken(t, gkKey("ES256")), 204)
				for _, id := range []string{"x", ""} {
					for _, algorithm := range gkAlgorithms {
						b.want(t, algorithm+" as "+id, rkToken(t, Key{ID: id, Material: gkKey(algorithm).Material}), 401)
					}
				}
				if n := len(b.remote().known.Load().verifiers); n != 1 {
					t.Errorf("%d keys were taken, want 1", n)
				}
			})
		}
	}
}

// An issuer that says that it has no keys is believed.
func TestT6_EmptySetRetiresAll(t *testing.T) {
	b := rkNew(t, rkPublish(t, gkKey("ES256")), nil)
	b.want(t, "first", rkToken(t, gkKey("ES256")), 204)
	b.set(rkServe(200, rkSet(), "application/json"))
	b.clock.add(time.Hour)
	b.want(t, "then", rkToken(t, gkKey("ES256")), 401)
}

func TestT6_LargestSet(t *testing.T) {
	keys := slices.Repeat([]string{`{"kty":"new"}`}, 99)
	keys = append(keys, rkMember(t, gkPublic(t, gkKey("ES256")).Material, gkMembers{"kid": "kid-ES256"}))
	body := rkSet(keys...)
	b := rkNew(t, rkServe(200, body+strings.Repeat(" ", maxJWKS-len(body)), ""), nil)
	b.want(t, "100 keys in 1 MiB", rkToken(t, gkKey("ES256")), 204)
}

// A token that names no key, or is not one, asks nobody.
func TestT2_BadTokensAskNobody(t *testing.T) {
	b := rkNew(t, rkPublish(t, gkKey("ES256")), nil)
	k := gkKey("ES256")
	for name, header := range map[string]gkMembers{
		"without kid": {"kid": gkDrop}, "empty kid": {"kid": ""}, "jku": {"jku": "https://evil.example"},
		"jwk": {"jwk": gkMembers{}}, "crit": {"crit": []string{"exp"}}, "another typ": {"typ": "JWT"},
	} {
		b.want(t, name, gkJWS(t, k.Material, gkHeader(k, "ES256").with(header), gkClaims().with(nil)), 401)
	}
	b.want(t, "no JWT", "abc", 401)
	b.want(t, "none at all", "", 401)
	b.fetches(t, "for them", 0)
}

// A slow body is an error after 5 s, and holds nobody up who has a key.
func TestB3_SlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := rkToken(t, gkKey("ES256"))
		slow := func(r *http.Request) (*http.Response, error) {
			body, _ := io.Pipe()
			context.AfterFunc(r.Context(), func() { body.CloseWithError(r.Context().Err()) })
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body}, nil
		}
		b := rkNew(t, slow, func(c *GuardConfig) { c.Now = func() time.Time { return time.Now().Add(gkStart.Sub(rkBubble)) } })
		began := time.Now()
		b.want(t, "at first", token, 503)
		if took := time.Since(began); took != fetchTimeout {
			t.Errorf("answered after %v, want %v", took, fetchTimeout)
		}
		b.want(t, "right after", token, 503)
		b.fetches(t, "right after", 1) // the pause begins where the fetch ended
		b.set(rkPublish(t, gkKey("ES256")))
		time.Sleep(time.Second)
		b.want(t, "a second later", token, 204)

		b.set(slow)
		time.Sleep(time.Hour)
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.want(t, "who fetches", token, 204)
		}()
		synctest.Wait()
		began = time.Now()
		b.want(t, "who has a key", token, 204)
		if took := time.Since(began); took != 0 {
			t.Errorf("who has a key waited for %v", took)
		}
		b.want(t, "who has none", rkGarbage(t, 1), 503)
		if took := time.Since(began); took > fetchTimeout {
			t.Errorf("who has none waited for %v", took)
		}
		<-done
	})
}

// rkBubble is when the clock of a synctest bubble starts.
var rkBubble = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestT6_WhoHangsUpLosesItForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := rkToken(t, gkKey("ES256"))
		release := make(chan struct{})
		publish := rkPublish(t, gkKey("ES256"))
		b := rkNew(t, func(r *http.Request) (*http.Response, error) {
			select {
			case <-release:
				return publish(r)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}, nil)
		serve := func(ctx context.Context, status chan<- int) {
			w := httptest.NewRecorder()
			b.Require()(gkOpen).ServeHTTP(w, gkRequest(token).WithContext(ctx))
			status <- w.Code
		}
		fetcher, hangUp := context.WithCancel(t.Context())
		fetched := make(chan int, 1)
		go serve(fetcher, fetched)
		synctest.Wait()
		gone, goAway := context.WithCancel(t.Context())
		left, stayed := make(chan int, 1), make(chan int, 1)
		go serve(gone, left)
		go serve(t.Context(), stayed)
		synctest.Wait()
		hangUp()
		goAway()
		if got := <-left; got != 503 {
			t.Errorf("who hung up while waiting got %d and not at once 503", got)
		}
		synctest.Wait()
		b.fetches(t, "after the hang-up", 1)
		close(release)
		if got := <-stayed; got != 204 {
			t.Errorf("who stayed got %d", got)
		}
		if got := <-fetched; got != 204 {
			t.Errorf("who hung up got %d; the keys were there", got)
		}
		b.want(t, "later", token, 204)
		b.fetches(t, "in all", 1)
	})
}

// Who hung up before his turn came fetches no more.
func TestT6_WhoIsGoneFetchesNothing(t *testing.T) {
	b := rkNew(t, rkPublish(t, gkKey("ES256")), nil)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		w := httptest.NewRecorder()
		b.Require()(gkOpen).ServeHTTP(w, gkRequest(rkToken(t, gkKey("ES256"))).WithContext(gone))
		if w.Code != 503 {
			t.Fatalf("got %d", w.Code)
		}
	}
	b.fetches(t, "for who is gone", 0)
}

// A panic in the host's transport loses no turn, and makes no token bad.
func TestH2_TransportPanics(t *testing.T) {
	token := rkToken(t, gkKey("ES256"))
	b := rkNew(t, func(*http.Request) (*http.Response, error) { panic("a transport of the host") }, nil)
	b.want(t, "the panic", token, 500)
	b.want(t, "right after", token, 503)
	b.fetches(t, "right after", 1)
	b.set(rkPublish(t, gkKey("ES256")))
	b.clock.add(time.Second)
	b.want(t, "a second later", token, 204)
}

// A clock that steps back stops no fetch, and starts none in a loop.
func TestT6_ClockStepsBack(t *testing.T) {
	b := rkNew(t, rkFail(errors.New("connection refused")), nil)
	token := rkToken(t, gkKey("ES256"))
	b.want(t, "first", token, 503)
	b.clock.add(-2 * time.Hour)
	b.want(t, "after the step", token, 503)
	b.want(t, "after the step, again", token, 503)
	b.fetches(t, "after the step", 2)
	b.set(rkPublish(t, gkKey("ES256")))
	b.clock.add(time.Second)
	b.want(t, "a second later", token, 204)
}

func TestT6_Redirects(t *testing.T) {
	for name, tt := range map[string]struct {
		from, to string
		follows  bool
	}{
		"https to https":            {rkURL, "https://cdn.example/jwks.json", true},
		"https, relative":           {rkURL, "/elsewhere", true},
		"https to http":             {rkURL, "http://issuer.example/jwks.json", false},
		"https to http on loopback": {rkURL, "http://127.0.0.1/jwks.json", false},
		"https to a file":           {rkURL, "file:///etc/passwd", false},
		"loopback to https":         {"http://127.0.0.1:8080/jwks", "https://issuer.example/jwks", true},
		"loopback to loopback":      {"http://127.0.0.1:8080/jwks", "http://localhost:8081/jwks", true},
		"loopback to elsewhere":     {"http://127.0.0.1:8080/jwks", "http://issuer.example/jwks", false},
		"in a circle":               {rkURL, rkURL, false},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			publish := rkPublish(t, gkKey("ES256"))
			b := rkNew(t, nil, func(c *GuardConfig) { c.JWKSURL, c.HTTPClient = tt.from, nil })
			b.set(func(r *http.Request) (*http.Response, error) {
				asked = append(asked, r.URL.String())
				if r.URL.String() != tt.from {
					return publish(r)
				}
				header := http.Header{"Location": {tt.to}}
				return &http.Response{StatusCode: 302, Header: header, Body: http.NoBody}, nil
			})
			b.remote().client.Transport = b.rkIssuer
			want, most := 503, 1+maxRedirects
			if tt.follows {
				want, most = 204, 2
			} else if tt.from != tt.to {
				most = 1
			}
			b.want(t, "redirected", rkToken(t, gkKey("ES256")), want)
			if len(asked) > most {
				t.Errorf("asked %q", asked)
			}
		})
	}
}

// By a real connection, and the client that there is where none is configured.
func TestT6_RemoteKeysOverTheWire(t *testing.T) {
	booth := gkNew(t, nil)
	server := httptest.NewServer(http.HandlerFunc(booth.JWKS))
	b := rkNew(t, nil, func(c *GuardConfig) { c.JWKSURL, c.HTTPClient, c.Now = server.URL, nil, booth.clock.now })
	token := gkIssue(t, booth, "grant_type=client_credentials&client_id=acme&client_secret="+booth.secret)
	b.want(t, "with a token of the handler", token, 204)
	server.Close()
	late := rkNew(t, nil, func(c *GuardConfig) { c.JWKSURL, c.HTTPClient, c.Now = server.URL, nil, booth.clock.now })
	late.want(t, "connection refused", token, 503)
	booth.clock.add(10 * time.Minute)
	b.want(t, "connection refused, with keys", token, 204)
}

func TestT6_RemoteKeysHaveNoPrivateMember(t *testing.T) {
	body := string(gkRing(t, gkKey("ES256"), gkKey("RS256"), gkKey("EdDSA"), gkKey("HS256")).JWKS())
	secret := base64.RawURLEncoding.EncodeToString(gkKey("HS256").Material.([]byte))
	if strings.Contains(body, secret) || strings.Contains(body, `"d"`) {
		t.Error("the set holds what is private")
	}
	if _, err := parseJWKS([]byte(body)); err != nil {
		t.Errorf("what a ring publishes is refused: %v", err)
	}
}

// A token whose key is known costs the guard elsewhere no more allocations than
// the one beside the ring.
func TestRemoteKeysAllocateNothing(t *testing.T) {
	b := rkNew(t, rkPublish(t, gkKey("ES256")), nil)
	b.want(t, "first", rkToken(t, gkKey("ES256")), 204)
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { _, _, _ = b.remote().find(ctx, "kid-ES256") }); n != 0 {
		t.Errorf("%v allocations to find a key", n)
	}
}

func FuzzJWKS(f *testing.F) {
	for _, fault := range rkFaults(f) {
		if answer, err := fault(nil); err == nil {
			body, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
			f.Add(string(body))
		}
	}
	f.Fuzz(func(t *testing.T, body string) {
		verifiers, err := parseJWKS([]byte(body))
		if err != nil {
			return
		}
		for id, v := range verifiers {
			_, private, algorithm, err := inspect(v.public)
			if id == "" || private != nil || err != nil || algorithm != v.algorithm || algorithm == "HS256" {
				t.Errorf("took %q, %T for %s: %v", id, v.public, v.algorithm, err)
			}
		}
	})
}
