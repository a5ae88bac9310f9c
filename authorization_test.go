package tokenbooth

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

const (
	azCallback = "https://web.example/back"
	azSecret   = "web-secret-0f6b2c8d4e1a9753"
	azUser     = "user-7"
)

var azVerifier = strings.Repeat("v-._~0Az", 6)

func azChallenge() string {
	sum := sha256.Sum256([]byte(azVerifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// An azState is a State that does what a hook says to its calls, where there is
// one: done says whether the call is made, err what is answered in place of its
// result.
type azState struct {
	store.Memory
	mu     sync.Mutex
	hook   func(op, key string) (done bool, err error)
	read   func(key string) // after each Get
	writes int
}

func (s *azState) set(hook func(op, key string) (bool, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook, s.writes = hook, 0
}

func (s *azState) written() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *azState) meet(op, key string) (done bool, err error) {
	s.mu.Lock()
	if op != "Get" {
		s.writes++
	}
	hook := s.hook
	s.mu.Unlock()
	if hook == nil {
		return true, nil
	}
	return hook(op, key)
}

func (s *azState) write(op, key string, do func() (bool, error)) (bool, error) {
	done, fail := s.meet(op, key)
	var ok bool
	var err error
	if done {
		ok, err = do()
	}
	if fail != nil {
		return false, fail
	}
	return ok, err
}

func (s *azState) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if _, err := s.meet("Get", key); err != nil {
		return nil, false, err
	}
	val, ok, err := s.Memory.Get(ctx, key)
	if s.read != nil {
		s.read(key)
	}
	return val, ok, err
}

func (s *azState) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	return s.write("Create", key, func() (bool, error) { return s.Memory.Create(ctx, key, val, expires) })
}

func (s *azState) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	return s.write("Swap", key, func() (bool, error) { return s.Memory.Swap(ctx, key, old, val, expires) })
}

type azBooth struct {
	*Handler
	epWatch
	clock *heldClock
	state *azState
}

func azNew(t testing.TB, changes ...epChange) *azBooth {
	t.Helper()
	b := &azBooth{clock: newHeldClock(), state: new(azState)}
	b.state.Now = b.clock.Now
	both := []string{"authorization_code", "refresh_token"}
	clients, err := store.NewMemory(
		&store.Client{ID: "web", Secrets: epSecrets(azSecret), Grants: both, Scopes: []string{"read", "write"}, RedirectURIs: []string{azCallback}},
		&store.Client{ID: "spa", Public: true, Grants: both, Scopes: []string{"read", "write"}, RedirectURIs: []string{azCallback}},
	)
	if err != nil {
		t.Fatal(err)
	}
	c := HandlerConfig{
		Issuer: epIssuer, Clients: clients, State: b.state, Keys: epKeys(), Limiter: Unlimited{},
		Grants: []grant.Grant{grant.AuthorizationCode{}, grant.RefreshToken{}},
		Logger: b.logger(), Events: b.event, Now: b.clock.Now,
	}
	for _, change := range changes {
		change(&c)
	}
	if b.Handler, err = NewHandler(c); err != nil {
		t.Fatal(err)
	}
	return b
}

func azTokens(f TokenFormat) epChange { return func(c *HandlerConfig) { c.Tokens = f } }

// azEach runs a test with both forms of access tokens.
func azEach(t *testing.T, f func(t *testing.T, tokens epChange)) {
	t.Run("jwt", func(t *testing.T) { f(t, azTokens(JWT{})) })
	t.Run("opaque", func(t *testing.T) { f(t, azTokens(Opaque{})) })
}

