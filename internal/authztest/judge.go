package authztest

import (
	"net/http"
	"slices"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authz"
)

// judge holds the answer of a request against what it saw and wrote.
func (a *actor) judge() {
	p := a.play
	if a.dead && a.undone == p.undone && a.status == http.StatusOK && a.act != revokes && a.act != raises {
		p.fail("%v: an authorization that had ended answered", a)
	}
	if a.status >= http.StatusInternalServerError {
		if !a.faulted && a.conflicts < 8 {
			p.fail("%v: %d without a fault", a, a.status)
		}
		return
	}
	switch a.act {
	case redeems, renews:
		a.judgeToken()
	case checks:
		a.judgeCheck()
	case revokes:
		if !a.dead && a.undone == p.undone && p.model.phase != authz.Revoked {
			p.fail("%v: revoked, and lives", a)
		}
	case raises:
		if !p.ended {
			p.fail("%v: there is no epoch", a)
		}
	}
}

func (a *actor) judgeToken() {
	p := a.play
	should := a.made
	switch {
	case should != "":
	case !a.loaded || a.endedThen:
		should = refused
	default:
		_, should = a.decide(a.seen)
	}
	want := http.StatusBadRequest
	if should == granted || should == again {
		want = http.StatusOK
	}
	wrote := should != refused && should != again
	if a.status != want || wrote != (a.made != "") {
		p.fail("%v: answered %d after writing %q; should be %q for %+v", a, a.status, a.made, should, a.seen)
		return
	}
	if a.garbage && a.writes != 0 {
		p.fail("%v: garbage made %d writes", a, a.writes)
	}
	a.judgeEvents(should)
	if want == http.StatusOK {
		a.judgeTokens(should)
	} else if should == refused && a.lost && a.act == renews && a.seen.phase == authz.Active && a.gen+1 < a.seen.gen {
		p.rig.counts.LostRaces++
	}
}

// judgeEvents: who watches hears of theft and of lost writes.
func (a *actor) judgeEvents(should outcome) {
	kind := "grant_refused"
	switch {
	case should == killed && a.act == renews:
		kind = "refresh_reused"
	case should == killed:
		kind = "code_replayed"
	case a.behind:
		kind = "state_behind"
	case should == granted || should == again:
		kind = "token_issued"
	}
	if !slices.Contains(a.events, kind) || slices.Contains(a.events, "state_behind") != a.behind {
		a.play.fail("%v: events %v, want %s", a, a.events, kind)
	}
}

// judgeTokens: there is one refresh token of each generation.
func (a *actor) judgeTokens(should outcome) {
	p := a.play
	gen := a.madeModel.gen
	if should == again {
		gen = a.seen.gen
		p.rig.counts.GraceReplays++
	}
	t, ok := authz.ParseRefresh(a.answer.Refresh)
	if !ok || t.Gen != gen || t.Family != p.family {
		p.fail("%v: got generation %d, want %d: %q", a, t.Gen, gen, a.answer.Refresh)
		return
	}
	leaf := leaf{t.Secret, gen}
	if other, has := p.leaves[leaf]; has && other != a.answer.Refresh {
		p.fail("%v: two leaves in generation %d", a, gen)
	}
	if _, has := p.leaves[leaf]; has && a.act == redeems {
		p.fail("%v: the code redeemed twice", a)
	}
	p.leaves[leaf] = a.answer.Refresh
	if a.act == redeems {
		p.redeemed++
		if p.redeemed > 1+p.unredeemed {
			p.fail("%v: the code redeemed %d times", a, p.redeemed)
		}
	}
	p.tokens = append(p.tokens, a.answer.Refresh)
	p.access = append(p.access, accessToken{a.answer.Access, a.now.Add(access)})
}

// judgeCheck: a token of an authorization that ended never passes, any other
// does until it expires.
func (a *actor) judgeCheck() {
	live := a.loaded && a.seen.phase == authz.Active && !a.endedThen && a.now.Before(a.expires)
	if want := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}[live]; a.status != want {
		a.play.fail("%v: the guard answers %d, want %d; seen %+v, ended %v, expires in %v",
			a, a.status, want, a.seen, a.endedThen, a.expires.Sub(a.now).Round(time.Second))
	}
}
