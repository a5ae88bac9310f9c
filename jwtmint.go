package tokenbooth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"strconv"

	"github.com/tokenbooth/tokenbooth/internal/jsontext"
)

func (j *jwtCodec) mint(_ context.Context, c *claims) (string, error) {
	return inMintRoom(func(room *mintRoom) error { return j.mintIn(room, c) })
}

// mintIn leaves the token in the room.
func (j *jwtCodec) mintIn(room *mintRoom, c *claims) error {
	c.id = randomID()
	room.payload = j.appendClaims(room.payload[:0], c)
	return j.keys.signIn(room, j.keys.set().signer)
}

func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// appendClaims appends the claims of RFC 9068 §2.2, those of ours last. What is
// empty is left out, but for what is required.
func (j *jwtCodec) appendClaims(b []byte, c *claims) []byte {
	b = appendText(b, `{"iss":`, j.issuer)
	b = appendText(b, `,"sub":`, c.subject)
	b = appendText(b, `,"aud":`, j.audience)
	b = appendText(b, `,"client_id":`, c.clientID)
	if c.scope != "" {
		b = appendText(b, `,"scope":`, c.scope)
	}
	if c.username != "" { // as in RFC 7662 §2.2
		b = appendText(b, `,"username":`, c.username)
	}
	if c.readOnly {
		b = append(b, `,"read_only":true`...)
	}
	b = appendNumber(b, `,"iat":`, c.issued.Unix())
	b = appendNumber(b, `,"exp":`, c.expires.Unix())
	b = appendText(b, `,"jti":`, c.id)
	if c.family != "" {
		b = append(b, `,"fam":"`...)
		b = base64.RawURLEncoding.AppendEncode(b, []byte(c.family))
		b = append(b, '"')
	}
	if c.subjectEpoch != 0 {
		b = appendNumber(b, `,"sep":`, c.subjectEpoch)
	}
	if c.clientEpoch != 0 {
		b = appendNumber(b, `,"cep":`, c.clientEpoch)
	}
	return append(b, '}')
}

func appendText(b []byte, name, value string) []byte {
	return jsontext.AppendString(append(b, name...), value)
}

func appendNumber(b []byte, name string, value int64) []byte {
	return strconv.AppendInt(append(b, name...), value, 10)
}
