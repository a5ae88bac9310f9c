package tokenbooth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/internal/jsontext"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// A Handler is an OAuth 2 token endpoint (RFC 6749 §3.2). Mount it under any
// path; it looks at none. It is safe for concurrent use and starts no goroutine.
type Handler struct {
	reporter
	issuer        string
	audience      string
	realm         [8]byte
	clients       ClientStore
	formatter     ResponseFormatter
	conventions   response.Conventions
	parser        *formParser
	tokenParser   *formParser // of revocation and introspection
	addresses     *addresses
	grants        []grantEntry
	codec         codec
	state         *boundedState
	keys          *KeyRing
	lifetimes     grant.Lifetimes
	defaultScopes []string
	limiter       Limiter
	clientLimit   Limit
	failureLimit  Limit
	slow          *slowSecrets // nil unless opted in
	now           func() time.Time
	guard         *Guard
	tickets       sealer
	crossOrigin   *http.CrossOriginProtection
	alwaysRefresh bool
	userClaims    func(context.Context, string, []string) (map[string]any, error)
}

// A grantEntry is a grant and what it said of itself when the handler was made.
type grantEntry struct {
	grant.Grant
	name      string
	public    bool
	local     bool // it never waits for anything
	ours      bool // nothing of a request that it sees is kept
	limitKeys func(*grant.Request) []string
}

// An exchange is one request on its way, and memory that is used again.
type exchange struct {
	passing
	request  grant.Request
	names    clientNames   // of the client named last
	room     *mintRoom     // where the access token is, if it is in no string; made when needed
	bodyRoom jsontext.Room // the same token, and where the body goes
	lane     uint8         // for its bodies
}

// passing is what is forgotten with the request.
type passing struct {
	now           time.Time
	address       netip.Prefix
	form          *form
	grant         *grantEntry // never nil
	client        *store.Client
	authenticated bool
	charged       bool          // the failure bucket was asked already
	named         string        // the client that is named, if it is registered; for events
	refused       *store.Client // who showed the right secret and is refused all the same
	scopes        []string
	issue         *grant.Issue
	token         claims
	idToken       string

	// In one piece with the rest: what the steps hand on.
	formRoom form
	answer   response.Token
	subject  response.Subject
}

// NewHandler returns a handler, or an error that joins a [ConfigError] for each
// mistake.
func NewHandler(c HandlerConfig) (*Handler, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Keys == nil && (needsKeys(c.Tokens) || signsIDTokens(c.Grants)) {
		ring, err := temporaryKeys(c.Logger)
		if err != nil {
			return nil, err
		}
		c.Keys = ring
	}
	h := &Handler{
		reporter:      reporter{c.Logger, c.Events},
		issuer:        c.Issuer,
		audience:      c.Audience,
		realm:         authz.RealmOf(c.Issuer, c.Audience),
		clients:       c.Clients,
		formatter:     c.Formatter,
		conventions:   response.ConventionsOf(c.Formatter),
		addresses:     addressesOf(c.TrustedProxies, c.Logger),
		codec:         c.Tokens.codec(codecConfig{issuer: c.Issuer, audience: c.Audience, keys: c.Keys, state: c.State}),
		keys:          c.Keys,
		state:         bounded(c.State),
		lifetimes:     lifetimesOf(&c),
		defaultScopes: slices.Clone(c.DefaultScopes),
		limiter:       c.Limiter,
		clientLimit:   c.Limit,
		failureLimit:  c.FailureLimit,
		now:           c.Now,
		tickets:       newSealer(c.TicketKey.Material),
		crossOrigin:   http.NewCrossOriginProtection(),
		alwaysRefresh: c.AlwaysRefresh,
		userClaims:    c.UserClaims,
	}
	if c.SlowSecrets {
		h.slow = newSlowSecrets(c.Clients, c.SecretVerifier, c.Logger)
	}
	h.parser = newFormParser(h.conventions, h.addGrants(c.Grants))
	h.tokenParser = newFormParser(h.conventions, []string{"token", "token_type_hint"})
	h.guard = h.newGuard()
	return h, nil
}

func temporaryKeys(logger *slog.Logger) (*KeyRing, error) {
	logger.Warn("tokenbooth: HandlerConfig.Keys is nil: tokens are signed with a key made now and end with this process")
	key, err := GenerateKey("ES256")
	if err != nil {
		return nil, err
	}
	return NewKeyRing(key)
}

func addressesOf(trusted []netip.Prefix, logger *slog.Logger) *addresses {
	return newAddresses(trusted, func() {
		defer func() { _ = recover() }() // a log must not stop what it is about
		logger.Warn("tokenbooth: requests come from a private address with X-Forwarded-For: name the proxy's network in TrustedProxies, or all callers share its limits")
	})
}

