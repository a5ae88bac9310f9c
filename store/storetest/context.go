package storetest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// calls does one of each, to a key that has the value.
func calls(ctx context.Context, s store.State, key string, val []byte) map[string]error {
	errs := make(map[string]error)
	_, _, errs["Get"] = s.Get(ctx, key)
	if m, ok := s.(store.MultiGetter); ok {
		_, errs["GetMany"] = m.GetMany(ctx, []string{key})
	}
	_, errs["Create"] = s.Create(ctx, key+" created", val, later())
	_, errs["Swap"] = s.Swap(ctx, key, val, []byte("swapped"), later())
	_, errs["Delete"] = s.Delete(ctx, key)
	return errs
}

func testContext(t *testing.T, s store.State) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	val := []byte("x")
	for _, ctx := range []context.Context{cancelled, expired} {
		key := give(t, s, val)[0]
		for name, err := range calls(ctx, s, key, val) {
			if !errors.Is(err, ctx.Err()) {
				t.Errorf("%s with a context that has ended: %v; want an error that is %q", name, err, ctx.Err())
			}
		}
		checkValue(t, s, key, val)
		checkValue(t, s, key+" created", nil)
	}
}

// testClosed: a store on a pool of the caller's may go on after Close.
func testClosed(t *testing.T, s store.State) {
	val := []byte("x")
	key := give(t, s, val)[0]
	if err := s.(io.Closer).Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for name, err := range calls(t.Context(), s, key, val) {
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s after Close: %v; want an error that is store.ErrUnavailable", name, err)
		}
	}
}
