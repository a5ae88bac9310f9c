package tokenbooth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

func epFailing(err error) epFault {
	return func(context.Context, string) (*store.Client, error) { return nil, err }
}

func epHanging(ctx context.Context, _ string) (*store.Client, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

type epTimeout struct{}

func (epTimeout) Error() string   { return "i/o timeout" }
func (epTimeout) Timeout() bool   { return true }
func (epTimeout) Temporary() bool { return true }

// The bytes that the documents give for a failure of the server.
var epInternal = map[string]string{
	"oauth":          `{"error":"server_error","error_description":"The request could not be processed"}`,
	"data":           `{"errors":[{"title":"Internal Server Error","status":"500","detail":"there was a problem processing your request"}]}`,
	"meta":           `{"meta":{"pagination":{"limit":0,"offset":0,"total_count":0}},"errors":[{"httpcode":500,"message":"The request could not be processed"}]}`,
	"coded":          `{"error":{"code":"500999","code_reason":"API_ERROR","message":"Api Error, please contact customer service"}}`,
	"content":        `{"code":500000,"message":"Not categorized error"}`,
	"content-hidden": `{"code":500000,"message":"Not categorized error"}`,
}

func epWantInternal(t *testing.T, b *epBooth, e epEnvelope, w *httptest.ResponseRecorder) {
	t.Helper()
	b.want(t, w, 500, response.Internal)
	if w.Body.String() != epInternal[e.name] {
		t.Errorf("got %s, want %s", w.Body, epInternal[e.name])
	}
	if w.Header()["Retry-After"] != nil || w.Header()["Www-Authenticate"] != nil {
		t.Errorf("500 with %v", w.Header())
	}
}

var epUnexpected = map[string]epFault{
	"unexpected error": epFailing(errors.New("duplicate column canary")),
	"EOF":              epFailing(io.ErrUnexpectedEOF),
	"panic":            func(context.Context, string) (*store.Client, error) { panic("canary") },
	"runtime panic": func(_ context.Context, id string) (*store.Client, error) {
		return nil, epFailures[len(id)+len(epFailures)]
	},
	"panic with nil": func(context.Context, string) (*store.Client, error) { panic(nil) }, //nolint:govet // on purpose
	"neither nor":    func(context.Context, string) (*store.Client, error) { return nil, nil },
	"another client": func(_ context.Context, id string) (*store.Client, error) {
		return &store.Client{ID: id + "2", Secrets: epSecrets(epSecret), Grants: []string{"client_credentials"}}, nil
	},
	"a client of no name": func(context.Context, string) (*store.Client, error) { return &store.Client{}, nil },
	"typed nil error":     func(context.Context, string) (*store.Client, error) { var e *epNilError; return nil, e },
}

var epFailures []error // none: to index it panics

// An epNilError is an error that is forgotten to be nil: its methods panic.
type epNilError struct{ err error }

func (e *epNilError) Error() string { return e.err.Error() }
func (e *epNilError) Unwrap() error { return e.err }

var epTemporary = map[string]epFault{
	"unavailable":           epFailing(fmt.Errorf("dial: %w", store.ErrUnavailable)),
	"deadline":              epFailing(fmt.Errorf("query: %w", context.DeadlineExceeded)),
	"network timeout":       epFailing(fmt.Errorf("query: %w", epTimeout{})),
	"hanging":               epHanging,
	"unavailable, no entry": epFailing(errors.Join(store.ErrUnavailable, store.ErrNotFound)),
}

// The ways in which the store is asked.
var epAsking = map[string]func(b *epBooth) *httptest.ResponseRecorder{
	"body":         func(b *epBooth) *httptest.ResponseRecorder { return b.post(epAcme) },
	"Basic":        func(b *epBooth) *httptest.ResponseRecorder { return b.post(epGrantOnly, epBasic("acme", epSecret)) },
	"two readings": func(b *epBooth) *httptest.ResponseRecorder { return b.post(epGrantOnly, epBasic("a+b", "x")) },
	"wrong secret": func(b *epBooth) *httptest.ResponseRecorder { return b.post(epCredentials("acme", "x")) },
	"anonymous":    func(b *epBooth) *httptest.ResponseRecorder { return b.post("grant_type=implicit&client_id=storefront") },
}

func TestC8_UnexpectedIs500(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		for name, fault := range epUnexpected {
			t.Run(name, func(t *testing.T) {
				b := epNew(t, e.formatter)
				b.clients.fail(fault)
				for _, ask := range epAsking {
					w := ask(b)
					epWantInternal(t, b, e, w)
				}
				b.clients.heal()
				b.alive(t)
			})
		}
	})
}

