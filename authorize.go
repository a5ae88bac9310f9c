package tokenbooth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// codeLife is how long a code may be redeemed (RFC 6749 §4.1.2).
const codeLife = time.Minute

// ticketField is the name of the form field that carries the ticket.
const ticketField = "ticket"

// An AuthorizationRequest is what a client asks a person for (RFC 6749 §4.1.1).
// It was validated, and belongs to the browser that it came from.
type AuthorizationRequest struct {
	Client  *store.Client
	Scopes  []string // asked for, all of them allowed to the client
	Expires time.Time
	// Ticket is the request itself, sealed, for the form's hidden field "ticket".
	Ticket string
	// AuthTime is when the person logged in, if that was earlier: set it before
	// Approve. Now when zero.
	AuthTime time.Time

	handler *Handler
	sealed  sealedRequest
	done    bool
}

// Authorize returns the authorization endpoint (RFC 6749 §3.1) around the host's
// own login: a function that shows the person at the browser what a client asks
// for, finds out who it is, and ends with [AuthorizationRequest.Approve] or
// [AuthorizationRequest.Deny]. It is called for the first request, a GET, and again
// for each POST of its form, whose hidden field "ticket" carries
// [AuthorizationRequest.Ticket] and whose action is the same URL. Until it approves
// or denies it may write whatever page it likes.
//
// Codes are for [grant.AuthorizationCode]. PKCE with S256 is required
// of public clients, and of others unless their record says WithoutPKCE.
//
// A request that names a client or a redirect URI that is not registered is shown
// to the person as an error and never redirected (RFC 6749 §4.1.2.1); any other
// mistake goes back to the client, and so does prompt=none, since nobody is logged
// in without a look at the login. Answers carry iss (RFC 9207). The request
// survives the login without memory of the server: it is sealed into the ticket,
// ends after 10 minutes, and is bound to the browser by a cookie.
func (h *Handler) Authorize(login func(http.ResponseWriter, *http.Request, *AuthorizationRequest)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protectPage(w.Header())
		a, err := h.authorizationRequest(w, r)
		if err != nil {
			h.refuseAuthorization(w, r, a, err)
			return
		}
		login(w, r, a)
	})
}

// protectPage keeps the login out of caches, frames and Referer headers.
func protectPage(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "frame-ancestors 'none'")
	// Under no-referrer a browser posts the form with "Origin: null", which cannot
	// be told from a foreign page's where Sec-Fetch-Site is missing.
	h.Set("Referrer-Policy", "same-origin")
}

func (h *Handler) authorizationRequest(w http.ResponseWriter, r *http.Request) (a *AuthorizationRequest, err error) {
	defer recovered(&err)
	if err := h.take(r.Context(), anonKey(h.addresses.of(r), "anonymous", ""), h.clientLimit); err != nil {
		return nil, err
	}
	switch r.Method {
	case http.MethodGet:
		return h.newAuthorization(w, r)
	case http.MethodPost:
		return h.resumeAuthorization(w, r)
	}
	return nil, notGetOrPost(w)
}

func notGetOrPost(w http.ResponseWriter) error {
	f := response.Fail(response.MethodNotAllowed)
	f.Message = "The request method must be GET or POST"
	f.Param = "GET, POST"
	return f
}

// newAuthorization validates the request of a client (RFC 6749 §4.1.1). Until
// client and redirect URI are known to be good, an error is for the person; then
// a is not nil and the error is for the client.
func (h *Handler) newAuthorization(w http.ResponseWriter, r *http.Request) (*AuthorizationRequest, error) {
	q, err := readAuthorizeQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	client, err := h.authorizeClient(r.Context(), q)
	if err != nil {
		return nil, err
	}
	a := &AuthorizationRequest{Client: client, handler: h, Expires: h.now().Add(ticketLife)}
	a.sealed = sealedRequest{
		Client: client.ID, Nonce: q.get("nonce"), Expires: a.Expires.Unix(), Challenge: q.get("code_challenge"),
	}
	if q.check("state") == nil {
		a.sealed.State = q.get("state")
	}
	if a.sealed.Redirect, a.sealed.Named, err = chooseRedirect(client, q.get("redirect_uri")); err != nil {
		return nil, err
	}
	if err := h.validateAuthorization(a, q); err != nil {
		return a, err
	}
	return a, h.seal(w, r, a)
}

// authorizeClient finds the client that a request names. A request for one that
// is not there, or may not do this, is shown to the person.
func (h *Handler) authorizeClient(ctx context.Context, q *authorizeQuery) (*store.Client, error) {
	if name := q.twice("client_id", "redirect_uri"); name != "" {
		return nil, failParam(response.ParameterRepeated, name)
	}
	id := q.get("client_id")
	if id == "" {
		return nil, response.Missing("client_id")
	}
	if len(id) > maxClientID {
		return nil, response.Fail(response.ClientUnknown)
	}
	client, err := h.lookUp(ctx, id)
	if err != nil {
		return nil, err
	}
	if client == nil || client.Disabled || client.LongLived {
		return nil, response.Fail(response.ClientUnknown)
	}
	return client, nil
}

