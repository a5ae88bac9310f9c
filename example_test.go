package tokenbooth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// The whole program: one client, the token endpoint, one guarded route. Put it
// in func main; the README has it with the curl commands to try it.
func Example_program() {
	acme, secret := store.NewClient("acme", "reports:read")
	clients, err := store.NewMemory(acme)
	if err != nil {
		log.Fatal(err)
	}
	booth, err := tokenbooth.NewHandler(tokenbooth.HandlerConfig{Issuer: "http://127.0.0.1:8080", Clients: clients})
	if err != nil {
		log.Fatal(err)
	}
	reports := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, _ := tokenbooth.PrincipalFrom(r.Context())
		fmt.Fprintln(w, "reports for", who.ClientID)
	})
	http.Handle("/token", booth)
	http.Handle("/reports", booth.Guard().Require("reports:read")(reports))
	fmt.Println("the secret of acme is", secret)
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", nil))
}

// The same program as a test: ask for a token, then use it.
func Example() {
	acme, secret := store.NewClient("acme", "reports:read")
	clients, err := store.NewMemory(acme)
	if err != nil {
		log.Fatal(err)
	}
	booth, err := tokenbooth.NewHandler(tokenbooth.HandlerConfig{
		Issuer:  "https://auth.example.com",
		Clients: clients,
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/token", booth)
	mux.Handle("/reports", booth.Guard().Require("reports:read")(http.HandlerFunc(reports)))
	server := httptest.NewServer(mux)
	defer server.Close()

	answer := post(server.URL+"/token", "acme", secret, url.Values{
		"grant_type": {"client_credentials"},
		"scope":      {"reports:read"},
	})
	var token struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
		Scope       string `json:"scope"`
	}
	if err := json.Unmarshal([]byte(answer), &token); err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.TokenType, token.ExpiresIn, token.Scope)
	fmt.Print(get(server.URL+"/reports", token.AccessToken))
	fmt.Println(get(server.URL+"/reports", "a guess"))
	// Output:
	// Bearer 3600 reports:read
	// reports for acme
	// {"error":"invalid_token","error_description":"The access token is invalid"}
}

// WRONG: the route forgot the guard, so that anybody gets in. PrincipalFrom
// returns false there: a handler that looks at it refuses, instead of serving
// whoever asks.
func ExampleGuard_Require_forgotten() {
	reports := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := tokenbooth.PrincipalFrom(r.Context())
		if !ok {
			http.Error(w, "no guard stands before this route", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "reports for", who.ClientID)
	})
	mux := http.NewServeMux()
	mux.Handle("/reports", reports) // should be guard.Require("reports:read")(reports)

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/reports", nil))
	fmt.Print(w.Code, " ", w.Body)
	// Output: 500 no guard stands before this route
}

// Clients from a JSON file, and their users' passwords exchanged for tokens in
// the Content envelope. An envelope of your own is Example_custom of package
// response.
func Example_clientsFile() {
	file := `[{
		"id": "app", "secret": "kZ0cWbVhyJfcjWIbTq1Rk3mYd2uXnE4s",
		"grants": ["password"], "scopes": ["events:read"],
		"rate": {"per_second": 5, "burst": 20}
	}]` // what os.ReadFile returned
	list, err := store.ParseClients([]byte(file))
	if err != nil {
		log.Fatal(err) // names every mistake, as clients[0].rate.burst
	}
	clients, err := store.NewMemory(list...)
	if err != nil {
		log.Fatal(err)
	}
	booth, err := tokenbooth.NewHandler(tokenbooth.HandlerConfig{
		Issuer:    "https://auth.example.com",
		Clients:   clients,
		Formatter: response.Content{HideUnknown: true},
		Grants:    []grant.Grant{&grant.Password{Authenticate: authenticate}},
	})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(booth)
	defer server.Close()

	fmt.Println(post(server.URL, "app", "kZ0cWbVhyJfcjWIbTq1Rk3mYd2uXnE4s", url.Values{
		"grant_type": {"password"},
		"username":   {"ada"},
		"password":   {"a guess"},
	}))
	// Output: {"code":400001,"message":"Incorrect user password"}
}

// authenticate asks your user table; compare passwords by their slow hash.
func authenticate(_ context.Context, username, password string) (*grant.User, error) {
	if username != "ada" {
		return nil, grant.ErrUserUnknown
	}
	if password != "correct horse battery staple" {
		return nil, grant.ErrWrongPassword
	}
	return &grant.User{Subject: response.Subject{ID: "7", Number: 7, Name: "Ada", Username: "ada"}}, nil
}

