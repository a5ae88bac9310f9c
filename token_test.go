package tokenbooth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

func gkDecode(t testing.TB, part string) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		t.Fatalf("%q: %v", part, err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return m
}

func TestT1_Claims(t *testing.T) {
	for _, algorithm := range gkAlgorithms {
		t.Run(algorithm, func(t *testing.T) {
			b := gkNew(t, func(c *HandlerConfig) {
				c.Keys, c.Audience = gkRing(t, gkKey(algorithm)), "https://api.example"
			})
			parts := strings.Split(b.mintFor(t, nil), ".")
			if len(parts) != 3 {
				t.Fatalf("%d parts, want 3", len(parts))
			}
			header, payload := gkDecode(t, parts[0]), gkDecode(t, parts[1])
			for name, want := range map[string]any{"typ": "at+jwt", "alg": algorithm, "kid": "kid-" + algorithm} {
				if header[name] != want {
					t.Errorf("header %s is %v, want %v", name, header[name], want)
				}
			}
			if len(header) != 3 {
				t.Errorf("header has more than typ, alg and kid: %v", header)
			}
			for name, want := range map[string]any{
				"iss": gkIssuer, "aud": "https://api.example", "sub": "client:acme", "client_id": "acme", "scope": "read",
				"iat": float64(gkStart.Unix()), "exp": float64(gkStart.Add(time.Hour).Unix()),
			} {
				if payload[name] != want {
					t.Errorf("claim %s is %v, want %v", name, payload[name], want)
				}
			}
			if id, _ := payload["jti"].(string); len(id) != 22 {
				t.Errorf("jti %q, want 16 random bytes", id)
			}
		})
	}
}

// Whatever is optional is left out, and no two tokens share a jti.
func TestT1_ClaimsLeftOut(t *testing.T) {
	b := gkNew(t, nil)
	seen := map[any]bool{}
	for range 100 {
		payload := gkDecode(t, strings.Split(b.mintFor(t, func(c *claims) { c.scope = "" }), ".")[1])
		for _, name := range []string{"scope", "username", "read_only", "nbf"} {
			if v, has := payload[name]; has {
				t.Fatalf("claim %s is %v, want none", name, v)
			}
		}
		if seen[payload["jti"]] {
			t.Fatalf("jti %v twice", payload["jti"])
		}
		seen[payload["jti"]] = true
	}
}

// expires_in is a promise, which a JWT keeps but for the fraction of a second that
// it was issued at: its dates are whole seconds, and exp is iat and expires_in.
func TestT1_LivesAsLongAsItSays(t *testing.T) {
	for name, tokens := range map[string]TokenFormat{"JWT": JWT{}, "Opaque": Opaque{}} {
		t.Run(name, func(t *testing.T) {
			b := gkNew(t, func(c *HandlerConfig) { c.Tokens, c.AccessTokenTTL = tokens, time.Second })
			b.clock.set(gkStart.Add(900 * time.Millisecond))
			token := gkIssue(t, b, "grant_type=client_credentials&client_id=acme&client_secret="+b.secret)
			alive := 999 * time.Millisecond
			if name == "JWT" {
				alive = 99 * time.Millisecond
			}
			b.clock.add(alive)
			if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
				t.Errorf("after %v of expires_in 1: status %d", alive, status)
			}
			b.clock.add(2 * time.Second)
			if status := gkStatus(t, b.Guard(), token); status != http.StatusUnauthorized {
				t.Errorf("after 2.999 s of expires_in 1: status %d", status)
			}
		})
	}
}

// A token verifies with a library that shares no code with the guard's checks.
func TestT1_ReadableElsewhere(t *testing.T) {
	for _, algorithm := range gkAlgorithms {
		t.Run(algorithm, func(t *testing.T) {
			key := gkKey(algorithm)
			b := gkNew(t, func(c *HandlerConfig) { c.Keys = gkRing(t, key) })
			token := b.mintFor(t, nil)
			public := gkPublic(t, key).Material

			jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
			if err != nil {
				t.Fatal(err)
			}
			payload, err := jws.Verify(public)
			if err != nil || !json.Valid(payload) {
				t.Errorf("go-jose: %v, payload %s", err, payload)
			}
			if !gkPlainVerify(public, token) {
				t.Error("plain crypto: the signature is bad")
			}
		})
	}
}

func gkPlainVerify(public any, token string) bool {
	dot := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.Strict().DecodeString(token[dot+1:])
	if err != nil {
		return false
	}
	digest := sha256.Sum256([]byte(token[:dot]))
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return len(signature) == 64 && ecdsa.Verify(k, digest[:], r, s)
	case ed25519.PublicKey:
		return ed25519.Verify(k, []byte(token[:dot]), signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], signature) == nil
	case []byte:
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(token[:dot]))
		return hmac.Equal(mac.Sum(nil), signature)
	}
	return false
}

