package tokenbooth

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/gate"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

const (
	rkFast  = "fast-canary-3f1c"
	rkSlow  = "slow-canary-77aa"
	rkHuman = "human-canary-b0b5"
)

// rkPBKDF2 is the stored form of a secret, made by hand with few rounds.
func rkPBKDF2(plain string) store.Secret {
	salt := []byte("sixteen bytes of")
	sum, err := pbkdf2.Key(sha256.New, plain, salt, 1000, 32)
	if err != nil {
		panic(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return store.Secret{Hash: "pbkdf2-sha256$1000$" + b64(salt) + "$" + b64(sum)}
}

// rkImported is a hash that an rkVerifier knows.
func rkImported(plain string) store.Secret { return store.Secret{Hash: "$rk$" + plain} }

// rkVerifier counts its calls, and does what fault says, where it is set.
type rkVerifier struct {
	calls, running, most atomic.Int64
	fault                atomic.Pointer[func(context.Context) error]
}

func (v *rkVerifier) VerifySecret(ctx context.Context, hash, secret string) (bool, error) {
	v.calls.Add(1)
	now := v.running.Add(1)
	defer v.running.Add(-1)
	for most := v.most.Load(); now > most && !v.most.CompareAndSwap(most, now); {
		most = v.most.Load()
	}
	if f := v.fault.Load(); f != nil {
		if err := (*f)(ctx); err != nil {
			return true, err // an error counts, whatever stands beside it
		}
	}
	return hash == rkImported(secret).Hash, nil
}

func (v *rkVerifier) fail(f func(context.Context) error) { v.fault.Store(&f) }
func (v *rkVerifier) heal()                              { v.fault.Store(nil) }

// asked runs f and returns how many slow hashes it cost.
func (v *rkVerifier) asked(f func()) int64 {
	before := v.calls.Load()
	f()
	return v.calls.Load() - before
}

// rkNobody makes the verifier see, and so count, the hash that is run where
// there is no other.
func rkNobody(t testing.TB) {
	real := store.NoSecret
	store.NoSecret = store.Secret{Hash: "$rk$\x00"}
	t.Cleanup(func() { store.NoSecret = real })
}

var rkNow = newHeldClock().Now()

func rkClients(t testing.TB) *store.Memory {
	t.Helper()
	ended := rkImported("ended-canary-11")
	ended.Expires = rkNow
	client := func(id string, secrets ...store.Secret) *store.Client {
		return &store.Client{ID: id, Secrets: secrets, Grants: []string{"client_credentials", "password"}}
	}
	disabled := client("disabled", rkImported(rkSlow))
	disabled.Disabled = true
	basic := client("basic", rkImported(rkSlow))
	basic.AuthMethod = store.AuthBasic
	clients, err := store.NewMemory(
		client("probe", store.HashSecret("probe-secret")),
		client("fast", store.HashSecret(rkFast)),
		client("imported", rkImported(rkSlow)),
		client("human", rkPBKDF2(rkHuman)),
		client("both", store.HashSecret(rkFast), rkImported(rkSlow)),
		client("both+ended", store.HashSecret(rkFast), ended),
		client("ended", ended),
		client("raw+1", store.HashSecret("s+1%41")),
		disabled, basic,
	)
	if err != nil {
		t.Fatal(err)
	}
	return clients
}

type rkSlowBooth struct {
	*epBooth
	*rkVerifier
	memory *store.Memory
}

// rkSlowNew makes a handler that accepts slow secrets. Failures are limited, and
// secrets upgraded, which takes a whole slow hash, only where a change says so.
func rkSlowNew(t testing.TB, f response.Formatter, changes ...epChange) *rkSlowBooth {
	t.Helper()
	b := &rkSlowBooth{rkVerifier: new(rkVerifier), memory: rkClients(t)}
	all := append([]epChange{func(c *HandlerConfig) {
		c.Clients, c.SlowSecrets, c.SecretVerifier = struct{ ClientStore }{b.memory}, true, b.rkVerifier
		c.Limit, c.FailureLimit = Limit{1000, 1000}, Limit{1000, 1000}
	}}, changes...)
	b.epBooth = epNew(t, f, all...)
	return b
}

// rkUpgrades is the change to a store that can upgrade secrets.
func rkUpgrades(c *HandlerConfig) { c.Clients = c.Clients.(struct{ ClientStore }).ClientStore }

// secret returns the stored secret of a client.
func (b *rkSlowBooth) secret(t testing.TB, id string, i int) store.Secret {
	t.Helper()
	c, err := b.memory.Client(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c.Secrets[i]
}

func (b *rkSlowBooth) login(id, secret string, changes ...func(*http.Request)) *httptest.ResponseRecorder {
	return b.post(epCredentials(id, secret), changes...)
}

// hidden checks that nothing that was told shows a secret or a hash (H3).
func (b *rkSlowBooth) hidden(t testing.TB) {
	t.Helper()
	told := b.logged() + fmt.Sprintf("%+v %#v", b.all(), b.all())
	for _, s := range []string{"canary", "$rk$", "pbkdf2-sha256", "rk%24"} {
		if strings.Contains(told, s) {
			t.Errorf("%q was told: %s", s, told)
		}
	}
}

func TestC7_SlowSecrets(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		rkNobody(t)
		b := rkSlowNew(t, e.formatter)
		for _, tt := range []struct {
			id, secret string
			reason     response.Reason
			calls      int64
		}{
			{"fast", rkFast, "", 0},
			{"human", rkHuman, "", 0},
			{"both", rkFast, "", 0},
			{"both", rkSlow, "", 1},
			{"imported", rkSlow, "", 1},
			{"imported", rkImported(rkSlow).Hash, response.SecretWrong, 1},
			{"fast", b.secret(t, "fast", 0).Hash, response.SecretWrong, 1},
			{"both+ended", rkFast, "", 0},
			{"both+ended", "ended-canary-11", response.SecretWrong, 1},
			{"ended", "ended-canary-11", response.SecretWrong, 1},
			{"disabled", "wrong", response.SecretWrong, 1},
			{"disabled", rkSlow, response.ClientDisabled, 1},
			{"basic", rkSlow, response.SecretWrong, 1},
			{"nobody", rkSlow, response.ClientUnknown, 1},
		} {
			var w *httptest.ResponseRecorder
			calls := b.asked(func() { w = b.login(tt.id, tt.secret) })
			epHeaders(t, w)
			if got := b.last(t).Reason; got != tt.reason || calls != tt.calls {
				t.Errorf("%s by %q: %d %q after %d slow hashes, want %q after %d", tt.id, tt.secret, w.Code, got, calls, tt.reason, tt.calls)
			}
		}
		b.hidden(t)
	})
}

func TestC7_SlowSecretByBasic(t *testing.T) {
	b := rkSlowNew(t, response.OAuth{})
	const grantOnly = "grant_type=client_credentials"
	b.want(t, b.post(grantOnly, epBasic("basic", rkSlow)), 200, "")
	b.want(t, b.post(grantOnly, epBasic("human", rkHuman)), 200, "")
	w := b.post(grantOnly, epBasic("human", "wrong"))
	b.want(t, w, 401, response.SecretWrong)
	if w.Header().Get("WWW-Authenticate") == "" {
		t.Error("no challenge (C5)")
	}
	b.hidden(t)
}

// Two live secrets, each in its own form, and each ends by its own time.
func TestC7_TwoLiveSecretsOneSlow(t *testing.T) {
	rkNobody(t)
	b := rkSlowNew(t, response.OAuth{})
	slow := rkPBKDF2(rkHuman)
	slow.Expires = b.clock.Now().Add(time.Hour)
	fast := store.HashSecret(rkFast)
	fast.Expires = b.clock.Now().Add(2 * time.Hour)
	for _, secrets := range [][]store.Secret{{slow, fast}, {fast, slow}} {
		if err := b.memory.Put(&store.Client{ID: "two", Secrets: secrets, Grants: []string{"client_credentials"}}); err != nil {
			t.Fatal(err)
		}
		start := b.clock.Now()
		b.want(t, b.login("two", rkFast), 200, "")
		b.want(t, b.login("two", rkHuman), 200, "")
		b.clock.move(time.Hour)
		b.want(t, b.login("two", rkHuman), 401, response.SecretWrong)
		b.want(t, b.login("two", rkFast), 200, "")
		b.clock.move(time.Hour)
		b.want(t, b.login("two", rkFast), 401, response.SecretWrong)
		b.clock.move(start.Sub(b.clock.Now()))
	}
}

// rkFailures are all the ways to fail that have to cost alike.
var rkFailures = map[string]string{
	"unknown id":                "nobody",
	"fast secret wrong":         "fast",
	"slow secret wrong":         "imported",
	"wrong for both":            "both",
	"no live slow one":          "both+ended",
	"ended":                     "ended",
	"disabled":                  "disabled",
	"by the wrong method":       "basic",
	"an id that no client has":  "a\x00b",
	"an id with a strange rune": "\u202efast",
}

func TestC4_EveryFailureCostsOneSlowHash(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		rkNobody(t)
		b := rkSlowNew(t, e.formatter)
		var first *httptest.ResponseRecorder
		for name, id := range rkFailures {
			var w *httptest.ResponseRecorder
			if calls := b.asked(func() { w = b.login(id, "wrong") }); calls != 1 {
				t.Errorf("%s: %d slow hashes, want 1", name, calls)
			}
			if first == nil {
				first = w
			}
			if e.name != "content" { // which tells unknown from wrong, and is meant to
				epSame(t, name, first, w)
			}
		}
		// What comes without a secret, or cannot be one, costs none.
		for name, body := range map[string]string{
			"no secret":       "grant_type=client_credentials&client_id=imported",
			"a control byte":  epCredentials("imported", "a\x00b"),
			"the same, of no": epCredentials("nobody", "a\x00b"),
		} {
			if calls := b.asked(func() { b.post(body) }); calls != 0 {
				t.Errorf("%s: %d slow hashes, want none", name, calls)
			}
		}
	})
}

