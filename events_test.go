package tokenbooth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
)

// gkCatalogue reads the kinds from the comment of Event.
func gkCatalogue(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "events.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, decl := range file.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.TYPE || d.Specs[0].(*ast.TypeSpec).Name.Name != "Event" {
			continue
		}
		for _, m := range regexp.MustCompile(`(?m)^\t(\w+)  `).FindAllStringSubmatch(d.Doc.Text(), -1) {
			kinds = append(kinds, m[1])
		}
	}
	slices.Sort(kinds)
	return kinds
}

func TestEvents_CatalogueIsClosed(t *testing.T) {
	kinds := map[string]bool{"token_issued": true, "state_behind": true, "revoked": true}
	for _, place := range []response.Place{response.Endpoint, response.Guard} {
		for _, reason := range response.Reasons(place) {
			f := response.Fail(reason)
			f.Place = place
			kinds[kindOf(f)] = true
		}
	}
	got := slices.Sorted(maps.Keys(kinds))
	if want := gkCatalogue(t); !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("kinds %q, the comment says %q", got, want)
	}
	for _, f := range []*response.Failure{{}, {Reason: "of a grant of one's own", Code: "own"}, {Place: "elsewhere"}} {
		if kind := kindOf(complete(f)); !kinds[kind] {
			t.Errorf("%+v has the kind %q", *f, kind)
		}
	}
}

func TestEvents_KindOfEveryReason(t *testing.T) {
	want := map[string][]response.Reason{
		"client_refused": {
			response.ClientUnknown, response.SecretWrong, response.ClientDisabled, response.ClientLongLived, response.GrantNotAllowed,
		},
		"grant_refused":  {response.GrantRefused, response.UserUnknown, response.PasswordWrong, response.UserLocked},
		"code_replayed":  {response.CodeReplayed},
		"refresh_reused": {response.RefreshReused},
		"throttled":      {response.Throttled},
		"failed":         {response.Overloaded, response.Unavailable, response.Internal},
		"access_refused": {response.TokenMissing, response.TokenInvalid, response.TokenExpired, response.ScopeLacking, response.ReadOnly},
	}
	kind := map[response.Reason]string{}
	for k, reasons := range want {
		for _, r := range reasons {
			kind[r] = k
		}
	}
	for _, place := range []response.Place{response.Endpoint, response.Guard} {
		for _, r := range response.Reasons(place) {
			f := response.Fail(r)
			f.Place = place
			expected := kind[r]
			switch {
			case expected == "" && place == response.Guard:
				expected = "access_refused"
			case expected == "":
				expected = "request_refused"
			}
			if got := kindOf(f); got != expected {
				t.Errorf("%s at the %s: %q, want %q", r, place, got, expected)
			}
		}
	}
}

func TestEvents_TokenIssued(t *testing.T) {
	for name, tokens := range map[string]TokenFormat{"JWT": JWT{}, "Opaque": Opaque{}} {
		t.Run(name, func(t *testing.T) {
			b := gkNew(t, func(c *HandlerConfig) { c.Tokens = tokens })
			token := gkIssue(t, b, "grant_type=client_credentials&scope=read&client_id=acme&client_secret="+b.secret)
			e := b.events.last(t)
			p, err := b.Guard().Check(gkRequest(token))
			if err != nil {
				t.Fatal(err)
			}
			want := Event{
				Kind: "token_issued", Time: gkStart, Place: response.Endpoint, Status: 200, ClientID: "acme", Subject: "client:acme",
				TokenID: p.TokenID, Grant: "client_credentials", Scope: "read", Address: gkPrefix("192.0.2.1/32"),
			}
			if e != want || p.TokenID == "" {
				t.Errorf("%+v\nwant %+v", e, want)
			}
			if text := fmt.Sprintf("%+v", e); strings.Contains(text, token) || strings.Contains(text, b.secret) {
				t.Errorf("%s", text)
			}
			if len(b.events.all) != 1 {
				t.Errorf("%d events, want 1: a pass of the guard is none", len(b.events.all))
			}
		})
	}
}

func TestEvents_AccessRefused(t *testing.T) {
	b := gkNew(t, nil)
	var id string
	token := b.mintFor(t, func(c *claims) { c.subject, c.scope = "ada", "read" })
	if p, err := b.Guard().Check(gkRequest(token)); err == nil {
		id = p.TokenID
	}
	gkServe(t, b.Guard().Require("read", "admin"), gkRequest(token))
	want := Event{
		Kind: "access_refused", Time: gkStart, Place: response.Guard, Reason: response.ScopeLacking, Status: 403, ClientID: "acme",
		Subject: "ada", TokenID: id, Scope: "admin", Address: gkPrefix("192.0.2.1/32"),
	}
	if e := b.events.last(t); e != want {
		t.Errorf("%+v\nwant %+v", e, want)
	}
	gkServe(t, b.Guard().Require(), gkRequest("garbage"))
	want = Event{
		Kind: "access_refused", Time: gkStart, Place: response.Guard, Reason: response.TokenInvalid, Status: 401,
		Address: gkPrefix("192.0.2.1/32"),
	}
	if e := b.events.last(t); e != want {
		t.Errorf("%+v\nwant %+v", e, want)
	}
	if len(b.events.all) != 2 {
		t.Errorf("%d events, want one for each refusal", len(b.events.all))
	}
}

// Check reports a refusal once; Refuse reports none.
func TestEvents_CheckAndRefuse(t *testing.T) {
	b := gkNew(t, nil)
	_, err := b.Guard().Check(gkRequest(""))
	b.Guard().Refuse(httptest.NewRecorder(), err)
	if len(b.events.all) != 1 || b.events.all[0].Reason != response.TokenMissing {
		t.Errorf("%+v", b.events.all)
	}
}