// authorize issues a code for the client web.
func (b *azBooth) authorize(t testing.TB, changes ...func(*authz.Record)) (code string, family authz.Family) {
	t.Helper()
	family = authz.NewFamily()
	rec := &authz.Record{
		Phase: authz.Code, Realm: b.realm, Offline: true, Client: "web", Subject: azUser, User: "ada", Scope: "read write",
		Redirect: azCallback, Challenge: azChallenge(), CodeUntil: b.clock.Now().Add(time.Minute), AuthTime: b.clock.Now(),
	}
	code, rec.CodeHash = authz.NewCode(family)
	for _, change := range changes {
		change(rec)
	}
	if err := authz.Create(t.Context(), &b.state.Memory, family, rec); err != nil {
		t.Fatal(err)
	}
	return code, family
}

const azWeb = "&client_id=web&client_secret=" + azSecret

func azRedeem(code string) string {
	return "grant_type=authorization_code&code=" + code + "&redirect_uri=" + url.QueryEscape(azCallback) + "&code_verifier=" + azVerifier + azWeb
}

func azRefresh(token string) string {
	return "grant_type=refresh_token&refresh_token=" + token + azWeb
}

type azAnswer struct {
	*httptest.ResponseRecorder
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Scope   string `json:"scope"`
	Error   string `json:"error"`
}

func (b *azBooth) post(t testing.TB, body string) (a azAnswer) {
	t.Helper()
	a.ResponseRecorder = httptest.NewRecorder()
	b.ServeHTTP(a, epRequest(body))
	epHeaders(t, a.ResponseRecorder)
	if err := json.Unmarshal(a.Body.Bytes(), &a); err != nil {
		t.Errorf("%s: %v", a.Body, err)
	}
	return a
}