// The hash that is run for nobody is the real thing.
func TestC4_HashOfNobody(t *testing.T) {
	if !store.NoSecret.IsSlow() || store.NoSecret.NeedsUpgrade() {
		t.Error("a miss costs less than the hashes that are made")
	}
	if ok, err := store.NoSecret.CheckSlow(t.Context(), "x", nil); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

// Both readings of one header are one attempt, whoever is named.
func TestC1_TwoReadingsCostAlike(t *testing.T) {
	rkNobody(t)
	b := rkSlowNew(t, response.OAuth{}, func(c *HandlerConfig) { c.FailureLimit = Limit{0.001, 2} })
	for i, id := range []string{"nobody", "imported", "fast"} {
		from := epFrom(fmt.Sprintf("192.0.2.%d:1", i))
		for range 2 {
			if calls := b.asked(func() { b.post("grant_type=client_credentials", from, epBasic(id, "wr+ng")) }); calls != 2 {
				t.Errorf("%s: %d slow hashes, want one for each reading", id, calls)
			}
			if e := b.last(t); e.Status != 401 {
				t.Errorf("%s: %d", id, e.Status)
			}
		}
		b.post("grant_type=client_credentials", from, epBasic(id, "wr+ng"))
		if e := b.last(t); e.Status != 429 {
			t.Errorf("%s: %d, want 429: two attempts were charged as %d", id, e.Status, 2)
		}
	}
}

// The right secret of the fast form gets through also where it is the second
// reading of a header that has it, and pays for no slow hash.
func TestL1_SecondReadingIsNotLockedOut(t *testing.T) {
	rkNobody(t)
	b := rkSlowNew(t, response.OAuth{}, func(c *HandlerConfig) { c.FailureLimit = Limit{0.001, 1} })
	for _, id := range []string{"raw+1", "raw 1"} {
		b.login(id, "wrong")
		if b.want(t, b.login(id, "wrong"), 429, response.Throttled); t.Failed() {
			t.Fatal("the bucket is not empty")
		}
	}
	calls := b.asked(func() {
		b.want(t, b.post("grant_type=client_credentials", epBasic("raw+1", "s+1%41")), 200, "")
	})
	if calls != 0 {
		t.Errorf("%d slow hashes, want none", calls)
	}
	b.want(t, b.post("grant_type=client_credentials", epBasic("raw+1", "s+1%42")), 429, response.Throttled)
}

func TestC4_ThrottledBeforeHashing(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		rkNobody(t)
		b := rkSlowNew(t, e.formatter, func(c *HandlerConfig) { c.FailureLimit = Limit{0.1, 3} })
		var first *httptest.ResponseRecorder
		for name, id := range rkFailures {
			for range 3 {
				if w := b.login(id, "wrong"); w.Code == 429 {
					t.Fatalf("%s: throttled within the burst", name)
				}
			}
			var w *httptest.ResponseRecorder
			if calls := b.asked(func() { w = b.login(id, "wrong") }); calls != 0 || w.Code != 429 {
				t.Errorf("%s: %d after %d slow hashes, want 429 and none", name, w.Code, calls)
			}
			if epHeaders(t, w); first == nil {
				first = w
			}
			epSame(t, name, first, w)
		}
		if calls := b.asked(func() { b.login("imported", rkSlow) }); calls != 0 || b.last(t).Status != 429 {
			t.Errorf("the right slow secret: %d after %d slow hashes, want 429 and none", b.last(t).Status, calls)
		}
		for _, id := range []string{"fast", "both"} {
			if calls := b.asked(func() { b.login(id, rkFast) }); calls != 0 || b.last(t).Status != e.success {
				t.Errorf("%s by its fast secret: %d after %d slow hashes; nobody locks it out", id, b.last(t).Status, calls)
			}
		}
		b.login("imported", rkSlow, epFrom("198.51.100.1:1"))
		if got := b.last(t).Status; got != e.success {
			t.Errorf("from elsewhere: %d", got)
		}
		b.clock.move(epRetryAfter(t, first))
		b.login("ended", "wrong")
		if got := b.last(t).Reason; got == response.Throttled {
			t.Error("throttled after the advertised wait")
		}
		b.hidden(t)
	})
}

