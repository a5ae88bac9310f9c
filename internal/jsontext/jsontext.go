// Package jsontext writes JSON strings without reflection.
package jsontext

import "encoding/json"

// AppendString appends s as package encoding/json writes it: with <, > and &
// escaped, and U+FFFD in place of what is not UTF-8.
func AppendString[S ~string | ~[]byte](b []byte, s S) []byte {
	if !isPlain(s) {
		quoted, _ := json.Marshal(string(s)) // a string always has one
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// A Room is memory that is used again when its answer was sent: an access token
// that is in no string, and where the body goes.
type Room struct{ Token, Body []byte }

const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// isPlain says whether s stands for itself in JSON. What does not is rare in
// tokens, identifiers and scopes, and left to encoding/json. It looks at eight
// bytes at once, since a token has hundreds.
func isPlain[S ~string | ~[]byte](s S) bool {
	for ; len(s) >= 8; s = s[8:] {
		if isSpecial(uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56) {
			return false
		}
	}
	last := uint64(ones * 'x')
	for i := range len(s) {
		last = last<<8 | uint64(s[i])
	}
	return !isSpecial(last)
}

// isSpecial says whether one of eight bytes is below 0x20, above 0x7F, a quotation
// mark, a backslash, <, > or &. Pairs that differ in one bit are looked for with
// that bit set.
func isSpecial(w uint64) bool {
	found := w | hasLess(w, 0x20) |
		hasLess((w|ones*('"'^'&'))^ones*'&', 1) |
		hasLess((w|ones*('<'^'>'))^ones*'>', 1) |
		hasLess(w^ones*'\\', 1)
	return found&highs != 0
}

// hasLess marks the high bit of a byte where one is below n, and of none else
// where none is.
func hasLess(w, n uint64) uint64 { return (w - ones*n) &^ w }
