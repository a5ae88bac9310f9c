package testservers

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// A guard is a small shell that ends the processes it watches when we are gone
// without a word. (The kernel can do that for a child on Linux alone, where it
// looks at the thread that started it, and does not reach children that stand
// still.)
type guard struct {
	shell *exec.Cmd
	pipe  io.WriteCloser
}

const guardScript = `while read -r next; do pids=$next; done; [ -z "$pids" ] || kill -9 $pids`

func newGuard() (*guard, error) {
	g := &guard{shell: exec.Command("/bin/sh", "-c", guardScript)}
	g.shell.SysProcAttr = apart()
	pipe, err := g.shell.StdinPipe()
	if err != nil {
		return nil, err
	}
	g.pipe = pipe
	return g, g.shell.Start()
}

// watch names the processes to end, in place of those before.
func (g *guard) watch(pids ...int) error {
	words := make([]string, len(pids))
	for i, pid := range pids {
		words[i] = strconv.Itoa(pid)
	}
	_, err := fmt.Fprintln(g.pipe, strings.Join(words, " "))
	return err
}

// end ends the guard, which has nothing to watch any more.
func (g *guard) end() error {
	_ = g.watch()
	_ = g.pipe.Close()
	return g.shell.Wait()
}

// Guard ends a process that the caller has started, even one that stands still, when
// we are gone without a word. end is to be called when the process has ended.
func Guard(pid int) (end func() error, err error) {
	g, err := newGuard()
	if err != nil {
		return nil, err
	}
	if err := g.watch(pid); err != nil {
		return nil, errors.Join(err, g.end())
	}
	return g.end, nil
}