// A slow hash is charged though it succeeds; a fast one is not (L1).
func TestL1_SlowSuccessIsCharged(t *testing.T) {
	b := rkSlowNew(t, response.OAuth{}, func(c *HandlerConfig) {
		c.Clients = &epClients{all: map[string]*store.Client{
			"slow": {ID: "slow", Secrets: []store.Secret{rkImported(rkSlow)}, Grants: []string{"client_credentials"}},
		}}
		c.FailureLimit = Limit{0.1, 3}
	})
	for range 3 {
		b.want(t, b.login("slow", rkSlow), 200, "")
	}
	if calls := b.asked(func() { b.want(t, b.login("slow", rkSlow), 429, response.Throttled) }); calls != 0 {
		t.Errorf("%d slow hashes in an empty bucket", calls)
	}
}

func TestC4_NoSlowHashUnlessOptedIn(t *testing.T) {
	rkNobody(t)
	b := rkSlowNew(t, response.OAuth{}, func(c *HandlerConfig) { c.SlowSecrets, c.SecretVerifier = false, nil })
	for id, secret := range map[string]string{
		"imported": rkSlow, "human": rkHuman, "both": rkSlow, "ended": "ended-canary-11", "fast": "wrong",
	} {
		b.want(t, b.login(id, secret), 401, response.SecretWrong)
	}
	b.want(t, b.login("nobody", "wrong"), 401, response.ClientUnknown)
	b.want(t, b.login("both", rkFast), 200, "")
	if n := b.calls.Load(); n != 0 || b.slow != nil {
		t.Errorf("%d slow hashes", n)
	}
	if b.secret(t, "human", 0) != rkPBKDF2(rkHuman) {
		t.Error("a secret that could not be checked was upgraded")
	}
	_, err := NewHandler(HandlerConfig{Issuer: epIssuer, Clients: b.memory, Keys: epKeys(), SecretVerifier: b.rkVerifier})
	var mistake *ConfigError
	if !errors.As(err, &mistake) || mistake.Field != "HandlerConfig.SecretVerifier" {
		t.Errorf("a verifier that is never asked: %v", err)
	}
}

