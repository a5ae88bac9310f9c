package tokenbooth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tokenbooth/tokenbooth/response"
)

// gkWeak makes an RSA key of a size that GenerateKey refuses, without the cost
// of finding primes: the check comes before any use.
func gkWeak(bits int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}
}

func gkMust[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestT6_KeysChecked(t *testing.T) {
	p384 := gkMust(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	p224 := gkMust(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	p256 := gkKey("ES256").Material.(*ecdsa.PrivateKey)
	other := gkMust(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	rsaKey := gkKey("RS256").Material.(*rsa.PrivateKey)
	ed := gkKey("EdDSA").Material.(ed25519.PrivateKey)
	_, ed2, _ := ed25519.GenerateKey(rand.Reader)
	offCurve := &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)} //nolint:staticcheck // what may be given
	evenE := &rsa.PublicKey{N: rsaKey.N, E: 65536}
	bad := map[string]Key{
		"no material":                 {},
		"P-384":                       {Material: p384},
		"P-384 public":                {Material: &p384.PublicKey},
		"P-224":                       {Material: p224},
		"ECDSA nil":                   {Material: (*ecdsa.PrivateKey)(nil)},
		"ECDSA public nil":            {Material: (*ecdsa.PublicKey)(nil)},
		"ECDSA zero":                  {Material: &ecdsa.PrivateKey{}},
		"ECDSA without a point":       {Material: &ecdsa.PublicKey{Curve: elliptic.P256()}},
		"ECDSA off the curve":         {Material: offCurve},
		"ECDSA without D":             {Material: &ecdsa.PrivateKey{PublicKey: p256.PublicKey}},
		"ECDSA halves of two keys":    {Material: &ecdsa.PrivateKey{PublicKey: p256.PublicKey, D: other.D}}, //nolint:staticcheck // the same
		"ECDSA by value":              {Material: *p256},
		"Ed25519 short":               {Material: ed[:32]},
		"Ed25519 empty":               {Material: ed25519.PrivateKey{}},
		"Ed25519 nil":                 {Material: ed25519.PrivateKey(nil)},
		"Ed25519 public short":        {Material: ed25519.PublicKey(ed[32:63])},
		"Ed25519 halves of two":       {Material: append(slices.Clone(ed[:32]), ed2[32:]...)},
		"RSA 1024":                    {Material: gkWeak(1024)},
		"RSA 2047":                    {Material: gkWeak(2047)},
		"RSA 4097":                    {Material: gkWeak(4097)},
		"RSA 8192":                    {Material: gkWeak(8192)},
		"RSA nil":                     {Material: (*rsa.PrivateKey)(nil)},
		"RSA public nil":              {Material: (*rsa.PublicKey)(nil)},
		"RSA zero":                    {Material: &rsa.PrivateKey{}},
		"RSA E 1":                     {Material: &rsa.PublicKey{N: rsaKey.N, E: 1}},
		"RSA E even":                  {Material: evenE},
		"RSA without D":               {Material: &rsa.PrivateKey{PublicKey: rsaKey.PublicKey}},
		"HS256 31 bytes":              {Material: make([]byte, 31)},
		"HS256 empty":                 {Material: []byte{}},
		"HS256 nil":                   {Material: []byte(nil)},
		"HS256 a string":              {Material: strings.Repeat("a", 64)},
		"ES256 key for RS256":         {Algorithm: "RS256", Material: p256},
		"RSA key for PS256":           {Algorithm: "PS256", Material: rsaKey},
		"HS256 key for HS512":         {Algorithm: "HS512", Material: make([]byte, 64)},
		"none":                        {Algorithm: "none", Material: p256},
		"algorithm in other case":     {Algorithm: "es256", Material: p256},
		"a public RSA key as secret":  {Algorithm: "HS256", Material: &rsaKey.PublicKey},
		"a number":                    {Material: 42},
		"a Key within a Key":          {Material: gkKey("ES256")},
		"a pointer to Ed25519 public": {Material: new(ed25519.PublicKey)},
	}
	for name, key := range bad {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if v := recover(); v != nil {
					t.Errorf("panic: %v", v)
				}
			}()
			if ring, err := NewKeyRing(gkKey("HS256"), key); err == nil || ring != nil {
				t.Errorf("accepted as the second: %v", err)
			}
			if _, err := NewKeyRing(key); err == nil {
				t.Error("accepted as the first")
			}
		})
	}
}

