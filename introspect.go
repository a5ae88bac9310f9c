package tokenbooth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/response"
)

// An introspection is RFC 7662 §2.2.
type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Username  string `json:"username,omitempty"`
	TokenType string `json:"token_type,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
	IssuedAt  int64  `json:"iat,omitempty"`
	Subject   string `json:"sub,omitempty"`
	Audience  string `json:"aud,omitempty"`
	Issuer    string `json:"iss,omitempty"`
	ID        string `json:"jti,omitempty"`
}

// Introspect is the introspection endpoint (RFC 7662). The caller authenticates
// with a secret. It sees its own tokens, and access tokens for the resources that
// its record's Audiences name; any other token is {"active":false}, as one that
// is not good is.
func (h *Handler) Introspect(w http.ResponseWriter, r *http.Request) {
	h.serveTokenRequest(w, r, func(ctx context.Context, x *exchange) (reply response.Reply, err error) {
		if !x.authenticated {
			return reply, response.Fail(response.GrantNotAllowed)
		}
		seen, err := h.introspect(ctx, x, x.form.get("token"))
		if err != nil {
			return reply, err
		}
		reply.Status = http.StatusOK
		reply.Body, err = json.Marshal(seen)
		return reply, err
	})
}

func (h *Handler) introspect(ctx context.Context, x *exchange, token string) (introspection, error) {
	if strings.HasPrefix(token, "r.") {
		return h.introspectRefresh(ctx, x, token)
	}
	c, err := h.readToken(ctx, token)
	if err != nil {
		if errors.Is(err, errToken) {
			err = nil
		}
		return introspection{}, err
	}
	if c.clientID != x.client.ID && !slices.Contains(x.client.Audiences, h.audience) ||
		!x.now.Before(c.expires) || x.now.Before(c.notBefore) {
		return introspection{}, nil
	}
	if revoked, err := isRevoked(ctx, h.state, c); err != nil || revoked {
		return introspection{}, err
	}
	if client, err := h.guard.clients.get(ctx, c.clientID, x.now); err != nil || client.gone {
		return introspection{}, err
	}
	return introspection{
		Active: true, Scope: c.scope, ClientID: c.clientID, Username: c.username, TokenType: "Bearer",
		Expires: c.expires.Unix(), IssuedAt: c.issued.Unix(), Subject: c.subject,
		Audience: h.audience, Issuer: h.issuer, ID: c.id,
	}, nil
}

// introspectRefresh tells of a refresh token only to whom it was issued. Only the
// live one is active, not one that the grace still forgives.
func (h *Handler) introspectRefresh(ctx context.Context, x *exchange, token string) (introspection, error) {
	t, ok := authz.ParseRefresh(token)
	if !ok {
		return introspection{}, nil
	}
	rec, _, err := authz.Load(ctx, h.state, t.Family)
	if err != nil || rec == nil || rec.Realm != h.realm || !rec.Good(&t, x.client.ID, x.now) || t.Gen < rec.Gen {
		return introspection{}, err
	}
	revoked, err := isRevoked(ctx, h.state, &claims{
		clientID: rec.Client, subject: rec.Subject, subjectEpoch: rec.SubjectEpoch, clientEpoch: rec.ClientEpoch,
	})
	if err != nil || revoked {
		return introspection{}, err
	}
	return introspection{
		Active: true, Scope: rec.Scope, ClientID: rec.Client, Username: rec.User,
		Expires: rec.IdleUntil.Unix(), Subject: rec.Subject, Issuer: h.issuer,
	}, nil
}