func TestC8_TemporaryIs503(t *testing.T) {
	epKeys()
	epEach(t, func(t *testing.T, e epEnvelope) {
		for name, fault := range epTemporary {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := epNew(t, e.formatter)
					b.clients.fail(fault)
					for _, ask := range epAsking {
						start := time.Now()
						b.want(t, ask(b), 503, response.Unavailable)
						if took := time.Since(start); took > 2*time.Second {
							t.Errorf("took %v", took)
						}
					}
					b.clients.heal()
					b.alive(t)
				})
			})
		}
	})
}

func TestC8_NeverAFailedLogin(t *testing.T) {
	epKeys()
	for name, fault := range epFaults() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.FailureLimit = Limit{PerSecond: 0.001, Burst: 1} })
				b.clients.fail(fault)
				for range 10 {
					b.post(epCredentials("acme", "x"))
					b.post(epGrantOnly, epBasic("acme", "x"))
					if e := b.last(t); e.Kind != "failed" || e.ClientID != "" {
						t.Errorf("event %+v", e)
					}
				}
				b.clients.heal()
				b.want(t, b.post(epCredentials("acme", "x")), 401, response.SecretWrong)
				b.want(t, b.post(epCredentials("acme", "x")), 429, response.Throttled)
				b.alive(t)
			})
		})
	}
}

func epFaults() map[string]epFault {
	all := map[string]epFault{}
	for _, faults := range []map[string]epFault{epUnexpected, epTemporary} {
		for name, f := range faults {
			all[name] = f
		}
	}
	return all
}

// The first reading of a Basic header finds nobody, the second one a broken store.
func TestC8_SecondReadingFails(t *testing.T) {
	b := epNew(t, response.OAuth{})
	b.clients.fail(func(ctx context.Context, id string) (*store.Client, error) {
		if id == "raw 1" {
			return b.clients.find(ctx, id)
		}
		return nil, store.ErrUnavailable
	})
	b.want(t, b.post(epGrantOnly, epBasic("raw+1", "s+1%41")), 503, response.Unavailable)
	b.clients.heal()
	b.want(t, b.post(epGrantOnly, epBasic("raw+1", "s+1%41")), 200, "")
}

func TestC8_StateFails(t *testing.T) {
	epKeys()
	type fault = func(context.Context) (bool, error)
	hang := func(ctx context.Context) (bool, error) { <-ctx.Done(); return false, ctx.Err() }
	tests := []struct {
		name   string
		fault  fault
		status int
		reason response.Reason
	}{
		{"unexpected", func(context.Context) (bool, error) { return false, errors.New("disk") }, 500, response.Internal},
		{"panic", func(context.Context) (bool, error) { panic("canary") }, 500, response.Internal},
		{"there already", func(context.Context) (bool, error) { return false, nil }, 500, response.Internal},
		{"unavailable", func(context.Context) (bool, error) { return false, store.ErrUnavailable }, 503, response.Unavailable},
		{"hanging", hang, 503, response.Unavailable},
	}
	epEach(t, func(t *testing.T, e epEnvelope) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := epNew(t, e.formatter, func(c *HandlerConfig) { c.Tokens = Opaque{} })
					b.state.fail(tt.fault)
					start := time.Now()
					b.want(t, b.post(epAcme), tt.status, tt.reason)
					if took := time.Since(start); took > 2*time.Second {
						t.Errorf("took %v", took)
					}
					b.state.heal()
					b.alive(t)
				})
			})
		}
	})
}

