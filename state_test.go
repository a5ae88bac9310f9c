package tokenbooth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/store"
)

// An stMany is a State that reads several keys at once, and counts its reads.
type stMany struct {
	store.State
	many, single int
	spoil        func(ctx context.Context, vals [][]byte) ([][]byte, error)
}

func (s *stMany) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if !strings.HasPrefix(key, "token:") {
		s.single++
	}
	return s.State.Get(ctx, key)
}

func (s *stMany) GetMany(ctx context.Context, keys []string) ([][]byte, error) {
	s.many++
	vals := make([][]byte, len(keys))
	for i, key := range keys {
		val, ok, err := s.State.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		if ok {
			vals[i] = append([]byte{}, val...)
		}
		keys[i] = "gone" // they are the callee's
	}
	if s.spoil != nil {
		return s.spoil(ctx, vals)
	}
	return vals, nil
}

func stFormats(t *testing.T, f func(*testing.T, *usBooth, *stMany)) {
	s := new(stMany)
	usFormats(t, func(t *testing.T, b *usBooth) { f(t, b, s) }, func(c *HandlerConfig) {
		*s = stMany{State: c.State}
		c.State = s
	})
}

// TestRevokedInOneTrip: whatever may have revoked a token is read at once, by
// the guard and by introspection.
func TestRevokedInOneTrip(t *testing.T) {
	revocations := map[string]func(*testing.T, *usBooth, usTokens){
		"itself":  func(t *testing.T, b *usBooth, all usTokens) { b.revoke(t, "web", all.AccessToken) },
		"family":  func(t *testing.T, b *usBooth, all usTokens) { b.revoke(t, "web", all.RefreshToken) },
		"subject": func(t *testing.T, b *usBooth, _ usTokens) { gkMust(0, b.RevokeSubject(t.Context(), "user-7")) },
		"client":  func(t *testing.T, b *usBooth, _ usTokens) { gkMust(0, b.RevokeClient(t.Context(), "web")) },
	}
	for name, revoke := range revocations {
		t.Run(name, func(t *testing.T) {
			stFormats(t, func(t *testing.T, b *usBooth, s *stMany) {
				all := b.flow(t)
				check := func(want int) {
					t.Helper()
					s.many, s.single = 0, 0
					if status := gkStatus(t, b.Guard(), all.AccessToken); status != want || s.many != 1 || s.single != 0 {
						t.Errorf("%d, %d round trips of many and %d of one; want %d, 1 and 0", status, s.many, s.single, want)
					}
					s.many, s.single = 0, 0
					if active := b.introspected(t, "api", all.AccessToken).Active; active != (want == http.StatusNoContent) || s.many != 1 || s.single != 0 {
						t.Errorf("active %v, %d round trips of many and %d of one", active, s.many, s.single)
					}
				}
				check(http.StatusNoContent)
				check(http.StatusNoContent)
				revoke(t, b, all)
				check(http.StatusUnauthorized)
			})
		})
	}
}

// TestMintInOneTrip: a token of a user without an authorization carries both
// epochs, which are read at once.
func TestMintInOneTrip(t *testing.T) {
	s := &stMany{State: &store.Memory{Now: func() time.Time { return gkStart }}}
	b := gkNew(t, func(c *HandlerConfig) { c.State = s })
	if err := errors.Join(b.RevokeSubject(t.Context(), "ada"), b.RevokeClient(t.Context(), "acme")); err != nil {
		t.Fatal(err)
	}
	c := claims{clientID: "acme", subject: "ada"}
	s.single = 0
	key := authz.ClientEpochKey("acme")
	if err := c.readEpochs(t.Context(), b.Handler.state, key); err != nil || c.clientEpoch == 0 || c.subjectEpoch == 0 {
		t.Errorf("%v, %d, %d", err, c.clientEpoch, c.subjectEpoch)
	}
	if s.many != 1 || s.single != 0 {
		t.Errorf("%d round trips of many and %d of one", s.many, s.single)
	}
	s.spoil = func(context.Context, [][]byte) ([][]byte, error) { return make([][]byte, 3), nil }
	if err := c.readEpochs(t.Context(), b.Handler.state, key); err == nil {
		t.Error("another number of values was taken")
	}
}

// TestB3_ManyUnknown: what the State answers wrong is no pass.
func TestB3_ManyUnknown(t *testing.T) {
	for name, spoil := range map[string]func(context.Context, [][]byte) ([][]byte, error){
		"error":    func(context.Context, [][]byte) ([][]byte, error) { return nil, store.ErrUnavailable },
		"broken":   func(_ context.Context, vals [][]byte) ([][]byte, error) { return vals, errors.New("broken") },
		"none":     func(context.Context, [][]byte) ([][]byte, error) { return nil, nil },
		"too few":  func(_ context.Context, vals [][]byte) ([][]byte, error) { return vals[1:], nil },
		"too many": func(_ context.Context, vals [][]byte) ([][]byte, error) { return append(vals, nil), nil },
		"damaged": func(_ context.Context, vals [][]byte) ([][]byte, error) {
			vals[1] = []byte("no epoch")
			return vals, nil
		},
		"no record": func(_ context.Context, vals [][]byte) ([][]byte, error) {
			vals[len(vals)-1] = []byte{}
			return vals, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			stFormats(t, func(t *testing.T, b *usBooth, s *stMany) {
				all := b.flow(t)
				s.spoil = spoil
				if status := gkStatus(t, b.Guard(), all.AccessToken); status != http.StatusServiceUnavailable {
					t.Errorf("at the guard: %d", status)
				}
				if w := b.at(b.Introspect, usAs("api", all.AccessToken)); w.Code < 500 {
					t.Errorf("at introspection: %d %s", w.Code, w.Body)
				}
			})
		})
	}
}

func TestS2_ManyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stMany{State: new(store.Memory)}
		b := gkNew(t, func(c *HandlerConfig) { c.State = s })
		token := b.mintFor(t, nil)
		s.spoil = func(ctx context.Context, _ [][]byte) ([][]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		gpBounded(t, b.Guard().Require()(gkOpen), gkRequest(token))
	})
}
