package response

import (
	"strconv"

	"github.com/tokenbooth/tokenbooth/internal/jsontext"
)

// The answers that carry a token are appended member by member, since every
// request that goes well pays for one; refusals are left to encoding/json.

// newBody has room for the token and what is around it.
func newBody(t *Token) []byte {
	if t.Room != nil {
		return t.Room[:0]
	}
	return make([]byte, 0, 160+len(t.AccessToken)+len(t.RefreshToken)+len(t.IDToken)+len(t.Scope))
}

func appendText(b []byte, name, value string) []byte {
	return jsontext.AppendString(append(b, name...), value)
}

// appendOptional leaves out what is empty.
func appendOptional(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendText(b, name, value)
}

func appendNumber(b []byte, name string, value int64) []byte {
	return strconv.AppendInt(append(b, name...), value, 10)
}
