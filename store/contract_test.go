package store_test

import (
	"testing"

	"github.com/tokenbooth/tokenbooth/store"
	"github.com/tokenbooth/tokenbooth/store/storetest"
)

func TestMemoryIsState(t *testing.T) {
	storetest.TestState(t, func(*testing.T) store.State { return new(store.Memory) })
}

func TestMemoryIsClientStore(t *testing.T) {
	storetest.TestClientStore(t, func(t *testing.T, clients ...*store.Client) store.ClientStore {
		m, err := store.NewMemory(clients...)
		if err != nil {
			t.Fatal(err)
		}
		return m
	})
}
