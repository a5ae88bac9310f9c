package tokenbooth

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/response"
)

// Revoke is the revocation endpoint (RFC 7009). A refresh token ends its whole
// authorization, with all access tokens of it; an access token ends alone. A
// token that is unknown, or ended already, is answered 200 too, with the body {}:
// an empty one that is labelled JSON breaks clients. A token of another client
// is refused.
func (h *Handler) Revoke(w http.ResponseWriter, r *http.Request) {
	h.serveTokenRequest(w, r, func(ctx context.Context, x *exchange) (response.Reply, error) {
		return emptyReply, h.revokeToken(ctx, x, x.form.get("token"))
	})
}

var emptyReply = response.Reply{Status: http.StatusOK, Body: []byte("{}")}

// anyClient is in the place of a grant where no grant is asked for: public clients
// may ask too.
var anyClient = grantEntry{public: true}

// serveTokenRequest serves an endpoint that takes a token of an authenticated
// client: revocation and introspection.
func (h *Handler) serveTokenRequest(w http.ResponseWriter, r *http.Request, serve func(context.Context, *exchange) (response.Reply, error)) {
	x := &exchange{passing: passing{grant: &anyClient}}
	reply, err := h.answerTokenRequest(w, r, x, serve)
	if err != nil {
		h.refuse(w, r, x, err)
		return
	}
	_ = write(w, reply) // who has gone needs no answer
}

func (h *Handler) answerTokenRequest(w http.ResponseWriter, r *http.Request, x *exchange, serve func(context.Context, *exchange) (response.Reply, error)) (reply response.Reply, err error) {
	defer recovered(&err)
	ctx := r.Context()
	x.now, x.address = h.now(), h.addresses.of(r)
	if x.form, err = h.tokenParser.parse(w, r); err != nil {
		return reply, err
	}
	if err = h.authenticate(ctx, x); err != nil {
		return reply, err
	}
	if err = h.limitClient(ctx, x, x.client); err != nil {
		return reply, err
	}
	if x.form.get("token") == "" {
		return reply, response.Missing("token")
	}
	return serve(ctx, x)
}

func (h *Handler) revokeToken(ctx context.Context, x *exchange, token string) error {
	if strings.HasPrefix(token, "r.") {
		return h.revokeRefresh(ctx, x, token)
	}
	c, err := h.readToken(ctx, token)
	switch {
	case errors.Is(err, errToken):
		return nil
	case err != nil:
		return err
	case c.clientID != x.client.ID:
		return response.Fail(response.GrantRefused)
	}
	if err := h.deny(ctx, c); err != nil {
		return err
	}
	h.revoked(ctx, x.now, Event{Place: response.Endpoint, ClientID: c.clientID, Subject: c.subject, TokenID: c.id, Address: x.address, Status: http.StatusOK})
	return nil
}

// readToken reads an access token of a form as the guard does that of a header:
// what decodes base64 skips line breaks.
func (h *Handler) readToken(ctx context.Context, token string) (*claims, error) {
	if !isToken68(token) {
		return nil, errToken
	}
	return h.codec.verify(ctx, token)
}

func (h *Handler) revokeRefresh(ctx context.Context, x *exchange, token string) error {
	t, ok := authz.ParseRefresh(token)
	if !ok {
		return nil
	}
	rec, _, err := authz.Load(ctx, h.state, t.Family)
	switch {
	case err != nil:
		return err
	case rec == nil || rec.Realm != h.realm || !t.IsOf(rec):
		return nil
	case rec.Client != x.client.ID:
		return response.Fail(response.GrantRefused)
	}
	if err := authz.Revoke(ctx, h.state, t.Family); err != nil {
		return err
	}
	h.revoked(ctx, x.now, Event{Place: response.Endpoint, ClientID: rec.Client, Subject: rec.Subject, Address: x.address, Status: http.StatusOK})
	return nil
}
