package testservers

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	patience = time.Minute // for a server to start or to end
	glance   = 5 * time.Millisecond
	ports    = 5 // tried before giving up
)

// An engine is what one kind of server needs.
type engine interface {
	name() string
	users() []string // to run it as, when we are root
	find() error     // its binaries
	// prepare makes the data in s.data.
	prepare(s *Server) error
	command(s *Server) []string
	// ready reports whether the server of this process answers.
	ready(s *Server, pid int) bool
	url(s *Server) string
	stop() syscall.Signal // ends it in order
}

// A Server is a private database server. Its methods are safe for concurrent
// use.
type Server struct {
	engine   engine
	account  *account
	dir      string // of the log and of what prepare needs
	data     string
	port     int
	password string
	fast     bool // rather than durable

	mu      sync.Mutex
	guard   *guard
	process *os.Process
	ended   chan struct{} // closed when the process and its guard have ended
}

func start(e engine, dir string, fast bool) (*Server, error) {
	s := &Server{engine: e, dir: dir, data: filepath.Join(dir, "data"), password: password(), fast: fast}
	if err := s.start(); err != nil {
		return nil, fmt.Errorf("testservers: %s: %w", e.name(), err)
	}
	return s, nil
}

func (s *Server) start() (err error) {
	if err := s.engine.find(); err != nil {
		return err
	}
	if s.account, err = accountOf(s.engine.users()); err != nil {
		return err
	}
	if err := s.account.give(s.dir); err != nil {
		return err
	}
	if err := s.engine.prepare(s); err != nil {
		return err
	}
	for range ports { // another process may take a port before the server does
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.run(); err == nil {
			return nil
		}
	}
	return err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// URL returns where the server is, with the password.
func (s *Server) URL() string { return s.engine.url(s) }

// Addr returns its host and port, which stay the same.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Start starts the server again, with its data and on its port, and returns when
// it answers. It does nothing to one that runs.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running() {
		return nil
	}
	var err error
	for range ports { // the port may be taken for a moment
		if err = s.run(); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

func (s *Server) running() bool {
	if s.process == nil {
		return false
	}
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	cmd := s.cmd(s.engine.command(s))
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	guard, err := newGuard()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, guard.end())
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		_ = guard.end()
		close(ended)
	}()
	s.process, s.guard, s.ended = cmd.Process, guard, ended
	if err := guard.watch(cmd.Process.Pid); err != nil {
		return errors.Join(err, s.kill())
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if s.engine.ready(s, cmd.Process.Pid) {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("%s ended before it answered: %s", s.engine.name(), tail(s.log()))
		case <-time.After(glance):
		}
	}
	return errors.Join(fmt.Errorf("no answer within %v: %s", patience, tail(s.log())), s.kill())
}

// cmd returns a command under the server's user, which is no child of a shell's
// Ctrl-C and sees nothing of our environment.
func (s *Server) cmd(args []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec // a binary that find found
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", "HOME=" + s.dir}
	cmd.SysProcAttr = s.account.attributes()
	return cmd
}

// do runs a command to its end.
func (s *Server) do(args ...string) error {
	out, err := s.cmd(args).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(args[0]), err, end(out))
	}
	return nil
}

// Kill ends the server and all its children at once, as a crash would, and waits
// until they are gone. What it had written is there at the next [Server.Start].
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kill()
}

func (s *Server) kill() error {
	if !s.running() {
		return nil
	}
	// One that stands still has no more children.
	_ = s.process.Signal(sigPause)
	children, err := descendants(s.process.Pid)
	send(syscall.SIGKILL, children...)
	_ = s.process.Kill()
	<-s.ended
	return errors.Join(err, awaitGone(children))
}

// Pause makes the server and all its children stand still, with their
// connections open.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running() {
		return errNotRunning
	}
	if err := s.process.Signal(sigPause); err != nil {
		return err
	}
	children, err := descendants(s.process.Pid)
	if err != nil {
		return err
	}
	// Children end with their parent, unless they stand still.
	if err := s.guard.watch(append(children, s.process.Pid)...); err != nil {
		return err
	}
	send(sigPause, children...)
	return nil
}

var errNotRunning = errors.New("testservers: the server does not run")

// Resume ends a pause.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running() {
		return errNotRunning
	}
	return s.resume()
}

func (s *Server) resume() error {
	children, err := descendants(s.process.Pid)
	send(sigResume, children...)
	return errors.Join(err, s.process.Signal(sigResume), s.guard.watch(s.process.Pid))
}

// Stop ends the server in order and waits until it and its children are gone. It
// can be started again.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running() {
		return nil
	}
	children, err := descendants(s.process.Pid)
	if err := errors.Join(err, s.resume(), s.process.Signal(s.engine.stop())); err != nil {
		return errors.Join(err, s.kill())
	}
	select {
	case <-s.ended:
		return awaitGone(children)
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("testservers: %s did not end within %v", s.engine.name(), patience), s.kill())
	}
}

func awaitGone(pids []int) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(glance) {
		left, err := alive(pids)
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("testservers: processes %v do not end", left)
		}
	}
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

func tail(file string) string {
	b, err := os.ReadFile(file) //nolint:gosec // our own log
	if err != nil {
		return err.Error()
	}
	return string(end(b))
}

func end(b []byte) []byte {
	const most = 8000
	return b[max(0, len(b)-most):]
}
