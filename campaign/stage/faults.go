package stage

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
	"github.com/tokenbooth/tokenbooth/campaign/schedule"
	"github.com/tokenbooth/tokenbooth/internal/testservers"
)

// Do does one fault, holds it for as long as it says, undoes it, and returns when
// the target answers again. It says in detail what was done in figures. An error
// is one of the stage: then nothing that was seen counts.
//
// What has been done is undone whatever happens to the context, which only
// shortens the hold.
func (s *Stage) Do(ctx context.Context, f *schedule.Fault, o *ledger.Outage) error {
	var err error
	switch {
	case f.Kind == ledger.Exhaust:
		err = s.exhaust(ctx, f)
	case f.Kind == ledger.ReadOnly:
		err = s.onlyRead(ctx, f)
	case f.Target == ledger.Copy:
		err = s.toCopy(ctx, s.Copies[f.Copy], f, o)
	case f.Kind == ledger.Kill, f.Kind == ledger.Stop:
		err = toServer(ctx, s.server(f.Target), f)
	default:
		err = s.toConnections(ctx, s.proxy(f.Target), f, o)
	}
	if err != nil {
		return fmt.Errorf("%s of %s: %w", f.Kind, f.Target, err)
	}
	return nil
}

func (s *Stage) server(t ledger.Target) *testservers.Server {
	if t == ledger.Postgres {
		return s.postgres
	}
	return s.redis
}

func (s *Stage) proxy(t ledger.Target) *proxy {
	if t == ledger.Postgres {
		return s.postgresProxy
	}
	return s.redisProxy
}

// Busy is how many connections of the copies wait for a reply of PostgreSQL or Redis.
func (s *Stage) Busy(t ledger.Target) int { return s.proxy(t).busy() }

// Decisions is how often Redis has decided about a limit.
func (s *Stage) Decisions() int { return int(s.redisProxy.decisions.Load()) }

func hold(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func toServer(ctx context.Context, server *testservers.Server, f *schedule.Fault) error {
	if f.Kind == ledger.Kill {
		err := server.Kill()
		hold(ctx, f.Hold)
		return errors.Join(err, server.Start())
	}
	err := server.Pause()
	hold(ctx, f.Hold)
	return errors.Join(err, server.Resume())
}

func (s *Stage) toCopy(ctx context.Context, c *Copy, f *schedule.Fault, o *ledger.Outage) error {
	if f.Kind != ledger.Stop {
		o.Offset = f.Offset
	}
	switch f.Kind {
	case ledger.Clock:
		o.Detail = f.Offset.Round(time.Millisecond).String()
		return c.SetOffset(f.Offset)
	case ledger.Stop:
		err := c.Signal(syscall.SIGSTOP)
		hold(ctx, f.Hold)
		return errors.Join(err, c.Signal(syscall.SIGCONT))
	case ledger.Term:
		var err error
		if o.Exit, err = c.Term(); err != nil {
			return err
		}
	default:
		if err := c.Kill(); err != nil {
			return err
		}
		hold(ctx, f.Hold)
	}
	if err := c.SetOffset(f.Offset); err != nil {
		return err
	}
	return c.Start(context.WithoutCancel(ctx))
}

const (
	swallowEvery = 3 // replies that matter
	cutEvery     = 40 * time.Millisecond
	leastSwallow = 600 * time.Millisecond
	mostSwallow  = 10 * time.Second // until one was met
)

func (s *Stage) toConnections(ctx context.Context, p *proxy, f *schedule.Fault, o *ledger.Outage) error {
	switch f.Kind {
	case ledger.Cut:
		// For a while they can be made anew, then not.
		n := 0
		for until := time.Now().Add(f.Hold / 2); time.Now().Before(until) && ctx.Err() == nil; n++ {
			p.cut()
			hold(ctx, cutEvery)
		}
		p.setRefuse(true)
		p.cut()
		hold(ctx, f.Hold/2)
		p.setRefuse(false)
		o.Detail = fmt.Sprintf("%d cuts", n+1)
	case ledger.Hang:
		p.hang(true)
		hold(ctx, f.Hold)
		p.hang(false)
	case ledger.Swallow:
		return swallow(ctx, p, f, o)
	default:
		return errors.New("no such fault")
	}
	return nil
}

// swallow goes on until a reply was lost: where none was, nothing was done.
func swallow(ctx context.Context, p *proxy, f *schedule.Fault, o *ledger.Outage) error {
	p.swallow(swallowEvery)
	hold(ctx, max(f.Hold, leastSwallow))
	for until := time.Now().Add(mostSwallow); p.swallowed.Load() == 0 && time.Now().Before(until) && ctx.Err() == nil; {
		hold(ctx, 10*time.Millisecond)
	}
	n := p.swallow(0)
	o.Detail = fmt.Sprintf("%d replies", n)
	if n == 0 && ctx.Err() == nil {
		return errNoReply
	}
	return nil
}

var errNoReply = errors.New("no reply came that could be lost")

func (s *Stage) exhaust(ctx context.Context, f *schedule.Fault) error {
	release, err := s.admin.lockTables(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	hold(ctx, f.Hold)
	return release()
}

func (s *Stage) onlyRead(ctx context.Context, f *schedule.Fault) error {
	err := s.admin.readOnly(context.WithoutCancel(ctx), true)
	if err == nil {
		hold(ctx, f.Hold)
	}
	return errors.Join(err, s.admin.readOnly(context.WithoutCancel(ctx), false))
}
