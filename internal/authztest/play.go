package authztest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authz"
)

// A play is one schedule: everything that happens to one authorization.
type play struct {
	rig     *rig
	rng     *rand.Rand
	servers [2]*server
	honest  bool // nobody steals, and nobody should be logged out
	faults  int  // per mille of the calls of the State, before and after each
	crashes int

	family   authz.Family
	key      string
	subject  string
	code     string
	verifier string

	model   model
	history []past
	ended   bool // by an epoch
	undone  int  // writes that got lost

	unredeemed int // redemptions among them
	redeemed   int

	number int
	active []*actor
	leaves map[leaf]string
	tokens []string
	access []accessToken

	log, wrong []string
}

type past struct {
	model
	raw []byte
}

type leaf struct {
	secret [32]byte
	gen    uint64
}

type accessToken struct {
	text    string
	expires time.Time
}

func newPlay(r *rig, seed uint64) *play {
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // no secret
	p := &play{rig: r, rng: rng, leaves: map[leaf]string{}, family: authz.NewFamily()}
	p.honest = rng.IntN(3) == 0
	p.servers = r.settled[rng.IntN(len(r.settled))]
	if p.honest { // without a grace a lost reply counts as theft
		p.servers = r.settled[rng.IntN(2)]
	}
	p.faults, p.crashes = []int{0, 10, 60}[rng.IntN(3)], []int{0, 5, 30}[rng.IntN(3)]
	p.key, p.subject = authz.Key(p.family), "user-"+hex.EncodeToString(p.family[:])
	p.verifier = strings.Repeat("v", 43)
	return p
}

func (p *play) authorize(ctx context.Context) error {
	challenge := sha256.Sum256([]byte(p.verifier))
	rec := &authz.Record{
		Phase: authz.Code, Realm: authz.RealmOf(issuer, issuer), Offline: true, Client: clientID, Subject: p.subject, Scope: "read offline_access",
		Redirect: redirect, Challenge: base64.RawURLEncoding.EncodeToString(challenge[:]),
		CodeUntil: p.rig.now.Add(time.Minute), AuthTime: p.rig.now,
	}
	p.code, rec.CodeHash = authz.NewCode(p.family)
	p.model = model{phase: authz.Code, code: rec.CodeUntil}
	return authz.Create(ctx, p.rig.state, p.family, rec)
}

// playWild has clients, thieves and administrators do whatever comes.
func (p *play) playWild() {
	for range 40 + p.rng.IntN(120) {
		switch n := p.rng.IntN(100); {
		case n < 2:
			p.loseWrite()
		case n < 8:
			p.step()
		case len(p.active) == 0 || n < 35 && len(p.active) < 5:
			p.begin(p.something())
		default:
			p.goOn(p.active[p.rng.IntN(len(p.active))])
		}
		if len(p.wrong) != 0 {
			return
		}
	}
	p.drain()
}

func (p *play) drain() {
	for len(p.active) > 0 && len(p.wrong) == 0 {
		p.goOn(p.active[p.rng.IntN(len(p.active))])
	}
}

// step moves the clock: often a little, sometimes beyond a grace, a token's or
// an authorization's end, and sometimes back.
func (p *play) step() {
	steps := []time.Duration{1, 1, 2, 2, 4, 4, 11, 11, 20, 70, 700, 2000, 4000, -1, -7}
	d := steps[p.rng.IntN(len(steps))] * time.Second
	p.rig.now = p.rig.now.Add(d)
	p.note("the clock steps by %v", d)
}

// loseWrite has the store come back without its last write to the record.
func (p *play) loseWrite() {
	if len(p.history) == 0 {
		return
	}
	ctx := context.Background()
	last := p.history[len(p.history)-1]
	now, ok, err := p.rig.state.Get(ctx, p.key)
	if err == nil && ok {
		ok, err = p.rig.state.Swap(ctx, p.key, now, last.raw, p.rig.now.Add(2*absolute))
	}
	if err != nil || !ok {
		p.fail("losing a write: %v, %v", ok, err)
		return
	}
	p.history = p.history[:len(p.history)-1]
	if last.phase == authz.Code && p.model.phase == authz.Active {
		p.unredeemed++
	}
	p.model = last.model
	p.undone++
	p.note("the store loses a write: %d/%d", p.model.phase, p.model.gen)
}

func (p *play) something() *actor {
	n := p.rng.IntN(100)
	switch {
	case n == 0:
		return &actor{act: raises}
	case n == 1:
		return &actor{act: revokes}
	case n < 5 || p.model.phase == authz.Code && n < 30 || len(p.tokens) == 0:
		return p.redemption()
	case n < 70:
		return p.renewal()
	}
	t := p.access[p.rng.IntN(len(p.access))]
	return &actor{act: checks, token: t.text, expires: t.expires}
}