// A claimed id is never told: it may be a secret in the wrong field.
func TestEvents_UnknownClientIsNotNamed(t *testing.T) {
	b := gkNew(t, nil)
	for _, form := range []string{
		"grant_type=client_credentials&client_id=hunter2&client_secret=x",
		"grant_type=client_credentials&client_id=acme&client_secret=hunter2",
		"grant_type=hunter2&client_id=acme&client_secret=x",
		"grant_type=client_credentials&client_id=acme&client_secret=" + b.secret + "&scope=hunter2",
	} {
		r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		b.ServeHTTP(httptest.NewRecorder(), r)
		if e := b.events.last(t); strings.Contains(fmt.Sprintf("%+v", e), "hunter2") || e.Reason == "" {
			t.Errorf("%s: %+v", form, e)
		}
	}
}

// Whoever watches stops nothing, neither by a panic of Events nor of the log.
func TestEvents_PanicBreaksNothing(t *testing.T) {
	for name, change := range map[string]func(*HandlerConfig){
		"Events": func(c *HandlerConfig) { c.Events = func(context.Context, Event) { panic("x") } },
		"Events by http.ErrAbortHandler": func(c *HandlerConfig) {
			c.Events = func(context.Context, Event) { panic(http.ErrAbortHandler) }
		},
		"Logger": func(c *HandlerConfig) { c.Logger = slog.New(gkPanicking{}) },
		"nil":    func(c *HandlerConfig) { c.Events = nil },
	} {
		t.Run(name, func(t *testing.T) {
			b := gkNew(t, change)
			token := gkIssue(t, b, "grant_type=client_credentials&client_id=acme&client_secret="+b.secret)
			if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
				t.Errorf("status %d", status)
			}
			w := gkServe(t, b.Guard().Require("admin"), gkRequest(token))
			if w.Code != http.StatusForbidden || w.Body.Len() == 0 {
				t.Errorf("status %d %s", w.Code, w.Body)
			}
		})
	}
}

type gkPanicking struct{ slog.Handler }

func (gkPanicking) Enabled(context.Context, slog.Level) bool  { return true }
func (gkPanicking) Handle(context.Context, slog.Record) error { panic("x") }

// A log that breaks keeps no event from the metrics.
func TestEvents_SurviveTheLog(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Logger = slog.New(gkPanicking{}) })
	gkStatus(t, b.Guard(), "garbage")
	if e := b.events.last(t); e.Reason != response.TokenInvalid {
		t.Errorf("%+v", e)
	}
}

// An answer that could not be made is the kind failed, as the catalogue says,
// whatever was to be answered.
func TestEvents_FormatterFails(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) {
		c.Formatter = gkFormatter{failure: func(*response.Failure) (response.Reply, error) {
			return response.Reply{}, errors.New("broken")
		}}
	})
	w := gkServe(t, b.Guard().Require(), gkRequest("garbage"))
	e := b.events.last(t)
	if w.Code != http.StatusInternalServerError || e.Status != w.Code || e.Kind != "failed" || e.Reason != response.Internal || e.Err == nil {
		t.Errorf("the guard answers %d, the event is %+v", w.Code, e)
	}
	if challenge := w.Header().Get("WWW-Authenticate"); challenge != "" {
		t.Errorf("a 500 with the challenge %q", challenge)
	}
	w = httptest.NewRecorder()
	b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/token", http.NoBody))
	if e := b.events.last(t); w.Code != http.StatusInternalServerError || e.Kind != "failed" {
		t.Errorf("the endpoint answers %d, the event is %+v", w.Code, e)
	}
}

func TestEvents_Log(t *testing.T) {
	var logged bytes.Buffer
	b := gkNew(t, func(c *HandlerConfig) {
		c.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Grants = []grant.Grant{grant.ClientCredentials{}}
	})
	token := gkIssue(t, b, "grant_type=client_credentials&scope=read&client_id=acme&client_secret="+b.secret)
	gkServe(t, b.Guard().Require("admin"), gkRequest(token))
	b.guard.limiter = gkLimiter(func(context.Context, string, Limit) (Decision, error) { return Decision{}, errors.New("its cause") })
	gkServe(t, b.Guard().Require(), gkRequest(token))
	b.guard.limiter = gkLimiter(func(context.Context, string, Limit) (Decision, error) {
		return Decision{RetryAfter: time.Second}, nil
	})
	gkServe(t, b.Guard().Require(), gkRequest(token))
	lines := strings.Split(strings.TrimSpace(logged.String()), "\n")
	for i, want := range [][]string{
		{"level=DEBUG", `msg="tokenbooth: token_issued"`, "client_id=acme", "subject=client:acme", "grant=client_credentials", "status=200"},
		{"level=INFO", `msg="tokenbooth: access_refused"`, "reason=scope_lacking", "scope=admin", "status=403", "address=192.0.2.1/32"},
		{"level=ERROR", `msg="tokenbooth: failed"`, "reason=unavailable", "status=503", "its cause"},
		{"level=INFO", `msg="tokenbooth: throttled"`, "reason=throttled", "status=429"},
	} {
		if i >= len(lines) {
			t.Fatalf("%d lines, want 4:\n%s", len(lines), logged.String())
		}
		for _, part := range want {
			if !strings.Contains(lines[i], part) {
				t.Errorf("%q is not in %s", part, lines[i])
			}
		}
	}
	if strings.Contains(logged.String(), token) || strings.Contains(logged.String(), b.secret) {
		t.Error("the log shows a secret")
	}
}
