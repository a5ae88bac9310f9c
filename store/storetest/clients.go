package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// TestClientStore checks all that [store.ClientStore] promises. open returns a
// store that has the clients, which are valid and whose ids are new each time, and
// perhaps others.
//
// Every field comes back as it was. Times are compared as moments and have
// microseconds; of a slice it does not matter whether none is nil or empty.
//
// A store with a Close method is asked what it answers after that.
// [TestClientOutage] checks what happens when the store's server is gone.
func TestClientStore(t *testing.T, open func(t *testing.T, clients ...*store.Client) store.ClientStore) {
	t.Run("Fields", func(t *testing.T) { testFields(t, open) })
	t.Run("IDs", func(t *testing.T) { testIDs(t, open) })
	t.Run("NotFound", func(t *testing.T) { testNotFound(t, open) })
	t.Run("Parallel", func(t *testing.T) { testParallelClients(t, open) })
	t.Run("Context", func(t *testing.T) { testClientContext(t, open) })
	c := &store.Client{ID: rand.Text(), Public: true}
	s := open(t, c)
	if closer, ok := s.(io.Closer); ok {
		t.Run("Closed", func(t *testing.T) { testClientsClosed(t, s, closer, c.ID) })
	}
}

type openClients = func(t *testing.T, clients ...*store.Client) store.ClientStore

// each returns clients that together have something in every field.
func each() []*store.Client {
	run := rand.Text()
	first, _ := store.NewSecret()
	second, _ := store.NewSecret()
	second.Expires = time.Date(2031, 2, 28, 23, 59, 59, 123456000, time.FixedZone("", 5*3600+1800))
	old, _ := store.NewSecret()
	old.Expires = time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC)
	slow := store.Secret{Hash: "$2y$10$abcdefghijklmnopqrstuv"}
	text := "Ünïcødé 🍣 'quoted' \"twice\" \\ %s {x}\nnext line\ttab, spaces  "
	return []*store.Client{
		{ID: run + "plain", Secrets: []store.Secret{first}},
		{ID: run + "public", Public: true},
		{ID: run + "public-none", Public: true, AuthMethod: store.AuthNone},
		{ID: run + "disabled", Secrets: []store.Secret{first}, Disabled: true},
		{ID: run + "long-lived", Secrets: []store.Secret{first}, LongLived: true},
		{ID: run + "without-pkce", Secrets: []store.Secret{first}, WithoutPKCE: true},
		{ID: run + "two-secrets", Secrets: []store.Secret{second, first}, AuthMethod: store.AuthBasic},
		{ID: run + "old-secret", Secrets: []store.Secret{old, slow}, AuthMethod: store.AuthPost},
		{ID: run + "slow", Public: true, Rate: &store.Rate{PerSecond: 1.0 / 3600, Burst: 1}, Number: -1},
		{ID: run + "fast", Public: true, Rate: &store.Rate{PerSecond: 1e9 / 3, Burst: math.MaxInt32}, Number: 1},
		{ID: run + "large", Public: true, Number: math.MaxInt64, Roles: []int64{math.MaxInt64, math.MinInt64, 0}},
		{ID: run + "small", Public: true, Number: math.MinInt64, Roles: []int64{3, 1, 2, 1}},
		{ID: run + "texts", Public: true, Name: text, Description: strings.Repeat(text, 100)},
		{ID: run + "spaces", Public: true, Name: " ", Description: " a "},
		{ID: run + "empty", Public: true, Grants: []string{}, Scopes: []string{}, RedirectURIs: []string{}, Roles: []int64{}, Audiences: []string{}},
		{
			ID: run + "all", Secrets: []store.Secret{first, second}, Disabled: true, LongLived: true, WithoutPKCE: true,
			Grants:       []string{"refresh_token", "authorization_code", "urn:ietf:params:oauth:grant-type:x, y"},
			Scopes:       []string{"z", "a", "A", "a:b/c", "{a}", "a,b", "'", "$1", "z2", "[]"},
			RedirectURIs: []string{"https://b.example/?q=%20&r='x'", "https://a.example/", "https://A.example/", "app:/back"},
			AuthMethod:   store.AuthPost,
			Audiences:    []string{"https://api.example", "", "a,b"},
			Rate:         &store.Rate{PerSecond: 0.1, Burst: 20}, Number: 42, Name: "All", Description: "of it", Roles: []int64{7},
		},
	}
}

func testFields(t *testing.T, open openClients) {
	clients := each()
	for _, c := range clients {
		if err := c.Validate(); err != nil {
			t.Fatalf("%s: %v", c.ID, err)
		}
	}
	s := open(t, clients...)
	for _, want := range clients {
		got, err := s.Client(t.Context(), want.ID)
		if err != nil || got == nil {
			t.Errorf("Client %s: %v, %v", short(want.ID), got, err)
			continue
		}
		compare(t, want, got)
	}
}

// compare names each field that differs. Hashes stay out of the output.
func compare(t *testing.T, want, got *store.Client) {
	t.Helper()
	compareSecrets(t, want, got)
	w, g := reflect.ValueOf(*want), reflect.ValueOf(*got)
	for i := range w.NumField() {
		name, a, b := w.Type().Field(i).Name, w.Field(i), g.Field(i)
		same := reflect.DeepEqual(a.Interface(), b.Interface())
		if a.Kind() == reflect.Slice && a.Len() == 0 {
			same = b.Len() == 0
		}
		if name != "Secrets" && !same {
			t.Errorf("Client %s: %s is %#v, want %#v", short(want.ID), name, b.Interface(), a.Interface())
		}
	}
}

