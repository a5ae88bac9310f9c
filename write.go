package tokenbooth

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
)

// writeWhole is up to where net/http counts a body by itself, when the handler
// returns; beyond, it sends what it does not know the length of in chunks.
const writeWhole = 2048

// write writes the Reply to a request that was granted. Whoever writes behind it
// adds to it, as far as net/http counts it: a header of ours would cost a tenth of
// what is done here.
func write(w http.ResponseWriter, reply response.Reply) error {
	return send(w, reply, len(reply.Body) > writeWhole)
}

// send writes a Reply. What every answer must carry is set after the headers of
// the envelope, so that none can forget or change it. After an error net/http may
// still read the body (HTTP/2): it is not to be used again.
func send(w http.ResponseWriter, reply response.Reply, counted bool) error {
	h := w.Header()
	if len(reply.Header) > 0 {
		setHeaders(w, reply.Header)
	}
	// The names are in canonical form, the values in one piece: Header.Set would
	// allocate each. They are of this answer alone, since whoever wraps the writer
	// may change them.
	values := []string{jsonMediaType, "no-store", "no-cache", "nosniff"}
	h["Content-Type"] = values[0:1:1]
	h["Cache-Control"] = values[1:2:2]
	h["Pragma"] = values[2:3:3]
	h["X-Content-Type-Options"] = values[3:4:4]
	if counted {
		h["Content-Length"] = []string{strconv.Itoa(len(reply.Body))}
	} else if _, set := h["Content-Length"]; set { //nolint:staticcheck // looking costs less than deleting
		delete(h, "Content-Length") // of an envelope, or of whoever is around
	}
	w.WriteHeader(reply.Status)
	_, err := w.Write(reply.Body)
	return err
}

func setHeaders(w http.ResponseWriter, headers http.Header) {
	h := w.Header()
	for name, values := range headers {
		h[http.CanonicalHeaderKey(name)] = values
	}
}

// writeFailure writes the answer to a Failure; challenge is empty where none is
// due.
func writeFailure(w http.ResponseWriter, reply response.Reply, f *response.Failure, challenge string) {
	h := w.Header()
	setHeaders(w, reply.Header) // before ours: an envelope cannot take them away
	reply.Header = nil
	if challenge != "" {
		h.Set("WWW-Authenticate", challenge)
	}
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(retrySeconds(f.RetryAfter)))
	}
	if f.Reason == response.MethodNotAllowed {
		h.Set("Allow", cmp.Or(f.Param, http.MethodPost))
	}
	// Counted, so that net/http drops what is written after it, as by a handler
	// behind a middleware that forgot to stop.
	_ = send(w, reply, true) // who has gone needs no answer
}

// retrySeconds rounds up to whole seconds, 1 to 3600 (L2).
func retrySeconds(wait time.Duration) int {
	seconds := int((wait + time.Second - 1) / time.Second)
	return min(max(seconds, 1), 3600)
}

// basicChallenge is due on a 401 to a request that used Basic (RFC 6749 §5.2).
func basicChallenge(realm string) string {
	return `Basic realm="` + quotable(realm) + `", charset="UTF-8"`
}

// bearerChallenge is RFC 6750 §3: bare where no token was presented.
func bearerChallenge(realm string, f *response.Failure) string {
	switch f.Code {
	case response.InvalidToken, response.InsufficientScope, response.InvalidRequest:
	default:
		return ""
	}
	challenge := `Bearer realm="` + quotable(realm) + `"`
	if f.Reason == response.TokenMissing {
		return challenge
	}
	challenge += `, error="` + f.Code + `", error_description="` + quotable(f.Message) + `"`
	if f.Scope != "" {
		challenge += `, scope="` + quotable(f.Scope) + `"`
	}
	return challenge
}

func quotable(s string) string {
	return strings.NewReplacer(`"`, "", `\`, "").Replace(printable(s))
}
