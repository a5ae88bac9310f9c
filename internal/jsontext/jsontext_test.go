package jsontext

import (
	"encoding/json"
	"strings"
	"testing"
)

// AppendText writes what encoding/json writes, byte for byte.
func check(t *testing.T, s string) {
	t.Helper()
	want, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := AppendText([]byte("x"), "", s); string(got) != "x"+string(want) {
		t.Errorf("%q: got %s, want x%s", s, got, want)
	}
}

var odd = []string{
	"", "read write", `"`, `\`, `a"b\c`, "<script>&amp;</script>", "\x00\x1f\x7f\x80", "\b\f\n\r\t",
	"\xff", "a\xc3", "\xed\xa0\x80", "\u2028\u2029", "é", "\U0001F511", "\ufffd", "a\xf0\x9f\x94",
}

func TestAppendText(t *testing.T) {
	for _, s := range odd {
		check(t, s)
	}
	for c := range 256 {
		check(t, string([]byte{byte(c)}))
		check(t, "ab"+string([]byte{byte(c)})+"cd")
	}
}

func FuzzAppendText(f *testing.F) {
	for _, s := range odd {
		f.Add(s)
	}
	f.Fuzz(check)
}

func TestIsPlain(t *testing.T) {
	for c := range 256 {
		want := c >= 0x20 && c < 0x80 && !strings.ContainsRune(`"\<>&`, rune(c))
		for at := range 12 {
			s := []byte("abcdefghijkl")
			s[at] = byte(c)
			if got := IsPlain(string(s)); got != want {
				t.Errorf("%q: %v", s, got)
			}
		}
	}
}
