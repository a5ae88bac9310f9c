package tokenbooth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
)

const (
	ticketLife   = 10 * time.Minute
	maxTicket    = 16 << 10
	maxQuery     = 8 << 10
	maxLoginForm = 64 << 10
	maxCookies   = 10 // of ours in one browser: as many tabs
	maxDropped   = 50 // cookies in one answer
	bindingChars = 16
	cookiePrefix = "tokenbooth-"
)

// A sealedRequest is an authorization request on its way through the login page:
// encrypted, so that the page's form shows nothing of it, and bound to a cookie.
type sealedRequest struct {
	Client    string `json:"c"`
	Redirect  string `json:"r"`
	Named     bool   `json:"n,omitempty"` // the redirect URI stood in the request
	Scope     string `json:"s,omitempty"`
	State     string `json:"t,omitempty"`
	Nonce     string `json:"o,omitempty"`
	Challenge string `json:"h,omitempty"`
	Expires   int64  `json:"e"`
	Binding   string `json:"b"` // the end of the cookie's name; its value is in the key
}

// The parameters of an authorization request that count (RFC 6749 §4.1.1,
// RFC 7636 §4.3, OpenID Connect Core §3.1.2.1).
var authorizeParams = []string{
	"client_id", "redirect_uri", "response_type", "scope", "state", "nonce",
	"code_challenge", "code_challenge_method", "response_mode", "request", "request_uri", "prompt",
}

type authorizeQuery struct{ values url.Values }

func (q *authorizeQuery) get(name string) string { return q.values.Get(name) }

// twice returns the first of the parameters that is given more than once.
func (q *authorizeQuery) twice(names ...string) string {
	for _, name := range names {
		if len(q.values[name]) > 1 {
			return name
		}
	}
	return ""
}

// check refuses a parameter that is given twice (RFC 6749 §3.1) or is no text.
func (q *authorizeQuery) check(names ...string) error {
	if name := q.twice(names...); name != "" {
		return failParam(response.ParameterRepeated, name)
	}
	for _, name := range names {
		if !clean(q.get(name)) {
			return failParam(response.ParameterInvalid, name)
		}
	}
	return nil
}

func readAuthorizeQuery(raw string) (*authorizeQuery, error) {
	if len(raw) > maxQuery {
		return nil, response.Fail(response.BodyTooLarge)
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, response.Fail(response.BodyMalformed)
	}
	return &authorizeQuery{values}, nil
}

// seal makes the ticket and gives the browser the cookie that it is bound to.
func (h *Handler) seal(w http.ResponseWriter, r *http.Request, a *AuthorizationRequest) error {
	secret := randomText()
	a.sealed.Binding = randomText()[:bindingChars]
	plain, err := json.Marshal(a.sealed)
	if err != nil {
		return err
	}
	sealed, err := h.tickets.seal(plain, secret)
	if err != nil {
		return err
	}
	if a.Ticket = a.sealed.Binding + sealed; len(a.Ticket) > maxTicket {
		return failParam(response.ParameterInvalid, "state")
	}
	h.makeRoom(w, r)
	h.setCookie(w, cookiePrefix+a.sealed.Binding, secret, int(ticketLife/time.Second))
	return nil
}

// makeRoom drops the oldest cookies of ours, which a browser sends first (RFC 6265
// §5.4), so that no page fills the jar of who visits it by starting requests.
func (h *Handler) makeRoom(w http.ResponseWriter, r *http.Request) {
	ours := slices.DeleteFunc(r.Cookies(), func(c *http.Cookie) bool { return !strings.HasPrefix(c.Name, cookiePrefix) })
	for i := 0; i <= len(ours)-maxCookies && i < maxDropped; i++ {
		h.setCookie(w, ours[i].Name, "", -1)
	}
}

// setCookie names no path: a handler knows none, and without one a browser takes
// the folder of the URL that it sees, whatever was stripped on the way.
func (h *Handler) setCookie(w http.ResponseWriter, name, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure but on a loopback address
		Name: name, Value: value, MaxAge: maxAge,
		HttpOnly: true, Secure: isSecure(h.issuer), SameSite: http.SameSiteLaxMode,
	})
}

