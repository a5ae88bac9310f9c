package grant_test

import (
	"context"
	"fmt"
	"io"
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

// Badge is a grant of one's own: a kiosk shows the badge that somebody held to
// its reader, and gets a read-only token for that person.
type Badge struct {
	People map[string]string // badge to person
}

func (Badge) Type() string { return "urn:example:grant-type:badge" }

// Parameters names what the grant reads beyond the usual parameters.
func (Badge) Parameters() []string { return []string{"badge"} }

func (b Badge) Exchange(_ context.Context, r *grant.Request) (*grant.Issue, error) {
	badge := r.Param("badge")
	if badge == "" {
		return nil, response.Missing("badge")
	}
	person, ok := b.People[badge]
	if !ok {
		return nil, response.Fail(response.GrantRefused)
	}
	return &grant.Issue{
		User:     &response.Subject{ID: person, Username: person},
		Scopes:   r.ScopesOrDefault(),
		ReadOnly: true,
	}, nil
}

// A grant of one's own, used by a client whose record allows it.
func Example_custom() {
	kiosk, secret := store.NewClient("kiosk", "rooms:open")
	kiosk.Grants = []string{Badge{}.Type()}
	clients, err := store.NewMemory(kiosk)
	if err != nil {
		fmt.Println(err)
		return
	}
	booth, err := tokenbooth.NewHandler(tokenbooth.HandlerConfig{
		Issuer:  "https://auth.example.com",
		Clients: clients,
		Grants:  []grant.Grant{Badge{People: map[string]string{"0042": "alice"}}},
		Tokens:  tokenbooth.Opaque{},
		Logger:  slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, badge := range []string{"0042", "0043", ""} {
		form := url.Values{"grant_type": {Badge{}.Type()}, "badge": {badge}, "scope": {"rooms:open"}}
		r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("kiosk", secret)
		w := httptest.NewRecorder()
		booth.ServeHTTP(w, r)
		answer := w.Body.String()
		if w.Code == http.StatusOK {
			answer = "a token"
		}
		fmt.Println(w.Code, answer)
	}
	// Output:
	// 200 a token
	// 400 {"error":"invalid_grant","error_description":"The provided grant is invalid"}
	// 400 {"error":"invalid_request","error_description":"badge is required"}
}