// gkCertificate returns a certificate of the key, as x5c has it.
func gkCertificate(t testing.TB, k Key) string {
	t.Helper()
	signer, ok := k.Material.(crypto.Signer)
	if !ok {
		t.Fatalf("%T cannot sign a certificate", k.Material)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: gkStart.AddDate(100, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// gkPublicBytes are the forms of a public key that a careless verifier would
// take for an HMAC secret.
func gkPublicBytes(t testing.TB, k Key) map[string][]byte {
	t.Helper()
	public := gkPublic(t, k).Material
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(jose.JSONWebKey{Key: public})
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string][]byte{
		"DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "JWK": jwk,
	}
	forms["PEM without the last newline"] = bytes.TrimSpace(forms["PEM"])
	if raw, ok := public.(ed25519.PublicKey); ok {
		forms["raw"] = raw
	}
	if rsaKey, ok := public.(*rsa.PublicKey); ok {
		forms["PKCS1"] = x509.MarshalPKCS1PublicKey(rsaKey)
	}
	return forms
}

func gkRefused(t *testing.T, b *gkBooth, token string) {
	t.Helper()
	b.events.all = nil
	if status := gkStatus(t, b.Guard(), token); status != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", status)
		return
	}
	if e := b.events.last(t); e.Reason != response.TokenInvalid {
		t.Errorf("reason %q, want %q", e.Reason, response.TokenInvalid)
	}
}

func TestT2_AlgorithmConfusion(t *testing.T) {
	for _, algorithm := range []string{"ES256", "EdDSA", "RS256"} {
		key := gkKey(algorithm)
		payload := gkClaims().with(nil)
		for ringName, ring := range map[string]*KeyRing{
			"alone":      gkRing(t, key),
			"with HS256": gkRing(t, key, gkKey("HS256")),
		} {
			b := gkNew(t, func(c *HandlerConfig) { c.Keys = ring })
			for form, secret := range gkPublicBytes(t, key) {
				for _, alg := range []string{"HS256", algorithm, "HS384", "HS512"} {
					t.Run(algorithm+"/"+ringName+"/"+form+"/"+alg, func(t *testing.T) {
						gkRefused(t, b, gkJWS(t, secret, gkHeader(key, alg).with(nil), payload))
					})
				}
			}
			for _, none := range []string{"none", "None", "NONE", "nOnE", ""} {
				t.Run(algorithm+"/"+ringName+"/alg "+none, func(t *testing.T) {
					gkRefused(t, b, gkJWS(t, nil, gkHeader(key, none).with(nil), payload))
					gkRefused(t, b, gkJWS(t, key.Material, gkHeader(key, none).with(nil), payload))
				})
			}
		}
	}
}

// A ring of several keys never verifies with one key what another one signed,
// nor under another's name.
func TestT2_KeysNeverSwap(t *testing.T) {
	var keys []Key
	for _, algorithm := range gkAlgorithms {
		keys = append(keys, gkKey(algorithm))
	}
	b := gkNew(t, func(c *HandlerConfig) { c.Keys = gkRing(t, keys...) })
	payload := gkClaims().with(nil)
	for i, signs := range gkAlgorithms {
		for j, named := range gkAlgorithms {
			for k, alg := range gkAlgorithms {
				token := gkJWS(t, keys[i].Material, gkHeader(keys[j], alg).with(nil), payload)
				good := i == j && j == k
				if status := gkStatus(t, b.Guard(), token); (status == http.StatusNoContent) != good {
					t.Errorf("signed by %s, kid of %s, alg %s: %d", signs, named, alg, status)
				}
			}
		}
	}
}

// Every header is signed by the right key: what is refused is what it says.
func TestT2_Headers(t *testing.T) {
	const text = "a string"
	for _, algorithm := range []string{"ES256", "EdDSA", "RS256"} {
		key := gkKey(algorithm)
		b := gkNew(t, func(c *HandlerConfig) { c.Keys = gkRing(t, key) })
		jwk, err := json.Marshal(jose.JSONWebKey{Key: gkPublic(t, key).Material})
		if err != nil {
			t.Fatal(err)
		}
		header := gkHeader(key, algorithm)
		for name, h := range map[string]string{
			"jwk":                    header.with(gkMembers{"jwk": json.RawMessage(jwk)}),
			"jwk without kid":        header.with(gkMembers{"jwk": json.RawMessage(jwk), "kid": gkDrop}),
			"jwk no key":             header.with(gkMembers{"jwk": gkMembers{}}),
			"jku":                    header.with(gkMembers{"jku": "https://issuer.example/jwks"}),
			"jku not a string":       header.with(gkMembers{"jku": 1}),
			"x5u":                    header.with(gkMembers{"x5u": "https://issuer.example/cert"}),
			"x5c":                    header.with(gkMembers{"x5c": []string{gkCertificate(t, key)}}),
			"x5c empty":              header.with(gkMembers{"x5c": []string{}}),
			"x5c broken":             header.with(gkMembers{"x5c": []string{"AAAA"}}),
			"crit known":             header.with(gkMembers{"crit": []string{"b64"}, "b64": true}),
			"crit b64 false":         header.with(gkMembers{"crit": []string{"b64"}, "b64": false}),
			"crit unknown":           header.with(gkMembers{"crit": []string{"x-ours"}, "x-ours": 1}),
			"crit names what is not": header.with(gkMembers{"crit": []string{"x-ours"}}),
			"crit standard":          header.with(gkMembers{"crit": []string{"exp"}}),
			"crit alg":               header.with(gkMembers{"crit": []string{"alg"}}),
			"crit empty":             header.with(gkMembers{"crit": []string{}}),
			"crit a string":          header.with(gkMembers{"crit": "b64"}),
			"b64 false":              header.with(gkMembers{"b64": false}),
			"b64 true":               header.with(gkMembers{"b64": true}),
			"typ missing":            header.with(gkMembers{"typ": gkDrop}),
			"typ null":               header.with(gkMembers{"typ": nil}),
			"typ JWT":                header.with(gkMembers{"typ": "JWT"}),
			"typ number":             header.with(gkMembers{"typ": 1}),
			"typ empty":              header.with(gkMembers{"typ": ""}),
			"typ longer":             header.with(gkMembers{"typ": "at+jwt2"}),
			"typ prefix twice":       header.with(gkMembers{"typ": "application/application/at+jwt"}),
			"typ other prefix":       header.with(gkMembers{"typ": "text/at+jwt"}),
			"typ logout":             header.with(gkMembers{"typ": "logout+jwt"}),
			"kid unknown":            header.with(gkMembers{"kid": "another"}),
			"kid missing":            header.with(gkMembers{"kid": gkDrop}),
			"kid empty":              header.with(gkMembers{"kid": ""}),
			"kid number":             header.with(gkMembers{"kid": 1}),
			"kid null":               header.with(gkMembers{"kid": nil}),
			"kid other case":         header.with(gkMembers{"kid": strings.ToUpper(key.ID)}),
			"alg missing":            header.with(gkMembers{"alg": gkDrop}),
			"alg other case":         header.with(gkMembers{"alg": strings.ToLower(algorithm)}),
			"alg another":            header.with(gkMembers{"alg": "PS256"}),
			"alg number":             header.with(gkMembers{"alg": 1}),
			"alg twice":              `{"alg":"none","alg":"` + algorithm + `","typ":"at+jwt","kid":"` + key.ID + `"}`,
			"kid twice":              `{"alg":"` + algorithm + `","typ":"at+jwt","kid":"x","kid":"` + key.ID + `"}`,
			"typ twice":              `{"alg":"` + algorithm + `","typ":"JWT","typ":"at+jwt","kid":"` + key.ID + `"}`,
			"names in capitals":      `{"ALG":"` + algorithm + `","TYP":"at+jwt","KID":"` + key.ID + `"}`,
			"trailing data":          header.with(nil) + `{}`,
			"array":                  "[" + header.with(nil) + "]",
			"null":                   "null",
			"empty":                  "",
			"a string":               `"` + text + `"`,
		} {
			t.Run(algorithm+"/"+name, func(t *testing.T) {
				gkRefused(t, b, gkJWS(t, key.Material, h, gkClaims().with(nil)))
			})
		}
		for name, h := range map[string]string{
			"as minted":               header.with(nil),
			"AT+JWT":                  header.with(gkMembers{"typ": "AT+JWT"}),
			"application/at+jwt":      header.with(gkMembers{"typ": "application/at+jwt"}),
			"APPLICATION/At+Jwt":      header.with(gkMembers{"typ": "APPLICATION/At+Jwt"}),
			"a member without effect": header.with(gkMembers{"x-ours": "1"}),
		} {
			t.Run(algorithm+"/good/"+name, func(t *testing.T) {
				token := gkJWS(t, key.Material, h, gkClaims().with(nil))
				if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
					t.Errorf("status %d, want 204", status)
				}
			})
		}
	}
}

