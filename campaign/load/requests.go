package load

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// A system is one token endpoint of the example servers, and a route that its
// tokens open.
type system struct {
	issues, opens string // paths
	scope         string
	opaque        bool // its tokens are kept in the State
}

var (
	users   = &system{issues: "/oauth2/tokens", opens: "/oauth2/whoami", scope: "customers:read"}
	systems = []*system{
		{issues: "/adminczar/api/v1/oauth2/token", opens: "/adminczar/api/v1/whoami"},
		{issues: "/oauth/access_token", opens: "/v2/products", opaque: true},
		users,
		{issues: "/v1/auth/token", opens: "/v1/whoami", opaque: true},
		{issues: "/auth/token", opens: "/event/whoami"},
	}
)

// An accessToken is one that a client holds.
type accessToken struct {
	text   string
	system *system
	got    time.Duration
	family string
	owner  *client
}

// credentials are in the body, as all systems take them.
func (c *client) credentials(form url.Values) url.Values {
	form.Set("client_id", c.ID)
	if !c.Public {
		form.Set("client_secret", c.Secret)
	}
	return form
}

// mint gets a token for a client itself; nil when it does not get one.
func (a *actor) mint(c *client, s *system) *accessToken {
	op := &ledger.Op{Kind: ledger.Mint, Copy: a.pick(), Client: c.ID, Writes: s.opaque}
	form := c.credentials(url.Values{"grant_type": {"client_credentials"}})
	if s.scope != "" && slices.Contains(c.Scopes, s.scope) {
		form.Set("scope", s.scope)
	}
	var got tokens
	a.post(op, s.issues, form, got.read(op, a.TokenLife))
	if op.Outcome != ledger.OK {
		return nil
	}
	return &accessToken{text: got.Access, system: s, got: op.End, owner: c}
}

// visit shows a token to a route.
func (a *actor) visit(t *accessToken) {
	op := &ledger.Op{Kind: ledger.Guard, Copy: a.pick(), Client: t.owner.ID, Sent: ledger.Hash(t.text), Family: t.family}
	a.send(op, "GET", t.system.opens, nil, http.Header{"Authorization": {"Bearer " + t.text}}, nil)
}

// introspect asks whether a token is good, as its client.
func (a *actor) introspect(t *accessToken) {
	op := &ledger.Op{Kind: ledger.Introspect, Copy: a.pick(), Client: t.owner.ID, Sent: ledger.Hash(t.text), Family: t.family}
	var seen struct{ Active bool }
	a.post(op, "/oauth2/tokens/introspect", t.owner.credentials(url.Values{"token": {t.text}}), func(r *answer) error {
		err := json.Unmarshal(r.body, &seen)
		if err == nil && !seen.Active {
			op.Outcome = ledger.Refused
		}
		return err
	})
}

// revoke ends an access token; it asks again until it is told so.
func (a *actor) revoke(ctx context.Context, t *accessToken) bool {
	return a.insist(ctx, func() ledger.Outcome {
		op := &ledger.Op{Kind: ledger.Revoke, Copy: a.pick(), Client: t.owner.ID, Sent: ledger.Hash(t.text), Family: t.family, Writes: true}
		a.post(op, "/oauth2/tokens/revoke", t.owner.credentials(url.Values{"token": {t.text}}), nil)
		return op.Outcome
	}) == ledger.OK
}

// insist repeats a request until there is an answer that decides, for as long as a
// client would. It returns the last outcome.
func (a *actor) insist(ctx context.Context, try func() ledger.Outcome) ledger.Outcome {
	until := a.Book.Now() + persistence
	for {
		outcome := try()
		switch outcome {
		case ledger.OK, ledger.Refused, ledger.Wrong, ledger.Late: // who was not answered in time stops
			return outcome
		}
		if a.Book.Now() > until || !a.wait(ctx, 30*time.Millisecond, 200*time.Millisecond) {
			return outcome
		}
	}
}

// A grantee is a client with an authorization of a person.
type grantee struct {
	*actor
	client   *client
	family   string
	code     string
	verifier string
	access   *accessToken
	refresh  string
}

var ticketField = regexp.MustCompile(`name="ticket" value="([^"]+)"`)

var errNoTicket = errors.New("no ticket in the page")

