package grant

import (
	"context"
	"slices"
	"strings"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/response"
)

// RefreshToken renews access tokens (RFC 6749 §6) and replaces the refresh token
// each time. Whoever asks again with the one before within the grace, because
// the answer got lost or a second tab asked too, gets the same successor; any
// older one, however late, shows that it was stolen and ends the authorization
// with all its tokens (RFC 9700 §4.14).
type RefreshToken struct{}

// Type returns "refresh_token".
func (RefreshToken) Type() string { return "refresh_token" }

// PublicClients returns true.
func (RefreshToken) PublicClients() bool { return true }

// Exchange decides about the refresh token; Commit replaces it.
func (RefreshToken) Exchange(ctx context.Context, r *Request) (*Issue, error) {
	token := r.Param("refresh_token")
	if token == "" {
		return nil, response.Missing("refresh_token")
	}
	t, ok := authz.ParseRefresh(token)
	if !ok {
		return nil, response.Fail(response.GrantRefused)
	}
	key := authz.Key(t.Family)
	var rec, next authz.Record
	for range maxRounds {
		raw, err := load(ctx, r, key, &rec)
		if err != nil {
			return nil, err
		}
		if !rec.Good(&t, r.Client.ID, r.Now) {
			return nil, response.Fail(response.GrantRefused)
		}
		scope, err := narrowed(r, &rec)
		if err != nil {
			return nil, err
		}
		verdict := rec.Rotate(&next, t.Gen, r.Conflict, r.Now, r.Lifetimes)
		switch verdict {
		case authz.Refuse:
			return nil, response.Fail(response.GrantRefused)
		case authz.Grant, authz.Again, authz.RolledBack:
			return rotated(r, issueOf(r, &rec, key, scope), &rec, raw, &next, &t, verdict), nil
		}
		swapped, err := authz.Swap(ctx, r.State, t.Family, raw, &next)
		if err != nil {
			return nil, err
		}
		if swapped {
			return nil, alarm(response.RefreshReused, &rec)
		}
	}
	return nil, response.Fail(response.Overloaded)
}

func rotated(r *Request, g *granted, rec *authz.Record, raw []byte, next *authz.Record, t *authz.Refresh, v authz.Verdict) *Issue {
	if v == authz.Again {
		g.issue.RefreshToken = authz.Token(t.Family, t.Secret, rec.MACNonce, rec.Gen)
		return &g.issue
	}
	g.issue.RefreshToken = authz.Token(t.Family, t.Secret, next.MACNonce, next.Gen)
	g.issue.StateLostWrites = v == authz.RolledBack
	g.commits(r, raw, next)
	return &g.issue
}

// narrowed returns the scope of the new access token: that of the authorization,
// or less where less is asked for. The refresh token keeps all of it.
func narrowed(r *Request, rec *authz.Record) (string, error) {
	if r.Scopes == nil {
		return rec.Scope, nil
	}
	granted := strings.Fields(rec.Scope)
	for _, s := range r.Scopes {
		if !slices.Contains(granted, s) {
			return "", response.Fail(response.ScopeInvalid)
		}
	}
	return strings.Join(r.Scopes, " "), nil
}
