package tokenbooth

import (
	"context"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// A boundedState gives each call of a State a deadline. A Memory has no use for
// one.
type boundedState struct{ store.State }

func (b boundedState) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, local := b.State.(*store.Memory); local {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, storeTimeout)
}

func (b boundedState) Get(ctx context.Context, key string) ([]byte, bool, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	return b.State.Get(ctx, key)
}

func (b boundedState) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	return b.State.Create(ctx, key, val, expires)
}

func (b boundedState) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	return b.State.Swap(ctx, key, old, val, expires)
}

func (b boundedState) Delete(ctx context.Context, key string) (bool, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	return b.State.Delete(ctx, key)
}

func boundedOrNil(s store.State) store.State {
	if s == nil {
		return nil
	}
	return boundedState{s}
}
