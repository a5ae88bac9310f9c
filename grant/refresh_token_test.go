package grant_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

func (d *desk) refresh(t testing.TB, token string, scopes ...string) (*grant.Issue, error) {
	t.Helper()
	r := d.request("refresh_token", token)
	r.Scopes = scopes
	return grant.RefreshToken{}.Exchange(t.Context(), r)
}

// rotate refreshes and commits.
func (d *desk) rotate(t testing.TB, token string) string {
	t.Helper()
	issue, err := d.refresh(t, token)
	if err == nil && issue.Commit != nil {
		err = issue.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return issue.RefreshToken
}

func (d *desk) mustRefuse(t *testing.T, token string, reason response.Reason) {
	t.Helper()
	d.writes = 0
	issue, err := d.refresh(t, token)
	if issue != nil || reasonOf(err) != reason {
		t.Errorf("%+v, %v; want %s", issue, err, reason)
	}
	if wrote := d.writes != 0; wrote != (reason == response.RefreshReused) {
		t.Errorf("%s with %d writes", reason, d.writes)
	}
}

func TestG6_Rotates(t *testing.T) {
	d := authorized(t, nil)
	tokens := []string{d.redeem(t).RefreshToken}
	absolute := d.record(t).AbsUntil
	for range 5 {
		d.now = d.now.Add(24 * time.Hour)
		next := d.rotate(t, tokens[len(tokens)-1])
		if slices.Contains(tokens, next) {
			t.Fatalf("%q is no new one", next)
		}
		tokens = append(tokens, next)
	}
	if rec := d.record(t); !rec.AbsUntil.Equal(absolute) || !rec.IdleUntil.Equal(d.now.Add(d.l.Idle)) {
		t.Errorf("idle %v, absolute moved by %v", rec.IdleUntil.Sub(d.now), rec.AbsUntil.Sub(absolute))
	}
}

func TestG6_Scopes(t *testing.T) {
	d := authorized(t, nil)
	d.client.Scopes = append(d.client.Scopes, "admin")
	token := d.redeem(t).RefreshToken
	for _, c := range []struct{ asked, want []string }{
		{[]string{"write"}, []string{"write"}},
		{nil, []string{"read", "write"}},
		{[]string{"write", "read"}, []string{"write", "read"}},
		{[]string{"admin"}, nil},
		{[]string{"read", "admin"}, nil},
	} {
		d.writes = 0
		issue, err := d.refresh(t, token, c.asked...)
		if c.want == nil {
			if reasonOf(err) != response.ScopeInvalid || d.writes != 0 {
				t.Errorf("%q: %v, %d writes", c.asked, err, d.writes)
			}
			continue
		}
		if err != nil || !slices.Equal(issue.Scopes, c.want) {
			t.Fatalf("%q: %q, %v", c.asked, issue.Scopes, err)
		}
		if err := issue.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		token = issue.RefreshToken
	}
	if scope := d.record(t).Scope; scope != "read write" {
		t.Errorf("the refresh token has the scope %q by now", scope)
	}
	d.client.Scopes = []string{"read"}
	if issue, err := d.refresh(t, token); err != nil || !slices.Equal(issue.Scopes, []string{"read"}) {
		t.Errorf("a scope taken from the client's record is given: %v", err)
	}
}

func TestG6_Lifetimes(t *testing.T) {
	d := authorized(t, nil)
	token := d.redeem(t).RefreshToken
	d.now = issuedAt.Add(d.l.Idle - time.Millisecond)
	token = d.rotate(t, token)
	d.now = d.now.Add(d.l.Idle - time.Millisecond)
	token = d.rotate(t, token)
	d.now = issuedAt.Add(d.l.Absolute - time.Millisecond)
	token = d.rotate(t, token)
	d.now = issuedAt.Add(d.l.Absolute)
	d.mustRefuse(t, token, response.GrantRefused)

	d = authorized(t, nil)
	token = d.redeem(t).RefreshToken
	d.now = issuedAt.Add(d.l.Idle)
	d.mustRefuse(t, token, response.GrantRefused)
}

func TestG6_Garbage(t *testing.T) {
	d := authorized(t, nil)
	token := d.redeem(t).RefreshToken
	other := authorized(t, nil).redeem(t).RefreshToken
	p, q := strings.Split(token, "."), strings.Split(other, ".")
	last := map[bool]string{true: "E", false: "A"}[strings.HasSuffix(token, "A")]
	for name, bad := range map[string]string{
		"text":                     "x",
		"its code":                 d.code,
		"its code, renamed":        "r" + d.code[1:],
		"last character":           token[:len(token)-1] + last,
		"another generation":       strings.Join([]string{p[0], p[1], "2", p[3], p[4]}, "."),
		"a made-up secret":         authz.Token(d.family, [32]byte{1}, [32]byte{2}, 1),
		"its secret, made-up rest": strings.Join([]string{p[0], p[1], p[2], p[3], q[4]}, "."),
		"another family's secret":  strings.Join([]string{p[0], p[1], q[2], q[3], q[4]}, "."),
		"an unknown family":        other,
	} {
		t.Run(name, func(t *testing.T) { d.mustRefuse(t, bad, response.GrantRefused) })
	}
	d.mustRefuse(t, "", response.ParameterMissing)
	d.client = &store.Client{ID: "probe"}
	d.mustRefuse(t, token, response.GrantRefused)
	d.client = &store.Client{ID: "acme"}
	d.rotate(t, token)
}

func TestG7_Grace(t *testing.T) {
	d := authorized(t, nil)
	first := d.redeem(t).RefreshToken
	second := d.rotate(t, first)
	for _, after := range []time.Duration{0, 4, 8, 10} { // each replay within 10 s of the last: it must not slide
		d.now, d.writes = issuedAt.Add(after*time.Second), 0
		issue, err := d.refresh(t, first)
		if err != nil || issue.Commit != nil || issue.RefreshToken != second || d.writes != 0 {
			t.Fatalf("after %d s: %+v, %v, %d writes", after, issue, err, d.writes)
		}
	}
	d.now = issuedAt.Add(11 * time.Second)
	d.mustRefuse(t, first, response.RefreshReused)
	d.mustRefuse(t, second, response.GrantRefused)
}

func TestG7_ImmediatePredecessorOnly(t *testing.T) {
	d := authorized(t, nil)
	first := d.redeem(t).RefreshToken
	third := d.rotate(t, d.rotate(t, first))
	d.mustRefuse(t, first, response.RefreshReused)
	d.mustRefuse(t, third, response.GrantRefused)
}

func TestG7_NoGrace(t *testing.T) {
	for _, grace := range []time.Duration{0, -1} {
		d := authorized(t, nil)
		d.l.Grace = grace
		first := d.redeem(t).RefreshToken
		d.rotate(t, first)
		d.mustRefuse(t, first, response.RefreshReused)
	}
}

func TestG7_HoweverLate(t *testing.T) {
	d := authorized(t, nil)
	first := d.redeem(t).RefreshToken
	token := d.rotate(t, first)
	for range 3 {
		d.now = d.now.Add(9 * 24 * time.Hour)
		token = d.rotate(t, token)
	}
	d.mustRefuse(t, first, response.RefreshReused)
	d.mustRefuse(t, token, response.GrantRefused)
}

// A request that lost the race shows no theft, even where the winner has gone on
// to the next generation since.
func TestG7_LostRaceIsNoReuse(t *testing.T) {
	d := authorized(t, nil)
	first := d.redeem(t).RefreshToken
	slow, err := d.refresh(t, first)
	if err != nil {
		t.Fatal(err)
	}
	second := d.rotate(t, first)
	if err := slow.Commit(t.Context()); !errors.Is(err, grant.ErrConflict) {
		t.Fatal(err)
	}
	again := d.request("refresh_token", first)
	again.Conflict = true
	if issue, err := (grant.RefreshToken{}).Exchange(t.Context(), again); err != nil || issue.RefreshToken != second {
		t.Errorf("%+v, %v", issue, err)
	}
	third := d.rotate(t, second)
	d.writes = 0
	if _, err := (grant.RefreshToken{}).Exchange(t.Context(), again); reasonOf(err) != response.GrantRefused || d.writes != 0 {
		t.Errorf("%v, %d writes", err, d.writes)
	}
	d.rotate(t, third)
	again.Lifetimes.Grace = 0
	if _, err := (grant.RefreshToken{}).Exchange(t.Context(), again); reasonOf(err) != response.RefreshReused {
		t.Errorf("without a grace a lost race is reuse: %v", err)
	}
}

func TestG7_StoreLostWrites(t *testing.T) {
	d := authorized(t, nil)
	first := d.redeem(t).RefreshToken
	_, early, err := authz.Load(t.Context(), &d.Memory, d.family)
	if err != nil {
		t.Fatal(err)
	}
	second := d.rotate(t, first)
	third := d.rotate(t, second)
	_, now, err := authz.Load(t.Context(), &d.Memory, d.family)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := d.Memory.Swap(t.Context(), authz.Key(d.family), now, early, d.now.Add(time.Hour)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	issue, err := d.refresh(t, third)
	if err != nil || !issue.StateLostWrites {
		t.Fatalf("%+v, %v", issue, err)
	}
	if err := issue.Commit(t.Context()); err != nil || d.record(t).Gen != 4 {
		t.Fatalf("%v, %+v", err, d.record(t))
	}
	if again := d.rotate(t, third); again != issue.RefreshToken {
		t.Error("another successor within the grace")
	}
	d.mustRefuse(t, second, response.RefreshReused)
	d.mustRefuse(t, issue.RefreshToken, response.GrantRefused)
}

func TestEpochsEndFamilies(t *testing.T) {
	for name, key := range map[string]string{"subject": authz.SubjectEpochKey("user-7"), "client": authz.ClientEpochKey("acme")} {
		d := authorized(t, nil)
		token := d.redeem(t).RefreshToken
		if err := authz.RaiseEpoch(t.Context(), &d.Memory, key, issuedAt, authz.EpochLife(authz.Lifetimes{})); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { d.mustRefuse(t, token, response.GrantRefused) })
	}
}

func TestG7_AfterCleanUp(t *testing.T) {
	d := authorized(t, nil)
	token := d.redeem(t).RefreshToken
	if ok, err := d.Delete(t.Context(), authz.Key(d.family)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	d.mustRefuse(t, token, response.GrantRefused)
}

// A request of the host's is copied and shared as it likes: each Issue is its own.
func TestIssuesOfOneRequestAreApart(t *testing.T) {
	d := authorized(t, nil)
	r := d.request("refresh_token", d.redeem(t).RefreshToken)
	var issues [4]*grant.Issue
	var all sync.WaitGroup
	for i := range issues {
		all.Go(func() {
			var err error
			if i%2 == 0 {
				issues[i], err = grant.RefreshToken{}.Exchange(t.Context(), r)
			} else {
				issues[i], err = grant.ClientCredentials{}.Exchange(t.Context(), r)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range issues {
		if slices.Contains(issues[:i], issues[i]) {
			t.Error("one issue for two")
		}
	}
}

// What a request that was forgotten issues first is in its own memory, then no more.
func TestForgottenRequestLendsOnce(t *testing.T) {
	d := authorized(t, nil)
	token := d.redeem(t).RefreshToken
	r := d.request("refresh_token", token)
	var last *grant.Issue
	for range 3 {
		full := *d.request("refresh_token", token)
		r.Forget()
		r.State, r.Realm, r.Lifetimes, r.Client, r.Now, r.Params = full.State, full.Realm, full.Lifetimes, full.Client, full.Now, full.Params
		first, err := grant.RefreshToken{}.Exchange(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		second, err := grant.RefreshToken{}.Exchange(t.Context(), r)
		if err != nil || second == first || second.RefreshToken != first.RefreshToken {
			t.Errorf("%p, %p, %v", first, second, err)
		}
		if last != nil && first != last {
			t.Error("the memory is not used again")
		}
		last = first
	}
}
