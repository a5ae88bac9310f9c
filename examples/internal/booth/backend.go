package booth

import (
	"context"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/store"
)

// A Backend is what a server keeps its clients and everything else in that lasts
// longer than a request. Its functions are called once for each name while the
// server starts. Copies of a server that have the same backend and the same issuer
// are one server to their clients.
type Backend struct {
	Clients tokenbooth.ClientStore
	// State returns what a system remembers, of its own or at least under keys of
	// its own: a token of one system is nothing to another.
	State func(system string) store.State
	// Limiter returns the buckets of a system, or of the login page ("login").
	Limiter func(name string) tokenbooth.Limiter
	// Keys returns the keys that a system signs with.
	Keys func(system string) (*tokenbooth.KeyRing, error)
	// TicketKey seals authorization requests; made at start when zero.
	TicketKey tokenbooth.Key
	// Close is called when the last request has been answered; nothing when nil.
	Close func() error
}

func (b *Backend) close() error {
	if b.Close == nil {
		return nil
	}
	return b.Close()
}

// inMemory is a Backend that ends with the process.
func inMemory(_ context.Context, s *Setup) (*Backend, error) {
	clients, err := store.NewMemory(s.Fixtures.Clients...)
	return &Backend{
		Clients: clients,
		State:   func(string) store.State { return &store.Memory{Now: s.Now} },
		Limiter: func(string) tokenbooth.Limiter { return &tokenbooth.MemoryLimiter{Now: s.Now} },
		Keys:    func(string) (*tokenbooth.KeyRing, error) { return newKeys() },
	}, err
}

func newKeys() (*tokenbooth.KeyRing, error) {
	key, err := tokenbooth.GenerateKey("ES256")
	if err != nil {
		return nil, err
	}
	return tokenbooth.NewKeyRing(key)
}
