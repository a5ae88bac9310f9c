package sqlstore

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary runs itself again as another process over the same database.
const (
	childVariable     = "SQLSTORE_TEST_CHILD"
	childURLVariable  = "SQLSTORE_TEST_URL"
	childFromVariable = "SQLSTORE_TEST_FROM"
)

func childCommand(t testing.TB, act, url string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^$")
	cmd.Env = append(os.Environ(), childVariable+"="+act, childURLVariable+"="+url)
	return cmd
}

func child(act, url string) {
	if err := childAct(act, url); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func childAct(act, url string) error {
	s, err := storeOf(url)
	if err != nil {
		return err
	}
	switch act {
	case "migrate":
		fmt.Println("ready")
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil { // all at once
			return err
		}
		return s.Migrate(context.Background())
	case "locked":
		return locked(strings.TrimPrefix(url, "sqlite:"))
	case "write":
		from, err := strconv.ParseUint(os.Getenv(childFromVariable), 10, 64)
		if err != nil {
			return err
		}
		return writeOn(s, from, os.Stdout)
	}
	return fmt.Errorf("no such act: %s", act)
}

// locked says whether another process holds the lock that keeps this one from
// having the file for its own, as who closes it last has.
func locked(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	const sharedFirst, sharedSize = 0x40000002, 510 // of the format of SQLite's files
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: sharedFirst, Len: sharedSize}
	err = syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock)
	fmt.Print(lock.Type != syscall.F_UNLCK)
	return err
}

func counted(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

const countKey = "count"

// writeOn counts in the database and says how far the acknowledged writes are.
func writeOn(s *Store, from uint64, w io.Writer) error {
	ctx, until := context.Background(), time.Now().Add(time.Hour)
	for n := from; ; n++ {
		ok, err := s.Swap(ctx, countKey, counted(n), counted(n+1), until)
		if err != nil || !ok {
			return fmt.Errorf("swap of %d: %v, %w", n, ok, err)
		}
		if _, err := fmt.Fprintln(w, n+1); err != nil {
			return err
		}
	}
}
