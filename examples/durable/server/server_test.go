package server_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/examples/durable/server"
	"github.com/tokenbooth/tokenbooth/examples/internal/boothtest"
	"github.com/tokenbooth/tokenbooth/internal/testservers"
)

// TestVectors has two copies over one of everything for each vector. In Redis the
// buckets are full at the beginning of each, since they are filled by its clock.
func TestVectors(t *testing.T) {
	eachSetting(t, func(t *testing.T, s setting) {
		flags := flagsOf(t, s)
		boothtest.TestVectors(t, func(t *testing.T, failing bool) *boothtest.Kit {
			if failing {
				return withoutClients(t, s)
			}
			if slices.Contains(flags, "-redis") {
				redisURL(t)
			}
			return newKit(t, 2, flags)
		})
	})
}

// withoutClients has copies that lose the table of clients.
func withoutClients(t *testing.T, s setting) *boothtest.Kit {
	flags := flagsOf(t, s)
	k := newKit(t, 2, flags)
	execute(t, flags[1], "ALTER TABLE tokenbooth_clients RENAME TO tokenbooth_gone")
	return k
}

func TestSystemsApart(t *testing.T) {
	eachSetting(t, func(t *testing.T, s setting) { newKit(t, 2, flagsOf(t, s)).SystemsApart() })
}

const (
	whoami = "/oauth2/whoami"
	revoke = "/oauth2/tokens/revoke"
)

// TestRestart begins everything before and ends it after.
func TestRestart(t *testing.T) {
	eachSetting(t, func(t *testing.T, s setting) {
		flags := flagsOf(t, s)
		clock := newClock()
		first := start(t, clock, flags...)
		k := kitOf(t, clock, first)
		b := boothtest.NewBrowser(k)
		ticket, code := b.Page(boothtest.Asking()), b.Code(boothtest.Asking())
		got := k.Issued(k.Redeem("spa", b.Code(boothtest.Asking())))
		revoked := k.Issued(k.Redeem("spa", b.Code(boothtest.Asking())))
		k.Call(revoke, "spa", url.Values{"token": {revoked.RefreshToken}})
		opaque := k.ClientToken("003", "acme", "")

		first.stop()
		k.URLs[0] = start(t, clock, flags...).url

		for path, token := range map[string]string{"/v1/whoami": opaque, whoami: got.AccessToken} {
			if a := k.Get(path, token); a.Status != http.StatusOK {
				t.Errorf("%s: %d %s", path, a.Status, a.Body)
			}
		}
		k.Refused(k.Get(whoami, revoked.AccessToken), http.StatusForbidden)
		k.Refused(k.Refresh("spa", revoked.RefreshToken), http.StatusBadRequest)
		k.Issued(k.Redeem("spa", code))
		next := k.Issued(k.Refresh("spa", got.RefreshToken))
		clock.Advance(11 * time.Second) // the grace for lost answers
		k.Refused(k.Refresh("spa", got.RefreshToken), http.StatusBadRequest)
		k.Refused(k.Refresh("spa", next.RefreshToken), http.StatusBadRequest)
		if got := b.Redirected(b.Post(boothtest.Filled(ticket)), boothtest.Callback); got.Get("code") == "" {
			t.Errorf("the login page of before: %v", got)
		}
	})
}

// TestCopies has one copy do what the other knows at once.
func TestCopies(t *testing.T) {
	eachSetting(t, func(t *testing.T, s setting) {
		both := newKit(t, 2, flagsOf(t, s))
		for i := range 2 {
			one, other := both.At(i), both.At(1-i)
			b := boothtest.NewBrowser(one)
			page := b.Page(boothtest.Asking())
			b.Kit = other
			got := b.Redirected(b.Post(boothtest.Filled(page)), boothtest.Callback)
			issued := one.Issued(one.Redeem("spa", got.Get("code")))
			other.Refused(other.Redeem("spa", b.Code(boothtest.Asking()), "code_verifier", strings.Repeat("A", 43)), http.StatusBadRequest)
			next := other.Issued(other.Refresh("spa", issued.RefreshToken))
			if again := one.Issued(one.Refresh("spa", issued.RefreshToken)); again.RefreshToken != next.RefreshToken {
				t.Error("within the grace: another successor")
			}
			for _, k := range []*boothtest.Kit{one, other} { // and each has the token in its cache
				if a := k.Get(whoami, next.AccessToken); a.Status != http.StatusOK {
					t.Fatalf("%d %s", a.Status, a.Body)
				}
			}
			one.Call(revoke, "spa", url.Values{"token": {next.RefreshToken}})
			other.Refused(other.Get(whoami, next.AccessToken), http.StatusForbidden)
			other.Refused(other.Refresh("spa", next.RefreshToken), http.StatusBadRequest)
		}
	})
}