func compareSecrets(t *testing.T, want, got *store.Client) {
	t.Helper()
	if len(got.Secrets) != len(want.Secrets) {
		t.Errorf("Client %s: has %d secrets, want %d", short(want.ID), len(got.Secrets), len(want.Secrets))
		return
	}
	for i, w := range want.Secrets {
		g := got.Secrets[i]
		if g.Hash != w.Hash {
			t.Errorf("Client %s: the hash of secret %d is another", short(want.ID), i)
		}
		if !g.Expires.Equal(w.Expires) || g.Expires.IsZero() != w.Expires.IsZero() {
			t.Errorf("Client %s: secret %d expires at %v, want %v", short(want.ID), i, g.Expires, w.Expires)
		}
	}
}

// validIDs are ids that something between a request and a disk may take for one
// another.
func validIDs(run string) []string {
	ids := []string{
		run + strings.Repeat("k", 256-len(run)-1) + "a", run + strings.Repeat("k", 256-len(run)-1) + "b", run + strings.Repeat("k", 256-len(run)-1),
	}
	for _, o := range oddities() {
		id := run + "-" + o
		if (&store.Client{ID: id, Public: true}).Validate() == nil && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return append(ids, strings.ToLower(run)+"-case", run+"-case", " "+run, run)
}

func testIDs(t *testing.T, open openClients) {
	ids := validIDs(rand.Text())
	clients := make([]*store.Client, len(ids))
	for i, id := range ids {
		clients[i] = &store.Client{ID: id, Public: true, Number: int64(i)}
	}
	s := open(t, clients...)
	for i, id := range ids {
		c, err := s.Client(t.Context(), id)
		switch {
		case err != nil || c == nil:
			t.Errorf("Client %s: %v, %v", short(id), c, err)
		case c.ID != id || c.Number != int64(i):
			t.Errorf("Client %s: got that of %s", short(id), short(c.ID))
		}
	}
}

// Nobody but a client that is there is found, and whatever a request may hold in
// place of an id is merely unknown: P8.
func testNotFound(t *testing.T, open openClients) {
	id := rand.Text() + "-Client"
	s := open(t, &store.Client{ID: id, Public: true})
	absent := []string{
		strings.ToLower(id), strings.ToUpper(id), id + " ", " " + id, id + "\x00", id + "\t", id[:len(id)-1], id + "t",
		"%", id[:len(id)-1] + "%", id[:len(id)-1] + "_", "*", id + "' OR '1'='1", strings.Replace(id, "-", "\u2010", 1),
		rand.Text(), strings.Repeat(id, 1000),
	}
	for _, o := range oddities() {
		absent = append(absent, id+"/"+o, o+"/"+id)
	}
	absent = append(absent, "", "\x00", "\xff", everyByte())
	for _, other := range absent {
		c, err := s.Client(t.Context(), other)
		if c != nil || !errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Client %s, where there is only %s: %v, %v; want no client and store.ErrNotFound", short(other), short(id), c, err)
		}
	}
	if c, err := s.Client(t.Context(), id); err != nil || c == nil || c.ID != id {
		t.Errorf("Client %s: %v, %v", short(id), c, err)
	}
}

func testParallelClients(t *testing.T, open openClients) {
	clients := each()
	s := open(t, clients...)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, want := range clients {
				if got, err := s.Client(t.Context(), want.ID); err != nil || got == nil || got.ID != want.ID {
					t.Errorf("Client %s: %v, %v", short(want.ID), got, err)
				}
			}
		})
	}
	wg.Wait()
}

func testClientContext(t *testing.T, open openClients) {
	id := rand.Text()
	s := open(t, &store.Client{ID: id, Public: true})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, expired} {
		for _, id := range []string{id, id + "-absent"} {
			c, err := s.Client(ctx, id)
			if c != nil || !errors.Is(err, ctx.Err()) || errors.Is(err, store.ErrNotFound) {
				t.Errorf("Client with a context that has ended: %v, %v; want an error that is %q", c, err, ctx.Err())
			}
		}
	}
}

// testClientsClosed: a store on a pool of the caller's may go on after Close. What it
// must not say is that a client that is there is not, which is a 401.
func testClientsClosed(t *testing.T, s store.ClientStore, closer io.Closer, id string) {
	if c, err := s.Client(t.Context(), id); err != nil || c == nil {
		t.Fatalf("Client before Close: %v, %v", c, err)
	}
	if err := closer.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	c, err := s.Client(t.Context(), id)
	if err = answered(c, err, id); err != nil && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Client after Close: %v; want the client or an error that is store.ErrUnavailable", err)
	}
}

// answered returns the error of a call that asked for a client that is there, or
// one for an answer that is not this client, which nobody takes for an outage.
func answered(c *store.Client, err error, id string) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("says of a client that is there: %q", err.Error())
	case err != nil && c != nil:
		return fmt.Errorf("a client and an error: %q", err.Error())
	case err == nil && (c == nil || c.ID != id):
		return errors.New("no error and no client, or another")
	}
	return err
}
