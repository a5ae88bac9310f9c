package booth

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/grant"
)

var (
	//go:embed login.html
	loginHTML string
	//go:embed login.css
	loginCSS string

	loginPage = template.Must(template.New("login").Parse(loginHTML))
)

// A login is the page where a person says who they are and what a client may do.
// It needs no script, and remembers nobody: each request asks for the password.
type login struct {
	users  users
	limits tokenbooth.Limiter
	logger *slog.Logger
	policy string
}

// guesses bounds what one user and one address may try.
var guesses = tokenbooth.Limit{PerSecond: 1, Burst: 20}

func newLogin(s *settings) *login {
	style := sha256.Sum256([]byte(loginCSS))
	return &login{
		users: s.users, logger: s.logger,
		limits: s.backend.Limiter("login"),
		// Without form-action: Chromium holds the redirect to the client to it too.
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(style[:]) +
			"'; base-uri 'none'; frame-ancestors 'none'",
	}
}

// serve is what [tokenbooth.Handler.Authorize] calls.
func (l *login) serve(w http.ResponseWriter, r *http.Request, a *tokenbooth.AuthorizationRequest) {
	if r.Method == http.MethodGet {
		l.show(w, a, http.StatusOK, &loginForm{})
		return
	}
	switch r.PostForm.Get("decision") {
	case "deny":
		a.Deny(w, r)
	case "approve":
		l.approve(w, r, a)
	default:
		l.show(w, a, http.StatusBadRequest, &loginForm{Error: "Please choose Allow or Deny."})
	}
}

func (l *login) approve(w http.ResponseWriter, r *http.Request, a *tokenbooth.AuthorizationRequest) {
	form := &loginForm{Username: r.PostForm.Get("username")}
	wait, err := l.limit(r, form.Username)
	if err == nil && wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)))
		form.Error = "Too many attempts. Please wait a moment, then try again."
		l.show(w, a, http.StatusTooManyRequests, form)
		return
	}
	var user *grant.User
	if err == nil {
		user, err = l.users.authenticate(r.Context(), form.Username, r.PostForm.Get("password"))
	}
	if err == nil {
		err = a.Approve(w, r, user.Subject, allowed(a.Scopes, user)...)
	}
	if err != nil {
		l.refuse(w, r, a, form, err)
	}
}

// refuse shows the page again. It does not tell a wrong name from a wrong
// password, and has 403, not 401, which would need a challenge (RFC 9110
// §15.5.2) that no form can meet.
func (l *login) refuse(w http.ResponseWriter, r *http.Request, a *tokenbooth.AuthorizationRequest, form *loginForm, err error) {
	if errors.Is(err, grant.ErrUserUnknown) || errors.Is(err, grant.ErrWrongPassword) {
		form.Wrong, form.Error = true, "The username or the password is wrong."
		l.show(w, a, http.StatusForbidden, form)
		return
	}
	l.logger.ErrorContext(r.Context(), "login", "error", err)
	form.Error = "Something went wrong here. Please try again."
	l.show(w, a, http.StatusServiceUnavailable, form)
}

// limit says how long to wait; 0 when the password may be looked at.
func (l *login) limit(r *http.Request, username string) (wait time.Duration, err error) {
	for _, key := range []string{"anon|" + network(r) + "|login|", "login|" + strings.ToLower(username)} {
		d, err := l.limits.Take(r.Context(), key, guesses)
		if err != nil || !d.Allowed {
			return d.RetryAfter, err
		}
	}
	return 0, nil
}

// network is the part of an address that one sender has to itself at least. Behind
// a proxy it is the proxy's: there, take the sender from what the proxy adds.
func network(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	addr := at.Addr().Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	return netip.PrefixFrom(addr, bits).Masked().String()
}

// allowed leaves out what the user may not grant. It is never nil, which would
// mean everything.
func allowed(asked []string, user *grant.User) []string {
	scopes := []string{}
	for _, s := range asked {
		if user.Scopes == nil || slices.Contains(user.Scopes, s) {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// A loginForm is what the page has beside the request.
type loginForm struct {
	Username, Error string
	Wrong           bool // the name or the password
}

func (l *login) show(w http.ResponseWriter, a *tokenbooth.AuthorizationRequest, status int, form *loginForm) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", l.policy)
	w.WriteHeader(status)
	_ = loginPage.Execute(w, struct { // fails only when the person has gone
		*loginForm
		Client, Ticket string
		Scopes         []string
		Style          template.CSS
	}{form, nameOf(a), a.Ticket, inWords(a.Scopes), template.CSS(loginCSS)}) //nolint:gosec // it is ours
}

func nameOf(a *tokenbooth.AuthorizationRequest) string {
	if a.Client.Name != "" {
		return a.Client.Name
	}
	return a.Client.ID
}

var scopeWords = map[string]string{
	"openid":           "know which account is yours",
	"profile":          "see your name and username",
	"offline_access":   "stay connected while you are away",
	"customers:read":   "see the customers",
	"customers:create": "add customers",
}

func inWords(scopes []string) []string {
	words := make([]string, len(scopes))
	for i, s := range scopes {
		if words[i] = scopeWords[s]; words[i] == "" {
			words[i] = "use “" + s + "”"
		}
	}
	return words
}
