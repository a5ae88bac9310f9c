package main

import (
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
)

// A scenario is what somebody does, so many times a second.
type scenario struct {
	name      string
	perSecond float64
	act       func(*play)
}

var scenarios = []scenario{
	{"machine, JWT", 12, machine("/jwt")},
	{"machine, opaque", 8, machine("/opaque")},
	{"person, JWT", 6, person("/jwt")},
	{"person, opaque", 3, person("/opaque")},
	{"password", 4, withPassword},
	{"implicit", 4, implicit},
	{"bad requests", 2, badRequests},
	{"unknown clients", 60, stranger},
	{"forged tokens", 40, forged},
	{"broken off", 2, brokenOff},
	{"throttled", 3, throttled},
	{"documents", 2, documents},
}

// A play is one performance of a scenario. After the first wrong answer it does
// nothing more.
type play struct {
	*load
	err error
}

// expect returns the answer, or an empty one after a mistake.
func (p *play) expect(what string, a *answer, err error, want ...int) *answer {
	if p.err == nil {
		p.err = err
	}
	if p.err != nil {
		return &answer{header: http.Header{}}
	}
	p.requests.Add(1)
	for _, status := range want {
		if a.status == status {
			return a
		}
	}
	p.err = fmt.Errorf("%s: status %d: %s", what, a.status, a.body)
	return &answer{header: http.Header{}}
}

func (p *play) see(path, token string, want int) *answer {
	if p.err != nil {
		return &answer{header: http.Header{}}
	}
	a, err := p.get(path, token)
	return p.expect("GET "+path, a, err, want)
}

// ask posts a form.
func (p *play) ask(path, form string, want ...int) *answer {
	if p.err != nil {
		return &answer{header: http.Header{}}
	}
	a, err := p.send(http.MethodPost, path, "", form, nil)
	return p.expect("POST "+path, a, err, want...)
}

func (p *play) check(good bool, what string) {
	if p.err == nil && !good {
		p.err = fmt.Errorf("wrong: %s", what)
	}
}

func machine(prefix string) func(*play) {
	return func(p *play) {
		token := p.ask(prefix+"/token", machineForm(p.secret, "grant_type", "client_credentials", "scope", "read"), 200).member("access_token")
		p.see(prefix+"/resource", token, 204)
		p.see(prefix+"/resource", token, 204)
		if prefix == "/jwt" && p.err == nil {
			p.see("/remote/resource", token, 204)
			p.sample.Store(&token)
		}
		seen := p.ask(prefix+"/introspect", machineForm(p.secret, "token", token), 200)
		p.check(strings.Contains(seen.body, `"active":true`), "a good token is not active")
		p.ask(prefix+"/revoke", machineForm(p.secret, "token", token), 200)
		p.see(prefix+"/resource", token, 401)
		seen = p.ask(prefix+"/introspect", machineForm(p.secret, "token", token), 200)
		p.check(strings.Contains(seen.body, `"active":false`), "a revoked token is active")
	}
}

// person signs in, renews tokens, and loses them in one of four ways.
func person(prefix string) func(*play) {
	return func(p *play) {
		user := newUser()
		redeem := p.allow(prefix, user)
		if redeem == "" {
			return
		}
		first := p.ask(prefix+"/token", redeem, 200)
		access, refresh := first.member("access_token"), first.member("refresh_token")
		p.see(prefix+"/resource", access, 204)
		p.see(prefix+"/userinfo", access, 200)

		renew := appForm("grant_type", "refresh_token", "refresh_token", refresh)
		next := p.ask(prefix+"/token", renew, 200).member("refresh_token")
		again := p.ask(prefix+"/token", renew, 200).member("refresh_token")
		p.check(next == again, "an answer that got lost has another successor")
		last := p.ask(prefix+"/token", appForm("grant_type", "refresh_token", "refresh_token", next), 200)

		switch rand.IntN(4) {
		case 0: // a thief uses the first one
			p.ask(prefix+"/token", renew, 400)
		case 1:
			p.ask(prefix+"/revoke", appForm("token", last.member("refresh_token")), 200)
		case 2:
			p.ask(prefix+"/token", redeem, 400)
		case 3:
			p.revokeAll(prefix, user)
		}
		p.see(prefix+"/resource", last.member("access_token"), 401)
	}
}

func newUser() string { return fmt.Sprintf("user:%016x", rand.Uint64()) }

// allow returns the form that redeems the code; none where the person denied the
// request.
func (p *play) allow(prefix, user string) (redeem string) {
	code, verifier := p.signIn(prefix, user)
	if code == "" {
		return ""
	}
	return appForm("grant_type", "authorization_code", "code", code, "code_verifier", verifier, "redirect_uri", callback)
}

func (p *play) revokeAll(prefix, user string) {
	h := p.jwt
	if prefix == "/opaque" {
		h = p.opaque
	}
	if p.err == nil {
		p.err = h.RevokeSubject(context.Background(), user)
	}
}

