package grant

import "context"

// Implicit issues a read-only token to a public client that names itself and
// proves nothing, by POST: what one documented commerce system calls implicit.
// It is not the browser redirect of RFC 6749 §4.2. It works only for clients
// whose record allows "implicit"; a client that has a secret must send it.
type Implicit struct{}

// Type returns "implicit".
func (Implicit) Type() string { return "implicit" }

// PublicClients returns true.
func (Implicit) PublicClients() bool { return true }

// Exchange issues a read-only token.
func (Implicit) Exchange(_ context.Context, r *Request) (*Issue, error) {
	return &Issue{Scopes: r.ScopesOrDefault(), ReadOnly: true}, nil
}
