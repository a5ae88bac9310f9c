package tokenbooth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json" // minds case and refuses a member given twice
)

// JWT is the [TokenFormat] of signed access tokens (RFC 9068).
type JWT struct{}

func (JWT) validate() error { return nil }

func (JWT) codec(c codecConfig) codec {
	j := &jwtCodec{keys: c.keys, finder: c.keys, issuer: c.issuer, audience: c.audience}
	if c.remote != nil {
		j.finder = c.remote
	}
	return j
}

type jwtCodec struct {
	keys             *KeyRing  // to sign with
	finder           keyFinder // to verify with
	issuer, audience string
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

// readClaims are the claims as they may be written by somebody else.
type readClaims struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	ClientID  string          `json:"client_id"`
	Scope     string          `json:"scope"`
	Username  string          `json:"username"`
	ReadOnly  bool            `json:"read_only"`
	IssuedAt  *float64        `json:"iat"`
	Expires   *float64        `json:"exp"`
	NotBefore *float64        `json:"nbf"`
	ID        string          `json:"jti"`

	Family       string `json:"fam"`
	SubjectEpoch int64  `json:"sep"`
	ClientEpoch  int64  `json:"cep"`
}

func (j *jwtCodec) verify(ctx context.Context, token string) (*claims, error) {
	if len(token) > maxToken || strings.Count(token, ".") != 2 {
		return nil, errToken
	}
	payload, err := verifyJWS(ctx, j.finder, token, "at+jwt")
	if err != nil {
		return nil, err
	}
	var r readClaims
	if json.Unmarshal(payload, &r) != nil {
		return nil, errToken
	}
	return j.check(&r)
}

func (j *jwtCodec) check(r *readClaims) (*claims, error) {
	if r.Issuer != j.issuer || !names(r.Audience, j.audience) || r.Subject == "" || r.ID == "" {
		return nil, errToken
	}
	if r.ClientID == "" || len(r.ClientID) > maxClientID || !clean(r.ClientID) {
		return nil, errToken
	}
	issued, err1 := numericDate(r.IssuedAt)
	expires, err2 := numericDate(r.Expires)
	if err1 != nil || err2 != nil {
		return nil, errToken
	}
	c := &claims{
		subject: r.Subject, clientID: r.ClientID, username: r.Username, scope: r.Scope, id: r.ID,
		issued: issued, expires: expires, readOnly: r.ReadOnly,
		subjectEpoch: r.SubjectEpoch, clientEpoch: r.ClientEpoch,
	}
	family, err := base64.RawURLEncoding.DecodeString(r.Family)
	if err != nil || len(family) != 0 && len(family) != 16 {
		return nil, errToken
	}
	c.family = string(family)
	if r.NotBefore != nil {
		if c.notBefore, err1 = numericDate(r.NotBefore); err1 != nil {
			return nil, errToken
		}
	}
	return c, nil
}

// names says whether aud, a string or an array of strings, holds the audience.
func names(aud json.RawMessage, audience string) bool {
	var one string
	if json.Unmarshal(aud, &one) == nil {
		return one == audience
	}
	var many []string
	if json.Unmarshal(aud, &many) != nil {
		return false
	}
	return slices.Contains(many, audience)
}

func numericDate(n *float64) (time.Time, error) {
	if n == nil || math.IsNaN(*n) || *n < 0 || *n > 1<<40 {
		return time.Time{}, errors.New("not a date")
	}
	whole, fraction := math.Modf(*n)
	return time.Unix(int64(whole), int64(fraction*1e9)), nil
}