func TestL6_LimiterFails(t *testing.T) {
	epKeys()
	allow := Decision{Allowed: true}
	tests := []struct {
		name   string
		take   epLimiter
		status int
		reason response.Reason
	}{
		{"error", func(context.Context, string, Limit) (Decision, error) { return allow, errors.New("down") }, 503, response.Unavailable},
		{"hanging", func(ctx context.Context, _ string, _ Limit) (Decision, error) { <-ctx.Done(); return allow, ctx.Err() }, 503, response.Unavailable},
		{"panic", func(context.Context, string, Limit) (Decision, error) { panic("canary") }, 500, response.Internal},
		{"no wait given", func(context.Context, string, Limit) (Decision, error) { return Decision{}, nil }, 429, response.Throttled},
		{"negative wait", func(context.Context, string, Limit) (Decision, error) { return Decision{RetryAfter: -time.Hour}, nil }, 429, response.Throttled},
		{"longest wait", func(context.Context, string, Limit) (Decision, error) { return Decision{RetryAfter: 1<<63 - 1}, nil }, 429, response.Throttled},
		{"a fraction of a second", func(context.Context, string, Limit) (Decision, error) { return Decision{RetryAfter: 1}, nil }, 429, response.Throttled},
	}
	epEach(t, func(t *testing.T, e epEnvelope) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					take := tt.take
					b := epNew(t, e.formatter, func(c *HandlerConfig) {
						c.Limiter = epLimiter(func(ctx context.Context, k string, l Limit) (Decision, error) { return take(ctx, k, l) })
					})
					for _, body := range []string{epAcme, epCredentials("acme", "x"), "grant_type=implicit&client_id=storefront", epLogin + "x"} {
						b.want(t, b.post(body), tt.status, tt.reason)
					}
					take = func(context.Context, string, Limit) (Decision, error) { return allow, nil }
					b.alive(t)
				})
			})
		}
	})
}

// epPanics are values that people panic with.
func epPanics() map[string]any {
	return map[string]any{
		"string": "canary", "error": errors.New("canary"), "number": 7,
		"wrapped": fmt.Errorf("canary: %w", io.EOF), "nil error": (*epNilError)(nil), "failure": response.Fail(response.SecretWrong),
	}
}

func TestH2_PanicInGrant(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		for name, v := range epPanics() {
			t.Run(name, func(t *testing.T) {
				fake := &epGrant{exchange: func(context.Context, *grant.Request) (*grant.Issue, error) { panic(v) }}
				b := epNew(t, e.formatter, epGrants(fake))
				epWantInternal(t, b, e, b.post(epFake))
				fake.exchange = func(context.Context, *grant.Request) (*grant.Issue, error) {
					return &grant.Issue{Commit: func(context.Context) error { panic(v) }}, nil
				}
				epWantInternal(t, b, e, b.post(epFake))
				fake.keys = func(*grant.Request) []string { panic(v) }
				epWantInternal(t, b, e, b.post(epFake))
				b.alive(t)
			})
		}
	})
}

// What a grant should not return is a 500 too, and never a crash.
func TestH2_GrantReturnsNonsense(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		tests := map[string]error{
			"typed nil failure": (*response.Failure)(nil),
			"wrapped typed nil": fmt.Errorf("x: %w", (*response.Failure)(nil)),
			"typed nil error":   (*epNilError)(nil),
			"plain error":       errors.New("x"),
			"empty failure":     &response.Failure{},
		}
		for name, err := range tests {
			t.Run(name, func(t *testing.T) {
				fake := epRefusing(err)
				b := epNew(t, e.formatter, epGrants(fake))
				epWantInternal(t, b, e, b.post(epFake))
				fake.exchange = func(context.Context, *grant.Request) (*grant.Issue, error) {
					return &grant.Issue{Commit: func(context.Context) error { return err }}, nil
				}
				epWantInternal(t, b, e, b.post(epFake))
				b.alive(t)
			})
		}
		b := epNew(t, e.formatter, epGrants(epRefusing(nil)))
		epWantInternal(t, b, e, b.post(epFake))
		b.alive(t)
	})
}

