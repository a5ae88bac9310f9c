package bench

import (
	"crypto"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// The names are benchstat's: Benchmark<What>/<key>=<value>/…/peer=<name>.

// TestMain makes benchmarks short where -benchtime does not say otherwise: at a
// second each, all of them would outlast go test's ten minutes.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.benchtime"); f.Value.String() == f.DefValue {
		_ = flag.Set("test.benchtime", "100ms")
	}
	m.Run()
}

func BenchmarkToken(b *testing.B) {
	each(b, tokenEndpoints, describeEndpoint, func(b *testing.B, p tokenEndpoint, alg string) {
		inProcess(b, p.new(alg), tokenCall(clientSecret), http.StatusOK)
	})
}

func BenchmarkGuard(b *testing.B) {
	each(b, bearerGuards, describeGuard, func(b *testing.B, p bearerGuard, alg string) {
		inProcess(b, p.new(alg)(resource), bearerCall(bearer[alg]), http.StatusNoContent)
	})
}

func BenchmarkTokenLoopback(b *testing.B) {
	for _, conns := range []int{2, 64} {
		b.Run(fmt.Sprintf("conns=%d", conns), func(b *testing.B) {
			each(b, tokenEndpoints, describeEndpoint, func(b *testing.B, p tokenEndpoint, alg string) {
				overLoopback(b, p.new(alg), wire(tokenCall(clientSecret)), http.StatusOK, conns)
			})
		})
	}
}

func BenchmarkGuardLoopback(b *testing.B) {
	for _, conns := range []int{2, 64} {
		b.Run(fmt.Sprintf("conns=%d", conns), func(b *testing.B) {
			each(b, bearerGuards, describeGuard, func(b *testing.B, p bearerGuard, alg string) {
				overLoopback(b, p.new(alg)(resource), wire(bearerCall(bearer[alg])), http.StatusNoContent, conns)
			})
		})
	}
}

func makeKeysNamed(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("client-%08x", i)
	}
	return keys
}

// keyWriter returns what writes the name of key i over the one before, so that
// the key is in the processor's cache, as one from a request would be, and a
// limiter's misses are its own. No limiter may keep such a key.
func keyWriter() func(i uint64) string {
	buf := []byte("client-00000000")
	return func(i uint64) string {
		writeHex(buf[7:], i)
		return unsafe.String(&buf[0], len(buf))
	}
}

// writeHex writes i over all of b, as %0*x does.
func writeHex(b []byte, i uint64) {
	for at := len(b) - 1; at >= 0; at-- {
		b[at] = "0123456789abcdef"[i&15]
		i >>= 4
	}
}

// BenchmarkLimiter decides for keys drawn at random, on all processors.
func BenchmarkLimiter(b *testing.B) {
	for _, n := range keyCounts() {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			keys := makeKeysNamed(n)
			for _, p := range rateLimiters {
				var allow allowFunc
				stop := func() {}
				b.Run("peer="+p.name, func(b *testing.B) {
					if allow == nil { // here, so that only the peers asked for fill up
						allow, stop = p.new()
						c := bearerCall("")
						for _, key := range keys {
							allow(&c.sink, &c.template, key)
						}
						runtime.GC()
						b.ResetTimer()
					}
					b.ReportAllocs()
					before := cpuTime()
					b.RunParallel(func(pb *testing.PB) {
						c := bearerCall("")
						random, name := rand.Uint64(), keyWriter()
						for pb.Next() {
							random = random*6364136223846793005 + 1442695040888963407
							key := name((random >> 33) * uint64(n) >> 31)
							if !allow(&c.sink, &c.template, key) {
								b.Error("refused")
								return
							}
						}
					})
					b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
				})
				stop()
			}
		})
	}
}

func keyCounts() []int {
	if testing.Short() {
		return []int{1, 10_000}
	}
	return []int{1, 10_000, 1_000_000}
}

// BenchmarkLimiterHeap is the heap that one more key costs: B/key. The flat
// table of the limit has its room from the start, at 2^21 slots of 16 bytes.
func BenchmarkLimiterHeap(b *testing.B) {
	n := 1_000_000
	if testing.Short() {
		n = 100_000
	}
	keys := makeKeysNamed(n)
	for _, p := range rateLimiters {
		b.Run(fmt.Sprintf("keys=%d/peer=%s", n, p.name), func(b *testing.B) {
			for range b.N {
				before := heapInUse()
				allow, stop := p.new()
				c := bearerCall("")
				for _, key := range keys {
					allow(&c.sink, &c.template, strings.Clone(key))
				}
				b.ReportMetric(float64(heapInUse()-before)/float64(n), "B/key")
				runtime.KeepAlive(allow)
				stop()
			}
		})
	}
}

// BenchmarkStoreHeap is the heap that one more live opaque token costs:
// B/token. The limit is a map from the token's SHA-256 to its client, scopes
// and expiry.
func BenchmarkStoreHeap(b *testing.B) {
	n := 300_000
	if testing.Short() {
		n = 50_000
	}
	for _, p := range tokenStores {
		b.Run(fmt.Sprintf("tokens=%d/peer=%s", n, p.name), func(b *testing.B) {
			for range b.N {
				before := heapInUse()
				issue, keep := p.new()
				for range n {
					issue()
				}
				b.ReportMetric(float64(heapInUse()-before)/float64(n), "B/token")
				runtime.KeepAlive(keep)
			}
		})
	}
}

