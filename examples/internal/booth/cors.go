package booth

import "net/http"

// cors lets scripts of any origin call next and read what it answers, refusals
// too. Tokens travel in Authorization, not in cookies, so that no origin can use
// what another one's user has.
func cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			preflight(h, r.Header.Get("Access-Control-Request-Headers"))
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")
		next.ServeHTTP(w, r)
	})
}

// preflight allows the headers by name, since "*" does not mean Authorization.
func preflight(h http.Header, requested string) {
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Max-Age", "600")
	h.Set("Vary", "Access-Control-Request-Headers")
	if requested != "" {
		h.Set("Access-Control-Allow-Headers", requested)
	}
}
