package tokenbooth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // minds case and refuses a member given twice
)

// A keyFinder knows the keys that tokens may be signed with: a [KeyRing], or
// those that an issuer elsewhere publishes.
type keyFinder interface {
	// find returns the key of this ID, and false where there is none. An error
	// says that it could not be found out.
	find(ctx context.Context, id string) (v verifier, ok bool, err error)
}

// errToken says that a token is not good. It carries nothing of the token nor
// of a library's text.
var errToken = errors.New("tokenbooth: not a good token")

// A jwsHeader is the protected header of a token, as far as it counts.
type jwsHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`

	// What a token may say about keys is not for it to say, and what is critical
	// to it is not known here (RFC 7515 §4.1, RFC 8725 §3).
	JWK      json.RawMessage `json:"jwk"`
	JKU      json.RawMessage `json:"jku"`
	X5U      json.RawMessage `json:"x5u"`
	X5C      json.RawMessage `json:"x5c"`
	Critical json.RawMessage `json:"crit"`
	Base64   json.RawMessage `json:"b64"`
}

func (h *jwsHeader) asks() bool {
	return h.JWK != nil || h.JKU != nil || h.X5U != nil || h.X5C != nil || h.Critical != nil || h.Base64 != nil
}

// segmentEncoding gives each text one spelling, so that nobody makes many tokens
// of one. (ES256 itself has two signatures for whoever has one, and no more.)
var segmentEncoding = base64.RawURLEncoding.Strict()

func readHeader(token string) (*jwsHeader, bool) {
	encoded, _, _ := strings.Cut(token, ".")
	raw, err := segmentEncoding.DecodeString(encoded)
	if err != nil {
		return nil, false
	}
	header := new(jwsHeader)
	return header, json.Unmarshal(raw, header) == nil
}

// A jwsVerifier verifies compact JWS of one type.
type jwsVerifier struct {
	keys    keyFinder
	typ     string
	headers seenHeaders
}

// A signedPayload is one with a good signature, and the key that it is by.
type signedPayload struct {
	bytes []byte
	keyID string
	key   verifier
}

// verify returns errToken where the signature is not good. The key decides by
// which algorithm, not the token.
func (j *jwsVerifier) verify(ctx context.Context, token string) (p signedPayload, err error) {
	parts, ok := splitCompact(token)
	if !ok {
		return p, errToken
	}
	payload, err1 := segmentEncoding.DecodeString(parts.payload)
	signature, err2 := segmentEncoding.DecodeString(parts.signature)
	if err1 != nil || err2 != nil {
		return p, errToken
	}
	header := j.headers.get(parts.header)
	seen := header != nil
	if !seen {
		if header, ok = j.read(token); !ok {
			return p, errToken
		}
	}
	key, known, err := j.keys.find(ctx, header.keyID)
	if err != nil {
		return p, err
	}
	if !known || key.algorithm != header.algorithm {
		return p, errToken
	}
	p.keyID, p.key = header.keyID, key
	if seen {
		p.bytes = payload
		return p, header.verify(payload, signature, &key)
	}
	if p.bytes, err = header.verifyFirst(token, &key); err == nil {
		j.headers.put(parts.header, header)
	}
	return p, err
}

func (j *jwsVerifier) read(token string) (*seenHeader, bool) {
	h, ok := readHeader(token)
	if !ok || h.asks() || !isType(h.Type, j.typ) {
		return nil, false
	}
	return &seenHeader{keyID: h.KeyID, algorithm: h.Algorithm}, true
}

// A seenHeader is a header that was read and found good.
type seenHeader struct {
	keyID, algorithm string
	// first is how go-jose has it, from the token that came with it first.
	first jose.Signature
}

// verifyFirst leaves everything to go-jose.
func (h *seenHeader) verifyFirst(token string, key *verifier) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(key.algorithm)})
	if err != nil {
		return nil, errToken
	}
	payload, err := jws.Verify(key.public)
	if err != nil {
		return nil, errToken
	}
	h.first = jws.Signatures[0]
	h.first.Signature = nil
	return payload, nil
}

// verify has go-jose verify another signature under the same header, which it
// need not parse again.
func (h *seenHeader) verify(payload, signature []byte, key *verifier) error {
	another := h.first
	another.Signature = signature
	jws := jose.JSONWebSignature{Signatures: []jose.Signature{another}}
	if jws.DetachedVerify(payload, key.public) != nil {
		return errToken
	}
	return nil
}

type compactParts struct{ header, payload, signature string }

// splitCompact takes a token apart (RFC 7515 §7.1). What is no letter of base64url
// the decoder finds, but for line breaks, which it skips.
func splitCompact(token string) (p compactParts, ok bool) {
	if strings.Count(token, ".") != 2 || strings.IndexByte(token, '\n') >= 0 || strings.IndexByte(token, '\r') >= 0 {
		return p, false
	}
	p.header, token, _ = strings.Cut(token, ".")
	p.payload, p.signature, _ = strings.Cut(token, ".")
	return p, true
}

const (
	maxSeenHeaders    = 64  // keys, about
	maxSeenHeaderText = 512 // bytes
)

// seenHeaders are the headers of tokens whose signatures were good: an issuer
// writes the same few over and over. The same text that passed the checks once
// passes them always.
type seenHeaders struct {
	mu   sync.RWMutex
	seen map[string]*seenHeader
}

func (s *seenHeaders) get(text string) *seenHeader {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.seen[text]
}

func (s *seenHeaders) put(text string, h *seenHeader) {
	if len(text) > maxSeenHeaderText {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) >= maxSeenHeaders {
		clear(s.seen)
	}
	if s.seen == nil {
		s.seen = map[string]*seenHeader{}
	}
	s.seen[strings.Clone(text)] = h
}

// is says whether two keys are the same one, also where it was read again.
func (v *verifier) is(other *verifier) bool {
	if v.algorithm != other.algorithm {
		return false
	}
	switch k := v.public.(type) {
	case *ecdsa.PublicKey:
		o, ok := other.public.(*ecdsa.PublicKey)
		return ok && (k == o || k.Equal(o))
	case ed25519.PublicKey:
		o, ok := other.public.(ed25519.PublicKey)
		return ok && k.Equal(o)
	case *rsa.PublicKey:
		o, ok := other.public.(*rsa.PublicKey)
		return ok && (k == o || k.Equal(o))
	case []byte:
		o, ok := other.public.([]byte)
		return ok && subtle.ConstantTimeCompare(k, o) == 1
	}
	return false
}
