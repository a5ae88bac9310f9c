package response

import (
	"slices"

	"github.com/tokenbooth/tokenbooth/internal/jsontext"
)

// The answers that carry a token are appended member by member, since every
// request that goes well pays for one; refusals are left to encoding/json.

// newBody has room for the token and what is around it.
func newBody(t *Token) []byte {
	size := 160 + len(t.AccessToken) + len(t.RefreshToken) + len(t.IDToken) + len(t.Scope)
	if t.Room != nil {
		return slices.Grow(t.Room.Body[:0], size+len(t.Room.Token))
	}
	return make([]byte, 0, size)
}

func appendAccessToken(b []byte, name string, t *Token) []byte {
	if t.Room != nil { // a JWS: it has nothing to escape
		b = append(append(b, name...), '"')
		return append(append(b, t.Room.Token...), '"')
	}
	return jsontext.AppendText(b, name, t.AccessToken)
}