// TestG4_CodeAgainElsewhere ends what the first redemption gave (G4).
func TestG4_CodeAgainElsewhere(t *testing.T) {
	eachSetting(t, func(t *testing.T, s setting) {
		k := newKit(t, 2, flagsOf(t, s))
		one, other := k.At(0), k.At(1)
		code := boothtest.NewBrowser(one).Code(boothtest.Asking())
		got := one.Issued(one.Redeem("spa", code))
		other.Refused(other.Redeem("spa", code), http.StatusBadRequest)
		one.Refused(one.Get(whoami, got.AccessToken), http.StatusForbidden)
	})
}

// TestSharedLimits asks by turns. The client has 3 at once, of which none comes
// back within 10 s. On a machine that is so busy that Redis is waited for in vain,
// a copy decides alone, and says so: then it asks again.
func TestSharedLimits(t *testing.T) {
	for _, s := range []setting{onPostgres, onRedis} {
		t.Run(s.name, func(t *testing.T) {
			for range 5 {
				flags, clock := flagsOf(t, s), newClock()
				one, other := start(t, clock, flags...), start(t, clock, flags...)
				wrong := wrongLimits(kitOf(t, clock, one, other))
				if wrong == "" {
					return
				}
				if !strings.Contains(one.logs.String()+other.logs.String(), "redis does not answer") {
					t.Fatal(wrong)
				}
			}
			t.Fatal("Redis was waited for in vain five times")
		})
	}
}

// wrongLimits asks each system, which has buckets of its own.
func wrongLimits(k *boothtest.Kit) string {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"slow"}, "client_secret": {k.Secrets["slow"]}}
	for system, path := range boothtest.TokenPaths {
		var statuses []int
		for range 6 {
			a := k.Do("POST", path, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, form.Encode())
			statuses = append(statuses, a.Status)
		}
		good := statuses[0]
		if good >= 300 || !slices.Equal(statuses, []int{good, good, good, 429, 429, 429}) {
			return fmt.Sprintf("%s: %v", system, statuses)
		}
	}
	return ""
}

// TestFourAtOnce starts copies over nothing: no tables, no clients, no keys.
func TestFourAtOnce(t *testing.T) {
	eachSetting(t, func(t *testing.T, s setting) {
		flags := flagsOf(t, s)
		clock := newClock()
		var copies []*instance
		var ready []func()
		for range 4 {
			c, wait := begin(t, clock, flags...)
			copies, ready = append(copies, c), append(ready, wait)
		}
		for _, wait := range ready {
			wait()
		}
		k := kitOf(t, clock, copies...)
		b := boothtest.NewBrowser(k)
		for range 4 { // another one of the four each time
			k.Issued(k.Redeem("acme", b.Code(boothtest.Asking("client_id", "acme"))))
			k.Do("GET", "/jwks.json", nil, "") // an odd number of requests
		}
		for _, system := range []string{"000", "004"} {
			for range 3 {
				if a := k.Get(boothtest.Guarded[system], k.ClientToken(system, "acme", "")); a.Status != http.StatusOK {
					t.Errorf("%s: %d %s", system, a.Status, a.Body)
				}
			}
			// The copies of this test are one process, those of others need not be: the
			// name must follow from nothing that they have of their own.
			made, err := os.ReadDir(filepath.Join(keysOf(flags), system))
			if err != nil || len(made) != 1 || made[0].Name() != "19700101T000000Z.pem" {
				t.Errorf("%s: keys %v, %v", system, made, err)
			}
		}
	})
}

func keysOf(flags []string) string { return flags[slices.Index(flags, "-keys")+1] }

