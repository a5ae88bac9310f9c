package grant

import (
	"context"
	"slices"
	"strings"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/response"
)

// maxRounds bounds how often a change that has to be made starts over.
const maxRounds = 8

// An Authorization is what a user allowed a client, as far as the tokens of it
// have to tell.
type Authorization struct {
	family                    authz.Family
	openID                    bool
	nonce                     string
	authTime                  int64
	subjectEpoch, clientEpoch int64
}

func authorizationOf(rec *authz.Record, family authz.Family) Authorization {
	return Authorization{family, rec.OpenID, rec.OIDCNonce, rec.AuthTime.Unix(), rec.SubjectEpoch, rec.ClientEpoch}
}

// issueOf is what a client gets of an authorization: the scopes, as far as its
// record still allows them.
func issueOf(r *Request, rec *authz.Record, family authz.Family, scope string) *Issue {
	allowed := slices.DeleteFunc(strings.Fields(scope), func(s string) bool {
		return !slices.Contains(r.Client.Scopes, s)
	})
	all := &struct { // in one piece
		issue         Issue
		user          response.Subject
		authorization Authorization
	}{
		user:          response.Subject{ID: rec.Subject, Username: rec.User},
		authorization: authorizationOf(rec, family),
	}
	all.issue = Issue{User: &all.user, Scopes: allowed, Authorization: &all.authorization}
	return &all.issue
}

// alarm is a refusal that tells those who watch whose authorization it was.
func alarm(reason response.Reason, rec *authz.Record) error {
	f := response.Fail(reason)
	f.Subject = rec.Subject
	return f
}

// commit swaps the record when the answer is ready.
func commit(r *Request, family authz.Family, old []byte, next *authz.Record) func(context.Context) error {
	val, expires := next.Encode(), next.Expires()
	return func(ctx context.Context) error {
		swapped, err := authz.SwapEncoded(ctx, r.State, family, old, val, expires)
		if err == nil && !swapped {
			return ErrConflict
		}
		return err
	}
}

// load reads the record of a family that nothing has revoked as a whole, into rec:
// it need not outlive the exchange.
func load(ctx context.Context, r *Request, family authz.Family, rec *authz.Record) (raw []byte, err error) {
	raw, ok, err := authz.LoadTo(ctx, r.State, family, rec)
	if err != nil {
		return nil, err
	}
	if !ok || rec.Realm != r.Realm {
		return nil, response.Fail(response.GrantRefused)
	}
	return raw, liveEpochs(ctx, r, rec)
}

// liveEpochs refuses what was authorized before everything of the subject or the
// client was revoked.
func liveEpochs(ctx context.Context, r *Request, rec *authz.Record) error {
	epoch, err := authz.Epoch(ctx, r.State, authz.SubjectEpochKey(rec.Subject))
	if err != nil {
		return err
	}
	if rec.SubjectEpoch < epoch {
		return response.Fail(response.GrantRefused)
	}
	epoch, err = authz.Epoch(ctx, r.State, authz.ClientEpochKey(rec.Client))
	if err != nil {
		return err
	}
	if rec.ClientEpoch < epoch {
		return response.Fail(response.GrantRefused)
	}
	return nil
}

// Family is the public name of the authorization, which its tokens carry.
func (a *Authorization) Family() string { return string(a.family[:]) }

// OpenID says whether an id_token was asked for, and returns what it needs.
func (a *Authorization) OpenID() (nonce string, authTime int64, ok bool) {
	return a.nonce, a.authTime, a.openID
}

// Epochs are those that the tokens of the authorization carry.
func (a *Authorization) Epochs() (subject, client int64) {
	return a.subjectEpoch, a.clientEpoch
}