func TestT2_Claims(t *testing.T) {
	key := gkKey("ES256")
	b := gkNew(t, nil)
	body := gkClaims()
	raw := func(name, value string) string {
		return body.with(gkMembers{name: json.RawMessage(value)})
	}
	unquoted := func(name, value string) string {
		return strings.Replace(body.with(gkMembers{name: "@"}), `"@"`, value, 1)
	}
	bad := map[string]string{
		"exp NaN":                unquoted("exp", "NaN"),
		"exp Infinity":           unquoted("exp", "Infinity"),
		"exp negative":           raw("exp", "-1"),
		"exp string":             raw("exp", `"9999999999"`),
		"exp 1e308":              raw("exp", "1e308"),
		"exp 1e400":              raw("exp", "1e400"),
		"exp 2^63":               raw("exp", "9223372036854775808"),
		"exp array":              raw("exp", "[9999999999]"),
		"exp object":             raw("exp", "{}"),
		"exp bool":               raw("exp", "true"),
		"exp in capitals":        strings.Replace(body.with(nil), `"exp"`, `"EXP"`, 1),
		"iss in capitals":        strings.Replace(body.with(nil), `"iss"`, `"Iss"`, 1),
		"aud in capitals":        strings.Replace(body.with(nil), `"aud"`, `"AUD"`, 1),
		"sub in capitals":        strings.Replace(body.with(nil), `"sub"`, `"Sub"`, 1),
		"exp twice":              strings.Replace(body.with(nil), `"exp"`, `"exp":1,"exp"`, 1),
		"iss twice":              strings.Replace(body.with(nil), `"iss"`, `"iss":"x","iss"`, 1),
		"iat negative":           raw("iat", "-1"),
		"nbf string":             raw("nbf", `"1"`),
		"nbf negative":           raw("nbf", "-1"),
		"iss another":            raw("iss", `"https://other.example"`),
		"iss with a slash":       raw("iss", `"`+gkIssuer+`/"`),
		"iss other case":         raw("iss", `"HTTPS://issuer.example"`),
		"iss array":              raw("iss", `["`+gkIssuer+`"]`),
		"aud another":            raw("aud", `"https://api.example"`),
		"aud others":             raw("aud", `["https://api.example","x"]`),
		"aud no strings":         raw("aud", `["`+gkIssuer+`",1]`),
		"aud empty array":        raw("aud", `[]`),
		"aud object":             raw("aud", `{"`+gkIssuer+`":true}`),
		"aud with a slash":       raw("aud", `"`+gkIssuer+`/"`),
		"aud joined by a space":  raw("aud", `"x `+gkIssuer+`"`),
		"aud nested":             raw("aud", `[["`+gkIssuer+`"]]`),
		"jti number":             raw("jti", "1"),
		"scope array":            raw("scope", `["read"]`),
		"read_only string":       raw("read_only", `"true"`),
		"sub number":             raw("sub", "1"),
		"client_id array":        raw("client_id", `["acme"]`),
		"trailing data":          body.with(nil) + "{}",
		"array":                  "[" + body.with(nil) + "]",
		"null":                   "null",
		"number":                 "1",
		"empty":                  "",
		"not JSON":               "{",
		"client_id of a control": raw("client_id", `"ac\nme"`),
		"client_id too long":     raw("client_id", `"`+strings.Repeat("a", 257)+`"`),
	}
	for _, name := range []string{"iss", "aud", "sub", "client_id", "jti", "iat", "exp"} {
		bad[name+" missing"] = body.with(gkMembers{name: gkDrop})
		bad[name+" null"] = raw(name, "null")
		if name != "iat" && name != "exp" {
			bad[name+" empty"] = raw(name, `""`)
		}
	}
	for name, payload := range bad {
		t.Run(name, func(t *testing.T) {
			gkRefused(t, b, gkJWS(t, key.Material, gkHeader(key, "ES256").with(nil), payload))
		})
	}
	for name, payload := range map[string]string{
		"as minted":      body.with(nil),
		"aud array":      raw("aud", `["https://api.example","`+gkIssuer+`"]`),
		"aud array of 1": raw("aud", `["`+gkIssuer+`"]`),
		"exp fraction":   raw("exp", "1700000000.5"),
		"exp far":        raw("exp", "253402300799"),
		"nbf":            raw("nbf", "1700000000"),
		"other claims":   body.with(gkMembers{"x": gkMembers{"y": []int{1}}}),
	} {
		t.Run("good/"+name, func(t *testing.T) {
			token := gkJWS(t, key.Material, gkHeader(key, "ES256").with(nil), payload)
			if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
				t.Errorf("status %d, want 204", status)
			}
		})
	}
}

