package tokenbooth

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

const epGrantOnly = "grant_type=client_credentials"

type epChanges = []func(*http.Request)

func TestC1_BasicInEveryEnvelope(t *testing.T) {
	odd, oddSecret := "odd+d id:é", "p+l%u s:é&=secret"
	epAnswers(t, "C1", []epCase{
		{name: "form-encoded", body: epGrantOnly, changes: epChanges{epEscapedBasic(odd, oddSecret)}},
		{name: "raw where only that matches", body: epGrantOnly, changes: epChanges{epBasic("raw+1", "s+1%41")}},
		{name: "encoded where raw would do", body: epGrantOnly, changes: epChanges{epEscapedBasic("raw+1", "s+1%41")}},
		{name: "plain", body: epGrantOnly, changes: epChanges{epBasic("acme", epSecret)}},
		{name: "with the same id in the body", body: epGrantOnly + "&client_id=acme", changes: epChanges{epBasic("acme", epSecret)}},
		{name: "encoded, body id", body: epGrantOnly + "&client_id=" + url.QueryEscape(odd), changes: epChanges{epEscapedBasic(odd, oddSecret)}},
		{name: "wrong in both readings", body: epGrantOnly, changes: epChanges{epBasic("raw+1", "s+1%42")}, reason: response.SecretWrong, asks: true},
		{name: "in the body", body: epCredentials(odd, oddSecret)},
	})
}

// Whatever the two readings find, it is one failed attempt.
func TestC1_TwoReadingsAreOneAttempt(t *testing.T) {
	b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.FailureLimit = Limit{PerSecond: 0.01, Burst: 5} })
	for i := range 7 {
		want, reason := 401, response.SecretWrong
		if i >= 5 {
			want, reason = 429, response.Throttled
		}
		b.want(t, b.post(epGrantOnly, epBasic("raw+1", "s+1%42")), want, reason)
	}
	b.want(t, b.post(epGrantOnly, epBasic("raw+1", "s+1%41")), 200, "")
}

// The other reading names another client, whose names are as long.
func TestC1_TheReadingThatMatchesHasTheToken(t *testing.T) {
	b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.Limit = Limit{PerSecond: 0.01, Burst: 2} })
	b.clients.all["raw+1"].Rate = nil
	other := *b.clients.all["acme"]
	other.ID, other.Rate = "raw 1", nil
	b.clients.all[other.ID] = &other
	for range 2 {
		b.want(t, b.post(epGrantOnly, epBasic("raw+1", "s+1%41")), 200, "")
		all := b.all()
		if e := all[len(all)-1]; e.ClientID != "raw+1" || e.Subject != "client:raw+1" {
			t.Errorf("%+v", e)
		}
	}
	b.want(t, b.post(epGrantOnly, epBasic("raw+1", "s+1%41")), 429, response.Throttled)
	b.want(t, b.post(epCredentials("raw 1", epSecret)), 200, "")
}

func TestC2_OneMechanism(t *testing.T) {
	const invalid, twice = response.AuthorizationInvalid, response.CredentialsTwice
	good := epBasic("acme", epSecret)
	line := func(lines ...string) epChanges { return epChanges{epHeader("Authorization", lines...)} }
	epAnswers(t, "C2", []epCase{
		{name: "Basic and a secret in the body", body: epAcme, changes: epChanges{good}, reason: twice},
		{name: "Basic and the secret alone", body: epGrantOnly + "&client_secret=" + epSecret, changes: epChanges{good}, reason: twice},
		{name: "another id in the body", body: epGrantOnly + "&client_id=probe", changes: epChanges{good}, reason: twice},
		{name: "another case of the id", body: epGrantOnly + "&client_id=Acme", changes: epChanges{good}, reason: twice},
		{name: "two lines", body: epGrantOnly, changes: epChanges{good, good}, reason: invalid},
		{name: "an empty line", body: epAcme, changes: line(""), reason: invalid},
		{name: "Bearer", body: epAcme, changes: line("Bearer abc"), reason: invalid},
		{name: "Basic without credentials", body: epAcme, changes: line("Basic"), reason: invalid},
		{name: "no base64", body: epAcme, changes: line("Basic !!!"), reason: invalid},
		{name: "no colon", body: epAcme, changes: line("Basic YWNtZQ=="), reason: invalid},
		{name: "no id", body: epAcme, changes: line("Basic OnNlY3JldA=="), reason: invalid},
		{name: "unusable, for a public client", body: "grant_type=implicit&client_id=storefront", changes: line("Negotiate x"), reason: invalid},
		{name: "an empty secret in the body", body: epGrantOnly + "&client_secret=", changes: epChanges{good}},
	})
}