func TestT6_KeysAccepted(t *testing.T) {
	for name, key := range map[string]Key{
		"RSA 2048":           {Material: gkKey("RS256").Material},
		"RSA 4096 public":    {Material: &rsa.PublicKey{N: gkWeak(4096).N, E: 65537}},
		"RSA public":         {Material: gkPublic(t, gkKey("RS256")).Material},
		"P-256":              {Material: gkKey("ES256").Material},
		"P-256 public":       {Material: gkPublic(t, gkKey("ES256")).Material},
		"Ed25519":            {Material: gkKey("EdDSA").Material},
		"Ed25519 public":     {Material: gkPublic(t, gkKey("EdDSA")).Material},
		"HS256 of 32 bytes":  {Material: bytes.Repeat([]byte{7}, 32)},
		"HS256 of 100 bytes": {Algorithm: "HS256", Material: bytes.Repeat([]byte{7}, 100)},
	} {
		if _, err := NewKeyRing(key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestT6_EveryMistakeOfARing(t *testing.T) {
	key := gkKey("ES256")
	_, err := NewKeyRing(key, Key{Material: make([]byte, 8)}, key, Key{})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"key 2", "8 bytes", "key 3", "used twice", "key 4"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
	if _, err := NewKeyRing(); err == nil {
		t.Error("a ring without a key")
	}
	if _, err := GenerateKey("RS512"); err == nil || !strings.Contains(err.Error(), "RS512") {
		t.Errorf("GenerateKey: %v", err)
	}
}

// A secret that is changed after NewKeyRing changes no ring.
func TestT6_SecretIsCopied(t *testing.T) {
	secret := bytes.Repeat([]byte{1}, 32)
	b := gkNew(t, func(c *HandlerConfig) { c.Keys = gkRing(t, Key{ID: "h", Material: secret}) })
	token := b.mintFor(t, nil)
	clear(secret)
	if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
		t.Errorf("status %d", status)
	}
	forged := gkJWS(t, secret, gkHeader(Key{ID: "h"}, "HS256").with(nil), gkClaims().with(nil))
	if status := gkStatus(t, b.Guard(), forged); status != http.StatusUnauthorized {
		t.Errorf("signed with zeros: %d", status)
	}
}

// Next, current, previous: a key that verifies already, one that signs, one that
// still verifies; then it is gone.
func TestT6_Rotation(t *testing.T) {
	older, current, next := gkKey("RS256"), gkKey("ES256"), gkKey("EdDSA")
	tokens := map[string]string{}
	for _, k := range []Key{older, current, next} {
		tokens[k.ID] = gkNew(t, func(c *HandlerConfig) { c.Keys = gkRing(t, k) }).mintFor(t, nil)
	}
	b := gkNew(t, func(c *HandlerConfig) { c.Keys = gkRing(t, current, older, gkPublic(t, next)) })
	for id, token := range tokens {
		if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
			t.Errorf("key %s: %d", id, status)
		}
	}
	if header := gkDecode(t, strings.Split(b.mintFor(t, nil), ".")[0]); header["kid"] != current.ID {
		t.Errorf("signed by %v, want the first key", header["kid"])
	}
	retired := gkNew(t, func(c *HandlerConfig) { c.Keys = gkRing(t, next, current) })
	gkRefused(t, retired, tokens[older.ID])
	if n := len(retired.keys.set().verifiers); n != 2 {
		t.Errorf("%d keys after an unknown one, want 2", n)
	}
}

func gkKids(t *testing.T, ring *KeyRing) []string {
	t.Helper()
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal(ring.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	var kids []string
	for _, k := range set.Keys {
		kids = append(kids, k.Kid)
	}
	return kids
}

func TestT6_Thumbprints(t *testing.T) {
	big64 := func(s string) *big.Int {
		return new(big.Int).SetBytes(gkMust(base64.RawURLEncoding.DecodeString(s)))
	}
	// RFC 7638 §3.1.
	n := "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	// RFC 8037 App. A.3.
	x := gkMust(base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))
	ring := gkRing(t,
		Key{Material: &rsa.PublicKey{N: big64(n), E: 65537}},
		Key{Material: ed25519.PublicKey(x)},
		Key{ID: "named", Material: gkKey("ES256").Material},
	)
	want := []string{"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "named"}
	if got := gkKids(t, ring); !slices.Equal(got, want) {
		t.Errorf("kids %v, want %v", got, want)
	}
}

// The kid of a secret is stable, differs from another's, and is none of the
// hashes that a guesser would have at hand.
func TestT6_SecretKid(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, 32)
	kid := func(secret []byte) string {
		b := gkNew(t, func(c *HandlerConfig) { c.Keys = gkRing(t, Key{Material: secret}) })
		id, _ := gkDecode(t, strings.Split(b.mintFor(t, nil), ".")[0])["kid"].(string)
		return id
	}
	one := kid(secret)
	if one == "" || one != kid(secret) || one == kid(bytes.Repeat([]byte{8}, 32)) {
		t.Errorf("kid %q", one)
	}
	if strings.Contains(one, base64.RawURLEncoding.EncodeToString(secret)[:8]) || strings.Contains(one, hex.EncodeToString(secret)[:8]) {
		t.Errorf("the kid %q tells of the secret", one)
	}
}

func TestT6_JWKSHasNoPrivateMember(t *testing.T) {
	unnamed := func(algorithm string) Key { return Key{Material: gkKey(algorithm).Material} }
	ring := gkRing(t, unnamed("HS256"), unnamed("ES256"), unnamed("RS256"), unnamed("EdDSA"), gkMust(GenerateKey("HS256")))
	b := gkNew(t, func(c *HandlerConfig) { c.Keys = ring })
	w := httptest.NewRecorder()
	b.JWKS(w, httptest.NewRequest(http.MethodGet, "/jwks", http.NoBody))
	if !bytes.Equal(w.Body.Bytes(), ring.JWKS()) || w.Header().Get("Content-Type") != "application/jwk-set+json" {
		t.Errorf("%s %s", w.Header().Get("Content-Type"), w.Body)
	}
	var set map[string][]map[string]any
	if err := json.Unmarshal(ring.JWKS(), &set); err != nil || len(set) != 1 {
		t.Fatalf("%v: %s", err, ring.JWKS())
	}
	want := map[string]string{
		"EC":  "alg crv kid kty use x y",
		"OKP": "alg crv kid kty use x",
		"RSA": "alg e kid kty n use",
	}
	if len(set["keys"]) != len(want) {
		t.Fatalf("%d keys, want %d: HS256 is left out", len(set["keys"]), len(want))
	}
	for _, jwk := range set["keys"] {
		kty, _ := jwk["kty"].(string)
		if got := strings.Join(slices.Sorted(maps.Keys(jwk)), " "); got != want[kty] {
			t.Errorf("%s has the members %q, want %q", kty, got, want[kty])
		}
		if jwk["use"] != "sig" {
			t.Errorf("%s: use %v", kty, jwk["use"])
		}
	}
	only := gkRing(t, gkKey("HS256"))
	if got := string(only.JWKS()); got != `{"keys":[]}` {
		t.Errorf("JWKS of a secret: %s", got)
	}
}

func TestT6_JWKSIsACopy(t *testing.T) {
	ring := gkRing(t, gkKey("ES256"))
	clear(ring.JWKS())
	if !json.Valid(ring.JWKS()) {
		t.Error("who changes the answer changes the ring")
	}
}

func TestT6_JWKSMethods(t *testing.T) {
	b := gkNew(t, nil)
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "PUT": 405, "DELETE": 405, "": 405} {
		r := httptest.NewRequest(http.MethodGet, "/jwks", http.NoBody)
		r.Method = method
		w := httptest.NewRecorder()
		b.JWKS(w, r)
		if w.Code != want || want == 405 && w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%q: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q: no nosniff", method)
		}
	}
}