// good posts what has to be answered with tokens.
func (b *azBooth) good(t testing.TB, body string) azAnswer {
	t.Helper()
	a := b.post(t, body)
	if a.Code != 200 || a.Access == "" {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	return a
}

// bad posts what has to be refused, and returns the event of it.
func (b *azBooth) bad(t testing.TB, body string, status int, code string) Event {
	t.Helper()
	a := b.post(t, body)
	if a.Code != status || a.Error != code {
		t.Errorf("%d %s; want %d %s", a.Code, a.Body, status, code)
	}
	all := b.all()
	return all[len(all)-1]
}

// passes says whether the guard lets an access token pass.
func (b *azBooth) passes(t testing.TB, token string) bool {
	t.Helper()
	code := gkStatus(t, b.Guard(), token)
	if code != 204 && code != 401 {
		t.Errorf("the guard answers %d", code)
	}
	return code == 204
}

func (b *azBooth) record(t testing.TB, f authz.Family) *authz.Record {
	t.Helper()
	rec, _, err := authz.Load(t.Context(), &b.state.Memory, f)
	if err != nil || rec == nil {
		t.Fatal(rec, err)
	}
	return rec
}

// together posts all bodies at once, and none goes on after its first look at
// the record before all have looked.
func (b *azBooth) together(t *testing.T, family authz.Family, bodies []string) []azAnswer {
	t.Helper()
	var looking, wg sync.WaitGroup
	looking.Add(len(bodies))
	looks := make(chan struct{}, len(bodies))
	for range bodies {
		looks <- struct{}{}
	}
	b.state.read = func(key string) {
		if key != authz.Key(family) {
			return
		}
		select {
		case <-looks:
			looking.Done()
			looking.Wait()
		default: // another round
		}
	}
	answers := make([]azAnswer, len(bodies))
	for i, body := range bodies {
		wg.Go(func() { answers[i] = b.post(t, body) })
	}
	wg.Wait()
	b.state.read = nil
	return answers
}

func TestG4_ParallelRedemptions(t *testing.T) {
	azEach(t, func(t *testing.T, tokens epChange) {
		b := azNew(t, tokens)
		code, family := b.authorize(t)
		var winner azAnswer
		won := 0
		for _, a := range b.together(t, family, slices.Repeat([]string{azRedeem(code)}, 50)) {
			switch {
			case a.Code == 200:
				won++
				winner = a
			case a.Code != 400 || a.Error != "invalid_grant":
				t.Errorf("%d %s", a.Code, a.Body)
			}
		}
		if won != 1 {
			t.Fatalf("the code redeemed %d times", won)
		}
		for _, e := range b.all() {
			if e.Kind == "code_replayed" {
				t.Error("a loser counts as a replay")
			}
		}
		if !b.passes(t, winner.Access) {
			t.Error("the winner's access token is dead")
		}
		next := b.good(t, azRefresh(winner.Refresh))

		if e := b.bad(t, azRedeem(code), 400, "invalid_grant"); e.Kind != "code_replayed" {
			t.Errorf("a replay is the event %+v", e)
		}
		if b.passes(t, winner.Access) || b.passes(t, next.Access) {
			t.Error("an access token outlives the replay of its code")
		}
		b.bad(t, azRefresh(next.Refresh), 400, "invalid_grant")
		b.bad(t, azRefresh(winner.Refresh), 400, "invalid_grant")
	})
}

func TestG7_ParallelRefreshes(t *testing.T) {
	azEach(t, func(t *testing.T, tokens epChange) {
		b := azNew(t, tokens)
		code, family := b.authorize(t)
		first := b.good(t, azRedeem(code))
		successors := map[string]int{}
		access := map[string]bool{}
		for _, a := range b.together(t, family, slices.Repeat([]string{azRefresh(first.Refresh)}, 50)) {
			if a.Code != 200 {
				t.Errorf("%d %s", a.Code, a.Body)
			}
			successors[a.Refresh]++
			access[a.Access] = b.passes(t, a.Access)
		}
		if len(successors) != 1 || len(access) != 50 {
			t.Errorf("%d successors: %v", len(successors), successors)
		}
		for _, passes := range access {
			if !passes {
				t.Error("an access token is dead")
			}
		}
		if rec := b.record(t, family); rec.Gen != 2 {
			t.Errorf("generation %d", rec.Gen)
		}
		for successor := range successors {
			b.good(t, azRefresh(successor))
		}
	})
}

func TestG3_ChallengeInPlaceOfVerifier(t *testing.T) {
	meta := func(c *HandlerConfig) { c.Formatter = response.Meta{} }
	spa := func(r *authz.Record) { r.Client = "spa" }
	challenge := "&code_challenge=" + azChallenge()
	for _, c := range []struct {
		name   string
		change []epChange
		public bool
		proof  string
		good   bool
	}{
		{"oauth", nil, false, challenge, false},
		{"meta", []epChange{meta}, false, challenge, true},
		{"meta, wrong", []epChange{meta}, false, "&code_challenge=x" + azChallenge()[1:], false},
		{"meta, nothing", []epChange{meta}, false, "", false},
		{"meta, public", []epChange{meta}, true, challenge, false},
		{"meta, public, verifier", []epChange{meta}, true, challenge + "&code_verifier=" + azVerifier, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := azNew(t, c.change...)
			client, change := azWeb, func(*authz.Record) {}
			if c.public {
				client, change = "&client_id=spa", spa
			}
			code, _ := b.authorize(t, change)
			a := b.post(t, "grant_type=authorization_code&code="+code+"&redirect_uri="+url.QueryEscape(azCallback)+c.proof+client)
			if (a.Code == 200) != c.good {
				t.Errorf("%d %s", a.Code, a.Body)
			}
		})
	}
}

func TestG3_CodeIsNoRefreshToken(t *testing.T) {
	azEach(t, func(t *testing.T, tokens epChange) {
		b := azNew(t, tokens)
		code, family := b.authorize(t)
		b.state.set(nil)
		b.bad(t, azRefresh(code), 400, "invalid_grant")
		b.bad(t, azRefresh("r"+code[1:]), 400, "invalid_grant")
		if b.passes(t, code) || b.state.written() != 0 {
			t.Errorf("a code passes the guard, or %d writes", b.state.written())
		}
		first := b.good(t, azRedeem(code))
		b.state.set(nil)
		b.bad(t, azRefresh(code), 400, "invalid_grant")
		b.bad(t, azRedeem(first.Refresh), 400, "invalid_grant")
		b.bad(t, azRefresh(first.Access), 400, "invalid_grant")
		if b.passes(t, first.Refresh) || b.state.written() != 0 || b.record(t, family).Phase != authz.Active {
			t.Errorf("a refresh token passes the guard, or %d writes", b.state.written())
		}
		b.good(t, azRefresh(first.Refresh))
	})
}

