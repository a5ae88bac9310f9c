package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// rkHash is the stored form of a secret with few rounds.
func rkHash(plain string, rounds int) Secret {
	salt := []byte("sixteen bytes of")
	return Secret{Hash: pbkdf2Form(rounds, salt, pbkdf2Sum(plain, salt, rounds))}
}

// rkRounds runs f and returns how many rounds of PBKDF2 it would have cost.
func rkRounds(f func()) (rounds int) {
	real := pbkdf2Sum
	defer func() { pbkdf2Sum = real }()
	pbkdf2Sum = func(plain string, salt []byte, n int) []byte {
		rounds += n
		return real(plain, salt, min(n, 1000))
	}
	f()
	return rounds
}

// rkVerifier knows one secret by one hash.
type rkVerifier struct {
	hash, secret string
	err          error
	asked        int
}

func (v *rkVerifier) VerifySecret(_ context.Context, hash, secret string) (bool, error) {
	v.asked++
	return hash == v.hash && secret == v.secret, v.err
}

// RFC 7914 §11 has vectors of PBKDF2-HMAC-SHA256; of each the first 32 bytes.
func TestPBKDF2_Vectors(t *testing.T) {
	for _, tt := range []struct {
		plain, salt string
		rounds      int
		want        string
	}{
		{"passwd", "salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"},
		{"Password", "NaCl", 80000, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"},
	} {
		var got strings.Builder
		const digits = "0123456789abcdef"
		for _, b := range pbkdf2Sum(tt.plain, []byte(tt.salt), tt.rounds) {
			got.WriteByte(digits[b>>4])
			got.WriteByte(digits[b&15])
		}
		if got.String() != tt.want {
			t.Errorf("%s, %s, %d: %s, want %s", tt.plain, tt.salt, tt.rounds, got.String(), tt.want)
		}
	}
}

func TestHashHumanSecret(t *testing.T) {
	s, again := HashHumanSecret("tr0ub4dor&3"), HashHumanSecret("tr0ub4dor&3")
	if s.Hash == again.Hash {
		t.Error("the salt is not random")
	}
	rounds, salt, _, ok := parsePBKDF2(s.Hash)
	if !ok || rounds != 600_000 || len(salt) != 16 || !s.IsSlow() || s.NeedsUpgrade() || hashMend(s.Hash) != "" {
		t.Errorf("rounds %d, %d bytes of salt, ok %v, slow %v, needs an upgrade %v, mend %q",
			rounds, len(salt), ok, s.IsSlow(), s.NeedsUpgrade(), hashMend(s.Hash))
	}
	if ok, err := s.CheckSlow(t.Context(), "tr0ub4dor&3", nil); !ok || err != nil {
		t.Errorf("the right secret: %v, %v", ok, err)
	}
	if c := (&Client{Secrets: []Secret{s}}); c.CheckSecret("tr0ub4dor&3", time.Now()) {
		t.Error("the slow form matches where only fast ones may")
	}
}

func TestC4_SlowMissesCostAlike(t *testing.T) {
	verifier := &rkVerifier{hash: "$2b$x", secret: "right"}
	for name, tt := range map[string]struct {
		secret   Secret
		plain    string
		verifier SecretVerifier
		ok       bool
		rounds   int
		asked    int
	}{
		"nobody's":                  {NoSecret, "right", verifier, false, pbkdf2Rounds, 0},
		"nobody's, empty":           {NoSecret, "", nil, false, pbkdf2Rounds, 0},
		"few rounds, wrong":         {rkHash("right", 1000), "wrong", nil, false, pbkdf2Rounds, 0},
		"few rounds, right":         {rkHash("right", 1000), "right", nil, true, 1000, 0},
		"few rounds, empty":         {rkHash("", 1000), "", nil, false, pbkdf2Rounds, 0},
		"as many rounds, wrong":     {Secret{Hash: pbkdf2Form(pbkdf2Rounds, make([]byte, 8), make([]byte, 32))}, "right", nil, false, pbkdf2Rounds, 0},
		"more rounds, wrong":        {Secret{Hash: pbkdf2Form(700_000, make([]byte, 8), make([]byte, 32))}, "right", nil, false, 700_000, 0},
		"malformed":                 {Secret{Hash: pbkdf2Prefix + "1$2$3"}, "right", nil, false, pbkdf2Rounds, 0},
		"malformed, many rounds":    {Secret{Hash: pbkdf2Prefix + "9000000$2$3"}, "right", nil, false, pbkdf2Rounds, 0},
		"of another, without him":   {Secret{Hash: "$2b$x"}, "right", nil, false, pbkdf2Rounds, 0},
		"of another, right":         {Secret{Hash: "$2b$x"}, "right", verifier, true, 0, 1},
		"of another, wrong":         {Secret{Hash: "$2b$x"}, "wrong", verifier, false, 0, 1},
		"of another, empty":         {Secret{Hash: "$2b$x"}, "", &rkVerifier{hash: "$2b$x"}, false, 0, 0},
		"fast form in the slow way": {HashSecret("right"), "right", verifier, false, pbkdf2Rounds, 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := verifier.asked
			var ok bool
			var err error
			rounds := rkRounds(func() { ok, err = tt.secret.CheckSlow(t.Context(), tt.plain, tt.verifier) })
			if ok != tt.ok || err != nil || rounds != tt.rounds || verifier.asked-before != tt.asked {
				t.Errorf("%v, %v after %d rounds and %d questions; want %v after %d and %d",
					ok, err, rounds, verifier.asked-before, tt.ok, tt.rounds, tt.asked)
			}
		})
	}
}

