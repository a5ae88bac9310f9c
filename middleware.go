package tokenbooth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
)

// A Guard lets requests with a good access token through to the handlers that it
// guards (RFC 6750). It is safe for concurrent use and starts no goroutine.
//
// Of a JWT that it let through it remembers the signature and what the token says,
// in 32 MiB at most. Whether the key is still in use, times, revocation and limits
// are looked at on every request.
type Guard struct {
	reporter
	realm       string
	formatter   ResponseFormatter
	conventions response.Conventions
	addresses   *addresses
	codec       codec
	clients     *clientCache
	limiter     Limiter
	state       *boundedState // nil where revocation cannot be known
	leeway      time.Duration
	now         func() time.Time

	readOnlyWrites bool
}

// NewGuard returns a guard for another process than the handler's, or an error
// that joins a [ConfigError] for each mistake.
func NewGuard(c GuardConfig) (*Guard, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	of := codecConfig{issuer: c.Issuer, audience: c.Audience, keys: c.Keys, state: c.State}
	if c.JWKSURL != "" {
		of.remote = newRemoteKeys(c.JWKSURL, c.HTTPClient, c.Now)
	}
	return &Guard{
		reporter:    reporter{c.Logger, c.Events},
		realm:       c.Issuer,
		formatter:   c.Formatter,
		conventions: response.ConventionsOf(c.Formatter),
		addresses:   addressesOf(c.TrustedProxies, c.Logger),
		codec:       c.Tokens.codec(of),
		clients:     newClientCache(c.Clients, c.Limit),
		limiter:     c.Limiter,
		state:       bounded(c.State),
		leeway:      c.Leeway,
		now:         c.Now,
	}, nil
}

func (h *Handler) newGuard() *Guard {
	return &Guard{
		reporter:    h.reporter,
		realm:       h.issuer,
		formatter:   h.formatter,
		conventions: h.conventions,
		addresses:   h.addresses,
		codec:       h.codec,
		clients:     newClientCache(h.clients, h.clientLimit),
		limiter:     h.limiter,
		state:       h.state,
		now:         h.now,
	}
}

// AllowReadOnlyWrites returns a guard that differs only in letting read-only
// tokens through on every method, for the routes where they may write.
func (g *Guard) AllowReadOnlyWrites() *Guard {
	other := *g
	other.readOnlyWrites = true
	return &other
}

// Require returns a middleware that lets a request through if its token has all
// of the scopes; without scopes any good token will do. The handler behind it
// gets the identity from [PrincipalFrom]. It panics for what can be no scope
// (RFC 6749 §3.3), as an empty string, since no route should open by a slip.
func (g *Guard) Require(scopes ...string) func(http.Handler) http.Handler {
	checkNames(scopes)
	scopes = slices.Clone(scopes)
	return g.middleware(func(held string) string { return lacking(held, scopes) })
}

// RequireAny is [Guard.Require] for any one of the scopes. It panics without one.
func (g *Guard) RequireAny(scopes ...string) func(http.Handler) http.Handler {
	if len(scopes) == 0 {
		panic("tokenbooth: RequireAny without a scope lets nobody through: name one, or use Require")
	}
	checkNames(scopes)
	all := strings.Join(scopes, " ")
	return g.middleware(func(held string) string {
		for rest := all; rest != ""; {
			var scope string
			if scope, rest, _ = strings.Cut(rest, " "); holds(held, scope) {
				return ""
			}
		}
		return all
	})
}

func checkNames(scopes []string) {
	for _, s := range scopes {
		if !isScopeToken(s) {
			panic(fmt.Sprintf("tokenbooth: %q is no scope: want visible ASCII without space, \" and \\ (RFC 6749 §3.3)", s))
		}
	}
}

// middleware takes what tells from the scopes held those that are lacking.
func (g *Guard) middleware(lacks func(held string) string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := access{request: r, said: &nothingSaid}
			if err := g.admit(&a, lacks); err != nil {
				g.refuse(w, &a, err)
				return
			}
			setHeaders(w, a.rate)
			if g.conventions.QueryToken && len(r.Header["Authorization"]) == 0 {
				w.Header().Set("Cache-Control", "private, no-store") // RFC 6750 §2.3
			}
			next.ServeHTTP(w, r.WithContext(newPrincipalContext(r.Context(), a.said)))
		})
	}
}

// Check decides as [Guard.Require] would, and writes nothing: for frameworks whose
// handlers are no http.Handler. The error is a [*response.Failure], which
// [Guard.Refuse] answers.
func (g *Guard) Check(r *http.Request, scopes ...string) (*Principal, error) {
	checkNames(scopes)
	a := access{request: r, said: &nothingSaid}
	if err := g.admit(&a, func(held string) string { return lacking(held, scopes) }); err != nil {
		f := failureOf(err, response.Guard)
		g.reportRefusal(&a, f, f.Status)
		return nil, f
	}
	return a.said.principal(), nil
}

