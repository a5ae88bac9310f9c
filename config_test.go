package tokenbooth

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// gkMistakes returns the ConfigErrors that an error joins, by field.
func gkMistakes(t *testing.T, err error) map[string]*ConfigError {
	t.Helper()
	all := map[string]*ConfigError{}
	if err == nil {
		return all
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%T joins nothing", err)
	}
	for _, e := range joined.Unwrap() {
		var c *ConfigError
		if !errors.As(e, &c) {
			t.Fatalf("%T is no ConfigError", e)
		}
		if c.Field == "" || c.Value == "" || c.Mend == "" {
			t.Errorf("incomplete: %+v", *c)
		}
		for _, part := range []string{c.Field, c.Value, c.Mend} {
			if !strings.Contains(c.Error(), part) {
				t.Errorf("%q does not say %q", c, part)
			}
		}
		if all[c.Field] != nil {
			t.Errorf("%s twice", c.Field)
		}
		all[c.Field] = c
	}
	return all
}

func gkSameFields(t *testing.T, got map[string]*ConfigError, want ...string) {
	t.Helper()
	for _, field := range want {
		if got[field] == nil {
			t.Errorf("%s is not reported", field)
		}
	}
	if len(got) != len(want) {
		for field, e := range got {
			t.Logf("%s: %v", field, e)
		}
		t.Errorf("%d mistakes, want %d", len(got), len(want))
	}
}

type gkGrant struct {
	grant.ClientCredentials
	name string
	err  error
}

func (g gkGrant) Type() string    { return g.name }
func (g gkGrant) Validate() error { return g.err }

func TestConfig_EveryMistakeAtOnce(t *testing.T) {
	h, err := NewHandler(HandlerConfig{
		Issuer:         "auth.example.com",
		Tokens:         Opaque{Bytes: 8},
		Keys:           &KeyRing{},
		Grants:         []grant.Grant{nil, gkGrant{name: ""}, gkGrant{name: "x"}, gkGrant{name: "x"}, &grant.Password{}, gkGrant{name: "y", err: errors.New("mend it")}},
		Limit:          Limit{PerSecond: math.NaN(), Burst: 1},
		FailureLimit:   Limit{PerSecond: 1},
		DefaultScopes:  []string{"read", "a b", ""},
		AccessTokenTTL: time.Millisecond,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), {}},
	})
	if h != nil {
		t.Error("a handler beside an error")
	}
	of := func(fields ...string) []string {
		for i := range fields {
			fields[i] = "HandlerConfig." + fields[i]
		}
		return fields
	}
	gkSameFields(t, gkMistakes(t, err), of("Issuer", "Clients", "Tokens", "Keys", "Grants[0]", "Grants[1]", "Grants[3]", "Grants[4]",
		"Grants[5]", "Limit", "FailureLimit", "DefaultScopes[1]", "DefaultScopes[2]", "AccessTokenTTL", "TrustedProxies[1]")...)

	g, err := NewGuard(GuardConfig{
		Limit:          Limit{PerSecond: math.Inf(1), Burst: 1},
		TrustedProxies: []netip.Prefix{{}},
	})
	if g != nil {
		t.Error("a guard beside an error")
	}
	gkSameFields(t, gkMistakes(t, err), "GuardConfig.Issuer", "GuardConfig.Keys", "GuardConfig.Limit", "GuardConfig.TrustedProxies[0]")
	_, err = NewGuard(GuardConfig{Issuer: gkIssuer, Tokens: Opaque{Prefix: "a b", Bytes: 65}})
	gkSameFields(t, gkMistakes(t, err), "GuardConfig.Tokens", "GuardConfig.State")
}

func TestConfig_Zero(t *testing.T) {
	_, err := NewHandler(HandlerConfig{})
	gkSameFields(t, gkMistakes(t, err), "HandlerConfig.Issuer", "HandlerConfig.Clients")
	_, err = NewGuard(GuardConfig{})
	gkSameFields(t, gkMistakes(t, err), "GuardConfig.Issuer", "GuardConfig.Keys")
}

func TestConfig_Defaults(t *testing.T) {
	h, err := NewHandler(HandlerConfig{Issuer: gkIssuer, Clients: new(store.Memory), Logger: gkQuiet})
	if err != nil {
		t.Fatal(err)
	}
	codec := h.codec.(*jwtCodec)
	if h.lifetimes.Access != time.Hour || h.clientLimit != defaultLimit || h.failureLimit != defaultFailureLimit || codec.audience != gkIssuer ||
		h.formatter != (response.OAuth{}) || len(h.grants) != 1 || h.guard.leeway != 0 || !codec.keys.canSign() {
		t.Errorf("%+v", h)
	}
	if _, unlimited := h.limiter.(Unlimited); unlimited {
		t.Error("Unlimited without being asked for")
	}
}

