package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/examples/internal/booth"
	"github.com/tokenbooth/tokenbooth/examples/internal/boothtest"
)

func TestRunRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"-ttl", "999ms"}, 1, "HandlerConfig.AccessTokenTTL is 999ms"},
		{[]string{"-ttl", "0s"}, 1, "HandlerConfig.AccessTokenTTL is 0s"},
		{[]string{"-ttl", "-1h"}, 1, "HandlerConfig.AccessTokenTTL is -1h"},
		{[]string{"-issuer", "auth.example.com"}, 1, "HandlerConfig.Issuer"},
		{[]string{"-fixtures", "no/such/file"}, 1, "no/such/file"},
		{[]string{"-addr", taken.Addr().String()}, 1, taken.Addr().String()},
		{[]string{"-ttl", "soon"}, 2, "-ttl"},
		{[]string{"-data-shape", "round"}, 2, "documented, flat or both"},
		{[]string{"-no-such-flag"}, 2, "no-such-flag"},
		{[]string{"argument"}, 2, `"argument"`},
		{[]string{"-h"}, 0, "-data-shape"},
	} {
		var stdout, stderr bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // should it serve
		defer cancel()
		args := append([]string{"-addr", "127.0.0.1:0"}, test.args...)
		if status := booth.Run(ctx, args, &stdout, &stderr); status != test.status {
			t.Errorf("%v: exit status %d, want %d", test.args, status, test.status)
		}
		if !strings.Contains(stderr.String(), test.want) || stdout.Len() > 0 {
			t.Errorf("%v: stdout %q, stderr %q, want %q", test.args, &stdout, &stderr, test.want)
		}
	}
}

func TestProcess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no SIGTERM, no sh")
	}
	binary := boothtest.Build(t)
	t.Run("commands", func(t *testing.T) {
		p := boothtest.Start(t, binary)
		p.Commands()
		p.Stop(syscall.SIGTERM)
	})
	t.Run("commands of other clients", func(t *testing.T) {
		for _, method := range []string{"client_secret_post", "client_secret_basic"} {
			client := map[string]any{
				"id": "it's é:+%41 $HOME", "secret": "a'b\"c`id`\\!&= p+l%u s:é ü-0123456789",
				"grants": []string{"client_credentials"}, "auth_method": method,
			}
			p := boothtest.Start(t, binary, "-fixtures", writeFixtures(t, client))
			p.Commands()
			p.Stop(syscall.SIGTERM)
		}
	})
	t.Run("no client", func(t *testing.T) {
		p := boothtest.Start(t, binary, "-fixtures", writeFixtures(t))
		for _, line := range p.Lines {
			if !strings.HasPrefix(line, "#") {
				t.Errorf("%q", line)
			}
		}
		p.Stop(os.Interrupt)
	})
	t.Run("drains", func(t *testing.T) {
		boothtest.Start(t, binary).Drain(boothtest.Secrets(t, booth.BuiltIn)["acme"])
	})
	t.Run("bad fixtures", func(t *testing.T) {
		file := writeFixtures(t, map[string]any{"id": "a", "grantz": []string{}})
		out, err := exec.CommandContext(t.Context(), binary, "-addr", "127.0.0.1:0", "-fixtures", file).Output()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != 1 || !strings.Contains(string(exit.Stderr), "grantz") || !strings.Contains(string(exit.Stderr), file) {
			t.Errorf("%v, stdout %q", err, out)
		}
	})
}

func writeFixtures(t *testing.T, clients ...map[string]any) string {
	t.Helper()
	data, err := json.Marshal(map[string]any{"clients": append([]map[string]any{}, clients...)})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "fixtures.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
