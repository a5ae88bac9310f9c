package boothtest

import (
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

const (
	authorizePath = "/oauth2/authorize"
	password      = "correct horse battery staple" // of the user admin
	// Callback is the redirect URI of the built-in clients.
	Callback = "http://127.0.0.1:9999/callback"
	// Verifier and Challenge are those of RFC 7636, Appendix B.
	Verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	Challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// Asking returns an authorization request; more are names and values, of which an
// empty one takes the parameter out.
func Asking(more ...string) url.Values {
	return with(url.Values{
		"response_type": {"code"}, "client_id": {"spa"}, "redirect_uri": {Callback}, "state": {"st&te"}, "nonce": {"n1"},
		"scope":          {"openid profile offline_access customers:read"},
		"code_challenge": {Challenge}, "code_challenge_method": {"S256"},
	}, more)
}

// A Browser keeps cookies and follows no redirect.
type Browser struct {
	*Kit
	client http.Client
}

// NewBrowser returns one without cookies.
func NewBrowser(k *Kit) *Browser {
	k.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		k.Fatal(err)
	}
	return &Browser{k, http.Client{
		Jar:           jar, // which knows hosts and no ports: copies share their cookies, as behind one address
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Open sends an authorization request.
func (b *Browser) Open(q url.Values) *Answer {
	b.Helper()
	return b.send(&b.client, "GET", authorizePath+"?"+q.Encode(), nil, "")
}

// Page opens the login page and returns its ticket.
func (b *Browser) Page(q url.Values) string {
	b.Helper()
	a := b.Open(q)
	if a.Status != http.StatusOK {
		b.Fatalf("%d %v %s", a.Status, a.Header, a.Body)
	}
	return TicketIn(b.T, a)
}

var ticketField = regexp.MustCompile(`name="ticket" value="([^"]+)"`)

// TicketIn returns the ticket in a login page.
func TicketIn(t *testing.T, a *Answer) string {
	t.Helper()
	m := ticketField.FindSubmatch(a.Body)
	if m == nil {
		t.Fatalf("no ticket: %s", a.Body)
	}
	return html.UnescapeString(string(m[1]))
}

// Post sends the form of the login page with names and values of more headers.
func (b *Browser) Post(form url.Values, headers ...string) *Answer {
	b.Helper()
	return b.PostTo("", form.Encode(), headers...)
}

// PostTo is Post with a query.
func (b *Browser) PostTo(query, body string, headers ...string) *Answer {
	b.Helper()
	all := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for i := 0; i < len(headers); i += 2 {
		all[headers[i]] = headers[i+1]
	}
	return b.send(&b.client, "POST", authorizePath+query, all, body)
}

// Filled is the form of somebody who signs in and allows everything.
func Filled(ticket string) url.Values {
	return url.Values{"ticket": {ticket}, "username": {"admin"}, "password": {password}, "decision": {"approve"}}
}

// Redirected returns what the client learns, with the issuer and the state that
// every answer has.
func (b *Browser) Redirected(a *Answer, to string) url.Values {
	b.Helper()
	where, query, _ := strings.Cut(a.Header.Get("Location"), "?")
	values, err := url.ParseQuery(query)
	if a.Status != http.StatusSeeOther || where != to || err != nil {
		b.Fatalf("%d to %q, %v: %s", a.Status, where, err, a.Body)
	}
	if values.Get("iss") != b.Issuer || values.Get("state") != "st&te" {
		b.Errorf("iss %q, state %q", values["iss"], values["state"])
	}
	return values
}

// Code asks, signs in, allows, and returns the code.
func (b *Browser) Code(q url.Values) string {
	b.Helper()
	got := b.Redirected(b.Post(Filled(b.Page(q))), q.Get("redirect_uri"))
	if got.Get("code") == "" || got.Has("error") {
		b.Fatalf("%v", got)
	}
	return got.Get("code")
}
