package bench

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The physical limit of token issuance, twice: "limit" reads the form as
// net/http does; "limit-tight" scans the body in place and reuses its buffers.
// "floor" answers a constant and shows what is left of net/http itself.
func init() {
	tokenEndpoints = append(tokenEndpoints,
		tokenEndpoint{"floor", []string{"ES256", "HS256"}, func(string) http.Handler { return http.HandlerFunc(floorToken) }},
		tokenEndpoint{"limit", algs, newLimitToken},
		tokenEndpoint{"limit-tight", algs, newTightToken},
	)
}

var constantAnswer = []byte(`{"access_token":"` + strings.Repeat("A", 440) + `","token_type":"Bearer","expires_in":3600}`)

func floorToken(w http.ResponseWriter, r *http.Request) {
	setTokenHeaders(w.Header())
	_, _ = w.Write(constantAnswer)
}

// limitClients is the one map look-up: a client's id to its secret's SHA-256.
var limitClients = map[string][sha256.Size]byte{clientID: sha256.Sum256([]byte(clientSecret))}

func authenticated(id, secret []byte) bool {
	want, known := limitClients[string(id)]
	got := sha256.Sum256(secret)
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && known
}

func newLimitToken(alg string) http.Handler {
	answer := newAnswerer(alg)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ParseForm() != nil || r.PostForm.Get("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if !authenticated([]byte(r.PostForm.Get("client_id")), []byte(r.PostForm.Get("client_secret"))) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		setTokenHeaders(w.Header())
		_, _ = w.Write(answer(make([]byte, 0, 2048)))
	})
}

func newTightToken(alg string) http.Handler {
	answer := newAnswerer(alg)
	buffers := sync.Pool{New: func() any { return new([4096]byte) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buffer := buffers.Get().(*[4096]byte)
		defer buffers.Put(buffer)
		n := 0
		for n < len(buffer) {
			m, err := r.Body.Read(buffer[n:])
			n += m
			if err != nil {
				break
			}
		}
		grant, id, secret, ok := scanForm(buffer[:n])
		if !ok || string(grant) != "client_credentials" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if !authenticated(id, secret) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		setTokenHeaders(w.Header())
		_, _ = w.Write(answer(buffer[:0]))
	})
}

// scanForm finds three fields in a form, and leaves escapes to net/url.
func scanForm(body []byte) (grant, id, secret []byte, ok bool) {
	for len(body) > 0 {
		pair := body
		body = nil
		for i, c := range pair {
			if c == '&' {
				pair, body = pair[:i], pair[i+1:]
				break
			}
		}
		for i, c := range pair {
			if c != '=' {
				continue
			}
			value := pair[i+1:]
			switch string(pair[:i]) {
			case "grant_type":
				grant = value
			case "client_id":
				id = unescape(value)
			case "client_secret":
				secret = unescape(value)
			}
			break
		}
	}
	return grant, id, secret, id != nil && secret != nil
}

func unescape(v []byte) []byte {
	for _, c := range v {
		if c == '%' || c == '+' {
			s, err := url.QueryUnescape(string(v))
			if err != nil {
				return nil
			}
			return []byte(s)
		}
	}
	return v
}

var (
	jsonType = []string{"application/json"}
	noStore  = []string{"no-store"}
)

func setTokenHeaders(h http.Header) {
	h["Content-Type"] = jsonType
	h["Cache-Control"] = noStore
}

// newAnswerer returns what appends a whole token response to dst, which has
// room for 2,048 bytes: claims of a fixed shape around the time and 16 random
// bytes, signed.
func newAnswerer(alg string) func(dst []byte) []byte {
	header, sign := encodedHeader(alg), rawSigner(alg)
	fixed := []byte(`{"iss":"` + issuer + `","sub":"` + clientID + `","aud":"` + audience +
		`","client_id":"` + clientID + `","scope":"` + scope + `","iat":`)
	return func(dst []byte) []byte {
		scratch := dst[1024:1024:2048] // for what is written there in base64
		id := scratch[:16]
		rand.Read(id)
		now := time.Now().Unix()

		claims := append(scratch[16:16], fixed...)
		claims = strconv.AppendInt(claims, now, 10)
		claims = append(claims, `,"exp":`...)
		claims = strconv.AppendInt(claims, now+int64(lifetime/time.Second), 10)
		claims = append(claims, `,"jti":"`...)
		claims = base64.RawURLEncoding.AppendEncode(claims, id)
		claims = append(claims, `"}`...)

		dst = append(dst, `{"access_token":"`...)
		start := len(dst)
		dst = append(dst, header...)
		dst = base64.RawURLEncoding.AppendEncode(dst, claims)
		signature := sign(scratch, dst[start:])
		dst = append(dst, '.')
		dst = base64.RawURLEncoding.AppendEncode(dst, signature)
		return append(dst, `","token_type":"Bearer","expires_in":3600}`...)
	}
}
