package load

import (
	"encoding/json"
	"fmt"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

const (
	redirectURI = "http://127.0.0.1:9999/callback"
	people      = 48
	scopes      = "openid profile offline_access customers:read"
)

// A client is one of those that the campaign brings into the database.
type client struct {
	ID           string   `json:"id"`
	Secret       string   `json:"secret,omitempty"`
	Public       bool     `json:"public,omitempty"`
	Number       int      `json:"number"`
	Name         string   `json:"name"`
	Grants       []string `json:"grants"`
	Scopes       []string `json:"scopes"`
	RedirectURIs []string `json:"redirect_uris,omitempty"`
	Rate         rate     `json:"rate"`
}

type rate struct {
	PerSecond float64 `json:"per_second"`
	Burst     int     `json:"burst"`
}

type person struct {
	Number   int      `json:"number"`
	Username string   `json:"username"`
	Password string   `json:"password"`
	Name     string   `json:"name"`
	Scopes   []string `json:"scopes"`
}

var (
	ample   = rate{10_000, 20_000} // so that a limit is never the reason
	machine = &client{
		ID: "machine", Secret: "machine-secret-3d1b9a7c5e2f4068", Number: 101, Name: "Machine",
		Grants: []string{"client_credentials"}, Scopes: []string{"customers:read"}, Rate: ample,
	}
	app = &client{ //nolint:gosec // it lives as long as the campaign
		ID: "app", Secret: "app-secret-8c6e4a2f0b1d3957", Number: 102, Name: "App", RedirectURIs: []string{redirectURI},
		Grants: []string{"authorization_code", "refresh_token"}, Scopes: scopeList, Rate: ample,
	}
	page = &client{
		ID: "page", Public: true, Number: 103, Name: "Page", RedirectURIs: []string{redirectURI},
		Grants: []string{"authorization_code", "refresh_token"}, Scopes: scopeList, Rate: ample,
	}
	scopeList = []string{"openid", "profile", "offline_access", "customers:read"}
)

// hasty are clients that ask for more than they may.
var hasty = []*client{hurry(1, rate{1, 3}), hurry(2, rate{2, 5}), hurry(3, rate{5, 10})}

func hurry(n int, r rate) *client {
	return &client{
		ID: fmt.Sprintf("hasty-%d", n), Secret: fmt.Sprintf("hasty-secret-%d-5f7d9b1c3e0a2846", n), Number: 103 + n, Name: "Hasty",
		Grants: []string{"client_credentials"}, Scopes: []string{}, Rate: r,
	}
}

func personOf(n int) *person {
	return &person{
		Number: n + 1, Username: fmt.Sprintf("person-%d", n+1), Password: fmt.Sprintf("correct horse battery staple %d", n+1),
		Name: "Person", Scopes: scopeList,
	}
}

// Fixtures are the clients and users that a server has to know, as the example
// servers read them.
func Fixtures() ([]byte, error) {
	all := make([]*person, people)
	for i := range all {
		all[i] = personOf(i)
	}
	return json.Marshal(map[string]any{"clients": append([]*client{machine, app, page}, hasty...), "users": all})
}

// Limits are those of the clients that run into theirs.
func Limits() map[string]ledger.Limit {
	limits := map[string]ledger.Limit{}
	for _, c := range hasty {
		limits[c.ID] = ledger.Limit{PerSecond: c.Rate.PerSecond, Burst: c.Rate.Burst}
	}
	return limits
}