// Without a verifier a hash of another system matches nothing.
func TestC7_ImportedWithoutVerifier(t *testing.T) {
	b := rkSlowNew(t, response.OAuth{}, func(c *HandlerConfig) { c.SecretVerifier = nil })
	b.want(t, b.login("imported", rkSlow), 401, response.SecretWrong)
	b.want(t, b.login("human", rkHuman), 200, "")
}

func TestG8_QueueOfSlowHashesIsBounded(t *testing.T) {
	epKeys() // outside of the bubbles
	epEach(t, func(t *testing.T, e epEnvelope) {
		synctest.Test(t, func(t *testing.T) {
			b := rkSlowNew(t, e.formatter)
			b.slow.gate = gate.New(2)
			release := make(chan struct{})
			b.fail(func(context.Context) error {
				<-release
				return nil
			})
			answers := make(chan *httptest.ResponseRecorder, 30)
			for range 25 {
				go func() { answers <- b.login("imported", rkSlow) }()
			}
			synctest.Wait()
			if len(answers) != 15 || b.calls.Load() != 2 {
				t.Errorf("%d are turned away and %d run, want 15 and 2 of 25", len(answers), b.calls.Load())
			}
			for range len(answers) {
				w := <-answers
				if epHeaders(t, w); w.Code != 503 {
					t.Errorf("got %d %s, want 503", w.Code, w.Body)
				}
			}
			if w := b.login("fast", rkFast); w.Code != e.success {
				t.Errorf("a fast secret beside a full queue: %d", w.Code)
			}
			if w := b.login("nobody", "wrong"); w.Code != 503 {
				t.Errorf("an unknown client beside a full queue: %d, want 503 as for all", w.Code)
			}
			close(release)
			synctest.Wait()
			for range 10 {
				if w := <-answers; w.Code != e.success {
					t.Errorf("who waited got %d %s", w.Code, w.Body)
				}
			}
			if most := b.most.Load(); most > 2 {
				t.Errorf("%d ran at once", most)
			}
			for _, event := range b.all() {
				if event.Reason != "" && event.Reason != response.Overloaded {
					t.Errorf("event %q: an overflow is no failed login", event.Reason)
				}
			}
		})
	})
}

