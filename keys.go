package tokenbooth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // minds case and refuses a member given twice
)

// A Key signs or verifies JWTs with one algorithm. It prints as REDACTED, but for
// one that is kept by value in an unexported field, where package fmt calls no
// methods; keep a [KeyRing].
type Key struct {
	// ID is the kid. When empty it is the RFC 7638 thumbprint, and for HS256 a
	// value that reveals nothing of the secret.
	ID string
	// Algorithm is ES256, EdDSA, RS256 or HS256; it follows from the type of
	// Material when empty.
	Algorithm string
	// Material is an *ecdsa.PrivateKey on P-256, an ed25519.PrivateKey, an
	// *rsa.PrivateKey of 2048 to 4096 bits, or at least 32 bytes for HS256; or a
	// public half, which can only verify.
	Material any
}

const maxKeyID = 128 // bytes

const redacted = "REDACTED"

// String hides the key.
func (k Key) String() string { return redacted }

// GoString hides the key.
func (k Key) GoString() string { return redacted }

// Format hides the key from every verb of package fmt.
func (k Key) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalJSON hides the key.
func (k Key) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue hides the key.
func (k Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// GenerateKey makes a new key for ES256, EdDSA, RS256 (2048 bits) or HS256.
func GenerateKey(algorithm string) (Key, error) {
	var material any
	var err error
	switch algorithm {
	case "ES256":
		material, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, material, err = ed25519.GenerateKey(rand.Reader)
	case "RS256":
		material, err = rsa.GenerateKey(rand.Reader, 2048)
	case "HS256":
		secret := make([]byte, 32)
		_, err = rand.Read(secret)
		material = secret
	default:
		err = fmt.Errorf("tokenbooth: algorithm %q: want ES256, EdDSA, RS256 or HS256", algorithm)
	}
	if err != nil {
		return Key{}, err
	}
	return Key{Algorithm: algorithm, Material: material}, nil
}

// ParsePEM reads the keys of PEM blocks, private (PKCS #8, SEC 1, PKCS #1) or
// public (PKIX), in their order.
func ParsePEM(data []byte) ([]Key, error) {
	var keys []Key
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		material, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("tokenbooth: PEM block %d (%s): %w", len(keys)+1, block.Type, err)
		}
		keys = append(keys, Key{Material: material})
		data = rest
	}
	if len(keys) == 0 || len(bytes.TrimSpace(data)) != 0 {
		return nil, errors.New("tokenbooth: not PEM, or text after the last block")
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	}
	return nil, errors.New("want PRIVATE KEY or PUBLIC KEY")
}

// A KeyRing signs with its first key and verifies with all of them. It is safe
// for concurrent use, also with [KeyRing.Set], and prints nothing of its keys.
// Do not copy it.
type KeyRing struct {
	// Behind an atomic pointer package fmt sees an address, whatever the verb.
	keys atomic.Pointer[keySet]
	of   *KeyRing // whose public half this is; nil where it is whole
	dir  *keyDir  // what it follows; nil where its keys are set
}

// A keySet is what a KeyRing holds at one time. It is never changed.
type keySet struct {
	signer    *signer // of access tokens; nil when no key can sign
	idSigner  *signer // of id_tokens
	algorithm string  // that both sign with
	verifiers map[string]verifier
	jwks      []byte
}

type verifier struct {
	algorithm string
	public    any
}

// NewKeyRing returns a ring of the keys. The first one signs, unless it is a
// public half; then the ring can only verify. Every mistake is in the error.
func NewKeyRing(keys ...Key) (*KeyRing, error) {
	ring := new(KeyRing)
	if err := ring.Set(keys...); err != nil {
		return nil, err
	}
	return ring, nil
}

// Set replaces all keys at once, as in [NewKeyRing]; after an error they are
// what they were. To rotate without refusing a good token: add the next key
// behind the current one at least the JWKS's max-age, 5 minutes, before it
// becomes the first, and keep the previous one until the last token that it
// signed has ended.
func (ring *KeyRing) Set(keys ...Key) error {
	if ring.of != nil || ring.dir != nil {
		return errors.New("tokenbooth: this KeyRing follows another one or a directory")
	}
	set, err := newKeySet(keys)
	if err != nil {
		return err
	}
	ring.keys.Store(set)
	return nil
}

