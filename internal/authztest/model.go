// Package authztest proves what happens to an authorization on any
// [store.State]: random interleavings of requests, faults of the store and
// clocks, each held against a small model of the record.
package authztest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/store"
)

const (
	issuer   = "https://issuer.example"
	clientID = "app"
	redirect = "https://app.example/back"
	skew     = 5 * time.Second // between the clocks of two handlers

	access   = 10 * time.Minute
	idle     = time.Hour
	absolute = 3 * time.Hour
	grace    = 10 * time.Second

	minRuns = 60
	maxRuns = 1200
	budget  = 2 * time.Second
)

// seedVariable names the environment variable that repeats one run.
const seedVariable = "AUTHZTEST_SEED"

// Model runs random schedules against a State and checks each answer and each
// write. Two handlers with clocks 5 s apart share the State; between any two of
// its calls another request may go on, a call may fail before or after it took
// effect, a process may crash, the clock may step, and the last write may get
// lost. It prints the seed of a schedule that fails; AUTHZTEST_SEED repeats it.
//
// The State keeps entries by its own clock, which has to be that of this
// machine, within a day. What it held before does no harm.
func Model(t *testing.T, open func(t *testing.T) store.State) {
	t.Helper()
	r := newRig(t, open(t))
	if text := os.Getenv(seedVariable); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s=%q: %v", seedVariable, text, err)
		}
		r.run(t, seed)
		return
	}
	began, seed := time.Now(), rand.Uint64()>>16 //nolint:gosec // no secret
	n := uint64(0)
	for n < minRuns || time.Since(began) < budget || r.counts.missing() != "" {
		if n == maxRuns {
			break
		}
		if !r.run(t, seed+n) {
			t.Fatalf("repeat it with %s=%d", seedVariable, seed+n)
		}
		n++
	}
	t.Logf("%d schedules from seed %d: %+v", n, seed, r.counts)
	if missing := r.counts.missing(); missing != "" {
		t.Errorf("no schedule had %s", missing)
	}
}

// counts says how often the runs met what they are about.
type counts struct {
	Answers      int
	Conflicts    int // swaps that came too late
	GraceReplays int
	Reuses       int
	CodeReplays  int
	Unknown      int // swaps that were made and not answered
	FoundOut     int // those whose caller found out
	Crashes      int
	RolledBack   int // tokens newer than their record
	LostRaces    int // refreshes that lost and then were two generations late
	StayedIn     int // honest clients, at the end
}

// missing names one of them that never happened.
func (c *counts) missing() string {
	v := reflect.ValueOf(*c)
	for i := range v.NumField() {
		if v.Field(i).Int() == 0 {
			return v.Type().Field(i).Name
		}
	}
	return ""
}

// A rig is what all runs share.
type rig struct {
	now     time.Time // of the first handler of each pair
	state   store.State
	settled [][2]*server // pairs with clocks apart
	counts  counts
}

type server struct {
	*tokenbooth.Handler
	skew, grace time.Duration
}

func newRig(t *testing.T, inner store.State) *rig {
	t.Helper()
	r := &rig{state: inner}
	clients, err := store.NewMemory(&store.Client{
		ID: clientID, Public: true, Grants: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"read", "offline_access"}, RedirectURIs: []string{redirect},
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := tokenbooth.GenerateKey("HS256")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := tokenbooth.NewKeyRing(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []tokenbooth.HandlerConfig{
		{Tokens: tokenbooth.JWT{}, RefreshGrace: grace},
		{Tokens: tokenbooth.Opaque{}, RefreshGrace: grace},
		{Tokens: tokenbooth.Opaque{}, RefreshGrace: -1},
	} {
		c.Clients, c.Keys = clients, keys
		r.settled = append(r.settled, [2]*server{r.server(t, c, 0), r.server(t, c, skew)})
	}
	return r
}

func (r *rig) server(t *testing.T, c tokenbooth.HandlerConfig, skew time.Duration) *server {
	t.Helper()
	c.Issuer, c.State, c.Limiter = issuer, state{r.state}, tokenbooth.Unlimited{}
	c.Grants = []grant.Grant{grant.AuthorizationCode{}, grant.RefreshToken{}}
	c.AccessTokenTTL, c.RefreshIdle, c.RefreshAbsolute = access, idle, absolute
	c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	c.Now = func() time.Time { return r.now.Add(skew) }
	c.Events = func(ctx context.Context, e tokenbooth.Event) {
		if a := actorOf(ctx); a != nil {
			a.events = append(a.events, e.Kind)
		}
	}
	h, err := tokenbooth.NewHandler(c)
	if err != nil {
		t.Fatal(err)
	}
	return &server{h, skew, max(c.RefreshGrace, 0)}
}

// run plays one schedule and reports whether all of it was as it should be.
func (r *rig) run(t *testing.T, seed uint64) bool {
	t.Helper()
	// Ahead of the store's clock, so that it never collects what still counts.
	r.now = time.Now().Truncate(time.Second).Add(24 * time.Hour)
	p := newPlay(r, seed)
	if err := p.authorize(t.Context()); err != nil {
		t.Error(err)
		return false
	}
	if p.honest {
		p.playHonest()
	} else {
		p.playWild()
	}
	for _, a := range p.active {
		a.stop()
	}
	for _, wrong := range p.wrong {
		t.Error(wrong)
	}
	if len(p.wrong) != 0 {
		t.Logf("seed %d, the end of what happened:", seed)
		for _, line := range p.log[max(0, len(p.log)-40):] {
			t.Log(line)
		}
	}
	return len(p.wrong) == 0
}

func (p *play) fail(format string, args ...any) {
	p.note("WRONG: "+format, args...)
	p.wrong = append(p.wrong, fmt.Sprintf(format, args...))
}

func (p *play) note(format string, args ...any) {
	p.log = append(p.log, fmt.Sprintf(format, args...))
}
