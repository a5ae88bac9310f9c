package tokenbooth

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"

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

// verifyJWS returns the payload of a compact JWS of the type with a good
// signature. The key decides which algorithm that is, not the token.
func verifyJWS(ctx context.Context, keys keyFinder, token, typ string) ([]byte, error) {
	header, ok := readHeader(token)
	if !ok || header.asks() || !isType(header.Type, typ) {
		return nil, errToken
	}
	v, known, err := keys.find(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	if !known || v.algorithm != header.Algorithm {
		return nil, errToken
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(v.algorithm)})
	if err != nil {
		return nil, errToken
	}
	payload, err := jws.Verify(v.public)
	if err != nil {
		return nil, errToken
	}
	return payload, nil
}

func readHeader(token string) (*jwsHeader, bool) {
	encoded, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return nil, false
	}
	header := new(jwsHeader)
	return header, json.Unmarshal(raw, header) == nil
}
