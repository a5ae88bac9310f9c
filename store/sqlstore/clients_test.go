package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
	"github.com/tokenbooth/tokenbooth/store/storetest"
)

func fullClient(id string) *store.Client {
	return &store.Client{
		ID: id,
		Secrets: []store.Secret{
			{Hash: store.HashSecret("a").Hash, Expires: time.Date(2031, 2, 3, 4, 5, 6, 7, time.UTC)},
			store.HashSecret("b"),
		},
		Disabled: true, LongLived: true,
		Grants: []string{"client_credentials", "authorization_code"}, Scopes: []string{"a:b", "!#[]~"},
		RedirectURIs: []string{"https://a.example/cb?x=1&y=<>", "com.example.app:/cb"},
		AuthMethod:   store.AuthBasic, WithoutPKCE: true, Audiences: []string{"https://api.example"},
		Rate: &store.Rate{PerSecond: 1.0 / 3, Burst: 7}, Number: -1 << 63, Name: "Ünï <b>\x00\u2028\ufffd", Description: "…", Roles: []int64{1<<63 - 1},
	}
}

func create(t *testing.T, s *Store, clients ...*store.Client) {
	t.Helper()
	for _, c := range clients {
		if err := s.CreateClient(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

func client(t *testing.T, s *Store, id string) *store.Client {
	t.Helper()
	c, err := s.Client(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientsAreKeptExactly(t *testing.T) {
	full := fullClient("full")
	v := reflect.ValueOf(*full)
	for i := range v.NumField() {
		if v.Field(i).IsZero() && v.Type().Field(i).Name != "Public" {
			t.Fatalf("the test says nothing of %s", v.Type().Field(i).Name)
		}
	}
	public := &store.Client{ID: "public", Public: true, Grants: []string{}}
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		create(t, s, full, public)
		for _, want := range []*store.Client{full, public} {
			if got := client(t, s, want.ID); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		}
		changed := fullClient("full")
		changed.Name, changed.Rate, changed.Secrets = "", nil, changed.Secrets[:1]
		for range 2 { // the second changes nothing, and finds it
			if err := s.UpdateClient(t.Context(), changed); err != nil {
				t.Fatal(err)
			}
		}
		if got := client(t, s, "full"); !reflect.DeepEqual(got, changed) {
			t.Errorf("got %+v\nwant %+v", got, changed)
		}
	})
}

func TestClientErrors(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		ctx, s := t.Context(), e.open(t)
		create(t, s, fullClient("one"), &store.Client{ID: "public", Public: true})
		rotate := func(id string) error { _, err := s.RotateSecret(ctx, id, time.Hour); return err }
		for name, err := range map[string]error{
			"Client":       func() error { _, err := s.Client(ctx, "none"); return err }(),
			"UpdateClient": s.UpdateClient(ctx, fullClient("none")), "RotateSecret": rotate("none"),
			"DisableClient": s.DisableClient(ctx, "none", true),
			"UpgradeSecret": s.UpgradeSecret(ctx, "none", store.Secret{}, store.Secret{}),
		} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := s.CreateClient(ctx, fullClient("one")); !errors.Is(err, ErrExists) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("twice: %v", err)
		}
		bad := fullClient("two")
		bad.Secrets[0].Hash = "canary"
		text := fullClient("two")
		text.Name = "\xff"
		year := fullClient("two")
		year.Secrets[0].Expires = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
		fail := errors.New("no")
		for name, c := range map[string]struct {
			err  error
			want string
		}{
			"invalid":         {s.CreateClient(ctx, bad), "Secrets[0].Hash: REDACTED"},
			"invalid update":  {s.UpdateClient(ctx, bad), "Secrets[0].Hash: REDACTED"},
			"nil":             {s.CreateClient(ctx, nil), "give a client"},
			"not UTF-8":       {s.CreateClient(ctx, text), "not UTF-8"},
			"far":             {s.CreateClient(ctx, year), "year 10000"},
			"rotate public":   {rotate("public"), "public client"},
			"empty page":      {func() error { _, err := s.Clients(ctx, "", 0); return err }(), "at least one"},
			"edit fails":      {s.ChangeClient(ctx, "one", func(*store.Client) error { return fail }), "no"},
			"edit id":         {s.ChangeClient(ctx, "one", func(c *store.Client) error { c.ID = "two"; return nil }), "id of a client"},
			"edit to invalid": {s.ChangeClient(ctx, "one", func(c *store.Client) error { c.Scopes = []string{""}; return nil }), "Scopes[0]"},
			"upgrade to invalid": {
				s.UpgradeSecret(ctx, "one", store.HashSecret("b"), store.Secret{Hash: "canary"}), "Secrets[1].Hash: REDACTED",
			},
		} {
			if c.err == nil || !strings.Contains(c.err.Error(), c.want) || strings.Contains(c.err.Error(), "canary") {
				t.Errorf("%s: %v; want %s", name, c.err, c.want)
			}
		}
		if got := client(t, s, "one"); !reflect.DeepEqual(got, fullClient("one")) {
			t.Errorf("changed to %+v", got)
		}
	})
}

