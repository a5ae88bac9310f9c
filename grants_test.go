package tokenbooth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

func TestG1_ClientCredentials(t *testing.T) {
	epAnswers(t, "G1", []epCase{
		{name: "scopes asked for", body: epAcme + "&scope=write+read"},
		{name: "no scope", body: epAcme},
		{name: "one scope too many", body: epAcme + "&scope=read+admin", reason: response.ScopeInvalid, asks: true},
		{name: "another case", body: epAcme + "&scope=Read", reason: response.ScopeInvalid, asks: true},
		{name: "a scope for who has none", body: epCredentials("probe", "probe-secret") + "&scope=read", reason: response.ScopeInvalid, asks: true},
		{name: "public", body: epGrantOnly + "&client_id=kiosk", reason: response.GrantNotAllowed, asks: true},
		{name: "public, with a secret", body: epCredentials("kiosk", "x"), reason: response.SecretWrong, asks: true},
	})
}

func TestG1_DefaultScopes(t *testing.T) {
	defaults := func(c *HandlerConfig) { c.DefaultScopes = []string{"write", "admin"} }
	epAnswers(t, "G1-defaults", []epCase{
		{name: "as far as the client may", body: epAcme},
		{name: "not where others are asked for", body: epAcme + "&scope=read"},
		{name: "none that the client may", body: epCredentials("probe", "probe-secret")},
		{name: "public", body: "grant_type=implicit&client_id=storefront"},
	}, defaults)
}

// epClaims reads what the token of an OAuth answer says.
func epClaims(t *testing.T, b *epBooth, w *httptest.ResponseRecorder) (claims, map[string]any) {
	t.Helper()
	members := map[string]any{}
	if err := json.Unmarshal(w.Body.Bytes(), &members); err != nil || w.Code != 200 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	token, _ := members["access_token"].(string)
	c, err := b.codec.verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return *c, members
}

func TestG1_SubjectIsNoUser(t *testing.T) {
	for _, format := range []TokenFormat{JWT{}, Opaque{}} {
		b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.Tokens = format })
		c, members := epClaims(t, b, b.post(epAcme))
		if c.subject != "client:acme" || c.clientID != "acme" || c.username != "" || c.readOnly {
			t.Errorf("%T: %+v", format, c)
		}
		for _, name := range []string{"refresh_token", "scope", "id_token"} {
			if _, ok := members[name]; ok {
				t.Errorf("%T: the answer has %s", format, name)
			}
		}
	}
}

// No user may have a subject that is a client's.
func TestG1_NoUserIsAClient(t *testing.T) {
	for _, id := range []string{"client:acme", "client:", ""} {
		p := &grant.Password{Authenticate: func(context.Context, string, string) (*grant.User, error) {
			return &grant.User{Subject: response.Subject{ID: id}}, nil
		}}
		b := epNew(t, response.OAuth{}, epPasswords(p))
		epWantInternal(t, b, epEnvelopes[0], b.post(epLogin+"x"))
		b.alive(t)
	}
	b := epNew(t, response.OAuth{}, epPasswords(&grant.Password{Authenticate: func(context.Context, string, string) (*grant.User, error) {
		return nil, nil
	}}))
	epWantInternal(t, b, epEnvelopes[0], b.post(epLogin+"x"))
	b.alive(t)
}

func TestG2_Implicit(t *testing.T) {
	const anonymous = "grant_type=implicit&client_id="
	unknown := response.ClientUnknown
	epAnswers(t, "G2", []epCase{
		{name: "public", body: anonymous + "storefront"},
		{name: "with a scope that it has not", body: anonymous + "storefront&scope=read", reason: response.ScopeInvalid, asks: true},
		{name: "not enabled for the client", body: anonymous + "spa", reason: response.GrantNotAllowed, asks: true},
		{name: "a client with a secret", body: anonymous + "shop", reason: unknown, asks: true},
		{name: "a public one with a secret", body: anonymous + "twofaced", reason: unknown, asks: true},
		{name: "confidential without a secret", body: anonymous + "bare", reason: unknown, asks: true},
		{name: "disabled", body: anonymous + "closed", reason: unknown, asks: true},
		{name: "nobody", body: anonymous + "nobody", reason: unknown, asks: true},
		{name: "no id", body: "grant_type=implicit", reason: response.ParameterMissing},
	})
	epAnswers(t, "G2-off", []epCase{
		{name: "not enabled for the server", body: anonymous + "storefront", reason: response.GrantUnsupported},
	}, func(c *HandlerConfig) { c.Grants = nil })
}

