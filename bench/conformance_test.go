package bench

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/tokenbooth/tokenbooth/store"
)

// What is measured must be the job: every endpoint's token verifies and every
// endpoint refuses a wrong secret; every guard lets the valid token through and
// refuses a forged one and none; every limiter says yes.

func TestTokenEndpoints(t *testing.T) {
	for _, p := range tokenEndpoints {
		for _, alg := range p.algs {
			if p.name == "floor" {
				continue
			}
			t.Run(p.name+"/"+alg, func(t *testing.T) {
				h := p.new(alg)
				var body []byte
				good := tokenCall(clientSecret)
				good.sink.body = &body
				if got := good.serve(h); got != http.StatusOK {
					t.Fatalf("status %d: %s", got, body)
				}
				var answer tokenAnswer
				if err := json.Unmarshal(body, &answer); err != nil {
					t.Fatal(err)
				}
				if !strings.EqualFold(answer.TokenType, "Bearer") || answer.ExpiresIn < 3590 || answer.ExpiresIn > 3600 {
					t.Errorf("answer %s", body)
				}
				checkToken(t, alg, answer.AccessToken)
				t.Logf("%d bytes of token, %d of answer", len(answer.AccessToken), len(body))

				if got := tokenCall("wrong" + clientSecret).serve(h); got != http.StatusUnauthorized && got != http.StatusBadRequest {
					t.Errorf("wrong secret: status %d", got)
				}
			})
		}
	}
}

func checkToken(t *testing.T, alg, token string) {
	dot := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		t.Fatal(err)
	}
	if !rawVerifier(alg)([]byte(token[:dot]), signature) {
		t.Error("the signature does not verify")
	}
	parts := strings.Split(token, ".")
	header := string(must(base64.RawURLEncoding.DecodeString(parts[0])))
	if !strings.Contains(header, fmt.Sprintf(`"alg":%q`, alg)) {
		t.Errorf("header %s", header)
	}
	var c limitClaims
	if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(parts[1])), &c); err != nil {
		t.Fatal(err)
	}
	if left := c.Exp - time.Now().Unix(); left < 3590 || left > 3600 {
		t.Errorf("expires in %d s", left)
	}
}

func TestBearerGuards(t *testing.T) {
	for _, p := range bearerGuards {
		for _, alg := range p.algs {
			t.Run(p.name+"/"+alg, func(t *testing.T) {
				h := p.new(alg)(resource)
				for range 2 { // twice, for those that remember
					if got := bearerCall(bearer[alg]).serve(h); got != http.StatusNoContent {
						t.Fatalf("valid token: status %d", got)
					}
				}
				for what, token := range map[string]string{"forged": forge(bearer[alg]), "none": ""} {
					if got := bearerCall(token).serve(h); got != http.StatusUnauthorized && got != http.StatusBadRequest {
						t.Errorf("%s token: status %d", what, got)
					}
				}
			})
		}
	}
}

// forge changes one bit of a token's signature.
func forge(token string) string {
	dot := strings.LastIndexByte(token, '.')
	signature := must(base64.RawURLEncoding.DecodeString(token[dot+1:]))
	signature[len(signature)/2] ^= 1
	return token[:dot+1] + base64.RawURLEncoding.EncodeToString(signature)
}

func TestRateLimiters(t *testing.T) {
	for _, p := range rateLimiters {
		t.Run(p.name, func(t *testing.T) {
			allow, stop := p.new()
			defer stop()
			c := bearerCall("")
			for _, key := range makeKeysNamed(100) {
				for range 3 {
					if !allow(&c.sink, &c.template, key) {
						t.Fatal("refused")
					}
				}
			}
		})
	}
}

func TestKeyWriter(t *testing.T) {
	name := keyWriter()
	for i, want := range makeKeysNamed(1000) {
		if got := name(uint64(i)); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

func TestDER(t *testing.T) {
	for i := range 2000 {
		input := fmt.Append(nil, i)
		signature := rawSigner("ES256")(nil, input)
		if !rawVerifier("ES256")(input, signature) {
			t.Fatal(i)
		}
		if der := appendDER(nil, signature); !bytes.Equal(appendFixed(nil, der), signature) {
			t.Fatalf("%x", signature)
		}
	}
}

// TestJoseHeader shows that go-jose's protected header is the same every time,
// so that a caller may know it and assemble the compact form by itself.
func TestJoseHeader(t *testing.T) {
	for _, alg := range algs {
		compact := must(must(newJoseSigner(alg).Sign(payload)).CompactSerialize())
		if !strings.HasPrefix(compact, string(encodedHeader(alg))) {
			t.Errorf("%s: %s", alg, compact)
		}
	}
}

// TestOneSignerManyGoroutines is for the race detector: go test -race -run Signer.
func TestOneSignerManyGoroutines(t *testing.T) {
	for _, alg := range algs {
		signer := newJoseSigner(alg)
		allowed := []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 50 {
					signed, err := signer.Sign(payload)
					if err != nil {
						t.Error(err)
						return
					}
					compact := must(signed.CompactSerialize())
					parsed := must(jose.ParseSignedCompact(compact, allowed))
					if got, err := parsed.Verify(signingKeys[alg].public); err != nil || !bytes.Equal(got, payload) {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	}
}

// TestOursHasAllOn: what is measured issues under limits, tells events, forbids
// caching, and its guard knows at once what was revoked.
func TestOursHasAllOn(t *testing.T) {
	config := ourConfig("HS256")
	record := *must(config.Clients.Client(t.Context(), clientID))
	record.Rate = &store.Rate{PerSecond: 0.001, Burst: 1}
	config.Clients = must(store.NewMemory(&record))
	h := newOurs(config)

	before := events.Load()
	var body []byte
	c := tokenCall(clientSecret)
	c.sink.body = &body
	if got := c.serve(h); got != http.StatusOK || c.sink.header.Get("Cache-Control") != "no-store" || events.Load() != before+1 {
		t.Errorf("status %d, %v, %d events", got, c.sink.header, events.Load()-before)
	}
	if got := c.serve(h); got != http.StatusTooManyRequests {
		t.Errorf("beyond the rate: status %d", got)
	}

	var answer tokenAnswer
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	guard := h.Guard().Require("read")(resource)
	if got := bearerCall(answer.AccessToken).serve(guard); got != http.StatusNoContent {
		t.Errorf("a good token: status %d", got)
	}
	if err := h.RevokeClient(t.Context(), clientID); err != nil {
		t.Fatal(err)
	}
	if got := bearerCall(answer.AccessToken).serve(guard); got != http.StatusUnauthorized {
		t.Errorf("a revoked token: status %d", got)
	}
}