// chooseRedirect returns the redirect URI, and whether the request named it. It
// must be registered byte for byte, but for the port of a loopback address, which
// a native app cannot know before (RFC 8252 §7.3).
func chooseRedirect(client *store.Client, asked string) (uri string, named bool, err error) {
	if asked == "" {
		if len(client.RedirectURIs) == 1 {
			return client.RedirectURIs[0], false, nil
		}
		return "", false, response.Missing("redirect_uri")
	}
	if slices.Contains(client.RedirectURIs, asked) || slices.ContainsFunc(client.RedirectURIs, func(registered string) bool {
		return sameLoopback(registered, asked)
	}) {
		return asked, true, nil
	}
	return "", false, failParam(response.ParameterInvalid, "redirect_uri")
}

func sameLoopback(registered, asked string) bool {
	a, errA := url.Parse(registered)
	b, errB := url.Parse(asked)
	if errA != nil || errB != nil || a.Scheme != "http" || b.Scheme != "http" {
		return false
	}
	addr, err := netip.ParseAddr(a.Hostname())
	if err != nil || !addr.IsLoopback() || a.Hostname() != b.Hostname() {
		return false
	}
	if _, err := strconv.ParseUint(b.Port(), 10, 16); err != nil || b.Port()[0] == '0' {
		return false
	}
	// With its port in the place of the registered one it must be the same text.
	want := strings.Replace(registered, "://"+a.Host, "://"+b.Host, 1)
	return want == asked && b.User == nil
}

// validateAuthorization checks what the client is told about by redirect.
func (h *Handler) validateAuthorization(a *AuthorizationRequest, q *authorizeQuery) error {
	if !slices.Contains(a.Client.Grants, "authorization_code") {
		return response.Fail(response.GrantNotAllowed)
	}
	if err := q.check(authorizeParams...); err != nil {
		return err
	}
	switch q.get("response_type") {
	case "code":
	case "":
		return response.Missing("response_type")
	default:
		return response.Fail(response.ResponseTypeUnsupported)
	}
	if err := checkUnsupported(q); err != nil {
		return err
	}
	if mode := q.get("response_mode"); mode != "" && mode != "query" {
		return failParam(response.ParameterInvalid, "response_mode")
	}
	if err := checkChallenge(a.Client, q); err != nil {
		return err
	}
	return h.chooseScopes(a, q)
}

// checkUnsupported names what is not served here as OpenID Connect Core §3.1.2.6
// does.
func checkUnsupported(q *authorizeQuery) error {
	for _, name := range []string{"request", "request_uri"} {
		if q.get(name) != "" {
			f := failParam(response.ParameterInvalid, name)
			f.Code = name + "_not_supported"
			return f
		}
	}
	if slices.Contains(strings.Fields(q.get("prompt")), "none") {
		f := failParam(response.ParameterInvalid, "prompt")
		f.Code, f.Message = "login_required", "The person has to see a page"
		return f
	}
	return nil
}

func checkChallenge(client *store.Client, q *authorizeQuery) error {
	challenge, method := q.get("code_challenge"), q.get("code_challenge_method")
	if challenge == "" {
		if method != "" || client.Public || !client.WithoutPKCE {
			return response.Missing("code_challenge")
		}
		return nil
	}
	if method != "S256" { // absent means plain (RFC 7636 §4.3), which is refused
		return failParam(response.ParameterInvalid, "code_challenge_method")
	}
	if b, err := base64.RawURLEncoding.Strict().DecodeString(challenge); err != nil || len(b) != 32 || len(challenge) != 43 {
		return failParam(response.ParameterInvalid, "code_challenge")
	}
	return nil
}

func (h *Handler) chooseScopes(a *AuthorizationRequest, q *authorizeQuery) error {
	scopes := h.defaultScopes
	if scope := q.get("scope"); scope != "" {
		var ok bool
		if scopes, ok = splitScope(nil, scope); !ok || len(scope) > maxScope {
			return response.Fail(response.ScopeInvalid)
		}
		for _, s := range scopes {
			if !slices.Contains(a.Client.Scopes, s) {
				return response.Fail(response.ScopeInvalid)
			}
		}
	}
	for _, s := range scopes {
		if slices.Contains(a.Client.Scopes, s) {
			a.Scopes = append(a.Scopes, s)
		}
	}
	a.sealed.Scope = strings.Join(a.Scopes, " ")
	return nil
}

