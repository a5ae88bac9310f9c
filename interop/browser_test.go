package interop_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// callback is the redirect URI of the clients; nothing listens there.
const callback = "http://127.0.0.1:9999/callback"

// A browser is what a person sits at: it keeps cookies, sends forms, and is
// stopped where it would leave for the client.
type browser struct {
	client *http.Client
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaves := func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &browser{&http.Client{Jar: jar, CheckRedirect: leaves}}
}

// A page is what the browser shows: a login form, or where it is sent.
type page struct {
	status int
	action string     // of the form
	fields url.Values // its inputs, with what they are filled with
	left   *url.URL   // the redirect to the client, if it was one
	body   string
}

func (b *browser) open(t *testing.T, address string) *page {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b.show(t, r)
}

// press sends the form with the button that decides.
func (b *browser) press(t *testing.T, p *page, decision string) *page {
	t.Helper()
	form := url.Values{"decision": {decision}}
	for name, value := range p.fields {
		if name != "decision" {
			form[name] = value
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.action, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", r.URL.Scheme+"://"+r.URL.Host)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.show(t, r)
}

func (b *browser) show(t *testing.T, r *http.Request) *page {
	t.Helper()
	response, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	p := &page{status: response.StatusCode, body: string(body), fields: url.Values{}}
	if response.Header.Get("Location") != "" {
		if p.left, err = response.Location(); err != nil {
			t.Fatal(err)
		}
		return p
	}
	p.readForm(t, response.Request.URL)
	return p
}

// readForm reads the form as a browser does that runs no scripts.
func (p *page) readForm(t *testing.T, base *url.URL) {
	t.Helper()
	document, err := html.Parse(strings.NewReader(p.body))
	if err != nil {
		t.Fatal(err)
	}
	for node := range document.Descendants() {
		switch {
		case node.Type != html.ElementNode:
		case node.Data == "form":
			if method := attribute(node, "method"); !strings.EqualFold(method, "post") {
				t.Errorf("the form is sent with %q", method)
			}
			action, err := base.Parse(attribute(node, "action"))
			if err != nil {
				t.Fatal(err)
			}
			p.action = action.String()
		case node.Data == "input" && attribute(node, "name") != "", node.Data == "button":
			p.fields.Add(attribute(node, "name"), attribute(node, "value"))
		}
	}
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// signIn opens the address, fills in the form of the user admin, and decides.
func (b *browser) signIn(t *testing.T, address, decision string) *page {
	t.Helper()
	p := b.open(t, address)
	if p.status != http.StatusOK || p.action == "" || p.fields.Get("ticket") == "" {
		t.Fatalf("no login form: %d %s", p.status, p.body)
	}
	p.fields.Set("username", "admin")
	p.fields.Set("password", "correct horse battery staple")
	return b.press(t, p, decision)
}
