package authz

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
	"testing"
)

func TestCode(t *testing.T) {
	f := NewFamily()
	code, hash := NewCode(f)
	gotF, gotHash, ok := ParseCode(code)
	if !ok || gotF != f || gotHash != hash {
		t.Fatalf("%q: %x %x %v", code, gotF, gotHash, ok)
	}
	if other, _ := NewCode(f); other == code {
		t.Error("two codes are alike")
	}
	parts := strings.Split(code, ".")
	for name, text := range map[string]string{
		"empty":           "",
		"dots":            "..",
		"another letter":  "r" + code[1:],
		"upper case":      "C" + code[1:],
		"three parts":     parts[0] + "." + parts[1],
		"four parts":      code + ".",
		"short family":    "c." + parts[1][1:] + "." + parts[2],
		"long secret":     code + "A",
		"padded":          code + "=",
		"line break":      parts[0] + "." + parts[1] + "." + parts[2][:20] + "\n" + parts[2][20:],
		"break for digit": code[:len(code)-1] + "\n",
		"standard base64": code[:len(code)-2] + "+/",
		"spare bits":      code[:len(code)-1] + nextDigit(code[len(code)-1]),
		"leading space":   " " + code,
	} {
		if _, _, ok := ParseCode(text); ok {
			t.Errorf("%s: %q is taken for a code", name, text)
		}
	}
	if changed, h, ok := ParseCode(parts[0] + "." + parts[1] + ".A" + parts[2][1:]); ok && parts[2][0] != 'A' && (changed != f || h == hash) {
		t.Error("another secret has the same hash")
	}
}

// nextDigit returns a digit with the same leading bits.
func nextDigit(c byte) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(digits[strings.IndexByte(digits, c)|1])
}

func TestRefresh(t *testing.T) {
	rec, f, secret := active(t)
	token := Token(f, secret, rec.MACNonce, 7)
	if again := Token(f, secret, rec.MACNonce, 7); again != token {
		t.Error("asking twice for one generation gives two tokens")
	}
	r, ok := ParseRefresh(token)
	if !ok || r.Family != f || r.Gen != 7 || r.Secret != secret || !r.IsOf(rec) {
		t.Fatalf("%q: %+v %v", token, r, ok)
	}
	p := strings.Split(token, ".")
	join := func(parts ...string) string { return strings.Join(parts, ".") }
	for name, text := range map[string]string{
		"empty":          "",
		"a code":         join("c", p[1], p[3]),
		"another letter": join("c", p[1], p[2], p[3], p[4]),
		"generation 0":   join(p[0], p[1], "0", p[3], p[4]),
		"leading zero":   join(p[0], p[1], "07", p[3], p[4]),
		"signed":         join(p[0], p[1], "+7", p[3], p[4]),
		"no generation":  join(p[0], p[1], "", p[3], p[4]),
		"too many":       join(p[0], p[1], "18446744073709551616", p[3], p[4]),
		"four parts":     join(p[0], p[1], p[2], p[3]),
		"six parts":      token + ".",
		"spare bits":     token[:len(token)-1] + nextDigit(token[len(token)-1]),
		"short":          token[:len(token)-1],
	} {
		if _, ok := ParseRefresh(text); ok {
			t.Errorf("%s: %q is taken for a refresh token", name, text)
		}
	}
}

func TestRefreshOfAnother(t *testing.T) {
	rec, f, secret := active(t)
	other, _, otherSecret := active(t)
	for name, token := range map[string]string{
		"secret":        Token(f, otherSecret, rec.MACNonce, 1),
		"nonce":         Token(f, secret, other.MACNonce, 1),
		"mac of 2":      strings.Replace(Token(f, secret, rec.MACNonce, 2), ".2.", ".1.", 1),
		"2, mac of 1":   strings.Replace(Token(f, secret, rec.MACNonce, 1), ".1.", ".2.", 1),
		"whole records": Token(f, otherSecret, other.MACNonce, 1),
	} {
		r, ok := ParseRefresh(token)
		if !ok {
			t.Fatalf("%s: %q does not parse", name, token)
		}
		if r.IsOf(rec) {
			t.Errorf("%s: is taken for one of this record", name)
		}
	}
	before, _, _ := issued()
	r, _ := ParseRefresh(Token(f, secret, rec.MACNonce, 1))
	if r.IsOf(before) {
		t.Error("a token is of a record that was never redeemed")
	}
}

func FuzzCode(f *testing.F) {
	code, _ := NewCode(Family{1, 2, 3})
	f.Add(code)
	f.Add("c.." + strings.Repeat("A", 43))
	f.Add("r" + code[1:])
	f.Fuzz(func(t *testing.T, text string) {
		family, _, ok := ParseCode(text)
		if !ok {
			return
		}
		want := "c." + b64.EncodeToString(family[:]) + "."
		if len(text) != len(want)+43 || text[:len(want)] != want {
			t.Fatalf("%q is another spelling of a code of %x", text, family)
		}
		var c [32]byte
		if !decode(c[:], text[len(want):]) || b64.EncodeToString(c[:]) != text[len(want):] {
			t.Fatalf("%q has a secret in another spelling", text)
		}
		if _, ok := ParseRefresh(text); ok {
			t.Fatalf("%q is a refresh token too", text)
		}
	})
}

func FuzzRefresh(f *testing.F) {
	f.Add(Token(Family{1, 2, 3}, [32]byte{4}, [32]byte{5}, 1))
	f.Add(Token(Family{}, [32]byte{}, [32]byte{}, 1<<64-1))
	f.Add("r...." + strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := ParseRefresh(text)
		if !ok {
			return
		}
		if again := "r." + b64.EncodeToString(r.Family[:]) + "." + strconv.FormatUint(r.Gen, 10) + "." +
			b64.EncodeToString(r.Secret[:]) + "." + b64.EncodeToString(r.mac[:]); again != text || r.Gen == 0 {
			t.Fatalf("%q is another spelling of %q", text, again)
		}
		rec := &Record{SecretHash: HashSecret(r.Secret), MACNonce: [32]byte{5}}
		if r.IsOf(rec) != (text == Token(r.Family, r.Secret, rec.MACNonce, r.Gen)) {
			t.Fatalf("%q: judged wrongly", text)
		}
	})
}

// TestMAC holds the written-out HMAC against package hmac.
func TestMAC(t *testing.T) {
	for gen := range uint64(64) {
		s, nonce := NewSecret()
		gen = gen << (gen % 58)
		h := hmac.New(sha256.New, s[:])
		h.Write([]byte("rt|"))
		h.Write(nonce[:])
		h.Write(binary.BigEndian.AppendUint64(nil, gen))
		if got := macOf(&s, &nonce, gen); !hmac.Equal(got[:], h.Sum(nil)) {
			t.Fatalf("%x %x %d: %x", s, nonce, gen, got)
		}
	}
}
