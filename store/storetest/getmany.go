package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tokenbooth/tokenbooth/store"
)

func testGetMany(t *testing.T, s store.State, m store.MultiGetter) {
	var vals [][]byte
	for i := range 100 {
		vals = append(vals, fmt.Appendf(nil, "value %d", i))
	}
	vals[7], vals[8] = []byte{}, []byte(strings.Repeat(everyByte(), 256))
	keys := give(t, s, vals...)
	absent := draw("absent")
	pick := func(at ...int) (k []string, v [][]byte) {
		for _, i := range at {
			if i < 0 {
				k, v = append(k, absent), append(v, nil)
			} else {
				k, v = append(k, keys[i]), append(v, vals[i])
			}
		}
		return k, v
	}
	checkMany(t, m, "100 keys", keys, vals)
	checkMany(t, m, "no keys", nil, nil)
	checkMany(t, m, "no keys", []string{}, nil)
	for _, tt := range []struct {
		name string
		at   []int
	}{
		{"one key", []int{3}},
		{"an absent key", []int{-1}},
		{"another order", []int{9, 2, 5, 0, 99, 1}},
		{"one key twice", []int{4, 4}},
		{"keys twice and absent ones between", []int{6, -1, 6, 7, -1, 3, 7, 6}},
		{"an empty value", []int{7}},
		{"a long value", []int{8, 7}},
	} {
		k, v := pick(tt.at...)
		checkMany(t, m, tt.name, k, v)
	}
	var odd []string
	var oddVals [][]byte
	run := draw("")
	for i, o := range oddities() {
		odd, oddVals = append(odd, run+o), append(oddVals, nil)
		if i%2 == 0 {
			oddVals[i] = []byte(o)
			check(t, true, "Create under "+short(run+o))(s.Create(t.Context(), run+o, []byte(o), later()))
		}
	}
	checkMany(t, m, "odd keys, of which every second is there", odd, oddVals)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.GetMany(ctx, keys); !errors.Is(err, context.Canceled) {
		t.Errorf("GetMany with a cancelled context: %v; want an error that is context.Canceled", err)
	}
}

func checkMany(t *testing.T, m store.MultiGetter, what string, keys []string, want [][]byte) {
	t.Helper()
	got, err := m.GetMany(t.Context(), keys)
	if err != nil || len(got) != len(want) {
		t.Errorf("GetMany of %s: %d values, %v; want %d", what, len(got), err, len(want))
		return
	}
	for i, key := range keys {
		if (got[i] == nil) != (want[i] == nil) || !bytes.Equal(got[i], want[i]) {
			t.Errorf("GetMany of %s: value %d of key %s is %s, nil %v; want %s, nil %v", what, i, short(key),
				short(string(got[i])), got[i] == nil, short(string(want[i])), want[i] == nil)
		}
	}
}
