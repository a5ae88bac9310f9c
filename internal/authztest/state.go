package authztest

import (
	"context"
	"errors"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// A state is where the requests of a play take turns: each call of the State
// waits until its request is chosen to go on, and then meets its fate.
type state struct{ store.State }

type actorKey struct{}

func actorOf(ctx context.Context) *actor {
	a, _ := ctx.Value(actorKey{}).(*actor)
	return a
}

// A fate is what happens to one call of the State.
type fate struct{ undone, unanswered bool }

var errPlayed = errors.Join(errors.New("authztest: a fault of the store"), store.ErrUnavailable)

// meet lets the others go on and draws a fate. Who crashed does nothing more.
func (a *actor) meet() fate {
	if a.crashed || !a.yield() {
		a.crashed = true
		return fate{undone: true}
	}
	if a.calm {
		return fate{}
	}
	f, crash := fate{}, false
	switch n := a.play.rng.IntN(1000); {
	case n < a.play.faults:
		f.undone = true
	case n < 2*a.play.faults:
		f.unanswered = true
	case n < 2*a.play.faults+a.play.crashes:
		f.undone, crash = true, true
	case n < 2*a.play.faults+2*a.play.crashes:
		f.unanswered, crash = true, true
	}
	if crash {
		a.crashed = true
		a.play.rig.counts.Crashes++
	}
	if f.undone || f.unanswered {
		a.faulted = true
		a.play.note("%v meets %+v, crashed %v", a, f, a.crashed)
	}
	return f
}

func (s state) Get(ctx context.Context, key string) ([]byte, bool, error) {
	a := actorOf(ctx)
	f := a.meet()
	if f.undone {
		a.looked(key, false)
		return nil, false, errPlayed
	}
	val, ok, err := s.State.Get(ctx, key)
	if err != nil {
		a.play.fail("Get: %v", err)
	}
	a.looked(key, !f.unanswered)
	if f.unanswered {
		return nil, false, errPlayed
	}
	return val, ok, err
}

func (s state) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	return actorOf(ctx).write(key, nil, val, func() (bool, error) { return s.State.Create(ctx, key, val, expires) })
}

func (s state) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	return actorOf(ctx).write(key, old, val, func() (bool, error) { return s.State.Swap(ctx, key, old, val, expires) })
}

func (s state) Delete(ctx context.Context, key string) (bool, error) {
	return actorOf(ctx).write(key, nil, nil, func() (bool, error) { return s.State.Delete(ctx, key) })
}

func (a *actor) write(key string, old, val []byte, do func() (bool, error)) (bool, error) {
	f := a.meet()
	if f.undone {
		a.unsure = key
		return false, errPlayed
	}
	done, err := do()
	if err != nil {
		a.play.fail("a write: %v", err)
	}
	a.wrote(key, old, val, done)
	if f.unanswered {
		a.unsure = key
		if done && key == a.play.key {
			a.play.rig.counts.Unknown++
		}
		return false, errPlayed
	}
	return done, err
}