func TestH2_FormatterFails(t *testing.T) {
	ok := func(status int) (response.Reply, error) {
		return response.Reply{Status: status, Body: []byte("{}")}, nil
	}
	broken := errors.New("broken")
	tokens := map[string]func(*response.Token) (response.Reply, error){
		"panic":      func(*response.Token) (response.Reply, error) { panic("canary") },
		"error":      func(*response.Token) (response.Reply, error) { return response.Reply{Status: 200}, broken },
		"no status":  func(*response.Token) (response.Reply, error) { return ok(0) },
		"status 199": func(*response.Token) (response.Reply, error) { return ok(199) },
		"status 600": func(*response.Token) (response.Reply, error) { return ok(600) },
	}
	failures := map[string]func(*response.Failure) (response.Reply, error){
		"fine":       nil,
		"panic":      func(*response.Failure) (response.Reply, error) { panic("canary") },
		"error":      func(*response.Failure) (response.Reply, error) { return response.Reply{}, broken },
		"no status":  func(*response.Failure) (response.Reply, error) { return ok(0) },
		"status 101": func(*response.Failure) (response.Reply, error) { return ok(101) },
	}
	for name, token := range tokens {
		for other, failure := range failures {
			t.Run(name+"/"+other, func(t *testing.T) {
				f := &epFormatter{token: token, failure: failure}
				b := epNew(t, f)
				e := epEnvelope{name: "oauth"}
				epWantInternal(t, b, e, b.post(epAcme))
				w := b.post(epCredentials("acme", "x"))
				epHeaders(t, w)
				if want := 401; failure == nil && w.Code != want || failure != nil && w.Code != 500 {
					t.Errorf("a wrong secret is answered %d %s", w.Code, w.Body)
				}
				f.token, f.failure = nil, nil
				b.alive(t)
			})
		}
	}
}

// Whoever watches cannot change an answer: the token is issued by then.
func TestH2_EventsPanic(t *testing.T) {
	for name, v := range epPanics() {
		t.Run(name, func(t *testing.T) {
			b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.Events = func(context.Context, Event) { panic(v) } })
			for body, want := range map[string]int{epAcme: 200, epCredentials("acme", "x"): 401, "": 400} {
				w := b.post(body)
				epHeaders(t, w)
				if w.Code != want {
					t.Errorf("got %d, want %d", w.Code, want)
				}
			}
		})
	}
}

type epBadLog struct{ slog.Handler }

func (epBadLog) Enabled(context.Context, slog.Level) bool  { return true }
func (epBadLog) Handle(context.Context, slog.Record) error { panic("canary") }

func TestH2_LoggerPanics(t *testing.T) {
	b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.Logger = slog.New(epBadLog{}) })
	for body, want := range map[string]int{epAcme: 200, epCredentials("acme", "x"): 401, "": 400} {
		if w := b.post(body); w.Code != want {
			t.Errorf("got %d, want %d", w.Code, want)
		}
	}
	if n := len(b.all()); n != 3 {
		t.Errorf("a logger that panics leaves %d of 3 events", n)
	}
	if w := b.post(epAcme, epFrom("10.0.0.1:1"), epHeader("X-Forwarded-For", "192.0.2.1")); w.Code != 200 {
		t.Errorf("got %d behind a proxy", w.Code)
	}
	b.alive(t)
}

