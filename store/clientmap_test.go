package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// TestClientMapIsAMap holds the table against a Go map over many puts and removes,
// with so few hashes that clients collide, in the shard and in the slot.
func TestClientMapIsAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var table clientTable
	model := map[string]*Client{}
	hash := func(n int) uint64 { return uint64(n%37) << 8 }
	for step := range 50_000 {
		n := r.IntN(200)
		c := &Client{ID: fmt.Sprint("client", n), Number: int64(step)}
		if r.IntN(2+step/10_000%3) == 0 {
			if got := table.remove(hash(n), c.ID); got != (model[c.ID] != nil) {
				t.Fatalf("step %d: removed %v", step, got)
			}
			delete(model, c.ID)
		} else {
			table.put(hash(n), c)
			model[c.ID] = c
		}
		if table.count != len(model) {
			t.Fatalf("step %d: %d clients, want %d", step, table.count, len(model))
		}
		if step%100 != 0 {
			continue
		}
		for n := range 200 {
			id := fmt.Sprint("client", n)
			if _, got := table.find(hash(n), id); got != model[id] {
				t.Fatalf("step %d: %s is %v, want %v", step, id, got, model[id])
			}
		}
	}
}

// TestClientMapReadersMissNobody: a client that stays is found at every moment,
// whatever comes and goes beside it and however often it is replaced.
func TestClientMapReadersMissNobody(t *testing.T) {
	var table clientTable
	hash := func(id string) uint64 { return uint64(len(id)%3) << 8 } // all in each other's way
	stays := []string{"a", "bb", "ccc", "dddd"}
	for _, id := range stays {
		table.put(hash(id), &Client{ID: id})
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			last := map[string]int64{}
			for {
				for _, id := range stays {
					_, c := table.find(hash(id), id)
					if c == nil || c.ID != id || c.Number < last[id] {
						t.Errorf("%s is %v after number %d", id, c, last[id])
						return
					}
					last[id] = c.Number
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for n := range int64(20_000) {
		id := strings.Repeat("x", 5+int(n%40))
		if n%3 == 0 {
			table.remove(hash(id), id)
		} else {
			table.put(hash(id), &Client{ID: id})
		}
		id = stays[n%4]
		table.put(hash(id), &Client{ID: id, Number: n})
	}
	close(done)
	readers.Wait()
}

// TestClientMapForgetsTheRemoved: places of clients that are gone do not pile up.
func TestClientMapForgetsTheRemoved(t *testing.T) {
	var table clientTable
	for n := range 10_000 {
		id := fmt.Sprint(n)
		table.put(uint64(n)<<8, &Client{ID: id})
		if !table.remove(uint64(n)<<8, id) || table.remove(uint64(n)<<8, id) {
			t.Fatal(n)
		}
	}
	if n := len(*table.slots.Load()); n > 8 {
		t.Errorf("%d slots for one client at a time", n)
	}
}

func TestMemoryClientsComeAndGo(t *testing.T) {
	m := new(Memory)
	ids := func(n int) string { return fmt.Sprint("client-", n) }
	for n := range 5000 {
		if err := m.Put(&Client{ID: ids(n), Number: int64(n), Public: true}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 5000 {
		if n%3 == 0 && !m.Remove(ids(n)) {
			t.Fatalf("%d was not there", n)
		}
	}
	for n := range 5000 {
		c, err := m.Client(t.Context(), ids(n))
		if gone := n%3 == 0; gone != (err != nil) || !gone && c.Number != int64(n) {
			t.Fatalf("%d: %v, %v", n, c, err)
		}
	}
	if m.Remove(ids(0)) {
		t.Error("removed twice")
	}
}

// TestMemorySharesLists: lists and rates that are alike are kept once, also of a client
// whose secret was upgraded, and nobody notices.
func TestMemorySharesLists(t *testing.T) {
	first := &Client{ID: "a", Public: true, Grants: []string{"x"}, Scopes: []string{"read"}, Rate: &Rate{1, 2}}
	second := &Client{ID: "b", Public: true, Grants: []string{"x"}, Scopes: []string{"write"}, Rate: &Rate{1, 2}}
	m, err := NewMemory(first, second)
	if err != nil {
		t.Fatal(err)
	}
	first.Grants[0], second.Scopes[0], first.Rate.Burst = "changed", "changed", 9
	if err := m.UpgradeSecret(t.Context(), "b", Secret{}, HashSecret("x")); err != nil {
		t.Fatal(err)
	}
	a, _ := m.Client(t.Context(), "a")
	b, _ := m.Client(t.Context(), "b")
	if &a.Grants[0] != &b.Grants[0] {
		t.Error("the grants are kept twice")
	}
	if a.Rate != b.Rate || *a.Rate != (Rate{1, 2}) {
		t.Errorf("the rates are %+v at %p and %+v at %p", *a.Rate, a.Rate, *b.Rate, b.Rate)
	}
	if a.Grants[0] != "x" || a.Scopes[0] != "read" || b.Scopes[0] != "write" {
		t.Errorf("%v %v %v", a.Grants, a.Scopes, b.Scopes)
	}
}
