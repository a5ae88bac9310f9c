package tokenbooth

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// signCases are two keys of each algorithm; the ID of one of them needs escapes.
func signCases(tb testing.TB) map[string]Key {
	tb.Helper()
	keys := map[string]Key{}
	for _, algorithm := range benchAlgorithms {
		k, err := GenerateKey(algorithm)
		if err != nil {
			tb.Fatal(err)
		}
		keys[algorithm] = k
		k.ID = `"kid" <1> é`
		keys[algorithm+" with an odd ID"] = k
	}
	return keys
}

// checkAgainstJose holds a token against what go-jose makes of the same: the
// header byte for byte, and a signature that it verifies.
func checkAgainstJose(t *testing.T, k Key, typ, token string) (payload []byte) {
	t.Helper()
	ring, err := NewKeyRing(k)
	if err != nil {
		t.Fatal(err)
	}
	var id string
	var v verifier
	for id, v = range ring.set().verifiers {
		break
	}
	algorithm := jose.SignatureAlgorithm(v.algorithm)
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{algorithm})
	if err != nil {
		t.Fatal(err)
	}
	if payload, err = signed.Verify(v.public); err != nil {
		t.Fatalf("go-jose does not verify %s: %v", token, err)
	}
	options := new(jose.SignerOptions).WithType(jose.ContentType(typ)).WithHeader("kid", id)
	by, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: k.Material}, options)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := by.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := theirs.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	sameUpTo := strings.LastIndexByte(text, '.')
	if v.algorithm == "HS256" || v.algorithm == "EdDSA" || v.algorithm == "RS256" { // these are functions of their input
		sameUpTo = len(text)
	}
	if token[:sameUpTo] != text[:sameUpTo] || len(token) != len(text) {
		t.Errorf("ours:\n%s\ngo-jose's:\n%s", token, text)
	}
	return payload
}

func TestT1_SignedAsGoJoseDoes(t *testing.T) {
	for name, k := range signCases(t) {
		t.Run(name, func(t *testing.T) {
			ring, err := NewKeyRing(k)
			if err != nil {
				t.Fatal(err)
			}
			for n := range 64 { // the integers of some signatures are short
				payload := fmt.Sprintf(`{"n":%d}`, n)
				for typ, by := range map[string]*signer{"at+jwt": ring.set().signer, "JWT": ring.set().idSigner} {
					token, err := ring.signWith(by, []byte(payload))
					if err != nil {
						t.Fatal(err)
					}
					if got := checkAgainstJose(t, k, typ, token); string(got) != payload {
						t.Fatalf("got %s, want %s", got, payload)
					}
				}
				if k.Algorithm == "RS256" && n == 2 {
					break
				}
			}
		})
	}
}

// TestT1_ShortIntegers: one signature in 256 has an integer of fewer than 32
// bytes, which RFC 7518 §3.4 wants filled up.
func TestT1_ShortIntegers(t *testing.T) {
	k, err := GenerateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	private := k.Material.(*ecdsa.PrivateKey)
	short := 0
	for n := 0; short < 3; n++ {
		input := fmt.Append(nil, n)
		signature, err := appendES256([]byte("before"), input, private)
		if err != nil {
			t.Fatal(err)
		}
		if len(signature) != len("before")+64 || string(signature[:6]) != "before" {
			t.Fatalf("%d bytes", len(signature))
		}
		if signature[6] == 0 || signature[38] == 0 {
			short++
		}
	}
}

func TestAppendFixedRefuses(t *testing.T) {
	good := []byte{0x30, 6, 2, 1, 1, 2, 1, 2}
	if _, err := appendFixed(nil, good); err != nil {
		t.Fatal(err)
	}
	long := append([]byte{0x30, 38, 2, 33, 1}, make([]byte, 32)...)
	for name, der := range map[string][]byte{
		"nothing": nil, "no sequence": {0x31, 6, 2, 1, 1, 2, 1, 2}, "cut": good[:7], "a third": {0x30, 7, 2, 1, 1, 2, 1, 2, 0},
		"one integer": {0x30, 3, 2, 1, 1}, "no integer": {0x30, 6, 3, 1, 1, 2, 1, 2}, "beyond the end": {0x30, 6, 2, 9, 1, 2, 1, 2},
		"33 bytes": append(long, 2, 1, 2),
	} {
		if got, err := appendFixed(nil, der); err == nil {
			t.Errorf("%s: %x", name, got)
		}
	}
}

