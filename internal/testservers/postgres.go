package testservers

import (
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const databaseUser = "tokenbooth"

type postgresEngine struct{}

var postgres engine = postgresEngine{}

func (postgresEngine) name() string { return "postgres" }

func (postgresEngine) users() []string { return []string{"postgres"} }

// Fast shutdown: it does not wait for its clients.
func (postgresEngine) stop() syscall.Signal { return syscall.SIGINT }

func postgresBinary(name string) (string, bool) {
	return find(name, "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql@*/bin")
}

func (postgresEngine) find() error {
	for _, name := range []string{"initdb", "postgres"} {
		if _, ok := postgresBinary(name); !ok {
			return notInstalled(name, "postgresql")
		}
	}
	return nil
}

func (postgresEngine) prepare(s *Server) error {
	initdb, _ := postgresBinary("initdb")
	pwfile := filepath.Join(s.dir, "password")
	if err := s.account.write(pwfile, s.password+"\n"); err != nil {
		return err
	}
	return s.do(initdb, "--pgdata="+s.data, "--username="+databaseUser, "--pwfile="+pwfile,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
}

func (postgresEngine) command(s *Server) []string {
	binary, _ := postgresBinary("postgres")
	args := []string{
		binary, "-D", s.data, "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
	}
	if s.fast {
		args = append(args, "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	}
	return args
}

// ready looks into the lock file, as pg_ctl does, since whoever answers on the
// port might be another; and then at the port.
func (postgresEngine) ready(s *Server, pid int) bool {
	b, _ := os.ReadFile(filepath.Join(s.data, "postmaster.pid")) //nolint:gosec // of our own server
	lines := strings.Split(string(b), "\n")
	if len(lines) < 8 || lines[0] != strconv.Itoa(pid) || strings.TrimSpace(lines[7]) != "ready" {
		return false
	}
	sslRequest := []byte{0, 0, 0, 8, 4, 210, 22, 47}
	reply, ok := ask(s, sslRequest, 1)
	return ok && (reply[0] == 'N' || reply[0] == 'S')
}

func (postgresEngine) url(s *Server) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(databaseUser, s.password),
		Host: s.Addr(), Path: "/postgres", RawQuery: "sslmode=disable",
	}
	return u.String()
}

// ask sends bytes to the server, if any, and returns as many of its answer.
func ask(s *Server, question []byte, size int) ([]byte, bool) {
	conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
	if err != nil {
		return nil, false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write(question); err != nil {
		return nil, false
	}
	answer := make([]byte, size)
	_, err = io.ReadFull(conn, answer)
	return answer, err == nil
}