func TestC8_VerifierErrorIsNoAnswer(t *testing.T) {
	v := &rkVerifier{hash: "$2b$x", secret: "right", err: ErrUnavailable}
	ok, err := Secret{Hash: "$2b$x"}.CheckSlow(t.Context(), "right", v)
	if ok || !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, %v", ok, err)
	}
	if strings.Contains(err.Error(), "$2b") || strings.Contains(err.Error(), "right") {
		t.Errorf("the error shows the hash or the secret: %v", err)
	}
}

func TestC7_Live(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for expires, want := range map[time.Time]bool{{}: true, now: false, now.Add(1): true, now.Add(-1): false} {
		if got := (Secret{Hash: "$x", Expires: expires}).Live(now); got != want {
			t.Errorf("expires %v: live %v, want %v", expires, got, want)
		}
	}
}

func TestNeedsUpgrade(t *testing.T) {
	for hash, want := range map[string]bool{
		"":                                  false,
		HashSecret("s").Hash:                false, // not to be replaced by a slower one
		NoSecret.Hash:                       false,
		rkHash("s", 599_999).Hash:           true,
		rkHash("s", 1).Hash:                 true,
		"$2b$10$x":                          true,
		"$argon2id$v=19$m=65536,t=3,p=4$x$": true,
	} {
		if got := (Secret{Hash: hash}).NeedsUpgrade(); got != want {
			t.Errorf("%q: %v, want %v", hash, got, want)
		}
	}
}

func TestSlowFormsAreValidated(t *testing.T) {
	sum, salt := make([]byte, sha256.Size), make([]byte, 8)
	b64 := base64.RawURLEncoding.EncodeToString
	good := pbkdf2Form(1000, salt, sum)
	for hash, want := range map[string]bool{
		good:                              true,
		pbkdf2Form(1, salt, sum):          true,
		pbkdf2Form(10_000_000, salt, sum): true,
		"$2b$10$anything":                 true,
		"$":                               true,
		pbkdf2Form(10_000_001, salt, sum): false,
		pbkdf2Form(0, salt, sum):          false,
		pbkdf2Form(-1, salt, sum):         false,
		pbkdf2Form(1000, salt[:7], sum):   false,
		pbkdf2Form(1000, salt, sum[:31]):  false,
		pbkdf2Form(1000, nil, nil):        false,
		good + "$":                        false,
		good + "=":                        false,
		good + "\n":                       false,
		" " + good:                        false,
		strings.ToUpper(good):             false,
		strings.Replace(good, "1000", "+1000", 1):                  false,
		strings.Replace(good, "1000", "01000", 1):                  false,
		strings.Replace(good, "1000", "1e3", 1):                    false,
		strings.Replace(good, "1000", "", 1):                       false,
		strings.Replace(good, "1000", "99999999999999999999", 1):   false,
		strings.Replace(good, b64(salt), "AAAA\nAAAAAAA", 1):       false,
		strings.Replace(good, b64(salt), "AAAAAAAAAAB", 1):         false, // bits that belong to no byte
		strings.Replace(good, "pbkdf2-sha256", "pbkdf2-sha512", 1): false,
		pbkdf2Prefix: false,
	} {
		c := &Client{ID: "a", Secrets: []Secret{{Hash: hash}}}
		if err := c.Validate(); (err == nil) != want {
			t.Errorf("%q: %v, want valid %v", hash, err, want)
		} else if err != nil && strings.Contains(err.Error(), b64(sum)) {
			t.Errorf("the error shows the hash: %v", err)
		}
	}
}