func TestG2_ReadOnly(t *testing.T) {
	for _, format := range []TokenFormat{JWT{}, Opaque{}} {
		b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.Tokens = format })
		c, members := epClaims(t, b, b.post("grant_type=implicit&client_id=storefront"))
		if _, ok := members["refresh_token"]; ok || !c.readOnly || c.subject != "client:storefront" {
			t.Errorf("%T: %+v, refresh token %t", format, c, ok)
		}
		if c, _ = epClaims(t, b, b.post("grant_type=implicit&client_id=shop&client_secret=shop-secret")); !c.readOnly {
			t.Errorf("%T: with a secret the token is not read-only", format)
		}
	}
}

// Whoever names clients at random is stopped before the store is asked.
func TestG2_LimitedByAddressFirst(t *testing.T) {
	b := epNew(t, response.Data{}, func(c *HandlerConfig) { c.Limit = Limit{PerSecond: 0.01, Burst: 10} })
	for i := range 100 {
		b.post(fmt.Sprintf("grant_type=implicit&client_id=guess-%d", i))
	}
	if n := b.clients.asked.Load(); n != 10 {
		t.Errorf("the store was asked %d times, want 10", n)
	}
	b.want(t, b.post("grant_type=implicit&client_id=storefront"), 429, response.Throttled)
	b.want(t, b.post("grant_type=implicit&client_id=storefront", epFrom("192.0.2.2:1")), 200, "")
	b.alive(t)
}

func epLoginAs(user, password string) string {
	return "grant_type=password&client_id=acme&client_secret=" + epSecret + "&username=" + url.QueryEscape(user) + "&password=" + url.QueryEscape(password)
}

func TestG8_Password(t *testing.T) {
	right := epLoginAs("admin", epPassword)
	unknown, wrong := response.UserUnknown, response.PasswordWrong
	epAnswers(t, "G8", []epCase{
		{name: "right", body: right},
		{name: "a scope of the user", body: right + "&scope=read"},
		{name: "a scope that the user has not", body: right + "&scope=write", reason: response.ScopeInvalid, asks: true},
		{name: "a scope that the client has not", body: right + "&scope=admin", reason: response.ScopeInvalid, asks: true},
		{name: "wrong password", body: epLoginAs("admin", "x"), reason: wrong, asks: true},
		{name: "unknown user", body: epLoginAs("nobody", "x"), reason: unknown, asks: true},
		{name: "locked user", body: epLoginAs("locked", "x"), reason: response.UserLocked, asks: true},
		{name: "over-long user", body: epLoginAs(strings.Repeat("a", 257), "x"), reason: unknown, asks: true},
		{name: "over-long password", body: epLoginAs("admin", strings.Repeat("a", 1025)), reason: wrong, asks: true},
		{name: "no username", body: epLoginAs("", "x"), reason: response.ParameterMissing, asks: true},
		{name: "no password", body: epLoginAs("admin", ""), reason: response.ParameterMissing, asks: true},
		{name: "wrong secret, right password", body: strings.Replace(right, epSecret, "x", 1), reason: response.SecretWrong, asks: true},
	})
	epAnswers(t, "G8-off", []epCase{
		{name: "not enabled", body: right, reason: response.GrantUnsupported},
	}, func(c *HandlerConfig) { c.Grants = nil })
}