// For a framework whose handlers are no http.Handler: Check decides, Refuse
// answers what it decided.
func ExampleGuard_Check() {
	clients, err := store.NewMemory()
	if err != nil {
		log.Fatal(err)
	}
	booth, err := tokenbooth.NewHandler(tokenbooth.HandlerConfig{Issuer: "https://auth.example.com", Clients: clients})
	if err != nil {
		log.Fatal(err)
	}
	guard := booth.Guard()
	handle := func(w http.ResponseWriter, r *http.Request) error {
		who, err := guard.Check(r, "reports:read")
		if err != nil {
			guard.Refuse(w, err)
			return nil
		}
		_, err = fmt.Fprintln(w, "reports for", who.ClientID)
		return err
	}

	w := httptest.NewRecorder()
	if err := handle(w, httptest.NewRequest("GET", "/reports", nil)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output: 401 Bearer realm="https://auth.example.com"
}

// A guard in another process needs the issuer's name and its public keys, here
// from a PEM file. It cannot make tokens.
func ExampleNewGuard() {
	file := `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMKBCTNIcKUSDii11ySs3526iDZ8A
iTo7Tu6KPAqv7D7gS2XpJFbZiItSs3m9+9Ue6GnvHw/GW2ZZaVtszggXIw==
-----END PUBLIC KEY-----` // what os.ReadFile returned
	keys, err := tokenbooth.ParsePEM([]byte(file))
	if err != nil {
		log.Fatal(err)
	}
	ring, err := tokenbooth.NewKeyRing(keys...)
	if err != nil {
		log.Fatal(err)
	}
	guard, err := tokenbooth.NewGuard(tokenbooth.GuardConfig{
		Issuer: "https://auth.example.com",
		Keys:   ring, // or JWKSURL, where Handler.JWKS is mounted
	})
	if err != nil {
		log.Fatal(err)
	}
	guarded := guard.Require("reports:read")(http.HandlerFunc(reports))

	w := httptest.NewRecorder()
	guarded.ServeHTTP(w, httptest.NewRequest("GET", "/reports", nil))
	fmt.Println(w.Code, w.Body)
	// Output: 401 {"error":"invalid_token","error_description":"The access token is missing"}
}

// In a test of a handler that stands behind a guard, say who asks: it needs no
// token.
func ExampleContextWithPrincipal() {
	r := httptest.NewRequest("GET", "/reports", nil)
	r = r.WithContext(tokenbooth.ContextWithPrincipal(r.Context(), &tokenbooth.Principal{
		Subject:  "client:acme",
		ClientID: "acme",
		Scope:    "reports:read",
	}))
	w := httptest.NewRecorder()
	reports(w, r)
	fmt.Print(w.Body)
	// Output: reports for acme
}

// reports stands behind a guard in every example that uses it.
func reports(w http.ResponseWriter, r *http.Request) {
	who, _ := tokenbooth.PrincipalFrom(r.Context())
	fmt.Fprintln(w, "reports for", who.ClientID)
}

func post(target, id, secret string, form url.Values) string {
	r, err := http.NewRequest("POST", target, strings.NewReader(form.Encode()))
	if err != nil {
		log.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) // RFC 6749 §2.3.1
	return send(r)
}

func get(target, token string) string {
	r, err := http.NewRequest("GET", target, nil)
	if err != nil {
		log.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return send(r)
}

func send(r *http.Request) string {
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		log.Fatal(err)
	}
	return string(body)
}

func cors(origin string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
		if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		w.WriteHeader(http.StatusNoContent)
	})
}

// Browsers of one origin may call a guarded route. The preflight has no token:
// it has to be answered outside of the guard.
func Example_browsers() {
	booth, err := tokenbooth.NewHandler(tokenbooth.HandlerConfig{
		Issuer: "https://auth.example.com", Clients: new(store.Memory),
		Tokens: tokenbooth.Opaque{}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	route := cors("https://app.example.com", booth.Guard().Require("reports:read")(http.NotFoundHandler()))

	preflight := httptest.NewRequest(http.MethodOptions, "/reports", nil)
	preflight.Header.Set("Access-Control-Request-Method", http.MethodPut)
	for _, r := range []*http.Request{preflight, httptest.NewRequest(http.MethodGet, "/reports", nil)} {
		w := httptest.NewRecorder()
		route.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Access-Control-Allow-Origin"))
	}
	// Output:
	// 204 https://app.example.com
	// 401 https://app.example.com
}
