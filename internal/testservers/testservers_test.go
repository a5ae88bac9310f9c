package testservers

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A kind is an engine and how to write and read one value with its own client.
type kind struct {
	engine engine
	start  func(dir string) (*Server, error)
	write  func(t *testing.T, s *Server)
	read   func(t *testing.T, s *Server) string
}

var kinds = map[string]kind{
	"postgres": {
		postgres, StartPostgres,
		func(t *testing.T, s *Server) { psql(t, s, "CREATE TABLE kept AS SELECT 'kept'::text AS v") },
		func(t *testing.T, s *Server) string { return psql(t, s, "SELECT v FROM kept") },
	},
	"mysql": {
		mysql, StartMySQL,
		func(t *testing.T, s *Server) { mariadb(t, s, "CREATE TABLE kept AS SELECT 'kept' AS v") },
		func(t *testing.T, s *Server) string { return mariadb(t, s, "SELECT v FROM kept") },
	},
	"redis": {
		redis, StartRedis,
		func(t *testing.T, s *Server) { redisCommand(t, s, "SET kept kept") },
		func(t *testing.T, s *Server) string { return redisCommand(t, s, "GET kept") },
	},
}

func psql(t *testing.T, s *Server, statement string) string {
	t.Helper()
	path, ok := postgresBinary("psql")
	if !ok {
		t.Fatal("no psql")
	}
	return client(t, path, s.URL(), "-qtA", "-c", statement)
}

func mariadb(t *testing.T, s *Server, statement string) string {
	t.Helper()
	path, ok := find("mariadb")
	if !ok {
		t.Fatal("no mariadb")
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	return client(t, path, "--no-defaults", "-N", "-B", "-h", u.Hostname(), "-P", u.Port(),
		"-u", u.User.Username(), "-p"+password, strings.Trim(u.Path, "/"), "-e", statement)
}

func client(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}

func redisCommand(t *testing.T, s *Server, command string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s\r\nQUIT\r\n", command)
	lines := bufio.NewScanner(conn)
	lines.Scan()
	if strings.HasPrefix(lines.Text(), "$") {
		lines.Scan()
	}
	return lines.Text()
}

func eachKind(t *testing.T, fast bool, f func(t *testing.T, k kind, s *Server)) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := k.start
			if fast {
				begin = func(dir string) (*Server, error) { return start(k.engine, dir, true) }
			}
			s, err := begin(t.TempDir())
			skipOrFail(t, err)
			t.Cleanup(func() {
				if err := s.Kill(); err != nil {
					t.Error(err)
				}
			})
			f(t, k, s)
		})
	}
}

