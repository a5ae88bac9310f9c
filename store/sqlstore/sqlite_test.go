package sqlstore

import (
	"os"
	"path/filepath"
	"slices"
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
			"query_only": map[string]string{"writes": "0", "reads": "1"}[name],
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
	for _, path := range []string{"", dir, filepath.Join(dir, "none", "db")} {
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
