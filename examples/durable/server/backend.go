package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/examples/internal/booth"
	"github.com/tokenbooth/tokenbooth/store"
	"github.com/tokenbooth/tokenbooth/store/redisstore"
	"github.com/tokenbooth/tokenbooth/store/sqlstore"
)

// startTimeout bounds what is asked of a database before the server listens. A
// copy waits for another one that migrates.
const startTimeout = time.Minute

// A backend is what was opened.
type backend struct {
	setup    *booth.Setup
	config   *config
	database *sqlstore.Store
	redis    *redisstore.Store // nil without
	opened   []func() error    // how to close it, in the order of opening
}

func (c *config) open(ctx context.Context, s *booth.Setup) (*booth.Backend, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	b := &backend{setup: s, config: c}
	tickets, err := b.start(ctx)
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return &booth.Backend{
		Clients:   b.database,
		State:     b.state,
		Limiter:   b.limiter,
		Keys:      b.keys,
		TicketKey: tickets,
		Close:     b.close,
	}, nil
}

func (b *backend) start(ctx context.Context) (tickets tokenbooth.Key, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if tickets, err = openTicketKey(b.config.keys); err != nil {
		return tickets, err
	}
	if err := b.openDatabase(); err != nil {
		return tickets, err
	}
	if err := b.openRedis(); err != nil {
		return tickets, err
	}
	if err := b.database.Migrate(ctx); err != nil {
		return tickets, err
	}
	return tickets, b.seed(ctx)
}

// seed registers the clients of the fixtures. One that is there already stays as
// it is, and so does one that another copy registers meanwhile.
func (b *backend) seed(ctx context.Context) error {
	for _, c := range b.setup.Fixtures.Clients {
		_, err := b.database.Client(ctx, c.ID)
		if errors.Is(err, store.ErrNotFound) {
			err = b.database.CreateClient(ctx, c)
		}
		if err != nil && !errors.Is(err, sqlstore.ErrExists) {
			return fmt.Errorf("client %q of the fixtures: %w", c.ID, err)
		}
	}
	return nil
}

func (b *backend) state(system string) store.State {
	if b.config.state == "redis" {
		return part{system + ":", b.redis}
	}
	return part{system + ":", b.database}
}

func (b *backend) keys(system string) (*tokenbooth.KeyRing, error) {
	return openKeys(b.config.keys, system, b.setup.TTL)
}

// close closes everything in the opposite order.
func (b *backend) close() error {
	var errs []error
	for _, closeOne := range slices.Backward(b.opened) {
		errs = append(errs, closeOne())
	}
	b.opened = nil
	return errors.Join(errs...)
}

// A part is the State of one system among others in the same store.
type part struct {
	prefix string
	all    interface {
		store.State
		store.MultiGetter
	}
}

func (p part) Get(ctx context.Context, key string) ([]byte, bool, error) {
	return p.all.Get(ctx, p.prefix+key)
}

func (p part) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	return p.all.Create(ctx, p.prefix+key, val, expires)
}

func (p part) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	return p.all.Swap(ctx, p.prefix+key, old, val, expires)
}

func (p part) Delete(ctx context.Context, key string) (bool, error) {
	return p.all.Delete(ctx, p.prefix+key)
}

func (p part) GetMany(ctx context.Context, keys []string) ([][]byte, error) {
	whole := make([]string, len(keys))
	for i, key := range keys {
		whole[i] = p.prefix + key
	}
	return p.all.GetMany(ctx, whole)
}
