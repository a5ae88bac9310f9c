package grant

import "context"

// ClientCredentials issues a token to a client for itself (RFC 6749 §4.4): no
// refresh token, no public client.
type ClientCredentials struct{}

// Type returns "client_credentials".
func (ClientCredentials) Type() string { return "client_credentials" }

// Exchange issues the scopes asked for, else the default ones.
func (ClientCredentials) Exchange(_ context.Context, r *Request) (*Issue, error) {
	issue := &r.newGranted().issue
	issue.Scopes = r.ScopesOrDefault()
	return issue, nil
}