func TestG8_RefusalsAreAlike(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		b := epNew(t, e.formatter)
		wrong := b.post(epLoginAs("admin", "x"))
		alike := map[string]string{
			"locked": epLoginAs("locked", "x"), "over-long password": epLoginAs("admin", strings.Repeat("a", 30000)),
			"unclean password": epLoginAs("admin", "a\x00"), "locked, right": epLoginAs("locked", epPassword),
		}
		if e.name != "content" { // it tells who is unknown
			alike["unknown"] = epLoginAs("nobody", "x")
			alike["over-long user"] = epLoginAs(strings.Repeat("a", 30000), "x")
			alike["unclean user"] = epLoginAs("admin\x00", epPassword)
		}
		for name, body := range alike {
			epSame(t, "a wrong password and "+name, wrong, b.post(body, epFrom("192.0.2.50:1")))
		}
		b.alive(t)
	})
}

// What no user can have never costs a hash.
func TestG8_CapsBeforeHashing(t *testing.T) {
	var hashed atomic.Int64
	p := &grant.Password{Authenticate: func(context.Context, string, string) (*grant.User, error) {
		hashed.Add(1)
		return nil, grant.ErrWrongPassword
	}}
	b := epNew(t, response.OAuth{}, epPasswords(p))
	for _, body := range []string{
		epLoginAs(strings.Repeat("a", 257), "x"), epLoginAs("admin", strings.Repeat("a", 1025)), epLoginAs("a\x00", "x"),
		epLoginAs("admin", "\xff"), epLoginAs("", "x"), epLoginAs("admin", ""),
	} {
		b.post(body)
	}
	if n := hashed.Load(); n != 0 {
		t.Errorf("%d were hashed", n)
	}
	b.post(epLoginAs(strings.Repeat("a", 256), strings.Repeat("b", 1024)))
	if n := hashed.Load(); n != 1 {
		t.Errorf("the longest allowed was hashed %d times", n)
	}
	b.alive(t)
}

func TestG8_LimitedByUserAndAddress(t *testing.T) {
	var hashed atomic.Int64
	p := &grant.Password{Authenticate: func(context.Context, string, string) (*grant.User, error) {
		hashed.Add(1)
		return nil, grant.ErrWrongPassword
	}}
	newBooth := func() *epBooth {
		hashed.Store(0)
		return epNew(t, response.OAuth{}, epPasswords(p), func(c *HandlerConfig) { c.FailureLimit = Limit{PerSecond: 0.01, Burst: 5} })
	}
	t.Run("user", func(t *testing.T) {
		b := newBooth()
		for i := range 50 {
			b.post(epLoginAs("admin", "x"), epFrom(fmt.Sprintf("203.0.113.%d:1", i)))
		}
		if n := hashed.Load(); n != 5 {
			t.Errorf("%d guesses at one user were hashed, want 5", n)
		}
		b.want(t, b.post(epLoginAs("other", "x")), 400, response.PasswordWrong)
		other := strings.Replace(strings.Replace(epLoginAs("admin", "x"), "=acme&", "=narrow&", 1), epSecret, "narrow-secret", 1)
		b.want(t, b.post(other), 400, response.PasswordWrong)
		b.alive(t)
	})
	t.Run("address", func(t *testing.T) {
		b := newBooth()
		for i := range 50 {
			b.post(epLoginAs(fmt.Sprintf("user-%d", i), "x"))
		}
		if n := hashed.Load(); n != 5 {
			t.Errorf("%d guesses from one address were hashed, want 5", n)
		}
		b.want(t, b.post(epLoginAs("user-99", "x"), epFrom("203.0.113.1:1")), 400, response.PasswordWrong)
		b.alive(t)
	})
	t.Run("parallel", func(t *testing.T) {
		b := newBooth()
		got := epParallel(b, 60, func(int) string { return epLoginAs("admin", "x") })
		if hashed.Load() != 5 || got[400] != 5 || got[429] != 55 {
			t.Errorf("%d were hashed, answers %v; want 5", hashed.Load(), got)
		}
		b.alive(t)
	})
}

