package store

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

var testNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestNewSecret(t *testing.T) {
	s, plain := NewSecret()
	if len(plain) != 43 || strings.Trim(plain, base64URL) != "" {
		t.Errorf("plain text of %d characters, want 43 of base64url", len(plain))
	}
	if s != HashSecret(plain) {
		t.Error("the stored form is not the hash of the plain text")
	}
	if _, other := NewSecret(); other == plain {
		t.Error("two secrets are alike")
	}
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func TestHashSecret(t *testing.T) {
	// printf abc | openssl sha256 -binary | basenc --base64url
	const want = "sha256$ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
	if got := HashSecret("abc").Hash; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNewClient(t *testing.T) {
	c, plain := NewClient("acme", "a", "b")
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if !c.CheckSecret(plain, testNow) {
		t.Error("its secret does not match")
	}
	if fmt.Sprint(c.Grants, c.Scopes, c.Public) != "[client_credentials] [a b] false" {
		t.Errorf("got %+v", c)
	}
}

func TestC7_CheckSecret(t *testing.T) {
	one, two := HashSecret("one"), HashSecret("two")
	until := func(s Secret, at time.Time) Secret { s.Expires = at; return s }
	for _, tt := range []struct {
		name    string
		secrets []Secret
		secret  string
		want    bool
	}{
		{"first of two", []Secret{one, two}, "one", true},
		{"second of two", []Secret{one, two}, "two", true},
		{"the same twice", []Secret{one, one}, "one", true},
		{"neither", []Secret{one, two}, "three", false},
		{"prefix", []Secret{one}, "on", false},
		{"the hash itself", []Secret{one}, one.Hash, false},
		{"one second left", []Secret{until(one, testNow.Add(time.Second))}, "one", true},
		{"ends now", []Secret{until(one, testNow)}, "one", false},
		{"ended", []Secret{until(one, testNow.Add(-time.Hour)), two}, "one", false},
		{"other ended", []Secret{until(one, testNow.Add(-time.Hour)), two}, "two", true},
	} {
		c := &Client{Secrets: tt.secrets}
		if got := c.CheckSecret(tt.secret, testNow); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestC6_UnusableHashMatchesNothing(t *testing.T) {
	good := HashSecret("x").Hash
	for _, hash := range []string{
		"", "sha256$", "x", strings.TrimPrefix(good, hashPrefix), "SHA256$" + good[7:], good + "=", good + "\n",
		good[:len(good)-1], "sha512$" + good[7:], "$2b$10$x", strings.Repeat("\x00", 50),
		// The last character of 43 has two bits to spare: not the one way to write it.
		nonCanonical(good),
	} {
		for _, secret := range []string{"", "x", hash} {
			for _, secrets := range [][]Secret{{{Hash: hash}}, {{Hash: hash}, HashSecret("another")}} {
				if (&Client{Secrets: secrets}).CheckSecret(secret, testNow) {
					t.Errorf("hash %q of %d matches %q", hash, len(secrets), secret)
				}
			}
		}
	}
	if (&Client{Secrets: []Secret{HashSecret("")}}).CheckSecret("", testNow) {
		t.Error("an empty secret matches")
	}
	if (&Client{}).CheckSecret("x", testNow) {
		t.Error("a client without a secret matches")
	}
}

func nonCanonical(hash string) string {
	last := strings.IndexByte(base64URL, hash[len(hash)-1])
	return hash[:len(hash)-1] + base64URL[last+1:last+2]
}

func TestC4_NilClient(t *testing.T) {
	var c *Client
	if c.CheckSecret("x", testNow) || c.CheckSecret("", testNow) {
		t.Error("nil matches")
	}
}

func TestCheckSecretAllocatesNothing(t *testing.T) {
	c := &Client{Secrets: []Secret{HashSecret("old"), HashSecret("new")}}
	secret := strings.Repeat("s", 512)
	if n := testing.AllocsPerRun(100, func() { c.CheckSecret(secret, testNow) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// outputs are all the ways in which something may come to be printed.
func outputs(t *testing.T, v any) map[string]string {
	out := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%08.3f", "%!"} {
		out[verb] = fmt.Sprintf(verb, v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out["json"] = string(b)
	b, err = json.MarshalIndent(map[string]any{"v": v}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	out["json map"] = string(b)
	if b, err = xml.Marshal(v); err == nil {
		out["xml"] = string(b)
	}
	var text, js bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v, slog.Group("g", "v", v))
	slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "v", v, slog.Group("g", "v", v))
	out["slog text"], out["slog json"] = text.String(), js.String()
	out["error"] = fmt.Errorf("wrapped: %w %v", ErrNotFound, v).Error()
	return out
}

func TestT8_Redacted(t *testing.T) {
	c, plain := NewClient("visible-id", "visible:scope")
	second, _ := NewSecret()
	c.Secrets = append(c.Secrets, second)
	c.Rate = &Rate{PerSecond: 1, Burst: 1}
	s := c.Secrets[0]
	type holder struct {
		Client  Client
		Pointer *Client
		Any     any
		Slice   []*Client
	}
	digest, _ := strings.CutPrefix(s.Hash, hashPrefix)
	forbidden := []string{
		digest, digest[:16], fmt.Sprintf("%x", digest), fmt.Sprintf("%X", digest), plain,
		strings.TrimPrefix(second.Hash, hashPrefix), "sha256$",
	}
	for name, v := range map[string]any{
		"Secret": s, "*Secret": &s, "[]Secret": c.Secrets, "[1]Secret": [1]Secret{s}, "map": map[string]Secret{"k": s},
		"Client": *c, "*Client": c, "[]Client": []Client{*c}, "[]*Client": []*Client{c},
		"map of *Client": map[string]*Client{"k": c}, "holder": holder{*c, c, c, []*Client{c}}, "*holder": &holder{*c, c, c, []*Client{c}},
	} {
		for how, out := range outputs(t, v) {
			for _, f := range forbidden {
				if strings.Contains(out, f) {
					t.Fatalf("%s under %s shows %q: %s", name, how, f, out)
				}
			}
		}
	}
}

func TestT8_PrivatePointer(t *testing.T) {
	c, _ := NewClient("acme")
	out := fmt.Sprintf("%v %+v %#v", struct{ c *Client }{c}, struct{ c *Client }{c}, struct{ c *Client }{c})
	if strings.Contains(out, c.Secrets[0].Hash[10:20]) {
		t.Errorf("shows the hash: %s", out)
	}
}

func TestClientFormat(t *testing.T) {
	c := &Client{ID: "a", Secrets: []Secret{HashSecret("s")}, Scopes: []string{"x"}}
	for verb, want := range map[string]string{
		"%v":  `{a [REDACTED] false false false false  <nil> 0   [] [] [x] [] []}`,
		"%#v": `store.Client{ID:"a", Secrets:[]store.Secret{REDACTED}, Public:false, `,
		"%+v": `{ID:a Secrets:[REDACTED] Public:false `,
	} {
		if got := fmt.Sprintf(verb, c); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", verb, got, want)
		}
	}
	if got := fmt.Sprint((*Client)(nil)); got != "<nil>" {
		t.Errorf("nil: %s", got)
	}
}

func TestT8_RestOfClientIsVisible(t *testing.T) {
	c, _ := NewClient("visible-id", "visible:scope")
	for how, out := range outputs(t, c) {
		switch how {
		case "%v", "%+v", "%#v", "json", "slog text", "slog json":
			for _, want := range []string{"visible-id", "visible:scope", "REDACTED"} {
				if !strings.Contains(out, want) {
					t.Errorf("%s lacks %s: %s", how, want, out)
				}
			}
		}
	}
	for _, v := range []any{c.Secrets[0], &c.Secrets[0]} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if got := fmt.Sprintf(verb, v); got != "REDACTED" {
				t.Errorf("%s of %T: %s", verb, v, got)
			}
		}
	}
	if got := c.Secrets[0].LogValue().String(); got != "REDACTED" {
		t.Errorf("LogValue: %s", got)
	}
}

func BenchmarkCheckSecret(b *testing.B) {
	c, plain := NewClient("acme")
	b.ReportAllocs()
	for b.Loop() {
		c.CheckSecret(plain, testNow)
	}
}

func BenchmarkCheckSecretNil(b *testing.B) {
	_, plain := NewClient("acme")
	var c *Client
	b.ReportAllocs()
	for b.Loop() {
		c.CheckSecret(plain, testNow)
	}
}
