package main

import (
	"testing"
	"time"
)

// TestLoad plays every scenario for a moment; each checks its answers.
func TestLoad(t *testing.T) {
	s, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	l := newLoad(s)
	if err := l.fill(100, 100); err != nil {
		t.Fatal(err)
	}
	if err := l.last(t.Context(), 1500*time.Millisecond, time.Second, t.Output()); err != nil {
		t.Fatal(err)
	}
	if n := l.requests.Load(); n < 100 {
		t.Errorf("only %d requests", n)
	}
}

func TestCompare(t *testing.T) {
	before := census{heap: 10 << 20, goroutines: 5}
	for _, test := range []struct {
		after census
		want  string
	}{
		{census{10<<20 + slack, 5}, ""},
		{census{1 << 20, 4}, ""},
		{census{12 << 20, 5}, "the heap grew by 2048 KiB"},
		{census{10 << 20, 8}, "3 goroutines are left"},
		{census{12 << 20, 6}, "the heap grew by 2048 KiB\n1 goroutines are left"},
	} {
		got := ""
		if err := compare(before, test.after); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%v: %q, want %q", test.after, got, test.want)
		}
	}
}