// The public half verifies and does not sign.
func TestT6_Public(t *testing.T) {
	b := gkNew(t, nil)
	token := b.mintFor(t, nil)
	public := b.keys.Public()
	if _, err := verifyJWS(t.Context(), public, token, "at+jwt"); err != nil {
		t.Error(err)
	}
	if _, err := public.sign([]byte("{}")); err == nil {
		t.Error("the public half signs")
	}
	if _, err := b.keys.sign([]byte("{}")); err != nil {
		t.Errorf("Public has changed the ring: %v", err)
	}
}

func gkPEM(t testing.TB, kind string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestT6_ParsePEM(t *testing.T) {
	var all []byte
	var public []byte
	for _, algorithm := range []string{"ES256", "EdDSA", "RS256"} {
		key := gkKey(algorithm)
		der, err := x509.MarshalPKCS8PrivateKey(key.Material)
		all = append(all, gkPEM(t, "PRIVATE KEY", der, err)...)
		der, err = x509.MarshalPKIXPublicKey(gkPublic(t, key).Material)
		public = append(public, gkPEM(t, "PUBLIC KEY", der, err)...)
	}
	der, err := x509.MarshalECPrivateKey(gkKey("ES256").Material.(*ecdsa.PrivateKey))
	sec1 := gkPEM(t, "EC PRIVATE KEY", der, err)
	pkcs1 := gkPEM(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(gkKey("RS256").Material.(*rsa.PrivateKey)), nil)

	private, err := ParsePEM(all)
	if err != nil || len(private) != 3 {
		t.Fatalf("%d keys, %v", len(private), err)
	}
	halves, err := ParsePEM(public)
	if err != nil || len(halves) != 3 {
		t.Fatalf("%d keys, %v", len(halves), err)
	}
	if a, b := gkKids(t, gkRing(t, private...)), gkKids(t, gkRing(t, halves...)); !slices.Equal(a, b) {
		t.Errorf("a key and its half have the kids %v and %v", a, b)
	}
	for name, text := range map[string][]byte{"SEC 1": sec1, "PKCS #1": pkcs1} {
		if keys, err := ParsePEM(text); err != nil || len(keys) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string][]byte{
		"empty":            nil,
		"text":             []byte("hunter2"),
		"text after":       append(bytes.Clone(sec1), "hunter2"...),
		"cut":              sec1[:len(sec1)-10],
		"broken DER":       gkPEM(t, "PRIVATE KEY", []byte("hunter2"), nil),
		"a certificate":    gkPEM(t, "CERTIFICATE", []byte("hunter2"), nil),
		"good, then wrong": append(bytes.Clone(sec1), gkPEM(t, "PUBLIC KEY", []byte("hunter2"), nil)...),
	} {
		keys, err := ParsePEM(text)
		if err == nil || keys != nil {
			t.Errorf("%s: %d keys", name, len(keys))
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows what was given: %v", name, err)
		}
	}
}

// gkPrint writes a value in every way in which values get into logs.
func gkPrint(v any) map[string]string {
	out := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X"} {
		out[verb] = fmt.Sprintf(verb, v)
	}
	b, err := json.Marshal(v)
	out["json"] = fmt.Sprint(string(b), err)
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(w *bytes.Buffer) slog.Handler { return slog.NewTextHandler(w, nil) },
		"slog json": func(w *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	} {
		var w bytes.Buffer
		slog.New(handler(&w)).Info("m", "v", v, slog.Group("g", "v", v))
		out[name] = w.String()
	}
	return out
}

