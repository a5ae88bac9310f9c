package tokenbooth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// login:begin
var loginForm = template.Must(template.New("login").Parse(`<!doctype html><title>Sign in</title>
<p>{{.Client.Name}} asks for: {{range .Scopes}}{{.}} {{end}}
<form method="post">
<input type="hidden" name="ticket" value="{{.Ticket}}">
<label>Username <input name="username" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button name="decision" value="approve">Allow</button> <button name="decision" value="deny">Deny</button>
</form>`))

// login shows the form to a GET, and answers what it posts.
func login(w http.ResponseWriter, r *http.Request, a *tokenbooth.AuthorizationRequest) {
	switch r.PostForm.Get("decision") {
	case "deny":
		a.Deny(w, r)
		return
	case "approve": // limit this, by user and by address
		user, ok := checkPassword(r.PostForm.Get("username"), r.PostForm.Get("password"))
		if ok {
			if err := a.Approve(w, r, user); err != nil { // the State is down: nothing was written
				http.Error(w, "Please try again", http.StatusServiceUnavailable)
			}
			return
		}
		w.WriteHeader(http.StatusForbidden)
	}
	_ = loginForm.Execute(w, a)
}

// login:end

// checkPassword stands for your user table.
func checkPassword(username, password string) (response.Subject, bool) {
	return response.Subject{ID: "user:7", Username: "ada"}, username == "ada" && password == "correct horse battery staple"
}

// A login of one's own: a function that shows a form and ends with Approve or
// Deny. Below it a client sends a browser there and redeems the code that comes
// back.
func Example_login() {
	const callback = "https://app.example.com/callback"
	clients, err := store.NewMemory(&store.Client{
		ID: "app", Name: "The app", Public: true, RedirectURIs: []string{callback},
		Grants: []string{"authorization_code"}, Scopes: []string{"reports:read"},
	})
	if err != nil {
		log.Fatal(err)
	}
	booth, err := tokenbooth.NewHandler(tokenbooth.HandlerConfig{
		Issuer:  "http://127.0.0.1:8080",
		Clients: clients,
		Grants:  []grant.Grant{grant.AuthorizationCode{}, grant.RefreshToken{}},
		Tokens:  tokenbooth.Opaque{},
		Keys:    exampleKeys(),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/token", booth)
	mux.Handle("/authorize", booth.Authorize(login))
	server := httptest.NewServer(mux)
	defer server.Close()

	browser := newPerson()
	verifier := "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // a new one for each request, with its SHA-256:
	page := browser.get(server.URL + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {callback}, "scope": {"reports:read"}, "state": {"af0ifjsldkj"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}.Encode())
	form := url.Values{"ticket": {ticketOf(page)}, "username": {"ada"}, "password": {"a guess"}, "decision": {"approve"}}
	browser.post(server.URL+"/authorize", form)
	form.Set("password", "correct horse battery staple")
	back := browser.post(server.URL+"/authorize", form)
	fmt.Println(back.Host+back.Path, back.Query().Get("state"), back.Query().Get("iss"))

	reply, err := http.PostForm(server.URL+"/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "code_verifier": {verifier},
		"client_id": {"app"}, "redirect_uri": {callback},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer reply.Body.Close()
	var token struct{ Scope string }
	if err := json.NewDecoder(reply.Body).Decode(&token); err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply.StatusCode, token.Scope)
	// Output:
	// 200
	// 403
	// 303
	// app.example.com/callback af0ifjsldkj http://127.0.0.1:8080
	// 200 reports:read
}

// exampleKeys sign id_tokens.
func exampleKeys() *tokenbooth.KeyRing {
	key, err := tokenbooth.GenerateKey("ES256")
	if err != nil {
		log.Fatal(err)
	}
	ring, err := tokenbooth.NewKeyRing(key)
	if err != nil {
		log.Fatal(err)
	}
	return ring
}

// A person at a browser, which keeps cookies and stops at the client's address.
type person struct{ http.Client }

func newPerson() *person {
	jar, _ := cookiejar.New(nil) // never fails
	return &person{http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (p *person) get(target string) string {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, target, nil)
	if err != nil {
		log.Fatal(err)
	}
	page, _ := p.send(r)
	return page
}

func (p *person) post(target string, form url.Values) *url.URL {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		log.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, to := p.send(r)
	return to
}

// send prints the status.
func (p *person) send(r *http.Request) (body string, to *url.URL) {
	reply, err := p.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply.StatusCode)
	to, _ = reply.Location()
	return string(text), to
}

func ticketOf(page string) string {
	_, rest, _ := strings.Cut(page, `name="ticket" value="`)
	ticket, _, _ := strings.Cut(rest, `"`)
	return ticket
}
