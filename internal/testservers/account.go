package testservers

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// An account is the user that a server runs as; nil is our own.
type account struct{ uid, gid int }

// accountOf returns the first of the users that exists, when we are root.
func accountOf(names []string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	var errs []error
	for _, name := range append(names, "nobody") {
		u, err := user.Lookup(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		return &account{uid, gid}, errors.Join(err, err2)
	}
	return nil, errors.Join(errs...)
}

// give makes the directory and gives it to the account.
func (a *account) give(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if a == nil {
		return nil
	}
	if err := passable(dir); err != nil {
		return err
	}
	return os.Chown(dir, a.uid, a.gid)
}

// passable lets everybody through the folders above a directory, those of
// testing.T.TempDir for one.
func passable(dir string) error {
	const pass = fs.FileMode(0o011)
	dir, err := filepath.Abs(dir)
	for up := filepath.Dir(dir); err == nil && up != filepath.Dir(up); up = filepath.Dir(up) {
		var info fs.FileInfo
		if info, err = os.Stat(up); err == nil && info.Mode()&pass != pass {
			err = os.Chmod(up, info.Mode()|pass)
		}
	}
	return err
}

// write makes a file that only the account can read.
func (a *account) write(file, text string) error {
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil || a == nil {
		return err
	}
	return os.Chown(file, a.uid, a.gid)
}

// password is fit for a URL and for SQL.
func password() string { return rand.Text() }
