package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/tokenbooth/tokenbooth/store"
)

// ErrExists says that there is a client of this id already.
var ErrExists = errors.New("client exists")

const (
	mostChanges = 8    // tries to change a client that others change as well
	mostClients = 1000 // of a page
	duplicate   = 1062 // the number of a duplicate key in MariaDB and MySQL

	lookTime = 2 * time.Second // for whether a write was made whose reply is lost
)

// Client implements [store.ClientStore]. It reads the database at each call.
func (s *Store) Client(ctx context.Context, id string) (*store.Client, error) {
	text, err := s.document(ctx, "client", id)
	if err != nil {
		return nil, err
	}
	c, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: client: %w", err)
	}
	return c, nil
}

func (s *Store) document(ctx context.Context, what, id string) (text []byte, err error) {
	err = s.read(ctx, what, func() error {
		texts, err := column(s.reads.query(ctx, s.dialect.client, []byte(id)))
		if err == nil && len(texts) == 0 {
			return store.ErrNotFound
		}
		if err == nil {
			text = texts[0]
		}
		return err
	})
	return text, err
}

// Clients returns up to limit clients (1000 at most) in the order of the bytes
// of their ids, from the one that comes after that id on; "" begins. A page that
// is shorter than the limit is the last.
//
// Documents that are damaged it leaves out, and returns the others with an error
// that names the ids of those; any other error comes without clients.
func (s *Store) Clients(ctx context.Context, after string, limit int) ([]*store.Client, error) {
	if limit < 1 {
		return nil, fmt.Errorf("sqlstore: clients: a page of %d; ask for at least one", limit)
	}
	limit = min(limit, mostClients)
	var clients []*store.Client
	var damaged []error
	for len(clients) < limit {
		want := limit - len(clients)
		found, err := s.documents(ctx, []byte(after), want)
		if err != nil {
			return nil, err
		}
		for _, d := range found {
			after = string(d.id)
			c, err := decode(d.text)
			if err != nil {
				damaged = append(damaged, fmt.Errorf("sqlstore: clients: %q: %w", d.id, err))
				continue
			}
			clients = append(clients, c)
		}
		if len(found) < want {
			break
		}
	}
	return clients, errors.Join(damaged...)
}

type idAndText struct{ id, text []byte }

func (s *Store) documents(ctx context.Context, after []byte, limit int) (found []idAndText, err error) {
	err = s.read(ctx, "clients", func() error {
		found = nil
		rows, err := s.reads.query(ctx, s.dialect.clients, after, limit)
		return each(rows, err, func(rows *sql.Rows) error {
			var d idAndText
			err := rows.Scan(&d.id, &d.text)
			found = append(found, d)
			return err
		})
	})
	return found, err
}

// CreateClient adds a client. It returns the error of [store.Client.Validate]
// for an invalid one, and [ErrExists] where there is one of its id, which may be
// this one where an earlier call has failed.
func (s *Store) CreateClient(ctx context.Context, c *store.Client) error {
	text, err := encode(c)
	if err != nil {
		return fmt.Errorf("sqlstore: create client: %w", err)
	}
	n, err := s.change(ctx, "create client", s.dialect.createClient, []byte(c.ID), text)
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == duplicate {
		n, err = 0, nil
	}
	if err == nil && n == 0 {
		err = fmt.Errorf("sqlstore: create client: %w", ErrExists)
	}
	return err
}

// UpdateClient replaces the client of the same id by this one, all of it: what
// changed in the meantime, be it a secret or that it was disabled, is lost.
// [Store.ChangeClient] changes some of it and keeps the rest. It returns the
// error of [store.Client.Validate] for an invalid one, and [store.ErrNotFound].
func (s *Store) UpdateClient(ctx context.Context, c *store.Client) error {
	text, err := encode(c)
	if err != nil {
		return fmt.Errorf("sqlstore: update client: %w", err)
	}
	n, err := s.change(ctx, "update client", s.dialect.updateClient, text, []byte(c.ID))
	if err == nil && n == 0 {
		err = fmt.Errorf("sqlstore: update client: %w", store.ErrNotFound)
	}
	return err
}

// ChangeClient reads a client, lets edit change it, and writes it, so that no
// change of another gets lost: where there was one in between, it begins again,
// and edit is called once more. An error of edit ends it. The id cannot change.
// It returns the error of [store.Client.Validate] for an invalid one, and
// [store.ErrNotFound]. After eight lost races it returns an error that wraps
// [store.ErrUnavailable].
//
// Where the reply of the database is lost it looks, for 2 s at most and past the
// end of the context, whether the change was made, and succeeds if so. Any other
// error that wraps [store.ErrUnavailable] leaves open whether it was.
func (s *Store) ChangeClient(ctx context.Context, id string, edit func(*store.Client) error) error {
	return s.changeClient(ctx, "change client", id, edit)
}

