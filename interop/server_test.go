package interop_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// serverBinary is the example server, built once for all tests.
var serverBinary string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tokenbooth-interop")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	serverBinary = filepath.Join(dir, "server")
	build := exec.Command("go", "build", "-o", serverBinary, "github.com/tokenbooth/tokenbooth/examples/server")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the example server: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// startServer runs the example server until the test ends, and returns its URL.
// Each has limits of its own.
func startServer(t *testing.T, flags ...string) string {
	t.Helper()
	server := exec.Command(serverBinary, append([]string{"-addr", "127.0.0.1:0"}, flags...)...)
	var log logBuffer
	server.Stderr = &log
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, out) // Wait closes it
		if err := server.Wait(); err != nil {
			t.Errorf("the server ended with %v: %s", err, &log)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	base, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("the server says %q, %v: %s", line, err, &log)
	}
	return base
}

// readSecrets returns the secrets of the server's own clients.
func readSecrets(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("../examples/internal/booth/fixtures.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Clients []struct{ ID, Secret string } }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{}
	for _, c := range file.Clients {
		secrets[c.ID] = c.Secret
	}
	return secrets
}
