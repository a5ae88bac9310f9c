package tokenbooth

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/store"
)

// deniedKey is where it stands that one access token was revoked. It is named by
// its identifier, never by its text, which has more than one spelling (T7).
func deniedKey(id string) string { return "denied:" + id }

// isRevoked says whether a token that is otherwise good was revoked: itself, its
// family, or everything of its client or its subject. Without a State nothing
// can be known of that.
func isRevoked(ctx context.Context, state store.State, c *claims) (bool, error) {
	if _, denied, err := state.Get(ctx, deniedKey(c.id)); err != nil || denied {
		return denied, err
	}
	if c.family != "" {
		if live, err := isLive(ctx, state, c.family); err != nil || !live {
			return !live, err
		}
	}
	epoch, err := authz.Epoch(ctx, state, authz.ClientEpochKey(c.clientID))
	if err != nil || c.clientEpoch < epoch {
		return true, err
	}
	if c.subject == clientSubjectPrefix+c.clientID {
		return false, nil
	}
	epoch, err = authz.Epoch(ctx, state, authz.SubjectEpochKey(c.subject))
	return c.subjectEpoch < epoch, err
}

func isLive(ctx context.Context, state store.State, family string) (bool, error) {
	rec, _, err := authz.Load(ctx, state, authz.Family([]byte(family)))
	return rec != nil && rec.Phase == authz.Active, err
}

// deny revokes one access token until it would have ended anyway.
func (h *Handler) deny(ctx context.Context, c *claims) error {
	val := make([]byte, 16)
	_, _ = rand.Read(val)
	key := deniedKey(c.id)
	_, err := h.state.Create(ctx, key, val, c.expires.Add(tokenSkew))
	if err != nil {
		if now, ok, again := h.state.Get(ctx, key); again == nil && ok && bytes.Equal(now, val) {
			return nil
		}
	}
	return err
}

// RevokeSubject ends everything that was authorized by a user until now: codes,
// refresh tokens and access tokens. Guards with the State see it at once. It
// fails for what can be no user, as the subject of a client's own token.
func (h *Handler) RevokeSubject(ctx context.Context, subject string) error {
	if err := checkSubject(subject); err != nil {
		return err
	}
	return h.revokeAll(ctx, authz.SubjectEpochKey(subject), Event{Subject: subject})
}

// RevokeClient ends everything that was issued to a client until now, as
// [Handler.RevokeSubject] does for a user.
func (h *Handler) RevokeClient(ctx context.Context, clientID string) error {
	return h.revokeAll(ctx, authz.ClientEpochKey(clientID), Event{ClientID: clientID})
}

func (h *Handler) revokeAll(ctx context.Context, key string, e Event) error {
	now := h.now()
	if err := authz.RaiseEpoch(ctx, h.state, key, now, authz.EpochLife(h.lifetimes)); err != nil {
		return fmt.Errorf("tokenbooth: revoking: %w", err)
	}
	h.revoked(ctx, now, e)
	return nil
}

func (h *Handler) revoked(ctx context.Context, now time.Time, e Event) {
	e.Kind, e.Time = "revoked", now
	h.report(ctx, &e)
}
