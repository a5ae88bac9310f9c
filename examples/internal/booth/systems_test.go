package booth

import (
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
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/examples/internal/boothtest"
	"github.com/tokenbooth/tokenbooth/store"
)

// A fixture is all five systems behind a listener, with a clock that stands.
type fixture struct{ *boothtest.Kit }

type failingClients struct{}

func (failingClients) Client(context.Context, string) (*store.Client, error) {
	return nil, errors.New("the disk is on fire")
}

// Loading hashes passwords, and nothing changes what was loaded.
var builtInFixtures = sync.OnceValues(func() (*Fixtures, error) { return LoadFixtures("") })

func newFixture(t *testing.T, change func(*settings)) *fixture {
	t.Helper()
	clock := boothtest.NewClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	loaded, err := builtInFixtures()
	if err != nil {
		t.Fatal(err)
	}
	s := newSettings(&options{ttl: time.Hour}, loaded, "http://server.test", slog.New(slog.DiscardHandler))
	s.now = clock.Now
	if s.backend, err = inMemory(t.Context(), &Setup{Fixtures: loaded, Now: s.now}); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	systems, err := newSystems(s)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(mount(systems))
	t.Cleanup(server.Close)
	return &fixture{&boothtest.Kit{
		T: t, URLs: []string{server.URL}, Issuer: s.issuer, Secrets: boothtest.Secrets(t, BuiltIn), Clock: clock,
	}}
}

func TestVectors(t *testing.T) {
	boothtest.TestVectors(t, func(t *testing.T, failing bool) *boothtest.Kit {
		t.Parallel()
		return newFixture(t, func(s *settings) {
			if failing {
				s.backend.Clients = failingClients{}
			}
		}).Kit
	})
}

func TestTokensOfOneSystemAreRefusedByOthers(t *testing.T) {
	newFixture(t, nil).SystemsApart()
}

func TestTokenForms(t *testing.T) {
	f := newFixture(t, nil)
	for system, form := range map[string]string{
		"000": boothtest.CompactJWS.String(), "001": `^[0-9a-f]{40}$`, "002": boothtest.CompactJWS.String(), "003": boothtest.SKHex32.String(), "004": boothtest.CompactJWS.String(),
	} {
		if token := f.ClientToken(system, "acme", ""); !regexp.MustCompile(form).MatchString(token) {
			t.Errorf("%s: %s, want %s", system, token, form)
		}
	}
}

func TestAudiencesDiffer(t *testing.T) {
	f := newFixture(t, nil)
	of := map[string]string{}
	for _, system := range []string{"000", "002", "004"} {
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(f.ClientToken(system, "acme", ""), ".")[1])
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
		o, err := new(Program).parseFlags([]string{"-data-shape", name}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		f := newFixture(t, func(s *settings) { s.shape = o.shape })
		a := f.Do("POST", boothtest.TokenPaths["001"], map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, "grant_type=implicit&client_id=storefront")
		var body struct {
			AccessToken string `json:"access_token"`
			Data        struct {
				AccessToken string `json:"access_token"`
			}
		}
		if err := json.Unmarshal(a.Body, &body); err != nil {
			t.Fatal(err)
		}
		if body.AccessToken != "" != want.flat || body.Data.AccessToken != "" != want.nested {
			t.Errorf("%s: %s", name, a.Body)
		}
	}
}

func TestWhoamiOfUser(t *testing.T) {
	f := newFixture(t, nil)
	token := f.Token("004", url.Values{
		"grant_type": {"password"}, "client_id": {"acme"}, "client_secret": {f.Secrets["acme"]},
		"username": {"admin"}, "password": {"correct horse battery staple"}, "scope": {"customers:read"},
	})
	got := strings.TrimSpace(string(f.Get("/event/whoami", token).Body))
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
	for system, path := range boothtest.TokenPaths {
		a := f.Do("GET", path, nil, "")
		if a.Status != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "POST" || !json.Valid(a.Body) {
			t.Errorf("%s: %d, Allow %q, %s", system, a.Status, a.Header.Get("Allow"), a.Body)
		}
	}
}

func TestJWKS(t *testing.T) {
	f := newFixture(t, nil)
	a := f.Do("GET", "/jwks.json", nil, "")
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(a.Body, &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("%v: %s", err, a.Body)
	}
	if set.Keys[0]["alg"] != "ES256" || set.Keys[0]["d"] != "" {
		t.Errorf("%v", set.Keys[0])
	}
}