// epGate is an Authenticate that stops where it is until it is opened.
type epGate struct {
	open            chan struct{}
	running, atOnce atomic.Int64
}

func (g *epGate) authenticate(ctx context.Context, _, _ string) (*grant.User, error) {
	n := g.running.Add(1)
	defer g.running.Add(-1)
	for {
		if most := g.atOnce.Load(); n <= most || g.atOnce.CompareAndSwap(most, n) {
			break
		}
	}
	select {
	case <-g.open:
		return &grant.User{Subject: response.Subject{ID: "u"}}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func epCounts(statuses []int) map[int]int {
	count := map[int]int{}
	for _, s := range statuses {
		count[s]++
	}
	return count
}

// epHold sends n logins that stop in the gate, lets meanwhile look, and returns
// the statuses once all are answered.
func epHold(t *testing.T, b *epBooth, n int, meanwhile func(answered map[int]int)) map[int]int {
	t.Helper()
	var mu sync.Mutex
	var statuses []int
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			w := b.post(epLoginAs(fmt.Sprintf("user-%d", i), "x"))
			epHeaders(t, w)
			mu.Lock()
			statuses = append(statuses, w.Code)
			mu.Unlock()
		})
	}
	synctest.Wait()
	mu.Lock()
	answered := epCounts(statuses)
	mu.Unlock()
	meanwhile(answered)
	wg.Wait()
	return epCounts(statuses)
}

func epGated(t *testing.T, g *epGate) *epBooth {
	p := &grant.Password{Authenticate: g.authenticate, Concurrency: 2}
	return epNew(t, response.OAuth{}, epPasswords(p), func(c *HandlerConfig) { c.Limiter = Unlimited{} })
}

func TestG8_ConcurrencyIsBounded(t *testing.T) {
	epKeys()
	synctest.Test(t, func(t *testing.T) {
		g := &epGate{open: make(chan struct{})}
		b := epGated(t, g)
		all := epHold(t, b, 25, func(answered map[int]int) {
			if n := g.running.Load(); n != 2 {
				t.Errorf("%d run, want 2", n)
			}
			if len(answered) != 1 || answered[503] != 15 {
				t.Errorf("answered at once %v, want 15 of 503", answered)
			}
			if e := b.last(t); e.Reason != response.Overloaded {
				t.Errorf("event %+v", e)
			}
			b.alive(t) // other grants do not wait
			close(g.open)
		})
		if all[200] != 10 || all[503] != 15 || g.atOnce.Load() != 2 {
			t.Errorf("answers %v, %d at once", all, g.atOnce.Load())
		}
		b.want(t, b.post(epLogin+"x"), 200, "")
	})
}

func TestG8_WaitingEnds(t *testing.T) {
	epKeys()
	synctest.Test(t, func(t *testing.T) {
		g := &epGate{open: make(chan struct{})}
		b := epGated(t, g)
		start := time.Now()
		all := epHold(t, b, 10, func(map[int]int) {})
		if took := time.Since(start); all[503] != 10 || took != 5*time.Second {
			t.Errorf("answers %v after %v, want 10 of 503 after 5s", all, took)
		}
		epFull(t, b, g)
	})
}

// Neither a panic nor a caller who leaves takes a slot with it.
func TestG8_NoSlotIsLost(t *testing.T) {
	epKeys()
	synctest.Test(t, func(t *testing.T) {
		g := &epGate{open: make(chan struct{})}
		var broken atomic.Bool
		p := &grant.Password{Concurrency: 2, Authenticate: func(ctx context.Context, u, pw string) (*grant.User, error) {
			if broken.Load() {
				panic(pw)
			}
			return g.authenticate(ctx, u, pw)
		}}
		b := epNew(t, response.OAuth{}, epPasswords(p), func(c *HandlerConfig) { c.Limiter = Unlimited{} })
		broken.Store(true)
		for range 50 {
			b.want(t, b.post(epLogin+"x"), 500, response.Internal)
		}
		broken.Store(false)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { b.ServeHTTP(httptest.NewRecorder(), epRequest(epLogin+"x").WithContext(ctx)) })
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		epFull(t, b, g)
	})
}

