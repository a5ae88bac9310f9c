package tokenbooth

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// usEnds are the two ways to revoke everything at once, of the user and of the
// client of the usual flow.
var usEnds = map[string]func(*usBooth, context.Context) error{
	"subject": func(b *usBooth, ctx context.Context) error { return b.RevokeSubject(ctx, "user-7") },
	"client":  func(b *usBooth, ctx context.Context) error { return b.RevokeClient(ctx, "web") },
}

func TestRevokeAll_AtOnce(t *testing.T) {
	for name, end := range usEnds {
		t.Run(name, func(t *testing.T) {
			usFormats(t, func(t *testing.T, b *usBooth) {
				all, code, own := b.flow(t), b.code(t), b.tokens(t, "grant_type=client_credentials"+usWeb)
				rotated := b.tokens(t, usRefresh(b.flow(t).RefreshToken))
				if err := end(b, t.Context()); err != nil {
					t.Fatal(err)
				}
				b.live(t, all.AccessToken, false)
				b.live(t, rotated.AccessToken, false)
				b.live(t, own.AccessToken, name == "subject")
				for _, body := range []string{usRedeem(code), usRefresh(all.RefreshToken), usRefresh(rotated.RefreshToken)} {
					b.refused(t, body, "invalid_grant")
				}
				if b.introspected(t, "web", all.RefreshToken).Active {
					t.Error("the refresh token is active")
				}
			})
		})
	}
}

// TestRevokeAll_Afterwards: what is authorized later is good, in the same
// millisecond too, and where the clock stepped back.
func TestRevokeAll_Afterwards(t *testing.T) {
	for name, end := range usEnds {
		t.Run(name, func(t *testing.T) {
			usFormats(t, func(t *testing.T, b *usBooth) {
				for _, step := range []time.Duration{0, 0, -time.Minute, -5 * time.Second, 0, time.Hour, -2 * time.Hour} {
					before := b.flow(t)
					if err := end(b, t.Context()); err != nil {
						t.Fatal(err)
					}
					b.clock.move(step)
					after, own := b.flow(t), b.tokens(t, "grant_type=client_credentials"+usWeb)
					for _, token := range []string{after.AccessToken, own.AccessToken} {
						b.live(t, token, true)
					}
					after = b.tokens(t, usRefresh(after.RefreshToken))
					b.live(t, after.AccessToken, true)
					b.refused(t, usRefresh(before.RefreshToken), "invalid_grant")
					if step <= 0 {
						b.live(t, before.AccessToken, false)
					}
				}
			})
		})
	}
}

// TestRevokeAll_Others: nobody else's tokens end.
func TestRevokeAll_Others(t *testing.T) {
	usFormats(t, func(t *testing.T, b *usBooth) {
		all := b.flow(t)
		if err := errors.Join(b.RevokeSubject(t.Context(), "user-8"), b.RevokeSubject(t.Context(), "web"),
			b.RevokeClient(t.Context(), "user-7"), b.RevokeClient(t.Context(), "nobody")); err != nil {
			t.Fatal(err)
		}
		b.live(t, all.AccessToken, true)
		b.tokens(t, usRefresh(all.RefreshToken))
	})
}

// TestRevokeAll_NoSubject: what was not done must not look like a success.
func TestRevokeAll_NoSubject(t *testing.T) {
	b := usNew(t)
	for _, subject := range []string{"", "client:web", strings.Repeat("u", 257), "\xff"} {
		if err := b.RevokeSubject(t.Context(), subject); err == nil {
			t.Errorf("%q was revoked", subject)
		}
	}
	if b.state.wrote != 0 {
		t.Errorf("%d writes", b.state.wrote)
	}
}

func TestRevokeAll_StoreFails(t *testing.T) {
	for name, end := range usEnds {
		for _, call := range []string{"get epoch", "create epoch"} {
			b := usNew(t)
			all := b.flow(t)
			events := len(b.all())
			b.state.set(func(c string) error {
				if strings.HasPrefix(c, call) {
					return store.ErrUnavailable
				}
				return nil
			})
			if err := end(b, t.Context()); !errors.Is(err, store.ErrUnavailable) || len(b.all()) != events {
				t.Errorf("%s, %s: %v, %d events", name, call, err, len(b.all())-events)
			}
			b.state.set(nil)
			b.live(t, all.AccessToken, true)
			if err := end(b, t.Context()); err != nil {
				t.Fatal(err)
			}
			b.live(t, all.AccessToken, false)
		}
	}
}

// TestRevokeAll_ReplyLost: the epoch was written although the store did not say
// so.
func TestRevokeAll_ReplyLost(t *testing.T) {
	b := usNew(t)
	all := b.flow(t)
	b.Handler.state = bounded(&usLostReplies{State: b.state})
	if err := b.RevokeSubject(t.Context(), "user-7"); err != nil {
		t.Error(err)
	}
	b.live(t, all.AccessToken, false)
}

// TestB3_RevocationUnknown: a guard that cannot find out lets nobody pass and
// refuses nobody.
func TestB3_RevocationUnknown(t *testing.T) {
	for _, call := range []string{"get denied", "get authz", "get epoch sub", "get epoch client"} {
		usFormats(t, func(t *testing.T, b *usBooth) {
			all := b.flow(t)
			guards := b.watchers(t)
			for _, fault := range []error{store.ErrUnavailable, errors.New("broken")} {
				b.state.set(func(c string) error {
					if c == call {
						return fault
					}
					return nil
				})
				for _, g := range guards {
					want := http.StatusServiceUnavailable
					if !g.knows {
						want = http.StatusNoContent
					}
					if status := gkStatus(t, g.guard, all.AccessToken); status != want {
						t.Errorf("%s, %s: %d, want %d", call, g.name, status, want)
					}
				}
			}
		})
	}
}

// TestRevokeAll_DuringApproval: what was being approved when everything was
// revoked has ended too, or was approved after it; never neither.
func TestRevokeAll_DuringApproval(t *testing.T) {
	for name, end := range usEnds {
		b := usNew(t)
		u := b.browser()
		ticket := u.ticket(t, usQuery())
		b.state.set(func(call string) error {
			if call == "create authz" {
				b.state.fault = nil
				b.state.mu.Unlock()
				defer b.state.mu.Lock()
				return end(b, context.Background())
			}
			return nil
		})
		code := usLocation(t, u.approve(ticket), usCallback).Get("code")
		if w := b.post(usRedeem(code)); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// TestRevokeAll_LongLives: an epoch is kept for as long as what it revokes may
// live, however much the store collects.
func TestRevokeAll_LongLives(t *testing.T) {
	const day = 24 * time.Hour
	for name, end := range usEnds {
		b := usNew(t, func(c *HandlerConfig) { c.RefreshIdle, c.RefreshAbsolute = 60*day, 90*day })
		all := b.flow(t)
		if err := end(b, t.Context()); err != nil {
			t.Fatal(err)
		}
		b.clock.move(45 * day)
		for i := range 5000 { // each collects a little
			if _, err := b.state.Create(t.Context(), strconv.Itoa(i), []byte("x"), b.clock.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if w := b.post(usRefresh(all.RefreshToken)); w.Code != http.StatusBadRequest {
			t.Errorf("%s: alive again: %d %s", name, w.Code, w.Body)
		}
	}
}