func TestC3_SentCredentialsAreVerified(t *testing.T) {
	const anonymous = "grant_type=implicit&client_id=storefront"
	wrong, unknown := response.SecretWrong, response.ClientUnknown
	epAnswers(t, "C3", []epCase{
		{name: "none", body: anonymous},
		{name: "Basic without a secret", body: "grant_type=implicit", changes: epChanges{epBasic("storefront", "")}},
		{name: "secret of a public client", body: anonymous + "&client_secret=x", reason: wrong, asks: true},
		{name: "Basic of a public client", body: "grant_type=implicit", changes: epChanges{epBasic("storefront", "x")}, reason: wrong, asks: true},
		{name: "secret of nobody", body: "grant_type=implicit&client_id=nobody&client_secret=x", reason: unknown, asks: true},
		{name: "right secret", body: "grant_type=implicit&client_id=shop&client_secret=shop-secret"},
		{name: "wrong secret", body: "grant_type=implicit&client_id=shop&client_secret=x", reason: wrong, asks: true},
		{name: "right secret of a public client", body: epCredentials("twofaced", "twofaced-secret"), reason: wrong, asks: true},
		{name: "not in the registered way", body: epGrantOnly, changes: epChanges{epBasic("post-only", "post-secret")}, reason: wrong, asks: true},
	})
}

// Who guesses learns nothing: not who exists, and not who is disabled.
func TestC4_UnknownAndWrongAreAlike(t *testing.T) {
	known := []string{"acme", "disabled", "longlived", "storefront", "closed", "bare", "hollow", "prefixed", "twofaced", "post-only", "narrow"}
	epEach(t, func(t *testing.T, e epEnvelope) {
		ways := map[string]func(b *epBooth, id string) *httptest.ResponseRecorder{
			"body":  func(b *epBooth, id string) *httptest.ResponseRecorder { return b.post(epCredentials(id, "x")) },
			"Basic": func(b *epBooth, id string) *httptest.ResponseRecorder { return b.post(epGrantOnly, epBasic(id, "x")) },
			"implicit": func(b *epBooth, id string) *httptest.ResponseRecorder {
				return b.post("grant_type=implicit&client_secret=x&client_id=" + id)
			},
			"password": func(b *epBooth, id string) *httptest.ResponseRecorder {
				return b.post("grant_type=password&username=admin&password=x&client_secret=x&client_id=" + id)
			},
			"bad scope": func(b *epBooth, id string) *httptest.ResponseRecorder {
				return b.post(epCredentials(id, "x") + "&scope=admin")
			},
		}
		for way, send := range ways {
			b := epNew(t, e.formatter)
			reference := "nobody"
			if e.name == "content" {
				reference = "acme" // it tells the unknown, on purpose
				if w := send(b, "nobody"); w.Code != 404 {
					t.Errorf("%s: Content documents 404 for an unknown client, got %d %s", way, w.Code, w.Body)
				}
			}
			want := send(b, reference)
			for _, id := range known {
				epSame(t, way+": "+reference+" and "+id, want, send(b, id))
			}
			b.alive(t)
		}
	})
}

