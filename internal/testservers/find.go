package testservers

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// find looks for a binary in the PATH and then in the folders, given as patterns,
// the newest version first.
func find(name string, folders ...string) (string, bool) {
	if path, err := exec.LookPath(name); err == nil {
		return path, true
	}
	for _, folder := range append(folders, "/usr/sbin", "/usr/local/sbin", "/usr/libexec") {
		found, _ := filepath.Glob(filepath.Join(folder, name))
		// Versions of as many digits have the same length.
		slices.SortFunc(found, func(a, b string) int {
			if len(a) != len(b) {
				return len(b) - len(a)
			}
			return strings.Compare(b, a)
		})
		for _, path := range found {
			if path, err := exec.LookPath(path); err == nil {
				return path, true
			}
		}
	}
	return "", false
}

func notInstalled(what, packages string) error {
	return fmt.Errorf("%w: %s; on Debian: apt-get install %s", ErrNotInstalled, what, packages)
}