func TestT2_Serializations(t *testing.T) {
	key := gkKey("EdDSA")
	b := gkNew(t, func(c *HandlerConfig) { c.Keys = gkRing(t, key) })
	good, other := b.mintFor(t, nil), b.mintFor(t, func(c *claims) { c.scope = "write" })
	p, q := strings.Split(good, "."), strings.Split(other, ".")
	flattened := `{"protected":"` + p[0] + `","payload":"` + p[1] + `","signature":"` + p[2] + `"}`
	general := `{"payload":"` + p[1] + `","signatures":[{"protected":"` + p[0] + `","signature":"` + p[2] + `"}]}`
	if status := gkStatus(t, b.Guard(), good); status != http.StatusNoContent {
		t.Fatalf("the good token: %d", status)
	}
	for name, token := range map[string]string{
		"five parts":              good + ".AA.AA",
		"four parts":              good + ".",
		"two parts":               p[0] + "." + p[1],
		"one part":                p[0],
		"dots":                    "..",
		"no signature":            p[0] + "." + p[1] + ".",
		"no payload":              p[0] + ".." + p[2],
		"no header":               "." + p[1] + "." + p[2],
		"JWE header":              gk64(`{"alg":"dir","enc":"A128GCM"}`) + ".." + p[0] + "." + p[1] + "." + p[2],
		"flattened JSON":          flattened,
		"general JSON":            general,
		"flattened JSON, base64":  gk64(flattened),
		"signature of another":    p[0] + "." + p[1] + "." + q[2],
		"payload of another":      p[0] + "." + q[1] + "." + p[2],
		"newline after":           good + "\n",
		"newline within":          p[0] + "\n." + p[1] + "." + p[2],
		"CRLF within":             p[0] + ".\r\n" + p[1] + "." + p[2],
		"spaces after":            good + "  ",
		"tab after":               good + "\t",
		"space within":            p[0] + ". " + p[1] + "." + p[2],
		"comma":                   good + "," + good,
		"padding":                 good + "==",
		"padding of 1":            good + "=",
		"padding within":          p[0] + "=." + p[1] + "." + p[2],
		"standard alphabet":       p[0] + "." + p[1] + ".+/" + p[2][2:],
		"signature longer":        good + "AA",
		"signature twice":         p[0] + "." + p[1] + "." + p[2] + p[2],
		"signature shorter":       good[:len(good)-4],
		"quotes":                  `"` + good + `"`,
		"NUL":                     good + "\x00",
		"8 KiB and 1, one part":   strings.Repeat("a", 8<<10+1),
		"8 KiB and 1, three":      strings.Repeat("a", 4<<10) + "." + strings.Repeat("a", 4<<10-2) + ".aa",
		"a megabyte":              strings.Repeat("a.", 1<<19),
		"8 KiB and 1, well made":  gkLongToken(t, key, 8<<10+1),
		"8 KiB and 40, well made": gkLongToken(t, key, 8<<10+40),
	} {
		t.Run(name, func(t *testing.T) { gkRefused(t, b, token) })
	}
	t.Run("8 KiB, well made", func(t *testing.T) {
		if status := gkStatus(t, b.Guard(), gkLongToken(t, key, 8<<10)); status != http.StatusNoContent {
			t.Errorf("status %d, want 204", status)
		}
	})
}