func TestH2_ErrAbortHandlerPasses(t *testing.T) {
	fake := &epGrant{exchange: func(context.Context, *grant.Request) (*grant.Issue, error) { panic(http.ErrAbortHandler) }}
	f := &epFormatter{}
	b := epNew(t, f, epGrants(fake))
	passes := func(where, body string) {
		defer func() {
			if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // net/http compares so
				t.Errorf("%s: %v leaves the handler", where, v)
			}
		}()
		b.ServeHTTP(httptest.NewRecorder(), epRequest(body))
	}
	passes("grant", epFake)
	b.clients.fail(func(context.Context, string) (*store.Client, error) { panic(http.ErrAbortHandler) })
	passes("store", epAcme)
	b.clients.heal()
	f.token = func(*response.Token) (response.Reply, error) { panic(http.ErrAbortHandler) }
	passes("formatter", epAcme)
	f.token = nil
	f.failure = func(*response.Failure) (response.Reply, error) { panic(http.ErrAbortHandler) }
	passes("formatter of failures", "")
	f.failure = nil
	b.alive(t)
}

func TestH2_ClockPanics(t *testing.T) {
	broken := false
	clock := newHeldClock()
	b := epNew(t, response.OAuth{}, func(c *HandlerConfig) {
		c.Now = func() time.Time {
			if broken {
				panic("canary")
			}
			return clock.Now()
		}
	})
	broken = true
	if w := b.post(epAcme); w.Code != 500 {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	broken = false
	b.alive(t)
}

// A caller who leaves makes no token and no failed login.
func TestC8_CallerLeaves(t *testing.T) {
	b := epNew(t, response.OAuth{}, func(c *HandlerConfig) { c.FailureLimit = Limit{PerSecond: 0.001, Burst: 1} })
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b.clients.fail(epHanging)
		w := httptest.NewRecorder()
		b.ServeHTTP(w, epRequest(epCredentials("acme", "x")).WithContext(ctx))
		b.want(t, w, 503, response.Unavailable)
	}
	b.clients.heal()
	b.want(t, b.post(epCredentials("acme", "x")), 401, response.SecretWrong)
	b.alive(t)
}

const epCanary = "canary-5eCr3t"

// epCanaryRequests put a secret where it belongs and wherever else somebody may
// put it.
func epCanaryRequests() (all []epCase) {
	for _, name := range []string{"grant_type", "client_id", "client_secret", "scope", "username", "password", "code", "redirect_uri", "refresh_token", "code_verifier", "unknown", epCanary} {
		base := epAcme + "&username=admin&password=x"
		var pairs []string
		for pair := range strings.SplitSeq(base, "&") {
			if !strings.HasPrefix(pair, name+"=") {
				pairs = append(pairs, pair)
			}
		}
		body := strings.Join(pairs, "&") + "&" + name + "="
		for _, value := range []string{epCanary, epCanary + "%00", epCanary + "%zz", epCanary + "%22", epCanary + "&" + name + "=" + epCanary, strings.Repeat(epCanary, 200)} {
			all = append(
				all,
				epCase{body: body + value},
				epCase{body: strings.Replace(body, "client_credentials", "password", 1) + value},
				epCase{body: strings.Replace(body, "client_credentials", "implicit", 1) + value},
				epCase{body: strings.Replace(body, "client_credentials", "fake", 1) + value},
			)
		}
	}
	return append(
		all,
		epCase{body: epGrantOnly, changes: epChanges{epBasic("acme", epCanary)}},
		epCase{body: epGrantOnly, changes: epChanges{epBasic(epCanary, epCanary)}},
		epCase{body: epGrantOnly, changes: epChanges{epBasic("disabled", epCanary)}},
		epCase{body: epGrantOnly, changes: epChanges{epHeader("Authorization", "Basic "+epCanary)}},
		epCase{body: epGrantOnly, changes: epChanges{epHeader("Authorization", "Bearer "+epCanary)}},
		epCase{body: epGrantOnly, changes: epChanges{epHeader("Authorization", epCanary)}},
		epCase{body: epGrantOnly, changes: epChanges{epHeader("Authorization", epCanary, epCanary)}},
		epCase{body: epAcme, changes: epChanges{epHeader("Content-Type", epCanary)}},
		epCase{body: epAcme, changes: epChanges{epHeader("Content-Type", formMediaType+"; charset="+epCanary)}},
		epCase{body: epAcme, changes: epChanges{epHeader("Content-Encoding", epCanary)}},
		epCase{body: epAcme, changes: epChanges{epHeader("X-Forwarded-For", epCanary), epFrom("10.0.0.1:1")}},
		epCase{body: epAcme, changes: epChanges{epFrom(epCanary)}},
		epCase{body: epAcme, changes: epChanges{func(r *http.Request) { r.Method = epCanary }}},
		epCase{body: epAcme, changes: epChanges{func(r *http.Request) { r.URL.RawQuery, r.URL.Path = "client_secret="+epCanary, "/"+epCanary }}},
		epCase{body: `{"client_secret":"` + epCanary + `"`, changes: epTyped(epJSONType)},
		epCase{body: `{"` + epCanary + `":1}`, changes: epTyped(epJSONType)},
		epCase{body: epCanary, changes: epTyped(epJSONType)},
	)
}

