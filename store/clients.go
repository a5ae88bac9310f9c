package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// NewMemory returns a [Memory] with copies of the clients. It reports every
// mistake in them at once, an id given twice included, by their place among the
// arguments.
func NewMemory(clients ...*Client) (*Memory, error) {
	m := new(Memory)
	var errs []error
	first := make(map[string]int, len(clients))
	for i, c := range clients {
		ms := c.mistakes()
		if c != nil && c.ID != "" {
			ms.checkUnique(first, c.ID, i)
		}
		if len(ms) > 0 {
			errs = append(errs, ms.join(index("clients", i)+"."))
			continue
		}
		m.store(c.clone())
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("store: %w", errors.Join(errs...))
	}
	return m, nil
}

func (ms *mistakes) checkUnique(first map[string]int, id string, i int) {
	if j, ok := first[id]; ok {
		ms.add("ID", quote(id), "is the id of "+index("clients", j)+" already; give each its own")
		return
	}
	first[id] = i
}

// Put adds a copy of the client or replaces the one of the same id. An invalid
// one is refused with the error of [Client.Validate].
func (m *Memory) Put(c *Client) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	m.store(c.clone())
	return nil
}

func (m *Memory) store(c *Client) {
	c.share(m.lastClient.Load())
	m.lastClient.Store(c)
	m.clients.store(c)
}

// Remove removes the client and reports whether there was one.
func (m *Memory) Remove(id string) bool { return m.clients.remove(id) }

// Client implements [ClientStore]. It allocates nothing.
func (m *Memory) Client(ctx context.Context, id string) (*Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := m.clients.load(id)
	if c == nil {
		return nil, ErrNotFound
	}
	return c, nil
}

// clone returns a copy in one piece, its texts in another: among a million
// clients, each piece that a request looks at is a wait for memory.
func (c *Client) clone() *Client {
	d := &struct { // what every request reads stands together
		secrets [2]Secret
		Client
	}{Client: *c}
	if c.Secrets != nil {
		d.Secrets = append(d.secrets[:0], c.Secrets...)
	}
	if c.Rate != nil {
		rate := *c.Rate
		d.Rate = &rate
	}
	d.gatherTexts()
	d.Grants = slices.Clone(c.Grants)
	d.Scopes = slices.Clone(c.Scopes)
	d.RedirectURIs = slices.Clone(c.RedirectURIs)
	d.Roles = slices.Clone(c.Roles)
	d.Audiences = slices.Clone(c.Audiences)
	return &d.Client
}

// gatherTexts puts side by side what authentication reads.
func (c *Client) gatherTexts() {
	text := c.ID
	for i := range c.Secrets {
		text += c.Secrets[i].Hash
	}
	c.ID, text = text[:len(c.ID)], text[len(c.ID):]
	for i := range c.Secrets {
		hash := &c.Secrets[i].Hash
		*hash, text = text[:len(*hash)], text[len(*hash):]
	}
}

// share gives c the lists and the rate of another client where they are alike, as
// those of many clients are. Nobody changes them. The one stored before is looked
// at and no other, since clients mostly come in kinds.
func (c *Client) share(with *Client) {
	if with == nil {
		return
	}
	if slices.Equal(c.Grants, with.Grants) {
		c.Grants = with.Grants
	}
	if slices.Equal(c.Scopes, with.Scopes) {
		c.Scopes = with.Scopes
	}
	if c.Rate != nil && with.Rate != nil && *c.Rate == *with.Rate {
		c.Rate = with.Rate
	}
}
