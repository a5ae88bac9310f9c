// Package grant holds the ways to get a token, one file each. A grant decides
// whether and for whom a token is issued; it sees neither keys nor the HTTP
// request, and leaves authentication of the client, limits, minting and
// formatting to the handler.
package grant

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// ErrConflict is returned by [Issue.Commit] when somebody else changed what was
// to be consumed. The handler asks Exchange again, at most 8 times.
var ErrConflict = errors.New("grant: conflict")

// A Grant issues tokens for one grant type. Its methods are called concurrently.
type Grant interface {
	// Type is the value of grant_type, compared byte by byte.
	Type() string
	// Exchange validates the request and returns what to issue, or a
	// [*response.Failure]. It consumes nothing: that is for [Issue.Commit]. Any
	// other error is a 503 where it wraps [store.ErrUnavailable] or a timeout,
	// else a 500.
	Exchange(ctx context.Context, r *Request) (*Issue, error)
}

// PublicClients is implemented by a [Grant] that a public client may use
// (RFC 6749 §2.1). Without it only clients that authenticated get through.
type PublicClients interface{ PublicClients() bool }

// A Validator is a [Grant] that checks its own settings when the handler is
// made. An error is reported with the other mistakes of the configuration.
type Validator interface{ Validate() error }

// A LimitKeyer is a [Grant] that guesses can be aimed at. The handler takes one
// from the limit of each key after the client authenticated and before
// Exchange.
type LimitKeyer interface {
	LimitKeys(r *Request) []string
}

// Parameters is implemented by a [Grant] that reads request parameters beyond
// those of RFC 6749 and RFC 7636. Named here they are available through
// [Request.Param], and 400 when given twice.
type Parameters interface{ Parameters() []string }

// A Request is a token request of a client that the handler has authenticated,
// limited and found entitled to this grant.
type Request struct {
	GrantType     string
	Client        *store.Client
	Authenticated bool         // by a secret; false only for public clients
	Scopes        []string     // asked for and allowed to the client; nil when none were asked for
	DefaultScopes []string     // what to give when none were asked for
	Address       netip.Prefix // of the caller: /32 or /64; the zero value when unknown
	Now           time.Time
	Params        []Param // known parameters that are not empty, each once

	// State is the handler's, each call of it bounded to 2 s.
	State store.State
	// Realm tells the authorizations of handlers apart that share one State.
	Realm [8]byte
	// Lifetimes of what is issued.
	Lifetimes Lifetimes
	// ChallengeProves lets a client that authenticated show the code_challenge in
	// place of the verifier, as one documented system has it.
	ChallengeProves bool
	// Conflict says that Commit was called before and somebody else was faster.
	Conflict bool

	// For one Issue, where nobody else sees the request; else nil.
	room, lent *granted
}

// Forget empties a request that only grants of this package have seen, and has the
// next [Issue] of it in the memory of the last, which is not to be looked at any
// more. It is for the handler: a request that was forgotten must not be copied, nor
// given to other grants.
func (r *Request) Forget() {
	room := r.room
	if room == nil {
		room = r.lent
	}
	if room == nil {
		room = new(granted)
	}
	if room.used {
		commit := room.commit
		*room = granted{}
		room.commit = commit
	} else { // by a client for itself
		room.issue = Issue{}
	}
	*r = Request{}
	r.room = room
}

// newGranted is in the request's room once, and then, and where there is none, in
// memory of its own.
func (r *Request) newGranted() *granted {
	if r.room == nil {
		return new(granted)
	}
	r.lent, r.room = r.room, nil
	return r.lent
}

// Lifetimes bound an authorization.
type Lifetimes = authz.Lifetimes

// A Param is one parameter of a request.
type Param struct{ Name, Value string }

// Param returns the value of a parameter, or the empty string.
func (r *Request) Param(name string) string {
	for _, p := range r.Params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// ScopesOrDefault returns the scopes asked for, else the default ones as far as
// the client may have them.
func (r *Request) ScopesOrDefault() []string {
	if r.Scopes != nil {
		return r.Scopes
	}
	var scopes []string
	for _, s := range r.DefaultScopes {
		if slices.Contains(r.Client.Scopes, s) {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// An Issue is what a grant decided to issue.
type Issue struct {
	User         *response.Subject // for whom the client acts; nil when for itself
	Scopes       []string
	ReadOnly     bool // the guard lets it read, never write
	RefreshToken string
	// Authorization is what the tokens belong to; nil where there is none.
	Authorization *Authorization
	// StateLostWrites says that the State was found to be older than a token
	// that was issued from it: an alarm is raised.
	StateLostWrites bool
	// Commit makes the one consuming change, after the answer is ready and
	// before it is sent. Nil when nothing is consumed. [ErrConflict] starts
	// over; any other error is answered as one of Exchange would be.
	Commit func(ctx context.Context) error
}
