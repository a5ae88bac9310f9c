package redisstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenbooth/tokenbooth/store"
	"github.com/tokenbooth/tokenbooth/store/redisstore"
)

// sentinel starts a Sentinel that watches nothing yet.
func sentinel(t testing.TB) (addr string) {
	t.Helper()
	port := strconv.Itoa(freePort(t))
	file := filepath.Join(t.TempDir(), "sentinel.conf") // it writes there what it learns
	if err := os.WriteFile(file, []byte("bind 127.0.0.1\nport "+port+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runRedis(t, file, "--sentinel")
	addr = "127.0.0.1:" + port
	c := bare(t, at(addr))
	eventually(t, 20*time.Second, "the sentinel answers", func(ctx context.Context) bool { return c.Ping(ctx).Err() == nil })
	return addr
}

// watch tells the sentinel of a master.
func watch(t testing.TB, sentinel, name, master string) {
	t.Helper()
	host, port, _ := strings.Cut(master, ":")
	if err := bare(t, at(sentinel)).Do(t.Context(), "SENTINEL", "MONITOR", name, host, port, "1").Err(); err != nil {
		t.Fatal(err)
	}
}

// A sentinel that does not know the master answers as Redis does for a key that is
// not there. Taken for that, it would undo every revocation.
func TestForgottenMaster(t *testing.T) {
	server, addr := private(t), sentinel(t)
	watch(t, addr, "booth", server.Addr())
	o := &redis.UniversalOptions{MasterName: "booth", Addrs: []string{addr}}
	s := open(t, o)
	if _, err := s.Create(t.Context(), "k", []byte("v"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := s.Get(t.Context(), "k"); string(got) != "v" || !ok || err != nil {
		t.Errorf("got %q, %v, %v", got, ok, err)
	}
	if _, ok, err := s.Get(t.Context(), "none"); ok || err != nil {
		t.Errorf("none: %v, %v", ok, err)
	}
	if err := bare(t, at(addr)).Do(t.Context(), "SENTINEL", "REMOVE", "booth").Err(); err != nil {
		t.Fatal(err)
	}
	const want = "MasterName"
	if _, err := redisstore.Open(o); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("opened: %v", err)
	}
	blind := open(t, o, redisstore.AcceptEviction()) // it asks the server for nothing
	if got, ok, err := blind.Get(t.Context(), "k"); ok || err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Get: %q, %v, %v", got, ok, err)
	}
	if got, err := blind.GetMany(t.Context(), []string{"k"}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("GetMany: %q, %v", got, err)
	}
}

// Of several sentinels the one that is within reach may be the one that has
// forgotten: the others may be back.
func TestForgottenByOneSentinel(t *testing.T) {
	gone := "127.0.0.1:" + strconv.Itoa(freePort(t))
	o := &redis.UniversalOptions{MasterName: "booth", Addrs: []string{gone, sentinel(t)}}
	if _, ok, err := open(t, o).Get(t.Context(), "k"); ok || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v, %v", ok, err)
	}
}
