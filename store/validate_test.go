package store

import (
	"math"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	good := func() *Client {
		return &Client{
			ID: "acme", Secrets: []Secret{HashSecret("s")}, Grants: []string{"client_credentials"},
			Scopes: []string{"a:b", "!#[]~"}, RedirectURIs: []string{"https://a.example/cb?x=1", "com.example.app:/cb"},
			AuthMethod: AuthPost, Rate: &Rate{PerSecond: 0.1, Burst: 1},
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*Client)
		want   string // empty: valid
	}{
		{"good", func(*Client) {}, ""},
		{"id of 256 bytes", func(c *Client) { c.ID = strings.Repeat("é", 128) }, ""},
		{"id with space and signs", func(c *Client) { c.ID = "od+d id:é" }, ""},
		{"no id", func(c *Client) { c.ID = "" }, `ID: "": give`},
		{"id of 257 bytes", func(c *Client) { c.ID = strings.Repeat("x", 257) }, "ID: \"" + strings.Repeat("x", 80) + `"…: has 257 bytes`},
		{"id not UTF-8", func(c *Client) { c.ID = "a\xff" }, `ID: "a\xff": is not UTF-8`},
		{"id with NUL", func(c *Client) { c.ID = "a\x00" }, `ID: "a\x00": has a control`},
		{"id with C1", func(c *Client) { c.ID = "a\u0085" }, `ID: "a\u0085": has a control`},
		{"two secrets", func(c *Client) { c.Secrets = append(c.Secrets, HashSecret("t")) }, ""},
		{"three secrets", func(c *Client) { c.Secrets = append(c.Secrets, HashSecret("t"), HashSecret("u")) }, "Secrets: 3 given: keep at most two"},
		{"no secret", func(c *Client) { c.Secrets = nil }, "Secrets: none: give"},
		{"public", func(c *Client) { c.Public, c.Secrets, c.AuthMethod = true, nil, AuthNone }, ""},
		{"public with a secret", func(c *Client) { c.Public, c.AuthMethod = true, "" }, "Secrets: 1 given: a public client"},
		{"empty hash", func(c *Client) { c.Secrets[0].Hash = "" }, "Secrets[0].Hash: REDACTED: is empty"},
		{"hash of nothing", func(c *Client) { c.Secrets[0] = HashSecret("") }, "Secrets[0].Hash: REDACTED: is the hash of an empty"},
		{"plain as hash", func(c *Client) { c.Secrets[0].Hash = "plain" }, "Secrets[0].Hash: REDACTED: is not sha256$"},
		{"short hash", func(c *Client) { c.Secrets[0].Hash = "sha256$AAAA" }, "Secrets[0].Hash: REDACTED: is not sha256$"},
		{"hash with padding", func(c *Client) { c.Secrets[0].Hash += "=" }, "Secrets[0].Hash: REDACTED: is not sha256$"},
		{"hash with line break", func(c *Client) { c.Secrets[0].Hash += "\n" }, "Secrets[0].Hash: REDACTED: is not sha256$"},
		{"hash not canonical", func(c *Client) { c.Secrets[0].Hash = nonCanonical(c.Secrets[0].Hash) }, "Secrets[0].Hash: REDACTED: is not sha256$"},
		{"empty grant", func(c *Client) { c.Grants = []string{"a", ""} }, `Grants[1]: "": name`},
		{"grant twice", func(c *Client) { c.Grants = []string{"a", "b", "a"} }, `Grants[2]: "a": is given twice`},
		{"auth method unknown", func(c *Client) { c.AuthMethod = "private_key_jwt" }, `AuthMethod: "private_key_jwt": is unknown`},
		{"auth none with a secret", func(c *Client) { c.AuthMethod = AuthNone }, `AuthMethod: "none": is for public`},
		{"auth basic of a public one", func(c *Client) { c.Public, c.Secrets, c.AuthMethod = true, nil, AuthBasic }, `AuthMethod: "client_secret_basic": needs`},
		{"redirect relative", func(c *Client) { c.RedirectURIs[0] = "/cb" }, `RedirectURIs[0]: "/cb": give an absolute`},
		{"redirect empty", func(c *Client) { c.RedirectURIs[1] = "" }, `RedirectURIs[1]: "": give an absolute`},
		{"redirect with fragment", func(c *Client) { c.RedirectURIs[0] = "https://a/#" }, `RedirectURIs[0]: "https://a/#": has a fragment`},
		{"redirect without host", func(c *Client) { c.RedirectURIs[0] = "https:///cb" }, `RedirectURIs[0]: "https:///cb": has no host`},
		{"redirect with line break", func(c *Client) { c.RedirectURIs[0] = "https://a/\n" }, `RedirectURIs[0]: "https://a/\n": give`},
		{"redirect script", func(c *Client) { c.RedirectURIs[0] = "JavaScript:alert(1)" }, `RedirectURIs[0]: "JavaScript:alert(1)": would run`},
		{"redirect long", func(c *Client) { c.RedirectURIs[0] = "https://a/" + strings.Repeat("x", 2048) }, "has 2058 bytes"},
		{"rate zero", func(c *Client) { c.Rate.PerSecond = 0 }, "Rate.PerSecond: 0: give"},
		{"rate negative", func(c *Client) { c.Rate.PerSecond = -1 }, "Rate.PerSecond: -1: give"},
		{"rate NaN", func(c *Client) { c.Rate.PerSecond = math.NaN() }, "Rate.PerSecond: NaN: give"},
		{"rate infinite", func(c *Client) { c.Rate.PerSecond = math.Inf(1) }, "Rate.PerSecond: +Inf: give"},
		{"burst", func(c *Client) { c.Rate.Burst = 0 }, "Rate.Burst: 0: give at least 1"},
		{"no rate", func(c *Client) { c.Rate = nil }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			tt.change(c)
			checkOneMistake(t, c.Validate(), tt.want)
		})
	}
}

func checkOneMistake(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Error(err)
	case want != "" && err == nil:
		t.Error("no error")
	case want != "" && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n")):
		t.Errorf("got %v\nwant the one mistake %s", err, want)
	}
}

func TestP7_ScopeTokens(t *testing.T) {
	for b := range 256 {
		valid := b == 0x21 || b >= 0x23 && b <= 0x5b || b >= 0x5d && b <= 0x7e
		c := &Client{ID: "a", Public: true, Scopes: []string{"ok", "x" + string([]byte{byte(b)})}}
		err := c.Validate()
		if (err == nil) != valid {
			t.Errorf("%#x: %v", b, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "Scopes[1]: ") {
			t.Errorf("%#x: %v", b, err)
		}
	}
	if (&Client{ID: "a", Public: true, Scopes: []string{""}}).Validate() == nil {
		t.Error("an empty scope is valid")
	}
}

func TestValidateReportsAllAtOnce(t *testing.T) {
	c := &Client{
		Secrets: []Secret{{Hash: "canary-secret"}}, Grants: []string{""}, Scopes: []string{"a b"},
		RedirectURIs: []string{"x"}, AuthMethod: "x", Rate: &Rate{},
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	var fields []string
	for line := range strings.Lines(err.Error()) {
		fields = append(fields, line[:strings.Index(line, ":")])
	}
	const want = "ID Secrets[0].Hash AuthMethod Grants[0] Scopes[0] RedirectURIs[0] Rate.PerSecond Rate.Burst"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("shows a hash: %v", err)
	}
}

func TestValidateNil(t *testing.T) {
	var c *Client
	if c.Validate() == nil {
		t.Error("nil is valid")
	}
}