// Nobody can make up a refresh token from what is public of a family.
func TestG6_GarbageWritesNothing(t *testing.T) {
	azEach(t, func(t *testing.T, tokens epChange) {
		b := azNew(t, tokens)
		code, family := b.authorize(t)
		first := b.good(t, azRedeem(code))
		c, err := b.codec.verify(t.Context(), first.Access)
		if err != nil || c.family != string(family[:]) {
			t.Fatalf("the access token names the family %x: %v", c.family, err)
		}
		last := map[bool]string{true: "E", false: "A"}[strings.HasSuffix(first.Refresh, "A")]
		b.state.set(nil)
		for name, token := range map[string]string{
			"last character": first.Refresh[:len(first.Refresh)-1] + last,
			"made up":        authz.Token(authz.Family([]byte(c.family)), [32]byte{1}, [32]byte{2}, 1),
			"next":           strings.Replace(first.Refresh, ".1.", ".2.", 1),
		} {
			if e := b.bad(t, azRefresh(token), 400, "invalid_grant"); e.Kind != "grant_refused" {
				t.Errorf("%s: %+v", name, e)
			}
		}
		guess, _ := authz.NewCode(family)
		for range 6 {
			b.bad(t, azRedeem(guess), 400, "invalid_grant")
		}
		if b.state.written() != 0 {
			t.Errorf("%d writes", b.state.written())
		}
		b.good(t, azRefresh(first.Refresh))
	})
}

func TestG4_WrongVerifierFiveTimes(t *testing.T) {
	b := azNew(t)
	code, family := b.authorize(t)
	wrong := strings.Replace(azRedeem(code), azVerifier, strings.Repeat("x", 43), 1)
	for n := range 5 {
		if rec := b.record(t, family); int(rec.Fails) != n || rec.Phase != authz.Code {
			t.Fatalf("before failure %d: %+v", n+1, rec)
		}
		b.bad(t, wrong, 400, "invalid_grant")
	}
	b.bad(t, azRedeem(code), 400, "invalid_grant")
	if rec := b.record(t, family); rec.Phase != authz.Revoked {
		t.Errorf("%+v", rec)
	}
}

type azCodec struct{ codec }

var errAZ = errors.New("the hardware module is gone")

func (azCodec) mint(context.Context, *claims) (string, error) { return "", errAZ }

// azBreaks are booths whose answers cannot be made while they are broken.
var azBreaks = map[string]func(t *testing.T) (b *azBooth, broken func(bool)){
	"signer": func(t *testing.T) (*azBooth, func(bool)) {
		b := azNew(t)
		whole := b.codec
		return b, func(broken bool) {
			b.codec = whole
			if broken {
				b.codec = azCodec{whole}
			}
		}
	},
	"formatter": func(t *testing.T) (*azBooth, func(bool)) {
		return azFormatting(t, func() (response.Reply, error) { return response.Reply{}, errAZ })
	},
	"formatter's status": func(t *testing.T) (*azBooth, func(bool)) {
		return azFormatting(t, func() (response.Reply, error) { return response.Reply{Status: 1}, nil })
	},
	"formatter panics": func(t *testing.T) (*azBooth, func(bool)) {
		return azFormatting(t, func() (response.Reply, error) { panic(errAZ) })
	},
}

func azFormatting(t *testing.T, fail func() (response.Reply, error)) (*azBooth, func(bool)) {
	f := new(epFormatter)
	return azNew(t, func(c *HandlerConfig) { c.Formatter = f }), func(broken bool) {
		f.token = nil
		if broken {
			f.token = func(*response.Token) (response.Reply, error) { return fail() }
		}
	}
}

