package store

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"
)

const (
	redacted   = "REDACTED"
	hashPrefix = "sha256$"
	digestLen  = 43  // of 32 bytes in base64url without padding
	maxSecret  = 512 // bytes; a request with a longer one is refused before it gets to compare
)

// A Secret is the stored form of a client secret, never the secret itself. Its
// zero value matches nothing.
//
// It prints as REDACTED under every verb of package fmt and in JSON, text and
// slog. Package fmt calls no methods below an unexported field: a struct that
// keeps a [Client] or a Secret in one needs a Format method of its own.
type Secret struct {
	// Hash is "sha256$" and the base64url SHA-256, or a slow form: see
	// [HashHumanSecret] and [SecretVerifier]. Nothing matches an empty one.
	Hash    string
	Expires time.Time // the moment from which it no longer matches; zero: never
}

// NewSecret returns a new secret of 256 random bits: its stored form, and the
// plain text of 43 characters (base64url), which is not to be had again.
func NewSecret() (Secret, string) {
	var b [32]byte
	rand.Read(b[:]) // never fails
	plain := base64.RawURLEncoding.EncodeToString(b[:])
	return HashSecret(plain), plain
}

// HashSecret returns the stored form of a secret that a machine made from at
// least 128 random bits. It is one SHA-256 without salt, which a guesser of what
// a person thought up runs billions of times a second: never use it for those.
func HashSecret(plain string) Secret {
	d := digest(plain)
	return Secret{Hash: hashPrefix + string(d[:])}
}

// NewClient returns a confidential client that may use the client_credentials
// grant (RFC 6749 §4.4) for the scopes, and the plain text of its new secret.
// [Client.Validate] finds what is wrong with the id and the scopes.
func NewClient(id string, scopes ...string) (*Client, string) {
	secret, plain := NewSecret()
	return &Client{
		ID:      id,
		Secrets: []Secret{secret},
		Grants:  []string{"client_credentials"},
		Scopes:  slices.Clone(scopes),
	}, plain
}

// CheckSecret reports whether secret is one of the client's secrets that have
// not expired at now. The time it takes tells nothing of the stored ones, and is
// one SHA-256 also where nothing can match: for a client without a usable
// secret, for an empty secret (which is never right), and for a nil client, so
// that an unknown id costs what a known one does.
//
// Secrets in a slow form never match here; that is for [Secret.CheckSlow]. It
// does not look at Disabled, LongLived, Public or AuthMethod.
func (c *Client) CheckSecret(secret string, now time.Time) bool {
	// Looked at before the digest is made, what is in no cache comes meanwhile.
	fast := c.hasFast()
	got := digest(secret)
	if !fast {
		return false
	}
	match := 0
	for i := range c.Secrets {
		match |= c.Secrets[i].compare(&got, now)
	}
	return match == 1 && secret != ""
}

func (c *Client) hasFast() bool {
	return c != nil && slices.ContainsFunc(c.Secrets, func(s Secret) bool { return strings.HasPrefix(s.Hash, hashPrefix) })
}

// compare looks at the encoded form so that nothing has to be decoded: a hash
// that is not in the one canonical form equals no digest.
func (s *Secret) compare(got *[digestLen]byte, now time.Time) int {
	want, ok := strings.CutPrefix(s.Hash, hashPrefix)
	if !ok || s.expired(now) {
		return 0
	}
	return subtle.ConstantTimeCompare([]byte(want), got[:])
}

func (s *Secret) expired(now time.Time) bool {
	return !s.Expires.IsZero() && !now.Before(s.Expires)
}

// digest copies the secret to the stack, where its conversion would allocate.
func digest(plain string) (d [digestLen]byte) {
	var buf [maxSecret]byte
	sum := sha256.Sum256(append(buf[:0], plain...))
	base64.RawURLEncoding.Encode(d[:], sum[:])
	return d
}

// Format prints REDACTED, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns REDACTED.
func (Secret) String() string { return redacted }

// MarshalJSON returns "REDACTED": a client is not stored by marshalling it.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText returns REDACTED.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns REDACTED.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format prints the fields, the secrets as REDACTED. (Left to itself, package
// fmt looks past the methods of the fields where a verb does not fit a pointer.)
func (c Client) Format(f fmt.State, verb rune) {
	type Client withMethods // so named, for %#v
	fmt.Fprintf(f, fmt.FormatString(f, verb), Client(c))
}

type withMethods = Client