func TestUpgradeSecret(t *testing.T) {
	old, other, better := rkHash("s", 1), rkHash("t", 1), HashHumanSecret("s")
	old.Expires = time.Unix(2_000_000_000, 0)
	m, err := NewMemory(&Client{ID: "acme", Secrets: []Secret{other, old}})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := m.Client(t.Context(), "acme")
	if err := m.UpgradeSecret(t.Context(), "acme", old, better); err != nil {
		t.Fatal(err)
	}
	after, _ := m.Client(t.Context(), "acme")
	if after.Secrets[0] != other || after.Secrets[1].Hash != better.Hash || !after.Secrets[1].Expires.Equal(old.Expires) {
		t.Error("not exactly the hash of the old one was replaced")
	}
	if before.Secrets[1] != old {
		t.Error("a client that was handed out has changed")
	}
	for name, tt := range map[string]struct {
		id            string
		old, upgraded Secret
		wrong         bool
	}{
		"one that is not there any more": {"acme", old, HashHumanSecret("s"), false},
		"of nobody":                      {"nobody", old, better, true},
		"by nothing":                     {"acme", better, Secret{}, true},
		"by a plain text":                {"acme", better, Secret{Hash: "s"}, true},
	} {
		if err := m.UpgradeSecret(t.Context(), tt.id, tt.old, tt.upgraded); (err != nil) != tt.wrong {
			t.Errorf("%s: %v", name, err)
		}
		if now, _ := m.Client(t.Context(), "acme"); now.Secrets[0] != other || now.Secrets[1].Hash != better.Hash {
			t.Errorf("%s: it changed something", name)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.UpgradeSecret(gone, "acme", better, old); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context ended: %v", err)
	}
}

// Both upgrades of one secret end in one of them, and a Put between is not lost.
func TestUpgradeSecretInParallel(t *testing.T) {
	old := rkHash("s", 1)
	for range 50 {
		m, err := NewMemory(&Client{ID: "acme", Secrets: []Secret{old}})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for _, better := range []Secret{rkHash("s", 2), rkHash("s", 3)} {
			all.Go(func() {
				if err := m.UpgradeSecret(t.Context(), "acme", old, better); err != nil {
					t.Error(err)
				}
			})
		}
		all.Go(func() {
			if err := m.Put(&Client{ID: "acme", Name: "put", Secrets: []Secret{old}}); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		if c, _ := m.Client(t.Context(), "acme"); c.Name != "put" || len(c.Secrets) != 1 {
			t.Fatalf("the Put was lost: %v", c)
		}
	}
}

func TestT8_SlowFormsRedacted(t *testing.T) {
	for _, s := range []Secret{rkHash("canary", 7), {Hash: "$2b$10$canary"}} {
		c := &Client{ID: "visible", Secrets: []Secret{s}}
		for _, v := range []any{s, &s, c, *c, []*Client{c}} {
			for how, out := range outputs(t, v) {
				if strings.Contains(out, "pbkdf2") || strings.Contains(out, "canary") || strings.Contains(out, s.Hash[10:]) {
					t.Errorf("%T under %s shows %s", v, how, out)
				}
			}
		}
	}
}

func FuzzPBKDF2Form(f *testing.F) {
	f.Add(rkHash("s", 1000).Hash)
	f.Fuzz(func(t *testing.T, hash string) {
		rounds, salt, sum, ok := parsePBKDF2(hash)
		s := Secret{Hash: hash}
		if !ok {
			if strings.HasPrefix(hash, pbkdf2Prefix) && hashMend(hash) == "" {
				t.Error("valid, and yet it cannot be read")
			}
			return
		}
		if rounds < 1 || rounds > maxPBKDF2Rounds || len(salt) < 8 || len(sum) != sha256.Size {
			t.Errorf("%d rounds, salt of %d, sum of %d", rounds, len(salt), len(sum))
		}
		if pbkdf2Form(rounds, salt, sum) != hash {
			t.Error("the form is not the canonical one")
		}
		if hashMend(hash) != "" || !s.IsSlow() || s.NeedsUpgrade() != (rounds < pbkdf2Rounds) {
			t.Errorf("mend %q, slow %v, needs an upgrade %v", hashMend(hash), s.IsSlow(), s.NeedsUpgrade())
		}
	})
}
