package tokenbooth

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

const (
	rkLife   = 10 * time.Minute // of an access token
	rkMaxAge = 5 * time.Minute  // of the key set
	rkStep   = time.Minute
	rkPast   = 3 * time.Minute // between the tokens that a worker keeps
)

// An rkRotation is a handler whose keys are rotated, and three guards: its own,
// and two elsewhere that fetch the keys.
type rkRotation struct {
	*Handler
	ring   *KeyRing
	clock  *gkClock
	form   string
	guards map[string]*Guard
	faults atomic.Int64 // of the network
	asked  atomic.Int64
	calm   atomic.Bool // the network has no faults any more
}

func rkRotate(t *testing.T, first Key) *rkRotation {
	t.Helper()
	acme, secret := store.NewClient("acme", "read")
	clients, err := store.NewMemory(acme)
	if err != nil {
		t.Fatal(err)
	}
	r := &rkRotation{ring: gkRing(t, first), clock: &gkClock{t: gkStart}}
	r.form = epCredentials("acme", secret) + "&scope=read"
	r.Handler, err = NewHandler(HandlerConfig{
		Issuer: gkIssuer, Clients: clients, Keys: r.ring, AccessTokenTTL: rkLife,
		Limiter: Unlimited{}, Logger: gkQuiet, Now: r.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := func() *Guard {
		return gkGuard(t, GuardConfig{
			JWKSURL: rkURL, HTTPClient: &http.Client{Transport: r}, Limiter: Unlimited{}, Leeway: -1, Now: r.clock.now,
		})
	}
	r.guards = map[string]*Guard{"its own": r.Guard(), "one elsewhere": elsewhere(), "another elsewhere": elsewhere()}
	return r
}

// RoundTrip is the network between the handler and the guards elsewhere. Every
// third fetch fails.
func (r *rkRotation) RoundTrip(request *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if n := r.asked.Add(1); n > 2 && n%3 == 0 && !r.calm.Load() {
		r.faults.Add(1)
		w.WriteHeader(http.StatusBadGateway)
		return w.Result(), nil
	}
	r.JWKS(w, request)
	return w.Result(), nil
}

type rkIssued struct {
	token string
	at    time.Time
}

// An rkWorker issues and shows tokens without end, new ones and all that it keeps.
type rkWorker struct {
	*rkRotation
	kept         []rkIssued
	ended        chan struct{} // tells of a round to whom waits for it
	passed, lost map[string]int
	complaint    string
}

func (w *rkWorker) run(t *testing.T, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			w.round(t)
			select {
			case w.ended <- struct{}{}:
			default:
			}
		}
	}
}

func (w *rkWorker) round(t *testing.T) {
	at := w.clock.now()
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, epRequest(w.form))
	var reply struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &reply); err != nil || answer.Code != 200 {
		w.complaint = fmt.Sprintf("no token: %d %s", answer.Code, answer.Body)
		return
	}
	w.show(t, rkIssued{reply.AccessToken, at})
	if n := len(w.kept); n == 0 || at.Sub(w.kept[n-1].at) >= rkPast {
		w.kept = append(w.kept, rkIssued{reply.AccessToken, at})
	}
	for len(w.kept) > 0 && !at.Before(w.kept[0].at.Add(rkLife)) {
		w.kept = w.kept[1:]
	}
	for _, one := range w.kept {
		w.show(t, one)
	}
}

// show gives a token to every guard. One that ended meanwhile may be refused: it
// lives at least from at, which was before it was made.
func (w *rkWorker) show(t *testing.T, one rkIssued) {
	for name, guard := range w.guards {
		answer := httptest.NewRecorder()
		guard.Require("read")(gkOpen).ServeHTTP(answer, gkRequest(one.token))
		switch {
		case answer.Code == 204:
			w.passed[name]++
		case !w.clock.now().Before(one.at.Add(rkLife).Truncate(time.Second)):
			w.lost[name]++
		default:
			w.complaint = fmt.Sprintf("%s answered %d %s to a good token of %v ago",
				name, answer.Code, answer.Body, w.clock.now().Sub(one.at))
		}
	}
}

