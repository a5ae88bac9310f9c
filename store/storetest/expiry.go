package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// afterwards is how long an entry that nobody extends may outlive its expiry,
// while others are created.
const afterwards = 15 * time.Second

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
	watched := entries(soon)
	keys := make([]string, len(watched))
	for i, e := range watched {
		keys[i] = draw(e.name)
		for _, step := range e.steps {
			step.do(t, s, keys[i], e.name)
		}
	}
	gone := make([]bool, len(watched))
	for round := 0; ; round++ {
		stir(t, s, 16)
		left := ""
		for i, e := range watched {
			if !gone[i] {
				gone[i] = look(t, s, keys[i], e)
			}
			if !gone[i] && !e.until.After(soon) {
				left = e.name
			}
		}
		if left == "" || t.Failed() {
			break
		}
		if time.Now().After(soon.Add(afterwards)) {
			t.Errorf("%s: still there %v after its expiry, though entries were created meanwhile", left, afterwards)
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	// By now a store has looked at the others too.
	for end := time.Now().Add(time.Second); time.Now().Before(end) && !t.Failed(); {
		stir(t, s, 50)
	}
	for i, e := range watched {
		look(t, s, keys[i], e)
		if _, err := s.Delete(t.Context(), keys[i]); err != nil {
			t.Errorf("%s: Delete: %v", e.name, err)
		}
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

func (st step) do(t *testing.T, s store.State, key, name string) {
	t.Helper()
	ctx, old, val := t.Context(), []byte(st.old), []byte(st.val)
	want := true
	op := st.op
	if len(op) > 3 && op[:3] == "no " {
		op, want = op[3:], false
	}
	verify := check(t, want, fmt.Sprintf("%s: %s", name, op))
	switch op {
	case "create":
		verify(s.Create(ctx, key, val, st.expires))
	case "swap":
		verify(s.Swap(ctx, key, old, val, st.expires))
	default:
		verify(s.Delete(ctx, key))
	}
}

// look reports whether the entry is gone, which it is not before its expiry.
func look(t *testing.T, s store.State, key string, e entry) (gone bool) {
	t.Helper()
	got, ok, err := s.Get(t.Context(), key)
	now := time.Now() // after the answer, since the entry may have expired meanwhile
	switch {
	case err != nil:
		t.Errorf("%s: Get: %v", e.name, err)
	case ok && string(got) != e.want:
		t.Errorf("%s: holds %q, want %q", e.name, got, e.want)
	case !ok && now.Before(e.until):
		t.Errorf("%s: gone %v before its expiry", e.name, e.until.Sub(now))
	}
	return !ok
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
