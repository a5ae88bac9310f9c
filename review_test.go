package tokenbooth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// A database that compares without case or padding makes nobody somebody else,
// and lets nobody cause errors.
func TestP8_AnotherSpellingIsUnknown(t *testing.T) {
	for _, id := range []string{"ACME", "acme ", " acme"} {
		b := epNew(t, response.OAuth{})
		b.clients.fail(func(context.Context, string) (*store.Client, error) {
			c, _ := store.NewClient("acme")
			return c, nil
		})
		b.want(t, b.post(epCredentials(id, "x")), 401, response.ClientUnknown)
	}
}

// Right secrets are charged to no failure bucket, also where they are refused.
func TestL1_RefusedWithTheRightSecretIsNoFailure(t *testing.T) {
	b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.FailureLimit = Limit{PerSecond: 1e-3, Burst: 1} })
	for range 3 {
		b.want(t, b.post(epCredentials("disabled", "disabled-secret")), 400, response.ClientDisabled)
	}
	for range 3 {
		b.want(t, b.post("grant_type=client_credentials&client_id=acme"), 400, response.ParameterMissing)
	}
	b.want(t, b.post(epCredentials("disabled", "x")), 401, response.SecretWrong)
	b.want(t, b.post(epCredentials("disabled", "x")), 429, response.Throttled)
}

// A client that is slow by its own limit waits as long as it is told to, whatever
// other buckets its requests ask.
func TestL2_OneRefusalAfterAnother(t *testing.T) {
	fake := epIssuing(grant.Issue{})
	keyed := &reviewKeyed{fake}
	b := epNew(t, response.OAuth{}, epGrants(keyed), func(c *HandlerConfig) { c.FailureLimit = Limit{PerSecond: 1, Burst: 1} })
	if w := b.post(epFake); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for range 500 { // of which the grant's bucket refuses all: the client's is not asked
		b.want(t, b.post(epFake), 429, response.Throttled)
	}
	b.clock.move(time.Second)
	if w := b.post(epFake); w.Code != http.StatusOK {
		t.Errorf("after the advertised second: %d %s, Retry-After %s", w.Code, w.Body, w.Header().Get("Retry-After"))
	}
}

type reviewKeyed struct{ *epGrant }

func (*reviewKeyed) LimitKeys(*grant.Request) []string { return []string{"one"} }

