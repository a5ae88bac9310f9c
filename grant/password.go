package grant

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/tokenbooth/tokenbooth/internal/gate"
	"github.com/tokenbooth/tokenbooth/response"
)

// What [Password.Authenticate] returns to refuse, possibly wrapped. The three
// look alike to who asks, unless the envelope documents a difference.
var (
	ErrUserUnknown   = errors.New("grant: no such user")
	ErrWrongPassword = errors.New("grant: wrong password")
	ErrUserLocked    = errors.New("grant: the user is locked")
)

const (
	maxUsername = 256  // bytes
	maxPassword = 1024 // bytes

	checkTimeout = 5 * time.Second // of waiting and checking together
)

// A User is who [Password.Authenticate] found.
type User struct {
	// Subject tells the user to the envelope. Its ID becomes the token's sub;
	// it must not be empty, nor begin with "client:".
	response.Subject
	// Scopes are what the user may grant; nil means whatever the client may
	// have.
	Scopes []string
}

// Password exchanges a user's name and password (RFC 6749 §4.3), which RFC 9700
// §2.4 tells new systems not to do: the client sees the password. Use it by
// pointer, one for each handler.
type Password struct {
	// Authenticate checks a user, or returns one of the errors above; any other
	// error is a failure, not a refusal. It runs in at most Concurrency
	// goroutines at once, with a deadline of 5 s. Required.
	Authenticate func(ctx context.Context, username, password string) (*User, error)
	// Concurrency bounds how many passwords are hashed at once; the number of
	// processors when 0. Four times as many wait, the rest is answered 503.
	Concurrency int

	once sync.Once
	gate *gate.Gate
}

// Type returns "password".
func (*Password) Type() string { return "password" }

// Validate checks the settings.
func (p *Password) Validate() error {
	if p.Authenticate == nil {
		return errors.New("set Authenticate to the function that checks a user")
	}
	if p.Concurrency < 0 {
		return errors.New("Concurrency must not be negative")
	}
	return nil
}

// LimitKeys limits guesses by user, at each client apart so that no client locks
// out another's users, and by address. A user's name counts without its case,
// since some hosts look it up so.
func (*Password) LimitKeys(r *Request) []string {
	id := r.Client.ID
	name := strings.ToLower(r.Param("username"))
	if len(name) > maxUsername || !clean(name) {
		name = "" // all that no user can have
	}
	return []string{
		"address|" + r.Address.String(),
		"user|" + strconv.Itoa(len(id)) + ":" + id + name,
	}
}

// Exchange checks the user.
func (p *Password) Exchange(ctx context.Context, r *Request) (*Issue, error) {
	for _, name := range []string{"username", "password"} {
		if r.Param(name) == "" {
			return nil, response.Missing(name)
		}
	}
	user, err := p.authenticate(ctx, r.Param("username"), r.Param("password"))
	if err != nil {
		return nil, refusal(err)
	}
	if user == nil || user.ID == "" {
		return nil, errors.New("grant: Authenticate returned neither a user with an ID nor an error")
	}
	return p.issue(r, user)
}

func (*Password) issue(r *Request, user *User) (*Issue, error) {
	scopes := r.ScopesOrDefault()
	if user.Scopes != nil {
		for _, s := range r.Scopes {
			if !slices.Contains(user.Scopes, s) {
				return nil, response.Fail(response.ScopeInvalid)
			}
		}
		scopes = slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !slices.Contains(user.Scopes, s) })
	}
	return &Issue{User: &user.Subject, Scopes: scopes}, nil
}

func refusal(err error) error {
	for _, r := range []struct {
		err    error
		reason response.Reason
	}{
		{ErrUserUnknown, response.UserUnknown},
		{ErrWrongPassword, response.PasswordWrong},
		{ErrUserLocked, response.UserLocked},
	} {
		if errors.Is(err, r.err) {
			return response.Fail(r.reason)
		}
	}
	return err
}

// authenticate keeps what no user can have away from the host's function, and
// bounds how many calls of it run.
func (p *Password) authenticate(ctx context.Context, username, password string) (*User, error) {
	if len(username) > maxUsername || !clean(username) {
		return nil, ErrUserUnknown
	}
	if len(password) > maxPassword || !clean(password) {
		return nil, ErrWrongPassword
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	p.once.Do(func() { p.gate = gate.New(p.Concurrency) })
	if !p.gate.Enter(ctx) {
		return nil, overloaded()
	}
	defer p.gate.Leave()
	return p.Authenticate(ctx, username, password)
}

func overloaded() error {
	f := response.Fail(response.Overloaded)
	f.RetryAfter = time.Second
	return f
}

func clean(s string) bool {
	for _, c := range s {
		if c < 0x20 || 0x7F <= c && c < 0xA0 {
			return false
		}
	}
	return utf8.ValidString(s)
}
