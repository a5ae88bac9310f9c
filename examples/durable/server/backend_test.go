package server

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
	"github.com/tokenbooth/tokenbooth/store/sqlstore"
	"github.com/tokenbooth/tokenbooth/store/storetest"
)

func openParts(t *testing.T) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.OpenSQLite(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPartIsAState(t *testing.T) {
	storetest.TestState(t, func(t *testing.T) store.State { return part{"000:", openParts(t)} })
}

func TestPartsAreApart(t *testing.T) {
	all := openParts(t)
	one, other := part{"000:", all}, part{"001:", all}
	for _, p := range []part{one, other} {
		if created, err := p.Create(t.Context(), "key", []byte(p.prefix), time.Now().Add(time.Hour)); err != nil || !created {
			t.Fatalf("%s %v, %v", p.prefix, created, err)
		}
	}
	if deleted, err := one.Delete(t.Context(), "key"); err != nil || !deleted {
		t.Fatalf("%v, %v", deleted, err)
	}
	vals, err := other.GetMany(t.Context(), []string{"gone", "key"})
	if err != nil || len(vals) != 2 || vals[0] != nil || string(vals[1]) != other.prefix {
		t.Errorf("%q, %v", vals, err)
	}
	if _, ok, err := one.Get(t.Context(), "key"); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}
