package authz

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

var (
	start = time.UnixMilli(1_700_000_000_123)
	lives = Lifetimes{Access: time.Hour, Idle: 14 * 24 * time.Hour, Absolute: 30 * 24 * time.Hour, Grace: 10 * time.Second}
)

// issued returns a record whose code was just issued.
func issued() (*Record, Family, [32]byte) {
	f := NewFamily()
	_, hash := NewCode(f)
	return &Record{
		Phase: Code, OpenID: true, Offline: true, Client: "acme", Subject: "user-7", User: "ada",
		Scope: "openid offline_access", Redirect: "https://acme.example/back", Challenge: "challenge",
		CodeHash: hash, CodeUntil: start.Add(time.Minute), OIDCNonce: "n", AuthTime: start.Add(-time.Hour),
		SubjectEpoch: 3, ClientEpoch: 1_700_000_000_000,
	}, f, hash
}

// active returns a record that was redeemed at start, and its secret.
func active(t testing.TB) (*Record, Family, [32]byte) {
	t.Helper()
	r, f, hash := issued()
	next, secret, v := r.Redeem(hash, true, false, start, lives)
	if v != Grant {
		t.Fatalf("the verdict on a good code is %d", v)
	}
	return next, f, secret
}

func same(a, b *Record) bool {
	x, y := *a, *b
	for _, r := range []*Record{&x, &y} {
		for _, p := range r.times() {
			*p = p.UTC()
		}
	}
	return reflect.DeepEqual(x, y)
}

// A lossy State does a write and then loses the reply, or never does it.
type lossy struct {
	*store.Memory
	does   bool
	silent bool // Get fails too
	writes int
}

var errLost = errors.New("the reply is lost")

func (s *lossy) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if s.silent {
		return nil, false, errLost
	}
	return s.Memory.Get(ctx, key)
}

func (s *lossy) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	s.writes++
	if s.does {
		_, _ = s.Memory.Create(ctx, key, bytes.Clone(val), expires)
	}
	return false, errLost
}

func (s *lossy) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	s.writes++
	if s.does {
		_, _ = s.Memory.Swap(ctx, key, old, bytes.Clone(val), expires)
	}
	return false, errLost
}
