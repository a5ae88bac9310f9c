package grant_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

const callback = "https://acme.example/back?x=1"

var (
	verifier = strings.Repeat("aZ0-._~", 7)
	issuedAt = time.Now().Truncate(time.Second)
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// A watched State counts writes, and fails where it is told to.
type watched struct {
	store.Memory
	writes int
	fail   error // of Get
}

func (s *watched) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if s.fail != nil {
		return nil, false, s.fail
	}
	return s.Memory.Get(ctx, key)
}

func (s *watched) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	s.writes++
	return s.Memory.Create(ctx, key, val, expires)
}

func (s *watched) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	s.writes++
	return s.Memory.Swap(ctx, key, old, val, expires)
}

// A desk is a State with one authorization of the client acme.
type desk struct {
	*watched
	family authz.Family
	code   string
	now    time.Time
	l      grant.Lifetimes
	client *store.Client
	proves bool
	secret bool // a public client that showed a secret nevertheless
}

func authorized(t testing.TB, change func(*authz.Record)) *desk {
	t.Helper()
	d := &desk{
		watched: new(watched), family: authz.NewFamily(), now: issuedAt,
		l:      grant.Lifetimes{Access: time.Hour, Idle: 14 * 24 * time.Hour, Absolute: 30 * 24 * time.Hour, Grace: 10 * time.Second},
		client: &store.Client{ID: "acme", Scopes: []string{"read", "write", "openid"}},
	}
	rec := &authz.Record{
		Phase: authz.Code, Offline: true, Client: "acme", Subject: "user-7", User: "ada", Scope: "read write",
		Redirect: callback, Challenge: challengeOf(verifier), CodeUntil: issuedAt.Add(time.Minute), AuthTime: issuedAt,
	}
	d.code, rec.CodeHash = authz.NewCode(d.family)
	if change != nil {
		change(rec)
	}
	if err := authz.Create(t.Context(), &d.Memory, d.family, rec); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) request(params ...string) *grant.Request {
	r := request(params...)
	r.Client, r.Authenticated = d.client, !d.client.Public || d.secret
	r.State, r.Now, r.Lifetimes, r.ChallengeProves = d.watched, d.now, d.l, d.proves
	return r
}

// redemption is a good one but for what changes says; an empty value leaves the
// parameter out.
func (d *desk) redemption(changes ...string) *grant.Request {
	params := map[string]string{"code": d.code, "redirect_uri": callback, "code_verifier": verifier}
	for i := 0; i < len(changes); i += 2 {
		params[changes[i]] = changes[i+1]
	}
	var list []string
	for name, value := range params {
		if value != "" {
			list = append(list, name, value)
		}
	}
	return d.request(list...)
}

func (d *desk) record(t testing.TB) *authz.Record {
	t.Helper()
	rec, _, err := authz.Load(t.Context(), &d.Memory, d.family)
	if err != nil || rec == nil {
		t.Fatal(rec, err)
	}
	return rec
}