// gkLongToken makes a good token of exactly n bytes.
func gkLongToken(t testing.TB, key Key, n int) string {
	t.Helper()
	for fill := n * 3 / 4; fill > 0; fill-- {
		for _, kid := range []string{"", "1", "12"} { // not every length can be had by the payload alone
			header := gkHeader(key, "EdDSA").with(gkMembers{"x": kid})
			token := gkJWS(t, key.Material, header, gkClaims().with(gkMembers{"x": strings.Repeat("x", fill)}))
			if len(token) == n {
				return token
			}
			if len(token) > n+1000 {
				fill -= (len(token) - n - 1000) / 2
			}
		}
	}
	t.Fatalf("no token of %d bytes", n)
	return ""
}

// A token that differs in one bit is refused, unless base64 gives the same bytes
// for it.
func TestT2_BitFlips(t *testing.T) {
	for _, algorithm := range gkAlgorithms {
		t.Run(algorithm, func(t *testing.T) {
			b := gkNew(t, func(c *HandlerConfig) {
				c.Keys, c.Limiter, c.Events = gkRing(t, gkKey(algorithm)), Unlimited{}, nil
			})
			good := []byte(b.mintFor(t, nil))
			guarded := b.Guard()
			for i := range good {
				for bit := range 8 {
					flipped := bytes.Clone(good)
					flipped[i] ^= 1 << bit
					_, err := guarded.Check(gkRequest(string(flipped)))
					var f *response.Failure
					switch {
					case err == nil:
						if !gkSameBytes(good, flipped) {
							t.Fatalf("bit %d of byte %d: passed\n%s\n%s", bit, i, good, flipped)
						}
					case !errors.As(err, &f) || f.Reason != response.TokenInvalid:
						t.Fatalf("bit %d of byte %d: %v", bit, i, err)
					}
				}
			}
		})
	}
}

func gkSameBytes(a, b []byte) bool {
	p, q := strings.Split(string(a), "."), strings.Split(string(b), ".")
	if len(p) != len(q) {
		return false
	}
	for i := range p {
		x, err1 := base64.RawURLEncoding.DecodeString(p[i])
		y, err2 := base64.RawURLEncoding.DecodeString(q[i])
		if err1 != nil || err2 != nil || !bytes.Equal(x, y) {
			return false
		}
	}
	return true
}

func TestT3_Leeway(t *testing.T) {
	elsewhere := func(leeway time.Duration) func(*testing.T, *gkBooth) *Guard {
		return func(t *testing.T, b *gkBooth) *Guard {
			return gkGuard(t, GuardConfig{Keys: b.keys.Public(), Leeway: leeway, Now: b.clock.now})
		}
	}
	for name, c := range map[string]struct {
		guard  func(*testing.T, *gkBooth) *Guard
		leeway time.Duration
	}{
		"Handler.Guard":     {func(_ *testing.T, b *gkBooth) *Guard { return b.Guard() }, 0},
		"NewGuard":          {elsewhere(0), 30 * time.Second},
		"NewGuard negative": {elsewhere(-1), 0},
		"NewGuard 5s":       {elsewhere(5 * time.Second), 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := gkNew(t, nil)
			g := c.guard(t, b)
			key := gkKey("ES256")
			expires, begins := gkStart.Add(time.Hour), gkStart.Add(time.Minute)
			expiring := b.mintFor(t, nil)
			beginning := gkJWS(t, key.Material, gkHeader(key, "ES256").with(nil), gkClaims().with(gkMembers{"nbf": begins.Unix()}))
			for _, at := range []struct {
				token string
				time  time.Time
				good  bool
			}{
				{expiring, expires.Add(c.leeway - time.Nanosecond), true},
				{expiring, expires.Add(c.leeway), false},
				{expiring, expires.Add(c.leeway + time.Second), false},
				{expiring, expires.Add(c.leeway + 59*time.Second), false},
				{beginning, begins.Add(-c.leeway - time.Nanosecond), false},
				{beginning, begins.Add(-c.leeway), true},
				{beginning, begins, true},
			} {
				b.clock.set(at.time)
				if status := gkStatus(t, g, at.token); (status == http.StatusNoContent) != at.good {
					t.Errorf("at start%+v: status %d, want good: %v", at.time.Sub(gkStart), status, at.good)
				}
			}
		})
	}
}