// jwtClaims are the claims as encoding/json writes them.
type jwtClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope,omitempty"`
	Username string `json:"username,omitempty"`
	ReadOnly bool   `json:"read_only,omitempty"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"`

	Family       string `json:"fam,omitempty"`
	SubjectEpoch int64  `json:"sep,omitempty"`
	ClientEpoch  int64  `json:"cep,omitempty"`
}

// checkClaims holds what is written by hand against encoding/json, byte for byte
// and by reading it back.
func checkClaims(t *testing.T, issuer, audience string, c *claims) {
	t.Helper()
	codec := JWT{}.codec(codecConfig{issuer: issuer, audience: audience}).(*jwtCodec)
	got := codec.appendClaims(nil, c)
	want := jwtClaims{
		Issuer: issuer, Subject: c.subject, Audience: audience, ClientID: c.clientID,
		Scope: c.scope, Username: c.username, ReadOnly: c.readOnly,
		IssuedAt: c.issued.Unix(), Expires: c.expires.Unix(), ID: c.id,
		Family:       base64.RawURLEncoding.EncodeToString([]byte(c.family)),
		SubjectEpoch: c.subjectEpoch, ClientEpoch: c.clientEpoch,
	}
	wanted, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(wanted) {
		t.Errorf("got  %s\nwant %s", got, wanted)
	}
	var read, meant jwtClaims
	if err := json.Unmarshal(got, &read); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if err := json.Unmarshal(wanted, &meant); err != nil || read != meant {
		t.Errorf("read as %+v, want %+v (%v)", read, meant, err)
	}
}

func TestT1_ClaimsAsEncodingJSONHasThem(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	whole := claims{
		subject: `u"1\`, clientID: "a<b>&c", username: "Zoë \u2028\x01", scope: "read write", id: "AAECAwQFBgcICQoLDA0ODw",
		issued: now, expires: now.Add(time.Hour), readOnly: true,
		family: strings.Repeat("\xff\x00", 8), subjectEpoch: -1, clientEpoch: 1 << 62,
	}
	checkClaims(t, "https://issuer.example", "https://api.example", &whole)
	checkClaims(t, "", "\xff\xfe", new(claims))
	for _, without := range []func(*claims){
		func(c *claims) { c.scope = "" },
		func(c *claims) { c.username = "" },
		func(c *claims) { c.readOnly = false },
		func(c *claims) { c.family = "" },
		func(c *claims) { c.subjectEpoch = 0 },
		func(c *claims) { c.clientEpoch = 0 },
	} {
		part := whole
		without(&part)
		checkClaims(t, "https://issuer.example", "https://api.example", &part)
	}
}

func FuzzJWTClaims(f *testing.F) {
	f.Add("https://i.example", "client:acme", "read write", "", "", int64(0), uint64(0))
	f.Add(`"`, `\`, "\xff", "<>&\u2028", "0123456789abcdef", int64(-1<<63), uint64(1))
	f.Fuzz(func(t *testing.T, issuer, subject, scope, username, family string, epoch int64, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		issued := time.Unix(r.Int64N(1<<40), r.Int64N(1e9))
		checkClaims(t, issuer, username, &claims{
			subject: subject, clientID: scope, scope: scope, username: username, id: family,
			issued: issued, expires: issued.Add(time.Duration(r.Int64())), readOnly: r.IntN(2) == 0,
			family: family, subjectEpoch: epoch, clientEpoch: r.Int64() >> r.IntN(64),
		})
	})
}