func (p *play) redemption() *actor {
	a := &actor{act: redeems}
	switch n := p.rng.IntN(12); {
	case n < 3:
		a.wrong = url.Values{"code_verifier": {strings.Repeat("w", 43)}}
	case n == 3:
		a.wrong = url.Values{"redirect_uri": {redirect + "/"}}
	case n == 4:
		a.wrong = url.Values{"code_verifier": nil}
	}
	return a
}

// renewal chooses the newest token mostly, the one before often.
func (p *play) renewal() *actor {
	back := p.rng.IntN(len(p.tokens))
	if p.rng.IntN(5) > 0 {
		back = min(back, p.rng.IntN(3))
	}
	token := p.tokens[len(p.tokens)-1-back]
	if p.rng.IntN(12) == 0 {
		a := refreshWith(token)
		a.token, a.garbage = forged(token, p.rng), true
		return a
	}
	return refreshWith(token)
}

func refreshWith(token string) *actor {
	t, _ := authz.ParseRefresh(token)
	return &actor{act: renews, token: token, gen: t.Gen, secret: authz.HashSecret(t.Secret)}
}

// forged changes one character of the token's last part.
func forged(token string, rng *rand.Rand) string {
	b := []byte(token)
	at := len(b) - 1 - rng.IntN(43)
	if b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return string(b)
}

// playHonest has one client that uses each token until it gets an answer, in
// several tabs at once, and then the next. Requests that got stuck on the way
// may go on at any time later. It must be able to go on to the end.
func (p *play) playHonest() {
	token, ok := p.login()
	for round := 0; ok && round < 4+p.rng.IntN(8) && len(p.wrong) == 0; round++ {
		token, ok = p.renew(token)
		if ok && p.rng.IntN(3) == 0 {
			p.loseRotation()
		}
		p.rig.now = p.rig.now.Add([]time.Duration{0, 0, 2, 12, 300}[p.rng.IntN(5)] * time.Second)
	}
	if !ok || len(p.wrong) != 0 {
		return
	}
	p.drain()
	p.faults, p.crashes = 0, 0
	if _, ok = p.renew(token); !ok {
		p.fail("somebody honest was logged out")
		return
	}
	p.rig.counts.StayedIn++
}

// login redeems the code. When the answer gets lost after the redemption, the
// person has to log in again: that is no part of this.
func (p *play) login() (string, bool) {
	for p.model.phase == authz.Code && len(p.wrong) == 0 {
		a := p.begin(&actor{act: redeems})
		p.drain()
		if !a.crashed && a.status == http.StatusOK {
			return a.answer.Refresh, true
		}
		p.rig.now = p.rig.now.Add(time.Second)
		if p.number > 20 {
			p.faults, p.crashes = 0, 0
		}
	}
	return "", false
}

// loseRotation loses a write, but never the redemption: who was logged in by
// what the store forgot has to log in again.
func (p *play) loseRotation() {
	if p.model.gen > 1 {
		p.loseWrite()
	}
}

// renew refreshes until there is an answer.
func (p *play) renew(token string) (string, bool) {
	for try := 0; len(p.wrong) == 0; try++ {
		tabs := make([]*actor, 0, 4)
		for range 1 + p.rng.IntN(3) {
			a := refreshWith(token)
			a.calm = try > 3
			a.on = p.inTime(a.gen)
			if a.on == nil {
				return "", false // retried too late
			}
			tabs = append(tabs, p.begin(a))
		}
		if successor, ok := p.await(tabs, try > 3); ok {
			return successor, true
		}
		p.rig.now = p.rig.now.Add(time.Duration(p.rng.IntN(2)) * time.Second)
	}
	return "", false
}

// inTime chooses a handler by whose clock a retry is within the grace.
func (p *play) inTime(gen uint64) *server {
	first := p.rng.IntN(2)
	for _, s := range []*server{p.servers[first], p.servers[1-first]} {
		if gen >= p.model.gen || p.rig.now.Add(s.skew).Sub(p.model.rotated).Abs() <= grace {
			return s
		}
	}
	return nil
}

// await lets requests go on until all tabs have come as far as to read the
// record and one has its answer, or all have failed.
func (p *play) await(tabs []*actor, all bool) (string, bool) {
	for len(p.wrong) == 0 {
		successor, pending, unread := "", 0, 0
		for _, a := range tabs {
			running := p.isActive(a)
			if !running && !a.crashed && a.status == http.StatusOK {
				successor = a.answer.Refresh
			}
			if running {
				pending++
			}
			if running && !a.loaded {
				unread++
			}
		}
		if pending == 0 || successor != "" && unread == 0 && !all {
			return successor, successor != ""
		}
		p.goOn(p.active[p.rng.IntN(len(p.active))])
	}
	return "", false
}

func (p *play) isActive(a *actor) bool {
	for _, other := range p.active {
		if other == a {
			return true
		}
	}
	return false
}
