package authztest

import (
	"testing"

	"github.com/tokenbooth/tokenbooth/store"
)

func TestModelOnMemory(t *testing.T) {
	Model(t, func(*testing.T) store.State { return new(store.Memory) })
}
