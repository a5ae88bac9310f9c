package server

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tokenbooth/tokenbooth"
)

const ticketFile = "ticket.key"

// The first key of a system has a name that does not depend on when it is made,
// so that of several copies that start at once one makes it and all use it.
var firstKey = time.Unix(0, 0)

// openKeys returns the keys of a system, which all copies follow. It makes the
// first one where there is none.
func openKeys(dir, system string, tokenLife time.Duration) (*tokenbooth.KeyRing, error) {
	dir = filepath.Join(dir, system)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	there, err := fs.Glob(os.DirFS(dir), "*.pem")
	if err == nil && len(there) == 0 {
		_, err = tokenbooth.AddKeyFile(dir, "ES256", firstKey)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return tokenbooth.OpenKeyDir(dir, max(tokenLife, time.Second)) // NewHandler refuses a shorter life
}

// openTicketKey returns the key by which one copy reads what another has sealed,
// and makes it where there is none.
func openTicketKey(dir string) (tokenbooth.Key, error) {
	path := filepath.Join(dir, ticketFile)
	text, err := os.ReadFile(path) //nolint:gosec // a flag names it
	if errors.Is(err, fs.ErrNotExist) {
		if err := addTicketKey(dir, path); err != nil {
			return tokenbooth.Key{}, err
		}
		text, err = os.ReadFile(path) //nolint:gosec // the same
	}
	if err != nil {
		return tokenbooth.Key{}, err
	}
	secret, err := hex.DecodeString(string(text))
	if err != nil || len(secret) < 32 {
		return tokenbooth.Key{}, fmt.Errorf("%s: want at least 32 bytes in hexadecimal", path)
	}
	return tokenbooth.Key{Material: secret}, nil
}

// addTicketKey writes the whole file before it has its name, and gives it the
// name unless another copy was first: a rename would replace what that one uses.
func addTicketKey(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := tokenbooth.GenerateKey("HS256")
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(dir, ".ticket-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	_, err = fmt.Fprintf(temporary, "%x", key.Material)
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	if err := os.Link(temporary.Name(), path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