// saw says where the booth's logs and events hold the text.
func (b *epBooth) saw(text string) (where []string) {
	for line := range strings.SplitSeq(b.logged(), "\n") {
		if strings.Contains(line, text) {
			where = append(where, "log: "+line)
		}
	}
	for _, e := range b.all() {
		j, _ := json.Marshal(e) //nolint:errchkjson // what cannot be written holds nothing
		for _, s := range []string{fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e), string(j)} {
			if strings.Contains(s, text) {
				where = append(where, "event: "+s)
			}
		}
		for err := e.Err; err != nil; err = errors.Unwrap(err) {
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), text) {
				where = append(where, fmt.Sprintf("error: %T %v", err, err))
			}
		}
	}
	return where
}

func TestH3_CanariesInRequests(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		fake := epRefusing(response.Fail(response.GrantRefused))
		b := epNew(t, e.formatter, epGrants(fake), func(c *HandlerConfig) { c.Limiter = Unlimited{} })
		for _, fault := range []epFault{nil, epFailing(store.ErrUnavailable), epFailing(io.ErrUnexpectedEOF), epUnexpected["panic"], epUnexpected["another client"]} {
			b.clients.heal()
			if fault != nil {
				b.clients.fail(fault)
			}
			for _, c := range epCanaryRequests() {
				w := b.post(c.body, c.changes...)
				if strings.Contains(fmt.Sprint(w.Header(), w.Body), epCanary) {
					t.Errorf("%.200s is reflected: %v %s", c.body, w.Header(), w.Body)
				}
			}
		}
		if where := b.saw(epCanary); len(where) != 0 {
			t.Errorf("%d leaks, the first: %s", len(where), where[0])
		}
		b.clients.heal()
		b.alive(t)
	})
}