func init() {
	tokenStores = append(tokenStores, tokenStore{"limit", func() (func(), any) {
		type live struct {
			expires        int64
			client, scopes uint32
		}
		tokens := map[[32]byte]live{}
		var id [32]byte
		return func() {
			for i := range 4 {
				v := rand.Uint64()
				for j := range 8 {
					id[8*i+j] = byte(v >> (8 * j))
				}
			}
			tokens[id] = live{time.Now().Unix(), 1, 1}
		}, tokens
	}})
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkSign and BenchmarkVerify take go-jose apart, step by step from raw
// crypto up: raw is the signature alone, over the same bytes.
func BenchmarkSign(b *testing.B) {
	for _, alg := range algs {
		signer, sign := newJoseSigner(alg), rawSigner(alg)
		input := []byte(bearer[alg][:strings.LastIndexByte(bearer[alg], '.')])
		key := jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: signingKeys[alg].private}
		answer, header := newAnswerer(alg), encodedHeader(alg)
		var all []step
		if alg == "ES256" { // RFC 6979, as crypto/ecdsa does it where there is no source of randomness
			all = append(all, step{"raw-deterministic", func() error {
				digest := sha256.Sum256(input)
				_, err := signingKeys[alg].private.(crypto.Signer).Sign(nil, digest[:], crypto.SHA256)
				return err
			}})
		}
		steps(b, alg, append(all, []step{
			{"raw", func() error {
				sign(make([]byte, 0, 256), input)
				return nil
			}},
			{"limit-answer", func() error {
				answer(make([]byte, 0, 2048))
				return nil
			}},
			{"jose-sign", func() error {
				_, err := signer.Sign(payload)
				return err
			}},
			{"jose-sign-assemble", func() error { // the compact form, from public fields and a known header
				signed, err := signer.Sign(payload)
				if err != nil {
					return err
				}
				compact := append(make([]byte, 0, 1024), header...)
				compact = base64.RawURLEncoding.AppendEncode(compact, payload)
				compact = append(compact, '.')
				base64.RawURLEncoding.AppendEncode(compact, signed.Signatures[0].Signature)
				return nil
			}},
			{"jose-sign-compact", func() error {
				signed, err := signer.Sign(payload)
				if err != nil {
					return err
				}
				_, err = signed.CompactSerialize()
				return err
			}},
			{"jose-jwt", func() error {
				_, err := jwt.Signed(signer).Claims(newAccessClaims()).Serialize()
				return err
			}},
			{"jose-jwt-new-signer", func() error {
				signer, err := jose.NewSigner(key, new(jose.SignerOptions).WithType("at+jwt").WithHeader("kid", keyID))
				if err != nil {
					return err
				}
				_, err = jwt.Signed(signer).Claims(newAccessClaims()).Serialize()
				return err
			}},
		}...))
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range algs {
		token, public, verify := bearer[alg], signingKeys[alg].public, rawVerifier(alg)
		dot := strings.LastIndexByte(token, '.')
		input := []byte(token[:dot])
		signature := rawSigner(alg)(nil, input)
		allowed := []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)}
		limit := newVerify(alg)
		steps(b, alg, []step{
			{"raw", func() error {
				if !verify(input, signature) {
					return fmt.Errorf("not verified")
				}
				return nil
			}},
			{"limit-claims", func() error {
				if limit(token) == nil {
					return fmt.Errorf("not verified")
				}
				return nil
			}},
			{"jose-parse", func() error {
				_, err := jose.ParseSignedCompact(token, allowed)
				return err
			}},
			{"jose-parse-verify", func() error {
				parsed, err := jose.ParseSignedCompact(token, allowed)
				if err != nil {
					return err
				}
				_, err = parsed.Verify(public)
				return err
			}},
			{"jose-jwt-claims", func() error {
				parsed, err := jwt.ParseSigned(token, allowed)
				if err != nil {
					return err
				}
				var claims accessClaims
				return parsed.Claims(public, &claims)
			}},
		})
	}
}

type step struct {
	name string
	do   func() error
}

// steps measures each step on one goroutine and on all, everything it uses
// being shared between them.
func steps(b *testing.B, alg string, all []step) {
	for _, s := range all {
		b.Run(fmt.Sprintf("alg=%s/goroutines=1/step=%s", alg, s.name), func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime()
			for b.Loop() {
				if err := s.do(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
		})
		b.Run(fmt.Sprintf("alg=%s/goroutines=all/step=%s", alg, s.name), func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := s.do(); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkPart is the price of single parts, to reason with.
func BenchmarkPart(b *testing.B) {
	token := bearer["ES256"]
	input := []byte(token)
	seed := maphash.MakeSeed()
	header := encodedHeader("ES256")
	var room [1024]byte
	var claims accessClaims
	var exp limitClaims
	template := tokenCall(clientSecret)
	guarded := bearerCall(token)
	var request *http.Request
	var now time.Time
	for _, part := range []struct {
		name string
		do   func()
	}{
		{"time.Now", func() { now = time.Now() }},
		{"time.Since", func() { time.Since(started) }},
		{"rand-16B", func() { crand.Read(room[:16]) }},
		{"sha256-secret", func() { sha256.Sum256(input[:len(clientSecret)]) }},
		{"sha256-token", func() { sha256.Sum256(input) }},
		{"maphash-token", func() { maphash.String(seed, token) }},
		{"base64-payload", func() { base64.RawURLEncoding.Encode(room[:], payload) }},
		{"unbase64-payload", func() { _, _ = base64.RawURLEncoding.Decode(room[:], input[len(header):len(header)+280]) }},
		{"json-exp", func() { _ = json.Unmarshal(payload, &exp) }},
		{"json-claims", func() { _ = json.Unmarshal(payload, &claims) }},
		{"context", func() { request = withClaims(&guarded.template, &exp) }},
		{"ParseForm", func() {
			template.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = r.ParseForm() }))
		}},
	} {
		b.Run("part="+part.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				part.do()
			}
		})
	}
	runtime.KeepAlive(request)
	runtime.KeepAlive(now)
}
