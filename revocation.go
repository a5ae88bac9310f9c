package tokenbooth

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authz"
)

// deniedKey is where it stands that one access token was revoked. It is named by
// its identifier, never by its text, which has more than one spelling (T7).
func deniedKey(id string) string { return "denied:" + id }

const maxWatched = 4 // keys

// watched returns where it stands whether a token was revoked: itself, everything
// of its client, of its user if it is of one, and its family if it has one.
func (c *claims) watched() []string {
	keys := make([]string, 0, maxWatched)
	keys = append(keys, deniedKey(c.id), authz.ClientEpochKey(c.clientID))
	if !c.ownSubject() {
		keys = append(keys, authz.SubjectEpochKey(c.subject))
	}
	if c.family != "" {
		keys = append(keys, authz.Key(authz.Family([]byte(c.family))))
	}
	return keys
}

// ownSubject says that a client acts for itself.
func (c *claims) ownSubject() bool {
	id, ok := strings.CutPrefix(c.subject, clientSubjectPrefix)
	return ok && id == c.clientID
}

// isRevoked says whether a token that is otherwise good was revoked: itself, its
// family, or everything of its client or its subject. Without a State nothing
// can be known of that.
func isRevoked(ctx context.Context, state *boundedState, c *claims) (bool, error) {
	var room [maxWatched][]byte
	keys := c.watching
	if keys == nil {
		keys = c.watched()
	}
	vals := room[:len(keys)]
	if err := state.read(ctx, keys, vals); err != nil {
		return false, err
	}
	epoch, err := authz.DecodeEpoch(vals[1])
	if err != nil || vals[0] != nil || c.clientEpoch < epoch {
		return true, err
	}
	if vals = vals[2:]; !c.ownSubject() {
		if epoch, err = authz.DecodeEpoch(vals[0]); err != nil || c.subjectEpoch < epoch {
			return true, err
		}
		vals = vals[1:]
	}
	if c.family == "" {
		return false, nil
	}
	live, err := isLive(vals[0])
	return !live, err
}

func isLive(record []byte) (bool, error) {
	if record == nil {
		return false, nil
	}
	rec, err := authz.Decode(record)
	return err == nil && rec.Phase == authz.Active, err
}

// readEpochs gives a token that belongs to no authorization the epochs of now. The
// client's is at clientKey.
func (c *claims) readEpochs(ctx context.Context, state *boundedState, clientKey string) (err error) {
	if c.ownSubject() {
		c.clientEpoch, err = readEpoch(ctx, state, clientKey)
		return err
	}
	var vals [2][]byte
	if err = state.read(ctx, []string{clientKey, authz.SubjectEpochKey(c.subject)}, vals[:]); err != nil {
		return err
	}
	if c.clientEpoch, err = authz.DecodeEpoch(vals[0]); err == nil {
		c.subjectEpoch, err = authz.DecodeEpoch(vals[1])
	}
	return err
}

func readEpoch(ctx context.Context, state *boundedState, key string) (int64, error) {
	val, ok, err := state.Get(ctx, key)
	if err != nil || !ok {
		return 0, err
	}
	if val == nil { // which would stand for none
		return 0, authz.ErrDamaged
	}
	return authz.DecodeEpoch(val)
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
