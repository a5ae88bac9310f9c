package tokenbooth

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/tokenbooth/tokenbooth/store"
)

// held counts what a cache holds, and its bytes as they are and as it counts them.
func (c *tokenCache) held() (n, size, counted int) {
	for i := range c.shards {
		shard := &c.shards[i]
		counted += shard.bytes
		slots := shard.slots.Load()
		if slots == nil {
			continue
		}
		for j := range slots {
			if seen := slots[j].Load(); seen != nil {
				n, size = n+1, size+seen.bytes
			}
		}
	}
	return n, size, counted
}

func tcSeen(codec codec) int {
	n, _, _ := codec.(*jwtCodec).seen.held()
	return n
}

func tcToken(c *tokenCache, text string, size int) *seenToken {
	return &seenToken{text: text, hash: c.hash(text), bytes: size}
}

func tcCache() *tokenCache { return &tokenCache{seed: maphash.MakeSeed()} }

// TestB6_SeenTokenExpires: at the very moment, as one that is seen first.
func TestB6_SeenTokenExpires(t *testing.T) {
	b := gkNew(t, nil)
	elsewhere := gkGuard(t, GuardConfig{Keys: gkRing(t, gkKey("ES256")), Now: b.clock.now, Leeway: 30 * time.Second})
	token := b.mintFor(t, func(c *claims) { c.expires = gkStart.Add(time.Minute) })
	for _, step := range []struct {
		at              time.Duration
		here, elsewhere int
	}{
		{0, 204, 204},
		{time.Minute - 1, 204, 204},
		{time.Minute, 401, 204},
		{90*time.Second - 1, 401, 204},
		{90 * time.Second, 401, 401},
		{0, 204, 204},
	} {
		b.clock.set(gkStart.Add(step.at))
		if here, there := gkStatus(t, b.Guard(), token), gkStatus(t, elsewhere, token); here != step.here || there != step.elsewhere {
			t.Errorf("after %v: %d, %d elsewhere", step.at, here, there)
		}
	}
	if n := tcSeen(b.codec); n != 1 {
		t.Errorf("%d tokens are remembered", n)
	}
}

func TestB6_SeenTokenNotYetValid(t *testing.T) {
	b := gkNew(t, nil)
	key := gkKey("ES256")
	token := gkJWS(t, key.Material, gkHeader(key, "ES256").with(nil), gkClaims().with(gkMembers{"nbf": gkStart.Unix()}))
	for at, want := range map[time.Duration]int{0: 204, -1: 401, time.Second: 204, -time.Hour: 401} {
		b.clock.set(gkStart.Add(at))
		if status := gkStatus(t, b.Guard(), token); status != want {
			t.Errorf("at %v: %d", at, status)
		}
	}
}

// TestB6_KeyOfSeenToken: a key that goes takes its tokens along at once, one that
// comes back brings them back, and another one of the same name is another one.
func TestB6_KeyOfSeenToken(t *testing.T) {
	for _, algorithm := range gkAlgorithms {
		first, other := gkKey(algorithm), gkMust(GenerateKey(algorithm))
		again, next := first, gkMust(GenerateKey("HS256"))
		other.ID, next.ID = first.ID, first.ID
		if pem, ok := first.Material.([]byte); ok {
			again.Material = append([]byte{}, pem...)
		} else {
			again = gkPublic(t, first)
		}
		ring := gkRing(t, first)
		b := gkNew(t, func(c *HandlerConfig) { c.Keys = ring })
		token := b.mintFor(t, nil)
		for i, step := range []struct {
			keys []Key
			want int
		}{
			{[]Key{first}, 204},
			{[]Key{gkMust(GenerateKey("ES256")), first}, 204},
			{[]Key{gkMust(GenerateKey("ES256"))}, 401},
			{[]Key{gkMust(GenerateKey("ES256")), again}, 204},
			{[]Key{other}, 401},
			{[]Key{first}, 204},
			{[]Key{next}, 401},
			{[]Key{first}, 204},
		} {
			if err := ring.Set(step.keys...); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if status := gkStatus(t, b.Guard(), token); status != step.want {
					t.Errorf("%s, step %d: %d", algorithm, i, status)
				}
			}
		}
	}
}

type tcFinder func(id string) (verifier, bool, error)

func (f tcFinder) find(_ context.Context, id string) (verifier, bool, error) { return f(id) }