func TestG5_T7_NoAnswerConsumesNothing(t *testing.T) {
	for name, make := range azBreaks {
		t.Run(name, func(t *testing.T) {
			b, broken := make(t)
			code, family := b.authorize(t)
			fails := func(body string) {
				t.Helper()
				before := *b.record(t, family)
				b.state.set(nil)
				broken(true)
				for range 3 {
					b.bad(t, body, 500, "server_error")
				}
				broken(false)
				if after := *b.record(t, family); after != before || b.state.written() != 0 {
					t.Fatalf("%+v after %d writes", after, b.state.written())
				}
			}
			fails(azRedeem(code))
			first := b.good(t, azRedeem(code))
			fails(azRefresh(first.Refresh))
			b.clock.move(time.Hour - time.Second) // beyond any grace: it is the live one still
			if !b.passes(t, first.Access) {
				t.Error("the access token is dead")
			}
			b.good(t, azRefresh(first.Refresh))
		})
	}
}

// Each call of the State in turn fails before it does anything, or loses its
// answer after it did: what was not consumed is good still, what was is known.
func TestG5_StoreFailsAtEachCall(t *testing.T) {
	azEach(t, func(t *testing.T, tokens epChange) {
		for _, lost := range []bool{false, true} {
			for _, refresh := range []bool{false, true} {
				for n := 0; azFailAt(t, tokens, n, lost, refresh); n++ {
					if n > 20 {
						t.Fatal("no end of calls")
					}
				}
			}
		}
	})
}

// azFailAt fails call n of a request; false when it makes fewer.
func azFailAt(t *testing.T, tokens epChange, n int, lost, refresh bool) bool {
	t.Helper()
	b := azNew(t, tokens)
	code, family := b.authorize(t)
	body := azRedeem(code)
	if refresh {
		body = azRefresh(b.good(t, body).Refresh)
	}
	calls, failed := 0, ""
	b.state.set(func(op, key string) (bool, error) {
		calls++
		if calls == n+1 {
			failed = op + " " + key[:min(6, len(key))]
			return lost, fmt.Errorf("azFailAt: %w", store.ErrUnavailable)
		}
		return true, nil
	})
	a := b.post(t, body)
	b.state.set(nil)
	what := fmt.Sprintf("%s, refresh %v, reply lost %v: %d %s", failed, refresh, lost, a.Code, a.Body)
	if failed == "" {
		if a.Code != 200 || n < 3 {
			t.Errorf("%d calls and %s", n, what)
		}
		return false
	}
	if failed == "Swap authz:" && lost { // it finds out
		if a.Code != 200 || !b.passes(t, a.Access) {
			t.Error(what)
		}
		b.good(t, azRefresh(a.Refresh))
		return true
	}
	if rec := b.record(t, family); a.Code != 503 || (rec.Phase == authz.Active) != refresh || rec.Gen > 1 || rec.Fails != 0 {
		t.Errorf("%s; %+v", what, rec)
	}
	epRetryAfter(t, a.ResponseRecorder)
	b.clock.move(30 * time.Second) // beyond any grace
	if a = b.good(t, body); !b.passes(t, a.Access) {
		t.Errorf("%s; the retry's token is dead", what)
	}
	return true
}

// Where not even a look afterwards is answered, a retry within the grace gets
// what was made.
func TestG7_UnknownOutcomeLogsNobodyOut(t *testing.T) {
	b := azNew(t)
	code, family := b.authorize(t)
	first := b.good(t, azRedeem(code))
	down := false
	b.state.set(func(op, _ string) (bool, error) {
		down = down || op == "Swap"
		if down {
			return true, store.ErrUnavailable
		}
		return true, nil
	})
	b.bad(t, azRefresh(first.Refresh), 503, "temporarily_unavailable")
	b.state.set(nil)
	if b.record(t, family).Gen != 2 {
		t.Fatal("the write was not made")
	}
	b.clock.move(9 * time.Second)
	next := b.good(t, azRefresh(first.Refresh))
	if b.state.written() != 0 {
		t.Errorf("%d writes", b.state.written())
	}
	b.clock.move(time.Hour)
	b.good(t, azRefresh(next.Refresh))
}