// epFull proves that all ten places are there, two to run and eight to wait.
func epFull(t *testing.T, b *epBooth, g *epGate) {
	t.Helper()
	all := epHold(t, b, 10, func(answered map[int]int) {
		if n := g.running.Load(); n != 2 || len(answered) != 0 {
			t.Errorf("%d run and %v are answered, want 2 and none", n, answered)
		}
		close(g.open)
	})
	if all[200] != 10 {
		t.Errorf("answers %v, want 10 of 200", all)
	}
}

// An epVoucher is a grant that consumes one record of the State.
type epVoucher struct {
	state store.State
	used  atomic.Int64
}

func (*epVoucher) Type() string { return "fake" }

func (v *epVoucher) Exchange(ctx context.Context, _ *grant.Request) (*grant.Issue, error) {
	old, ok, err := v.state.Get(ctx, "voucher")
	if err != nil {
		return nil, err
	}
	if !ok || string(old) != "fresh" {
		return nil, response.Fail(response.GrantRefused)
	}
	return &grant.Issue{Commit: func(ctx context.Context) error {
		swapped, err := v.state.Swap(ctx, "voucher", old, fmt.Appendf(nil, "used %d", v.used.Add(1)), time.Now().Add(time.Hour))
		if err == nil && !swapped {
			return grant.ErrConflict
		}
		return err
	}}, nil
}

func epVouchers(t *testing.T, f response.Formatter, changes ...epChange) (*epBooth, *store.Memory) {
	t.Helper()
	m := new(store.Memory)
	if _, err := m.Create(t.Context(), "voucher", []byte("fresh"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return epNew(t, f, append([]epChange{epGrants(&epVoucher{state: m})}, changes...)...), m
}

func TestG5_FiftyAtOnceOneWins(t *testing.T) {
	b, _ := epVouchers(t, response.OAuth{}, func(c *HandlerConfig) { c.Limiter = Unlimited{} })
	if got := epParallel(b, 50, func(int) string { return epFake }); got[200] != 1 || got[400] != 49 {
		t.Errorf("got %v, want one 200", got)
	}
	b.alive(t)
}

// Whatever fails before the answer is ready consumes nothing.
func TestG5_NothingIsConsumedBeforeTheAnswer(t *testing.T) {
	f := &epFormatter{}
	b, m := epVouchers(t, f, func(c *HandlerConfig) { c.Tokens = Opaque{} })
	fresh := func() {
		t.Helper()
		if v, _, _ := m.Get(t.Context(), "voucher"); string(v) != "fresh" {
			t.Fatalf("the voucher is %q", v)
		}
	}
	for _, broken := range []func(*response.Token) (response.Reply, error){
		func(*response.Token) (response.Reply, error) { panic("canary") },
		func(*response.Token) (response.Reply, error) { return response.Reply{}, errors.New("broken") },
		func(*response.Token) (response.Reply, error) { return response.Reply{Status: 42}, nil },
	} {
		f.token = broken
		b.want(t, b.post(epFake), 500, response.Internal)
		fresh()
	}
	f.token = nil
	b.state.fail(func(context.Context) (bool, error) { return false, store.ErrUnavailable })
	b.want(t, b.post(epFake), 503, response.Unavailable)
	b.state.fail(func(context.Context) (bool, error) { panic("canary") })
	b.want(t, b.post(epFake), 500, response.Internal)
	b.state.heal()
	fresh()
	b.want(t, b.post(epFake), 200, "")
	b.want(t, b.post(epFake), 400, response.GrantRefused)
	b.alive(t)
}

func TestG5_CommitComesLast(t *testing.T) {
	var steps []string
	note := func(s string) { steps = append(steps, s) }
	f := &epFormatter{token: func(x *response.Token) (response.Reply, error) {
		note("format")
		return response.OAuth{}.Token(x)
	}}
	left := 3
	fake := &epGrant{exchange: func(context.Context, *grant.Request) (*grant.Issue, error) {
		note("exchange")
		return &grant.Issue{Commit: func(context.Context) error {
			note("commit")
			if left--; left > 0 {
				return fmt.Errorf("x: %w", grant.ErrConflict)
			}
			return nil
		}}, nil
	}}
	b := epNew(t, f, epGrants(fake))
	b.want(t, b.post(epFake), 200, "")
	round := []string{"exchange", "format", "commit"}
	if want := slices.Concat(round, round, round); !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
}

func TestG5_ConflictEndsAfterEightRounds(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		var exchanged, committed int
		fake := &epGrant{exchange: func(context.Context, *grant.Request) (*grant.Issue, error) {
			exchanged++
			return &grant.Issue{Commit: func(context.Context) error { committed++; return grant.ErrConflict }}, nil
		}}
		b := epNew(t, e.formatter, epGrants(fake))
		b.want(t, b.post(epFake), 503, response.Unavailable)
		if exchanged != 8 || committed != 8 {
			t.Errorf("%d exchanges, %d commits, want 8", exchanged, committed)
		}
		b.alive(t)
	})
}