// addGrants asks each grant once what it is, and returns the parameters that
// they read beyond the usual ones.
func (h *Handler) addGrants(grants []grant.Grant) (parameters []string) {
	for _, g := range grants {
		entry := grantEntry{Grant: g, name: g.Type()}
		if p, ok := g.(grant.PublicClients); ok {
			entry.public = p.PublicClients()
		}
		if l, ok := g.(grant.LimitKeyer); ok {
			entry.limitKeys = l.LimitKeys
		}
		if p, ok := g.(grant.Parameters); ok {
			parameters = append(parameters, p.Parameters()...)
		}
		entry.ours = isOurGrant(g) && isOurFormatter(h.formatter)
		entry.local = isOurGrant(g) && h.isLocal()
		h.grants = append(h.grants, entry)
	}
	return parameters
}

// grant returns nil where there is no such grant.
func (h *Handler) grant(name string) *grantEntry {
	for i := range h.grants {
		if h.grants[i].name == name {
			return &h.grants[i]
		}
	}
	return nil
}

// isOurGrant knows the grants that call nothing of the host's but its State.
func isOurGrant(g grant.Grant) bool {
	switch g.(type) {
	case grant.ClientCredentials, grant.Implicit, grant.AuthorizationCode, grant.RefreshToken:
		return true
	}
	return false
}

func isOurFormatter(f ResponseFormatter) bool {
	switch f.(type) {
	case response.OAuth, response.Data, response.Meta, response.Coded, response.Content:
		return true
	}
	return false
}

// isLocal says whether there is nothing to wait for behind our own grants: no
// State elsewhere, and no claims that the host finds out.
func (h *Handler) isLocal() bool { return h.state.local && h.userClaims == nil }

// ServeHTTP answers one token request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchanges.Get().(*exchange)
	reply, err := h.answer(w, r, x)
	if err != nil {
		if x.now.IsZero() {
			x.now = time.Now() // a panic of the host's code came first, and its clock may be that code
		}
		h.refuse(w, r, x, err)
		return
	}
	h.issued(r.Context(), x, reply.Status)
	if write(w, reply) == nil { // 10. write: write.go
		x.leave(reply.Body)
	}
}

// exchanges are used again where all went well and nobody else has seen them: a
// grant or a formatter of the host's may keep what it was given.
var exchanges = sync.Pool{New: func() any {
	x := &exchange{lane: anyLane()}
	x.begin()
	return x
}}

// begin makes it ready for a request.
func (x *exchange) begin() {
	x.passing = passing{}
	x.grant = &noGrant
	x.formRoom.time.lane = x.lane
}

// noGrant is that of requests which name none.
var noGrant grantEntry

// newExchange is for what is not asked for at the token endpoint.
func (h *Handler) newExchange(r *http.Request) *exchange {
	return &exchange{passing: passing{grant: &noGrant, now: h.now(), address: h.addresses.of(r)}}
}

// leave forgets the request and its body, whose secrets nobody is to find here.
func (x *exchange) leave(body []byte) {
	if !x.grant.ours || x.issue.Commit != nil && !x.grant.local {
		return // somebody else's code may have kept something of it
	}
	x.wipe(body)
	if cap(body) > maxMintRoom {
		body = nil
	}
	x.request.Forget()
	x.bodyRoom = jsontext.Room{Body: body[:0]}
	x.begin()
	exchanges.Put(x)
}

// wipe leaves nothing of an answer that our own code made.
func (x *exchange) wipe(body []byte) {
	clear(body)
	if x.room != nil {
		x.room.wipe()
	}
}

// answer is the way of a request. Whatever goes wrong on it, a panic of the
// host's code included, is an error.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, x *exchange) (reply response.Reply, err error) {
	defer recovered(&err)
	ctx := r.Context()
	x.address = h.addresses.of(r)
	if err = h.parser.parseTo(&x.formRoom, w, r); err != nil { // 1. parse: form.go
		x.now = h.now()
		return reply, err
	}
	x.form = &x.formRoom
	x.now = h.now()                         // after the body, which may take 5 s: the grace of a refresh token is 10
	if err = h.chooseGrant(x); err != nil { // 2. choose the grant
		return reply, err
	}
	if err = h.authenticate(ctx, x); err != nil { // 3. authenticate the client, behind limits: client.go
		return reply, err
	}
	entitled := h.entitle(x)
	if err = h.limit(ctx, x, entitled == nil); err != nil { // 4. limit by grant and by client: throttle.go
		return reply, err
	}
	if entitled != nil { // 5. the client's grants and scopes
		return reply, entitled
	}
	return h.issueToken(ctx, x) // 6. to 9.
}

func (h *Handler) chooseGrant(x *exchange) error {
	name := x.form.get("grant_type")
	if name == "" {
		name = h.conventions.DefaultGrant
	}
	if name == "" {
		return response.Missing("grant_type")
	}
	entry := h.grant(name)
	if entry == nil {
		return response.Fail(response.GrantUnsupported)
	}
	x.grant = entry
	return nil
}

