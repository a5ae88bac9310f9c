package storetest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/store"
)

// mostReplies is more than any store needs for one operation and its connection.
const mostReplies = 24

// testSwallowedCreate: whose reply was lost after the write finds out that the
// authorization is there.
func (o *outage) testSwallowedCreate(t *testing.T) {
	o.swallow(t, func(ctx context.Context, s *witness, f authz.Family) bool {
		return authz.Create(ctx, s, f, issued()) == nil
	}, false)
}

// testSwallowedSwap: the same of each step that an authorization takes.
func (o *outage) testSwallowedSwap(t *testing.T) {
	o.swallow(t, func(ctx context.Context, s *witness, f authz.Family) bool {
		_, old, err := authz.Load(ctx, o.direct, f)
		if err != nil {
			t.Fatal(err)
		}
		won, err := authz.Swap(ctx, s, f, old, issued())
		return won && err == nil
	}, true)
}

func issued() *authz.Record {
	return &authz.Record{Phase: authz.Code, Client: "storetest", Subject: "storetest", CodeUntil: time.Now()}
}

// swallow loses the first reply, then the second, and so on, until it was that of
// the write. Whichever it was, who says that it won has won, and who has won says
// so. Where there were not so many it begins again: one connection has prepared
// the statement already, another has not.
func (o *outage) swallow(t *testing.T, write func(context.Context, *witness, authz.Family) bool, exists bool) {
	seen := false
	for n, left := 1, mostReplies; left > 0 && !seen; n, left = n+1, left-1 {
		f := authz.NewFamily()
		if exists {
			if err := authz.Create(t.Context(), o.direct, f, issued()); err != nil {
				t.Fatal(err)
			}
		}
		o.settle(t)
		w := &witness{State: o.s}
		o.proxy.SwallowReply(n)
		won := write(t.Context(), w, f)
		lost := o.proxy.hasSwallowed()
		o.proxy.SwallowReply(0)
		stored, _, err := o.direct.Get(t.Context(), authz.Key(f))
		if err != nil {
			t.Fatal(err)
		}
		took := w.val != nil && bytes.Equal(stored, w.val)
		if won != took {
			t.Errorf("reply %d lost (%v): the caller says that it won: %v; that is what is stored: %v; the store reported %v", n, lost, won, took, w.err)
		}
		seen = took && w.err != nil
		if !lost {
			n = 0
		}
	}
	if !seen {
		t.Errorf("none of %d lost replies made the store report an error of a write that it had made", mostReplies)
	}
}

// settle leaves the store with connections that work.
func (o *outage) settle(t *testing.T) {
	t.Helper()
	var err error
	for begun := time.Now(); time.Since(begun) < recovery; time.Sleep(glance) {
		n := atOnce(t, func(int) (bool, error) { return o.get(t, "storetest") == nil, nil })
		if err = o.get(t, "storetest"); n == parallel && err == nil {
			return
		}
	}
	t.Fatalf("does not work %v after a connection was cut: %v", recovery, err)
}

const glance = 5 * time.Millisecond

// A witness remembers what was written and what was said about it.
type witness struct {
	store.State
	val []byte
	err error
}

func (w *witness) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	ok, err := w.State.Create(ctx, key, val, expires)
	w.val, w.err = val, err
	return ok, err
}

func (w *witness) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	ok, err := w.State.Swap(ctx, key, old, val, expires)
	w.val, w.err = val, err
	return ok, err
}
