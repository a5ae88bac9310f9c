package tokenbooth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// credentials is one reading of what a client sent to authenticate.
type credentials struct {
	id, secret string
	method     string // store.AuthBasic, AuthPost or AuthNone
}

// readings returns the ways to read the credentials of a request, in room: one, or
// for a Basic header whose two readings differ, both (C1).
func readings(room *[2]credentials, f *form) ([]credentials, error) {
	if b := f.basic; b != nil {
		return basicReadings(room, b), nil
	}
	c := &room[0]
	c.id, c.secret, c.method = f.get("client_id"), f.get("client_secret"), store.AuthPost
	if c.id == "" {
		return nil, response.Missing("client_id")
	}
	if c.secret == "" {
		c.method = store.AuthNone
	}
	return room[:1], nil
}

func basicReadings(room *[2]credentials, b *basicCredentials) []credentials {
	all := room[:0]
	if b.decoded {
		all = append(all, basicReading(b.id, b.secret))
	}
	if raw := basicReading(b.rawID, b.rawSecret); !b.decoded || raw != all[0] {
		all = append(all, raw)
	}
	return all
}

// basicReading: many clients send a public client's id with an empty password.
func basicReading(id, secret string) credentials {
	if secret == "" {
		return credentials{id, "", store.AuthNone}
	}
	return credentials{id, secret, store.AuthBasic}
}

// authenticate finds out which client asks (RFC 6749 §2.3, §3.2.1). Credentials
// that are sent are verified on every grant (C3); a failure is charged to the
// claimed id and the address, once, and only after the verification, so that
// nobody locks a client out (L1).
func (h *Handler) authenticate(ctx context.Context, x *exchange) error {
	var room [2]credentials
	all, err := readings(&room, x.form)
	if err != nil {
		return err
	}
	if all[0].method == store.AuthNone {
		if err := h.take(ctx, anonKey(x.address, "anonymous", ""), h.clientLimit); err != nil {
			return err
		}
	}
	var refusal *response.Failure
	for i := range all {
		refusal, err = h.identify(ctx, x, &all[i])
		if err != nil || refusal == nil {
			return err
		}
		if x.refused != nil {
			if err := h.limitClient(ctx, x, x.refused); err != nil {
				return err
			}
		}
		if refusal.Code != response.InvalidClient {
			return refusal
		}
	}
	if err := h.chargeFailure(ctx, x, all[0].id); err != nil {
		return err
	}
	return refusal
}

// chargeFailure takes from the bucket of the claimed id at this address, once
// for a request.
func (h *Handler) chargeFailure(ctx context.Context, x *exchange, claimed string) error {
	if x.charged {
		return nil
	}
	x.charged = true
	return h.take(ctx, anonKey(x.address, "client", claimed), h.failureLimit)
}

// identify tries one reading: x.client is set, or it says why not. An error is
// the store's.
func (h *Handler) identify(ctx context.Context, x *exchange, c *credentials) (*response.Failure, error) {
	if !x.names.areOf(c.id) { // whoever was here just now has a bucket that is near
		h.expect(x.nameClient(c.id).bucket)
	}
	client, err := h.lookUp(ctx, c.id)
	if err != nil {
		return nil, err
	}
	if client != nil {
		x.named = client.ID
		x.describe(client)
	}
	if c.method == store.AuthNone {
		return h.identifyPublic(x, client), nil
	}
	matches, err := h.checkSecret(ctx, x, client, c)
	if err != nil {
		return nil, err
	}
	switch {
	case client == nil:
		return response.Fail(response.ClientUnknown), nil
	case !matches || client.Public || client.AuthMethod != "" && client.AuthMethod != c.method:
		return response.Fail(response.SecretWrong), nil
	case client.Disabled:
		x.refused = client
		return response.Fail(response.ClientDisabled), nil
	case client.LongLived:
		x.refused = client
		return response.Fail(response.ClientLongLived), nil
	}
	x.client, x.authenticated = client, true
	return nil, nil
}

// describe takes what the answer will say of the client, if it is given one, now:
// the processor fetches the rest of the record while it computes.
func (x *exchange) describe(client *store.Client) {
	s := &x.subject
	s.ID, s.Number, s.Name, s.Description, s.Roles = client.ID, client.Number, client.Name, client.Description, client.Roles
}

// identifyPublic admits a public client by its name alone. Where the grant is
// not for public clients a secret is missing, whoever is named; where it is, a
// client that has a secret looks like one that is not there (C4, C6).
func (h *Handler) identifyPublic(x *exchange, client *store.Client) *response.Failure {
	if mayBeAnonymous(client) {
		x.client = client
		return nil
	}
	if !x.grant.public {
		return response.Missing("client_secret")
	}
	return response.Fail(response.ClientUnknown)
}

func mayBeAnonymous(c *store.Client) bool {
	return c != nil && c.Public && len(c.Secrets) == 0 && !c.Disabled && !c.LongLived &&
		(c.AuthMethod == "" || c.AuthMethod == store.AuthNone)
}

// lookUp returns the client, or nil where there is none: an id that no client
// can have never reaches the store (P8).
func (h *Handler) lookUp(ctx context.Context, id string) (*store.Client, error) {
	if !clean(id) {
		return nil, nil
	}
	return findClient(ctx, h.clients, id)
}

func findClient(ctx context.Context, clients ClientStore, id string) (*store.Client, error) {
	if _, local := clients.(*store.Memory); !local {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, storeTimeout)
		defer cancel()
	}
	client, err := clients.Client(ctx, id)
	switch {
	case err == nil && client != nil && client.ID == id:
		return client, nil
	case errors.Is(err, store.ErrNotFound) && !isTemporary(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("tokenbooth: client store: %w", err)
	case client == nil:
		return nil, errors.New("tokenbooth: the client store returned neither a client nor an error")
	case strings.EqualFold(strings.TrimSpace(client.ID), strings.TrimSpace(id)):
		return nil, nil // from a database that compares without case or padding
	}
	return nil, errors.New("tokenbooth: the client store returned another client than was asked for")
}

// mayUse says whether the record of the client allows the grant (C9).
func mayUse(client *store.Client, grantType string) error {
	if slices.Contains(client.Grants, grantType) {
		return nil
	}
	return response.Fail(response.GrantNotAllowed)
}
