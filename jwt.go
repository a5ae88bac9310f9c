package tokenbooth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"hash/maphash"
	"strings"

	"github.com/go-jose/go-jose/v4/json" // minds case and refuses a member given twice
)

// JWT is the [TokenFormat] of signed access tokens (RFC 9068).
type JWT struct{}

func (JWT) validate() error { return nil }

func (JWT) codec(c codecConfig) codec {
	j := &jwtCodec{
		keys: c.keys, jws: jwsVerifier{keys: c.keys, typ: "at+jwt"}, issuer: c.issuer, audience: c.audience,
		watches: c.state != nil, seen: tokenCache{seed: maphash.MakeSeed()},
	}
	if c.remote != nil {
		j.jws.keys = c.remote
	}
	return j
}

type jwtCodec struct {
	keys             *KeyRing // to sign with
	jws              jwsVerifier
	issuer, audience string
	watches          bool // there is a State, where it stands what was revoked
	seen             tokenCache
}

// jwtClaims are the claims of RFC 9068 §2.2 as they are written.
type jwtClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope,omitempty"`
	Username string `json:"username,omitempty"` // as in RFC 7662 §2.2
	ReadOnly bool   `json:"read_only,omitempty"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"`

	Family       string `json:"fam,omitempty"` // base64url
	SubjectEpoch int64  `json:"sep,omitempty"`
	ClientEpoch  int64  `json:"cep,omitempty"`
}

func (j *jwtCodec) mint(_ context.Context, c *claims) (string, error) {
	c.id = randomID()
	payload, err := json.Marshal(jwtClaims{
		Issuer: j.issuer, Subject: c.subject, Audience: j.audience, ClientID: c.clientID,
		Scope: c.scope, Username: c.username, ReadOnly: c.readOnly,
		IssuedAt: c.issued.Unix(), Expires: c.expires.Unix(), ID: c.id,
		Family:       base64.RawURLEncoding.EncodeToString([]byte(c.family)),
		SubjectEpoch: c.subjectEpoch, ClientEpoch: c.clientEpoch,
	})
	if err != nil {
		return "", err
	}
	return j.keys.sign(payload)
}

func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// verify reads a token, or remembers what was read. The key has to be in use at
// each request.
func (j *jwtCodec) verify(ctx context.Context, token string) (*claims, error) {
	if len(token) > maxToken {
		return nil, errToken
	}
	seen, hash := j.seen.get(token)
	if seen != nil {
		key, known, err := j.jws.keys.find(ctx, seen.keyID)
		if err != nil {
			return nil, err
		}
		if known && key.is(&seen.key) {
			return &seen.claims, nil
		}
	}
	signed, err := j.jws.verify(ctx, token)
	if err != nil {
		return nil, err
	}
	said, ok := readPlainClaims(string(signed.bytes))
	if !ok {
		if said, ok = readClaims(signed.bytes); !ok {
			return nil, errToken
		}
	}
	seen = &seenToken{hash: hash, keyID: signed.keyID, key: signed.key, bytes: len(token) + len(signed.bytes) + cacheEntryBytes}
	if err := j.check(&seen.claims, &said); err != nil {
		return nil, err
	}
	if j.watches {
		seen.claims.watching = seen.claims.watched()
	}
	seen.text = strings.Clone(token) // a framework may use its memory for the next request
	j.seen.put(seen)
	return &seen.claims, nil
}

func (j *jwtCodec) check(c *claims, r *saidClaims) error {
	if r.issuer != j.issuer || !r.names(j.audience) || r.subject == "" || r.id == "" {
		return errToken
	}
	if r.clientID == "" || len(r.clientID) > maxClientID || !clean(r.clientID) {
		return errToken
	}
	if r.issued.IsZero() || r.expires.IsZero() {
		return errToken
	}
	family, err := base64.RawURLEncoding.DecodeString(r.family)
	if err != nil || len(family) != 0 && len(family) != 16 {
		return errToken
	}
	*c = claims{
		subject: r.subject, clientID: r.clientID, username: r.username, scope: r.scope, id: r.id,
		issued: r.issued, notBefore: r.notBefore, expires: r.expires, readOnly: r.readOnly,
		family: string(family), subjectEpoch: r.subjectEpoch, clientEpoch: r.clientEpoch,
	}
	return nil
}