// gkSpellings are the ways in which fmt, json and slog would write the secret.
func gkSpellings(secret []byte) []string {
	return []string{
		string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
		base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret),
		strings.Trim(fmt.Sprint(secret), "[]"), strings.Trim(fmt.Sprintf("%#v", secret), "[]byte{}"),
		strings.Trim(fmt.Sprintf("%x", []any{secret}), "[]"), strings.Trim(fmt.Sprintf("%q", secret), `"`),
	}
}

func gkSecrets(t testing.TB) [][]byte {
	t.Helper()
	ec := gkKey("ES256").Material.(*ecdsa.PrivateKey)
	rsaKey := gkKey("RS256").Material.(*rsa.PrivateKey)
	return [][]byte{
		gkKey("HS256").Material.([]byte),
		gkKey("EdDSA").Material.(ed25519.PrivateKey).Seed(),
		gkMust(ec.Bytes()), []byte(ec.D.String()), //nolint:staticcheck // how a printed D looks
		rsaKey.D.Bytes(), []byte(rsaKey.D.String()), []byte(rsaKey.Primes[0].String()),
	}
}

func gkHides(t *testing.T, name string, v any, secrets [][]byte) {
	t.Helper()
	var shows []string
	for how, text := range gkPrint(v) {
		for i, secret := range secrets {
			if slices.ContainsFunc(gkSpellings(secret), func(s string) bool { return strings.Contains(text, s) }) {
				shows = append(shows, fmt.Sprintf("%s: %d", how, i))
			}
		}
	}
	if len(shows) > 0 {
		slices.Sort(shows)
		t.Errorf("%s shows a secret under %q", name, shows)
	}
}