// A hash that hangs is given up after 5 s, as is waiting for it, and the places
// are free again.
func TestG8_HangingVerifier(t *testing.T) {
	epKeys()
	synctest.Test(t, func(t *testing.T) {
		b := rkSlowNew(t, response.OAuth{})
		b.slow.gate = gate.New(1)
		b.fail(func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		began := time.Now()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if w := b.login("imported", rkSlow); w.Code != 503 {
					t.Errorf("got %d %s, want 503", w.Code, w.Body)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > 2*slowTimeout {
			t.Errorf("answered after %v", took)
		}
		b.heal()
		rkAllPlaces(t, b)
	})
}

// rkAllPlaces proves that as many get in as there are places, one after another
// and at once.
func rkAllPlaces(t *testing.T, b *rkSlowBooth) {
	t.Helper()
	for range 10 {
		b.want(t, b.login("disabled", rkSlow), 400, response.ClientDisabled)
	}
	release := make(chan struct{})
	b.fail(func(context.Context) error {
		<-release
		return nil
	})
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if w := b.login("disabled", rkSlow); w.Code != 400 {
				t.Errorf("a place was lost: %d %s", w.Code, w.Body)
			}
		})
	}
	synctest.Wait()
	close(release)
	all.Wait()
	b.heal()
}

func TestH2_NoPlaceIsLost(t *testing.T) {
	epKeys()
	var nobody *rkUpgrader
	for name, tt := range map[string]struct {
		fault  func(context.Context) error
		status int
	}{
		"a panic":       {func(context.Context) error { panic("canary") }, 500},
		"an error":      {func(context.Context) error { return errors.New("broken") }, 500},
		"a nil pointer": {func(ctx context.Context) error { return nobody.upgrade(ctx) }, 500},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := rkSlowNew(t, response.OAuth{})
				b.slow.gate = gate.New(1)
				b.fail(tt.fault)
				for range 20 {
					if w := b.login("disabled", rkSlow); w.Code != tt.status {
						t.Fatalf("got %d %s, want %d", w.Code, w.Body, tt.status)
					}
				}
				b.heal()
				rkAllPlaces(t, b)
				if strings.Contains(b.logged(), "canary") {
					t.Error("the log shows what the panic held")
				}
			})
		})
	}
}

