// Package jsontext writes JSON strings without reflection.
package jsontext

import "encoding/json"

// AppendString appends s as package encoding/json writes it: with <, > and &
// escaped, and U+FFFD in place of what is not UTF-8.
func AppendString(b []byte, s string) []byte {
	if !isPlain(s) {
		quoted, _ := json.Marshal(s) // a string always has one
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// isPlain says whether s stands for itself in JSON. What does not is rare in
// tokens, identifiers and scopes, and left to encoding/json.
func isPlain(s string) bool {
	for i := range len(s) {
		if !plain[s[i]] {
			return false
		}
	}
	return true
}

var plain = func() (p [256]bool) {
	for c := ' '; c <= '~'; c++ {
		p[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return p
}()