func TestG7_ReuseKillsFamily(t *testing.T) {
	azEach(t, func(t *testing.T, tokens epChange) {
		b := azNew(t, tokens)
		code, _ := b.authorize(t)
		other, _ := b.authorize(t)
		bystander := b.good(t, azRedeem(other))
		first := b.good(t, azRedeem(code))
		second := b.good(t, azRefresh(first.Refresh))
		b.clock.move(10*time.Second - time.Millisecond)
		again := b.good(t, azRefresh(first.Refresh))
		if again.Refresh != second.Refresh {
			t.Error("two leaves")
		}
		b.clock.move(time.Second)
		for _, a := range []azAnswer{first, second, again} {
			if !b.passes(t, a.Access) {
				t.Fatal("an access token died early")
			}
		}
		if e := b.bad(t, azRefresh(first.Refresh), 400, "invalid_grant"); e.Kind != "refresh_reused" || e.ClientID != "web" {
			t.Errorf("%+v", e)
		}
		for _, a := range []azAnswer{first, second, again} {
			if b.passes(t, a.Access) {
				t.Error("an access token outlives its family")
			}
		}
		b.bad(t, azRefresh(second.Refresh), 400, "invalid_grant")
		if !b.passes(t, bystander.Access) {
			t.Error("another family died too")
		}
		b.good(t, azRefresh(bystander.Refresh))
	})
}

func TestG7_GraceOff(t *testing.T) {
	b := azNew(t, func(c *HandlerConfig) { c.RefreshGrace = -1 })
	code, _ := b.authorize(t)
	first := b.good(t, azRedeem(code))
	second := b.good(t, azRefresh(first.Refresh))
	if e := b.bad(t, azRefresh(first.Refresh), 400, "invalid_grant"); e.Kind != "refresh_reused" {
		t.Errorf("%+v", e)
	}
	if b.passes(t, second.Access) {
		t.Error("an access token outlives its family")
	}
}

