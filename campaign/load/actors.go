package load

import (
	"context"
	"sync"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// machine gets tokens for itself, of all systems.
func (a *actor) machine(ctx context.Context) {
	if !a.wait(ctx, 100*time.Millisecond, 500*time.Millisecond) {
		return
	}
	if t := a.mint(machine, systems[a.random.IntN(len(systems))]); t != nil {
		a.pool.put(t)
	}
}

// visitor shows tokens of all kinds and ages, those that have ended too.
func (a *actor) visitor(ctx context.Context) {
	if !a.wait(ctx, 50*time.Millisecond, 300*time.Millisecond) {
		return
	}
	t := a.pool.draw(a.random)
	switch {
	case t == nil:
	case t.system == users && !t.owner.Public && a.chance(25):
		a.introspect(t)
	default:
		a.visit(t)
	}
}

// revoker ends tokens before their time and looks whether they have ended. Others
// do so after it.
func (a *actor) revoker(ctx context.Context) {
	if !a.wait(ctx, 200*time.Millisecond, 800*time.Millisecond) {
		return
	}
	t := a.mint(machine, users)
	if t == nil {
		return
	}
	a.visit(t)
	if !a.revoke(ctx, t) {
		return
	}
	a.visit(t)
	a.pool.put(t)
	if a.wait(ctx, 500*time.Millisecond, 3*time.Second) {
		a.visit(t)
		a.introspect(t)
	}
}

// hasty asks for more than its limit: two for each client, and four more for the
// last, whose limit is wide.
func (a *actor) hasty(ctx context.Context) {
	if a.wait(ctx, 100*time.Millisecond, 500*time.Millisecond) {
		n := a.number % len(hasty)
		if a.number >= 2*len(hasty) {
			n = len(hasty) - 1
		}
		a.mint(hasty[n], systems[0])
	}
}

// begin logs in and redeems the code; nil when there is nothing to go on with. A
// client that was not answered asks again: that cannot do harm, and nobody else
// has the code.
func (a *actor) begin(ctx context.Context) *grantee {
	if !a.wait(ctx, 500*time.Millisecond, 3*time.Second) {
		return nil
	}
	c := app
	if a.chance(40) {
		c = page
	}
	g := a.login(c)
	if g == nil || !a.wait(ctx, time.Millisecond, 100*time.Millisecond) {
		return nil
	}
	var got *tokens
	outcome := a.insist(ctx, func() (o ledger.Outcome) {
		o, got = g.redeem(a.pick())
		return o
	})
	if outcome != ledger.OK {
		return nil
	}
	g.keep(got)
	return g
}

func (g *grantee) keep(got *tokens) {
	g.refresh = got.Refresh
	g.access = &accessToken{text: got.Access, system: users, got: g.Book.Now(), family: g.family, owner: g.client}
}

// renew refreshes as a good client does: with the same token until there is an
// answer. It is false when the family is over, or may be.
func (g *grantee) renew(ctx context.Context) bool {
	var got *tokens
	outcome := g.insist(ctx, func() (o ledger.Outcome) {
		o, got = g.present(g.pick(), g.refresh)
		return o
	})
	if outcome != ledger.OK {
		return false
	}
	g.keep(got)
	return true
}

// renewInTwoTabs asks twice at once. Nobody goes on before both have an answer.
func (g *grantee) renewInTwoTabs(ctx context.Context) bool {
	first := g.pick()
	var both sync.WaitGroup
	for i := range 2 {
		both.Go(func() { g.present((first+i)%len(g.sites), g.refresh) })
	}
	both.Wait()
	return g.renew(ctx)
}

// owner lives with an authorization for a while and then leaves it, or ends it.
func (a *actor) owner(ctx context.Context) {
	g := a.begin(ctx)
	if g == nil {
		return
	}
	for range 3 + a.random.IntN(8) {
		if !a.wait(ctx, 300*time.Millisecond, 2*time.Second) {
			return
		}
		a.visit(g.access)
		renew := g.renew
		if a.chance(15) {
			renew = g.renewInTwoTabs
		}
		if !renew(ctx) {
			return
		}
	}
	switch {
	case a.chance(50):
		if g.end(ctx) {
			g.look(ctx)
		}
	case a.chance(50): // of one access token alone
		if a.revoke(ctx, g.access) {
			a.visit(g.access)
			g.renew(ctx)
		}
	}
}

// look tries what should have ended, now and a little later.
func (g *grantee) look(ctx context.Context) {
	access, refresh := g.access, g.refresh
	for range 2 {
		g.visit(access)
		g.present(g.pick(), refresh)
		if !g.wait(ctx, 500*time.Millisecond, 3*time.Second) {
			return
		}
	}
}

// victim has an old refresh token stolen. The thief uses it: one that is two
// generations old at once, or the one before when the grace is over beyond doubt.
func (a *actor) victim(ctx context.Context) {
	g := a.begin(ctx)
	if g == nil {
		return
	}
	stolen := g.refresh
	if !a.wait(ctx, 100*time.Millisecond, time.Second) || !g.renew(ctx) {
		return
	}
	if a.chance(30) {
		if !a.wait(ctx, 15500*time.Millisecond, 17*time.Second) {
			return
		}
	} else if !a.wait(ctx, 100*time.Millisecond, time.Second) || !g.renew(ctx) {
		return
	}
	thief := *g
	alias := *a
	alias.name = "thief"
	thief.actor = &alias
	if a.insist(ctx, func() ledger.Outcome { o, _ := thief.present(a.pick(), stolen); return o }) == ledger.Refused {
		g.look(ctx)
	}
}

// double redeems a code twice at once, and sometimes again later.
func (a *actor) double(ctx context.Context) {
	if !a.wait(ctx, 500*time.Millisecond, 4*time.Second) {
		return
	}
	g := a.login(app)
	if g == nil {
		return
	}
	first := a.pick()
	won := make([]*tokens, 2)
	var both sync.WaitGroup
	for i := range won {
		both.Go(func() {
			if o, got := g.redeem((first + i) % len(g.sites)); o == ledger.OK {
				won[i] = got
			}
		})
	}
	both.Wait()
	for _, got := range won {
		if got != nil {
			g.keep(got)
		}
	}
	if g.access != nil && a.chance(50) {
		a.visit(g.access)
	}
	if a.wait(ctx, 200*time.Millisecond, 3*time.Second) && a.chance(70) {
		if o, _ := g.redeem(a.pick()); o == ledger.Refused && g.access != nil {
			g.look(ctx)
		}
	}
}
