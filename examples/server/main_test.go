package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
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
		if status := run(ctx, args, &stdout, &stderr); status != test.status {
			t.Errorf("%v: exit status %d, want %d", test.args, status, test.status)
		}
		if !strings.Contains(stderr.String(), test.want) || stdout.Len() > 0 {
			t.Errorf("%v: stdout %q, stderr %q, want %q", test.args, &stdout, &stderr, test.want)
		}
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"":             "''",
		"client_id=a":  "client_id=a",
		"a b":          "'a b'",
		"it's":         `'it'\''s'`,
		"$HOME`id`\\!": "'$HOME`id`\\!'",
		"é":            "'é'",
		"~":            "'~'",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// A process is the server as users start it.
type process struct {
	*testing.T
	cmd    *exec.Cmd
	base   string
	lines  []string // of standard output after the first
	stdout *bufio.Reader
	stderr *bufio.Reader
}

func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "server")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

func start(t *testing.T, binary string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	p := &process{T: t, cmd: exec.CommandContext(ctx, binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout, p.stderr = bufio.NewReader(stdout), bufio.NewReader(stderr)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ok bool
	if p.base, ok = strings.CutPrefix(p.line(p.stdout), "listening on "); !ok {
		t.Fatalf("the first line is %q", p.base)
	}
	for range 2 * len(tokenPaths) {
		p.lines = append(p.lines, p.line(p.stdout))
	}
	return p
}

func (p *process) line(r *bufio.Reader) string {
	p.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		p.Fatalf("%q: %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// stop expects nothing more on standard output, and exit status 0.
func (p *process) stop(signal os.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.Fatal(err)
	}
	p.wait()
}

func (p *process) wait() {
	p.Helper()
	rest, err := io.ReadAll(p.stdout)
	if err != nil || len(rest) > 0 {
		p.Errorf("more on stdout: %q, %v", rest, err)
	}
	logs, _ := io.ReadAll(p.stderr)
	if err := p.cmd.Wait(); err != nil {
		p.Errorf("%v\n%s", err, logs)
	}
}

func TestProcess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no SIGTERM, no sh")
	}
	binary := build(t)
	t.Run("commands", func(t *testing.T) { testCommands(t, start(t, binary)) })
	t.Run("commands of other clients", func(t *testing.T) {
		for _, method := range []string{"client_secret_post", "client_secret_basic"} {
			client := map[string]any{
				"id": "it's é:+%41 $HOME", "secret": "a'b\"c`id`\\!&= p+l%u s:é ü-0123456789",
				"grants": []string{"client_credentials"}, "auth_method": method,
			}
			testCommands(t, start(t, binary, "-fixtures", writeFixtures(t, client)))
		}
	})
	t.Run("no client", func(t *testing.T) {
		p := start(t, binary, "-fixtures", writeFixtures(t))
		for _, line := range p.lines {
			if !strings.HasPrefix(line, "#") {
				t.Errorf("%q", line)
			}
		}
		p.stop(os.Interrupt)
	})
	t.Run("drains", func(t *testing.T) { testDrain(t, start(t, binary)) })
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

// testCommands runs what was printed, as a user would who copies it.
func testCommands(t *testing.T, p *process) {
	_, err := exec.LookPath("curl")
	if err != nil {
		t.Log("curl is not installed: net/http makes the requests that the commands name")
	}
	for i := 0; i < len(p.lines); i += 2 {
		comment, command := p.lines[i], p.lines[i+1]
		if !strings.HasPrefix(comment, "# 00") || !strings.HasPrefix(command, "curl "+p.base+"/") && !strings.HasPrefix(command, "curl '"+p.base+"/") {
			t.Fatalf("%s\n%s", comment, command)
		}
		var body []byte
		if err == nil {
			body = shell(t, strings.Replace(command, "curl ", "curl -sS ", 1))
		} else {
			body = withoutCurl(t, command)
		}
		if tokenIn(body) == "" {
			t.Errorf("%s\n%s\n%s", comment, command, body)
		}
	}
	p.stop(syscall.SIGTERM)
}

func shell(t *testing.T, command string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return out
}

// withoutCurl lets the shell read the command and does what curl would.
func withoutCurl(t *testing.T, command string) []byte {
	t.Helper()
	args := strings.Split(string(shell(t, `curl() { printf '%s\000' "$@"; }; `+command)), "\x00")
	var form []string
	var user, password string
	for i := 1; i+1 < len(args); i += 2 {
		switch name, value := args[i], args[i+1]; name {
		case "-d":
			form = append(form, value)
		case "--data-urlencode":
			member, content, _ := strings.Cut(value, "=")
			form = append(form, member+"="+url.QueryEscape(content))
		case "-u":
			user, password, _ = strings.Cut(value, ":")
		default:
			t.Fatalf("unknown option %s", name)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), "POST", args[0], strings.NewReader(strings.Join(form, "&")))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// testDrain ends a request only after the server has stopped listening.
func testDrain(t *testing.T, p *process) {
	addr := strings.TrimPrefix(p.base, "http://")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"acme"}, "client_secret": {plainSecrets(t)["acme"]}}.Encode()
	fmt.Fprintf(c, "POST /oauth/access_token HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
		"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n", addr, len(form))
	reader := bufio.NewReader(c)
	if line := p.line(reader); !strings.Contains(line, "100 Continue") { // the handler reads
		t.Fatal(line)
	}
	p.line(reader)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	untilRefused(t, addr)
	fmt.Fprint(c, form)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || tokenIn(body) == "" {
		t.Errorf("%d %s %v", response.StatusCode, body, err)
	}
	p.wait()
}

func untilRefused(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(4 * time.Second); time.Now().Before(deadline); {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		c.Close()
	}
	t.Fatal("still accepts connections")
}
