package testservers

import (
	"bufio"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type redisEngine struct{}

var redis engine = redisEngine{}

func (redisEngine) name() string { return "redis" }

func (redisEngine) users() []string { return []string{"redis"} }

func (redisEngine) stop() syscall.Signal { return syscall.SIGTERM }

func (redisEngine) find() error {
	if _, ok := find("redis-server"); !ok {
		return notInstalled("redis-server", "redis-server")
	}
	return nil
}

func (redisEngine) prepare(s *Server) error {
	if err := os.Mkdir(s.data, 0o700); err != nil {
		return err
	}
	return s.account.give(s.data)
}

func (redisEngine) command(s *Server) []string {
	binary, _ := find("redis-server")
	args := []string{
		binary, "--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--dir", s.data,
		"--appendonly", "yes", "--maxmemory-policy", "noeviction",
	}
	if s.fast {
		args = append(args, "--appendfsync", "no", "--save", "")
	}
	return args
}

// ready asks for the process, since whoever answers on the port might be another.
func (redisEngine) ready(s *Server, pid int) bool {
	conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\nINFO server\r\n")); err != nil {
		return false
	}
	lines := bufio.NewScanner(conn)
	if !lines.Scan() || lines.Text() != "+PONG" {
		return false // it still loads its data
	}
	for lines.Scan() {
		if of, ok := strings.CutPrefix(lines.Text(), "process_id:"); ok {
			return of == strconv.Itoa(pid)
		}
	}
	return false
}

func (redisEngine) url(s *Server) string { return "redis://" + s.Addr() + "/0" }
