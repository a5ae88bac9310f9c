package store

import (
	"fmt"
	"math/rand/v2"
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
			if i := table.find(hash(n), c.ID); i >= 0 {
				table.clear(i)
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
			var got *Client
			if i := table.find(hash(n), id); i >= 0 {
				got = table.slots[i].client
			}
			if got != model[id] {
				t.Fatalf("step %d: %s is %v, want %v", step, id, got, model[id])
			}
		}
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

// TestMemorySharesLists: lists that are alike are kept once, and nobody notices.
func TestMemorySharesLists(t *testing.T) {
	first := &Client{ID: "a", Public: true, Grants: []string{"x"}, Scopes: []string{"read"}}
	second := &Client{ID: "b", Public: true, Grants: []string{"x"}, Scopes: []string{"write"}}
	m, err := NewMemory(first, second)
	if err != nil {
		t.Fatal(err)
	}
	first.Grants[0], second.Scopes[0] = "changed", "changed"
	a, _ := m.Client(t.Context(), "a")
	b, _ := m.Client(t.Context(), "b")
	if &a.Grants[0] != &b.Grants[0] {
		t.Error("the grants are kept twice")
	}
	if a.Grants[0] != "x" || a.Scopes[0] != "read" || b.Scopes[0] != "write" {
		t.Errorf("%v %v %v", a.Grants, a.Scopes, b.Scopes)
	}
}