func TestStateIsWhereTheFlagSays(t *testing.T) {
	for _, s := range []setting{onMySQL, onRedis} {
		flags := flagsOf(t, s)
		newKit(t, 1, flags).ClientToken("003", "acme", "")
		want := 1
		if slices.Contains(flags, "-state") {
			want = 0
		}
		if n := number(t, flags[1], "SELECT COUNT(*) FROM tokenbooth_state"); n != want {
			t.Errorf("%s: %d entries in the database, want %d", s.name, n, want)
		}
	}
}

// TestPool counts the connections of a server by their name.
func TestPool(t *testing.T) {
	flags := append(flagsOf(t, onPostgres), "-max-conns", "3")
	connections := func() int {
		return number(t, running(t, "postgres", testservers.Postgres), "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = '"+
			parse(t, flags[1]).Query().Get("search_path")+"'")
	}
	clock := newClock()
	c := start(t, clock, flags...)
	k := kitOf(t, clock, c)
	var clients sync.WaitGroup
	var asking atomic.Int64
	for range 20 {
		asking.Add(1)
		clients.Go(func() {
			defer asking.Add(-1)
			for range 20 {
				k.Call(boothtest.TokenPaths["000"], "acme", url.Values{"grant_type": {"client_credentials"}})
			}
		})
	}
	most := 0
	for asking.Load() > 0 {
		most = max(most, connections())
	}
	clients.Wait()
	if most != 3 {
		t.Errorf("%d connections, want 3", most)
	}
	c.stop()
	for deadline := time.Now().Add(10 * time.Second); connections() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections after the end", connections())
		}
	}
}

// TestClientsStay starts a second time with other fixtures.
func TestClientsStay(t *testing.T) {
	eachSetting(t, func(t *testing.T, s setting) {
		flags := flagsOf(t, s)
		file := filepath.Join(t.TempDir(), "fixtures.json")
		write := func(secret string, more string) {
			t.Helper()
			text := fmt.Sprintf(`{"clients": [{"id": "acme", "secret": %q, "grants": ["client_credentials"]}%s]}`, secret, more)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		clock := newClock()
		write("the-first-secret", "")
		start(t, clock, append(flags, "-fixtures", file)...).stop()
		write("another-secret", `, {"id": "new", "secret": "new-secret", "grants": ["client_credentials"]}`)
		k := kitOf(t, clock, start(t, clock, append(flags, "-fixtures", file)...))
		for _, test := range []struct {
			id, secret string
			want       int
		}{{"acme", "the-first-secret", 200}, {"acme", "another-secret", 401}, {"new", "new-secret", 200}} {
			k.Secrets = map[string]string{test.id: test.secret}
			a := k.Call(boothtest.TokenPaths["000"], test.id, url.Values{"grant_type": {"client_credentials"}})
			if a.Status != test.want {
				t.Errorf("%+v: %d %s", test, a.Status, a.Body)
			}
		}
	})
}

// TestKeysRotate adds a key that signs a few seconds later. No token is refused
// anywhere at any time.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	flags := flagsOf(t, onSQLite)
	k := newKit(t, 2, flags)
	path := boothtest.Guarded["000"]
	old := k.ClientToken("000", "acme", "")
	// Both look again within 10 s; the new key is in use after that.
	starts := time.Now().Add(12 * time.Second)
	if _, err := tokenbooth.AddKeyFile(filepath.Join(keysOf(flags), "000"), "ES256", starts); err != nil {
		t.Fatal(err)
	}
	signs := [2]string{kidOf(old), kidOf(old)}
	for deadline := starts.Add(20 * time.Second); signs[0] == kidOf(old) || signs[1] == kidOf(old); {
		if time.Now().After(deadline) {
			t.Fatalf("signs with %v, at first with %s", signs, kidOf(old))
		}
		for i := range signs {
			token := k.At(i).ClientToken("000", "acme", "")
			signs[i] = kidOf(token)
			for _, good := range []string{token, old} {
				if a := k.At(1-i).Get(path, good); a.Status != http.StatusOK {
					t.Fatalf("%d %s", a.Status, a.Body)
				}
			}
		}
		k.Clock.Advance(time.Second) // or the limits would never be regained
		time.Sleep(50 * time.Millisecond)
	}
	if signs[0] != signs[1] {
		t.Errorf("signs with %v", signs)
	}
}