// Right secrets and the tokens that they buy are not logged either, nor what a
// panic carries.
func TestH3_CanariesOfSuccessAndPanic(t *testing.T) {
	for _, format := range []TokenFormat{JWT{}, Opaque{}, Opaque{Prefix: "sk-", Bytes: 16}} {
		fake := epIssuing(grant.Issue{RefreshToken: epCanary})
		f := &epFormatter{}
		p := &grant.Password{Authenticate: func(_ context.Context, _, password string) (*grant.User, error) { panic(password) }}
		b := epNew(t, f, epPasswords(p), epGrants(fake), func(c *HandlerConfig) { c.Tokens = format })
		b.clients.all["acme"].Secrets = epSecrets(epCanary)
		body := "&client_id=acme&client_secret=" + epCanary + "&username=admin&password=" + epCanary
		var tokens []string
		for _, w := range []*httptest.ResponseRecorder{
			b.post("grant_type=client_credentials" + body), b.post("grant_type=fake" + body),
			b.post(epGrantOnly, epBasic("acme", epCanary)),
		} {
			var got struct {
				AccessToken string `json:"access_token"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.AccessToken == "" {
				t.Fatalf("%d %s: %v", w.Code, w.Body, err)
			}
			tokens = append(tokens, got.AccessToken)
		}
		b.want(t, b.post("grant_type=password"+body), 500, response.Internal)
		f.token = func(x *response.Token) (response.Reply, error) {
			tokens = append(tokens, x.AccessToken)
			panic(fmt.Errorf("%s %s", epCanary, x.AccessToken))
		}
		b.want(t, b.post("grant_type=client_credentials"+body), 500, response.Internal)
		for _, text := range append(tokens, epCanary) {
			if where := b.saw(text); len(where) != 0 {
				t.Errorf("%T: %d leaks, the first: %s", format, len(where), where[0])
			}
		}
		if text := fmt.Sprintf("%+v %#v", *b.Handler, b.Handler); strings.Contains(text, epCanary) {
			t.Errorf("%T: the handler prints a secret", format)
		}
	}
}

// net/http quotes a bad trailer in its error.
func TestH3_CanaryInTrailer(t *testing.T) {
	b := epNew(t, response.OAuth{})
	srv := httptest.NewServer(b)
	defer srv.Close()
	for _, trailer := range []string{"client_secret=" + epCanary, "X " + epCanary + ": x", ": " + epCanary, "client_secret: " + epCanary} {
		res := epRaw(t, srv.Listener.Addr().String(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: "+formMediaType+
			"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"+trailer+"\r\n\r\n")
		_ = res.Body.Close()
		if res.StatusCode != 400 {
			t.Errorf("%q is answered %d", trailer, res.StatusCode)
		}
	}
	if where := b.saw(epCanary); len(where) != 0 {
		t.Errorf("%d leaks, the first: %s", len(where), where[0])
	}
	b.alive(t)
}

// What the events say of a refusal, which the answer must not: who it was about
// as far as that is certain.
func TestEventsOfRefusals(t *testing.T) {
	tests := []struct {
		name, body string
		want       Event
	}{
		{"issued", epAcme + "&scope=read", Event{Kind: "token_issued", ClientID: "acme", Subject: "client:acme", Grant: "client_credentials", Scope: "read", Status: 200}},
		{"unknown", epCredentials("nobody", "x"), Event{Kind: "client_refused", Reason: response.ClientUnknown, Grant: "client_credentials", Status: 401}},
		{"disabled", epCredentials("disabled", "disabled-secret"), Event{Kind: "client_refused", Reason: response.ClientDisabled, ClientID: "disabled", Grant: "client_credentials", Status: 400}},
		{"not allowed", epCredentials("narrow", "narrow-secret"), Event{Kind: "client_refused", Reason: response.GrantNotAllowed, ClientID: "narrow", Grant: "client_credentials", Status: 400}},
		{"password", epLogin + "x", Event{Kind: "grant_refused", Reason: response.PasswordWrong, ClientID: "acme", Grant: "password", Status: 400}},
		{"malformed", "%", Event{Kind: "request_refused", Reason: response.BodyMalformed, Status: 400}},
		{"unsupported", "grant_type=x", Event{Kind: "request_refused", Reason: response.GrantUnsupported, Status: 400}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := epNew(t, response.OAuth{})
			b.post(tt.body)
			got := b.last(t)
			if got.Kind == "token_issued" && got.TokenID == "" {
				t.Error("no token id")
			}
			tt.want.Time, tt.want.Place, tt.want.Address, tt.want.TokenID = b.clock.Now(), response.Endpoint, networks("192.0.2.1/32")[0], got.TokenID
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}