// Refuse answers an error of [Guard.Check] in the envelope. It tells no rate in
// headers, for want of the decision.
func (g *Guard) Refuse(w http.ResponseWriter, err error) {
	reply, f := format(g.formatter, failureOf(err, response.Guard))
	writeFailure(w, reply, f, bearerChallenge(g.realm, f))
}

// An access is one request that wants in.
type access struct {
	request *http.Request
	now     time.Time
	address netip.Prefix // once it was asked for
	located bool
	said    *claims     // by a token that is good; others may read them too
	rate    http.Header // what tells the state of the limit; nil when there is nothing to tell
}

var nothingSaid claims

// admit decides about one request; a panic of the host's code is an error.
func (g *Guard) admit(a *access, lacks func(held string) string) (err error) {
	defer recovered(&err)
	a.now = g.now()
	if len(a.request.Header["X-Forwarded-For"]) > 0 {
		g.addressOf(a) // which warns where a proxy is not named, also of whom no limit by address counts
	}
	ctx := a.request.Context()
	token, err := bearerToken(a.request, g.conventions.QueryToken)
	if err != nil {
		return err
	}
	if err := g.verify(ctx, a, token); err != nil {
		return err
	}
	if err := g.limit(ctx, a); err != nil {
		return err
	}
	if missing := lacks(a.said.scope); missing != "" {
		f := response.Fail(response.ScopeLacking)
		f.Scope = missing
		return f
	}
	if a.said.readOnly && !g.readOnlyWrites && !isRead(a.request.Method) {
		return response.Fail(response.ReadOnly)
	}
	return nil
}

// addressOf is asked only where the address counts.
func (g *Guard) addressOf(a *access) netip.Prefix {
	if !a.located {
		a.address, a.located = g.addresses.of(a.request), true
	}
	return a.address
}

func isRead(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// verify reads the token and judges its times by the guard's clock.
func (g *Guard) verify(ctx context.Context, a *access, token string) error {
	c, err := g.codec.verify(ctx, token)
	switch {
	case errors.Is(err, errToken):
		return response.Fail(response.TokenInvalid)
	case err != nil:
		return because(response.Unavailable, fmt.Errorf("tokenbooth: verifying: %w", err))
	case !a.now.Before(c.expires.Add(g.leeway)):
		return response.Fail(response.TokenExpired)
	case !c.notBefore.IsZero() && a.now.Add(g.leeway).Before(c.notBefore):
		return response.Fail(response.TokenInvalid)
	}
	if g.state != nil {
		revoked, err := isRevoked(ctx, g.state, c)
		if err != nil {
			return because(response.Unavailable, fmt.Errorf("tokenbooth: revocation: %w", err))
		}
		if revoked {
			return response.Fail(response.TokenInvalid)
		}
	}
	a.said = c
	return nil
}

// limit takes from the client's bucket of this guard, which is apart from the
// token endpoint's. A token that anybody can get has a bucket for each address.
func (g *Guard) limit(ctx context.Context, a *access) (err error) {
	known, err := g.clients.get(ctx, a.said.clientID, a.now)
	if err != nil {
		return because(response.Unavailable, err)
	}
	if known.gone {
		return response.Fail(response.TokenInvalid)
	}
	if _, none := g.limiter.(Unlimited); none {
		return known.limit.check()
	}
	key := known.bucket
	if known.public || a.said.readOnly {
		key = anonKey(g.addressOf(a), guardBucket, a.said.clientID)
	} else if key == "" {
		key = clientKey(guardBucket, a.said.clientID)
	}
	d, err := take(ctx, g.limiter, key, known.limit)
	if g.conventions.RateHeader != nil && d.Limit > 0 {
		a.rate = http.Header{}
		g.conventions.RateHeader(a.rate, d.Limit, d.Remaining, d.Reset)
	}
	return err
}

func (g *Guard) refuse(w http.ResponseWriter, a *access, err error) {
	reply, f := format(g.formatter, failureOf(err, response.Guard))
	g.reportRefusal(a, f, reply.Status)
	setHeaders(w, a.rate)
	writeFailure(w, reply, f, bearerChallenge(g.realm, f))
}

func (g *Guard) reportRefusal(a *access, f *response.Failure, status int) {
	g.report(a.request.Context(), &Event{
		Kind: kindOf(f), Time: a.now, Place: f.Place, Reason: f.Reason, Status: status,
		ClientID: a.said.clientID, Subject: a.said.subject, TokenID: a.said.id,
		Scope: f.Scope, Address: g.addressOf(a), Err: f.Err,
	})
}
