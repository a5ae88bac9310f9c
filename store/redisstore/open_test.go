package redisstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenbooth/tokenbooth/store"
	"github.com/tokenbooth/tokenbooth/store/redisstore"
)

func configure(t *testing.T, c redis.UniversalClient, settings ...string) {
	t.Helper()
	for i := 0; i < len(settings); i += 2 {
		if err := c.ConfigSet(t.Context(), settings[i], settings[i+1]).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenRefusesEviction(t *testing.T) {
	o := at(private(t).Addr())
	c := bare(t, o)
	tests := []struct {
		maxmemory, policy string
		refused           bool
	}{
		{"100mb", "noeviction", false},
		{"0", "allkeys-lru", false},
		{"100mb", "allkeys-lru", true},
		{"100mb", "allkeys-random", true},
		{"100mb", "volatile-lru", true},
		{"100mb", "volatile-ttl", true},
	}
	for _, test := range tests {
		t.Run(test.policy+" "+test.maxmemory, func(t *testing.T) {
			configure(t, c, "maxmemory", test.maxmemory, "maxmemory-policy", test.policy)
			s, err := redisstore.Open(o)
			if err == nil {
				_ = s.Close()
			}
			if (err != nil) != test.refused {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				for _, want := range []string{"maxmemory-policy", fmt.Sprintf("%q", test.policy), "noeviction", "AcceptEviction()"} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%v: lacks %s", err, want)
					}
				}
			}
			accepted := open(t, o, redisstore.AcceptEviction())
			if _, _, err := accepted.Get(t.Context(), "k"); err != nil {
				t.Errorf("accepted: %v", err)
			}
		})
	}
}

func TestOpenDuringAnOutage(t *testing.T) {
	server := private(t)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	s := open(t, at(server.Addr()))
	if _, err := s.Create(t.Context(), "k", []byte("v"), time.Now().Add(time.Hour)); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("without a server: %v", err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "Create", func(ctx context.Context) bool {
		ok, err := s.Create(ctx, "k", []byte("v"), time.Now().Add(time.Hour))
		return ok && err == nil
	})
}

func TestOpenDuringAnOutageOfAServerThatEvicts(t *testing.T) {
	server := private(t)
	o := at(server.Addr())
	c := bare(t, o)
	configure(t, c, "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	s := open(t, o)
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "an answer of the server", func(ctx context.Context) bool {
		_, err := s.Create(ctx, "k", []byte("v"), time.Now().Add(time.Hour))
		if err == nil {
			t.Fatal("stored where it may be evicted")
		}
		return !errors.Is(err, store.ErrUnavailable) && strings.Contains(err.Error(), "allkeys-lru")
	})
	if _, _, err := s.Get(t.Context(), "k"); err == nil {
		t.Error("read from a server that evicts")
	}
	if _, err := s.GetMany(t.Context(), []string{"k"}); err == nil {
		t.Error("read many from a server that evicts")
	}
	if n, err := c.DBSize(t.Context()).Result(); n != 0 || err != nil {
		t.Errorf("%d keys, %v", n, err)
	}
}

