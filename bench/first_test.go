package bench

import (
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// BenchmarkGuardFirst is BenchmarkGuard where no token was seen before: once in a
// token's life a guard pays this, whatever it remembers. Its peers are the limit,
// the two libraries that people use plainly, and go-jose's parsing and verifying
// alone, which no guard that has go-jose verify can be without.
func BenchmarkGuardFirst(b *testing.B) {
	peers := []bearerGuard{{"jose-alone", algs, newJoseAlone}}
	for _, p := range bearerGuards {
		if slices.Contains([]string{"limit", "go-jose", "golang-jwt", "ours", "ours-bare"}, p.name) {
			peers = append(peers, p)
		}
	}
	each(b, peers, describeGuard, func(b *testing.B, p bearerGuard, alg string) {
		eachOnce(b, func() http.Handler { return p.new(alg)(resource) }, unseen(alg))
	})
}

// eachOnce is inProcess for a different token each time. When all were used a new
// guard, which has seen none, takes the place of the one before; making it is not
// measured.
func eachOnce(b *testing.B, guard func() http.Handler, tokens []string) {
	h, next := guard(), 0
	c := bearerCall(tokens[0])
	header := c.template.Header["Authorization"]
	b.ReportAllocs()
	before := cpuTime()
	for b.Loop() {
		if next == len(tokens) {
			paused := cpuTime()
			b.StopTimer()
			h, next = guard(), 0
			b.StartTimer()
			before += cpuTime() - paused
		}
		header[0] = tokens[next]
		next++
		if got := c.serve(h); got != http.StatusNoContent {
			b.Fatalf("status %d", got)
		}
	}
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
}

var unseenTokens = map[string][]string{}

// unseen returns the Authorization headers of tokens like bearer[alg], each with a
// jti of its own. They are made once, for RS256 takes a millisecond for one.
func unseen(alg string) []string {
	for i := len(unseenTokens[alg]); i < 512; i++ {
		id := binary.BigEndian.AppendUint64(make([]byte, 8), uint64(i))
		token := signed(alg, payloadNamed(base64.RawURLEncoding.EncodeToString(id)))
		unseenTokens[alg] = append(unseenTokens[alg], "Bearer "+token)
	}
	return unseenTokens[alg]
}

// newJoseAlone parses and verifies and does nothing else: it looks at no claim and
// hands nothing on.
func newJoseAlone(alg string) func(http.Handler) http.Handler {
	allowed, public := []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)}, signingKeys[alg].public
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, err := jose.ParseSignedCompact(r.Header["Authorization"][0][len("Bearer "):], allowed)
			if err == nil {
				_, err = token.Verify(public)
			}
			if err != nil {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}
}