// Three rotations, each next, current, previous and gone, under constant load:
// no good token is refused at any moment, by any guard. Since the network fails
// now and then, next is published for a minute longer than a set is kept.
func TestT6_RotationUnderLoad(t *testing.T) {
	keys := []Key{rkNewKey(t, "key-0")}
	r := rkRotate(t, keys[0])
	stop := make(chan struct{})
	workers := make([]*rkWorker, 3)
	var all sync.WaitGroup
	for i := range workers {
		w := &rkWorker{rkRotation: r, ended: make(chan struct{}), passed: map[string]int{}, lost: map[string]int{}}
		workers[i] = w
		all.Go(func() { w.run(t, stop) })
	}
	// pass lets time pass in steps, each of which every worker sees.
	pass := func(d time.Duration) {
		for ; d > 0; d -= rkStep {
			r.clock.add(rkStep)
			rkRounds(workers)
		}
	}
	pass(rkMaxAge)
	for n := 1; n <= 3; n++ {
		next := rkNewKey(t, fmt.Sprint("key-", n))
		keys = append(keys, next)
		current := keys[n-1]
		for _, step := range []struct {
			keys []Key
			d    time.Duration
		}{
			{[]Key{current, next}, rkMaxAge + time.Minute}, // next is published
			{[]Key{next, gkPublic(t, current)}, rkLife},    // next is current, current previous
			{[]Key{next}, rkMaxAge + rkLife + time.Minute}, // previous is gone
		} {
			if err := r.ring.Set(step.keys...); err != nil {
				t.Fatal(err)
			}
			pass(step.d)
		}
	}
	close(stop)
	all.Wait()
	rkReport(t, r, workers)
	rkRetired(t, r, keys)
}

// rkRounds waits until every worker has begun and ended a round.
func rkRounds(workers []*rkWorker) {
	for _, w := range workers {
		<-w.ended
		<-w.ended
	}
}

func rkReport(t *testing.T, r *rkRotation, workers []*rkWorker) {
	t.Helper()
	passed, lost := map[string]int{}, map[string]int{}
	for _, w := range workers {
		if w.complaint != "" {
			t.Error(w.complaint)
		}
		for name := range r.guards {
			passed[name] += w.passed[name]
			lost[name] += w.lost[name]
		}
	}
	for name, n := range passed {
		if n < 500 || lost[name] > n/10 {
			t.Errorf("%s let %d through and %d ended on the way: that proves nothing", name, n, lost[name])
		}
	}
	if r.faults.Load() < 3 {
		t.Errorf("only %d of %d fetches failed", r.faults.Load(), r.asked.Load())
	}
	// Two guards, an hour and more, five minutes each, and a retry for each fault.
	if n := r.asked.Load(); n > 2*100 {
		t.Errorf("%d fetches", n)
	}
	t.Logf("passed %v, ended on the way %v, %d fetches, %d failed", passed, lost, r.asked.Load(), r.faults.Load())
}

// rkRetired checks that what the retired keys signed is refused everywhere, and
// that the guards know no key but the current one.
func rkRetired(t *testing.T, r *rkRotation, keys []Key) {
	t.Helper()
	r.calm.Store(true)
	r.clock.add(time.Minute)
	expires := gkMembers{"exp": r.clock.now().Add(time.Hour).Unix()}
	for name, guard := range r.guards {
		for i, k := range keys {
			want := 401
			if i == len(keys)-1 {
				want = 204
			}
			token := gkJWS(t, k.Material, gkHeader(k, "ES256").with(nil), gkClaims().with(expires))
			if got := gkStatus(t, guard, token); got != want {
				t.Errorf("%s answered %d to %s, want %d", name, got, k.ID, want)
			}
		}
		if remote, ok := guard.codec.(*jwtCodec).jws.keys.(*remoteKeys); ok {
			if n := len(remote.known.Load().verifiers); n != 1 {
				t.Errorf("%s knows %d keys", name, n)
			}
		}
	}
}

// A ring may get keys that cannot sign at any moment: then there is no token, and
// no panic.
func TestT6_SetToVerifyOnlyUnderLoad(t *testing.T) {
	k := rkNewKey(t, "k")
	ring, public := gkRing(t, k), gkPublic(t, k)
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := ring.Set([]Key{k, public}[i%2]); err != nil {
				t.Error(err)
			}
		}
	})
	for range 2000 {
		rkSign(t, ring)
	}
	close(stop)
	all.Wait()
}

func rkSign(t *testing.T, ring *KeyRing) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			t.Fatalf("signing panics: %v", v)
		}
	}()
	if token, err := ring.sign([]byte("{}")); (token == "") != (err != nil) {
		t.Errorf("%q, %v", token, err)
	}
}