func TestG7_StateBehind(t *testing.T) {
	b := azNew(t)
	code, family := b.authorize(t)
	first := b.good(t, azRedeem(code))
	before, _, _ := b.state.Memory.Get(t.Context(), authz.Key(family))
	before = bytes.Clone(before)
	second := b.good(t, azRefresh(first.Refresh))
	now, _, _ := b.state.Memory.Get(t.Context(), authz.Key(family))
	if ok, err := b.state.Memory.Swap(t.Context(), authz.Key(family), now, before, b.clock.Now().Add(30*24*time.Hour)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	third := b.good(t, azRefresh(second.Refresh))
	all := b.all()
	if e := all[len(all)-1]; e.Kind != "state_behind" || e.ClientID != "web" {
		t.Errorf("%+v", e)
	}
	if again := b.good(t, azRefresh(second.Refresh)); again.Refresh != third.Refresh {
		t.Error("two leaves")
	}
	if e := b.bad(t, azRefresh(first.Refresh), 400, "invalid_grant"); e.Kind != "refresh_reused" {
		t.Errorf("%+v", e)
	}
	b.bad(t, azRefresh(third.Refresh), 400, "invalid_grant")
}

func TestG6_NarrowerScope(t *testing.T) {
	b := azNew(t)
	code, _ := b.authorize(t, func(r *authz.Record) { r.Scope = "read" })
	first := b.good(t, azRedeem(code))
	b.bad(t, azRefresh(first.Refresh)+"&scope=read+write", 400, "invalid_scope")
	b.bad(t, azRefresh(first.Refresh)+"&scope=admin", 400, "invalid_scope")
	b.clock.move(time.Hour)
	second := b.good(t, azRefresh(first.Refresh)+"&scope=read")
	if first.Scope != "read" || second.Scope != "read" {
		t.Errorf("%q, %q", first.Scope, second.Scope)
	}
	b.good(t, azRefresh(second.Refresh))
}

// All that was authorized before ends at once; what is authorized later lives.
func TestEpochsEndEverything(t *testing.T) {
	azEach(t, func(t *testing.T, tokens epChange) {
		for name, revoke := range map[string]func(*azBooth) error{
			"subject": func(b *azBooth) error { return b.RevokeSubject(t.Context(), azUser) },
			"client":  func(b *azBooth) error { return b.RevokeClient(t.Context(), "web") },
		} {
			t.Run(name, func(t *testing.T) {
				b := azNew(t, tokens)
				code, _ := b.authorize(t)
				unredeemed, _ := b.authorize(t)
				otherCode, _ := b.authorize(t, func(r *authz.Record) { r.Client, r.Subject = "spa", "user-8" })
				otherBody := strings.Replace(azRedeem(otherCode), azWeb, "&client_id=spa", 1)
				first, other := b.good(t, azRedeem(code)), b.good(t, otherBody)
				if err := revoke(b); err != nil {
					t.Fatal(err)
				}
				if all := b.all(); all[len(all)-1].Kind != "revoked" {
					t.Errorf("%+v", all[len(all)-1])
				}
				if b.passes(t, first.Access) {
					t.Error("an access token lives")
				}
				b.bad(t, azRefresh(first.Refresh), 400, "invalid_grant")
				b.bad(t, azRedeem(unredeemed), 400, "invalid_grant")
				if !b.passes(t, other.Access) {
					t.Error("somebody else's token is dead")
				}
				later, _ := b.authorize(t, func(r *authz.Record) {
					r.SubjectEpoch, r.ClientEpoch, _ = authz.Epochs(t.Context(), b.state, azUser, "web")
				})
				next := b.good(t, azRefresh(b.good(t, azRedeem(later)).Refresh))
				if !b.passes(t, next.Access) {
					t.Error("what was authorized afterwards is dead")
				}
			})
		}
	})
}

// An ECDSA signature has a twin that verifies too: a token that was revoked must
// not come back in another spelling.
func TestT7_RevocationByIdentity(t *testing.T) {
	for name, revoke := range map[string]func(*testing.T, *azBooth, string, authz.Family) error{
		"token": func(t *testing.T, b *azBooth, token string, _ authz.Family) error {
			c, err := b.codec.verify(t.Context(), token)
			if err != nil {
				return err
			}
			return b.deny(t.Context(), c)
		},
		"family": func(t *testing.T, b *azBooth, _ string, f authz.Family) error {
			return authz.Revoke(t.Context(), b.state, f)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := azNew(t)
			code, family := b.authorize(t)
			token := b.good(t, azRedeem(code)).Access
			twin := azTwin(t, token)
			if twin == token || !b.passes(t, token) || !b.passes(t, twin) {
				t.Fatal("no twin to begin with")
			}
			if err := revoke(t, b, token, family); err != nil {
				t.Fatal(err)
			}
			if b.passes(t, token) || b.passes(t, twin) {
				t.Error("a revoked token passes")
			}
		})
	}
}

