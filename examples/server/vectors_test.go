package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/store"
)

var tokenPaths = map[string]string{
	"000": "/adminczar/api/v1/oauth2/token",
	"001": "/oauth/access_token",
	"002": "/oauth2/tokens",
	"003": "/v1/auth/token",
	"004": "/auth/token",
}

// A vector is one exchange that must go exactly so.
type vector struct {
	Name, System, Basis, Note, Given string
	Request                          struct {
		Method, Path, Body string
		Headers            map[string]string
	}
	Response struct {
		Status  int
		Headers map[string]string
		JSON    json.RawMessage
	}
}

func readVectors(t *testing.T, file string) (all []vector) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return all
}

// A fixture is all five systems behind a listener, with a clock that stands.
type fixture struct {
	*testing.T
	url     string
	secrets map[string]string
	now     atomic.Pointer[time.Time]
}

var errStore = errors.New("the disk is on fire")

type failingClients struct{}

func (failingClients) Client(context.Context, string) (*store.Client, error) { return nil, errStore }

// Loading hashes passwords, and nothing changes what was loaded.
var builtInFixtures = sync.OnceValues(func() (*fixtures, error) { return loadFixtures("") })

func newFixture(t *testing.T, change func(*settings)) *fixture {
	t.Helper()
	f := &fixture{T: t, secrets: plainSecrets(t)}
	f.advance(0)
	loaded, err := builtInFixtures()
	if err != nil {
		t.Fatal(err)
	}
	s := newSettings(&options{ttl: time.Hour}, loaded, "http://server.test", slog.New(slog.DiscardHandler))
	s.now = func() time.Time { return *f.now.Load() }
	if change != nil {
		change(s)
	}
	systems, err := newSystems(s)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(mount(systems))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func plainSecrets(t *testing.T) map[string]string {
	t.Helper()
	var file struct{ Clients []struct{ ID, Secret string } }
	if err := json.Unmarshal(builtIn, &file); err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{}
	for _, c := range file.Clients {
		secrets[c.ID] = c.Secret
	}
	return secrets
}

func (f *fixture) advance(d time.Duration) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if p := f.now.Load(); p != nil {
		now = p.Add(d)
	}
	f.now.Store(&now)
}

// An answer has been read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (f *fixture) do(method, path string, header map[string]string, body string) *answer {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		f.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		f.Fatal(err)
	}
	return &answer{response.StatusCode, response.Header, got}
}

func (f *fixture) get(path, token string) *answer {
	f.Helper()
	return f.do("GET", path, map[string]string{"Authorization": "Bearer " + token}, "")
}

func (f *fixture) token(system string, form url.Values) string {
	f.Helper()
	a := f.do("POST", tokenPaths[system], map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, form.Encode())
	token := tokenIn(a.body)
	if token == "" {
		f.Fatalf("%s: no token: %d %s", system, a.status, a.body)
	}
	return token
}

var tokenMember = regexp.MustCompile(`"(?:access_token|jwt_token)":"([^"]+)"`)

func tokenIn(body []byte) string {
	if m := tokenMember.FindSubmatch(body); m != nil {
		return string(m[1])
	}
	return ""
}

func (f *fixture) clientToken(system, client, scope string) string {
	f.Helper()
	return f.token(system, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {f.secrets[client]}, "scope": {scope},
	})
}

// throttle repeats a request until the limit of its client is used up.
func (f *fixture) throttle(request func() *answer) {
	f.Helper()
	for range 10 {
		if request().status == http.StatusTooManyRequests {
			return
		}
	}
	f.Fatal("ten requests at once and no limit")
}

var tokenPlaceholder = regexp.MustCompile(`<(good|expired|implicit): ([^,>]+)(?:, ([^>]+))?>`)

// fill puts tokens for the placeholders of a request.
func (f *fixture) fill(v *vector, s string) string {
	f.Helper()
	return tokenPlaceholder.ReplaceAllStringFunc(s, func(placeholder string) string {
		m := tokenPlaceholder.FindStringSubmatch(placeholder)
		kind, client, how := m[1], m[2], m[3]
		scope, scoped := strings.CutPrefix(how, "scope ")
		if !scoped {
			scope = ""
		}
		switch {
		case kind == "implicit":
			return f.token(v.System, url.Values{"grant_type": {"implicit"}, "client_id": {client}})
		case how != "" && how != "over its limit" && !scoped:
			f.Fatalf("unknown placeholder %s", placeholder)
		}
		token := f.clientToken(v.System, client, scope)
		switch {
		case kind == "expired":
			f.advance(time.Hour)
		case how == "over its limit":
			f.throttle(func() *answer { return f.get(v.Request.Path, token) })
		}
		return token
	})
}

