package grant

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// maxRounds bounds how often a change that has to be made starts over.
const maxRounds = 8

// An Authorization is what a user allowed a client, as far as the tokens of it
// have to tell.
type Authorization struct {
	key                       string // of its record
	scope                     string // of this exchange, before the client's record is looked at
	openID                    bool
	nonce                     string
	authTime                  int64
	subjectEpoch, clientEpoch int64
}

// A granted is the issue of an authorization and all that hangs on it, in one piece
// of memory.
type granted struct {
	used          bool // but for the issue
	issue         Issue
	user          response.Subject
	authorization Authorization
	scopes        [4]string
	change        change
	commit        func(context.Context) error // of the change
	found, record [448]byte                   // as they are stored: before, and after the change
}

// issueOf is what a client gets of the authorization at the key: the scopes, as far
// as its record still allows them.
func issueOf(r *Request, rec *authz.Record, key, scope string) *granted {
	g := r.newGranted()
	g.used = true
	g.user = response.Subject{ID: rec.Subject, Username: rec.User}
	g.authorization = Authorization{
		key, scope, rec.OpenID, rec.OIDCNonce, rec.AuthTime.Unix(), rec.SubjectEpoch, rec.ClientEpoch,
	}
	g.issue = Issue{User: &g.user, Scopes: g.scopes[:0], Authorization: &g.authorization}
	for more := scope != ""; more; {
		var s string
		if s, scope, more = strings.Cut(scope, " "); slices.Contains(r.Client.Scopes, s) {
			g.issue.Scopes = append(g.issue.Scopes, s)
		}
	}
	return g
}

// alarm is a refusal that tells those who watch whose authorization it was.
func alarm(reason response.Reason, rec *authz.Record) error {
	f := response.Fail(reason)
	f.Subject = rec.Subject
	return f
}

// commits has the issue swap the record when the answer is ready.
func (g *granted) commits(r *Request, old []byte, next *authz.Record) {
	g.change = change{r.State, g.authorization.key, old, next.AppendTo(g.record[:0]), next.Expires()}
	if g.commit == nil {
		g.commit = g.change.commit
	}
	g.issue.Commit = g.commit
}

// A change is the one of an exchange that consumes something.
type change struct {
	state    store.State
	key      string
	old, val []byte
	expires  time.Time
}

func (c *change) commit(ctx context.Context) error {
	swapped, err := authz.SwapEncoded(ctx, c.state, c.key, c.old, c.val, c.expires)
	if err == nil && !swapped {
		return ErrConflict
	}
	return err
}

// load reads the record at the key that nothing has revoked as a whole, into rec: it
// need not outlive the exchange.
func load(ctx context.Context, r *Request, key string, rec *authz.Record) (raw []byte, err error) {
	var room []byte
	if r.room != nil {
		r.room.used = true
		room = r.room.found[:0]
	}
	raw, ok, err := authz.LoadTo(ctx, r.State, key, rec, room)
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
	subject, client, err := authz.Epochs(ctx, r.State, rec.Subject, rec.Client)
	if err != nil {
		return err
	}
	if rec.SubjectEpoch < subject || rec.ClientEpoch < client {
		return response.Fail(response.GrantRefused)
	}
	return nil
}

// Family is the public name of the authorization, which its tokens carry.
func (a *Authorization) Family() string { return authz.FamilyIn(a.key) }

// Scope is that of its tokens, but for what the client's record allows no more.
func (a *Authorization) Scope() string { return a.scope }

// OpenID says whether an id_token was asked for, and returns what it needs.
func (a *Authorization) OpenID() (nonce string, authTime int64, ok bool) {
	return a.nonce, a.authTime, a.openID
}

// Epochs are those that the tokens of the authorization carry.
func (a *Authorization) Epochs() (subject, client int64) {
	return a.subjectEpoch, a.clientEpoch
}