// What no client can be named is not there, and never a failure.
func TestP8_PoisonInIDs(t *testing.T) {
	ids := []string{
		"", "\x00", "a\x00", "\xff", "a\xff", "a", "A", "a ", " a", "á", "a\u0301", "ａ", "%", "_", "'; --", `\`, "a\\", "\r\n", "\u2028",
		strings.Repeat("x", 257), strings.Repeat("x", 1<<16), strings.Repeat("\xff", 300), "\xed\xa0\x80",
	}
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		create(t, s, &store.Client{ID: "a'", Public: true})
		for _, id := range ids {
			if c, err := s.Client(t.Context(), id); c != nil || !errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%q: %v, %v", id, c, err)
			}
		}
		var valid []string
		for _, id := range ids {
			if c := (&store.Client{ID: id, Public: true}); c.Validate() == nil {
				create(t, s, c)
				valid = append(valid, id)
			}
		}
		for _, id := range valid {
			if c := client(t, s, id); c.ID != id {
				t.Errorf("%q is %q", id, c.ID)
			}
		}
	})
}

func TestClientsByPage(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		var want []string
		for i := range 25 {
			id := fmt.Sprintf("%c%d", "aAzZé"[i%5], i)
			if i%5 == 4 {
				id = fmt.Sprintf("é%d", i)
			}
			want = append(want, id)
			create(t, s, &store.Client{ID: id, Public: true})
		}
		slices.Sort(want)
		for _, limit := range []int{1, 7, 25, 1 << 40} {
			var got []string
			for after := ""; ; after = got[len(got)-1] {
				page, err := s.Clients(t.Context(), after, limit)
				if err != nil || len(page) > limit {
					t.Fatalf("%d clients, %v", len(page), err)
				}
				for _, c := range page {
					got = append(got, c.ID)
				}
				if len(page) < limit {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d: %q\nwant %q", limit, got, want)
			}
		}
	})
}

func TestRotateSecret(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		ctx, s := t.Context(), e.open(t)
		c, first := store.NewClient("acme")
		create(t, s, c)
		rotate := func(overlap time.Duration) string {
			t.Helper()
			secret, err := s.RotateSecret(ctx, "acme", overlap)
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
		check := func(step string, after time.Duration, good ...string) {
			t.Helper()
			c := client(t, s, "acme")
			n := 0
			for _, secret := range []string{first, good[0], good[len(good)-1]} {
				if c.CheckSecret(secret, time.Now().Add(after)) != slices.Contains(good, secret) {
					t.Errorf("%s: secret %d", step, n)
				}
				n++
			}
			if c.Validate() != nil {
				t.Errorf("%s: %v", step, c.Validate())
			}
		}
		second := rotate(time.Hour)
		check("at once", 0, first, second)
		check("before the overlap ends", 59*time.Minute, first, second)
		check("after the overlap", time.Hour+time.Second, second)
		third := rotate(2 * time.Hour)
		check("again", 0, second, third)
		check("again, in the overlap", time.Hour+time.Minute, second, third)
		fourth := rotate(0)
		check("at once, alone", 0, fourth)
		if n := len(client(t, s, "acme").Secrets); n != 1 {
			t.Errorf("%d secrets", n)
		}
		fifth := rotate(-time.Hour)
		check("below zero", 0, fifth)
	})
}

// Whoever hears of an error rotates again, and that ends the secret in use.
func TestS2_RotateSecretWithoutTheReply(t *testing.T) {
	for _, e := range []engine{postgresEngine, mysqlEngine} {
		t.Run(e.name, func(t *testing.T) {
			url := e.fresh(t)
			proxy, err := storetest.NewProxy(parse(t, url).Host)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = proxy.Close() })
			s := open(t, through(t, url, proxy.Addr()))
			s.writes.SetMaxOpenConns(1)
			for n := range 4 {
				id := fmt.Sprint("client", n)
				c, old := store.NewClient(id)
				create(t, s, c)
				for i := range 4 { // so that everything is prepared
					if err := s.DisableClient(t.Context(), id, i%2 == 0); err != nil {
						t.Fatal(err)
					}
				}
				proxy.SwallowReply(n + 1) // the second is that of the write
				fresh, err := s.RotateSecret(t.Context(), id, time.Hour)
				proxy.SwallowReply(0)
				if err != nil {
					t.Errorf("reply %d: %v", n+1, err)
					continue
				}
				got := client(t, s, id)
				if !got.CheckSecret(old, time.Now()) || !got.CheckSecret(fresh, time.Now()) || len(got.Secrets) != 2 {
					t.Errorf("reply %d: the secrets are %+v", n+1, got.Secrets)
				}
			}
		})
	}
}

func TestS2_ChangeWithoutAnyAnswer(t *testing.T) {
	url := freshPostgres(t)
	proxy, err := storetest.NewProxy(parse(t, url).Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	s := open(t, through(t, url, proxy.Addr()))
	create(t, s, fullClient("acme"))
	err = s.ChangeClient(t.Context(), "acme", func(c *store.Client) error {
		proxy.Refuse(true)
		proxy.Cut()
		c.Name = "new"
		return nil
	})
	checkUnavailable(t, err)
}

// The rule does not depend on the order in which somebody wrote them down.
func TestRotated(t *testing.T) {
	now := time.Unix(1e9, 0)
	at := func(name string, minutes int) store.Secret {
		return store.Secret{Hash: name, Expires: now.Add(time.Duration(minutes) * time.Minute)}
	}
	forever := func(name string) store.Secret { return store.Secret{Hash: name} }
	fresh := forever("fresh")
	for name, c := range map[string]struct{ old, want []store.Secret }{
		"none":            {nil, []store.Secret{fresh}},
		"one":             {[]store.Secret{forever("a")}, []store.Secret{at("a", 10), fresh}},
		"ends sooner":     {[]store.Secret{at("a", 5)}, []store.Secret{at("a", 5), fresh}},
		"ended":           {[]store.Secret{at("a", 0)}, []store.Secret{fresh}},
		"old one first":   {[]store.Secret{at("a", 5), forever("b")}, []store.Secret{at("b", 10), fresh}},
		"old one last":    {[]store.Secret{forever("b"), at("a", 5)}, []store.Secret{at("b", 10), fresh}},
		"both forever":    {[]store.Secret{forever("a"), forever("b")}, []store.Secret{at("b", 10), fresh}},
		"both with ends":  {[]store.Secret{at("a", 7), at("b", 5)}, []store.Secret{at("a", 7), fresh}},
		"one of them off": {[]store.Secret{forever("a"), at("b", -1)}, []store.Secret{at("a", 10), fresh}},
	} {
		if got := rotated(slices.Clone(c.old), fresh, 10*time.Minute, now); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Both get a secret that works; nothing of either is lost.
func TestTwoRotationsAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		url := e.fresh(t)
		stores := []*Store{open(t, url), open(t, url)}
		for i := range 10 {
			id := fmt.Sprint("client", i)
			c, _ := store.NewClient(id)
			create(t, stores[0], c)
			var secrets [2]string
			together(t, len(secrets), func(n int) (err error) {
				secrets[n], err = stores[n].RotateSecret(t.Context(), id, time.Hour)
				return err
			})
			c = client(t, stores[0], id)
			for n, secret := range secrets {
				if !c.CheckSecret(secret, time.Now()) {
					t.Errorf("secret %d does not work", n)
				}
			}
		}
	})
}

func together(t *testing.T, n int, f func(n int) error) {
	t.Helper()
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			if err := f(i); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
}

func TestChangesAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		c, _ := store.NewClient("acme")
		create(t, s, c)
		together(t, 4, func(n int) error {
			return s.ChangeClient(t.Context(), "acme", func(c *store.Client) error {
				c.Roles = append(c.Roles, int64(n))
				return nil
			})
		})
		if got := client(t, s, "acme").Roles; len(got) != 4 {
			t.Errorf("roles %v", got)
		}
	})
}

// Where others are faster each time it gives up, and has written nothing.
func TestChangeAlwaysLost(t *testing.T) {
	s := sqliteEngine.open(t)
	c, _ := store.NewClient("acme")
	create(t, s, c)
	n := 0
	err := s.ChangeClient(t.Context(), "acme", func(c *store.Client) error {
		n++
		c.Name = "lost"
		return s.ChangeClient(t.Context(), "acme", func(c *store.Client) error { c.Number++; return nil })
	})
	checkUnavailable(t, err)
	if got := client(t, s, "acme"); n != mostChanges || got.Number != mostChanges || got.Name != "" {
		t.Errorf("%d tries: %+v", n, got)
	}
}

func TestDisableClient(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		c, _ := store.NewClient("acme")
		create(t, s, c)
		for _, disabled := range []bool{true, true, false} {
			if err := s.DisableClient(t.Context(), "acme", disabled); err != nil {
				t.Fatal(err)
			}
			if got := client(t, s, "acme"); got.Disabled != disabled {
				t.Errorf("disabled is %v, want %v", got.Disabled, disabled)
			}
		}
	})
}

func TestUpgradeSecret(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		create(t, s, fullClient("acme"))
		want := fullClient("acme")
		old := want.Secrets[0]
		want.Secrets[0].Hash = store.HashHumanSecret("a").Hash
		for range 2 { // the second time it is not there any more
			if err := s.UpgradeSecret(t.Context(), "acme", old, want.Secrets[0]); err != nil {
				t.Fatal(err)
			}
		}
		if got := client(t, s, "acme"); !reflect.DeepEqual(got, want) {
			t.Error("not upgraded, or more than that")
		}
	})
}

// Whoever reads a client that it does not wholly understand must not let it in.
func TestDamagedDocument(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		create(t, s, fullClient("acme"))
		good := string(mustEncode(t, fullClient("acme")))
		for name, text := range map[string]string{
			"empty": "", "null": "null", "half": good[:len(good)/2], "newer": strings.Replace(good, "{", `{"forbidden":true,`, 1),
			"wrong type": strings.Replace(good, `"public":false`, `"public":"canary-secret"`, 1),
			"more":       good + "{}",
			"bad hash":   strings.Replace(good, "sha256$", "sha255$", 1),
		} {
			n, err := s.change(t.Context(), "x", s.dialect.updateClient, []byte(text), []byte("acme"))
			if n != 1 || err != nil {
				t.Fatal(n, err)
			}
			_, err = s.Client(t.Context(), "acme")
			checkUnexpected(t, err)
			_, err = s.Clients(t.Context(), "", 10)
			checkUnexpected(t, err)
			checkUnexpected(t, s.DisableClient(t.Context(), "acme", true))
			if !errors.Is(err, errDamaged) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// One that is damaged does not hide the others, and pages go on behind it.
func TestClientsBesideDamagedOnes(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		var good, bad []string
		for i := range 9 {
			id := fmt.Sprint("client", i)
			create(t, s, &store.Client{ID: id, Public: true})
			if i%4 == 3 || i == 4 || i == 8 {
				bad = append(bad, id)
				if n, err := s.change(t.Context(), "x", s.dialect.updateClient, []byte("canary"), []byte(id)); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				continue
			}
			good = append(good, id)
		}
		for _, limit := range []int{1, 2, 3, 5, 9} {
			var got []string
			named := map[string]bool{}
			for after := ""; ; after = got[len(got)-1] {
				page, err := s.Clients(t.Context(), after, limit)
				for _, id := range bad {
					if err != nil && strings.Contains(err.Error(), strconv.Quote(id)) {
						named[id] = true
					}
				}
				if err != nil {
					checkUnexpected(t, err)
				}
				for _, c := range page {
					got = append(got, c.ID)
				}
				if len(page) < limit {
					break
				}
			}
			if !slices.Equal(got, good) || len(named) != len(bad) {
				t.Errorf("pages of %d: %q, want %q; damaged %v, want %q", limit, got, good, named, bad)
			}
		}
	})
}

func mustEncode(t *testing.T, c *store.Client) []byte {
	t.Helper()
	text, err := encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestClientContext(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for name, call := range calls {
			if err := call(ctx, s); !errors.Is(err, context.Canceled) || !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