// kidOf returns the header of a JWT, which names its key.
func kidOf(token string) string {
	header, _, _ := strings.Cut(token, ".")
	return header
}

func TestRunRefuses(t *testing.T) {
	const canary = "canary-7d1f"
	keys := t.TempDir()
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"-state", "memory"}, 2, `-state is "memory"`},
		{[]string{"-state", "redis"}, 2, "-state redis needs -redis"},
		{[]string{"-max-conns", "0"}, 2, "-max-conns is 0"},
		{[]string{"-copies", "0"}, 2, "-copies is 0"},
		{[]string{"-database", "mysql://u:" + canary + "@127.0.0.1:1/d"}, 2, "-keys is missing"},
		{[]string{"-database", "oracle://u:" + canary + "@h/d", "-keys", keys}, 1, "want sqlite:FILE"},
		{[]string{"-database", canary, "-keys", keys}, 1, "want sqlite:FILE"},
		{[]string{"-database", "postgres://u:" + canary + "@h:port/d", "-keys", keys}, 1, "driver of PostgreSQL"},
		{[]string{"-database", "postgres://u:" + canary + "%@h/d", "-keys", keys}, 1, "driver of PostgreSQL"},
		{[]string{"-database", "postgres://u:" + canary + "@127.0.0.1:1/d?password=" + canary, "-keys", keys}, 1, "127.0.0.1"},
		{[]string{"-database", "mysql://u:" + canary + "@h:port/d", "-keys", keys}, 1, "want sqlite:FILE"},
		{[]string{"-database", "mysql://u:" + canary + "@h/", "-keys", keys}, 1, "want sqlite:FILE"},
		{[]string{"-database", "mysql://u:" + canary + "@h/d?tls=" + canary, "-keys", keys}, 1, "driver of MariaDB"},
		{[]string{"-database", "mysql://u:" + canary + "@127.0.0.1:1/d", "-keys", keys}, 1, "127.0.0.1"},
		{[]string{"-redis", "redis://u:" + canary + "@h:port/0"}, 1, "-redis: want"},
		{[]string{"-redis", "http://u:" + canary + "@h/0"}, 1, "-redis: want"},
		{[]string{"-ttl", "0s"}, 1, "HandlerConfig.AccessTokenTTL is 0s"},
		{[]string{"-ttl", "-1h"}, 1, "HandlerConfig.AccessTokenTTL is -1h"},
		{[]string{"-fixtures", "no/such/file"}, 1, "no/such/file"},
		{[]string{"-keys", "server_test.go"}, 1, "server_test.go"},
		{[]string{"-h"}, 0, "-database"},
	} {
		var stdout, stderr bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // should it serve
		defer cancel()
		args := append([]string{"-addr", "127.0.0.1:0", "-database", sqliteURL(t)}, test.args...)
		if status := server.Run(ctx, args, &stdout, &stderr, nil); status != test.status {
			t.Errorf("%v: exit status %d, want %d", test.args, status, test.status)
		}
		if !strings.Contains(stderr.String(), test.want) || stdout.Len() > 0 {
			t.Errorf("%v: stdout %q, stderr %q, want %q", test.args, &stdout, &stderr, test.want)
		}
		if strings.Contains(stderr.String(), canary) {
			t.Errorf("%v shows a password: %s", test.args, &stderr)
		}
	}
}

// TestBadKeys are files that nobody should go on with.
func TestBadKeys(t *testing.T) {
	for name, text := range map[string]string{"ticket.key": "00ff", "000/19700101T000000Z.pem": "-----BEGIN"} {
		keys := t.TempDir()
		path := filepath.Join(keys, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		args := []string{"-addr", "127.0.0.1:0", "-database", sqliteURL(t), "-keys", keys}
		if status := server.Run(t.Context(), args, &bytes.Buffer{}, &stderr, nil); status != 1 || !strings.Contains(stderr.String(), filepath.Base(path)) {
			t.Errorf("%s: %d %s", name, status, &stderr)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != text {
			t.Errorf("%s: %q, %v", name, after, err)
		}
	}
}
