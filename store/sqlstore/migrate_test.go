package sqlstore

import (
	"bufio"
	"bytes"
	"io"
	"io/fs"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

func TestS3_FourProcessesMigrateAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		for range 3 {
			url := e.fresh(t)
			migrateInProcesses(t, url, 4)
			s := unmigrated(t, url)
			if err := s.Migrate(t.Context()); err != nil {
				t.Errorf("once more: %v", err)
			}
			if _, err := s.Create(t.Context(), "k", []byte("v"), later); err != nil {
				t.Error(err)
			}
		}
	})
}

func migrateInProcesses(t *testing.T, url string, n int) {
	t.Helper()
	type process struct {
		*exec.Cmd
		stdin  io.Writer
		stderr bytes.Buffer
	}
	all := make([]process, n)
	for i := range all {
		p := &all[i]
		p.Cmd = childCommand(t, "migrate", url)
		p.Cmd.Stderr = &p.stderr
		stdin, err := p.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		p.stdin = stdin
		stdout, err := p.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
			t.Fatalf("%q, %v: %s", line, err, &p.stderr)
		}
	}
	for i := range all {
		if _, err := io.WriteString(all[i].stdin, "go\n"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range all {
		if err := all[i].Wait(); err != nil {
			t.Errorf("process %d: %v: %s", i, err, &all[i].stderr)
		}
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		if _, err := s.writes.Exec(`INSERT INTO tokenbooth_migrations (version) VALUES (9000)`); err != nil {
			t.Fatal(err)
		}
		err := s.Migrate(t.Context())
		if err == nil || !strings.Contains(err.Error(), "at version 9000") || !strings.Contains(err.Error(), "run a newer version") {
			t.Errorf("got %v", err)
		}
	})
}

// A program may run with no right to make tables, once they are there.
func TestMigrateOnlyReadsWhereNothingIsToDo(t *testing.T) {
	url := freshPostgres(t)
	open(t, url)
	if err := unmigrated(t, url+"&default_transaction_read_only=on").Migrate(t.Context()); err != nil {
		t.Errorf("postgres: %v", err)
	}
	url = freshMySQL(t)
	open(t, url)
	if err := unmigrated(t, url+"?"+readOnly(t)).Migrate(t.Context()); err != nil {
		t.Errorf("mysql: %v", err)
	}
}

// Whoever holds a snapshot from before it waited for the lock sees no table.
func TestMigrateUnderStrictIsolation(t *testing.T) {
	url := freshPostgres(t) + "&default_transaction_isolation=serializable"
	migrateInProcesses(t, url, 4)
}

// Also where another copy has made the tables.
func TestAutocommitOffIsRefused(t *testing.T) {
	url := freshMySQL(t)
	for range 2 {
		err := unmigrated(t, url+"?autocommit=0").Migrate(t.Context())
		if err == nil || !strings.Contains(err.Error(), "remove it from the DSN") {
			t.Errorf("got %v", err)
		}
		open(t, url)
	}
}

func TestSimpleProtocolIsRefused(t *testing.T) {
	url := freshPostgres(t)
	for mode, refused := range map[string]bool{
		"simple_protocol": true, "exec": false, "cache_describe": false, "describe_exec": false, "cache_statement": false,
	} {
		err := unmigrated(t, url+"&default_query_exec_mode="+mode).Migrate(t.Context())
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "default_query_exec_mode=exec") {
			t.Errorf("%s: got %v", mode, err)
		}
	}
}

func TestDifferentCharacterSetsAreRefused(t *testing.T) {
	url := freshMySQL(t)
	for dsn, want := range map[string]string{
		"character_set_client=latin1":                            "character_set_client is latin1 and character_set_connection is utf8mb4",
		"charset=utf8mb4&collation_connection=latin1_swedish_ci": "character_set_client is utf8mb4 and character_set_connection is latin1",
		"": "", "charset=utf8mb4": "", "charset=latin1": "", "collation=utf8mb4_bin": "",
	} {
		err := unmigrated(t, url+"?"+dsn).Migrate(t.Context())
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", dsn, err)
			}
			continue
		}
		checkUnexpected(t, err)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "from the DSN") {
			t.Errorf("%s: got %v; want %s", dsn, err, want)
		}
	}
}

// The files are for other tools as well, which note nothing by themselves.
func TestMigrationFiles(t *testing.T) {
	var first []string
	for _, engine := range []string{"postgres", "mysql", "sqlite"} {
		all, err := migrations(engine)
		if err != nil || len(all) == 0 {
			t.Fatalf("%s: %v, %v", engine, all, err)
		}
		var names []string
		for i, m := range all {
			if m.version != i+1 {
				t.Errorf("%s is version %d, want %d", m.file, m.version, i+1)
			}
			names = append(names, m.file[strings.LastIndexByte(m.file, '/')+1:])
			text, err := fs.ReadFile(Migrations, m.file)
			if err != nil {
				t.Fatal(err)
			}
			note := regexp.MustCompile(`(?s);\n\nINSERT (IGNORE )?INTO tokenbooth_migrations \(version\) VALUES \(\d+\);\n$`)
			if !note.Match(text) {
				t.Errorf("%s does not note its version at its end", m.file)
			}
		}
		if first == nil {
			first = names
		}
		if strings.Join(names, " ") != strings.Join(first, " ") {
			t.Errorf("%s has %v, want %v", engine, names, first)
		}
	}
}

func TestWithoutTablesIsUnexpected(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := unmigrated(t, e.fresh(t))
		_, _, err := s.Get(t.Context(), "k")
		checkUnexpected(t, err)
		_, err = s.Create(t.Context(), "k", nil, later)
		checkUnexpected(t, err)
		_, err = s.Client(t.Context(), "k")
		checkUnexpected(t, err)
	})
}