func azTwin(t *testing.T, token string) string {
	t.Helper()
	at := strings.LastIndexByte(token, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(token[at:])
	if err != nil || len(signature) != 64 {
		t.Fatal(err)
	}
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	return token[:at] + base64.RawURLEncoding.EncodeToString(signature)
}

// azDiscard keeps the body and reuses its memory.
type azDiscard struct {
	discard
	body bytes.Buffer
}

func (d *azDiscard) Write(p []byte) (int, error) { return d.body.Write(p) }

func (d *azDiscard) member(b *testing.B, name string) string {
	_, rest, ok := bytes.Cut(d.body.Bytes(), []byte(`"`+name+`":"`))
	value, _, closed := bytes.Cut(rest, []byte(`"`))
	if !ok || !closed {
		b.Fatalf("%d %s", d.status, d.body.Bytes())
	}
	return string(value)
}

func (d *azDiscard) serve(h http.Handler, template *http.Request, body string) {
	r := *template
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	clear(d.header)
	d.body.Reset()
	h.ServeHTTP(d, &r)
}

func azBenchmark(b *testing.B, run func(b *testing.B, booth *azBooth, template *http.Request, w *azDiscard)) {
	for _, format := range []TokenFormat{JWT{}, Opaque{}} {
		b.Run(strings.TrimPrefix(fmt.Sprintf("%T", format), "tokenbooth."), func(b *testing.B) {
			quiet := func(c *HandlerConfig) { c.Tokens, c.Events, c.Logger = format, nil, gkQuiet }
			template, _ := tokenRequest("")
			b.ReportAllocs()
			run(b, azNew(b, quiet), template, &azDiscard{discard: discard{header: http.Header{}}})
		})
	}
}

func BenchmarkRedeem(b *testing.B) {
	azBenchmark(b, func(b *testing.B, booth *azBooth, template *http.Request, w *azDiscard) {
		for b.Loop() {
			b.StopTimer()
			code, _ := booth.authorize(b)
			body := azRedeem(code)
			b.StartTimer()
			w.serve(booth, template, body)
			if w.status != 200 {
				b.Fatalf("%d %s", w.status, w.body.Bytes())
			}
		}
	})
}

func BenchmarkRefresh(b *testing.B) {
	azBenchmark(b, func(b *testing.B, booth *azBooth, template *http.Request, w *azDiscard) {
		code, _ := booth.authorize(b)
		w.serve(booth, template, azRedeem(code))
		for b.Loop() {
			w.serve(booth, template, azRefresh(w.member(b, "refresh_token")))
		}
	})
}

// Revoked stays revoked, however long tokens live.
func TestG7_EpochsOutliveWhatTheyRevoke(t *testing.T) {
	b := azNew(t, func(c *HandlerConfig) {
		c.RefreshIdle, c.RefreshAbsolute, c.AccessTokenTTL = 60*24*time.Hour, 90*24*time.Hour, 40*24*time.Hour
	})
	code, _ := b.authorize(t)
	first := b.good(t, azRedeem(code))
	if err := b.RevokeSubject(t.Context(), azUser); err != nil {
		t.Fatal(err)
	}
	b.clock.move(32 * 24 * time.Hour)
	for range 1000 { // each removes what may be collected
		other, _ := b.authorize(t, func(r *authz.Record) { r.Subject = "other" })
		b.good(t, azRedeem(other))
	}
	b.bad(t, azRefresh(first.Refresh), 400, response.InvalidGrant)
	if b.passes(t, first.Access) {
		t.Error("the access token of a revoked user passes")
	}
}

// Two issuers on one State do not take each other's codes and refresh tokens.
func TestG3_AnotherIssuersAuthorization(t *testing.T) {
	b := azNew(t)
	other := azNew(t, func(c *HandlerConfig) { c.Issuer, c.State = "https://other.example", b.state })
	code, _ := b.authorize(t)
	other.bad(t, azRedeem(code), 400, response.InvalidGrant)
	token := b.good(t, azRedeem(code)).Refresh
	other.bad(t, azRefresh(token), 400, response.InvalidGrant)
	b.good(t, azRefresh(token))
}

// Whoever watches learns whose authorization was stolen.
func TestG7_TheAlarmSaysWhose(t *testing.T) {
	b := azNew(t)
	code, _ := b.authorize(t)
	token := b.good(t, azRedeem(code)).Refresh
	b.good(t, azRefresh(b.good(t, azRefresh(token)).Refresh))
	b.clock.move(time.Minute)
	if e := b.bad(t, azRefresh(token), 400, response.InvalidGrant); e.Kind != "refresh_reused" || e.Subject != azUser || e.ClientID != "web" {
		t.Errorf("event %+v", e)
	}
}