func TestOpenWithoutPermissions(t *testing.T) {
	o := at(private(t).Addr())
	admin := bare(t, o)
	// As README.md has it.
	rights := []any{
		"on", ">canary", "~tb:*", "-@all", "+get", "+mget", "+set", "+del", "+pttl", "+pexpireat", "+time", "+evalsha", "+eval",
		"+hello", "+auth", "+select", "+ping", "+cluster",
	}
	for _, acl := range [][]any{
		append([]any{"acl", "setuser", "app"}, append(rights, "+info")...),
		append([]any{"acl", "setuser", "blind"}, rights...),
	} {
		if err := admin.Do(t.Context(), acl...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	as := func(user, password string) *redis.UniversalOptions {
		o := *o
		o.Username, o.Password = user, password
		return &o
	}
	s := open(t, as("app", "canary"))
	later := time.Now().Add(time.Hour)
	for name, op := range map[string]func() (bool, error){
		"Create": func() (bool, error) { return s.Create(t.Context(), "k", nil, later) },
		"Keep":   func() (bool, error) { return s.Create(t.Context(), "k", nil, later.Add(time.Hour)) },
		"Swap":   func() (bool, error) { return s.Swap(t.Context(), "k", nil, []byte("v"), later) },
		"Delete": func() (bool, error) { return s.Delete(t.Context(), "k") },
		"Get":    func() (bool, error) { _, _, err := s.Get(t.Context(), "k"); return true, err },
		"Many":   func() (bool, error) { _, err := s.GetMany(t.Context(), []string{"k"}); return true, err },
	} {
		if _, err := op(); err != nil {
			t.Errorf("%s by a user without rights of an administrator: %v", name, err)
		}
	}
	if d := mustTake(t, s.Limiter(redisstore.LimiterConfig{Outage: redisstore.FailClosed}).Patient(), "k", slow(1)); !d.Allowed {
		t.Errorf("a user without rights of an administrator: %+v", d)
	}
	if _, _, err := open(t, as("blind", "canary"), redisstore.AcceptEviction()).Get(t.Context(), "k"); err != nil {
		t.Errorf("accepted without INFO: %v", err)
	}
	for _, refused := range []*redis.UniversalOptions{as("blind", "canary"), as("app", "canary2"), as("nobody", "canary")} {
		_, err := redisstore.Open(refused)
		if err == nil || errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), "canary") ||
			!strings.Contains(err.Error(), "AcceptEviction") {
			t.Errorf("%s: %v", refused.Username, err)
		}
	}
}

func TestOpenRefusesOptions(t *testing.T) {
	if _, err := redisstore.Open(nil); err == nil {
		t.Error("nil is opened")
	}
	for _, o := range []redis.UniversalOptions{
		{ReadOnly: true},
		{RouteByLatency: true},
		{RouteRandomly: true},
		{ClientSideCacheConfig: new(redis.ClientSideCacheConfig)},
	} {
		_, err := redisstore.Open(&o)
		if err == nil || !strings.Contains(err.Error(), "old state; leave it out") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestOpenCopiesOptions(t *testing.T) {
	o := &redis.UniversalOptions{
		Addrs: []string{private(t).Addr()}, Password: "", ClientName: "tb", PoolSize: 3, ReadTimeout: -1, MaxRetries: 7,
	}
	given := *o
	given.Addrs = []string{o.Addrs[0]}
	s := open(t, o)
	if !reflect.DeepEqual(*o, given) {
		t.Errorf("got %+v, want %+v", *o, given)
	}
	o.Addrs[0] = "127.0.0.1:1"
	if _, _, err := s.Get(t.Context(), "k"); err != nil {
		t.Error(err)
	}
}

func TestStorePrintsNoSecrets(t *testing.T) {
	server := private(t)
	configure(t, bare(t, at(server.Addr())), "requirepass", "canary")
	o := at(server.Addr())
	o.Password = "canary"
	s := open(t, o)
	l := s.Limiter(redisstore.LimiterConfig{})
	for _, v := range []any{s, l} {
		text, _ := json.Marshal(v)
		if all := fmt.Sprintf("%v %+v %#v %s", v, v, v, text); strings.Contains(all, "canary") {
			t.Errorf("printed %s", all)
		}
	}
}

func TestClosed(t *testing.T) {
	s := open(t, at(private(t).Addr()))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(t.Context(), "k"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Get: %v", err)
	}
	if _, err := s.Swap(t.Context(), "k", nil, nil, time.Now()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Swap: %v", err)
	}
	if d := mustTake(t, s.Limiter(redisstore.LimiterConfig{}), "k", slow(10)); !d.Allowed || d.Limit != 5 {
		t.Errorf("Take: %+v", d)
	}
}
