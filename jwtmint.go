package tokenbooth

import (
	"context"
	"crypto/rand"
	"encoding/base64"

	"github.com/tokenbooth/tokenbooth/internal/jsontext"
)

func (j *jwtCodec) mint(_ context.Context, c *claims) (string, error) {
	return inMintRoom(func(room *mintRoom) error { return j.mintIn(room, c) })
}

// mintIn leaves the token in the room.
func (j *jwtCodec) mintIn(room *mintRoom, c *claims) error {
	c.id = room.ids.next()
	room.payload = j.appendClaims(room.payload[:0], c)
	return j.keys.signIn(room, j.keys.set().signer)
}

// randomIDs are identifiers of tokens, of 128 random bits each. They are drawn
// several at a time, since the way to where they come from is long, and nothing is
// lost where one is known before its token: it is no secret.
type randomIDs struct {
	drawn [32 * 16]byte
	left  int // bytes
}

func (r *randomIDs) next() string {
	if r.left == 0 {
		_, _ = rand.Read(r.drawn[:])
		r.left = len(r.drawn)
	}
	r.left -= 16
	var text [22]byte
	base64.RawURLEncoding.Encode(text[:], r.drawn[r.left:r.left+16])
	return string(text[:])
}

// appendClaims appends the claims of RFC 9068 §2.2, those of ours last. What is
// empty is left out, but for what is required.
func (j *jwtCodec) appendClaims(b []byte, c *claims) []byte {
	b = jsontext.AppendText(b, j.beforeSubject, c.subject)
	b = jsontext.AppendText(b, j.beforeClient, c.clientID)
	b = jsontext.AppendOptional(b, `,"scope":`, c.scope)
	b = jsontext.AppendOptional(b, `,"username":`, c.username) // as in RFC 7662 §2.2
	if c.readOnly {
		b = append(b, `,"read_only":true`...)
	}
	b = jsontext.AppendNumber(b, `,"iat":`, c.issued.Unix())
	b = jsontext.AppendNumber(b, `,"exp":`, c.expires.Unix())
	b = jsontext.AppendText(b, `,"jti":`, c.id)
	if c.family != "" {
		b = append(b, `,"fam":"`...)
		b = base64.RawURLEncoding.AppendEncode(b, []byte(c.family))
		b = append(b, '"')
	}
	if c.subjectEpoch != 0 {
		b = jsontext.AppendNumber(b, `,"sep":`, c.subjectEpoch)
	}
	if c.clientEpoch != 0 {
		b = jsontext.AppendNumber(b, `,"cep":`, c.clientEpoch)
	}
	return append(b, '}')
}
