// Package store says what tokenbooth asks of a database: who the clients are
// ([ClientStore]) and one small atomic key-value map for everything that has to
// be remembered ([State]). [Memory] is both, in one process.
//
// The package imports the standard library only, so that a store of your own
// depends on nothing else.
package store

import (
	"context"
	"errors"
	"time"
)

// Errors that a store returns, possibly wrapped. Any other error is unexpected
// and becomes a 500 answer.
var (
	// ErrNotFound says that there is no such client. It is the only error that
	// becomes "unknown client".
	ErrNotFound = errors.New("not found")
	// ErrUnavailable says that the store cannot be reached for now: 503.
	ErrUnavailable = errors.New("store unavailable")
)

// A ClientStore says who the clients are. Implementations are safe for
// concurrent use and honour the context, which carries a deadline of 2 s.
type ClientStore interface {
	// Client returns the client of exactly this id, or [ErrNotFound], or an
	// error that wraps [ErrUnavailable]. The caller does not change what it
	// gets; the store does not change what it gave.
	//
	// The id is valid UTF-8 of 1 to 256 bytes without control characters.
	Client(ctx context.Context, id string) (*Client, error)
}

// A State is an atomic map with expiry, the one memory of grants, opaque tokens
// and revocations. Keys and values are any bytes. Implementations are safe for
// concurrent use and honour the context, which carries a deadline of 2 s.
//
// Expiry is for collecting only: an entry is kept at least until then by the
// store's own clock and removed some time after; what it means to be expired is
// inside the value and judged by the caller's clock.
//
// An error says that the outcome is unknown. Create and Swap are idempotent in
// the value: where the stored value already equals val they report success, so
// that a caller whose reply was lost finds out by Get, and the entry is kept until
// the later of both expiries.
type State interface {
	// Get returns the value, which the caller does not change.
	Get(ctx context.Context, key string) (val []byte, ok bool, err error)
	// Create stores val where there is nothing under the key.
	Create(ctx context.Context, key string, val []byte, expires time.Time) (created bool, err error)
	// Swap replaces old by val.
	Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (swapped bool, err error)
	// Delete removes what is under the key.
	Delete(ctx context.Context, key string) (deleted bool, err error)
}

// A MultiGetter is a State that reads several keys in one round trip. Guards and
// grants ask for what may have revoked a token in this way where they can.
type MultiGetter interface {
	// GetMany returns the values in the order of their keys, nil where there is
	// none; a value that is there is never nil, though it may be empty. Each
	// value is as atomic as that of Get; all of them together need not be.
	GetMany(ctx context.Context, keys []string) (vals [][]byte, err error)
}

// Client authentication methods, by their names in the IANA registry
// (RFC 7591 §2). A JSON body counts as client_secret_post.
const (
	AuthBasic = "client_secret_basic"
	AuthPost  = "client_secret_post"
	AuthNone  = "none"
)

// A Client is a registered client (RFC 6749 §2). Its zero value can do nothing:
// no secret matches, no grant is allowed.
type Client struct {
	ID      string   // 1 to 256 bytes of UTF-8 without control characters
	Secrets []Secret // at most two, so that one can be replaced without a gap
	Public  bool     // has no secret and cannot keep one (RFC 6749 §2.1)
	// Disabled refuses every request, whatever the secret.
	Disabled bool
	// LongLived marks a client that holds a token made for it elsewhere and
	// gets none here.
	LongLived bool
	// WithoutPKCE lets a confidential client ask for codes without a
	// code_challenge, as clients older than RFC 7636 do.
	WithoutPKCE bool
	// AuthMethod is the one way in which its secret is accepted: AuthBasic,
	// AuthPost, or AuthNone for a public client. Any when empty.
	AuthMethod string
	// Rate is its own limit; the handler's default when nil.
	Rate *Rate

	// For envelopes that tell them.
	Number      int64
	Name        string
	Description string
	Roles       []int64

	Grants       []string // grant types it may use; none when empty
	Scopes       []string // scopes it may ask for; none when empty
	RedirectURIs []string // absolute URLs, compared byte by byte

	// Audiences are the resources that the client serves: it may introspect the
	// tokens for them (RFC 7662 §2.1), and its own.
	Audiences []string
}

// A Rate is how often a client may come: Burst requests at once, and PerSecond
// more each second.
type Rate struct {
	PerSecond float64 // above 0
	Burst     int     // at least 1
}
