package tokenbooth

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/gate"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// slowTimeout bounds waiting for a slow hash and running it.
const slowTimeout = 5 * time.Second

// slowSecrets checks secrets in a slow form, a few at a time.
type slowSecrets struct {
	gate     *gate.Gate
	verifier store.SecretVerifier
	upgrader store.SecretUpgrader // nil where the store cannot
	logger   *slog.Logger
}

func newSlowSecrets(clients ClientStore, verifier store.SecretVerifier, logger *slog.Logger) *slowSecrets {
	upgrader, _ := clients.(store.SecretUpgrader)
	return &slowSecrets{gate.New(0), verifier, upgrader, logger}
}

// checkSecret says whether the client, nil where there is none, has this secret.
// A secret of the fast form is found at once; whatever else comes pays for a
// slow hash first from the failure bucket, where slow ones are allowed.
func (h *Handler) checkSecret(ctx context.Context, x *exchange, client *store.Client, c *credentials) (bool, error) {
	if !clean(c.secret) {
		return false, nil
	}
	if client.CheckSecret(c.secret, x.now) {
		return true, nil
	}
	if h.slow == nil {
		return false, nil
	}
	if ok, err := h.fastOtherwise(ctx, x, *c); ok || err != nil {
		return false, err
	}
	if err := h.chargeFailure(ctx, x, c.id); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, slowTimeout)
	defer cancel()
	if !h.slow.gate.Enter(ctx) {
		return false, response.Fail(response.Overloaded)
	}
	defer h.slow.gate.Leave()
	return h.slow.check(ctx, slowOf(client, x.now), *c)
}

// fastOtherwise says whether another reading of the same credentials (C1) has a
// right secret of the fast form. Then this reading is not worth a slow hash, nor
// a charge, which could lock the client out (L1).
func (h *Handler) fastOtherwise(ctx context.Context, x *exchange, c credentials) (bool, error) {
	all, err := readings(new([2]credentials), x.form)
	if err != nil {
		return false, err
	}
	for _, other := range all {
		if other == c || !clean(other.secret) {
			continue
		}
		client, err := h.lookUp(ctx, other.id)
		if err != nil || client.CheckSecret(other.secret, x.now) {
			return err == nil, err
		}
	}
	return false, nil
}

// slowOf returns the live slow secrets of a client, or one that nothing matches:
// every failure costs a hash, also that of an unknown client (C4).
func slowOf(client *store.Client, now time.Time) []store.Secret {
	var slow []store.Secret
	if client != nil {
		for _, s := range client.Secrets {
			if s.IsSlow() && s.Live(now) {
				slow = append(slow, s)
			}
		}
	}
	if slow == nil {
		slow = []store.Secret{store.NoSecret}
	}
	return slow
}

func (s *slowSecrets) check(ctx context.Context, secrets []store.Secret, c credentials) (bool, error) {
	for _, one := range secrets {
		ok, err := one.CheckSlow(ctx, c.secret, s.verifier)
		if err != nil {
			return false, fmt.Errorf("tokenbooth: %w", err)
		}
		if ok {
			s.upgrade(ctx, one, c)
			return true, nil
		}
	}
	return false, nil
}

// upgrade stores a secret better, now that it is at hand. Failing at that is no
// reason to refuse who showed the right one; the next success tries again.
func (s *slowSecrets) upgrade(ctx context.Context, old store.Secret, c credentials) {
	if s.upgrader == nil || !old.NeedsUpgrade() {
		return
	}
	if err := s.tryUpgrade(ctx, old, c); err != nil {
		s.logger.WarnContext(ctx, "tokenbooth: the hash of a secret could not be upgraded", "client_id", c.id, "error", err)
	}
}

func (s *slowSecrets) tryUpgrade(ctx context.Context, old store.Secret, c credentials) (err error) {
	defer recovered(&err)
	better := store.HashHumanSecret(c.secret)
	// The hash is paid for, even if it took so long that nobody waits any more.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	return s.upgrader.UpgradeSecret(ctx, c.id, old, better)
}
