package store

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	pbkdf2Prefix = "pbkdf2-sha256$"
	// pbkdf2Rounds is what OWASP's Password Storage Cheat Sheet asks for.
	pbkdf2Rounds    = 600_000
	maxPBKDF2Rounds = 10_000_000
)

// HashHumanSecret returns the stored form of a secret that a person thought up
// or that was not made from at least 128 random bits: PBKDF2-HMAC-SHA256
// (RFC 8018 §5.2) with 600,000 rounds and a random salt. A handler accepts it
// only where it is told to pay for slow hashes.
func HashHumanSecret(plain string) Secret {
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	return Secret{Hash: pbkdf2Form(pbkdf2Rounds, salt, pbkdf2Sum(plain, salt, pbkdf2Rounds))}
}

// A variable, for tests to count the rounds.
var pbkdf2Sum = func(plain string, salt []byte, rounds int) []byte {
	sum, err := pbkdf2.Key(sha256.New, plain, salt, rounds, sha256.Size)
	if err != nil {
		panic(err) // only in FIPS mode, for a key length that is not this one
	}
	return sum
}

func pbkdf2Form(rounds int, salt, sum []byte) string {
	b64 := base64.RawURLEncoding
	return pbkdf2Prefix + strconv.Itoa(rounds) + "$" + b64.EncodeToString(salt) + "$" + b64.EncodeToString(sum)
}

// parsePBKDF2 reads "pbkdf2-sha256$rounds$salt$sum" in its one canonical form.
func parsePBKDF2(hash string) (rounds int, salt, sum []byte, ok bool) {
	parts := strings.Split(strings.TrimPrefix(hash, pbkdf2Prefix), "$")
	if !strings.HasPrefix(hash, pbkdf2Prefix) || len(parts) != 3 {
		return 0, nil, nil, false
	}
	rounds, err1 := strconv.Atoi(parts[0])
	salt, err2 := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	sum, err3 := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	ok = err1 == nil && err2 == nil && err3 == nil && rounds >= 1 && rounds <= maxPBKDF2Rounds &&
		len(salt) >= 8 && len(sum) == sha256.Size && pbkdf2Form(rounds, salt, sum) == hash
	return rounds, salt, sum, ok
}

// A SecretVerifier checks secrets whose hashes this package does not know, as
// bcrypt's or argon2's, imported from another system.
type SecretVerifier interface {
	// VerifySecret says whether the secret fits the hash, whose form begins with
	// "$". It is slow on purpose; it runs behind a bounded queue, concurrently,
	// with a deadline of 5 s. An error is a failure, not a refusal.
	VerifySecret(ctx context.Context, hash, secret string) (bool, error)
}

// A SecretUpgrader is a [ClientStore] that can replace the stored form of a
// secret by a better one.
type SecretUpgrader interface {
	// UpgradeSecret replaces the secret of the client whose hash is old, if it is
	// still there, and keeps its expiry. The handler calls it after a success
	// and goes on when it fails.
	UpgradeSecret(ctx context.Context, clientID string, old, upgraded Secret) error
}

// IsSlow says whether checking the secret takes a slow hash.
func (s Secret) IsSlow() bool {
	return strings.HasPrefix(s.Hash, pbkdf2Prefix) || strings.HasPrefix(s.Hash, "$")
}

// NeedsUpgrade says whether [HashHumanSecret] would store the secret better.
func (s Secret) NeedsUpgrade() bool {
	rounds, _, _, ok := parsePBKDF2(s.Hash)
	return s.IsSlow() && (!ok || rounds < pbkdf2Rounds)
}

// Live says whether the secret has not expired at now.
func (s Secret) Live(now time.Time) bool { return !s.expired(now) }

// CheckSlow reports whether secret is the one that was stored in a slow form:
// PBKDF2, or what the verifier knows, which may be nil. A miss costs at least
// what one of [NoSecret] does, whatever the form, but for what the verifier
// takes, so that old hashes of few rounds do not give away who has one.
func (s Secret) CheckSlow(ctx context.Context, secret string, v SecretVerifier) (bool, error) {
	if v != nil && strings.HasPrefix(s.Hash, "$") {
		ok, err := v.VerifySecret(ctx, s.Hash, secret)
		if err != nil {
			return false, fmt.Errorf("secret verifier: %w", err)
		}
		return ok && secret != "", nil
	}
	rounds, salt, sum, ok := parsePBKDF2(s.Hash)
	if ok && subtle.ConstantTimeCompare(pbkdf2Sum(secret, salt, rounds), sum) == 1 && secret != "" {
		return true, nil
	}
	if !ok {
		rounds = 0
	}
	if rounds < pbkdf2Rounds {
		pbkdf2Sum(secret, make([]byte, 16), pbkdf2Rounds-rounds)
	}
	return false, nil
}

// NoSecret is a slow secret that nothing matches, to be checked in the place of
// one that is not there.
var NoSecret = Secret{Hash: pbkdf2Form(pbkdf2Rounds, make([]byte, 16), make([]byte, sha256.Size))}

// UpgradeSecret implements [SecretUpgrader]. A hash that [Client.Validate] would
// refuse is refused.
func (m *Memory) UpgradeSecret(ctx context.Context, clientID string, old, upgraded Secret) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if mend := hashMend(upgraded.Hash); mend != "" {
		return errors.New("store: the upgraded hash " + mend)
	}
	return m.clients.update(clientID, func(c *Client) {
		for i := range c.Secrets {
			if c.Secrets[i].Hash == old.Hash {
				c.Secrets[i].Hash = upgraded.Hash
			}
		}
	})
}