func newKeySet(keys []Key) (*keySet, error) {
	set := &keySet{verifiers: map[string]verifier{}}
	jwks := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	var mistakes []error
	if len(keys) == 0 {
		mistakes = append(mistakes, errors.New("tokenbooth: a KeyRing needs a key: make one with GenerateKey"))
	}
	for i, k := range keys {
		if err := set.add(k, i == 0, &jwks); err != nil {
			mistakes = append(mistakes, fmt.Errorf("tokenbooth: key %d: %w", i+1, err))
		}
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	var err error
	set.jwks, err = json.Marshal(jwks)
	return set, err
}

func (set *keySet) add(k Key, signs bool, jwks *jose.JSONWebKeySet) error {
	public, private, algorithm, err := inspect(k.Material)
	if err != nil {
		return err
	}
	if k.Algorithm != "" && k.Algorithm != algorithm {
		return fmt.Errorf("algorithm %q does not fit the key, which is for %s", k.Algorithm, algorithm)
	}
	id := k.ID
	if id == "" {
		if id, err = thumbprint(public); err != nil {
			return err
		}
	}
	if len(id) > maxKeyID {
		return fmt.Errorf("the key ID has %d bytes: want at most %d", len(id), maxKeyID)
	}
	if _, twice := set.verifiers[id]; twice {
		return fmt.Errorf("the key ID %q is used twice", id)
	}
	set.verifiers[id] = verifier{algorithm, public}
	if algorithm != "HS256" {
		jwks.Keys = append(jwks.Keys, jose.JSONWebKey{Key: public, KeyID: id, Algorithm: algorithm, Use: "sig"})
	}
	if signs && private != nil {
		set.algorithm = algorithm
		if set.signer, err = newSigner(algorithm, private, id, "at+jwt"); err == nil {
			set.idSigner, err = newSigner(algorithm, private, id, "JWT")
		}
	}
	return err
}

// set returns the keys of this moment; an empty set for a ring that was not made
// by NewKeyRing.
func (ring *KeyRing) set() *keySet {
	if ring.of != nil {
		return ring.of.set()
	}
	if ring.dir != nil {
		ring.dir.follow(ring)
	}
	if set := ring.keys.Load(); set != nil {
		return set
	}
	return new(keySet)
}

func (ring *KeyRing) canSign() bool { return ring.of == nil && ring.set().signer != nil }

// inspect says what a key can do; private is nil for a public half.
func inspect(material any) (public, private any, algorithm string, err error) {
	switch k := material.(type) {
	case *ecdsa.PrivateKey:
		return inspectECDSA(k)
	case *ecdsa.PublicKey:
		return k, nil, "ES256", checkECDSA(k)
	case ed25519.PrivateKey:
		if len(k) != ed25519.PrivateKeySize || !k.Equal(ed25519.NewKeyFromSeed(k.Seed())) {
			return nil, nil, "", errors.New("want an Ed25519 key whose halves belong together")
		}
		return k.Public(), k, "EdDSA", nil
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return nil, nil, "", errors.New("want an Ed25519 public key of 32 bytes")
		}
		return k, nil, "EdDSA", nil
	case *rsa.PrivateKey:
		return inspectRSA(k)
	case *rsa.PublicKey:
		return k, nil, "RS256", checkRSA(k)
	case []byte:
		if len(k) < 32 {
			return nil, nil, "", fmt.Errorf("%d bytes are too few for HS256: want at least 32", len(k))
		}
		k = bytes.Clone(k)
		return k, k, "HS256", nil
	}
	return nil, nil, "", fmt.Errorf("a key cannot be a %T", material)
}

func inspectECDSA(k *ecdsa.PrivateKey) (public, private any, algorithm string, err error) {
	bad := errors.New("want an ECDSA key on P-256 whose halves belong together")
	//nolint:staticcheck // whether D is there at all; nothing is computed with it
	if k == nil || k.D == nil || checkECDSA(&k.PublicKey) != nil {
		return nil, nil, "", bad
	}
	whole, err := k.ECDH() // refuses what is out of range
	if err != nil {
		return nil, nil, "", bad
	}
	half, err := k.PublicKey.ECDH()
	if err != nil || !whole.PublicKey().Equal(half) {
		return nil, nil, "", bad
	}
	return &k.PublicKey, k, "ES256", nil
}

func checkECDSA(k *ecdsa.PublicKey) error {
	//nolint:staticcheck // whether X and Y are there at all; nothing is computed with them
	if k == nil || k.Curve != elliptic.P256() || k.X == nil || k.Y == nil {
		return errors.New("want an ECDSA key on P-256")
	}
	if _, err := k.ECDH(); err != nil {
		return errors.New("the ECDSA key is not on the curve")
	}
	return nil
}

func inspectRSA(k *rsa.PrivateKey) (public, private any, algorithm string, err error) {
	if k == nil || k.D == nil {
		return nil, nil, "", errors.New("the RSA key has no private half")
	}
	if err := checkRSA(&k.PublicKey); err != nil {
		return nil, nil, "", err
	}
	if err := k.Validate(); err != nil {
		return nil, nil, "", errors.New("the RSA key is not consistent")
	}
	return &k.PublicKey, k, "RS256", nil
}

func checkRSA(k *rsa.PublicKey) error {
	if k == nil || k.N == nil || k.N.BitLen() < 2048 || k.N.BitLen() > 4096 || k.E < 3 || k.E%2 == 0 {
		return errors.New("want an RSA key of 2048 to 4096 bits with an odd exponent")
	}
	return nil
}

func thumbprint(public any) (string, error) {
	if secret, ok := public.([]byte); ok {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte("tokenbooth kid"))
		return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16]), nil
	}
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// JWKS returns the public keys as a JSON Web Key Set (RFC 7517 §5). HS256 keys
// have no public half and are left out.
func (ring *KeyRing) JWKS() []byte { return bytes.Clone(ring.set().jwks) }

// Public returns a ring that verifies as this one does, follows its changes and
// cannot sign. HS256 keys stay, since whoever verifies with them can sign.
func (ring *KeyRing) Public() *KeyRing { return &KeyRing{of: ring} }

// String hides the keys.
func (ring *KeyRing) String() string { return redacted }

// GoString hides the keys.
func (ring *KeyRing) GoString() string { return redacted }

// Format hides the keys from every verb of package fmt.
func (ring *KeyRing) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalJSON hides the keys; [KeyRing.JWKS] has what may be seen.
func (ring *KeyRing) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue hides the keys.
func (ring *KeyRing) LogValue() slog.Value { return slog.StringValue(redacted) }

func (ring *KeyRing) find(_ context.Context, id string) (verifier, bool, error) {
	v, ok := ring.set().verifiers[id]
	return v, ok, nil
}

// algorithms are those of all keys that are published: clients learn the next
// one before it signs.
func (set *keySet) algorithms() []string {
	all := []string{}
	for _, v := range set.verifiers {
		if v.algorithm != "HS256" && !slices.Contains(all, v.algorithm) {
			all = append(all, v.algorithm)
		}
	}
	slices.Sort(all)
	return all
}