func TestG5_CommitFails(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		status int
		reason response.Reason
	}{
		{"unexpected", errors.New("disk"), 500, response.Internal},
		{"unavailable", store.ErrUnavailable, 503, response.Unavailable},
		{"refused", response.Fail(response.GrantRefused), 400, response.GrantRefused},
	}
	for _, tt := range tests {
		committed := 0
		b := epNew(t, response.OAuth{}, epGrants(epIssuing(grant.Issue{Commit: func(context.Context) error { committed++; return tt.err }})))
		w := b.post(epFake)
		b.want(t, w, tt.status, tt.reason)
		if strings.Contains(w.Body.String(), "access_token") || committed != 1 {
			t.Errorf("%s: %d commits, %s", tt.name, committed, w.Body)
		}
		b.alive(t)
	}
}

// A grant and a commit that wait for a store wait no longer than it may take.
func TestS2_ExchangeAndCommitAreBounded(t *testing.T) {
	epKeys()
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, fake := range map[string]*epGrant{
		"commit":   epIssuing(grant.Issue{Commit: wait}),
		"exchange": {exchange: func(ctx context.Context, _ *grant.Request) (*grant.Issue, error) { return nil, wait(ctx) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := epNew(t, response.OAuth{}, epGrants(fake))
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				start := time.Now()
				w := httptest.NewRecorder()
				b.ServeHTTP(w, epRequest(epFake).WithContext(ctx))
				b.want(t, w, 503, response.Unavailable)
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("a store that hangs holds the request for %v", took)
				}
			})
		})
	}
}

func TestGrantSeesTheRequest(t *testing.T) {
	var got grant.Request
	fake := &epGrant{exchange: func(_ context.Context, r *grant.Request) (*grant.Issue, error) {
		got = *r
		return &grant.Issue{Scopes: r.Scopes, RefreshToken: "r"}, nil
	}}
	b := epNew(t, response.OAuth{}, epGrants(fake), func(c *HandlerConfig) { c.DefaultScopes = []string{"write"} })
	_, members := epClaims(t, b, b.post(epFake+"&scope=read&code=c&code_verifier=&unknown=u"))
	if members["refresh_token"] != "r" || members["scope"] != "read" {
		t.Errorf("answer %v", members)
	}
	if got.GrantType != "fake" || got.Client.ID != "acme" || !got.Authenticated || !slices.Equal(got.Scopes, []string{"read"}) ||
		!slices.Equal(got.DefaultScopes, []string{"write"}) || got.Address.String() != "192.0.2.1/32" || !got.Now.Equal(b.clock.Now()) {
		t.Errorf("got %+v", got)
	}
	if got.Param("code") != "c" || got.Param("code_verifier") != "" || got.Param("unknown") != "" {
		t.Errorf("params %v", got.Params)
	}
}