func TestConfig_Issuers(t *testing.T) {
	for issuer, good := range map[string]bool{
		"https://auth.example.com":      true,
		"https://auth.example.com/":     true,
		"https://auth.example.com/a/b":  true,
		"http://127.0.0.1:8080":         true,
		"https://[::1]:8443":            true,
		"":                              false,
		" https://auth.example.com":     false,
		"https://auth.example.com\n":    false,
		"https://auth.example.com?x":    false,
		"https://auth.example.com?":     false,
		"https://auth.example.com/#":    false,
		"https://auth.example.com#x":    false,
		"https://a:b@auth.example.com":  false,
		"https://a@auth.example.com":    false,
		"https://":                      false,
		"https:///path":                 false,
		"https://:443":                  false,
		"https:auth.example.com":        false,
		"//auth.example.com":            false,
		"/issuer":                       false,
		"auth.example.com":              false,
		"urn:example:issuer":            false,
		"ftp://auth.example.com":        false,
		"javascript://auth.example.com": false,
		"https://auth.example.com:port": false,
		"https://%zz":                   false,
		"\x00":                          false,
	} {
		_, err := NewGuard(GuardConfig{Issuer: issuer, Keys: gkRing(t, gkKey("ES256")), Logger: gkQuiet})
		if (err == nil) != good {
			t.Errorf("%q: %v", issuer, err)
		}
		if got := gkMistakes(t, err); !good && got["GuardConfig.Issuer"] == nil {
			t.Errorf("%q: %v", issuer, err)
		}
	}
}