func TestB3_KeyOfSeenTokenUnknown(t *testing.T) {
	b := gkNew(t, nil)
	token := b.mintFor(t, nil)
	codec := b.codec.(*jwtCodec)
	ring := codec.jws.keys
	for _, want := range []int{204, 503, 204} {
		codec.jws.keys = ring
		if want == 503 {
			codec.jws.keys = tcFinder(func(string) (verifier, bool, error) { return verifier{}, false, errors.New("away") })
		}
		if status := gkStatus(t, b.Guard(), token); status != want {
			t.Errorf("%d, want %d", status, want)
		}
	}
}

// TestB6_SeenTokenRevoked: at once, each way.
func TestB6_SeenTokenRevoked(t *testing.T) {
	for name, revoke := range map[string]func(b *usBooth, all usTokens) error{
		"itself":  func(b *usBooth, all usTokens) error { b.revoke(t, "web", all.AccessToken); return nil },
		"family":  func(b *usBooth, all usTokens) error { b.revoke(t, "web", all.RefreshToken); return nil },
		"subject": func(b *usBooth, _ usTokens) error { return b.RevokeSubject(t.Context(), "user-7") },
		"client":  func(b *usBooth, _ usTokens) error { return b.RevokeClient(t.Context(), "web") },
	} {
		b := usNew(t)
		all := b.flow(t)
		guards := b.watchers(t)
		for _, g := range guards {
			if status := gkStatus(t, g.guard, all.AccessToken); status != http.StatusNoContent {
				t.Fatalf("%s, %s: %d", name, g.name, status)
			}
		}
		if err := revoke(b, all); err != nil {
			t.Fatal(err)
		}
		for _, g := range guards {
			want := http.StatusUnauthorized
			if !g.knows {
				want = http.StatusNoContent
			}
			if status := gkStatus(t, g.guard, all.AccessToken); status != want {
				t.Errorf("%s, %s: %d, want %d", name, g.name, status, want)
			}
		}
	}
}

// TestB6_SeenTokenIsLimited: whoever is remembered is charged all the same.
func TestB6_SeenTokenIsLimited(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Limit = Limit{PerSecond: 1.0 / 60, Burst: 3} })
	token := b.mintFor(t, nil)
	for i, want := range []int{204, 204, 204, 429, 429} {
		if status := gkStatus(t, b.Guard(), token); status != want {
			t.Errorf("request %d: %d", i, status)
		}
	}
}

// TestB6_OnlyGoodTokensAreRemembered: nobody without a good token of this issuer
// for this audience takes up memory.
func TestB6_OnlyGoodTokensAreRemembered(t *testing.T) {
	key := gkKey("ES256")
	sign := func(header, claims gkMembers) string {
		return gkJWS(t, key.Material, gkHeader(key, "ES256").with(header), gkClaims().with(claims))
	}
	good := sign(nil, nil)
	for name, token := range map[string]string{
		"garbage": "a.b.c", "another's signature": good[:strings.LastIndexByte(good, '.')] + sign(nil, gkMembers{"jti": "x"})[len(good)-87:],
		"no signature": good[:strings.LastIndexByte(good, '.')+1], "audience": sign(nil, gkMembers{"aud": "https://other.example"}),
		"issuer": sign(nil, gkMembers{"iss": "https://other.example"}), "typ": sign(gkMembers{"typ": "JWT"}, nil),
		"kid": sign(gkMembers{"kid": "other"}, nil), "no exp": sign(nil, gkMembers{"exp": gkDrop}),
	} {
		b := gkNew(t, nil)
		for _, warm := range []bool{false, true} {
			if warm {
				gkStatus(t, b.Guard(), good)
			}
			before := tcSeen(b.codec)
			if status := gkStatus(t, b.Guard(), token); status != http.StatusUnauthorized || tcSeen(b.codec) != before {
				t.Errorf("%s, after a good one %v: %d, %d remembered", name, warm, status, tcSeen(b.codec))
			}
		}
	}
}

