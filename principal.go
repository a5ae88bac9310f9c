package tokenbooth

import (
	"context"
	"strings"
	"sync/atomic"
	"time"
)

// A Principal is who a guarded request comes from, as its access token says.
// Each request has its own.
type Principal struct {
	// Subject is the user, or "client:" and the client's ID where the client
	// acts for itself (RFC 9068 §2.2).
	Subject  string
	ClientID string
	Username string // empty for a client, and where the token does not say
	Scope    string // scopes joined by a space (RFC 6749 §3.3)
	TokenID  string // the token's jti, or an opaque token's identifier
	ReadOnly bool   // the token may read, not write
	IssuedAt time.Time
	Expires  time.Time
}

// HasScope says whether the token has the scope.
func (p *Principal) HasScope(scope string) bool { return holds(p.Scope, scope) }

// Scopes returns the token's scopes, never nil.
func (p *Principal) Scopes() []string {
	if p.Scope == "" {
		return []string{}
	}
	return strings.Split(p.Scope, " ")
}

// IsClient says that the client acts for itself, not for a user.
func (p *Principal) IsClient() bool {
	return strings.HasPrefix(p.Subject, clientSubjectPrefix)
}

// principal returns a new one.
func (c *claims) principal() *Principal {
	return &Principal{
		Subject: c.subject, ClientID: c.clientID, Username: c.username, Scope: c.scope,
		TokenID: c.id, ReadOnly: c.readOnly, IssuedAt: c.issued, Expires: c.expires,
	}
}

type principalKey struct{}

// A principalContext has the Principal of a request made when it is asked for
// first: many handlers never do. Its fields have the names of those of a context
// of package context, and val is itself, since fiber takes a context apart by them.
type principalContext struct {
	context.Context
	key  principalKey
	val  *principalContext
	said *claims
	made atomic.Pointer[Principal]
}

func newPrincipalContext(ctx context.Context, said *claims) *principalContext {
	c := &principalContext{Context: ctx, key: principalKey{}, said: said}
	c.val = c
	return c
}

func (c *principalContext) Value(key any) any {
	if _, ok := key.(principalKey); !ok {
		return c.Context.Value(key)
	}
	return c.val
}

func (c *principalContext) principal() *Principal {
	if c.made.Load() == nil {
		c.made.CompareAndSwap(nil, c.said.principal())
	}
	return c.made.Load()
}

func (c *principalContext) String() string { return "tokenbooth.ContextWithPrincipal" }

// ContextWithPrincipal returns a context that carries p, for tests of handlers
// that stand behind a guard.
func ContextWithPrincipal(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalFrom returns who the request of this context comes from; false where
// no guard stands before the handler.
func PrincipalFrom(ctx context.Context) (*Principal, bool) {
	switch v := ctx.Value(principalKey{}).(type) {
	case *principalContext:
		return v.principal(), true
	case *Principal:
		return v, v != nil
	}
	return nil, false
}
