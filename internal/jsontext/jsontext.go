// Package jsontext writes the members of JSON objects without reflection. What is
// before a value, its name and the punctuation, is the caller's text.
package jsontext

import (
	"encoding/json"
	"strconv"
)

// AppendText appends before and then a string as package encoding/json writes it:
// with <, > and & escaped, and U+FFFD in place of what is not UTF-8.
func AppendText(b []byte, before, value string) []byte {
	b = append(b, before...)
	if !IsPlain(value) {
		quoted, _ := json.Marshal(value) // a string always has one
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, value...)
	return append(b, '"')
}

// AppendOptional leaves out what is empty.
func AppendOptional(b []byte, before, value string) []byte {
	if value == "" {
		return b
	}
	return AppendText(b, before, value)
}

// AppendNumber appends before and then a number.
func AppendNumber(b []byte, before string, value int64) []byte {
	return strconv.AppendInt(append(b, before...), value, 10)
}

// A Room is memory that is used again when its answer was sent: an access token
// that is in no string, and where the body goes.
type Room struct{ Token, Body []byte }

const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// IsPlain says whether s is ASCII that stands for itself in JSON, as 0x7F does. What
// is not is rare in tokens, identifiers and scopes, and left to encoding/json. It
// looks at eight bytes at once, since a token has hundreds.
func IsPlain(s string) bool {
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
