package authz

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
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
	mac := macOf(&s, &nonce, gen)
	var room [maxRefresh]byte
	b := b64.AppendEncode(append(room[:0], "r."...), f[:])
	b = strconv.AppendUint(append(b, '.'), gen, 10)
	b = b64.AppendEncode(append(b, '.'), s[:])
	b = b64.AppendEncode(append(b, '.'), mac[:])
	return string(b)
}

const maxRefresh = len("r.") + 22 + len(".") + 20 + len(".") + 43 + len(".") + 43

// ParseRefresh takes a refresh token apart; false for what is none.
func ParseRefresh(token string) (r Refresh, ok bool) {
	rest, ok := strings.CutPrefix(token, "r.")
	family, rest, _ := strings.Cut(rest, ".")
	number, rest, _ := strings.Cut(rest, ".")
	secret, mac, _ := strings.Cut(rest, ".") // decode takes no dot
	if !ok {
		return r, false
	}
	gen, err := strconv.ParseUint(number, 10, 64)
	if err != nil || number[0] < '1' || number[0] > '9' { // one spelling of each number
		return r, false
	}
	r.Gen = gen
	return r, decode(r.Family[:], family) && decode(r.Secret[:], secret) && decode(r.mac[:], mac)
}

// IsOf says whether the token was issued for this record.
func (r *Refresh) IsOf(rec *Record) bool {
	hash := HashSecret(r.Secret)
	mac := macOf(&r.Secret, &rec.MACNonce, r.Gen)
	return hmac.Equal(hash[:], rec.SecretHash[:]) && hmac.Equal(mac[:], r.mac[:])
}

// macOf is HMAC-SHA256 under s of "rt|", the nonce and the number. It is written
// out (RFC 2104), since hmac.New makes more garbage than the rest of a refresh
// and every key is used once.
func macOf(s, nonce *[32]byte, gen uint64) [32]byte {
	const message = len("rt|") + 32 + 8
	var inner [sha256.BlockSize + message]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner[:], ipad)
	copy(outer[:], opad)
	subtle.XORBytes(inner[:], s[:], inner[:])
	subtle.XORBytes(outer[:], s[:], outer[:])
	b := append(inner[:sha256.BlockSize], "rt|"...)
	b = append(b, nonce[:]...)
	binary.BigEndian.AppendUint64(b, gen)
	sum := sha256.Sum256(inner[:])
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}

var (
	ipad = bytes.Repeat([]byte{0x36}, sha256.BlockSize)
	opad = bytes.Repeat([]byte{0x5c}, sha256.BlockSize)
)

func hashOf(label string, secret []byte) [32]byte {
	var room [64]byte
	return sha256.Sum256(append(append(room[:0], label...), secret...))
}

func decode(dst []byte, s string) bool {
	if len(s) != b64.EncodedLen(len(dst)) {
		return false
	}
	var room [64]byte // of up to 43 digits
	n, err := b64.Decode(dst, append(room[:0], s...))
	return err == nil && n == len(dst) // a line break is skipped, and leaves too few digits
}
