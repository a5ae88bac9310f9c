package tokenbooth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
)

const (
	ticketLife    = 10 * time.Minute
	maxTicket     = 8 << 10
	maxQuery      = 8 << 10
	maxLoginForm  = 64 << 10
	cookiePrefix  = "tokenbooth-"
	cookieIDBytes = 12
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
	Binding   string `json:"b"` // the name of the cookie; its value's hash is in the key
}

// The parameters of an authorization request that count (RFC 6749 §4.1.1,
// RFC 7636 §4.3, OpenID Connect Core §3.1.2.1).
var authorizeParams = []string{
	"client_id", "redirect_uri", "response_type", "scope", "state", "nonce",
	"code_challenge", "code_challenge_method", "response_mode", "request", "request_uri",
}

type authorizeQuery struct {
	values url.Values
	twice  string // a known parameter that is given more than once
}

func (q *authorizeQuery) get(name string) string { return q.values.Get(name) }

func readAuthorizeQuery(raw string) (*authorizeQuery, error) {
	if len(raw) > maxQuery {
		return nil, response.Fail(response.BodyTooLarge)
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, response.Fail(response.BodyMalformed)
	}
	q := &authorizeQuery{values: values}
	for _, name := range authorizeParams {
		if len(values[name]) > 1 {
			q.twice = name
		}
		if !clean(values.Get(name)) {
			return nil, failParam(response.ParameterInvalid, name)
		}
	}
	return q, nil
}

// seal makes the ticket and gives the browser the cookie that it is bound to.
func (h *Handler) seal(w http.ResponseWriter, r *http.Request, a *AuthorizationRequest) error {
	secret := randomText()
	a.sealed.Binding = randomText()[:16]
	plain, err := json.Marshal(a.sealed)
	if err != nil {
		return err
	}
	if a.Ticket, err = h.tickets.seal(plain, secret); err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookiePrefix + a.sealed.Binding, Value: secret, Path: r.URL.Path,
		MaxAge: int(ticketLife / time.Second), HttpOnly: true, Secure: isSecure(h.issuer), SameSite: http.SameSiteLaxMode,
	})
	return nil
}

// isSecure: a plain http issuer is one on loopback, for development, where a
// Secure cookie would not come back.
func isSecure(issuer string) bool { return strings.HasPrefix(issuer, "https:") }

func dropCookie(w http.ResponseWriter, r *http.Request, binding string) {
	if binding != "" {
		http.SetCookie(w, &http.Cookie{Name: cookiePrefix + binding, Path: r.URL.Path, MaxAge: -1, HttpOnly: true})
	}
}

// resumeAuthorization opens the ticket of a form that the login page sent. It
// must come from this origin, and from the browser that the ticket was made for.
func (h *Handler) resumeAuthorization(w http.ResponseWriter, r *http.Request) (*AuthorizationRequest, error) {
	if err := h.crossOrigin.Check(r); err != nil {
		return nil, because(response.AuthorizationRequestInvalid, err)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxLoginForm)
	if err := r.ParseForm(); err != nil {
		return nil, response.Fail(response.BodyMalformed)
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
	if client == nil || client.Disabled || !slices.Contains(client.Grants, "authorization_code") {
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

// open tries the cookies of this browser: the one that fits the ticket opens it.
func (h *Handler) open(r *http.Request, ticket string) (sealed sealedRequest, ok bool) {
	for _, c := range r.Cookies() {
		if !strings.HasPrefix(c.Name, cookiePrefix) {
			continue
		}
		plain, err := h.tickets.open(ticket, c.Value)
		if err != nil {
			continue
		}
		if json.Unmarshal(plain, &sealed) == nil && c.Name == cookiePrefix+sealed.Binding {
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
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nil, nil, plain, nil)), nil
}

func (s sealer) open(ticket, cookie string) ([]byte, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(ticket)
	if err != nil {
		return nil, err
	}
	aead, err := s.aead(cookie)
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, nil, sealed, nil)
}
