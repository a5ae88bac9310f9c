package storetest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/tokenbooth/tokenbooth/store"
)

// short prints a key or a value.
func short(s string) string {
	const most = 60
	if len(s) > most {
		return fmt.Sprintf("%q… (%d bytes)", s[:most], len(s))
	}
	return strconv.Quote(s)
}

// everyByte holds all 256 bytes.
func everyByte() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

// oddities are byte strings that something on the way to a disk may cut, fold,
// trim, escape, decode, or take for one another.
func oddities() []string {
	return []string{
		"", "\x00", "\x00\x00", "\x00\xff", "\xff\x00", "\xff", "\xc3\x28", "\xed\xa0\x80", "\xef\xbf\xbd",
		"a", "A", "a ", " a", "a\t", "a\n", "a\r\n", "a\x00", "a\x00b", "aa", "á", "a\u0301", "Á", "ä", "å", "ß", "ss", "ſ", "ı", "i", "İ",
		"🍣", "🍺", "\u200b", "\ufeff", "0", "00", "0x00", "1e0", "1", "null", "NULL", "true",
		"'", `"`, "''", "'; --", `\`, `\\`, `\0`, `\x00`, "%", "_", "%00", "*", "?", "[a]", "{a}", "{a}b", "$1", ":a", "@a", "a:b", "a|b",
		everyByte(), strings.Repeat("k", 255), strings.Repeat("k", 256),
		strings.Repeat("k", 4095) + "a", strings.Repeat("k", 4095) + "b", strings.Repeat("k", 4095), strings.Repeat("\xff", 4096),
	}
}

func testValues(t *testing.T, s store.State) {
	ctx := t.Context()
	vals := append(oddities(), strings.Repeat(everyByte(), 256)) // 64 KiB
	one := draw("one")
	old := []byte("first")
	check(t, true, "Create")(s.Create(ctx, one, old, later()))
	for _, v := range vals {
		val := []byte(v)
		key := give(t, s, val)[0]
		checkValue(t, s, key, val)
		for _, more := range []string{"\x00", " ", "a"} {
			check(t, false, "Swap of "+short(v+more)+", where the value is "+short(v))(s.Swap(ctx, key, []byte(v+more), []byte("x"), later()))
		}
		check(t, true, "Swap to "+short(v))(s.Swap(ctx, one, old, val, later()))
		checkValue(t, s, one, val)
		old = val
	}
	key := draw("nil")
	check(t, true, "Create with nil")(s.Create(ctx, key, nil, later()))
	checkValue(t, s, key, []byte{})
	check(t, true, "Create of an empty value where there is one")(s.Create(ctx, key, []byte{}, later()))
	check(t, true, "Swap of the empty value")(s.Swap(ctx, key, nil, []byte("x"), later()))
	checkValue(t, s, key, []byte("x"))
}

// testKeys has an entry under each odd key at the same time, so that any two
// that a store takes for one are found.
func testKeys(t *testing.T, s store.State) {
	ctx := t.Context()
	run := draw("")
	var keys []string
	for _, o := range oddities() {
		keys = append(keys, run+o, o+run)
	}
	keys[1] = run + "-" // the empty one gave run twice
	for _, o := range []string{"", "\x00", "\xff", " ", "a", "A", strings.Repeat("\xff", 4096)} {
		if _, err := s.Delete(ctx, o); err != nil {
			t.Errorf("Delete %s: %v", short(o), err)
		}
		keys = append(keys, o)
	}
	val := func(i int) []byte { return fmt.Append(nil, i) }
	for i, key := range keys {
		check(t, true, "Create under "+short(key)+", where there is nothing")(s.Create(ctx, key, val(i), later()))
	}
	for i, key := range keys {
		checkValue(t, s, key, val(i))
		check(t, true, "Swap under "+short(key))(s.Swap(ctx, key, val(i), []byte(key), later()))
	}
	for i, key := range keys {
		checkValue(t, s, key, []byte(key))
		if i%2 == 0 {
			check(t, true, "Delete of "+short(key))(s.Delete(ctx, key))
		}
	}
	for i, key := range keys {
		if i%2 == 0 {
			checkValue(t, s, key, nil)
			continue
		}
		checkValue(t, s, key, []byte(key))
		check(t, true, "Delete of "+short(key))(s.Delete(ctx, key))
	}
}
