package tokenbooth

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	keyFileLayout = "20060102T150405Z"
	dirPause      = 10 * time.Second
	// publishAhead is how long a key is in the key set before it signs: the
	// JWKS's max-age, and the time that a copy takes to look.
	publishAhead = 5*time.Minute + 2*dirPause
	dirSkew      = time.Minute
)

// OpenKeyDir returns a ring that follows a directory of PEM files, each with one
// private key and named by the UTC time from which it signs, as
// 20261122T000000Z.pem; [AddKeyFile] makes them. Several copies of a program may
// follow the same directory. It is looked at when the ring is used, at most every
// 10 s; while it cannot be read, the keys stay what they were, and slog.Default()
// says so.
//
// The key that started last signs. One that starts later is published already,
// and for at least 5 minutes before it signs, counted from the change of its file
// where that came later than the others' (where a mount or a copy writes all files
// anew, the names alone count: name a key at least 10 minutes ahead); an earlier one is kept for tokenLife, the AccessTokenTTL of the handler,
// and a minute after its successor started. Files of older keys are of no use and
// may be removed.
func OpenKeyDir(dir string, tokenLife time.Duration) (*KeyRing, error) {
	if tokenLife <= 0 {
		return nil, fmt.Errorf("tokenbooth: tokenLife is %v: set the AccessTokenTTL of the handler", tokenLife)
	}
	ring := &KeyRing{dir: &keyDir{path: dir, keep: tokenLife + dirSkew}}
	if err := ring.dir.load(ring, time.Now()); err != nil {
		return nil, err
	}
	return ring, nil
}

// AddKeyFile makes a key for ES256, EdDSA or RS256 that signs from the time
// given, and writes it to the directory, readable by the owner alone. It returns
// the file's path.
func AddKeyFile(dir, algorithm string, starts time.Time) (path string, err error) {
	key, err := GenerateKey(algorithm)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key.Material)
	if err != nil {
		return "", fmt.Errorf("tokenbooth: a key for %s has no PEM form", algorithm)
	}
	temporary, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	err = errors.Join(pem.Encode(temporary, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), temporary.Sync(), temporary.Close())
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, starts.UTC().Format(keyFileLayout)+".pem")
	return path, os.Link(temporary.Name(), path) // fails where there is one, unlike a rename
}

type keyDir struct {
	path string
	keep time.Duration
	next atomic.Int64 // when to look again, in Unix nanoseconds
	mu   sync.Mutex
	seen string // what the last look found; guarded by mu
}

// A keyFile is one file of the directory.
type keyFile struct {
	name   string
	starts time.Time
	change time.Time
}

// follow looks at the directory when it is time to. Only one caller does, and
// nobody waits for it.
func (d *keyDir) follow(ring *KeyRing) {
	now := time.Now()
	wait := d.next.Load() - now.UnixNano()
	if wait > 0 && wait <= int64(dirPause) || !d.mu.TryLock() {
		return
	}
	defer d.mu.Unlock()
	if err := d.read(ring, now); err != nil {
		slog.Error("tokenbooth: the key directory cannot be followed; the keys stay what they were", "error", err)
	}
}

func (d *keyDir) load(ring *KeyRing, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.read(ring, now)
}

func (d *keyDir) read(ring *KeyRing, now time.Time) error {
	d.next.Store(now.Add(dirPause).UnixNano())
	files, err := d.list()
	if err != nil {
		return err
	}
	files = inUse(files, now, d.keep)
	seen := fmt.Sprint(files)
	if seen == d.seen {
		return nil
	}
	keys := make([]Key, 0, len(files))
	for _, f := range files {
		key, err := readKeyFile(filepath.Join(d.path, f.name))
		if err != nil {
			return err
		}
		keys = append(keys, key)
	}
	set, err := newKeySet(keys)
	if err != nil {
		return fmt.Errorf("tokenbooth: key directory %s: %w", d.path, err)
	}
	ring.keys.Store(set)
	d.seen = seen
	return nil
}

func (d *keyDir) list() ([]keyFile, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("tokenbooth: key directory: %w", err)
	}
	var files []keyFile
	for _, e := range entries {
		base, isPEM := strings.CutSuffix(e.Name(), ".pem")
		if !isPEM {
			continue
		}
		starts, err := time.Parse(keyFileLayout, base)
		if err != nil {
			return nil, fmt.Errorf("tokenbooth: key file %s: the name must be the UTC time from which it signs, as %s.pem", e.Name(), keyFileLayout)
		}
		info, err := os.Stat(filepath.Join(d.path, e.Name())) //nolint:gosec // the host names the directory; a mounted secret is a link
		if err != nil {
			return nil, fmt.Errorf("tokenbooth: key file: %w", err)
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("tokenbooth: key file %s is no regular file", e.Name())
		}
		files = append(files, keyFile{e.Name(), starts, info.ModTime()})
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("tokenbooth: key directory %s has no .pem file: make one with AddKeyFile", d.path)
	}
	slices.SortFunc(files, func(a, b keyFile) int { return a.starts.Compare(b.starts) })
	return files, nil
}

// inUse returns the file that signs now, then those that are published, and
// leaves out those whose tokens have all ended.
func inUse(files []keyFile, now time.Time, keep time.Duration) []keyFile {
	oldest := slices.MinFunc(files, func(a, b keyFile) int { return a.change.Compare(b.change) })
	current := -1
	for i, f := range files {
		if !now.Before(f.signsFrom(oldest.change)) {
			current = i
		}
	}
	if current < 0 { // none is due: the one that is known for the longest time
		current = slices.Index(files, oldest)
	}
	used := []keyFile{files[current]}
	for i, f := range files {
		old := i < current && !now.Before(files[i+1].signsFrom(oldest.change).Add(keep))
		if i != current && !old {
			used = append(used, f)
		}
	}
	return used
}

// signsFrom is the time of its name, or for a file that came later than the
// others the end of its publication. A mount, a copy or a restart writes all files
// anew, and then the times of their changes say nothing.
func (f keyFile) signsFrom(oldest time.Time) time.Time {
	published := f.change.Add(publishAhead)
	if f.change.Sub(oldest) > dirPause && f.starts.Before(published) {
		return published
	}
	return f.starts
}

func readKeyFile(path string) (Key, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the host names the directory
	if err != nil {
		return Key{}, fmt.Errorf("tokenbooth: key file: %w", err)
	}
	keys, err := ParsePEM(data)
	if err == nil && len(keys) == 1 {
		_, private, _, err := inspect(keys[0].Material)
		if err == nil && private != nil {
			return keys[0], nil
		}
	}
	return Key{}, fmt.Errorf("tokenbooth: key file %s: want one good PRIVATE KEY in PEM form", filepath.Base(path))
}
