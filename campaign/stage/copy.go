package stage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/testservers"
)

const (
	startPatience = 20 * time.Second
	drainPatience = 40 * time.Second // the server allows itself 30 s
)

// A Copy is one of the servers, a process of its own, on an address of its own
// that it keeps.
type Copy struct {
	command []string // the program, and what tells it to be a copy
	env     []string
	args    []string
	addr    string
	log     *tail

	mu     sync.Mutex
	cmd    *exec.Cmd
	clock  io.WriteCloser // its standard input: the offset of its clock, a line each
	exited chan struct{}
	offset time.Duration
}

// URL is where the copy listens.
func (c *Copy) URL() string { return "http://" + c.addr }

// Start starts the copy and returns when it listens. One that ends before it does,
// for want of a server that is down, is started again.
func (c *Copy) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		err := c.start(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func (c *Copy) start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	cmd := exec.Command(c.command[0], append(c.command[1:], c.args...)...) //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // the terminal's signals are for us
	cmd.Stderr = c.log
	clock, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	unguard, err := testservers.Guard(cmd.Process.Pid)
	if err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	listens, exited := make(chan struct{}), make(chan struct{})
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "listening on ") {
				close(listens)
				break
			}
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		_ = unguard()
		close(exited)
	}()
	c.cmd, c.clock, c.exited = cmd, clock, exited
	if err := c.tellOffset(c.offset); err != nil {
		_ = cmd.Process.Kill()
		<-exited
		return err
	}
	select {
	case <-listens:
		return nil
	case <-exited:
		return fmt.Errorf("a copy ended before it listened: %s", c.log)
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		<-exited
		return fmt.Errorf("a copy does not listen: %w: %s", ctx.Err(), c.log)
	}
}

// Kill ends the copy at once and waits for it. It does nothing to one that has
// ended.
func (c *Copy) Kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return nil
	}
	err := c.cmd.Process.Kill()
	<-c.exited
	c.cmd = nil
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	return err
}

// Term asks the copy to end and returns its status when it has.
func (c *Copy) Term() (status int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	cmd := c.cmd
	select {
	case <-c.exited:
	case <-time.After(drainPatience):
		err = cmd.Process.Kill()
		<-c.exited
	}
	c.cmd = nil
	return cmd.ProcessState.ExitCode(), err
}

// Signal is for SIGSTOP and SIGCONT.
func (c *Copy) Signal(s syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cmd.Process.Signal(s)
}

// SetOffset puts the clock of the copy off, of one that does not run from its next
// start on.
func (c *Copy) SetOffset(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = d
	if c.cmd == nil {
		return nil
	}
	return c.tellOffset(d)
}

func (c *Copy) tellOffset(d time.Duration) error {
	_, err := fmt.Fprintln(c.clock, strconv.FormatInt(int64(d), 10))
	return err
}

// A tail keeps the last of what is written to it, and passes all on where there is
// somewhere to pass it to.
type tail struct {
	mu   sync.Mutex
	last []byte
	all  io.Writer // may be nil
}

const tailSize = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, p...)
	if over := len(t.last) - tailSize; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	if t.all != nil {
		return t.all.Write(p)
	}
	return len(p), nil
}

// String returns what there is.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}