func TestConfig_Limits(t *testing.T) {
	for name, c := range map[string]struct {
		limit Limit
		good  bool
	}{
		"zero":         {Limit{}, true},
		"small":        {Limit{PerSecond: 1.0 / 3600, Burst: 1}, true},
		"no burst":     {Limit{PerSecond: 1}, false},
		"no rate":      {Limit{Burst: 1}, false},
		"negative":     {Limit{PerSecond: -1, Burst: 1}, false},
		"NaN":          {Limit{PerSecond: math.NaN(), Burst: 1}, false},
		"NaN alone":    {Limit{PerSecond: math.NaN()}, false},
		"infinite":     {Limit{PerSecond: math.Inf(1), Burst: 1}, false},
		"burst below":  {Limit{PerSecond: 1, Burst: -1}, false},
		"rate -0":      {Limit{PerSecond: math.Copysign(0, -1), Burst: 1}, false},
		"-0 and no 1s": {Limit{PerSecond: math.Copysign(0, -1)}, true},
	} {
		_, err := NewHandler(HandlerConfig{Issuer: gkIssuer, Clients: new(store.Memory), Logger: gkQuiet, Limit: c.limit, FailureLimit: c.limit})
		got := gkMistakes(t, err)
		if (len(got) == 0) != c.good || !c.good && (got["HandlerConfig.Limit"] == nil || got["HandlerConfig.FailureLimit"] == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfig_OpaqueFormats(t *testing.T) {
	for _, c := range []struct {
		format Opaque
		good   bool
	}{
		{Opaque{}, true},
		{Opaque{Bytes: 16}, true},
		{Opaque{Bytes: 64, Prefix: strings.Repeat("a", 64)}, true},
		{Opaque{Prefix: "sk-_09aZ"}, true},
		{Opaque{Bytes: 15}, false},
		{Opaque{Bytes: 65}, false},
		{Opaque{Bytes: -1}, false},
		{Opaque{Prefix: "sk."}, false},
		{Opaque{Prefix: "sk "}, false},
		{Opaque{Prefix: "sk\n"}, false},
		{Opaque{Prefix: "é"}, false},
		{Opaque{Prefix: strings.Repeat("a", 65)}, false},
	} {
		_, err := NewGuard(GuardConfig{Issuer: gkIssuer, State: new(store.Memory), Tokens: c.format, Logger: gkQuiet})
		if got := gkMistakes(t, err); (len(got) == 0) != c.good || !c.good && got["GuardConfig.Tokens"] == nil {
			t.Errorf("%+v: %v", c.format, err)
		}
	}
}

func TestConfig_Keys(t *testing.T) {
	public := gkRing(t, gkPublic(t, gkKey("ES256")))
	publicFirst := gkRing(t, gkPublic(t, gkKey("ES256")), gkKey("EdDSA"))
	for name, ring := range map[string]*KeyRing{"public": public, "public first": publicFirst, "Public": gkRing(t, gkKey("ES256")).Public(), "zero": {}} {
		_, err := NewHandler(HandlerConfig{Issuer: gkIssuer, Clients: new(store.Memory), Keys: ring, Logger: gkQuiet})
		gkSameFields(t, gkMistakes(t, err), "HandlerConfig.Keys")
		if t.Failed() {
			t.Fatal(name)
		}
	}
	if _, err := NewGuard(GuardConfig{Issuer: gkIssuer, Keys: public, Logger: gkQuiet}); err != nil {
		t.Error(err)
	}
}

// A nil pointer in an interface is as missing as a nil interface, and a pointer
// to a setting means what the setting means. Neither may come up at the first
// request.
func TestConfig_TypedNils(t *testing.T) {
	good := HandlerConfig{Issuer: gkIssuer, Clients: new(store.Memory), Keys: gkRing(t, gkKey("ES256")), Logger: gkQuiet}
	for field, change := range map[string]func(*HandlerConfig){
		"Clients":   func(c *HandlerConfig) { c.Clients = (*store.Memory)(nil) },
		"State":     func(c *HandlerConfig) { c.State = (*store.Memory)(nil) },
		"Limiter":   func(c *HandlerConfig) { c.Limiter = (*MemoryLimiter)(nil) },
		"Formatter": func(c *HandlerConfig) { c.Formatter = (*response.OAuth)(nil) },
		"Tokens":    func(c *HandlerConfig) { c.Tokens = (*JWT)(nil) },
		"Grants[0]": func(c *HandlerConfig) { c.Grants = []grant.Grant{(*grant.Password)(nil)} },
	} {
		t.Run(field, func(t *testing.T) {
			defer func() {
				if v := recover(); v != nil {
					t.Errorf("panic: %v", v)
				}
			}()
			c := good
			change(&c)
			_, err := NewHandler(c)
			gkSameFields(t, gkMistakes(t, err), "HandlerConfig."+field)
		})
	}
	for field, change := range map[string]func(*GuardConfig){
		"Clients":   func(c *GuardConfig) { c.Clients = (*store.Memory)(nil) },
		"State":     func(c *GuardConfig) { c.Tokens, c.State = Opaque{}, (*store.Memory)(nil) },
		"Limiter":   func(c *GuardConfig) { c.Limiter = (*MemoryLimiter)(nil) },
		"Formatter": func(c *GuardConfig) { c.Formatter = (*response.OAuth)(nil) },
		"Tokens":    func(c *GuardConfig) { c.Tokens = (*Opaque)(nil) },
	} {
		t.Run("Guard "+field, func(t *testing.T) {
			defer func() {
				if v := recover(); v != nil {
					t.Errorf("panic: %v", v)
				}
			}()
			c := GuardConfig{Issuer: gkIssuer, Keys: good.Keys, State: new(store.Memory), Logger: gkQuiet}
			change(&c)
			_, err := NewGuard(c)
			gkSameFields(t, gkMistakes(t, err), "GuardConfig."+field)
		})
	}
}

// A format given by pointer is either taken as it is by value, or refused.
func TestConfig_TokensByPointer(t *testing.T) {
	for name, tokens := range map[string]TokenFormat{"JWT": &JWT{}, "Opaque": &Opaque{}} {
		acme, _ := store.NewClient("acme")
		h, err := NewHandler(HandlerConfig{Issuer: gkIssuer, Clients: gkMust(store.NewMemory(acme)), Tokens: tokens, Logger: gkQuiet})
		if err != nil {
			gkSameFields(t, gkMistakes(t, err), "HandlerConfig.Tokens")
			continue
		}
		b := &gkBooth{Handler: h, clock: &gkClock{t: time.Now()}}
		func() {
			defer func() {
				if v := recover(); v != nil {
					t.Errorf("%s: panic: %v", name, v)
				}
			}()
			if status := gkStatus(t, h.Guard(), b.mintFor(t, nil)); status != http.StatusNoContent {
				t.Errorf("%s: status %d", name, status)
			}
		}()
	}
	_, err := NewGuard(GuardConfig{Issuer: gkIssuer, Tokens: &JWT{}, Logger: gkQuiet})
	if got := gkMistakes(t, err); len(got) != 1 || got["GuardConfig.Keys"] == nil && got["GuardConfig.Tokens"] == nil {
		t.Errorf("a guard for JWTs without keys: %v", err)
	}
}

// NewHandler keeps nothing that its caller may change, and changes nothing that
// its caller gave.
func TestConfig_IsCopied(t *testing.T) {
	proxies := []netip.Prefix{gkPrefix("10.0.0.0/8")}
	scopes := []string{"read"}
	c := HandlerConfig{
		Issuer: gkIssuer, Clients: new(store.Memory), Keys: gkRing(t, gkKey("ES256")), TrustedProxies: proxies,
		DefaultScopes: scopes, Logger: gkQuiet,
	}
	before := c
	h, err := NewHandler(c)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, before) {
		t.Error("the configuration was changed")
	}
	scopes[0] = "admin"
	proxies[0] = gkPrefix("0.0.0.0/0")
	if h.defaultScopes[0] != "read" {
		t.Error("DefaultScopes follows its caller's slice")
	}
	r := gkRequest("")
	r.RemoteAddr = "192.0.2.1:1"
	r.Header.Set("X-Forwarded-For", "198.51.100.1")
	if got := h.addresses.of(r); got != gkPrefix("192.0.2.1/32") {
		t.Errorf("TrustedProxies follows its caller's slice: %v", got)
	}
}

func TestT8_ConfigsHide(t *testing.T) {
	secrets := gkSecrets(t)
	ring := gkRing(t, gkAllKeys()...)
	client, secret := store.NewClient("acme", "read")
	clients := gkMust(store.NewMemory(client))
	secrets = append(secrets, []byte(secret), []byte(client.Secrets[0].Hash))
	h := HandlerConfig{
		Issuer: gkIssuer, Keys: ring, Clients: clients, State: clients, Logger: slog.New(slog.DiscardHandler),
		Tokens: Opaque{}, Limiter: &MemoryLimiter{}, Grants: []grant.Grant{&grant.Password{}},
	}
	g := GuardConfig{Issuer: gkIssuer, Keys: ring, Clients: clients, State: clients}
	ph, pg := &h, &g
	for name, v := range map[string]any{
		"HandlerConfig": h, "*HandlerConfig": ph, "**HandlerConfig": &ph, "[]HandlerConfig": []HandlerConfig{h}, "[]*HandlerConfig": []*HandlerConfig{ph},
		"GuardConfig": g, "*GuardConfig": pg, "**GuardConfig": &pg, "[]GuardConfig": []GuardConfig{g}, "[]*GuardConfig": []*GuardConfig{pg},
		"a struct of both": struct {
			H HandlerConfig
			G *GuardConfig
		}{h, pg},
		"an unexported field": struct{ h HandlerConfig }{h},
	} {
		gkHides(t, name, v, secrets)
	}
}

// The error of a bad configuration shows no secret that was put into the wrong
// place.
func TestT8_ConfigErrorsHide(t *testing.T) {
	const secret = "hunter2-hunter2"
	for _, issuer := range []string{
		"https://user:" + secret + "@auth.example.com", "https://" + secret + "@auth.example.com",
		"https://auth.example.com?key=" + secret, "https://auth.example.com#" + secret, "https://%zz:" + secret + "@x",
		"postgres://u:" + secret + "@db/x", secret,
	} {
		_, err := NewGuard(GuardConfig{Issuer: issuer, Keys: gkRing(t, gkKey("ES256"))})
		if err == nil || issuer != secret && strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", issuer, err)
		}
	}
	_, err := NewKeyRing(Key{Material: secret}, Key{Material: []byte(secret)}, Key{Algorithm: "ES256", Material: []byte(secret + secret + secret)})
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("%v", err)
	}
}

// A store that goes by another clock than the handler's collects what lives.
func TestDefaultStateHasTheHandlersClock(t *testing.T) {
	then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	c := HandlerConfig{Now: func() time.Time { return then }}
	_ = c.validate()
	for i := range 200 {
		key := fmt.Sprint(i)
		if ok, err := c.State.Create(t.Context(), key, []byte("x"), then.Add(time.Minute)); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	for i := range 200 {
		if _, ok, err := c.State.Get(t.Context(), fmt.Sprint(i)); !ok || err != nil {
			t.Fatalf("entry %d is gone: %v", i, err)
		}
	}
}