func (s *Store) changeClient(ctx context.Context, what, id string, edit func(*store.Client) error) error {
	for n := range mostChanges {
		old, err := s.document(ctx, what, id)
		if err != nil {
			return err
		}
		text, err := edited(old, id, edit)
		if err != nil {
			return fmt.Errorf("sqlstore: %s: %w", what, err)
		}
		if bytes.Equal(text, old) {
			return nil
		}
		done, err := s.change(ctx, what, s.dialect.changeClient, text, []byte(id), old)
		if err != nil && s.wrote(ctx, id, text) {
			return nil // only the reply was lost
		}
		if err != nil || done > 0 {
			return err
		}
		pause(ctx, n)
	}
	return fmt.Errorf("sqlstore: %s: %w: others change it all the time", what, store.ErrUnavailable)
}

// wrote says whether this is the document of the client now. It looks even where
// the end of the context is what lost the reply.
func (s *Store) wrote(ctx context.Context, id string, text []byte) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	now, err := s.document(ctx, "client", id)
	return err == nil && bytes.Equal(now, text)
}

func edited(old []byte, id string, edit func(*store.Client) error) ([]byte, error) {
	c, err := decode(old)
	if err != nil {
		return nil, err
	}
	if err := edit(c); err != nil {
		return nil, err
	}
	if c.ID != id {
		return nil, errors.New("the id of a client cannot change")
	}
	return encode(c)
}

// DisableClient disables a client, or enables it again. It returns
// [store.ErrNotFound] where there is none.
func (s *Store) DisableClient(ctx context.Context, id string, disabled bool) error {
	return s.changeClient(ctx, "disable client", id, func(c *store.Client) error {
		c.Disabled = disabled
		return nil
	})
}

// RotateSecret gives a confidential client a new secret (see [store.NewSecret])
// and returns its plain text, which is not to be had again. The newest of its
// other secrets goes on for overlap, or until its own expiry where that comes
// first; any other ends at once, as they all do where overlap is not above 0.
//
// Rotations at the same instant come one after the other; the secret of the
// first then ends after its overlap. It returns [store.ErrNotFound] where there is
// no such client.
//
// A lost reply of the database is looked into, as by [Store.ChangeClient]. Where
// an error wraps [store.ErrUnavailable] all the same, the new secret may be there,
// though nobody knows it. Do not rotate again before you have looked
// ([Store.Client]): that would keep the unknown one and end the one that is in
// use. Where it is there, take it out and put back the others by
// [Store.ChangeClient] first.
func (s *Store) RotateSecret(ctx context.Context, id string, overlap time.Duration) (string, error) {
	fresh, plain := store.NewSecret()
	err := s.changeClient(ctx, "rotate secret", id, func(c *store.Client) error {
		if c.Public {
			return errors.New("a public client has no secret (RFC 6749 §2.1)")
		}
		c.Secrets = rotated(c.Secrets, fresh, overlap, time.Now())
		return nil
	})
	if err != nil {
		return "", err
	}
	return plain, nil
}

func rotated(secrets []store.Secret, fresh store.Secret, overlap time.Duration, now time.Time) []store.Secret {
	old := newest(secrets, now)
	if old == nil || overlap <= 0 {
		return []store.Secret{fresh}
	}
	if end := now.Add(overlap); old.Expires.IsZero() || end.Before(old.Expires) {
		old.Expires = end
	}
	return []store.Secret{*old, fresh}
}

// newest returns a copy of the live secret that ends last, which is the later of
// two that never end, or nil.
func newest(secrets []store.Secret, now time.Time) (last *store.Secret) {
	for _, s := range secrets {
		if !s.Live(now) {
			continue
		}
		if last == nil || s.Expires.IsZero() || !last.Expires.IsZero() && !s.Expires.Before(last.Expires) {
			last = &s
		}
	}
	return last
}

// UpgradeSecret implements [store.SecretUpgrader]. A hash that
// [store.Client.Validate] would refuse is refused.
func (s *Store) UpgradeSecret(ctx context.Context, clientID string, old, upgraded store.Secret) error {
	return s.changeClient(ctx, "upgrade secret", clientID, func(c *store.Client) error {
		for i := range c.Secrets {
			if c.Secrets[i].Hash == old.Hash {
				c.Secrets[i].Hash = upgraded.Hash
			}
		}
		return nil
	})
}
