package authz

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

func TestG5_SwapFindsOut(t *testing.T) {
	for name, c := range map[string]struct {
		s    lossy
		done bool
	}{
		"done, reply lost":          {lossy{does: true}, true},
		"not done":                  {lossy{}, false},
		"done, and nothing to read": {lossy{does: true, silent: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.s.Memory = new(store.Memory)
			r, f, _ := issued()
			if err := Create(t.Context(), c.s.Memory, f, r); err != nil {
				t.Fatal(err)
			}
			_, raw, err := Load(t.Context(), c.s.Memory, f)
			if err != nil {
				t.Fatal(err)
			}
			done, err := Swap(t.Context(), &c.s, f, raw, r.revoked())
			if done != c.done || errors.Is(err, errLost) == c.done {
				t.Errorf("%v, %v", done, err)
			}
		})
	}
}

func TestSwapOfAnother(t *testing.T) {
	m := new(store.Memory)
	r, f, _ := issued()
	if err := Create(t.Context(), m, f, r); err != nil {
		t.Fatal(err)
	}
	_, raw, _ := Load(t.Context(), m, f)
	if done, err := Swap(t.Context(), m, f, raw, r.revoked()); !done || err != nil {
		t.Fatal(done, err)
	}
	if done, err := Swap(t.Context(), m, f, raw, r); done || err != nil {
		t.Errorf("the loser hears %v, %v", done, err)
	}
	lost := &lossy{Memory: m, does: true}
	if done, err := Swap(t.Context(), lost, f, raw, r); done || err == nil {
		t.Errorf("a loser without an answer hears %v, %v", done, err)
	}
}

func TestCreateFindsOut(t *testing.T) {
	r, f, _ := issued()
	s := &lossy{Memory: new(store.Memory), does: true}
	if err := Create(t.Context(), s, f, r); err != nil {
		t.Errorf("done, reply lost: %v", err)
	}
	if err := Create(t.Context(), s.Memory, f, r); err == nil {
		t.Error("a family drawn twice is taken")
	}
	if err := Create(t.Context(), &lossy{Memory: new(store.Memory)}, f, r); !errors.Is(err, errLost) {
		t.Errorf("not done: %v", err)
	}
}

func TestLoadDamaged(t *testing.T) {
	m, f := new(store.Memory), NewFamily()
	if _, err := m.Create(t.Context(), Key(f), []byte("x"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(t.Context(), m, f); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	if err := Revoke(t.Context(), m, f); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

func TestRevoke(t *testing.T) {
	m := new(store.Memory)
	r, f, _ := issued()
	if err := Revoke(t.Context(), m, f); err != nil {
		t.Errorf("of what there is not: %v", err)
	}
	if err := Create(t.Context(), m, f, r); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Revoke(t.Context(), m, f); err != nil {
			t.Fatal(err)
		}
	}
	if rec, _, err := Load(t.Context(), m, f); err != nil || rec.Phase != Revoked {
		t.Errorf("%+v, %v", rec, err)
	}
	again := NewFamily()
	if err := Create(t.Context(), m, again, r); err != nil {
		t.Fatal(err)
	}
	s := &lossy{Memory: m, does: true}
	if err := Revoke(t.Context(), s, again); err != nil || s.writes != 1 {
		t.Errorf("reply lost: %v after %d writes", err, s.writes)
	}
}

func TestEpochs(t *testing.T) {
	m, key := new(store.Memory), SubjectEpochKey("user-7")
	now := time.Now()
	read := func() int64 {
		t.Helper()
		e, _, err := Epochs(t.Context(), m, "user-7", "none")
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if read() != 0 {
		t.Error("an epoch before any")
	}
	last := int64(0)
	for _, at := range []time.Time{now, now, now.Add(time.Hour), now.Add(-time.Hour)} {
		if err := RaiseEpoch(t.Context(), m, key, at, EpochLife(Lifetimes{})); err != nil {
			t.Fatal(err)
		}
		if e := read(); e <= last || e < at.UnixMilli() {
			t.Errorf("%d after %d at %d", e, last, at.UnixMilli())
		}
		last = read()
	}
	if err := RaiseEpoch(t.Context(), &lossy{Memory: m, does: true}, key, now, EpochLife(Lifetimes{})); err != nil || read() <= last {
		t.Errorf("reply lost: %v", err)
	}
	if err := RaiseEpoch(t.Context(), &lossy{Memory: m}, key, now, EpochLife(Lifetimes{})); !errors.Is(err, errLost) {
		t.Errorf("not done: %v", err)
	}
	first := ClientEpochKey("user-7")
	if err := RaiseEpoch(t.Context(), &lossy{Memory: m, does: true}, first, now, EpochLife(Lifetimes{})); err != nil {
		t.Errorf("the first, reply lost: %v", err)
	}
	if first == key {
		t.Error("a client and a subject of one name share an epoch")
	}
	long := strings.Repeat("n", 256)
	hash, _ := strings.CutPrefix(SubjectEpochKey(long), "epoch:sub:")
	if len(hash) != 32 || SubjectEpochKey(hash) == SubjectEpochKey(long) || SubjectEpochKey(long[1:]) == SubjectEpochKey(long) {
		t.Errorf("a long name is at %q", SubjectEpochKey(long))
	}
	if _, err := DecodeEpoch(make([]byte, 23)); !errors.Is(err, ErrDamaged) {
		t.Error("a damaged epoch is taken")
	}
}