func TestC4_AlikeWhenThrottled(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		b := epNew(t, e.formatter)
		for range 20 {
			b.post(epCredentials("nobody", "x"))
			b.post(epCredentials("acme", "x"))
		}
		unknown := b.post(epCredentials("nobody", "x"))
		b.want(t, unknown, 429, response.Throttled)
		epSame(t, "throttled answers", unknown, b.post(epCredentials("acme", "x")))
		b.want(t, b.post(epAcme), e.success, "")
	})
}

// Without a secret nobody learns which confidential clients there are.
func TestC4_NamedAlone(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		for _, grantType := range []string{"client_credentials", "implicit", "password"} {
			b := epNew(t, e.formatter)
			send := func(id string) *httptest.ResponseRecorder {
				return b.post("grant_type=" + grantType + "&username=u&password=p&client_id=" + id)
			}
			unknown := send("nobody")
			for _, id := range []string{"acme", "disabled", "longlived", "bare", "hollow", "shop", "twofaced", "closed", "post-only"} {
				epSame(t, grantType+": nobody and "+id, unknown, send(id))
			}
		}
	})
}

func TestC4_ToldWithTheRightSecret(t *testing.T) {
	disabled, longLived := response.ClientDisabled, response.ClientLongLived
	epAnswers(t, "C4", []epCase{
		{name: "disabled", body: epCredentials("disabled", "disabled-secret"), reason: disabled, asks: true},
		{name: "disabled, Basic", body: epGrantOnly, changes: epChanges{epBasic("disabled", "disabled-secret")}, reason: disabled, asks: true},
		{name: "long-lived", body: epCredentials("longlived", "longlived-secret"), reason: longLived, asks: true},
		{name: "long-lived, Basic", body: epGrantOnly, changes: epChanges{epBasic("longlived", "longlived-secret")}, reason: longLived, asks: true},
		{name: "unknown", body: epCredentials("nobody", "x"), reason: response.ClientUnknown, asks: true},
		{name: "wrong secret", body: epCredentials("acme", "x"), reason: response.SecretWrong, asks: true},
	})
}

// A client that was told that it is disabled may not ask without end.
func TestL1_DisabledClientIsLimited(t *testing.T) {
	for _, id := range []string{"disabled", "longlived"} {
		b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.Limit = Limit{PerSecond: 1, Burst: 5} })
		for range 200 {
			b.post(epCredentials(id, id+"-secret"))
		}
		if e := b.last(t); e.Reason != response.Throttled {
			t.Errorf("%s: 200 requests at once, and the last is answered %q", id, e.Reason)
		}
		b.alive(t)
	}
}

func TestC5_ChallengeOnlyToBasic(t *testing.T) {
	const challenge = `Basic realm="` + epIssuer + `", charset="UTF-8"`
	epEach(t, func(t *testing.T, e epEnvelope) {
		b := epNew(t, e.formatter)
		for _, id := range []string{"acme", "nobody", "disabled", "storefront"} {
			for _, w := range []*httptest.ResponseRecorder{
				b.post(epCredentials(id, "x")), b.post(epGrantOnly + "&client_id=" + id), b.post("grant_type=implicit&client_id=" + id),
			} {
				if got := w.Header()["Www-Authenticate"]; got != nil {
					t.Errorf("%d %s has the challenge %q without Basic", w.Code, w.Body, got)
				}
			}
			w := b.post(epGrantOnly, epBasic(id, "x"))
			got := w.Header()["Www-Authenticate"]
			if w.Code == 401 && (len(got) != 1 || got[0] != challenge) || w.Code != 401 && got != nil {
				t.Errorf("%d to Basic has the challenge %q", w.Code, got)
			}
		}
		if w := b.post(epGrantOnly, epBasic("acme", epSecret)); w.Header()["Www-Authenticate"] != nil {
			t.Errorf("a success has a challenge: %v", w.Header())
		}
		b.alive(t)
	})
}

