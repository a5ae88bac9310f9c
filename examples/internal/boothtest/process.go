package boothtest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Process is a server as users start it.
type Process struct {
	*testing.T
	Base  string   // its URL
	Lines []string // of standard output after the first

	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// Build builds the program in the current directory.
func Build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "server")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// Start runs a program on a port of its own until the test ends.
func Start(t *testing.T, binary string, args ...string) *Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	p := &Process{T: t, cmd: exec.CommandContext(ctx, binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout, p.cmd.Stderr = bufio.NewReader(stdout), &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ok bool
	if p.Base, ok = strings.CutPrefix(p.line(p.stdout), "listening on "); !ok {
		t.Fatalf("the first line is %q", p.Base)
	}
	for range 2 * len(TokenPaths) {
		p.Lines = append(p.Lines, p.line(p.stdout))
	}
	return p
}

func (p *Process) line(r *bufio.Reader) string {
	p.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		p.Fatalf("%q: %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// Stop expects nothing more on standard output, and exit status 0.
func (p *Process) Stop(signal os.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.Fatal(err)
	}
	p.wait()
}

func (p *Process) wait() {
	p.Helper()
	rest, err := io.ReadAll(p.stdout)
	if err != nil || len(rest) > 0 {
		p.Errorf("more on stdout: %q, %v", rest, err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.Errorf("%v\n%s", err, &p.stderr)
	}
}

// Commands runs what was printed, as a user would who copies it.
func (p *Process) Commands() {
	p.Helper()
	_, err := exec.LookPath("curl")
	if err != nil {
		p.Log("curl is not installed: net/http makes the requests that the commands name")
	}
	for i := 0; i < len(p.Lines); i += 2 {
		comment, command := p.Lines[i], p.Lines[i+1]
		if !strings.HasPrefix(comment, "# 00") || !strings.HasPrefix(command, "curl "+p.Base+"/") && !strings.HasPrefix(command, "curl '"+p.Base+"/") {
			p.Fatalf("%s\n%s", comment, command)
		}
		var body []byte
		if err == nil {
			body = shell(p.T, strings.Replace(command, "curl ", "curl -sS ", 1))
		} else {
			body = withoutCurl(p.T, command)
		}
		if TokenIn(body) == "" {
			p.Errorf("%s\n%s\n%s", comment, command, body)
		}
	}
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

// Drain ends the server, and the body of a request only after the server has
// stopped listening. The secret is that of the built-in client acme.
func (p *Process) Drain(secret string) {
	p.Helper()
	addr := strings.TrimPrefix(p.Base, "http://")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		p.Fatal(err)
	}
	defer c.Close()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"acme"}, "client_secret": {secret}}.Encode()
	fmt.Fprintf(c, "POST /oauth/access_token HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
		"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n", addr, len(form))
	reader := bufio.NewReader(c)
	if line := p.line(reader); !strings.Contains(line, "100 Continue") { // the handler reads
		p.Fatal(line)
	}
	p.line(reader)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.Fatal(err)
	}
	untilRefused(p.T, addr)
	fmt.Fprint(c, form)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		p.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || TokenIn(body) == "" {
		p.Errorf("%d %s %v", response.StatusCode, body, err)
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
