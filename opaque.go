package tokenbooth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/store"
)

// Opaque is the [TokenFormat] of random access tokens that are looked up in the
// State, where only their SHA-256 is kept.
type Opaque struct {
	// Prefix stands before the digits: letters, digits, "-" and "_", as "sk-".
	Prefix string
	// Bytes is the number of random bytes, written as twice as many hexadecimal
	// digits: 16 to 64, 32 when 0. Fewer than 32 only where clients expect a
	// length.
	Bytes int
}

func (o Opaque) validate() error {
	if o.Bytes != 0 && (o.Bytes < 16 || o.Bytes > 64) {
		return fmt.Errorf("Bytes is %d: want 16 to 64, or 0 for 32", o.Bytes)
	}
	for _, c := range []byte(o.Prefix) {
		if !isAlphanumeric(c) && c != '-' && c != '_' {
			return fmt.Errorf("Prefix %q: want letters, digits, - and _", o.Prefix)
		}
	}
	if len(o.Prefix) > 64 {
		return fmt.Errorf("Prefix has %d bytes: want at most 64", len(o.Prefix))
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func (o Opaque) codec(c codecConfig) codec {
	n := o.Bytes
	if n == 0 {
		n = 32
	}
	return &opaqueCodec{o.Prefix, n, bounded(c.state), authz.RealmOf(c.issuer, c.audience)}
}

type opaqueCodec struct {
	prefix string
	bytes  int
	state  *boundedState
	realm  [8]byte
}

// tokenSkew keeps a record beyond its end for guards whose clock or leeway
// makes them look a little later.
const tokenSkew = time.Minute

func (o *opaqueCodec) mint(ctx context.Context, c *claims) (string, error) {
	var random [64]byte // the most, as the prefix has at most
	_, _ = rand.Read(random[:o.bytes])
	var room [64 + 2*64]byte
	token := string(hex.AppendEncode(append(room[:0], o.prefix...), random[:o.bytes]))
	key, id := tokenKey(token)
	c.id = id
	created, err := o.state.Create(ctx, key, o.encode(c), c.expires.Add(tokenSkew))
	if err == nil && !created {
		err = errors.New("tokenbooth: an opaque token was drawn twice")
	}
	return token, err
}

// tokenKey is where a token's record is, and the token's public identifier.
func tokenKey(token string) (key, id string) {
	sum := sha256.Sum256([]byte(token))
	return "token:" + string(sum[:]), base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (o *opaqueCodec) verify(ctx context.Context, token string) (*claims, error) {
	if !o.shaped(token) {
		return nil, errToken
	}
	key, id := tokenKey(token)
	record, ok, err := o.state.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errToken
	}
	c, realm, err := decodeToken(record)
	if err != nil {
		return nil, err
	}
	if realm != o.realm {
		return nil, errToken
	}
	c.id = id
	return c, nil
}

// shaped keeps what cannot be a token away from the store.
func (o *opaqueCodec) shaped(token string) bool {
	if len(token) != len(o.prefix)+2*o.bytes || token[:len(o.prefix)] != o.prefix {
		return false
	}
	for _, c := range []byte(token[len(o.prefix):]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// The record of an opaque token: version, flags, realm, issued and expires in
// Unix milliseconds, then client, scope, subject and username, each after its
// length; last what revocation is keyed on. A client that is its own subject is
// not written twice.
const (
	recordVersion  = 1
	recordReadOnly = 1 << 0
	recordUser     = 1 << 1
	recordFamily   = 1 << 2 // a family of 16 bytes and both epochs come last
	recordEpochs   = 1 << 3 // both epochs come last
)

func (o *opaqueCodec) encode(c *claims) []byte {
	flags := byte(0)
	if c.readOnly {
		flags |= recordReadOnly
	}
	texts := []string{c.clientID, c.scope}
	if c.subject != clientSubjectPrefix+c.clientID {
		flags |= recordUser
		texts = append(texts, c.subject, c.username)
	}
	b := make([]byte, 0, 32+len(c.clientID)+len(c.scope)+len(c.subject)+len(c.username))
	b = append(b, recordVersion, flags)
	b = append(b, o.realm[:]...)
	b = binary.AppendVarint(b, c.issued.UnixMilli())
	b = binary.AppendVarint(b, c.expires.UnixMilli())
	for _, s := range texts {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	switch {
	case c.family != "":
		b[1] |= recordFamily
		b = append(b, c.family...)
	case c.subjectEpoch != 0 || c.clientEpoch != 0:
		b[1] |= recordEpochs
	default:
		return b
	}
	b = binary.AppendVarint(b, c.subjectEpoch)
	return binary.AppendVarint(b, c.clientEpoch)
}

var (
	errRecord = errors.New("tokenbooth: the record of a token is damaged")
	// errLaterRecord passes when the last copy is of the later version, too.
	errLaterRecord = fmt.Errorf("%w: a later version wrote it: %w", errRecord, store.ErrUnavailable)
)

func decodeToken(b []byte) (c *claims, realm [8]byte, err error) {
	if len(b) > 0 && b[0] > recordVersion {
		return nil, realm, errLaterRecord
	}
	if len(b) < 10 || b[0] != recordVersion {
		return nil, realm, errRecord
	}
	flags := b[1]
	copy(realm[:], b[2:10])
	r := recordReader{rest: b[10:]}
	c = &claims{readOnly: flags&recordReadOnly != 0}
	c.issued, c.expires = r.time(), r.time()
	c.clientID, c.scope = r.text(), r.text()
	c.subject = clientSubjectPrefix + c.clientID
	if flags&recordUser != 0 {
		c.subject, c.username = r.text(), r.text()
	}
	if flags&recordFamily != 0 {
		c.family = r.bytes(16)
	}
	if flags&(recordFamily|recordEpochs) != 0 {
		c.subjectEpoch, c.clientEpoch = r.number(), r.number()
	}
	if r.damaged || len(r.rest) != 0 || c.clientID == "" || c.subject == "" {
		return nil, realm, errRecord
	}
	return c, realm, nil
}

type recordReader struct {
	rest    []byte
	damaged bool
}

func (r *recordReader) number() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.damaged = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *recordReader) time() time.Time { return time.UnixMilli(r.number()) }

func (r *recordReader) bytes(length uint64) string {
	if length > uint64(len(r.rest)) {
		r.damaged = true
		return ""
	}
	s := string(r.rest[:length])
	r.rest = r.rest[length:]
	return s
}

func (r *recordReader) text() string {
	length, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.damaged = true
		return ""
	}
	r.rest = r.rest[n:]
	return r.bytes(length)
}
