package booth

import (
	"encoding/json"
	"net/http"

	"github.com/tokenbooth/tokenbooth"
)

// whoami answers what the token says that opened the route.
var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	p, ok := tokenbooth.PrincipalFrom(r.Context())
	if !ok {
		// Only a route without a guard gets here.
		http.Error(w, "no guard", http.StatusInternalServerError)
		return
	}
	writeJSON(w, struct {
		ClientID string   `json:"client_id"`
		Subject  string   `json:"subject"`
		Username string   `json:"username"`
		Scopes   []string `json:"scopes"`
		ReadOnly bool     `json:"read_only"`
	}{p.ClientID, p.Subject, p.Username, p.Scopes(), p.ReadOnly})
})

// noData stands for the products and carts of a shop.
var noData = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string][]string{"data": {}})
})

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(body) // fails only when the caller has gone
}
