package store

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func TestNewMemory(t *testing.T) {
	a, _ := NewClient("a")
	b, _ := NewClient("b")
	m, err := NewMemory(a, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		if c, err := m.Client(t.Context(), id); err != nil || c.ID != id {
			t.Errorf("%s: %v, %v", id, c, err)
		}
	}
	for _, id := range []string{"", "A", "a ", "a\x00", "\xff"} {
		if c, err := m.Client(t.Context(), id); c != nil || !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v, %v; want ErrNotFound", id, c, err)
		}
	}
}

func TestNewMemoryReportsAllMistakes(t *testing.T) {
	good, _ := NewClient("good")
	again, _ := NewClient("good")
	bad, _ := NewClient("bad", "a b", "ok", "c\"d")
	bad.Secrets[0].Hash = "canary"
	m, err := NewMemory(good, bad, nil, again, &Client{Public: true})
	if m != nil || err == nil {
		t.Fatalf("%v, %v", m, err)
	}
	for _, want := range []string{
		`clients[1].Scopes[0]: "a b": `, `clients[1].Scopes[2]: "c\"d": `, "clients[1].Secrets[0].Hash: REDACTED: ",
		"clients[2].Client: nil: ", `clients[3].ID: "good": is the id of clients[0] already`, `clients[4].ID: "": `,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %s", want)
		}
	}
	if t.Failed() || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}

func TestMemoryPutAndRemove(t *testing.T) {
	var m Memory
	if m.Remove("a") {
		t.Error("removed what is not there")
	}
	c, _ := NewClient("a", "one")
	for _, scope := range []string{"one", "two"} {
		c.Scopes = []string{scope}
		if err := m.Put(c); err != nil {
			t.Fatal(err)
		}
		if got, _ := m.Client(t.Context(), "a"); got.Scopes[0] != scope {
			t.Errorf("got %v, want %s", got.Scopes, scope)
		}
	}
	if err := m.Put(&Client{ID: "a"}); err == nil || !strings.Contains(err.Error(), "Secrets: none") {
		t.Errorf("an invalid one: %v", err)
	}
	if err := m.Put(nil); err == nil {
		t.Error("nil is put")
	}
	if !m.Remove("a") || m.Remove("a") {
		t.Error("not removed once")
	}
	if _, err := m.Client(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after Remove: %v", err)
	}
}

// fill sets every field, those that are yet to come included.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Bool:
		v.SetBool(true)
	default:
		panic("fill and clone do not know " + v.Kind().String())
	}
}

func TestCloneSharesNothing(t *testing.T) {
	var c Client
	fill(reflect.ValueOf(&c).Elem())
	d := c.clone()
	if !reflect.DeepEqual(&c, d) {
		t.Fatalf("got %+v\nwant %+v", d, c)
	}
	a, b := reflect.ValueOf(c), reflect.ValueOf(*d)
	for i := range a.NumField() {
		switch a.Field(i).Kind() {
		case reflect.Slice, reflect.Pointer:
			if a.Field(i).Pointer() == b.Field(i).Pointer() {
				t.Errorf("%s is shared", a.Type().Field(i).Name)
			}
		}
	}
}

func TestMemoryCopiesClients(t *testing.T) {
	put, _ := NewClient("put", "s")
	given, _ := NewClient("given", "s")
	m, err := NewMemory(given)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Put(put); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Client{put, given} {
		c.Scopes[0] = "changed"
		c.Secrets[0] = Secret{}
		if got, _ := m.Client(t.Context(), c.ID); got.Scopes[0] != "s" || got.Secrets[0].Hash == "" {
			t.Errorf("%s changed with its original", c.ID)
		}
	}
}

func TestMemoryClientsInParallel(t *testing.T) {
	var m Memory
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				c := &Client{ID: fmt.Sprint(i % 50), Public: true, Number: int64(g)}
				if err := m.Put(c); err != nil {
					t.Error(err)
				}
				_, _ = m.Client(t.Context(), c.ID)
				m.Remove(fmt.Sprint(i % 7))
			}
		})
	}
	wg.Wait()
}
