package tokenbooth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// A boundedState gives each call of a State a deadline. A Memory has no use for
// one.
type boundedState struct {
	store.State
	many  store.MultiGetter // nil where the State reads one key at a time
	local bool
}

// bounded returns nil for no State.
func bounded(s store.State) *boundedState {
	if s == nil {
		return nil
	}
	b := &boundedState{State: s}
	b.many, _ = s.(store.MultiGetter)
	_, b.local = s.(*store.Memory)
	return b
}

func (b *boundedState) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if b.local {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, storeTimeout)
}

func (b *boundedState) Get(ctx context.Context, key string) ([]byte, bool, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	return b.State.Get(ctx, key)
}

// read sets vals, one for each key, to what is there: nil where there is nothing.
// It is one round trip where the State can do that.
func (b *boundedState) read(ctx context.Context, keys []string, vals [][]byte) error {
	if b.many != nil && len(keys) > 1 {
		return b.readMany(ctx, keys, vals)
	}
	for i, key := range keys {
		val, ok, err := b.Get(ctx, key)
		switch {
		case err != nil:
			return err
		case ok && val == nil:
			val = []byte{}
		case !ok:
			val = nil
		}
		vals[i] = val
	}
	return nil
}

func (b *boundedState) readMany(ctx context.Context, keys []string, vals [][]byte) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	got, err := b.many.GetMany(ctx, slices.Clone(keys)) // the caller's are to stay where they are
	if err != nil {
		return err
	}
	if len(got) != len(keys) {
		return errors.New("tokenbooth: the State answered another number of keys than it was asked for")
	}
	copy(vals, got)
	return nil
}

// forGrants returns what also does what else the State can that is of use to them:
// read several keys at once, or a value into their memory.
func (b *boundedState) forGrants() store.State {
	switch {
	case b.local:
		return localState{b}
	case b.many != nil:
		return manyState{b}
	}
	return b
}

type localState struct{ *boundedState }

func (l localState) AppendValue(ctx context.Context, key string, b []byte) ([]byte, bool, error) {
	return l.State.(*store.Memory).AppendValue(ctx, key, b)
}

type manyState struct{ *boundedState }

func (m manyState) GetMany(ctx context.Context, keys []string) ([][]byte, error) {
	vals := make([][]byte, len(keys))
	return vals, m.readMany(ctx, keys, vals)
}

func (b *boundedState) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	return b.State.Create(ctx, key, val, expires)
}

func (b *boundedState) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	return b.State.Swap(ctx, key, old, val, expires)
}

func (b *boundedState) Delete(ctx context.Context, key string) (bool, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	return b.State.Delete(ctx, key)
}
