package tokenbooth

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

const maxSubject = 256 // bytes

// mint makes the access token of what a grant decided to issue. x.token is empty.
func (h *Handler) mint(ctx context.Context, x *exchange) (string, error) {
	c := &x.token
	c.subject = x.nameClient(x.client.ID).subject
	c.clientID = x.client.ID
	c.scope = joined(x.issue.Scopes, x.scopeText())
	c.readOnly = x.issue.ReadOnly
	c.issued = x.now
	c.expires = x.now.Add(h.lifetimes.Access)
	if user := x.issue.User; user != nil {
		if err := checkSubject(user.ID); err != nil {
			return "", err
		}
		c.subject, c.username = user.ID, user.Username
	}
	if err := h.bind(ctx, x); err != nil {
		return "", err
	}
	token, err := h.mintAccessToken(ctx, x)
	if err != nil {
		return "", fmt.Errorf("tokenbooth: minting: %w", err)
	}
	if x.idToken, err = h.mintIDToken(ctx, x, token); err != nil {
		return "", fmt.Errorf("tokenbooth: minting the id_token: %w", err)
	}
	return token, nil
}

// scopeText is what the scopes are likely to be when joined.
func (x *exchange) scopeText() string {
	if a := x.issue.Authorization; a != nil {
		return a.Scope()
	}
	return x.formRoom.get("scope")
}

// mintAccessToken leaves a JWT in the room of the request, where only our own
// code will look for it; else it returns the token.
func (h *Handler) mintAccessToken(ctx context.Context, x *exchange) (string, error) {
	if jwt, ok := h.codec.(*jwtCodec); ok && x.grant.ours && !wantsIDToken(x.issue) {
		if x.room == nil {
			x.room = newMintRoom()
		}
		return "", jwt.mintIn(x.room, &x.token)
	}
	return h.codec.mint(ctx, &x.token)
}

func checkSubject(subject string) error {
	if subject == "" || len(subject) > maxSubject || strings.HasPrefix(subject, clientSubjectPrefix) || !clean(subject) {
		return errors.New("tokenbooth: a user's subject must be text of 1 to 256 bytes and not begin with " + clientSubjectPrefix)
	}
	return nil
}

// bind gives the token what revocation is keyed on: its family, and the epochs
// of its authorization, or the one of now where there is no authorization.
func (h *Handler) bind(ctx context.Context, x *exchange) error {
	if a := x.issue.Authorization; a != nil {
		x.token.family = a.Family()
		x.token.subjectEpoch, x.token.clientEpoch = a.Epochs()
		return nil
	}
	return x.token.readEpochs(ctx, h.state, x.names.epoch)
}