func TestT3_OpaqueLeeway(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Tokens = Opaque{} })
	elsewhere := gkGuard(t, GuardConfig{Tokens: Opaque{}, State: b.state, Now: b.clock.now})
	token := b.mintFor(t, nil)
	for _, at := range []struct {
		after      time.Duration
		here, away bool
	}{
		{-time.Millisecond, true, true}, {0, false, true}, {30*time.Second - time.Millisecond, false, true}, {30 * time.Second, false, false},
	} {
		b.clock.set(gkStart.Add(time.Hour + at.after))
		if s := gkStatus(t, b.Guard(), token); (s == http.StatusNoContent) != at.here {
			t.Errorf("Handler.Guard at %v: %d", at.after, s)
		}
		if s := gkStatus(t, elsewhere, token); (s == http.StatusNoContent) != at.away {
			t.Errorf("NewGuard at %v: %d", at.after, s)
		}
	}
}

// What the same key signed for another purpose is no access token.
func TestT4_OtherTokensOfTheSameKey(t *testing.T) {
	key := gkKey("ES256")
	b := gkNew(t, nil)
	idToken := gkClaims().with(gkMembers{"aud": "acme", "nonce": "n"})
	for name, token := range map[string]string{
		"id token":                    gkJWS(t, key.Material, gkHeader(key, "ES256").with(gkMembers{"typ": "JWT"}), idToken),
		"id token without typ":        gkJWS(t, key.Material, gkHeader(key, "ES256").with(gkMembers{"typ": gkDrop}), idToken),
		"id token for our audience":   gkJWS(t, key.Material, gkHeader(key, "ES256").with(gkMembers{"typ": "JWT"}), gkClaims().with(nil)),
		"id token labelled at+jwt":    gkJWS(t, key.Material, gkHeader(key, "ES256").with(nil), idToken),
		"client assertion":            gkJWS(t, key.Material, gkHeader(key, "ES256").with(nil), gkClaims().with(gkMembers{"iss": "acme", "sub": "acme"})),
		"opaque token":                gkNew(t, func(c *HandlerConfig) { c.Tokens = Opaque{} }).mintFor(t, nil),
		"code":                        "c.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"refresh token":               "r.AAAAAAAAAAAAAAAAAAAAAA.1.AAAA.AAAA",
		"the jti":                     "an-id",
		"the public identifier of it": "kid-ES256",
	} {
		t.Run(name, func(t *testing.T) { gkRefused(t, b, token) })
	}
	t.Run("a JWT where tokens are opaque", func(t *testing.T) {
		opaque := gkNew(t, func(c *HandlerConfig) { c.Tokens = Opaque{} })
		gkRefused(t, opaque, b.mintFor(t, nil))
	})
}

// A client that acts for itself and a user are never taken for one another, even
// where the user has the client's ID as subject (G1).
func TestG1_UserNamedAsTheClient(t *testing.T) {
	for name, tokens := range map[string]TokenFormat{"JWT": JWT{}, "Opaque": Opaque{}} {
		t.Run(name, func(t *testing.T) {
			b := gkNew(t, func(c *HandlerConfig) { c.Tokens = tokens })
			x := b.newExchange(gkRequest(""))
			x.client = &store.Client{ID: "acme"}
			x.issue = &grant.Issue{User: &response.Subject{ID: "acme", Username: "someone"}}
			token, err := b.mint(t.Context(), x)
			if err != nil {
				return // refusing to mint is as good
			}
			p, err := b.Guard().Check(gkRequest(token))
			if err != nil {
				t.Fatal(err)
			}
			if p.IsClient() {
				t.Errorf("the user %q (%q) counts as the client", p.Subject, p.Username)
			}
		})
	}
}

var gkOpaqueFormats = map[string]struct {
	format Opaque
	shape  string
}{
	"default":         {Opaque{}, `^[0-9a-f]{64}$`},
	"sk- and 32 hex":  {Opaque{Prefix: "sk-", Bytes: 16}, `^sk-[0-9a-f]{32}$`},
	"40 hex":          {Opaque{Bytes: 20}, `^[0-9a-f]{40}$`},
	"longest":         {Opaque{Prefix: strings.Repeat("a_-Z", 16), Bytes: 64}, `^(a_-Z){16}[0-9a-f]{128}$`},
	"prefix of a hex": {Opaque{Prefix: "abc", Bytes: 32}, `^abc[0-9a-f]{64}$`},
}

