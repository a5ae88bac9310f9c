package sqlstore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tokenbooth/tokenbooth/internal/testservers"
)

// A writer counts in one entry. Of its last write it may not know the outcome.
type writer struct {
	key   string
	acked uint64
}

func (w *writer) run(ctx context.Context, s *Store, acks *atomic.Int64) {
	for {
		next := w.acked + 1
		ok, err := s.Swap(ctx, w.key, counted(w.acked), counted(next), later)
		if err != nil || !ok {
			return
		}
		w.acked = next
		acks.Add(1)
	}
}

func (w *writer) check(t *testing.T, s *Store) {
	t.Helper()
	val, ok, err := s.Get(t.Context(), w.key)
	if err != nil || !ok || len(val) != 8 {
		t.Fatalf("%s: %x, %v, %v", w.key, val, ok, err)
	}
	if n := binary.BigEndian.Uint64(val); n != w.acked && n != w.acked+1 {
		t.Errorf("%s is %d, and %d was acknowledged", w.key, n, w.acked)
	} else {
		w.acked = n
	}
}

func TestS4_KilledServerKeepsWhatItAcknowledged(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *testservers.Server, s *Store) {
		writers := make([]writer, 8)
		for i := range writers {
			w := &writers[i]
			w.key = fmt.Sprint("count", i)
			if ok, err := s.Create(t.Context(), w.key, counted(0), later); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		for range 3 {
			killAmidst(t, srv, s, writers)
			for i := range writers {
				writers[i].check(t, s)
			}
		}
	})
}

// killAmidst kills the server once all its writers are well under way.
func killAmidst(t *testing.T, srv *testservers.Server, s *Store, writers []writer) {
	t.Helper()
	var acks atomic.Int64
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { writers[i].run(t.Context(), s, &acks) })
	}
	for acks.Load() < 200 && t.Context().Err() == nil {
		runtime.Gosched()
	}
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	recovers(t, s)
}

func TestS4_KilledProcessKeepsWhatItAcknowledged(t *testing.T) {
	url := freshSQLite(t)
	s := open(t, url)
	w := writer{key: countKey}
	if ok, err := s.Create(t.Context(), w.key, counted(0), later); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for range 3 {
		w.acked = killedChild(t, url, w.acked)
		w.check(t, s)
	}
}

// killedChild lets another process write on, kills it in the middle, and returns
// what it said last to be acknowledged.
func killedChild(t *testing.T, url string, from uint64) uint64 {
	t.Helper()
	cmd := childCommand(t, "write", url)
	cmd.Env = append(cmd.Env, childFromVariable+"="+strconv.FormatUint(from, 10))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked, lines := from, 0
	for r := bufio.NewReader(stdout); ; lines++ {
		line, err := r.ReadString('\n')
		if err != nil { // what is cut off was not said
			break
		}
		if acked, err = strconv.ParseUint(strings.TrimSpace(line), 10, 64); err != nil {
			t.Fatal(err)
		}
		if lines == 50 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if lines < 50 {
		t.Fatalf("it ended by itself after %d lines: %s", lines, &stderr)
	}
	return acked
}