// Approve sends the browser back to the client with a code for the scopes, all of
// those asked for when none are named; fewer may be. The user's ID becomes the
// tokens' sub, of 1 to 256 bytes and not beginning with "client:"; only ID and
// Username are kept. It fails, without having
// written, where the State does, or when the request was answered already.
func (a *AuthorizationRequest) Approve(w http.ResponseWriter, r *http.Request, user response.Subject, scopes ...string) error {
	if a.done {
		return errors.New("tokenbooth: the authorization request was answered already")
	}
	if err := checkSubject(user.ID); err != nil {
		return err
	}
	scopes, err := a.granted(scopes)
	if err != nil {
		return err
	}
	code, err := a.handler.newCode(r.Context(), a, user, scopes)
	if err != nil {
		return err
	}
	a.done = true
	a.answer(w, r, url.Values{"code": {code}})
	return nil
}

// granted returns the scopes, each once, in the order in which they were asked for.
func (a *AuthorizationRequest) granted(scopes []string) ([]string, error) {
	if scopes == nil {
		return a.Scopes, nil
	}
	for _, s := range scopes {
		if !slices.Contains(a.Scopes, s) {
			return nil, fmt.Errorf("tokenbooth: the scope %q was not asked for", s)
		}
	}
	return slices.DeleteFunc(slices.Clone(a.Scopes), func(s string) bool { return !slices.Contains(scopes, s) }), nil
}

// Deny sends the browser back to the client with access_denied.
func (a *AuthorizationRequest) Deny(w http.ResponseWriter, r *http.Request) {
	if a.done {
		return
	}
	a.done = true
	a.answer(w, r, url.Values{"error": {"access_denied"}, "error_description": {"The request was denied"}})
}

// answer redirects to the client (RFC 6749 §4.1.2). 303 makes the browser leave
// the form behind: 307 would send the password on.
func (a *AuthorizationRequest) answer(w http.ResponseWriter, r *http.Request, values url.Values) {
	values.Set("iss", a.handler.issuer) // RFC 9207
	if a.sealed.State != "" {
		values.Set("state", a.sealed.State)
	}
	if a.sealed.Binding != "" {
		a.handler.setCookie(w, cookiePrefix+a.sealed.Binding, "", -1)
	}
	separator := "?"
	if strings.Contains(a.sealed.Redirect, "?") {
		separator = "&"
	}
	w.Header().Set("Location", a.sealed.Redirect+separator+values.Encode())
	w.WriteHeader(http.StatusSeeOther)
}

func (h *Handler) newCode(ctx context.Context, a *AuthorizationRequest, user response.Subject, scopes []string) (code string, err error) {
	defer recovered(&err)
	now := h.now()
	rec := &authz.Record{
		Phase: authz.Code, Realm: h.realm, Client: a.Client.ID, Subject: user.ID, User: user.Username,
		Scope: strings.Join(scopes, " "), Challenge: a.sealed.Challenge, OIDCNonce: a.sealed.Nonce,
		OpenID: slices.Contains(scopes, "openid"), Offline: h.isOffline(a.Client, scopes),
		CodeUntil: now.Add(codeLife), AuthTime: a.AuthTime,
	}
	if a.sealed.Named {
		rec.Redirect = a.sealed.Redirect
	}
	if rec.AuthTime.IsZero() {
		rec.AuthTime = now
	}
	if rec.SubjectEpoch, rec.ClientEpoch, err = authz.Epochs(ctx, h.state.forGrants(), user.ID, a.Client.ID); err != nil {
		return "", err
	}
	family := authz.NewFamily()
	code, rec.CodeHash = authz.NewCode(family)
	return code, authz.Create(ctx, h.state, family, rec)
}

// isOffline says whether refresh tokens are issued: where the client may use
// them, and the person allowed it (OpenID Connect Core §11).
func (h *Handler) isOffline(client *store.Client, scopes []string) bool {
	return h.grant("refresh_token") != nil && slices.Contains(client.Grants, "refresh_token") &&
		(h.alwaysRefresh || slices.Contains(scopes, "offline_access"))
}

// refuseAuthorization answers what cannot be authorized: to the client where it
// is known to be its redirect URI, else to the person, in the envelope.
func (h *Handler) refuseAuthorization(w http.ResponseWriter, r *http.Request, a *AuthorizationRequest, err error) {
	f := failureOf(err, response.Endpoint)
	if a == nil {
		h.refuse(w, r, h.newExchange(r), f)
		return
	}
	h.report(r.Context(), &Event{
		Kind: kindOf(f), Time: h.now(), Place: f.Place, Reason: f.Reason, Status: http.StatusSeeOther,
		ClientID: a.Client.ID, Address: h.addresses.of(r), Err: f.Err,
	})
	a.answer(w, r, url.Values{"error": {f.Code}, "error_description": {f.Message}})
}

func randomText() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
