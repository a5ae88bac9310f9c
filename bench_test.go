package tokenbooth

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/tokenbooth/tokenbooth/store"
)

var benchAlgorithms = []string{"ES256", "EdDSA", "RS256", "HS256"}

// discard is a ResponseWriter that keeps the status and reuses its header.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

func benchHandler(b testing.TB, tokens TokenFormat, algorithm string) (*Handler, string) {
	b.Helper()
	client, secret := store.NewClient("acme", "read", "write")
	client.Rate = &store.Rate{PerSecond: 1e9, Burst: 1e9}
	clients, err := store.NewMemory(client)
	if err != nil {
		b.Fatal(err)
	}
	key, err := GenerateKey(algorithm)
	if err != nil {
		b.Fatal(err)
	}
	ring, err := NewKeyRing(key)
	if err != nil {
		b.Fatal(err)
	}
	h, err := NewHandler(HandlerConfig{
		Issuer: "https://issuer.example", Clients: clients, Keys: ring, Tokens: tokens,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		b.Fatal(err)
	}
	return h, secret
}

// serveOver serves the same request over and over without allocating itself.
func serveOver(b *testing.B, h http.Handler, template *http.Request, body string, want int) {
	b.Helper()
	w := &discard{header: http.Header{}}
	reader := strings.NewReader(body)
	b.ReportAllocs()
	for b.Loop() {
		r := *template
		reader.Reset(body)
		r.Body = io.NopCloser(reader)
		r.ContentLength = int64(len(body))
		clear(w.header)
		w.status = 0
		h.ServeHTTP(w, &r)
		if w.status != want {
			b.Fatalf("status %d, want %d", w.status, want)
		}
	}
}

func tokenRequest(secret string) (*http.Request, string) {
	r, _ := http.NewRequest(http.MethodPost, "/token", http.NoBody)
	r.RemoteAddr = "192.0.2.1:4711"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r, "grant_type=client_credentials&client_id=acme&client_secret=" + secret + "&scope=read+write"
}

func BenchmarkToken(b *testing.B) {
	for _, algorithm := range benchAlgorithms {
		b.Run("JWT/"+algorithm, func(b *testing.B) {
			h, secret := benchHandler(b, JWT{}, algorithm)
			r, body := tokenRequest(secret)
			serveOver(b, h, r, body, http.StatusOK)
		})
	}
	b.Run("Opaque", func(b *testing.B) {
		h, secret := benchHandler(b, Opaque{}, "HS256")
		r, body := tokenRequest(secret)
		serveOver(b, h, r, body, http.StatusOK)
	})
}

func benchToken(b *testing.B, h *Handler) *http.Request {
	b.Helper()
	c := claims{
		subject: "client:acme", clientID: "acme", scope: "read write", issued: h.now(), expires: h.now().Add(h.lifetimes.Access),
	}
	token, err := h.codec.mint(b.Context(), &c)
	if err != nil {
		b.Fatal(err)
	}
	r, _ := http.NewRequest(http.MethodGet, "/resource", http.NoBody)
	r.RemoteAddr = "192.0.2.1:4711"
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

var benchResource = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

// BenchmarkGuard is a token that was seen before.
func BenchmarkGuard(b *testing.B) {
	run := func(b *testing.B, tokens TokenFormat, algorithm string) {
		h, _ := benchHandler(b, tokens, algorithm)
		serveOver(b, h.Guard().Require("read")(benchResource), benchToken(b, h), "", http.StatusNoContent)
	}
	for _, algorithm := range benchAlgorithms {
		b.Run("JWT/"+algorithm, func(b *testing.B) { run(b, JWT{}, algorithm) })
	}
	b.Run("Opaque", func(b *testing.B) { run(b, Opaque{}, "HS256") })
}

// BenchmarkGuardFirst is a token that nobody has seen, after another one of the
// same key.
func BenchmarkGuardFirst(b *testing.B) {
	for _, algorithm := range benchAlgorithms {
		b.Run("JWT/"+algorithm, func(b *testing.B) {
			h, _ := benchHandler(b, JWT{}, algorithm)
			requests := make([]*http.Request, 512)
			for i := range requests {
				requests[i] = benchToken(b, h)
			}
			w := &discard{header: http.Header{}}
			var guarded http.Handler
			next := len(requests)
			b.ReportAllocs()
			for b.Loop() {
				if next == len(requests) {
					b.StopTimer()
					h.codec = JWT{}.codec(codecConfig{issuer: h.issuer, audience: h.audience, keys: h.keys, state: h.state})
					guarded, next = h.newGuard().Require("read")(benchResource), 0
					b.StartTimer()
				}
				w.status = 0
				guarded.ServeHTTP(w, requests[next])
				if next++; w.status != http.StatusNoContent {
					b.Fatal(w.status)
				}
			}
		})
	}
}