func skipOrFail(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, ErrNotInstalled) && os.Getenv("TEST_REQUIRE_SERVERS") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func mustDo(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// tree returns the server's processes.
func tree(t *testing.T, s *Server) []int {
	t.Helper()
	children, err := descendants(s.process.Pid)
	mustDo(t, "descendants", err)
	return append(children, s.process.Pid, s.guard.shell.Process.Pid)
}

func mustBeGone(t *testing.T, pids []int) {
	t.Helper()
	left, err := alive(pids)
	if err != nil || len(left) > 0 {
		t.Errorf("processes %v of %v are left (%v)", left, pids, err)
	}
	all, err := processes()
	mustDo(t, "processes", err)
	for _, p := range all {
		if p.parent == os.Getpid() && !p.zombie && slices.Contains(pids, p.pid) {
			t.Errorf("process %d is left", p.pid)
		}
	}
}

func TestServersKeepTheirData(t *testing.T) {
	eachKind(t, false, func(t *testing.T, k kind, s *Server) {
		was := s.Addr()
		k.write(t, s)
		if s.engine == redis {
			// It syncs once a second, but what it answered has been written.
			redisCommand(t, s, "CONFIG SET appendfsync always")
		}
		for _, end := range []struct {
			name string
			do   func() error
		}{{"Kill", s.Kill}, {"Stop", s.Stop}} {
			pids := tree(t, s)
			mustDo(t, end.name, end.do())
			mustBeGone(t, pids)
			if _, err := net.Dial("tcp", s.Addr()); err == nil {
				t.Errorf("answers after %s", end.name)
			}
			mustDo(t, end.name+" again", end.do())
			mustDo(t, "Start", s.Start())
			mustDo(t, "Start again", s.Start())
			if got := k.read(t, s); got != "kept" {
				t.Errorf("after %s: %q", end.name, got)
			}
		}
		if s.Addr() != was {
			t.Errorf("moved from %s to %s", was, s.Addr())
		}
	})
}

func TestServersPause(t *testing.T) {
	eachKind(t, true, func(t *testing.T, k kind, s *Server) {
		k.write(t, s)
		mustDo(t, "Pause", s.Pause())
		if s.engine.ready(s, s.process.Pid) {
			t.Error("answers while it stands still")
		}
		mustDo(t, "Resume", s.Resume())
		if got := k.read(t, s); got != "kept" {
			t.Errorf("after the pause: %q", got)
		}
		for name, end := range map[string]func() error{"Kill": s.Kill, "Stop": s.Stop} {
			mustDo(t, "Start", s.Start())
			mustDo(t, "Pause", s.Pause())
			pids := tree(t, s)
			mustDo(t, name, end())
			mustBeGone(t, pids)
		}
		if s.Pause() == nil || s.Resume() == nil {
			t.Error("paused or resumed what does not run")
		}
	})
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mustDo(t, "Listen", err)
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	for _, e := range []engine{postgres, mysql, redis} {
		t.Run(e.name(), func(t *testing.T) {
			// The first attempt finds the port taken.
			s, err := start(&late{engine: e, port: taken}, t.TempDir(), true)
			skipOrFail(t, err)
			if s.port == taken {
				t.Error("has a port that is another's")
			}
			mustDo(t, "Kill", s.Kill())
		})
	}
}

type late struct {
	engine
	port int
}

func (e *late) command(s *Server) []string {
	if e.port != 0 {
		s.port, e.port = e.port, 0
	}
	return e.engine.command(s)
}

// killedVariable makes this test binary the process to be killed.
const killedVariable = "TESTSERVERS_KILLED"

func TestServersEndWithAKilledProcess(t *testing.T) {
	if dir := os.Getenv(killedVariable); dir != "" {
		beKilled(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), killedVariable+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	mustDo(t, "StdoutPipe", err)
	mustDo(t, "Start", cmd.Start())
	var pids []int
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		if text, ok := strings.CutPrefix(lines.Text(), "pid "); ok {
			pid, err := strconv.Atoi(text)
			mustDo(t, lines.Text(), err)
			pids = append(pids, pid)
		}
	}
	mustDo(t, "Kill", cmd.Process.Kill())
	_ = cmd.Wait()
	mustDo(t, "the servers", awaitGone(pids))
}

// beKilled starts two servers of each kind, one of which stands still, and a process
// of another kind.
func beKilled(t *testing.T, dir string) {
	for name, k := range kinds {
		for _, still := range []bool{false, true} {
			s, err := start(k.engine, filepath.Join(dir, fmt.Sprint(name, still)), true)
			if errors.Is(err, ErrNotInstalled) {
				continue
			}
			mustDo(t, name, err)
			if still {
				mustDo(t, "Pause", s.Pause())
			}
			for _, pid := range tree(t, s) {
				fmt.Printf("pid %d\n", pid)
			}
		}
	}
	other := exec.Command("sleep", "60") // none of ours, which stands still
	mustDo(t, "Start", other.Start())
	_, err := Guard(other.Process.Pid)
	mustDo(t, "Guard", err)
	send(sigPause, other.Process.Pid)
	fmt.Printf("pid %d\n", other.Process.Pid)
	fmt.Println("ready")
	time.Sleep(patience)
}

func TestHelpersTakeTheEnvironment(t *testing.T) {
	for variable, f := range map[string]func(testing.TB) string{
		"TEST_POSTGRES_URL": Postgres, "TEST_MYSQL_URL": MySQL, "TEST_REDIS_URL": Redis,
	} {
		t.Setenv(variable, "scheme://elsewhere")
		if got := f(t); got != "scheme://elsewhere" {
			t.Errorf("%s: %s", variable, got)
		}
	}
}

func TestHelpersStartAndEnd(t *testing.T) {
	for scheme, f := range map[string]func(testing.TB) string{"postgres": Postgres, "mysql": MySQL, "redis": Redis} {
		t.Setenv("TEST_"+strings.ToUpper(scheme)+"_URL", "")
		var host string
		t.Run(scheme, func(t *testing.T) {
			u, err := url.Parse(f(t))
			mustDo(t, "URL", err)
			host = u.Host
			conn, err := net.Dial("tcp", host)
			mustDo(t, "Dial", err)
			conn.Close()
			if u.Scheme != scheme {
				t.Errorf("scheme %s", u.Scheme)
			}
		})
		if host == "" {
			continue // skipped
		}
		if _, err := net.Dial("tcp", host); err == nil {
			t.Errorf("%s: answers after its test", scheme)
		}
	}
}