func TestT5_DumpHoldsNothingUsable(t *testing.T) {
	for name, c := range gkOpaqueFormats {
		t.Run(name, func(t *testing.T) {
			dump := &gkDump{State: new(store.Memory)}
			b := gkNew(t, func(h *HandlerConfig) { h.Tokens, h.State = c.format, dump })
			shape := regexp.MustCompile(c.shape)
			for range 50 {
				token := gkIssue(t, b, "grant_type=client_credentials&client_id=acme&client_secret="+b.secret)
				if !shape.MatchString(token) {
					t.Fatalf("%q does not match %s", token, c.shape)
				}
				if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
					t.Fatalf("status %d", status)
				}
				gkSearchDump(t, dump, token, c.format.Prefix)
			}
			if len(dump.entries) != 50 {
				t.Errorf("%d entries for 50 tokens", len(dump.entries))
			}
			for _, e := range dump.entries {
				gkTryAsToken(t, b, c.format.Prefix, e[0], e[1])
			}
		})
	}
}

func gkSearchDump(t *testing.T, dump *gkDump, token, prefix string) {
	t.Helper()
	random, err := hex.DecodeString(token[len(prefix):])
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range dump.entries {
		for _, text := range e {
			if strings.Contains(text, token) || strings.Contains(text, string(random)) || strings.Contains(text, token[len(prefix):]) {
				t.Fatalf("the token %q stands in %q", token, text)
			}
		}
	}
}

func gkTryAsToken(t *testing.T, b *gkBooth, prefix string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		text = strings.TrimPrefix(text, "token:")
		for _, try := range []string{
			text, hex.EncodeToString([]byte(text)), prefix + hex.EncodeToString([]byte(text)),
			base64.RawURLEncoding.EncodeToString([]byte(text)), base64.StdEncoding.EncodeToString([]byte(text)),
		} {
			if status := gkStatus(t, b.Guard(), try); status == http.StatusNoContent {
				t.Fatalf("%q of the dump passes as a token", try)
			}
		}
	}
}

func TestT5_OpaqueShapes(t *testing.T) {
	for name, c := range gkOpaqueFormats {
		t.Run(name, func(t *testing.T) {
			memory := new(store.Memory)
			b := gkNew(t, func(h *HandlerConfig) {
				h.Tokens, h.State = c.format, memory
			})
			good := b.mintFor(t, nil)
			b.codec.(*opaqueCodec).state = bounded(gkState{memory, nil}) // a read would panic
			digits := good[len(c.format.Prefix):]
			for name, token := range map[string]string{
				"upper case":     c.format.Prefix + strings.ToUpper(digits[:len(digits)-1]) + "A",
				"shorter":        good[:len(good)-1],
				"longer":         good + "0",
				"padding":        good[:len(good)-1] + "=",
				"other digit":    good[:len(good)-1] + "g",
				"other prefix":   "x" + good,
				"changed prefix": "~" + good[1:],
				"8 KiB and 1":    strings.Repeat("a", 8<<10+1),
				"non-ASCII":      good[:len(good)-1] + "é",
			} {
				gkRefused(t, b, token)
				if t.Failed() {
					t.Fatal(name)
				}
			}
		})
	}
}

func TestT5_OpaqueBitFlips(t *testing.T) {
	b := gkNew(t, func(c *HandlerConfig) { c.Tokens, c.Limiter = Opaque{Prefix: "sk-", Bytes: 16}, Unlimited{} })
	good := []byte(b.mintFor(t, nil))
	for i := range good {
		for bit := range 8 {
			flipped := bytes.Clone(good)
			flipped[i] ^= 1 << bit
			if _, err := b.Guard().Check(gkRequest(string(flipped))); err == nil {
				t.Fatalf("bit %d of byte %d: passed", bit, i)
			}
		}
	}
}

// Two handlers that share a State refuse each other's tokens.
func TestT5_Realms(t *testing.T) {
	shared := new(store.Memory)
	booth := func(issuer, audience string) *gkBooth {
		return gkNew(t, func(c *HandlerConfig) {
			c.Issuer, c.Audience, c.Tokens, c.State = issuer, audience, Opaque{}, shared
		})
	}
	booths := map[string]*gkBooth{
		"one":              booth("https://a.example", ""),
		"other issuer":     booth("https://b.example", ""),
		"other audience":   booth("https://a.example", "https://api.example"),
		"slash":            booth("https://a.example/", "https://a.example"),
		"moved boundary":   booth("https://a.example/x", "yz"),
		"moved boundary 2": booth("https://a.example/xy", "z"),
		"digits":           booth("https://a.example/1", "1:https://a.example"),
	}
	for from, issuer := range booths {
		token := issuer.mintFor(t, nil)
		for to, b := range booths {
			want := http.StatusUnauthorized
			if from == to {
				want = http.StatusNoContent
			}
			if status := gkStatus(t, b.Guard(), token); status != want {
				t.Errorf("a token of %q at %q: %d, want %d", from, to, status, want)
			}
		}
	}
}