func gkAllKeys() []Key {
	var keys []Key
	for _, algorithm := range gkAlgorithms {
		keys = append(keys, gkKey(algorithm))
	}
	return keys
}

func TestT8_KeysHide(t *testing.T) {
	secrets := gkSecrets(t)
	keys := gkAllKeys()
	ring := gkRing(t, keys...)
	hmacFirst := gkRing(t, keys[3], keys[0])
	for i := range keys {
		name := keys[i].Algorithm
		gkHides(t, name+" Key", keys[i], secrets)
		gkHides(t, name+" *Key", &keys[i], secrets)
		gkHides(t, name+" struct of Key", struct{ K Key }{keys[i]}, secrets)
		gkHides(t, name+" map of Key", map[string]Key{"k": keys[i]}, secrets)
	}
	pointer := &keys[3]
	gkHides(t, "[]Key", keys, secrets)
	gkHides(t, "[]*Key", []*Key{pointer}, secrets)
	gkHides(t, "**Key", &pointer, secrets)
	gkHides(t, "[]any", []any{keys[3], pointer, ring}, secrets)
	gkHides(t, "error of Key", fmt.Errorf("%v %w", keys[3], http.ErrBodyNotAllowed), secrets)
	for name, r := range map[string]*KeyRing{"ring": ring, "HS256 first": hmacFirst, "Public": ring.Public()} {
		gkHides(t, name+" *KeyRing", r, secrets)
		gkHides(t, name+" **KeyRing", &r, secrets)
		gkHides(t, name+" []*KeyRing", []*KeyRing{r}, secrets)
		gkHides(t, name+" struct of *KeyRing", struct{ K *KeyRing }{r}, secrets)
	}
	for _, nothing := range []any{(*KeyRing)(nil), (*Key)(nil), Key{}, []Key(nil)} {
		gkPrint(nothing) // must not panic
	}
}

func TestT8_RedactedIsWhatIsSeen(t *testing.T) {
	for name, v := range map[string]any{"Key": gkKey("HS256"), "KeyRing": gkRing(t, gkKey("HS256"))} {
		for how, text := range gkPrint(v) {
			if !strings.Contains(text, redacted) {
				t.Errorf("%s under %s: %s", name, how, text)
			}
		}
	}
}

// A handler and a guard may get into a log as well.
func TestT8_HandlerAndGuardHide(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Keys = gkRing(t, gkAllKeys()[3], gkAllKeys()[0]) })
	secrets := append(gkSecrets(t), []byte(b.secret))
	g := gkGuard(t, GuardConfig{Keys: b.keys, Clients: b.clients})
	gkHides(t, "Handler", b.Handler, secrets)
	gkHides(t, "Guard", b.Guard(), secrets)
	gkHides(t, "NewGuard", g, secrets)
	gkHides(t, "Guard by value", *g, secrets)
	gkHides(t, "Failure", response.Fail(response.TokenInvalid), secrets)
}
