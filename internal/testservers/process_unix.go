//go:build unix

package testservers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	sigPause  = syscall.SIGSTOP
	sigResume = syscall.SIGCONT
)

// apart keeps the signals of our terminal from a process.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func (a *account) attributes() *syscall.SysProcAttr {
	attr := apart()
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// send signals those processes that are still there.
func send(sig syscall.Signal, pids ...int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, sig)
	}
}

// descendants returns the children of a process and theirs. Groups of processes
// would not do: each child of PostgreSQL makes its own.
func descendants(pid int) ([]int, error) {
	all, err := processes()
	children := make(map[int][]int)
	for _, p := range all {
		children[p.parent] = append(children[p.parent], p.pid)
	}
	var found []int
	for next := children[pid]; len(next) > 0; next = next[1:] {
		found = append(found, next[0])
		next = append(next, children[next[0]]...)
	}
	return found, err
}

// alive returns those that have not ended.
func alive(pids []int) ([]int, error) {
	if len(pids) == 0 {
		return nil, nil
	}
	all, err := processes()
	var left []int
	for _, pid := range pids {
		if p, ok := all[pid]; ok && !p.zombie {
			left = append(left, pid)
		}
	}
	return left, err
}

type process struct {
	pid, parent int
	zombie      bool
}

// processes asks the kernel on Linux, where ps may not be installed.
func processes() (map[int]process, error) {
	if files, _ := filepath.Glob("/proc/[0-9]*/stat"); len(files) > 0 {
		return fromProc(files), nil
	}
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,stat=").Output()
	if err != nil {
		return nil, err
	}
	all := make(map[int]process)
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 3 {
			add(all, f[0], f[1], f[2])
		}
	}
	return all, nil
}

func fromProc(files []string) map[int]process {
	all := make(map[int]process)
	for _, file := range files {
		b, _ := os.ReadFile(file) //nolint:gosec // one that is gone by now has no line
		// The second field is a name in parentheses, which may hold anything.
		before, _, _ := strings.Cut(string(b), " ")
		if f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])); len(f) > 2 {
			add(all, before, f[1], f[0])
		}
	}
	return all
}

func add(all map[int]process, pid, parent, state string) {
	p, err := strconv.Atoi(pid)
	up, err2 := strconv.Atoi(parent)
	if err == nil && err2 == nil {
		all[p] = process{p, up, strings.HasPrefix(state, "Z")}
	}
}