// What the store has damaged is the service's fault, never the caller's.
func TestT5_DamagedRecord(t *testing.T) {
	memory := new(store.Memory)
	var record []byte
	b := gkNew(t, func(c *HandlerConfig) {
		c.Tokens = Opaque{}
		c.State = memory
	})
	token := b.mintFor(t, func(c *claims) { c.subject, c.username = "ada", "Ada" })
	key, _ := tokenKey(token)
	whole, ok, err := memory.Get(t.Context(), key)
	if err != nil || !ok {
		t.Fatal("no record")
	}
	b.codec.(*opaqueCodec).state = bounded(gkState{memory, func(context.Context, string) ([]byte, bool, error) { return record, true, nil }})
	damaged := map[string][]byte{
		"empty":         {},
		"nil":           nil,
		"version 0":     append([]byte{0}, whole[1:]...),
		"version 2":     append([]byte{2}, whole[1:]...),
		"trailing byte": append(bytes.Clone(whole), 0),
		"text":          []byte("not a record of a token"),
		"huge length":   append(bytes.Clone(whole[:10]), 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01),
		"no client":     append(bytes.Clone(whole[:10]), 0, 0, 0, 0),
	}
	for i := range whole {
		damaged[fmt.Sprintf("cut to %d", i)] = whole[:i]
	}
	for name, r := range damaged {
		record = r
		w := gkServe(t, b.Guard().Require(), gkRequest(token))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: status %d, Retry-After %q, want 503", name, w.Code, w.Header().Get("Retry-After"))
		}
	}
	record = whole
	if status := gkStatus(t, b.Guard(), token); status != http.StatusNoContent {
		t.Errorf("the whole record: %d", status)
	}
}

// FuzzJWT holds the guard against a verifier of plain crypto: what passes must
// carry a good signature.
func FuzzJWT(f *testing.F) {
	var keys []Key
	for _, algorithm := range gkAlgorithms {
		keys = append(keys, gkFixedKey(f, algorithm))
	}
	b := gkNew(f, func(c *HandlerConfig) { c.Keys, c.Limiter, c.Events = gkRing(f, keys...), Unlimited{}, nil })
	for i, algorithm := range gkAlgorithms {
		token := gkJWS(f, keys[i].Material, gkHeader(keys[i], algorithm).with(nil), gkClaims().with(nil))
		f.Add(token)
		f.Add(token[:len(token)-1])
		f.Add(strings.Replace(token, ".", "..", 1))
	}
	f.Add(gkJWS(f, nil, `{"alg":"none","typ":"at+jwt","kid":"kid-ES256"}`, gkClaims().with(nil)))
	f.Add("..")
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := b.codec.verify(t.Context(), token)
		if err != nil {
			if !errors.Is(err, errToken) {
				t.Fatalf("a bad token gives the error %v", err)
			}
			return
		}
		if c.clientID == "" || c.subject == "" || c.id == "" || c.expires.IsZero() {
			t.Fatalf("passed without a required claim: %+v", c)
		}
		compact := strings.NewReplacer("\n", "", "\r", "").Replace(token)
		good := false
		for _, k := range keys {
			good = good || gkLenientVerify(gkPublic(t, k).Material, compact)
		}
		if !good {
			t.Fatalf("%q passed without a good signature", token)
		}
	})
}

// gkLenientVerify forgives unused bits at the end of the base64.
func gkLenientVerify(public any, token string) bool {
	parts := strings.Split(token, ".")
	for i, p := range parts {
		raw, err := base64.RawURLEncoding.DecodeString(p)
		if err != nil {
			return false
		}
		parts[i] = base64.RawURLEncoding.EncodeToString(raw)
	}
	return gkPlainVerify(public, strings.Join(parts, "."))
}

// gkFixedKey is the same in every run, so that a saved corpus keeps its meaning.
func gkFixedKey(t testing.TB, algorithm string) Key {
	t.Helper()
	seed := sha256.Sum256([]byte(algorithm))
	k := Key{ID: "kid-" + algorithm}
	switch algorithm {
	case "EdDSA":
		k.Material = ed25519.NewKeyFromSeed(seed[:])
	case "HS256":
		k.Material = seed[:]
	default:
		return gkKey(algorithm)
	}
	return k
}

// FuzzOpaqueRecord: no record makes the reader panic or read beyond its end, and
// what it reads it would write again.
func FuzzOpaqueRecord(f *testing.F) {
	codec := Opaque{}.codec(codecConfig{issuer: gkIssuer, audience: gkIssuer}).(*opaqueCodec)
	for _, c := range []claims{
		{subject: "client:acme", clientID: "acme", scope: "read write", issued: gkStart, expires: gkStart.Add(time.Hour)},
		{subject: "ada", clientID: "acme", username: "Ada", readOnly: true, issued: gkStart, expires: time.UnixMilli(math.MaxInt64)},
	} {
		f.Add(codec.encode(&c))
	}
	f.Add([]byte{})
	f.Add([]byte{recordVersion, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1})
	f.Fuzz(func(t *testing.T, record []byte) {
		c, realm, err := decodeToken(record)
		if err != nil {
			if c != nil {
				t.Fatal("claims beside an error")
			}
			return
		}
		again, realm2, err := decodeToken((&opaqueCodec{realm: realm}).encode(c))
		if err != nil || realm2 != realm {
			t.Fatalf("%v: realm %x, %x", err, realm, realm2)
		}
		if !reflect.DeepEqual(again, c) {
			t.Fatalf("%+v was read again as %+v", *c, *again)
		}
	})
}

func TestOpaqueRecordOfALaterVersion(t *testing.T) {
	b := (&opaqueCodec{}).encode(&claims{clientID: "acme", subject: "client:acme"})
	b[0]++
	if _, _, err := decodeToken(b); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v is not temporary", err)
	}
}