// TestT2_SeenHeader: under a header that was good before, a signature is verified
// as strictly as the first one.
func TestT2_SeenHeader(t *testing.T) {
	for _, algorithm := range gkAlgorithms {
		key := gkKey(algorithm)
		b := gkNew(t, func(c *HandlerConfig) { c.Keys = gkRing(t, key) })
		sign := func(id string) (header, payload, signature string) {
			token := gkJWS(t, key.Material, gkHeader(key, algorithm).with(nil), gkClaims().with(gkMembers{"jti": id}))
			header, rest, _ := strings.Cut(token, ".")
			payload, signature, _ = strings.Cut(rest, ".")
			return header, payload, signature
		}
		header, payload, signature := sign("one")
		gkPassed := func(want bool, parts ...string) {
			t.Helper()
			token := strings.Join(parts, ".")
			_, err := b.codec.verify(t.Context(), token)
			if (err == nil) != want || err != nil && !errors.Is(err, errToken) {
				t.Errorf("%s: %q: %v", algorithm, token, err)
			}
		}
		gkPassed(true, header, payload, signature)
		header2, payload2, signature2 := sign("two")
		if header2 != header {
			t.Fatal("the header differs")
		}
		gkPassed(true, header, payload2, signature2)
		stranger := gkMust(GenerateKey(algorithm))
		forged := gkJWS(t, stranger.Material, gkHeader(key, algorithm).with(nil), gkClaims().with(nil))
		gkPassed(false, strings.Split(forged, ".")...)
		gkPassed(false, header, payload, signature2)
		gkPassed(false, header, payload2, signature)
		gkPassed(false, header, payload, "")
		gkPassed(false, header, "", signature)
		gkPassed(false, header, payload, signature[:len(signature)-4])
		gkPassed(false, header, payload, signature+"AAAA")
		gkPassed(false, header, payload, signature+"=")
		gkPassed(false, header, payload+"\n", signature)
		gkPassed(false, header, payload, "\r\n"+signature)
		gkPassed(false, header, payload, signature, "")
		for i := range 3 {
			other := []string{header, payload, signature}
			if last := len(other[i]) - 1; len(other[i])%4 != 0 { // the last letter has bits that count for nothing
				other[i] = other[i][:last] + string(other[i][last]+1)
				gkPassed(false, other...)
			}
		}
		gkPassed(false, header, payload)
		gkPassed(false, header)
	}
}

// TestT2_SeenHeadersAreBounded: also where each token has a header of its own.
func TestT2_SeenHeadersAreBounded(t *testing.T) {
	key := gkKey("HS256")
	b := gkNew(t, func(c *HandlerConfig) { c.Keys, c.Limiter = gkRing(t, key), Unlimited{} })
	for i := range 3 * maxSeenHeaders {
		long := strings.Repeat("x", i%2*2*maxSeenHeaderText)
		token := gkJWS(t, key.Material, gkHeader(key, "HS256").with(gkMembers{"n": strconv.Itoa(i), "x": long}), gkClaims().with(nil))
		for range 2 {
			if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
				t.Fatal(status)
			}
		}
	}
	headers := &b.codec.(*jwtCodec).jws.headers
	for text := range headers.seen {
		if len(text) > maxSeenHeaderText {
			t.Errorf("a header of %d bytes is remembered", len(text))
		}
	}
	if n := len(headers.seen); n == 0 || n > maxSeenHeaders {
		t.Errorf("%d headers are remembered", n)
	}
}

// TestB6_MemoryOfTheCaller: a framework that uses the memory of a header again
// changes nothing that is remembered.
func TestB6_MemoryOfTheCaller(t *testing.T) {
	b := gkNew(t, nil)
	one := b.mintFor(t, func(c *claims) { c.scope = "read" })
	two := b.mintFor(t, func(c *claims) { c.scope = "none" })
	if len(one) != len(two) {
		t.Fatal("the test needs tokens of one length")
	}
	memory := []byte("Bearer " + one)
	request := gkRequest("")
	request.Header["Authorization"] = []string{unsafe.String(&memory[0], len(memory))}
	first, err := b.Guard().Check(request)
	if err != nil {
		t.Fatal(err)
	}
	before := *first
	copy(memory, "Bearer "+two)
	second, err := b.Guard().Check(request)
	if err != nil || second.TokenID == before.TokenID || second.Scope != "none" {
		t.Errorf("%v: another token was taken for the first: %+v", err, second)
	}
	for i := range memory[len("Bearer "):] {
		memory[len("Bearer ")+i] = 'x'
	}
	if *first != before {
		t.Errorf("the first Principal became %+v", first)
	}
	for _, token := range []string{one, two} {
		if again, err := b.Guard().Check(gkRequest(strings.Clone(token))); err != nil || tcSeen(b.codec) != 2 || again.Subject != "client:acme" {
			t.Errorf("%v, %d remembered", err, tcSeen(b.codec))
		}
	}
	if status := gkServe(t, b.Guard().Require(), request).Code; status != http.StatusUnauthorized {
		t.Errorf("what is in the memory now is taken: %d", status)
	}
}