// A grant is asked for its type once.
func TestH2_TypeIsAskedOnce(t *testing.T) {
	g := &reviewTyped{epGrant: epIssuing(grant.Issue{})}
	b := epNew(t, response.OAuth{}, epGrants(g))
	g.broken = true
	b.want(t, b.post("grant_type=unheard"), 400, response.GrantUnsupported)
	if w := b.post(epFake); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type reviewTyped struct {
	*epGrant
	broken bool
}

func (g *reviewTyped) Type() string {
	if g.broken {
		panic("asked again")
	}
	return g.epGrant.Type()
}

// An envelope cannot take away what every answer must carry.
func TestL2_EnvelopeCannotDropHeaders(t *testing.T) {
	f := &epFormatter{}
	f.failure = func(x *response.Failure) (response.Reply, error) {
		gone := http.Header{"Retry-After": nil, "Www-Authenticate": {}, "Allow": nil, "Cache-Control": {"public"}, "X-Own": {"1"}}
		return response.Reply{Status: x.Status, Header: gone, Body: []byte("{}")}, nil
	}
	b := epNew(t, f)
	if w := b.post("", func(r *http.Request) { r.Method = "PUT" }); w.Header().Get("Allow") != "POST" || w.Header().Get("X-Own") != "1" {
		t.Errorf("405 with %v", w.Header())
	}
	w := httptest.NewRecorder()
	b.Guard().Require()(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Header().Get("WWW-Authenticate") == "" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("401 with %v", w.Header())
	}
	b.clients.fail(epFailing(store.ErrUnavailable))
	if w := b.post(epAcme); w.Header().Get("Retry-After") == "" {
		t.Errorf("503 with %v", w.Header())
	}
}

// A record that is known serves on while one caller waits for a store that hangs.
func TestB3_OneCallerWaitsForAHangingStore(t *testing.T) {
	epKeys()
	synctest.Test(t, func(t *testing.T) {
		acme, _ := store.NewClient("acme")
		memory := gkMust(store.NewMemory(acme))
		hang := false
		clients := reviewClients(func(ctx context.Context, id string) (*store.Client, error) {
			if hang {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return memory.Client(ctx, id)
		})
		b := gkNew(t, func(c *HandlerConfig) { c.Clients, c.Now = clients, time.Now })
		now := time.Now()
		token := b.mintFor(t, func(c *claims) { c.issued, c.expires = now, now.Add(time.Hour) })
		if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
			t.Fatal(status)
		}
		hang = true
		time.Sleep(2 * time.Minute)
		var all sync.WaitGroup
		var mu sync.Mutex
		slow, refused := 0, 0
		for range 100 {
			all.Go(func() {
				start := time.Now()
				status := gkStatus(t, b.Guard(), token)
				mu.Lock()
				defer mu.Unlock()
				if time.Since(start) > time.Second {
					slow++
				}
				if status != http.StatusNoContent {
					refused++
				}
			})
		}
		all.Wait()
		if slow > 1 || refused > 0 {
			t.Errorf("%d of 100 waited and %d were refused, want 1 and 0", slow, refused)
		}
	})
}

type reviewClients func(ctx context.Context, id string) (*store.Client, error)

func (f reviewClients) Client(ctx context.Context, id string) (*store.Client, error) {
	return f(ctx, id)
}

// A token that anybody can get has a bucket for each address, also where the
// guard does not know the client.
func TestL1_ReadOnlyTokensByAddressElsewhere(t *testing.T) {
	b := gkNew(t, nil)
	g := gkGuard(t, GuardConfig{Keys: b.keys.Public(), Now: b.clock.now, Limit: Limit{PerSecond: 1e-3, Burst: 1}})
	token := b.mintFor(t, func(c *claims) { c.readOnly = true })
	for _, tt := range []struct {
		from string
		want int
	}{{"192.0.2.1:1", 204}, {"192.0.2.1:2", 429}, {"192.0.2.2:1", 204}} {
		r := gkRequest(token)
		r.RemoteAddr = tt.from
		if w := gkServe(t, g.Require(), r); w.Code != tt.want {
			t.Errorf("from %s: %d, want %d", tt.from, w.Code, tt.want)
		}
	}
}

func TestB2_QueryTokensStayOutOfCaches(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Formatter = response.Content{QueryTokens: true} })
	r := gkRequest("")
	r.Header.Del("Authorization")
	r.URL.RawQuery = "access_token=" + b.mintFor(t, nil)
	if w := gkServe(t, b.Guard().Require(), r); w.Code != http.StatusNoContent || !strings.Contains(w.Header().Get("Cache-Control"), "private") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestC6_PublicClientsThatAreNotServed(t *testing.T) {
	for name, c := range map[string]*store.Client{
		"long-lived": {ID: "p", Public: true, LongLived: true, Grants: []string{"implicit"}},
		"disabled":   {ID: "p", Public: true, Disabled: true, Grants: []string{"implicit"}},
		"by Basic":   {ID: "p", Public: true, AuthMethod: store.AuthBasic, Grants: []string{"implicit"}},
	} {
		b := epNew(t, response.OAuth{})
		b.clients.fail(func(context.Context, string) (*store.Client, error) { return c, nil })
		t.Run(name, func(t *testing.T) {
			b.want(t, b.post("grant_type=implicit&client_id=p"), 401, response.ClientUnknown)
		})
	}
}

func TestH1_GrantsOwnWordsKeepToTheAlphabet(t *testing.T) {
	f := &response.Failure{Code: "odd\"\n", Status: 400, Reason: "own", Message: "a \"quoted\"\nlin\u00e9"}
	b := epNew(t, response.OAuth{}, epGrants(epRefusing(f)))
	w := b.post(epFake)
	if body := w.Body.String(); body != `{"error":"odd??","error_description":"a ?quoted??lin??"}` {
		t.Errorf("answered %s", body)
	}
}

