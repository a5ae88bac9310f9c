package tokenbooth

import (
	"context"
	"encoding/base64"
	"hash/maphash"
	"strings"

	"github.com/tokenbooth/tokenbooth/internal/jsontext"
)

// JWT is the [TokenFormat] of signed access tokens (RFC 9068).
type JWT struct{}

func (JWT) validate() error { return nil }

func (JWT) codec(c codecConfig) codec {
	j := &jwtCodec{
		keys: c.keys, jws: jwsVerifier{keys: c.keys, typ: "at+jwt"}, issuer: c.issuer, audience: c.audience,
		beforeSubject: string(jsontext.AppendText(nil, `{"iss":`, c.issuer)) + `,"sub":`,
		beforeClient:  string(jsontext.AppendText(nil, `,"aud":`, c.audience)) + `,"client_id":`,
		watches:       c.state != nil, seen: tokenCache{seed: maphash.MakeSeed()},
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
	// What of its claims is the same in every token, as far as it goes.
	beforeSubject, beforeClient string

	watches bool // there is a State, where it stands what was revoked
	seen    tokenCache
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
