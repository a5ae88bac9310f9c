// Package authz holds the record of one authorization: the code, and every
// refresh token that comes of it. Everything that can happen to them is one
// compare-and-swap on this one record, so that nothing can be half done on any
// store, and a store needs to know nothing of grants.
package authz

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"slices"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// A Phase is how far an authorization has come.
type Phase byte

// The phases.
const (
	Code    Phase = 1 + iota // a code was issued and not yet redeemed
	Active                   // it was redeemed; refresh tokens live
	Revoked                  // nothing of it is good any more
)

// A Record is one authorization. Its key in the State is [Key] of its family.
type Record struct {
	Phase   Phase
	OpenID  bool    // an id_token was asked for
	Offline bool    // refresh tokens may be issued
	Fails   uint8   // redemptions that failed with the right code
	Realm   [8]byte // of the handler that issued it: several may share one State
	Client  string  // the client's ID
	Subject string
	User    string // the user's name, for whoever tells it
	Scope   string // as granted, joined by spaces

	Redirect   string // as it was in the authorization request; empty when it was not
	Challenge  string // PKCE S256; empty when there is none
	CodeHash   [32]byte
	CodeUntil  time.Time
	OIDCNonce  string
	AuthTime   time.Time
	SecretHash [32]byte // of the family's secret, which is made at redemption
	MACNonce   [32]byte
	Gen        uint64 // of the one live refresh token
	RotatedAt  time.Time
	IdleUntil  time.Time
	AbsUntil   time.Time
	Until      time.Time // of the last access token

	SubjectEpoch, ClientEpoch int64 // as read when it was authorized
}

// A Family names an authorization. It is public: it stands in tokens.
type Family [16]byte

// NewFamily draws a family.
func NewFamily() (f Family) {
	_, _ = rand.Read(f[:])
	return f
}

const keyPrefix = "authz:"

// Key is where the record of a family is.
func Key(f Family) string { return keyPrefix + string(f[:]) }

// FamilyIn returns the bytes of the family whose record is at the key.
func FamilyIn(key string) string { return key[len(keyPrefix):] }

// Expires is until when the record has to be kept: while any token of it may
// live, and a while longer for clocks that differ.
func (r *Record) Expires() time.Time {
	last := r.CodeUntil
	for _, t := range [...]time.Time{r.AbsUntil, r.Until} {
		if t.After(last) {
			last = t
		}
	}
	return last.Add(keepLonger)
}

const keepLonger = 10 * time.Minute

const version = 1

// Encode returns the record with 16 fresh bytes: no two writes are alike,
// so that a writer whose reply was lost knows its own by reading.
func (r *Record) Encode() []byte { return r.AppendTo(make([]byte, 0, r.size())) }

const (
	fixed    = 4 + 16 + 3*32 + 8
	mostElse = 9*binary.MaxVarintLen64 + 7*3 // numbers, and the lengths of texts
)

func (r *Record) size() int {
	return fixed + mostElse + len(r.Client) + len(r.Subject) + len(r.User) + len(r.Scope) +
		len(r.Redirect) + len(r.Challenge) + len(r.OIDCNonce)
}

// AppendTo appends what Encode returns.
func (r *Record) AppendTo(b []byte) []byte {
	b = slices.Grow(b, r.size())
	b = append(b, version, byte(r.Phase), flag(r.OpenID)|flag(r.Offline)<<1, r.Fails)
	// They have to differ, not to be secret.
	b = binary.NativeEndian.AppendUint64(b, mrand.Uint64()) //nolint:gosec // as said
	b = binary.NativeEndian.AppendUint64(b, mrand.Uint64()) //nolint:gosec // as said
	for _, h := range [...]*[32]byte{&r.CodeHash, &r.SecretHash, &r.MACNonce} {
		b = append(b, h[:]...)
	}
	b = append(b, r.Realm[:]...)
	b = binary.AppendUvarint(b, r.Gen)
	for _, t := range r.times() {
		b = binary.AppendVarint(b, millis(*t))
	}
	b = binary.AppendVarint(b, r.SubjectEpoch)
	b = binary.AppendVarint(b, r.ClientEpoch)
	for _, s := range r.texts() {
		b = binary.AppendUvarint(b, uint64(len(*s)))
		b = append(b, *s...)
	}
	return b
}

func (r *Record) times() [6]*time.Time {
	return [...]*time.Time{&r.CodeUntil, &r.AuthTime, &r.RotatedAt, &r.IdleUntil, &r.AbsUntil, &r.Until}
}

func (r *Record) texts() [7]*string {
	return [...]*string{&r.Client, &r.Subject, &r.User, &r.Scope, &r.Redirect, &r.Challenge, &r.OIDCNonce}
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// millis keeps the zero time apart from 1970.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// ErrDamaged says that a stored value is no record. It is a failure of the
// store, never a reason to refuse a client.
var (
	ErrDamaged    = errors.New("authz: a stored record is damaged")
	errDrawnTwice = errors.New("authz: a family was drawn twice")
	// errLater passes when the last copy is of the later version, too.
	errLater = fmt.Errorf("%w: a later version wrote it: %w", ErrDamaged, store.ErrUnavailable)
)

// Decode reads a record.
func Decode(b []byte) (*Record, error) {
	r := new(Record)
	if err := r.decode(b); err != nil {
		return nil, err
	}
	return r, nil
}

// decode leaves it to the caller where the record is.
func (r *Record) decode(b []byte) error {
	if len(b) > 0 && b[0] > version {
		return errLater
	}
	if len(b) < fixed || b[0] != version || b[1] < byte(Code) || b[1] > byte(Revoked) || b[2] > 3 {
		return ErrDamaged
	}
	*r = Record{Phase: Phase(b[1]), OpenID: b[2]&1 != 0, Offline: b[2]&2 != 0, Fails: b[3]}
	copy(r.CodeHash[:], b[20:])
	copy(r.SecretHash[:], b[52:])
	copy(r.MACNonce[:], b[84:])
	copy(r.Realm[:], b[116:])
	d := decoder{rest: b[fixed:]}
	r.Gen = d.uvarint()
	for _, t := range r.times() {
		if ms := d.varint(); ms != 0 {
			*t = time.UnixMilli(ms)
		}
	}
	r.SubjectEpoch, r.ClientEpoch = d.varint(), d.varint()
	texts := string(d.rest) // once for all of them
	for _, s := range r.texts() {
		*s = d.text(&texts)
	}
	if d.damaged || len(d.rest) != 0 || r.Client == "" || r.Subject == "" {
		return ErrDamaged
	}
	return nil
}

type decoder struct {
	rest    []byte
	damaged bool
}

func (d *decoder) skip(n int) {
	if n <= 0 {
		d.damaged, n = true, 0
	}
	d.rest = d.rest[n:]
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	d.skip(n)
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	d.skip(n)
	return v
}

// text returns the text that comes next, as a part of texts, which is the same as
// the rest.
func (d *decoder) text(texts *string) string {
	before := len(d.rest)
	length := d.uvarint()
	if length > uint64(len(d.rest)) {
		d.damaged = true
		return ""
	}
	start := before - len(d.rest)
	d.rest = d.rest[length:]
	end := start + int(length) //nolint:gosec // at most the length of what is there
	s := (*texts)[start:end]
	*texts = (*texts)[end:]
	return s
}

// RealmOf tells handlers apart that share one State, in fewer bytes than an issuer
// and an audience.
func RealmOf(issuer, audience string) (realm [8]byte) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%s", len(issuer), issuer, audience))
	copy(realm[:], sum[:])
	return realm
}