func TestG8_WhoGivesUpLosesNoPlace(t *testing.T) {
	epKeys()
	synctest.Test(t, func(t *testing.T) {
		b := rkSlowNew(t, response.OAuth{})
		b.slow.gate = gate.New(1)
		release := make(chan struct{})
		b.fail(func(context.Context) error {
			<-release
			return nil
		})
		running := make(chan *httptest.ResponseRecorder, 1)
		go func() { running <- b.login("disabled", rkSlow) }()
		synctest.Wait()
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			gone := make(chan *httptest.ResponseRecorder, 1)
			go func() {
				gone <- b.login("imported", rkSlow, func(r *http.Request) { *r = *r.WithContext(ctx) })
			}()
			synctest.Wait()
			cancel()
			if w := <-gone; w.Code != 503 {
				t.Fatalf("who gave up got %d %s", w.Code, w.Body)
			}
		}
		close(release)
		if w := <-running; w.Code != 400 {
			t.Errorf("who ran got %d %s", w.Code, w.Body)
		}
		b.heal()
		rkAllPlaces(t, b)
	})
}

func TestC8_VerifierErrors(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		b := rkSlowNew(t, e.formatter)
		for _, tt := range []struct {
			err    error
			status int
			reason response.Reason
		}{
			{errors.New("broken"), 500, response.Internal},
			{store.ErrNotFound, 500, response.Internal},
			{store.ErrUnavailable, 503, response.Unavailable},
			{fmt.Errorf("hsm: %w", store.ErrUnavailable), 503, response.Unavailable},
			{context.DeadlineExceeded, 503, response.Unavailable},
		} {
			b.fail(func(context.Context) error { return tt.err })
			b.want(t, b.login("imported", rkSlow), tt.status, tt.reason)
			if got := b.last(t); !errors.Is(got.Err, tt.err) || got.Kind == "authentication_failed" {
				t.Errorf("event %+v", got)
			}
		}
		if b.secret(t, "imported", 0) != rkImported(rkSlow) {
			t.Error("a secret that was not checked was upgraded")
		}
		b.heal()
		b.want(t, b.login("imported", rkSlow), e.success, "")
		b.hidden(t)
	})
}

func TestUpgradeOnTheNextSuccess(t *testing.T) {
	for id, plain := range map[string]string{"human": rkHuman, "imported": rkSlow} {
		t.Run(id, func(t *testing.T) {
			b := rkSlowNew(t, response.OAuth{}, rkUpgrades)
			old := b.secret(t, id, 0)
			b.want(t, b.login(id, "wrong"), 401, response.SecretWrong)
			if b.secret(t, id, 0) != old {
				t.Error("a failure upgraded the secret")
			}
			b.want(t, b.login(id, plain), 200, "")
			better := b.secret(t, id, 0)
			if better == old || better.NeedsUpgrade() || !better.IsSlow() {
				t.Error("a success did not upgrade the secret")
			}
			if calls := b.asked(func() { b.want(t, b.login(id, plain), 200, "") }); calls != 0 {
				t.Error("the verifier was asked about an upgraded secret")
			}
			if b.secret(t, id, 0) != better {
				t.Error("a good secret was upgraded again")
			}
			b.hidden(t)
		})
	}
}

