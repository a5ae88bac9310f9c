package tokenbooth

import (
	"context"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// addKey writes a key file as AddKeyFile does, changed at the bubble's time.
func addKey(t *testing.T, dir string, starts time.Time) string {
	t.Helper()
	path, err := AddKeyFile(dir, "ES256", starts)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	return path
}

func openKeys(t *testing.T, dir string) *KeyRing {
	t.Helper()
	ring, err := OpenKeyDir(dir, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// signerOf returns the kid that a ring signs with, by signing.
func signerOf(t *testing.T, ring *KeyRing) string {
	t.Helper()
	token, err := ring.sign([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	header, ok := readHeader(token)
	if !ok {
		t.Fatal("no header")
	}
	return header.KeyID
}

// Three copies follow one directory through three rotations. Whatever one of
// them signs, each of them accepts at once and until the token has ended; a key
// that signs has been published for longer than anybody keeps a key set.
func TestT6_KeyDirRotates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		addKey(t, dir, time.Now())
		copies := []*KeyRing{openKeys(t, dir), openKeys(t, dir), openKeys(t, dir)}
		published := map[string]time.Time{signerOf(t, copies[0]): time.Now().Add(-time.Hour)}
		type token struct {
			text string
			ends time.Time
		}
		var live []token
		signers := map[string]bool{}
		for minute := range 8 * 60 {
			if minute%120 == 60 {
				addKey(t, dir, time.Now().Add(time.Duration(minute/10-6)*time.Minute))
			}
			time.Sleep(time.Minute) // the bubble's
			for _, ring := range copies {
				for kid := range ring.set().verifiers {
					if _, known := published[kid]; !known {
						published[kid] = time.Now()
					}
				}
			}
			for _, ring := range copies {
				kid := signerOf(t, ring)
				signers[kid] = true
				if age := time.Since(published[kid]); age < 5*time.Minute {
					t.Fatalf("minute %d: a key signs that was published %v ago", minute, age)
				}
				text, _ := ring.sign([]byte("{}"))
				live = append(live, token{text, time.Now().Add(time.Hour)})
			}
			for len(live) > 0 && time.Now().After(live[0].ends) {
				live = live[1:]
			}
			for i := 0; i < len(live); i += 29 {
				for _, ring := range copies {
					if _, err := verifyJWS(context.Background(), ring.Public(), live[i].text, "at+jwt"); err != nil {
						t.Fatalf("minute %d: a good token is refused", minute)
					}
				}
			}
		}
		if len(signers) != 5 || len(copies[0].set().verifiers) != 2 {
			t.Errorf("%d keys signed, %d are left; want 5 and 2, the last and the one before", len(signers), len(copies[0].set().verifiers))
		}
	})
}

func TestT6_KeyDirKeepsItsKeysWhereItCannotLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := addKey(t, dir, time.Now())
		ring := openKeys(t, dir)
		kid := signerOf(t, ring)
		for what, spoil := range map[string]func(){
			"garbage":   func() { _ = os.WriteFile(path, []byte("garbage"), 0o600) },
			"bad name":  func() { _ = os.WriteFile(filepath.Join(dir, "tomorrow.pem"), nil, 0o600) },
			"no file":   func() { _ = os.Remove(path) },
			"directory": func() { _ = os.RemoveAll(dir) },
		} {
			spoil()
			time.Sleep(time.Minute)
			if got := signerOf(t, ring); got != kid {
				t.Errorf("%s: signs with %s, want %s", what, got, kid)
			}
		}
	})
}

func TestT6_KeyDirMistakesAreNamed(t *testing.T) {
	key, err := GenerateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(gkPublic(t, key).Material)
	public := string(gkPEM(t, "PUBLIC KEY", der, err))
	for name, tt := range map[string]struct{ file, content, want string }{
		"none":    {"readme.txt", "", "AddKeyFile"},
		"name":    {"key.pem", "", "key.pem"},
		"garbage": {"20261122T000000Z.pem", "garbage", "20261122T000000Z.pem"},
		"public":  {"20261122T000000Z.pem", public, "PRIVATE KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenKeyDir(dir, time.Hour); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that names %s", err, tt.want)
			}
		})
	}
}

func TestAddKeyFile(t *testing.T) {
	dir := t.TempDir()
	starts := time.Date(2026, 11, 22, 1, 2, 3, 0, time.FixedZone("", 3600))
	path, err := AddKeyFile(dir, "EdDSA", starts)
	if err != nil || filepath.Base(path) != "20261122T000203Z.pem" {
		t.Fatalf("%s, %v", path, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := AddKeyFile(dir, "EdDSA", starts); err == nil {
		t.Error("a key was written over another")
	}
	if _, err := AddKeyFile(dir, "HS256", starts.Add(time.Hour)); err == nil {
		t.Error("a key without a PEM form was written")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files are left", len(entries))
	}
}

// A handler whose ring follows a directory issues and guards as any other.
func TestT6_HandlerFollowsKeyDir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		addKey(t, dir, time.Now())
		client, _ := store.NewClient("acme")
		clients, err := store.NewMemory(client)
		if err != nil {
			t.Fatal(err)
		}
		h, err := NewHandler(HandlerConfig{Issuer: "https://issuer.example", Clients: clients, Keys: openKeys(t, dir)})
		if err != nil {
			t.Fatal(err)
		}
		mint := func() string {
			c := claims{subject: "client:acme", clientID: "acme", issued: time.Now(), expires: time.Now().Add(time.Hour)}
			token, err := h.codec.mint(t.Context(), &c)
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		before := mint()
		addKey(t, dir, time.Now().Add(time.Second))
		time.Sleep(30 * time.Minute)
		after := mint()
		for _, token := range []string{before, after} {
			r, _ := http.NewRequest(http.MethodGet, "/", http.NoBody)
			r.Header.Set("Authorization", "Bearer "+token)
			if _, err := h.Guard().Check(r); err != nil {
				t.Error(err)
			}
		}
		if a, _ := readHeader(before); a.KeyID == signerOf(t, h.keys) {
			t.Error("the key was not rotated")
		}
	})
}

// A mount, a copy or a restored backup gives all files new times. The names say
// which key signs, and copies agree.
func TestT6_KeyDirAfterACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 24 * time.Hour)
		one, two := t.TempDir(), t.TempDir()
		addKey(t, one, time.Now().Add(-10*24*time.Hour))
		time.Sleep(time.Minute)
		addKey(t, one, time.Now().Add(-9*24*time.Hour))
		time.Sleep(time.Hour)
		entries, err := os.ReadDir(one)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			data, err := os.ReadFile(filepath.Join(one, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(two, e.Name())
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, time.Time{}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := signerOf(t, openKeys(t, one)), signerOf(t, openKeys(t, two)); a != b {
			t.Errorf("the copy signs with %s, want %s", b, a)
		}
	})
}

func TestT6_KeyDirOutlivesTokens(t *testing.T) {
	dir := t.TempDir()
	if _, err := AddKeyFile(dir, "ES256", time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeyDir(dir, 0); err == nil {
		t.Error("a directory for tokens without a life was opened")
	}
	c := HandlerConfig{Issuer: gkIssuer, Clients: new(store.Memory), Keys: openKeys(t, dir), AccessTokenTTL: 12 * time.Hour, Logger: gkQuiet}
	if _, err := NewHandler(c); err == nil || !strings.Contains(err.Error(), "tokenLife") {
		t.Errorf("tokens that outlive their keys: %v", err)
	}
}
