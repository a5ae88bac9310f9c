// Package bench measures other people's OAuth 2 token endpoints, bearer guards
// and rate limiters against each other and against a physical limit: the same
// job done with the standard library and nothing else. See README.md.
package bench

import (
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A tokenEndpoint is a peer that issues JWT access tokens for the
// client_credentials grant to the client described in fixtures_test.go.
type tokenEndpoint struct {
	name string
	algs []string
	new  func(alg string) http.Handler
}

// A bearerGuard is a peer that lets a request through to the next handler only
// with a valid JWT in its Authorization header, and hands the claims on in the
// request's context.
type bearerGuard struct {
	name string
	algs []string
	new  func(alg string) func(http.Handler) http.Handler
}

// A rateLimiter is a peer that decides per key. new returns the decision, set
// so high that it is always yes, and a function that releases the limiter.
type rateLimiter struct {
	name string
	new  func() (allow allowFunc, stop func())
}

// allowFunc decides for one key. w and r are there for peers that can only
// decide inside a request; the others ignore them.
type allowFunc func(w http.ResponseWriter, r *http.Request, key string) bool

// A tokenStore is a peer that keeps opaque tokens in memory. issue makes one
// more live token.
type tokenStore struct {
	name string
	new  func() (issue func(), keep any)
}

// Every peer's file adds itself to these in an init function.
var (
	tokenEndpoints []tokenEndpoint
	bearerGuards   []bearerGuard
	rateLimiters   []rateLimiter
	tokenStores    []tokenStore
)

// each calls run once for every algorithm and every peer that has it, as
// sub-benchmarks that benchstat can pivot on (-row /alg -col /peer).
// The limits come first.
func each[P any](b *testing.B, peers []P, describe func(P) (string, []string), run func(b *testing.B, p P, alg string)) {
	isLimit := func(p P) bool {
		name, _ := describe(p)
		return strings.HasPrefix(name, "limit")
	}
	peers = slices.Clone(peers)
	slices.SortStableFunc(peers, func(p, q P) int {
		switch {
		case isLimit(p) && !isLimit(q):
			return -1
		case isLimit(q) && !isLimit(p):
			return 1
		}
		return 0
	})
	for _, alg := range algs {
		b.Run("alg="+alg, func(b *testing.B) {
			for _, p := range peers {
				name, has := describe(p)
				if slices.Contains(has, alg) {
					b.Run("peer="+name, func(b *testing.B) { run(b, p, alg) })
				}
			}
		})
	}
}

func describeEndpoint(p tokenEndpoint) (string, []string) { return p.name, p.algs }
func describeGuard(p bearerGuard) (string, []string)      { return p.name, p.algs }

// sink is a reusable ResponseWriter that keeps the status and, on request, the
// body. httptest.NewRecorder would cost more than some of what is measured.
type sink struct {
	header http.Header
	status int
	body   *[]byte
}

func (s *sink) Header() http.Header { return s.header }

func (s *sink) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
}

func (s *sink) Write(p []byte) (int, error) {
	s.WriteHeader(http.StatusOK)
	if s.body != nil {
		*s.body = append(*s.body, p...)
	}
	return len(p), nil
}

// call serves one request over and over without allocating: the request is
// overwritten from a template, the body rewound and the writer emptied.
type call struct {
	template http.Request
	request  http.Request
	form     string
	body     rewindable
	sink     sink
}

type rewindable struct{ strings.Reader }

func (*rewindable) Close() error { return nil }

func newCall(template *http.Request, form string) *call {
	return &call{template: *template, form: form, sink: sink{header: http.Header{}}}
}

func (c *call) serve(h http.Handler) (status int) {
	c.request = c.template
	if c.form != "" {
		c.body.Reset(c.form)
		c.request.Body = &c.body
	}
	clear(c.sink.header)
	c.sink.status = 0
	h.ServeHTTP(&c.sink, &c.request)
	return c.sink.status
}

// inProcess measures h through ServeHTTP on one goroutine. cpu-ns/op is the
// processor time of the whole process, garbage collection included: on a busy
// machine it is steadier than ns/op.
func inProcess(b *testing.B, h http.Handler, c *call, want int) {
	if got := c.serve(h); got != want {
		b.Fatalf("status %d, want %d", got, want)
	}
	b.ReportAllocs()
	before := cpuTime()
	for b.Loop() {
		if got := c.serve(h); got != want {
			b.Fatalf("status %d, want %d", got, want)
		}
	}
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
