package authz

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
)

// Strict: of the spellings of one token only the one that was issued is good.
var b64 = base64.RawURLEncoding.Strict()

// NewCode draws the code of a family (RFC 6749 §4.1.2): the text for the client,
// and the hash that is stored.
func NewCode(f Family) (code string, hash [32]byte) {
	var c [32]byte
	_, _ = rand.Read(c[:])
	return "c." + b64.EncodeToString(f[:]) + "." + b64.EncodeToString(c[:]), hashOf("code|", c[:])
}

// ParseCode returns the family and the hash of a code; false for what is none.
func ParseCode(code string) (f Family, hash [32]byte, ok bool) {
	parts := strings.Split(code, ".")
	if len(parts) != 3 || parts[0] != "c" {
		return f, hash, false
	}
	var c [32]byte
	if !decode(f[:], parts[1]) || !decode(c[:], parts[2]) {
		return f, hash, false
	}
	return f, hashOf("code|", c[:]), true
}

// A Refresh is a refresh token, taken apart.
type Refresh struct {
	Family Family
	Gen    uint64
	Secret [32]byte // the family's, the same in every generation
	mac    [32]byte
}

// NewSecret draws what all refresh tokens of a family hold and the store never
// sees: it is made at redemption, so that it never was in a front channel.
func NewSecret() (s, nonce [32]byte) {
	_, _ = rand.Read(s[:])
	_, _ = rand.Read(nonce[:])
	return s, nonce
}

// HashSecret is what is stored of a family's secret.
func HashSecret(s [32]byte) [32]byte { return hashOf("s|", s[:]) }

// Token is the refresh token of a generation. It follows from the secret, the
// nonce and the number: whoever asks twice gets the same.
func Token(f Family, s, nonce [32]byte, gen uint64) string {
	mac := macOf(s, nonce, gen)
	return "r." + b64.EncodeToString(f[:]) + "." + strconv.FormatUint(gen, 10) + "." +
		b64.EncodeToString(s[:]) + "." + b64.EncodeToString(mac[:])
}

// ParseRefresh takes a refresh token apart; false for what is none.
func ParseRefresh(token string) (r Refresh, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 5 || parts[0] != "r" {
		return r, false
	}
	gen, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil || gen == 0 || strconv.FormatUint(gen, 10) != parts[2] {
		return r, false
	}
	r.Gen = gen
	return r, decode(r.Family[:], parts[1]) && decode(r.Secret[:], parts[3]) && decode(r.mac[:], parts[4])
}

// IsOf says whether the token was issued for this record.
func (r *Refresh) IsOf(rec *Record) bool {
	hash := HashSecret(r.Secret)
	mac := macOf(r.Secret, rec.MACNonce, r.Gen)
	return hmac.Equal(hash[:], rec.SecretHash[:]) && hmac.Equal(mac[:], r.mac[:])
}

func macOf(s, nonce [32]byte, gen uint64) (sum [32]byte) {
	h := hmac.New(sha256.New, s[:])
	h.Write([]byte("rt|"))
	h.Write(nonce[:])
	h.Write(binary.BigEndian.AppendUint64(nil, gen))
	h.Sum(sum[:0])
	return sum
}

func hashOf(label string, secret []byte) [32]byte {
	return sha256.Sum256(append([]byte(label), secret...))
}

func decode(dst []byte, s string) bool {
	if len(s) != b64.EncodedLen(len(dst)) || strings.ContainsAny(s, "\r\n") {
		return false
	}
	n, err := b64.Decode(dst, []byte(s))
	return err == nil && n == len(dst)
}