// login lets the actor's person allow a client something; nil when that fails. Both
// halves may be served by different copies.
func (a *actor) login(c *client) *grantee {
	g := &grantee{actor: a, client: c, verifier: rand.Text() + rand.Text()}
	challenge := sha256.Sum256([]byte(g.verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {c.ID}, "redirect_uri": {redirectURI}, "state": {rand.Text()}, "scope": {scopes},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	path := "/oauth2/authorize?" + q.Encode()
	var ticket, cookie string
	op := &ledger.Op{Kind: ledger.Login, Copy: a.pick(), Client: c.ID}
	a.send(op, "GET", path, nil, nil, func(r *answer) error {
		m := ticketField.FindSubmatch(r.body)
		if m == nil {
			return errNoTicket
		}
		ticket = html.UnescapeString(string(m[1]))
		cookie, _, _ = strings.Cut(r.header.Get("Set-Cookie"), ";")
		return nil
	})
	if ticket == "" || !g.approve(path, ticket, cookie) {
		return nil
	}
	return g
}

// approve sends the form of the login page.
func (g *grantee) approve(path, ticket, cookie string) bool {
	op := &ledger.Op{Kind: ledger.Login, Copy: g.pick(), Client: g.client.ID, Writes: true}
	form := url.Values{"ticket": {ticket}, "username": {g.who.Username}, "password": {g.who.Password}, "decision": {"approve"}}
	g.send(op, "POST", path, strings.NewReader(form.Encode()), http.Header{"Cookie": {cookie}}, func(r *answer) error {
		at, err := url.Parse(r.header.Get("Location"))
		if err != nil {
			return err
		}
		switch q := at.Query(); {
		case q.Get("error") == "temporarily_unavailable":
			op.Outcome = ledger.Unavailable
			return nil
		case q.Get("code") == "":
			return errors.New("redirected with " + strconv.Quote(q.Get("error")))
		default:
			g.code = q.Get("code")
			g.family = familyOf(g.code)
			op.Family, op.Got, op.Life = g.family, ledger.Hash(g.code), g.CodeLife
			return nil
		}
	})
	return op.Outcome == ledger.OK
}

// familyOf is the public name of the authorization, the second part of its codes
// and refresh tokens.
func familyOf(text string) string {
	parts := strings.Split(text, ".")
	if len(parts) < 3 {
		return ""
	}
	return parts[1]
}

func generationOf(refresh string) uint64 {
	parts := strings.Split(refresh, ".")
	if len(parts) < 3 {
		return 0
	}
	gen, _ := strconv.ParseUint(parts[2], 10, 64)
	return gen
}

// redeem sends the code once.
func (g *grantee) redeem(to int) (ledger.Outcome, *tokens) {
	op := &ledger.Op{Kind: ledger.Redeem, Copy: to, Client: g.client.ID, Family: g.family, Sent: ledger.Hash(g.code), Writes: true}
	form := g.client.credentials(url.Values{
		"grant_type": {"authorization_code"}, "code": {g.code}, "redirect_uri": {redirectURI}, "code_verifier": {g.verifier},
	})
	got := new(tokens)
	g.post(op, users.issues, form, got.read(op, g.TokenLife))
	g.hold(op, got)
	return op.Outcome, got
}

// present sends a refresh token once.
func (g *grantee) present(to int, refresh string) (ledger.Outcome, *tokens) {
	op := &ledger.Op{
		Kind: ledger.Refresh, Copy: to, Client: g.client.ID, Family: g.family,
		Sent: ledger.Hash(refresh), Gen: generationOf(refresh), Writes: true,
	}
	form := g.client.credentials(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
	got := new(tokens)
	g.post(op, users.issues, form, got.read(op, g.TokenLife))
	g.hold(op, got)
	return op.Outcome, got
}

// hold gives what came to those who visit routes.
func (g *grantee) hold(op *ledger.Op, got *tokens) {
	if op.Outcome == ledger.OK {
		g.pool.put(g.token(op, got))
	}
}

func (g *grantee) token(op *ledger.Op, got *tokens) *accessToken {
	return &accessToken{text: got.Access, system: users, got: op.End, family: g.family, owner: g.client}
}

// end revokes the whole authorization, and asks again until it is told so.
func (g *grantee) end(ctx context.Context) bool {
	return g.insist(ctx, func() ledger.Outcome {
		op := &ledger.Op{
			Kind: ledger.Revoke, Copy: g.pick(), Client: g.client.ID, Family: g.family,
			Sent: ledger.Hash(g.refresh), Gen: generationOf(g.refresh), Writes: true,
		}
		g.post(op, "/oauth2/tokens/revoke", g.client.credentials(url.Values{"token": {g.refresh}}), nil)
		return op.Outcome
	}) == ledger.OK
}
