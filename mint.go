package tokenbooth

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

const maxSubject = 256 // bytes

// mint makes the access token of what a grant decided to issue.
func (h *Handler) mint(ctx context.Context, x *exchange) (string, error) {
	x.token = claims{
		subject:  clientSubjectPrefix + x.client.ID,
		clientID: x.client.ID,
		scope:    strings.Join(x.issue.Scopes, " "),
		readOnly: x.issue.ReadOnly,
		issued:   x.now,
		expires:  x.now.Add(h.ttl),
	}
	if user := x.issue.User; user != nil {
		if user.ID == "" || len(user.ID) > maxSubject || strings.HasPrefix(user.ID, clientSubjectPrefix) {
			return "", errors.New("tokenbooth: a user's subject must have 1 to 256 bytes and not begin with " + clientSubjectPrefix)
		}
		x.token.subject, x.token.username = user.ID, user.Username
	}
	token, err := h.codec.mint(ctx, &x.token)
	if err != nil {
		return "", fmt.Errorf("tokenbooth: minting: %w", err)
	}
	return token, nil
}