func TestC6_WithoutSecretNeverIn(t *testing.T) {
	fake := epIssuing(grant.Issue{})
	fake.public = true
	epEach(t, func(t *testing.T, e epEnvelope) {
		for _, id := range []string{"bare", "hollow", "prefixed", "acme", "shop", "twofaced", "closed"} {
			b := epNew(t, e.formatter, epGrants(fake))
			b.clients.all[id].Grants = []string{"client_credentials", "implicit", "password", "fake"}
			for _, grantType := range []string{"client_credentials", "implicit", "password", "fake"} {
				rest := "grant_type=" + grantType + "&username=admin&password=" + url.QueryEscape(epPassword)
				for _, w := range []*httptest.ResponseRecorder{
					b.post(rest + "&client_id=" + id),
					b.post(rest + "&client_id=" + id + "&client_secret="),
					b.post(rest+"&client_secret=", epBasic(id, "")),
					b.post(rest + "&client_id=" + id + "&client_secret=x"),
					b.post(rest + "&client_id=" + id + "&client_secret=sha256$"),
					b.post(rest + "&client_id=" + id + "&client_secret=%00"),
				} {
					if w.Code < 400 || w.Code >= 500 {
						t.Errorf("%s by %s is answered %d %s", id, grantType, w.Code, w.Body)
					}
				}
			}
			b.alive(t)
		}
	})
}

func TestC9_GrantNotAllowed(t *testing.T) {
	fake := epIssuing(grant.Issue{})
	epAnswers(t, "C9", []epCase{
		{name: "not in the record", body: epCredentials("narrow", "narrow-secret"), reason: response.GrantNotAllowed, asks: true},
		{name: "not in the record, with a bad scope", body: epCredentials("narrow", "narrow-secret") + "&scope=admin", reason: response.GrantNotAllowed, asks: true},
		{name: "implicit by who may not", body: "grant_type=implicit&client_id=spa", reason: response.GrantNotAllowed, asks: true},
		{name: "implicit by who may not, with a secret", body: "grant_type=implicit&client_id=acme&client_secret=" + epSecret, reason: response.GrantNotAllowed, asks: true},
		{name: "public, for a grant of others", body: "grant_type=fake&client_id=kiosk", reason: response.GrantNotAllowed, asks: true},
	}, epGrants(fake))
}

// Who is not authenticated, limited and entitled never gets to the grant.
func TestC9_RefusedRequestsReachNoGrant(t *testing.T) {
	var reached atomic.Int64
	fake := &epGrant{exchange: func(context.Context, *grant.Request) (*grant.Issue, error) {
		reached.Add(1)
		return &grant.Issue{}, nil
	}}
	b := epNew(t, response.OAuth{}, epGrants(fake))
	b.clients.all["narrow"].Grants = nil
	for _, c := range []epCase{
		{body: "grant_type=fake&client_id=acme&client_secret=x"},
		{body: "grant_type=fake&client_id=nobody&client_secret=x"},
		{body: "grant_type=fake", changes: epChanges{epBasic("acme", "x")}},
		{body: "grant_type=fake&client_id=disabled&client_secret=disabled-secret"},
		{body: "grant_type=fake&client_id=longlived&client_secret=longlived-secret"},
		{body: "grant_type=fake&client_id=narrow&client_secret=narrow-secret"},
		{body: "grant_type=fake&client_id=kiosk"},
		{body: epFake + "&scope=admin"},
		{body: epFake + "&scope=a%22b"},
		{body: epFake + "&x=%zz"},
		{body: epFake, changes: epChanges{epBasic("acme", epSecret)}},
	} {
		if w := b.post(c.body, c.changes...); w.Code < 400 || reached.Load() != 0 {
			t.Fatalf("%s: answered %d, grant reached %d times", c.body, w.Code, reached.Load())
		}
	}
	if n := b.state.created.Load(); n != 0 {
		t.Errorf("%d records were made", n)
	}
	b.want(t, b.post(epFake), 200, "")
}

