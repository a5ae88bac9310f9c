package redisstore_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// cluster starts a cluster of one server that has all slots.
func cluster(t testing.TB) *redis.UniversalOptions {
	t.Helper()
	port := freePort(t)
	runRedis(t, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", t.TempDir(), "--save", "",
		"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(freePort(t)), "--maxmemory-policy", "noeviction")
	addr := "127.0.0.1:" + strconv.Itoa(port)
	node := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = node.Close() }()
	eventually(t, 20*time.Second, "the cluster is ready", func(ctx context.Context) bool {
		node.ClusterAddSlotsRange(ctx, 0, 16383)
		return strings.Contains(node.ClusterInfo(ctx).Val(), "cluster_state:ok")
	})
	o := at(addr)
	o.IsClusterMode = true
	return o
}

// runRedis runs a redis-server of the test's own until its end.
func runRedis(t testing.TB, args ...string) {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("TEST_REQUIRE_SERVERS") == "1" {
			t.Fatal(err)
		}
		t.Skip("redis-server is not installed")
	}
	server := exec.Command(binary, args...)
	var out strings.Builder
	server.Stdout = &out
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}