// TestB6_CacheOfOneGuard: what one guard remembers is nothing to another.
func TestB6_CacheOfOneGuard(t *testing.T) {
	b := gkNew(t, nil)
	token := b.mintFor(t, nil)
	keys := gkRing(t, gkKey("ES256"))
	for name, c := range map[string]GuardConfig{
		"audience": {Keys: keys, Now: b.clock.now, Audience: "https://other.example"},
		"issuer":   {Keys: keys, Now: b.clock.now, Issuer: "https://other.example"},
		"keys":     {Keys: gkRing(t, gkMust(GenerateKey("ES256"))), Now: b.clock.now},
	} {
		for range 2 {
			if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
				t.Fatal(status)
			}
			if status := gkStatus(t, gkGuard(t, c), token); status != http.StatusUnauthorized {
				t.Errorf("another %s: %d", name, status)
			}
		}
	}
}

// TestB4_SeenTokenHasItsOwnPrincipal: what a handler does to it stays its own.
func TestB4_SeenTokenHasItsOwnPrincipal(t *testing.T) {
	b := gkNew(t, nil)
	token := b.mintFor(t, nil)
	for range 3 {
		guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, ok := PrincipalFrom(r.Context())
			if !ok || p.Subject != "client:acme" || p.Scope != "read" {
				t.Errorf("%+v", p)
			}
			*p = Principal{Subject: "root", Scope: "everything"}
			gkOpen(w, r)
		})
		b.Guard().Require("read")(guarded).ServeHTTP(httptest.NewRecorder(), gkRequest(token))
		if p, err := b.Guard().Check(gkRequest(token)); err != nil || p.Subject != "client:acme" {
			t.Errorf("%v, %+v", err, p)
		} else {
			p.Subject = "root"
		}
	}
}

// TestB6_TokenCacheIsBounded: in number and in bytes, whatever comes.
func TestB6_TokenCacheIsBounded(t *testing.T) {
	const maxTokens, maxBytes = 1 << 15, 32 << 20
	for _, size := range []int{64, 1200, maxToken * 3} {
		c := tcCache()
		for i := range 3 * maxTokens {
			c.put(tcToken(c, strconv.Itoa(i), size))
		}
		n, bytes, counted := c.held()
		if n > maxTokens || bytes > maxBytes || counted != bytes {
			t.Errorf("of %d bytes each: %d tokens, %d bytes, counted as %d", size, n, bytes, counted)
		}
		if n < min(maxTokens, maxBytes/size)*3/4 {
			t.Errorf("of %d bytes each: only %d tokens", size, n)
		}
	}
}

// TestB6_FloodLeavesWhoComesAgain: distinct good tokens push one another out.
func TestB6_FloodLeavesWhoComesAgain(t *testing.T) {
	c := tcCache()
	regulars := make([]string, 2000)
	for i := range regulars {
		regulars[i] = "regular-" + strconv.Itoa(i)
		c.put(tcToken(c, regulars[i], 1200))
	}
	missed := 0
	for i := range 400_000 {
		c.put(tcToken(c, "flood-"+strconv.Itoa(i), 1200))
		if seen, _ := c.get(regulars[i%len(regulars)]); seen == nil {
			missed++
			c.put(tcToken(c, regulars[i%len(regulars)], 1200))
		}
	}
	if missed > 400_000/1000 {
		t.Errorf("%d of 400000 times a token that comes all the time was gone", missed)
	}
}

// TestB6_OneTokenForAnother: a place is shared, and what is in it is not.
func TestB6_OneTokenForAnother(t *testing.T) {
	c := tcCache()
	for i := range 1 << 14 {
		c.put(tcToken(c, strconv.Itoa(i), 100))
	}
	for i := range 1 << 15 {
		text := strconv.Itoa(i)
		if seen, _ := c.get(text); seen != nil && seen.text != text || seen != nil && i >= 1<<14 {
			t.Fatalf("%+v for %s", seen, text)
		}
	}
}

// TestB6_SameTokenTwice: two requests that read a token at the same time leave one.
func TestB6_SameTokenTwice(t *testing.T) {
	c := tcCache()
	for range 3 {
		c.put(tcToken(c, "token", 1000))
	}
	if n, bytes, counted := c.held(); n != 1 || bytes != 1000 || counted != 1000 {
		t.Errorf("%d tokens, %d bytes, counted as %d", n, bytes, counted)
	}
}

