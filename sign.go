package tokenbooth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// A signer makes the compact JWS (RFC 7515 §7.1) of one key and one typ. It
// calls package crypto itself: go-jose writes the header anew for every token,
// which costs more than an HMAC.
type signer struct {
	header string // the protected header in base64url, and the dot after it
	// sign appends the signature of input to dst, as RFC 7518 §3 has it.
	sign func(dst, input []byte) ([]byte, error)
}

// newSigner: each kind of token has its typ, so that none passes for another
// (RFC 8725 §3.11). The header is what go-jose writes.
func newSigner(algorithm string, private any, id, typ string) (*signer, error) {
	options := new(jose.SignerOptions).WithType(jose.ContentType(typ)).WithHeader("kid", id)
	by, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: private}, options)
	if err != nil {
		return nil, err
	}
	signed, err := by.Sign([]byte("{}"))
	if err != nil {
		return nil, err
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		return nil, err
	}
	header, _, _ := strings.Cut(compact, ".")
	return &signer{header + ".", signatureOf(private)}, nil
}

// signatureOf returns what signs with a key that inspect let through.
func signatureOf(private any) func(dst, input []byte) ([]byte, error) {
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		return func(dst, input []byte) ([]byte, error) { return appendES256(dst, input, k) }
	case *rsa.PrivateKey:
		return func(dst, input []byte) ([]byte, error) {
			digest := sha256.Sum256(input)
			signature, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, digest[:])
			return append(dst, signature...), err
		}
	case ed25519.PrivateKey:
		return func(dst, input []byte) ([]byte, error) { return append(dst, ed25519.Sign(k, input)...), nil }
	case []byte:
		return hs256(k)
	}
	return nil
}

// hs256 keeps hashes that have taken in the key already. They are bound to the
// key and leave with it.
func hs256(key []byte) func(dst, input []byte) ([]byte, error) {
	macs := sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}
	return func(dst, input []byte) ([]byte, error) {
		mac := macs.Get().(hash.Hash)
		mac.Reset()
		mac.Write(input)
		dst = mac.Sum(dst)
		macs.Put(mac)
		return dst, nil
	}
}

// appendES256 draws no nonce but derives it (RFC 6979), which takes a quarter
// less time. That every token holds 128 random bits, so that none is signed
// twice, keeps off those who would learn the key from a fault.
func appendES256(dst, input []byte, k *ecdsa.PrivateKey) ([]byte, error) {
	digest := sha256.Sum256(input)
	der, err := k.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return appendFixed(dst, der)
}

var errDER = errors.New("tokenbooth: crypto/ecdsa made no signature of two integers")

// appendFixed turns a signature in ASN.1 into the two integers of 32 bytes each
// of RFC 7518 §3.4.
func appendFixed(dst, der []byte) ([]byte, error) {
	if len(der) < 2 || der[0] != 0x30 || int(der[1]) != len(der)-2 {
		return nil, errDER
	}
	rest := der[2:]
	for range 2 {
		if len(rest) < 2 || rest[0] != 0x02 || len(rest) < 2+int(rest[1]) {
			return nil, errDER
		}
		integer := rest[2 : 2+int(rest[1])]
		rest = rest[2+len(integer):]
		if len(integer) == 33 && integer[0] == 0 { // for the sign
			integer = integer[1:]
		}
		if len(integer) > 32 {
			return nil, errDER
		}
		var zeros [32]byte
		dst = append(dst, zeros[len(integer):]...)
		dst = append(dst, integer...)
	}
	if len(rest) != 0 {
		return nil, errDER
	}
	return dst, nil
}

// A mintRoom is where a token is made, so that nothing of it need be allocated.
type mintRoom struct {
	payload, token []byte
	ids            randomIDs
}

var mintRooms = sync.Pool{New: func() any { return newMintRoom() }}

func newMintRoom() *mintRoom {
	return &mintRoom{payload: make([]byte, 0, 1<<10), token: make([]byte, 0, 2<<10)}
}

const maxMintRoom = 16 << 10 // bytes that are kept

// wipe leaves nothing of a token in the room. Beyond what is in it there is
// nothing, since whoever makes it shorter wipes.
func (m *mintRoom) wipe() {
	if cap(m.payload)+cap(m.token) > maxMintRoom {
		*m = *newMintRoom()
		return
	}
	clear(m.payload)
	clear(m.token)
	m.payload, m.token = m.payload[:0], m.token[:0]
}

// compact replaces the payload in the room by its JWS.
func (s *signer) compact(m *mintRoom) error {
	m.token = append(m.token[:0], s.header...)
	m.token = base64.RawURLEncoding.AppendEncode(m.token, m.payload)
	before := len(m.payload)
	signed, err := s.sign(m.payload, m.token)
	if err != nil {
		return fmt.Errorf("tokenbooth: signing: %w", err)
	}
	m.payload = signed
	m.token = append(m.token, '.')
	m.token = base64.RawURLEncoding.AppendEncode(m.token, signed[before:])
	return nil
}

// sign returns the compact JWS of an access token.
func (ring *KeyRing) sign(payload []byte) (string, error) {
	return ring.signWith(ring.set().signer, payload)
}

func (ring *KeyRing) signWith(by *signer, payload []byte) (string, error) {
	return inMintRoom(func(room *mintRoom) error {
		room.payload = append(room.payload, payload...)
		return ring.signIn(room, by)
	})
}

func inMintRoom(mint func(*mintRoom) error) (string, error) {
	room := mintRooms.Get().(*mintRoom)
	defer func() {
		room.wipe()
		mintRooms.Put(room)
	}()
	if err := mint(room); err != nil {
		return "", err
	}
	return string(room.token), nil
}

// signIn replaces the payload in the room by its JWS.
func (ring *KeyRing) signIn(room *mintRoom, by *signer) error {
	if ring.of != nil || by == nil {
		return errors.New("tokenbooth: no key to sign with")
	}
	return by.compact(room)
}
