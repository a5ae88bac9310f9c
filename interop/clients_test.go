package interop_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// A system is one of the example server's five, or its second shape.
type system struct {
	name     string
	flags    []string
	token    string // path of the token endpoint
	route    string // path of a guarded route
	scopes   []string
	readable bool // access_token stands where RFC 6749 §5.1 has it
	secret   refusal
	unknown  refusal
}

// A refusal is what golang.org/x/oauth2 makes of one. The code is empty where it
// finds none.
type refusal struct {
	status int
	code   string
}

var systems = []system{
	{
		name: "000 OAuth", token: "/adminczar/api/v1/oauth2/token", route: "/adminczar/api/v1/whoami", readable: true,
		secret: refusal{401, "invalid_client"}, unknown: refusal{401, "invalid_client"},
	},
	{
		name: "001 Data", token: "/oauth/access_token", route: "/v2/products",
		secret: refusal{401, ""}, unknown: refusal{401, ""},
	},
	{
		name: "001 Data both", flags: []string{"-data-shape", "both"}, token: "/oauth/access_token", route: "/v2/products", readable: true,
		secret: refusal{401, ""}, unknown: refusal{401, ""},
	},
	{
		name: "002 Meta", token: "/oauth2/tokens", route: "/oauth2/whoami", scopes: []string{"customers:read"}, readable: true,
		secret: refusal{403, ""}, unknown: refusal{403, ""},
	},
	{
		name: "003 Coded", token: "/v1/auth/token", route: "/v1/whoami",
		secret: refusal{401, ""}, unknown: refusal{401, ""},
	},
	{
		name: "004 Content", token: "/auth/token", route: "/event/whoami",
		secret: refusal{401, ""}, unknown: refusal{404, ""},
	},
}

var styles = []struct {
	name string
	oauth2.AuthStyle
}{
	{"AutoDetect", oauth2.AuthStyleAutoDetect},
	{"InHeader", oauth2.AuthStyleInHeader},
	{"InParams", oauth2.AuthStyleInParams},
}

// counting counts the requests of a client.
type counting struct{ n atomic.Int64 }

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return http.DefaultTransport.RoundTrip(r)
}

func (c *counting) context(t *testing.T) context.Context {
	return context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: c})
}

func TestClientCredentials(t *testing.T) {
	secrets := readSecrets(t)
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			base := startServer(t, s.flags...)
			for _, style := range styles {
				for _, id := range []string{"acme", "od+d id:é"} {
					t.Run(style.name+"/"+id, func(t *testing.T) {
						c := &clientcredentials.Config{
							ClientID: id, ClientSecret: secrets[id], TokenURL: base + s.token, Scopes: s.scopes, AuthStyle: style.AuthStyle,
						}
						s.asks(t, c, base)
					})
				}
			}
		})
	}
}

func (s *system) asks(t *testing.T, c *clientcredentials.Config, base string) {
	var count counting
	ctx := count.context(t)
	token, err := c.Token(ctx)
	if !s.readable {
		s.wantUnreadable(t, c, token, err, count.n.Load())
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if count.n.Load() != 1 {
		t.Errorf("%d requests for one token", count.n.Load())
	}
	if left := time.Until(token.Expiry); token.Type() != "Bearer" || left < 59*time.Minute || left > time.Hour {
		t.Errorf("%s for %v, want Bearer for an hour", token.Type(), left)
	}
	if want := strings.Join(s.scopes, " "); want != "" && token.Extra("scope") != want {
		t.Errorf("scope %v, want %s", token.Extra("scope"), want)
	}
	answer, err := c.Client(ctx).Get(base + s.route)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != 200 || !strings.Contains(string(body), c.ClientID) && s.route != "/v2/products" {
		t.Errorf("the route answers %d %s", answer.StatusCode, body)
	}
}

// wantUnreadable: the token was issued and is not found, and a client that tries
// styles asks for another one.
func (s *system) wantUnreadable(t *testing.T, c *clientcredentials.Config, token *oauth2.Token, err error, requests int64) {
	t.Helper()
	if token != nil || err == nil || !strings.Contains(err.Error(), "server response missing access_token") {
		t.Errorf("%v, %v, want no access_token", token, err)
	}
	want := int64(1)
	if c.AuthStyle == oauth2.AuthStyleAutoDetect {
		want = 2
	}
	if requests != want {
		t.Errorf("%d requests, want %d", requests, want)
	}
}

func TestClientCredentialsRefused(t *testing.T) {
	acme := readSecrets(t)["acme"]
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			base := startServer(t, s.flags...)
			for _, test := range []struct {
				name, id, secret string
				want             refusal
			}{
				{"wrong secret", "acme", acme + "x", s.secret},
				{"unknown client", "nobody", acme, s.unknown},
			} {
				for _, style := range styles {
					t.Run(test.name+"/"+style.name, func(t *testing.T) {
						c := &clientcredentials.Config{
							ClientID: test.id, ClientSecret: test.secret, TokenURL: base + s.token, AuthStyle: style.AuthStyle,
						}
						wantRefusal(t, c, test.want)
					})
				}
			}
		})
	}
}

func wantRefusal(t *testing.T, c *clientcredentials.Config, want refusal) *oauth2.RetrieveError {
	t.Helper()
	_, err := c.Token(t.Context())
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		t.Fatalf("%v, want a RetrieveError", err)
	}
	if got := (refusal{refused.Response.StatusCode, refused.ErrorCode}); got != want {
		t.Errorf("%+v, want %+v: %s", got, want, refused.Body)
	}
	return refused
}

// The client slow may ask three times at once. AutoDetect takes two of them
// where it cannot read the token, and one where it can.
func TestAutoDetectCostsTwoWhereTheTokenIsNested(t *testing.T) {
	secrets := readSecrets(t)
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			base := startServer(t, s.flags...)
			config := func(style oauth2.AuthStyle) *clientcredentials.Config {
				return &clientcredentials.Config{ClientID: "slow", ClientSecret: secrets["slow"], TokenURL: base + s.token, AuthStyle: style}
			}
			_, err := config(oauth2.AuthStyleAutoDetect).Token(t.Context())
			if (err == nil) != s.readable {
				t.Fatal(err)
			}
			left := 1
			if s.readable {
				left = 2
			}
			for range left {
				var refused *oauth2.RetrieveError
				if _, err := config(oauth2.AuthStyleInParams).Token(t.Context()); errors.As(err, &refused) {
					t.Fatalf("the limit is used up too early: %v", err)
				}
			}
			code := ""
			if s.name == "000 OAuth" {
				code = "temporarily_unavailable"
			}
			refused := wantRefusal(t, config(oauth2.AuthStyleInParams), refusal{http.StatusTooManyRequests, code})
			if wait := refused.Response.Header.Get("Retry-After"); wait == "" || len(wait) > 2 {
				t.Errorf("Retry-After: %q, want at most 10 seconds", wait)
			}
		})
	}
}
