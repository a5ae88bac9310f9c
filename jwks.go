package tokenbooth

import (
	"net/http"

	"github.com/tokenbooth/tokenbooth/response"
)

// JWKS answers the public keys as a JSON Web Key Set (RFC 7517 §5), which any
// origin may read and anybody may keep for 5 minutes.
func (h *Handler) JWKS(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		f := response.Fail(response.MethodNotAllowed)
		f.Message = "The request method must be GET"
		w.Header().Set("Allow", "GET, HEAD")
		h.refuse(w, r, &exchange{now: h.now(), address: h.addresses.of(r)}, f)
		return
	}
	body := []byte(`{"keys":[]}`)
	if h.keys != nil {
		body = h.keys.set().jwks
	}
	header := w.Header()
	header.Set("Content-Type", "application/jwk-set+json")
	header.Set("Cache-Control", "public, max-age=300")
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(body)
}
