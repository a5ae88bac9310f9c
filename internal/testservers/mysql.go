package testservers

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

type mysqlEngine struct{}

var mysql engine = mysqlEngine{}

func (mysqlEngine) name() string { return "mysql" }

func (mysqlEngine) users() []string { return []string{"mysql"} }

func (mysqlEngine) stop() syscall.Signal { return syscall.SIGTERM }

func mysqlBinary() (string, bool) {
	if path, ok := find("mariadbd"); ok {
		return path, true
	}
	return find("mysqld")
}

func (mysqlEngine) find() error {
	if _, ok := mysqlBinary(); !ok {
		return notInstalled("mariadbd", "mariadb-server")
	}
	return nil
}

func (mysqlEngine) prepare(s *Server) error {
	// At each start, before anybody can connect.
	if err := s.account.write(s.initFile(), "CREATE DATABASE IF NOT EXISTS "+databaseUser+";\n"+
		"CREATE USER IF NOT EXISTS '"+databaseUser+"'@'127.0.0.1' IDENTIFIED BY '"+s.password+"';\n"+
		"GRANT ALL ON *.* TO '"+databaseUser+"'@'127.0.0.1';\n"); err != nil {
		return err
	}
	if err := s.account.give(s.tmpDir()); err != nil {
		return err
	}
	if install, ok := find("mariadb-install-db"); ok {
		// A process that is killed loses nothing of what was not synced.
		return s.do(install, "--no-defaults", "--datadir="+s.data, "--tmpdir="+s.tmpDir(), "--skip-test-db",
			"--innodb-flush-method=nosync", withoutAIO)
	}
	binary, _ := mysqlBinary()
	return s.do(binary, "--no-defaults", "--initialize-insecure", "--datadir="+s.data, "--tmpdir="+s.tmpDir())
}

func (s *Server) initFile() string { return filepath.Join(s.dir, "init.sql") }

// tmpDir is the server's own: each one that starts removes the temporary tables of
// all others from a directory that they share.
func (s *Server) tmpDir() string { return filepath.Join(s.dir, "tmp") }

func (mysqlEngine) command(s *Server) []string {
	binary, _ := mysqlBinary()
	args := []string{
		binary, "--no-defaults", "--datadir=" + s.data, "--tmpdir=" + s.tmpDir(), "--port=" + strconv.Itoa(s.port),
		"--bind-address=127.0.0.1", "--skip-name-resolve", "--init-file=" + s.initFile(), "--loose-mysqlx=0",
		"--socket=mysql.sock", // in the data directory, however long that is
		"--pid-file=" + mysqlPidFile(s), withoutAIO,
	}
	if s.fast {
		args = append(args, "--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite")
	}
	return args
}

// withoutAIO: what the kernel has for asynchronous writes is little, and shared by
// all servers of a user.
const withoutAIO = "--innodb-use-native-aio=0"

func mysqlPidFile(s *Server) string { return filepath.Join(s.data, "server.pid") }

// ready looks into the pid file, since whoever answers on the port might be
// another; and then for the first packet of a handshake.
func (mysqlEngine) ready(s *Server, pid int) bool {
	b, _ := os.ReadFile(mysqlPidFile(s))
	if strings.TrimSpace(string(b)) != strconv.Itoa(pid) {
		return false
	}
	const protocol = 10
	greeting, ok := ask(s, nil, 5)
	return ok && greeting[4] == protocol
}

func (mysqlEngine) url(s *Server) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(databaseUser, s.password), Host: s.Addr(), Path: "/" + databaseUser}
	return u.String()
}
