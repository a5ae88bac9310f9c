package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// afterwards is how long an entry that nobody extends may outlive its expiry,
// while others are created.
var afterwards = 15 * time.Second

// An entry of testExpiry is made in steps, each of which has to report true
// unless its name begins with "no ".
type entry struct {
	name  string
	steps []step
	want  string // the value, until its expiry
	until time.Time
}

type step struct {
	op, old, val string
	expires      time.Time
}

// testExpiry watches entries whose expiry is soon and others that only a wrong
// store takes for such. Nothing goes early, and what may go goes.
func testExpiry(t *testing.T, s store.State) {
	// Not at the beginning of a second: who cuts expiries to seconds loses much.
	soon := time.Now().Add(2 * time.Second).Truncate(time.Second).Add(900 * time.Millisecond)
	var watched []*watch
	for _, e := range entries(soon) {
		w := &watch{entry: e, key: draw(e.name)}
		w.make(t, s)
		watched = append(watched, w)
	}
	for left := "all"; left != "" && !t.Failed(); {
		stir(t, s, 16)
		left = ""
		for _, w := range watched {
			if !w.look(t, s) && !w.until.After(soon) {
				left = w.name
			}
		}
		if left != "" && time.Now().After(soon.Add(afterwards)) {
			t.Errorf("%s: still there %v after its expiry, though entries were created meanwhile", left, afterwards)
		}
		time.Sleep(5 * time.Millisecond)
	}
	// By now a store has looked at the others too.
	for end := time.Now().Add(time.Second); time.Now().Before(end) && !t.Failed(); {
		stir(t, s, 50)
	}
	for _, w := range watched {
		w.look(t, s)
		if _, err := s.Delete(t.Context(), w.key); err != nil {
			t.Errorf("%s: Delete: %v", w.name, err)
		}
	}
}

// A watch is an entry in the store.
type watch struct {
	entry
	key  string
	gone bool
}

// make takes the steps.
func (w *watch) make(t *testing.T, s store.State) {
	t.Helper()
	for _, step := range w.steps {
		op, refused := strings.CutPrefix(step.op, "no ")
		verify := check(t, !refused, w.name+": "+step.op)
		switch op {
		case "create":
			verify(s.Create(t.Context(), w.key, []byte(step.val), step.expires))
		case "swap":
			verify(s.Swap(t.Context(), w.key, []byte(step.old), []byte(step.val), step.expires))
		default:
			verify(s.Delete(t.Context(), w.key))
		}
	}
}

// look reports whether the entry is gone, which it is not before its expiry, and
// once it is stays so.
func (w *watch) look(t *testing.T, s store.State) (gone bool) {
	t.Helper()
	got, ok, err := s.Get(t.Context(), w.key)
	now := time.Now() // after the answer, since the entry may have expired meanwhile
	switch {
	case err != nil:
		t.Errorf("%s: Get: %v", w.name, err)
	case ok && w.gone:
		t.Errorf("%s: was gone and is back", w.name)
	case ok && string(got) != w.want:
		t.Errorf("%s: holds %q, want %q", w.name, got, w.want)
	case !ok && now.Before(w.until):
		t.Errorf("%s: gone %v before its expiry", w.name, w.until.Sub(now))
	}
	w.gone = !ok
	return w.gone
}

// stir creates other entries, since stores collect in passing.
func stir(t *testing.T, s store.State, n int) {
	t.Helper()
	for range n {
		key := draw("stir")
		check(t, true, "Create")(s.Create(t.Context(), key, []byte("x"), later()))
		check(t, true, "Delete")(s.Delete(t.Context(), key))
	}
}

func entries(soon time.Time) []entry {
	far := soon.Add(10 * time.Minute)
	return []entry{
		{"created", []step{{"create", "", "a", soon}}, "a", soon},
		{"created for long", []step{{"create", "", "a", far}}, "a", far},
		{"swapped for longer", []step{{"create", "", "a", soon}, {"swap", "a", "b", far}}, "b", far},
		{"swapped for shorter", []step{{"create", "", "a", far}, {"swap", "a", "b", soon}}, "b", soon},
		{"the same created again for longer", []step{{"create", "", "a", soon}, {"create", "", "a", far}}, "a", far},
		{"the same created again for shorter", []step{{"create", "", "a", far}, {"create", "", "a", soon}}, "a", far},
		{"the same swapped in again for longer", []step{{"create", "", "a", soon}, {"swap", "x", "a", far}}, "a", far},
		{"the same swapped in again for shorter", []step{{"create", "", "a", far}, {"swap", "x", "a", soon}}, "a", far},
		{"swapped by itself for shorter", []step{{"create", "", "a", far}, {"swap", "a", "a", soon}}, "a", far},
		{"another not created for longer", []step{{"create", "", "a", soon}, {"no create", "", "b", far}}, "a", soon},
		{"another not created for shorter", []step{{"create", "", "a", far}, {"no create", "", "b", soon}}, "a", far},
		{"another not swapped for longer", []step{{"create", "", "a", soon}, {"no swap", "x", "b", far}}, "a", soon},
		{"another not swapped for shorter", []step{{"create", "", "a", far}, {"no swap", "x", "b", soon}}, "a", far},
		{"deleted and created for longer", []step{{"create", "", "a", soon}, {"delete", "", "", far}, {"create", "", "b", far}}, "b", far},
		{"created with the zero time", []step{{"create", "", "a", time.Time{}}}, "a", time.Time{}},
		{"created to expire in 1970", []step{{"create", "", "a", time.Unix(0, 0)}}, "a", time.Unix(0, 0)},
		{"swapped with the zero time", []step{{"create", "", "a", far}, {"swap", "a", "b", time.Time{}}}, "b", time.Time{}},
		{"created for a hundred years", []step{{"create", "", "a", soon.AddDate(100, 0, 0)}}, "a", far},
		{"created until the year 9999", []step{{"create", "", "a", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}}, "a", far},
	}
}