func TestP8_ClientIDsInTokens(t *testing.T) {
	b := gkNew(t, nil)
	for name, id := range map[string]string{"control byte": "a\x00", "long": strings.Repeat("a", 257)} {
		token := b.mintFor(t, func(c *claims) { c.clientID, c.subject = id, "someone" })
		if status := gkStatus(t, b.Guard(), token); status != http.StatusUnauthorized {
			t.Errorf("%s: status %d", name, status)
		}
	}
}

func TestL4_RecordWithoutSense(t *testing.T) {
	b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.Limiter = Unlimited{} })
	b.clients.fail(func(context.Context, string) (*store.Client, error) {
		c, _ := store.NewClient("acme")
		c.Secrets = []store.Secret{store.HashSecret(epSecret)}
		c.Rate = &store.Rate{}
		return c, nil
	})
	b.want(t, b.post(epAcme), 500, response.Internal)
}

func TestG1_SubjectsAreBounded(t *testing.T) {
	for name, subject := range map[string]string{
		"long": strings.Repeat("u", 257), "empty": "", "a client's": "client:acme", "control byte": "u\n",
	} {
		b := epNew(t, response.OAuth{}, epGrants(epIssuing(grant.Issue{User: &response.Subject{ID: subject}})))
		t.Run(name, func(t *testing.T) { b.want(t, b.post(epFake), 500, response.Internal) })
	}
}

func TestT6_KeyIDsAreBounded(t *testing.T) {
	key, err := GenerateKey("EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	for n, good := range map[int]bool{128: true, 129: false} {
		key.ID = strings.Repeat("k", n)
		if _, err := NewKeyRing(key); (err == nil) != good {
			t.Errorf("a key ID of %d bytes: %v", n, err)
		}
	}
}

func TestT8_JWKSURLHoldsNoPassword(t *testing.T) {
	_, err := NewGuard(GuardConfig{Issuer: gkIssuer, JWKSURL: "https://u:hush@auth.example.com/jwks", Logger: gkQuiet})
	if err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("error %v", err)
	}
}

// What cannot sign id_tokens is found at start.
func TestT6_IDTokensNeedAKeyThatSigns(t *testing.T) {
	b := gkNew(t, nil)
	for _, g := range []grant.Grant{grant.AuthorizationCode{}, grant.RefreshToken{}} {
		c := HandlerConfig{Issuer: gkIssuer, Clients: new(store.Memory), Tokens: Opaque{}, Grants: []grant.Grant{g}, Logger: gkQuiet}
		h, err := NewHandler(c)
		if err != nil || !h.keys.canSign() {
			t.Errorf("%s without Keys: %v", g.Type(), err)
		}
		c.Keys = b.keys.Public()
		if _, err := NewHandler(c); err == nil {
			t.Errorf("%s: a ring that only verifies was taken", g.Type())
		}
	}
}

// Clients learn of an algorithm before it signs.
func TestMetadataFollowsTheKeys(t *testing.T) {
	ec, err1 := GenerateKey("ES256")
	ed, err2 := GenerateKey("EdDSA")
	ring, err3 := NewKeyRing(ec)
	b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.Keys = ring })
	at := "https://issuer.example/x"
	document, err4 := b.Metadata(Endpoints{Token: at, Authorization: at})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	algorithms := func() string {
		w := httptest.NewRecorder()
		document.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		_, rest, _ := strings.Cut(w.Body.String(), `"id_token_signing_alg_values_supported":`)
		list, _, _ := strings.Cut(rest, "]")
		return list
	}
	if got := algorithms(); got != `["ES256"` {
		t.Errorf("one key: %s", got)
	}
	if err := ring.Set(ec, ed); err != nil {
		t.Fatal(err)
	}
	if got := algorithms(); got != `["ES256","EdDSA"` {
		t.Errorf("the next one published: %s", got)
	}
}

// An id_token passes for an access token nowhere, whatever its audience.
func TestT4_IDTokensHaveATypeOfTheirOwn(t *testing.T) {
	ring := epKeys()
	token, err := ring.signWith(ring.set().idSigner, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	header, ok := readHeader(token)
	if !ok || header.Type != "JWT" {
		t.Errorf("typ %q, want JWT", header.Type)
	}
	if _, err := verifyJWS(t.Context(), ring, token, "at+jwt"); err == nil {
		t.Error("an id_token verifies as an access token")
	}
}