// TestB6_TokenCacheRace: many at once, while keys come and go.
func TestB6_TokenCacheRace(t *testing.T) {
	key, other := gkKey("HS256"), gkMust(GenerateKey("HS256"))
	ring := gkRing(t, other, key)
	b := gkNew(t, func(c *HandlerConfig) { c.Keys, c.Limiter = ring, Unlimited{} })
	token := func(n int) string {
		return gkJWS(t, key.Material, gkHeader(key, "HS256").with(nil), gkClaims().with(gkMembers{"jti": "id-" + strconv.Itoa(n)}))
	}
	var all []string
	for i := range 50 {
		all = append(all, token(i))
	}
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 2000 {
				n := (i*7 + g) % len(all)
				c, err := b.codec.verify(t.Context(), all[n])
				if err == nil && c.id != "id-"+strconv.Itoa(n) {
					t.Errorf("%s for %d", c.id, n)
				}
				if err != nil && !errors.Is(err, errToken) {
					t.Error(err)
				}
			}
		})
	}
	group.Go(func() {
		for i := range 200 {
			keys := []Key{other, key}
			if err := ring.Set(keys[:1+i%2]...); err != nil {
				t.Error(err)
			}
		}
	})
	group.Go(func() {
		cache := &b.codec.(*jwtCodec).seen
		for i := range 5000 {
			cache.put(tcToken(cache, fmt.Sprint("flood", i), 8000))
		}
	})
	group.Wait()
	if _, bytes, counted := b.codec.(*jwtCodec).seen.held(); bytes != counted {
		t.Errorf("%d bytes, counted as %d", bytes, counted)
	}
	if err := ring.Set(other); err != nil {
		t.Fatal(err)
	}
	if _, err := b.codec.verify(t.Context(), all[0]); !errors.Is(err, errToken) {
		t.Errorf("a retired key: %v", err)
	}
}

// TestPlainClaims: what this package writes needs no other reader.
func TestPlainClaims(t *testing.T) {
	b := gkNew(t, nil)
	token := b.mintFor(t, func(c *claims) {
		c.subject, c.username, c.readOnly = "user-7", "ada", true
		c.family, c.subjectEpoch, c.clientEpoch = strings.Repeat("f", 16), 1_700_000_000_000, 5
	})
	payload, err := verifyJWS(t.Context(), gkRing(t, gkKey("ES256")), token, "at+jwt")
	if err != nil {
		t.Fatal(err)
	}
	plain, ok := readPlainClaims(string(payload))
	if other, _ := readClaims(payload); !ok || !reflect.DeepEqual(plain, other) {
		t.Errorf("%s is read as %+v, %v, and by the other reader as %+v", payload, plain, ok, other)
	}
}

// FuzzPlainClaims: the reader of plain claims takes nothing that the other one
// refuses or reads otherwise.
func FuzzPlainClaims(f *testing.F) {
	for _, payload := range []string{
		gkClaims().with(nil), gkClaims().with(gkMembers{"nbf": 1, "read_only": true, "fam": "a", "sep": 1, "cep": 2, "username": "u"}),
		`{"iss":"a","iss":"b"}`, `{"exp":0}`, `{"exp":00}`, `{"exp":1099511627777}`, `{"exp":999999999999999}`, `{"sep":9999999999999999}`,
		`{"read_only":true,"read_only":true}`, `{"read_only":truex}`, `{"sub":"\u0041"}`, "{\"sub\":\"\x7f\"}", `{"sub":"é"}`, `{"sub":"a"}x`,
		`{"aud":["a"]}`, `{"aud":"a"}`, `{}`, `{"":""}`, `{"ISS":"a"}`, `{"sub":"a",}`, `{"exp":1.5}`, `{"exp":-1}`, `{"iat":1e3}`, ``, `{`, `{"sub":"`,
	} {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		plain, ok := readPlainClaims(payload)
		if !ok {
			return
		}
		if other, ok := readClaims([]byte(payload)); plain.audience != "" && (!ok || !reflect.DeepEqual(plain, other)) {
			t.Fatalf("%q is read as %+v, and by the other reader as %+v, %v", payload, plain, other, ok)
		}
	})
}

// TestUnlimitedChecksTheRecord: a rate that makes no sense lets nobody pass, also
// where there is no limit.
func TestUnlimitedChecksTheRecord(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Limiter = Unlimited{} })
	token := b.mintFor(t, nil)
	b.guard.clients.clients = &gkClients{inner: tcBadRate{}}
	if status := gkStatus(t, b.Guard(), token); status != http.StatusServiceUnavailable {
		t.Error(status)
	}
}

type tcBadRate struct{}

func (tcBadRate) Client(_ context.Context, id string) (*store.Client, error) {
	return &store.Client{ID: id, Rate: &store.Rate{PerSecond: -1, Burst: 1}}, nil
}
