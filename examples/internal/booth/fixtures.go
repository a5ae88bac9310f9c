package booth

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// BuiltIn are the fixtures of a server that is given none.
//
//go:embed fixtures.json
var BuiltIn []byte

// Fixtures are the clients and users of the five systems.
type Fixtures struct {
	Clients []*store.Client
	users   users
	caller  *caller // nil when no client can get a token for itself
}

// A caller is the client of the printed commands. Its secret is known here only
// because fixtures have it in plain text.
type caller struct {
	*store.Client
	secret string
}

func (c *caller) basic() bool { return c.AuthMethod == store.AuthBasic }

// users are the users by name.
type users map[string]*user

type user struct {
	grant.User
	salt, hash []byte
}

// LoadFixtures reads the file, or the built-in fixtures where its name is empty.
func LoadFixtures(file string) (*Fixtures, error) {
	if file == "" {
		return parseFixtures(BuiltIn)
	}
	data, err := os.ReadFile(file) //nolint:gosec // whoever starts the server names it
	if err != nil {
		return nil, err
	}
	f, err := parseFixtures(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return f, nil
}

// parseFixtures reports every mistake by its field, and no secret.
func parseFixtures(data []byte) (*Fixtures, error) {
	if err := checkJSON(data); err != nil {
		return nil, err
	}
	top := readObject("", data)
	raw := need[json.RawMessage](top, "clients")
	users := readUsers(top)
	top.end()
	f := &Fixtures{users: users}
	var err error
	if raw != nil {
		f.Clients, f.caller, err = readClients(raw)
	}
	return f, errors.Join(append(top.mistakes, err)...)
}

func readClients(raw []byte) ([]*store.Client, *caller, error) {
	clients, err := store.ParseClients(raw)
	if err != nil {
		return nil, nil, err
	}
	caller, err := findCaller(clients, raw)
	return clients, caller, err
}

// findCaller returns the first client that can get a token for itself. The
// clients have only hashes of their secrets, so it reads the JSON again, of which
// it is known by now that it is right.
func findCaller(clients []*store.Client, raw []byte) (*caller, error) {
	type secret struct{ Secret string }
	var plain []struct {
		secret
		Secrets []secret
	}
	if err := json.Unmarshal(raw, &plain); err != nil {
		return nil, err
	}
	for i, c := range clients {
		for _, s := range append(plain[i].Secrets, plain[i].secret) {
			if canCall(c) && c.CheckSecret(s.Secret, time.Now()) {
				return &caller{c, s.Secret}, nil
			}
		}
	}
	return nil, nil
}

func canCall(c *store.Client) bool {
	return !c.Public && !c.Disabled && !c.LongLived && slices.Contains(c.Grants, "client_credentials")
}

func readUsers(top *object) users {
	all := users{}
	numbers := map[int64]bool{}
	for i, raw := range take[[]json.RawMessage](top, "users") {
		o := readObject(fmt.Sprintf("users[%d]", i), raw)
		if u := readUser(o); u != nil {
			if all[u.Username] != nil {
				o.mistake("username", "is another user's already")
			}
			if numbers[u.Number] {
				o.mistake("number", "is another user's already")
			}
			all[u.Username], numbers[u.Number] = u, true
		}
		top.mistakes = append(top.mistakes, o.mistakes...)
	}
	return all
}

// readUser returns nil where it finds mistakes.
func readUser(o *object) *user {
	u := &user{
		User: grant.User{
			Subject: response.Subject{
				Number:      need[int64](o, "number"),
				Name:        take[string](o, "name"),
				Description: take[string](o, "description"),
				Username:    need[string](o, "username"),
				Roles:       takeAll[int64](o, "roles"),
			},
			Scopes: takeAll[string](o, "scopes"),
		},
		salt: make([]byte, 16),
	}
	u.ID = fmt.Sprintf("user:%d", u.Number)
	password := need[string](o, "password")
	o.end()
	if len(o.mistakes) == 0 {
		u.check(o, password)
	}
	if len(o.mistakes) > 0 {
		return nil
	}
	_, _ = rand.Read(u.salt) // never fails
	u.hash = hashPassword(password, u.salt)
	return u
}

// check refuses what no request could present.
func (u *user) check(o *object, password string) {
	if u.Number < 1 {
		o.mistake("number", "want at least 1")
	}
	if n := len(u.Username); n < 1 || n > 256 || strings.ContainsFunc(u.Username, unicode.IsControl) {
		o.mistake("username", "want 1 to 256 bytes without control characters")
	}
	if n := len(password); n < 1 || n > 1024 || strings.ContainsFunc(password, unicode.IsControl) {
		o.mistake("password", "want 1 to 1024 bytes without control characters")
	}
	for i, s := range u.Scopes {
		if s == "" || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) {
			o.mistake(fmt.Sprintf("scopes[%d]", i), `want visible ASCII without space, " and \ (RFC 6749 §3.3)`)
		}
	}
}

// hashPassword is quick enough for an example; passwords that matter take
// 600,000 rounds or more.
func hashPassword(password string, salt []byte) []byte {
	const rounds = 10_000
	hash, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		panic(err) // lengths that a FIPS 140 module refuses, and these are not
	}
	return hash
}

// authenticate is what the password grant and the login ask. An unknown name costs
// a hash as well: the login must not tell it from a wrong password.
func (us users) authenticate(_ context.Context, username, password string) (*grant.User, error) {
	u, known := us[username]
	if !known {
		u = &user{salt: make([]byte, 16)}
	}
	matches := subtle.ConstantTimeCompare(hashPassword(password, u.salt), u.hash) == 1
	switch {
	case !known:
		return nil, grant.ErrUserUnknown
	case !matches:
		return nil, grant.ErrWrongPassword
	}
	return &u.User, nil
}