func TestL1_RecordElseDefault(t *testing.T) {
	b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.Limit = Limit{PerSecond: 0.5, Burst: 7} })
	for _, tt := range []struct {
		id, secret string
		burst      int
		refill     time.Duration
	}{
		{"slow", "slow-secret", 3, 10 * time.Second},
		{"acme", epSecret, 7, 2 * time.Second},
	} {
		if n := epAllowed(b, epCredentials(tt.id, tt.secret), 20); n != tt.burst {
			t.Errorf("%s: %d of 20 were allowed, want %d", tt.id, n, tt.burst)
		}
		w := b.post(epCredentials(tt.id, tt.secret), epFrom("203.0.113.9:1"))
		b.want(t, w, 429, response.Throttled)
		if got := epRetryAfter(t, w); got != tt.refill {
			t.Errorf("%s: wait %v, want %v", tt.id, got, tt.refill)
		}
	}
	b.alive(t)
}

// epAllowed says how many of n requests get a token.
func epAllowed(b *epBooth, body string, n int, changes ...func(*http.Request)) (allowed int) {
	for range n {
		if w := b.post(body, changes...); w.Code < 300 {
			allowed++
		}
	}
	return allowed
}

func TestL1_FailureBucketIsChargedOnlyForFailures(t *testing.T) {
	b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.FailureLimit = Limit{PerSecond: 0.01, Burst: 2} })
	if n := epAllowed(b, epAcme, 50); n != 50 {
		t.Fatalf("%d of 50 were allowed", n)
	}
	wrong := epCredentials("acme", "x")
	b.want(t, b.post(wrong), 401, response.SecretWrong)
	b.want(t, b.post(epAcme), 200, "")
	b.want(t, b.post(wrong), 401, response.SecretWrong)
	for range 50 {
		b.want(t, b.post(wrong), 429, response.Throttled)
	}
	b.want(t, b.post(epAcme), 200, "")
	b.want(t, b.post(epGrantOnly, epBasic("acme", epSecret)), 200, "")
	b.want(t, b.post(wrong, epFrom("192.0.2.2:4711")), 401, response.SecretWrong)
	b.want(t, b.post(epCredentials("probe", "x")), 401, response.SecretWrong)
	b.alive(t)
}

// One IPv6 network is one address, one IPv4 address another each.
func TestL1_FailuresByPrefix(t *testing.T) {
	b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.FailureLimit = Limit{PerSecond: 0.01, Burst: 1} })
	wrong := epCredentials("acme", "x")
	b.want(t, b.post(wrong, epFrom("[2001:db8:0:1::1]:1")), 401, response.SecretWrong)
	b.want(t, b.post(wrong, epFrom("[2001:db8:0:1:ffff::2]:9")), 429, response.Throttled)
	b.want(t, b.post(wrong, epFrom("[2001:db8:0:2::1]:1")), 401, response.SecretWrong)
	b.want(t, b.post(wrong, epFrom("192.0.2.1:1")), 401, response.SecretWrong)
	b.want(t, b.post(wrong, epFrom("[::ffff:192.0.2.1]:2")), 429, response.Throttled)
	b.want(t, b.post(wrong, epFrom("192.0.2.3:1"), epHeader("X-Forwarded-For", "192.0.2.1")), 401, response.SecretWrong)
	b.want(t, b.post(wrong, epFrom("192.0.2.3:1"), epHeader("X-Forwarded-For", "192.0.2.99")), 429, response.Throttled)
	b.alive(t)
}

func TestL1_PublicClientsByAddress(t *testing.T) {
	b := epNew(t, response.Data{}, func(c *HandlerConfig) { c.Limit = Limit{PerSecond: 0.5, Burst: 4} })
	const body = "grant_type=implicit&client_id=storefront"
	if n := epAllowed(b, body, 10); n != 4 {
		t.Errorf("%d of 10 were allowed, want 4", n)
	}
	if n := epAllowed(b, body, 10, epFrom("192.0.2.2:1")); n != 4 {
		t.Errorf("%d of 10 from another address were allowed, want 4", n)
	}
	b.alive(t)
}