// isSecure: a plain http issuer is one on loopback, for development, where a
// Secure cookie would not come back.
func isSecure(issuer string) bool { return strings.HasPrefix(issuer, "https:") }

// resumeAuthorization opens the ticket of a form that the login page sent. It
// must come from this origin, and from the browser that the ticket was made for.
func (h *Handler) resumeAuthorization(w http.ResponseWriter, r *http.Request) (*AuthorizationRequest, error) {
	if err := h.crossOrigin.Check(r); err != nil {
		return nil, because(response.AuthorizationRequestInvalid, err)
	}
	if err := h.parseLoginForm(w, r); err != nil {
		return nil, err
	}
	tickets := r.PostForm[ticketField]
	if len(tickets) != 1 || len(tickets[0]) > maxTicket {
		return nil, response.Fail(response.AuthorizationRequestInvalid)
	}
	sealed, ok := h.open(r, tickets[0])
	if !ok || h.now().Unix() >= sealed.Expires {
		return nil, response.Fail(response.AuthorizationRequestInvalid)
	}
	client, err := h.lookUp(r.Context(), sealed.Client)
	if err != nil {
		return nil, err
	}
	if client == nil || client.Disabled || client.LongLived || !slices.Contains(client.Grants, "authorization_code") {
		return nil, response.Fail(response.ClientUnknown)
	}
	if _, _, err := chooseRedirect(client, sealed.Redirect); err != nil {
		return nil, err
	}
	return &AuthorizationRequest{
		Client: client, Scopes: strings.Fields(sealed.Scope), Expires: time.Unix(sealed.Expires, 0),
		Ticket: tickets[0], handler: h, sealed: sealed,
	}, nil
}

func (h *Handler) parseLoginForm(w http.ResponseWriter, r *http.Request) error {
	t := bodyTime{lane: anyLane()}
	h.parser.times.begin(&t, w, r)
	defer t.lift()
	r.Body = http.MaxBytesReader(w, r.Body, maxLoginForm)
	if err := r.ParseForm(); err != nil {
		t.stay(r)
		return closing(w, r, bodyFailure(err))
	}
	return nil
}

// open looks for the cookie that the ticket names. There may be more than one,
// where a page of the same site planted another.
func (h *Handler) open(r *http.Request, ticket string) (sealed sealedRequest, ok bool) {
	if len(ticket) < bindingChars {
		return sealed, false
	}
	binding := ticket[:bindingChars]
	cookies := r.CookiesNamed(cookiePrefix + binding)
	for _, c := range cookies[:min(len(cookies), maxCookies)] {
		plain, err := h.tickets.open(ticket[bindingChars:], c.Value)
		if err == nil && json.Unmarshal(plain, &sealed) == nil && sealed.Binding == binding {
			return sealed, true
		}
	}
	return sealedRequest{}, false
}

// A sealer encrypts tickets under one key and the secret of a cookie.
// In a function package fmt sees an address, whatever the verb.
type sealer func() [32]byte

func newSealer(material any) sealer {
	var key [32]byte
	if secret, ok := material.([]byte); ok {
		key = sha256.Sum256(append([]byte("tokenbooth ticket|"), secret...))
	} else {
		_, _ = rand.Read(key[:])
	}
	return func() [32]byte { return key }
}

func (s sealer) aead(cookie string) (cipher.AEAD, error) {
	base := s()
	key := sha256.Sum256(append(base[:], cookie...))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (s sealer) seal(plain []byte, cookie string) (string, error) {
	aead, err := s.aead(cookie)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nil, nil, plain, nil)), nil //nolint:gosec // the nonce is drawn by Seal
}

var errTicket = errors.New("tokenbooth: not a ticket")

func (s sealer) open(ticket, cookie string) ([]byte, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(ticket)
	if err != nil || len(ticket) != base64.RawURLEncoding.EncodedLen(len(sealed)) { // it skips line breaks
		return nil, errTicket
	}
	aead, err := s.aead(cookie)
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, nil, sealed, nil)
}