func TestUpgradeTouchesNothingElse(t *testing.T) {
	b := rkSlowNew(t, response.OAuth{}, rkUpgrades)
	fast := b.secret(t, "both", 0)
	b.want(t, b.login("both", rkFast), 200, "")
	if b.secret(t, "both", 0) != fast || b.secret(t, "both", 1) != rkImported(rkSlow) {
		t.Error("a fast success changed a secret")
	}
	expiring := rkPBKDF2(rkHuman)
	expiring.Expires = b.clock.Now().Add(time.Hour)
	if err := b.memory.Put(&store.Client{ID: "two", Secrets: []store.Secret{fast, expiring}, Grants: []string{"client_credentials"}}); err != nil {
		t.Fatal(err)
	}
	b.want(t, b.login("two", rkHuman), 200, "")
	if got := b.secret(t, "two", 1); b.secret(t, "two", 0) != fast || got.NeedsUpgrade() || !got.Expires.Equal(expiring.Expires) {
		t.Error("not exactly the hash was upgraded")
	}
	b.clock.move(time.Hour)
	b.want(t, b.login("two", rkHuman), 401, response.SecretWrong)
}

// rkUpgrader is a store whose upgrades do what the test says.
type rkUpgrader struct {
	*store.Memory
	upgrade func(context.Context) error
	tries   atomic.Int64
}

func (u *rkUpgrader) UpgradeSecret(ctx context.Context, _ string, _, _ store.Secret) error {
	u.tries.Add(1)
	return u.upgrade(ctx)
}

func TestUpgradeMayFail(t *testing.T) {
	epKeys()
	for name, upgrade := range map[string]func(context.Context) error{
		"an error":    func(context.Context) error { return errors.New("read-only replica") },
		"unavailable": func(context.Context) error { return store.ErrUnavailable },
		"a panic":     func(context.Context) error { panic("a store of the host") },
		"it hangs": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &rkUpgrader{upgrade: upgrade}
				b := rkSlowNew(t, response.OAuth{}, func(c *HandlerConfig) {
					u.Memory = c.Clients.(struct{ ClientStore }).ClientStore.(*store.Memory)
					c.Clients = u
				})
				began := time.Now()
				b.want(t, b.login("imported", rkSlow), 200, "")
				if u.tries.Load() != 1 || b.secret(t, "imported", 0) != rkImported(rkSlow) {
					t.Errorf("%d tries after a success", u.tries.Load())
				}
				if took := time.Since(began); took > storeTimeout {
					t.Errorf("the upgrade held the answer up for %v", took)
				}
				if !strings.Contains(b.logged(), "could not be upgraded") {
					t.Error("the log says nothing of it")
				}
				b.hidden(t)
			})
		})
	}
}

// A store that cannot upgrade is not asked to.
func TestUpgradeWhereTheStoreCannot(t *testing.T) {
	b := rkSlowNew(t, response.OAuth{})
	for range 2 {
		b.want(t, b.login("human", rkHuman), 200, "")
	}
	if b.secret(t, "human", 0) != rkPBKDF2(rkHuman) || strings.Contains(b.logged(), "upgraded") {
		t.Error("it was asked")
	}
}

// Successes at once upgrade to one that is good, and refuse nobody. (In a bubble,
// where the hashes take no time, whatever else runs on the machine.)
func TestUpgradeInParallel(t *testing.T) {
	epKeys()
	synctest.Test(t, func(t *testing.T) {
		b := rkSlowNew(t, response.OAuth{}, rkUpgrades)
		b.slow.gate = gate.New(2)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if w := b.login("imported", rkSlow); w.Code != 200 {
					t.Errorf("got %d %s", w.Code, w.Body)
				}
			})
		}
		all.Wait()
		b.want(t, b.login("imported", rkSlow), 200, "")
		if b.secret(t, "imported", 0).NeedsUpgrade() {
			t.Error("it was not upgraded")
		}
	})
}

func TestH3_SlowSecretsAreNeverTold(t *testing.T) {
	b := rkSlowNew(t, response.OAuth{})
	for _, v := range []any{*b.slow, b.slow, b.Handler, HandlerConfig{Clients: b.memory, SlowSecrets: true}} {
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, "$rk$") || strings.Contains(out, "pbkdf2-sha256$1000") {
				t.Errorf("%T under %s shows a hash", v, verb)
			}
		}
	}
	b.login("imported", url.QueryEscape(rkSlow)+"canary")
	b.login("both", rkSlow)
	b.login("canary-of-nobody", rkSlow)
	b.hidden(t)
}