// signIn returns no code where the person denied the request.
func (p *play) signIn(prefix, user string) (code, verifier string) {
	var random [32]byte
	_, _ = crand.Read(random[:])
	verifier = base64.RawURLEncoding.EncodeToString(random[:])
	challenge := sha256.Sum256([]byte(verifier))
	target := prefix + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {callback}, "state": {"s"}, "nonce": {"n"},
		"scope":          {"read openid offline_access"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode()
	page := p.see(target, "", 200)
	if p.err != nil {
		return "", ""
	}
	if rand.IntN(10) == 0 {
		user = "nobody"
	}
	cookie, _, _ := strings.Cut(page.header.Get("Set-Cookie"), ";")
	a, err := p.send(http.MethodPost, prefix+"/authorize", "", form("ticket", page.body, "username", user),
		http.Header{"Cookie": {cookie}})
	back, _ := url.Parse(p.expect("sign in", a, err, 303).header.Get("Location"))
	p.check(back.Query().Has("code") == (user != "nobody"), "sent back to "+back.String())
	return back.Query().Get("code"), verifier
}

func withPassword(p *play) {
	user := fmt.Sprintf("user:%d", rand.IntN(1000)) // each has a bucket
	token := p.ask("/jwt/token", machineForm(p.secret, "grant_type", "password", "username", user, "password", password, "scope", "read"), 200)
	p.see("/jwt/resource", token.member("access_token"), 204)
	p.ask("/jwt/token", machineForm(p.secret, "grant_type", "password", "username", user, "password", "a guess"), 400)
}

func implicit(p *play) {
	token := p.ask("/jwt/token", appForm("grant_type", "implicit", "scope", "read"), 200).member("access_token")
	p.see("/jwt/resource", token, 204)
	if p.err == nil {
		a, err := p.send(http.MethodPost, "/jwt/resource", token, "", nil)
		p.expect("a write", a, err, 403)
	}
}

func stranger(p *play) { p.ask("/jwt/token", strangersForm(), 401) }

// forged sends tokens that were never issued, no two alike.
func forged(p *play) {
	var random [64]byte
	_, _ = crand.Read(random[:])
	p.see("/opaque/resource", hex.EncodeToString(random[:32]), 401)
	if good := p.sample.Load(); good != nil {
		token := (*good)[:strings.LastIndexByte(*good, '.')+1] + base64.RawURLEncoding.EncodeToString(random[:])
		p.see("/jwt/resource", token, 401)
		p.see("/remote/resource", token, 401)
	}
}

func brokenOff(p *play) { p.err = p.breakOff() }

func throttled(p *play) {
	p.ask("/jwt/token", form("grant_type", "client_credentials", "client_id", "slow", "client_secret", p.secret), 200, 429)
}

func documents(p *play) {
	p.see("/jwks.json", "", 200)
	p.see("/.well-known/oauth-authorization-server", "", 200)
}

// badRequests are refused for what they are.
func badRequests(p *play) {
	json := http.Header{"Content-Type": {"application/json"}}
	for _, r := range []struct {
		method, path, token, body string
		header                    http.Header
		want                      int
	}{
		{"GET", "/jwt/token", "", "", nil, 405},
		{"POST", "/jwt/token", "", "", nil, 400},
		{"POST", "/jwt/token", "", "grant_type=client_credentials&grant_type=client_credentials", nil, 400},
		{"POST", "/jwt/token", "", "grant_type=%zz", nil, 400},
		{"POST", "/jwt/token", "", "grant_type=unheard-of&client_id=machine", nil, 400},
		{"POST", "/jwt/token", "", "grant_type=client_credentials&client_id=machine&client_secret=wrong", nil, 401},
		{"POST", "/jwt/token", "", "grant_type=" + strings.Repeat("x", 1<<20), nil, 413},
		{"POST", "/jwt/token", "", `{"grant_type":`, json, 400},
		{"POST", "/jwt/token", "", "a", http.Header{"Content-Type": {"image/png"}}, 400},
		{"POST", "/jwt/token", "", "grant_type=client_credentials", http.Header{"Authorization": {"Basic !!"}}, 400},
		{"POST", "/jwt/token", "", appForm("grant_type", "authorization_code", "code", "none"), nil, 400},
		{"POST", "/jwt/token", "", appForm("grant_type", "refresh_token", "refresh_token", "none"), nil, 400},
		{"GET", "/jwt/authorize?client_id=nobody", "", "", nil, 401},
		{"GET", "/jwt/authorize?client_id=app&redirect_uri=https%3A%2F%2Felsewhere.example", "", "", nil, 400},
		{"POST", "/jwt/authorize", "", "ticket=none", nil, 400},
		{"POST", "/jwt/introspect", "", "token=x", nil, 400},
		{"POST", "/jwt/revoke", "", "token=x", nil, 400},
		{"GET", "/jwt/resource", "", "", nil, 401},
		{"GET", "/jwt/resource", strings.Repeat("x", 10_000), "", nil, 401},
		{"GET", "/jwt/userinfo", "x.y.z", "", nil, 401},
	} {
		a, err := p.send(r.method, r.path, r.token, r.body, r.header)
		what := fmt.Sprintf("%s %.60s %.40q", r.method, r.path, r.body)
		q := play{load: p.load}
		q.expect(what, a, err, r.want)
		if q.err != nil {
			p.complain(q.err)
		}
	}
}