// The limit comes from the record of a public client too; what one address may
// ask without a secret is limited by the default before (G2).
func TestL1_PublicClientsOwnRate(t *testing.T) {
	b := epNew(t, response.Data{}, func(c *HandlerConfig) { c.Limit = Limit{PerSecond: 0.5, Burst: 4} })
	b.clients.all["storefront"].Rate = &store.Rate{PerSecond: 0.5, Burst: 2}
	if n := epAllowed(b, "grant_type=implicit&client_id=storefront", 20); n != 2 {
		t.Errorf("%d of 20 were allowed, the record says 2", n)
	}
	b.alive(t)
}

func TestL2_ThrottledInEveryEnvelope(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		b := epNew(t, e.formatter)
		for name, body := range map[string]string{
			"own":      epCredentials("slow", "slow-secret"),
			"failures": epCredentials("acme", "x"),
			"public":   "grant_type=implicit&client_id=storefront",
			"users":    epLogin + "x",
		} {
			epCheckWait(t, b, name, body)
		}
		b.alive(t)
	})
}

// epCheckWait empties a bucket, waits as told, and expects to be let in.
func epCheckWait(t *testing.T, b *epBooth, name, body string) {
	t.Helper()
	var w *httptest.ResponseRecorder
	for i := 0; ; i++ {
		if w = b.post(body); w.Code == 429 {
			break
		}
		if i > 200 {
			t.Fatalf("%s: no limit in 200 requests", name)
		}
	}
	for range 30 { // refusals cost nothing
		w = b.post(body)
	}
	b.want(t, w, 429, response.Throttled)
	if w.Header()["Www-Authenticate"] != nil {
		t.Errorf("%s: 429 with a challenge", name)
	}
	wait := epRetryAfter(t, w)
	b.clock.move(wait)
	if w = b.post(body); w.Code == 429 {
		t.Errorf("%s: still 429 after %v", name, wait)
	}
}

func TestL4_ParallelRequestsAreExactlyTheBurst(t *testing.T) {
	tests := []struct {
		name, body  string
		want, other int
	}{
		{"own limit", epAcme, 200, 429},
		{"failures", epCredentials("acme", "x"), 401, 429},
		{"unknown", epCredentials("nobody", "x"), 401, 429},
		{"public", "grant_type=implicit&client_id=storefront", 200, 429},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			limit := Limit{PerSecond: 0.01, Burst: 20}
			b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.Limit, c.FailureLimit = limit, limit })
			got := epParallel(b, 500, func(int) string { return tt.body })
			if got[tt.want] != 20 || got[tt.other] != 480 {
				t.Errorf("got %v, want 20 of %d and 480 of %d", got, tt.want, tt.other)
			}
			if n := len(b.all()); n != 500 {
				t.Errorf("%d events for 500 requests", n)
			}
			b.alive(t)
		})
	}
}

// epParallel sends n requests at the same instant and counts the statuses.
func epParallel(b *epBooth, n int, body func(i int) string) map[int]int {
	start := make(chan struct{})
	statuses := make([]int, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			statuses[i] = b.post(body(i)).Code
		})
	}
	close(start)
	wg.Wait()
	count := map[int]int{}
	for _, s := range statuses {
		count[s]++
	}
	return count
}

// Whoever sends failures in masses, in anybody's name, locks nobody out.
func TestL1_FloodLocksNobodyOut(t *testing.T) {
	b := epNew(t, response.OAuth{})
	got := epParallel(b, 2000, func(i int) string {
		if i%2 == 0 {
			return epCredentials("acme", "x")
		}
		return epCredentials(fmt.Sprintf("nobody-%d", i), "x")
	})
	if got[200] != 0 || got[401]+got[429] != 2000 {
		t.Errorf("got %v", got)
	}
	b.want(t, b.post(epAcme), 200, "")
	b.alive(t)
}