// redeem redeems the code and commits.
func (d *desk) redeem(t testing.TB) *grant.Issue {
	t.Helper()
	issue, err := grant.AuthorizationCode{}.Exchange(t.Context(), d.redemption())
	if err == nil {
		err = issue.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return issue
}

func TestG3_Redemption(t *testing.T) {
	public := func(d *desk) { d.client.Public = true }
	meta := func(d *desk) { d.proves = true }
	without := func(r *authz.Record) { r.Challenge = "" }
	unnamed := func(r *authz.Record) { r.Redirect = "" }
	good := challengeOf(verifier)
	for _, c := range []struct {
		name    string
		record  func(*authz.Record)
		desk    func(*desk)
		changes []string
		good    bool
	}{
		{name: "good", good: true},
		{name: "good, public", desk: public, good: true},
		{name: "the challenge too", changes: []string{"code_challenge", good}, good: true},
		{name: "another challenge too", changes: []string{"code_challenge", challengeOf("x")}},
		{name: "no verifier", changes: []string{"code_verifier", ""}},
		{name: "another verifier", changes: []string{"code_verifier", verifier[1:] + "a"}},
		{name: "the challenge as verifier", changes: []string{"code_verifier", good}},

		{name: "challenge for verifier", changes: []string{"code_verifier", "", "code_challenge", good}},
		{name: "challenge for verifier, allowed", desk: meta, changes: []string{"code_verifier", "", "code_challenge", good}, good: true},
		{name: "another challenge for verifier, allowed", desk: meta, changes: []string{"code_verifier", "", "code_challenge", challengeOf("x")}},
		{name: "challenge and a wrong verifier, allowed", desk: meta, changes: []string{"code_verifier", strings.Repeat("x", 43), "code_challenge", good}},
		{name: "neither, allowed", desk: meta, changes: []string{"code_verifier", ""}},
		{
			name: "challenge for verifier, allowed, public", changes: []string{"code_verifier", "", "code_challenge", good},
			desk: func(d *desk) { meta(d); public(d) },
		},
		{
			name: "challenge for verifier, allowed, public with a secret", changes: []string{"code_verifier", "", "code_challenge", good},
			desk: func(d *desk) { meta(d); public(d); d.secret = true },
		},

		{name: "no challenge", record: without, changes: []string{"code_verifier", ""}, good: true},
		{name: "no challenge, a verifier", record: without},
		{name: "no challenge, a challenge", record: without, desk: meta, changes: []string{"code_verifier", "", "code_challenge", good}},
		{name: "no challenge, public", record: without, desk: public, changes: []string{"code_verifier", ""}},

		{name: "no redirect URI", changes: []string{"redirect_uri", ""}},
		{name: "a longer redirect URI", changes: []string{"redirect_uri", callback + "&"}},
		{name: "a shorter redirect URI", changes: []string{"redirect_uri", callback[:len(callback)-1]}},
		{name: "another case of the host", changes: []string{"redirect_uri", strings.Replace(callback, "acme", "Acme", 1)}},
		{name: "the default port", changes: []string{"redirect_uri", strings.Replace(callback, "example", "example:443", 1)}},
		{name: "an escape", changes: []string{"redirect_uri", strings.Replace(callback, "back", "b%61ck", 1)}},
		{name: "none in the request", record: unnamed, changes: []string{"redirect_uri", ""}, good: true},
		{name: "none in the request, one now", record: unnamed},

		{name: "another client", desk: func(d *desk) { d.client.ID = "probe" }},
		{name: "another case of the client", desk: func(d *desk) { d.client.ID = "Acme" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := authorized(t, c.record)
			if c.desk != nil {
				c.desk(d)
			}
			issue, err := grant.AuthorizationCode{}.Exchange(t.Context(), d.redemption(c.changes...))
			if c.good {
				if err != nil || d.writes != 0 {
					t.Fatalf("%v after %d writes", err, d.writes)
				}
				if err := issue.Commit(t.Context()); err != nil || d.record(t).Phase != authz.Active {
					t.Errorf("%v: %+v", err, d.record(t))
				}
				return
			}
			if issue != nil || reasonOf(err) != response.GrantRefused {
				t.Fatalf("%+v, %v", issue, err)
			}
			if rec := d.record(t); rec.Fails != 1 || rec.Phase != authz.Code || d.writes != 1 {
				t.Errorf("a failed redemption makes it %+v with %d writes", rec, d.writes)
			}
		})
	}
}

func TestG3_VerifierSyntax(t *testing.T) {
	for verifier, good := range map[string]bool{
		strings.Repeat("a", 42):          false,
		strings.Repeat("a", 43):          true,
		strings.Repeat("Z9-._~", 21):     true,
		strings.Repeat("a", 128):         true,
		strings.Repeat("a", 129):         false,
		strings.Repeat("a", 42) + "+":    false,
		strings.Repeat("a", 42) + "/":    false,
		strings.Repeat("a", 42) + "=":    false,
		strings.Repeat("a", 42) + " ":    false,
		strings.Repeat("a", 42) + "\x00": false,
		strings.Repeat("a", 42) + "é":    false,
	} {
		d := authorized(t, func(r *authz.Record) { r.Challenge = challengeOf(verifier) })
		if _, err := (grant.AuthorizationCode{}).Exchange(t.Context(), d.redemption("code_verifier", verifier)); (err == nil) != good {
			t.Errorf("%q: %v", verifier, err)
		}
	}
}

// A challenge of the method plain equals its verifier.
func TestG3_PlainRefused(t *testing.T) {
	d := authorized(t, func(r *authz.Record) { r.Challenge = verifier })
	if _, err := (grant.AuthorizationCode{}).Exchange(t.Context(), d.redemption()); reasonOf(err) != response.GrantRefused {
		t.Error(err)
	}
}

func TestG3_Expiry(t *testing.T) {
	d := authorized(t, nil)
	d.now = issuedAt.Add(time.Minute - 1)
	if _, err := (grant.AuthorizationCode{}).Exchange(t.Context(), d.redemption()); err != nil {
		t.Errorf("after almost 60 s: %v", err)
	}
	d.now = issuedAt.Add(time.Minute)
	for _, r := range []*grant.Request{d.redemption(), d.redemption("code_verifier", "")} {
		if _, err := (grant.AuthorizationCode{}).Exchange(t.Context(), r); reasonOf(err) != response.GrantRefused || d.writes != 0 {
			t.Errorf("after 60 s: %v, %d writes", err, d.writes)
		}
	}
}

func TestG4_FiveFailuresKill(t *testing.T) {
	for failures, live := range []bool{true, true, true, true, true, false, false} {
		d := authorized(t, nil)
		for range failures {
			_, err := grant.AuthorizationCode{}.Exchange(t.Context(), d.redemption("redirect_uri", "https://thief.example"))
			if reasonOf(err) != response.GrantRefused {
				t.Fatal(err)
			}
		}
		if d.writes > 5 {
			t.Errorf("%d writes after %d failures", d.writes, failures)
		}
		if _, err := (grant.AuthorizationCode{}).Exchange(t.Context(), d.redemption()); (err == nil) != live {
			t.Errorf("after %d failures: %v", failures, err)
		}
	}
}

func TestG4_GarbageWritesNothing(t *testing.T) {
	d := authorized(t, nil)
	issue := d.redeem(t)
	fresh := authorized(t, nil)
	other, _ := authz.NewCode(authz.NewFamily())
	guess, _ := authz.NewCode(fresh.family)
	for name, code := range map[string]string{
		"no code":           "x",
		"an unknown family": other,
		"a guessed secret":  guess,
		"a refresh token":   issue.RefreshToken,
		"a longer one":      fresh.code + "A",
	} {
		for range 6 {
			_, err := grant.AuthorizationCode{}.Exchange(t.Context(), fresh.redemption("code", code))
			if reasonOf(err) != response.GrantRefused {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	_, err := grant.AuthorizationCode{}.Exchange(t.Context(), fresh.redemption("code", ""))
	if reasonOf(err) != response.ParameterMissing {
		t.Errorf("no code at all: %v", err)
	}
	if fresh.writes != 0 || fresh.record(t).Fails != 0 {
		t.Errorf("%d writes, %+v", fresh.writes, fresh.record(t))
	}
}

func TestG4_Replay(t *testing.T) {
	for _, c := range []struct {
		name     string
		changes  []string
		conflict bool
		after    time.Duration
		reason   response.Reason
		dead     bool
	}{
		{name: "right", reason: response.CodeReplayed, dead: true},
		{name: "right, a month later", after: 29 * 24 * time.Hour, reason: response.CodeReplayed, dead: true},
		{name: "the loser of a race", conflict: true, reason: response.GrantRefused},
		{name: "another verifier", changes: []string{"code_verifier", strings.Repeat("x", 43)}, reason: response.GrantRefused},
		{name: "another redirect URI", changes: []string{"redirect_uri", "https://thief.example"}, reason: response.GrantRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := authorized(t, nil)
			d.redeem(t)
			d.writes, d.now = 0, d.now.Add(c.after)
			r := d.redemption(c.changes...)
			r.Conflict = c.conflict
			if _, err := (grant.AuthorizationCode{}).Exchange(t.Context(), r); reasonOf(err) != c.reason {
				t.Error(err)
			}
			if dead := d.record(t).Phase == authz.Revoked; dead != c.dead || (d.writes != 0) != c.dead {
				t.Errorf("%d writes make it %+v", d.writes, d.record(t))
			}
		})
	}
}

func TestG5_NothingConsumedBeforeCommit(t *testing.T) {
	d := authorized(t, nil)
	a, err := grant.AuthorizationCode{}.Exchange(t.Context(), d.redemption())
	if err != nil {
		t.Fatal(err)
	}
	b, err := grant.AuthorizationCode{}.Exchange(t.Context(), d.redemption())
	if err != nil || d.writes != 0 {
		t.Fatalf("%v, %d writes", err, d.writes)
	}
	if err := b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Commit(t.Context()); !errors.Is(err, grant.ErrConflict) {
		t.Errorf("the loser's commit: %v", err)
	}
}

func TestRedemptionIssues(t *testing.T) {
	d := authorized(t, func(r *authz.Record) {
		r.Scope, r.OpenID, r.OIDCNonce, r.SubjectEpoch, r.ClientEpoch = "openid gone read", true, "n", 7, 8
	})
	issue := d.redeem(t)
	if issue.User.ID != "user-7" || issue.User.Username != "ada" || !slices.Equal(issue.Scopes, []string{"openid", "read"}) {
		t.Errorf("%+v %q", issue.User, issue.Scopes)
	}
	nonce, at, openID := issue.Authorization.OpenID()
	subject, client := issue.Authorization.Epochs()
	if nonce != "n" || at != issuedAt.Unix() || !openID || subject != 7 || client != 8 || issue.Authorization.Family() != string(d.family[:]) {
		t.Errorf("%q %d %v %d %d", nonce, at, openID, subject, client)
	}
	d = authorized(t, func(r *authz.Record) { r.Offline = false })
	if issue = d.redeem(t); issue.RefreshToken != "" {
		t.Errorf("a refresh token without offline access: %q", issue.RefreshToken)
	}
}

func TestEpochsEndCodes(t *testing.T) {
	for name, key := range map[string]string{"subject": authz.SubjectEpochKey("user-7"), "client": authz.ClientEpochKey("acme")} {
		d := authorized(t, nil)
		if err := authz.RaiseEpoch(t.Context(), &d.Memory, key, issuedAt, authz.EpochLife(authz.Lifetimes{})); err != nil {
			t.Fatal(err)
		}
		if _, err := (grant.AuthorizationCode{}).Exchange(t.Context(), d.redemption()); reasonOf(err) != response.GrantRefused || d.writes != 0 {
			t.Errorf("%s: %v, %d writes", name, err, d.writes)
		}
	}
}

func TestStoreFailureIsNoRefusal(t *testing.T) {
	d := authorized(t, nil)
	refresh := d.redeem(t).RefreshToken
	d.fail, d.writes = store.ErrUnavailable, 0
	if _, err := (grant.AuthorizationCode{}).Exchange(t.Context(), d.redemption()); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	if _, err := (grant.RefreshToken{}).Exchange(t.Context(), d.request("refresh_token", refresh)); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
}