// entitle checks what no grant may forget: that the record allows this grant
// and each scope that was asked for.
func (h *Handler) entitle(x *exchange) error {
	if err := mayUse(x.client, x.grant.name); err != nil {
		return err
	}
	if !x.authenticated && !x.grant.public {
		return response.Fail(response.GrantNotAllowed)
	}
	return h.checkScopes(x)
}

const (
	maxRounds = 8 // how often a conflict starts over
	// exchangeTimeout bounds what a grant does, all rounds of it together: a
	// hash that has to wait for others, or several calls of a store.
	exchangeTimeout = 8 * time.Second
)

// issueToken exchanges, mints, formats and commits, in this order: nothing is
// consumed before the answer is ready (G5). Whoever loses a race starts over.
func (h *Handler) issueToken(ctx context.Context, x *exchange) (response.Reply, error) {
	if x.grant.local {
		return h.issueInRounds(ctx, x)
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	return h.issueInRounds(ctx, x)
}

func (h *Handler) issueInRounds(ctx context.Context, x *exchange) (reply response.Reply, err error) {
	for range maxRounds {
		if x.issue, err = x.grant.Exchange(ctx, h.request(x)); err != nil { // 6. exchange: package grant
			return reply, err
		}
		if x.issue == nil {
			return reply, errors.New("tokenbooth: the grant returned neither an issue nor an error")
		}
		token, err := h.mint(ctx, x) // 7. mint: mint.go, idtoken.go
		if err != nil {
			return reply, err
		}
		if reply, err = h.formatToken(x, token); err != nil { // 8. format: package response
			return reply, err
		}
		if x.issue.Commit == nil {
			return reply, nil
		}
		if err = x.issue.Commit(ctx); !errors.Is(err, grant.ErrConflict) { // 9. commit
			return reply, err
		}
		x.request.Conflict = true
		x.token = claims{}
		if x.grant.ours {
			x.wipe(reply.Body)
		}
	}
	return reply, because(response.Unavailable, grant.ErrConflict)
}

// request is what grants see, made when it is first asked for, which is after
// the scopes were checked.
func (h *Handler) request(x *exchange) *grant.Request {
	if x.request.State != nil {
		return &x.request
	}
	r := &x.request
	if !x.grant.ours {
		*r = grant.Request{} // without the memory that is used again
	}
	r.State = h.state.forGrants()
	r.Realm = h.realm
	r.Lifetimes = h.lifetimes
	r.ChallengeProves = h.conventions.ChallengeProves

	r.GrantType = x.grant.name
	r.Client = x.client
	r.Authenticated = x.authenticated
	r.Scopes = x.scopes
	r.DefaultScopes = h.defaultScopes
	r.Address = x.address
	r.Now = x.now
	r.Params = x.form.params
	return r
}

func (h *Handler) formatToken(x *exchange, token string) (response.Reply, error) {
	t := &x.answer
	t.AccessToken = token
	t.Type = "Bearer"
	t.ExpiresIn = int(h.lifetimes.Access / time.Second)
	t.ExpiresAt = x.token.expires
	t.Scope = x.token.scope
	t.RefreshToken = x.issue.RefreshToken
	t.IDToken = x.idToken
	t.GrantType = x.grant.name
	t.Client = &x.subject
	t.User = x.issue.User
	t.Room = nil
	if token == "" && x.room != nil {
		x.bodyRoom.Token = x.room.token
		t.Room = &x.bodyRoom
	}
	reply, err := h.formatter.Token(t)
	if err == nil {
		err = checkReply(reply)
	}
	return reply, err
}

func (h *Handler) issued(ctx context.Context, x *exchange, status int) {
	e := Event{
		Kind: "token_issued", Time: x.now, Place: response.Endpoint, Status: status,
		ClientID: x.client.ID, Subject: x.token.subject, TokenID: x.token.id,
		Grant: x.grant.name, Scope: x.token.scope, Address: x.address,
	}
	h.report(ctx, &e)
	if x.issue.StateLostWrites {
		e.Kind = "state_behind"
		h.report(ctx, &e)
	}
}

// refuse answers an error in the envelope: errors.go, write.go.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, x *exchange, err error) {
	f := failureOf(err, response.Endpoint)
	reply, f := format(h.formatter, f)
	challenge := ""
	if reply.Status == http.StatusUnauthorized && x.form != nil && x.form.basic != nil {
		challenge = basicChallenge(h.issuer)
	}
	e := Event{
		Kind: kindOf(f), Time: x.now, Place: f.Place, Reason: f.Reason, Status: reply.Status,
		ClientID: x.named, Subject: f.Subject, Grant: x.grant.name, Scope: f.Scope, Address: x.address, Err: f.Err,
	}
	h.report(r.Context(), &e)
	writeFailure(w, reply, f, challenge)
}

// Guard returns the guard for routes of the same process: it shares the keys,
// the state, the limits and the envelope, and needs no leeway. Each client's record
// is read at most once a minute: its rate, and whether it is still there.
func (h *Handler) Guard() *Guard { return h.guard }