func TestVectors(t *testing.T) {
	for _, file := range []string{"token.json", "guard.json", "failures.json"} {
		for _, v := range readVectors(t, file) {
			t.Run(v.Name, func(t *testing.T) {
				t.Parallel()
				v.run(t)
			})
		}
	}
}

func (v *vector) run(t *testing.T) {
	f := newFixture(t, func(s *settings) {
		if v.Given == "the client store fails with an unexpected error" {
			s.clients = failingClients{}
		}
	})
	header := map[string]string{}
	for name, value := range v.Request.Headers {
		header[name] = f.fill(v, value)
	}
	path := f.fill(v, v.Request.Path)
	request := func() *answer { return f.do(v.Request.Method, path, header, v.Request.Body) }
	switch v.Given {
	case "", "nothing", "the client store fails with an unexpected error":
	case "the client's own limit is used up":
		f.throttle(request)
	default:
		t.Fatalf("unknown given: %s", v.Given)
	}
	v.check(f, request())
}

func (v *vector) check(f *fixture, got *answer) {
	f.Helper()
	if got.status != v.Response.Status {
		f.Errorf("status %d, want %d", got.status, v.Response.Status)
	}
	for name, want := range v.Response.Headers {
		if value := got.header.Get(name); !f.headerIs(value, want) {
			f.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	var wantJSON, gotJSON any
	if err := json.Unmarshal(v.Response.JSON, &wantJSON); err != nil {
		f.Fatal(err)
	}
	if err := json.Unmarshal(got.body, &gotJSON); err != nil {
		f.Fatalf("%v: %s", err, got.body)
	}
	if where := f.differ("", gotJSON, wantJSON); where != "" {
		f.Errorf("%s\n got %s\nwant %s", where, got.body, v.Response.JSON)
	}
}

func (f *fixture) headerIs(got, want string) bool {
	f.Helper()
	n, err := strconv.ParseInt(got, 10, 64)
	switch want {
	case "<int>":
		return err == nil && n > 0
	case "<int or 0>":
		return err == nil && n >= 0
	case "<epoch seconds>":
		now := f.now.Load().Unix()
		return err == nil && now <= n && n <= now+3600
	case "<bearer, no error attribute>":
		return strings.HasPrefix(got, "Bearer ") && !strings.Contains(got, "error")
	case "<bearer error=invalid_token>":
		return strings.HasPrefix(got, "Bearer ") && strings.Contains(got, `error="invalid_token"`)
	}
	if strings.HasPrefix(want, "<") {
		f.Fatalf("unknown placeholder %s", want)
	}
	return got == want
}

// differ says where two JSON values differ, or nothing.
func (f *fixture) differ(path string, got, want any) string {
	f.Helper()
	switch want := want.(type) {
	case map[string]any:
		return f.differObject(path, got, want)
	case []any:
		all, ok := got.([]any)
		if !ok || len(all) != len(want) {
			return path + " differs"
		}
		for i := range want {
			if where := f.differ(fmt.Sprintf("%s[%d]", path, i), all[i], want[i]); where != "" {
				return where
			}
		}
		return ""
	case string:
		if strings.HasPrefix(want, "<") {
			if f.placeholderIs(got, want) {
				return ""
			}
			return path + " is not " + want
		}
	}
	if got != want {
		return path + " differs"
	}
	return ""
}

func (f *fixture) differObject(path string, got any, want map[string]any) string {
	f.Helper()
	members, ok := got.(map[string]any)
	if !ok {
		return path + " is not an object"
	}
	for name := range members {
		if _, wanted := want[name]; !wanted {
			return path + "." + name + " is too much"
		}
	}
	for name := range want {
		value, there := members[name]
		if !there {
			return path + "." + name + " is missing"
		}
		if where := f.differ(path+"."+name, value, want[name]); where != "" {
			return where
		}
	}
	return ""
}

var (
	compactJWS = regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]+$`)
	skHex32    = regexp.MustCompile(`^sk-[0-9a-f]{32}$`)
)

func (f *fixture) placeholderIs(got any, want string) bool {
	f.Helper()
	text, _ := got.(string)
	number, _ := got.(float64)
	whole := number == float64(int64(number))
	switch want {
	case "<string>":
		return text != ""
	case "<jwt>":
		return compactJWS.MatchString(text)
	case "<sk-hex32>":
		return skHex32.MatchString(text)
	case "<int>":
		return number > 0 && whole
	case "<now+3600>":
		return whole && int64(number) == f.now.Load().Unix()+3600
	}
	f.Fatalf("unknown placeholder %s", want)
	return false
}

var guarded = map[string]string{
	"000": "/adminczar/api/v1/whoami",
	"001": "/v2/products",
	"002": "/oauth2/whoami",
	"003": "/v1/whoami",
	"004": "/event/whoami",
}

func TestTokensOfOneSystemAreRefusedByOthers(t *testing.T) {
	f := newFixture(t, nil)
	for issuer := range tokenPaths {
		token := f.clientToken(issuer, "acme", "customers:read") // what 002 asks for
		for system, path := range guarded {
			want := http.StatusUnauthorized
			switch system {
			case issuer:
				want = http.StatusOK
			case "002": // knows no 401
				want = http.StatusForbidden
			}
			if a := f.get(path, token); a.status != want {
				t.Errorf("token of %s at %s: %d %s, want %d", issuer, system, a.status, a.body, want)
			}
		}
	}
}

func TestTokenForms(t *testing.T) {
	f := newFixture(t, nil)
	for system, form := range map[string]string{
		"000": compactJWS.String(), "001": `^[0-9a-f]{40}$`, "002": compactJWS.String(), "003": skHex32.String(), "004": compactJWS.String(),
	} {
		if token := f.clientToken(system, "acme", ""); !regexp.MustCompile(form).MatchString(token) {
			t.Errorf("%s: %s, want %s", system, token, form)
		}
	}
}

func TestAudiencesDiffer(t *testing.T) {
	f := newFixture(t, nil)
	of := map[string]string{}
	for _, system := range []string{"000", "002", "004"} {
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(f.clientToken(system, "acme", ""), ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		var claims struct{ Aud any }
		if err := json.Unmarshal(payload, &claims); err != nil {
			t.Fatal(err)
		}
		audience := fmt.Sprint(claims.Aud)
		if other, taken := of[audience]; taken {
			t.Errorf("%s and %s: %s", other, system, audience)
		}
		of[audience] = system
	}
}

func TestDataShape(t *testing.T) {
	for name, want := range map[string]struct{ flat, nested bool }{
		"documented": {false, true}, "flat": {true, false}, "both": {true, true},
	} {
		o, err := parseFlags([]string{"-data-shape", name}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		f := newFixture(t, func(s *settings) { s.shape = o.shape })
		a := f.do("POST", tokenPaths["001"], map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, "grant_type=implicit&client_id=storefront")
		var body struct {
			AccessToken string `json:"access_token"`
			Data        struct {
				AccessToken string `json:"access_token"`
			}
		}
		if err := json.Unmarshal(a.body, &body); err != nil {
			t.Fatal(err)
		}
		if body.AccessToken != "" != want.flat || body.Data.AccessToken != "" != want.nested {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

func TestWhoamiOfUser(t *testing.T) {
	f := newFixture(t, nil)
	token := f.token("004", url.Values{
		"grant_type": {"password"}, "client_id": {"acme"}, "client_secret": {f.secrets["acme"]},
		"username": {"admin"}, "password": {"correct horse battery staple"}, "scope": {"customers:read"},
	})
	got := strings.TrimSpace(string(f.get("/event/whoami", token).body))
	want := `{"client_id":"acme","subject":"user:7","username":"admin","scopes":["customers:read"],"read_only":false}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWhoamiWithoutGuard(t *testing.T) {
	w := httptest.NewRecorder()
	whoami(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWrongMethodIsAnsweredInTheEnvelope(t *testing.T) {
	f := newFixture(t, nil)
	for system, path := range tokenPaths {
		a := f.do("GET", path, nil, "")
		if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" || !json.Valid(a.body) {
			t.Errorf("%s: %d, Allow %q, %s", system, a.status, a.header.Get("Allow"), a.body)
		}
	}
}

func TestJWKS(t *testing.T) {
	f := newFixture(t, nil)
	a := f.do("GET", "/jwks.json", nil, "")
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(a.body, &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("%v: %s", err, a.body)
	}
	if set.Keys[0]["alg"] != "ES256" || set.Keys[0]["d"] != "" {
		t.Errorf("%v", set.Keys[0])
	}
}

var _ tokenbooth.ClientStore = failingClients{}
