package server

import (
	"fmt"
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
	b := &backend{config: new(config), database: openParts(t)}
	one, other := b.state("000"), b.state("001")
	for _, s := range []store.State{one, other} {
		if created, err := s.Create(t.Context(), "key", fmt.Append(nil, s == one), time.Now().Add(time.Hour)); err != nil || !created {
			t.Fatalf("%v, %v", created, err)
		}
	}
	if deleted, err := one.Delete(t.Context(), "key"); err != nil || !deleted {
		t.Fatalf("%v, %v", deleted, err)
	}
	vals, err := other.(store.MultiGetter).GetMany(t.Context(), []string{"gone", "key"})
	if err != nil || len(vals) != 2 || vals[0] != nil || string(vals[1]) != "false" {
		t.Errorf("%q, %v", vals, err)
	}
	if _, ok, err := one.Get(t.Context(), "key"); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}
