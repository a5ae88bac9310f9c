package tokenboothtest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/tokenboothtest"
)

func TestTokensAndTheirAnswers(t *testing.T) {
	issuer := tokenboothtest.NewIssuer(t)
	for _, tt := range []struct {
		name, method, token string
		want                int
	}{
		{"good", "GET", issuer.Token("read"), 200},
		{"more scopes", "GET", issuer.Token("write", "read"), 200},
		{"user", "GET", issuer.UserToken("alice", "read"), 200},
		{"no scope", "GET", issuer.Token(), 403},
		{"other scope", "GET", issuer.Token("write"), 403},
		{"read-only reads", "GET", issuer.ReadOnly("read"), 200},
		{"read-only writes", "POST", issuer.ReadOnly("read"), 403},
		{"expired", "GET", issuer.Expired("read"), 401},
		{"wrong audience", "GET", issuer.WrongAudience("read"), 401},
		{"wrong key", "GET", issuer.WrongKey("read"), 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ran := false
			guarded := issuer.Guard().Require("read")(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				p, ok := tokenbooth.PrincipalFrom(r.Context())
				ran = ok && p.ClientID == tokenboothtest.ClientID
			}))
			w := httptest.NewRecorder()
			guarded.ServeHTTP(w, tokenboothtest.Authorize(httptest.NewRequest(tt.method, "/", nil), tt.token))
			if w.Code != tt.want || ran != (tt.want == 200) {
				t.Errorf("status %d, handler ran: %v; want %d", w.Code, ran, tt.want)
			}
		})
	}
}

// A program's own test: its routes, behind a guard that a test issuer feeds.
func ExampleIssuer() {
	t := new(testing.T) // in a test, its own
	issuer := tokenboothtest.NewIssuer(t)

	routes := http.NewServeMux()
	routes.Handle("GET /reports", issuer.Guard().Require("reports:read")(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			who, _ := tokenbooth.PrincipalFrom(r.Context())
			fmt.Fprintf(w, "reports for %s", who.Subject)
		})))

	for _, token := range []string{issuer.UserToken("alice", "reports:read"), issuer.Expired("reports:read")} {
		answer := httptest.NewRecorder()
		routes.ServeHTTP(answer, tokenboothtest.Authorize(httptest.NewRequest("GET", "/reports", nil), token))
		fmt.Println(answer.Code, answer.Body)
	}
	// Output:
	// 200 reports for alice
	// 401 {"error":"invalid_token","error_description":"The access token expired"}
}
