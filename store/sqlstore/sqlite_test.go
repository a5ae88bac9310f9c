package sqlstore

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestSQLiteFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a?b#c%20d&mode=memory.db")
	open(t, "sqlite:"+path)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
		if info, err := f.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
	base := filepath.Base(path)
	if want := []string{base, base + "-shm", base + "-wal"}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
}

// What the owner allows others stays allowed.
func TestSQLiteKeepsTheMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	open(t, "sqlite:"+path)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestSQLiteSettings(t *testing.T) {
	s := sqliteEngine.open(t)
	for name, p := range map[string]*pool{"writes": s.writes, "reads": s.reads} {
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "busy_timeout": "20", // 2: FULL
			"journal_size_limit": "67108864",
			"query_only":         map[string]string{"writes": "0", "reads": "1"}[name],
		} {
			var got string
			if err := p.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %s is %s, want %s; %v", name, pragma, got, want, err)
			}
		}
	}
	if n := s.writes.Stats().MaxOpenConnections; n != 1 {
		t.Errorf("%d writers", n)
	}
}

func TestSQLiteNotOpened(t *testing.T) {
	dir := t.TempDir()
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink(filepath.Join(dir, "nothing"), dangling); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", dir, filepath.Join(dir, "none", "db"), dangling} {
		if s, err := OpenSQLite(path); err == nil {
			t.Errorf("%q: opened", path)
			_ = s.Close()
		}
	}
	path := filepath.Join(dir, "text")
	if err := os.WriteFile(path, []byte("this has never been a database, though it is as long as the header of one, which has a hundred bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	checkUnexpected(t, unmigrated(t, "sqlite:"+path).Migrate(t.Context()))
}

// Whoever closes a file gives up the locks of its process on it, and then another
// takes the file for its own, with the WAL that is in use.
func TestS1_SQLiteOpenedTwiceKeepsItsLocks(t *testing.T) {
	url := freshSQLite(t)
	if err := calls["Create"](t.Context(), open(t, url)); err != nil {
		t.Fatal(err)
	}
	second, err := storeOf(url)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one is open, and then closed
		cmd := childCommand(t, "locked", url)
		cmd.Stderr = t.Output()
		if got, err := cmd.Output(); string(got) != "true" || err != nil {
			t.Errorf("another process finds the file locked: %s, %v", got, err)
		}
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Where somebody always reads the WAL never gets to its beginning by itself.
func TestSQLiteKeepsTheWALShort(t *testing.T) {
	url := freshSQLite(t)
	s := open(t, url)
	tx, err := s.reads.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.QueryRow(`SELECT count(*) FROM tokenbooth_state`).Scan(new(int)); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 10_000, later)
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(strings.TrimPrefix(url, "sqlite:") + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	const most = 64 << 10
	if n := size(); n <= most {
		t.Fatalf("the test wrote only %d bytes", n)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	s.purges = passingTidy - 1
	creates(t, s, passingEach)
	if n := size(); n > most {
		t.Errorf("the WAL has %d bytes", n)
	}
	if n := count(t, s); n != 10_001 {
		t.Errorf("%d entries", n)
	}
}

func TestSQLiteMadeByManyAtOnce(t *testing.T) {
	url := freshSQLite(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s, err := storeOf(url)
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := s.Create(t.Context(), fmt.Sprint(i), []byte("v"), later); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := count(t, open(t, url)); n != 8 {
		t.Errorf("%d entries, want 8", n)
	}
}

// A bound on the file stands for a disk that has no room.
func TestS2_FullFile(t *testing.T) {
	s := sqliteEngine.open(t)
	bound := func(pages int) {
		t.Helper()
		if _, err := s.writes.Exec(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Create(t.Context(), "k", []byte("v"), later); err != nil {
		t.Fatal(err)
	}
	bound(1) // SQLite makes it as many as there are
	const most = 100
	val := bytes.Repeat([]byte("v"), 1000)
	made, full := 0, error(nil)
	for ; made < most && full == nil; made++ {
		_, full = s.Create(t.Context(), fmt.Sprint(made), val, later)
	}
	made-- // the last one failed
	checkUnavailable(t, full)
	ok, err := s.Swap(t.Context(), "k", []byte("v"), bytes.Repeat(val, 10), later)
	checkUnavailable(t, err)
	if ok {
		t.Error("swapped")
	}
	if got, _, err := s.Get(t.Context(), "k"); string(got) != "v" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for i := range most {
		if _, ok, err := s.Get(t.Context(), fmt.Sprint(i)); ok != (i < made) || err != nil {
			t.Errorf("of %d, the one of number %d: %v, %v", made, i, ok, err)
		}
	}
	bound(1 << 20)
	for _, call := range writing {
		if err := calls[call](t.Context(), s); err != nil {
			t.Errorf("%s, with room again: %v", call, err)
		}
	}
	if _, err := s.Create(t.Context(), fmt.Sprint(made), val, later); err != nil {
		t.Error(err)
	}
}

func TestSQLiteThroughALink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	open(t, "sqlite:"+path)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := calls["Create"](t.Context(), unmigrated(t, "sqlite:"+link)); err != nil {
		t.Error(err)
	}
}
