package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"math"
	"slices"
	"time"
)

const (
	mostKey   = 255 // bytes of a key that is its own name
	mostNames = 512 // in one statement
)

// nameOf returns the name of a key in the database. The first byte keeps a key
// that looks like a digest from being taken for one.
func nameOf(key string) []byte {
	if len(key) <= mostKey {
		return append([]byte{0}, key...)
	}
	sum := sha256.Sum256([]byte(key))
	return append([]byte{1}, sum[:]...)
}

// milliseconds rounds up: an entry is never gone before its expiry.
func milliseconds(t time.Time) int64 {
	const most = math.MaxInt64/1000 - 1
	switch sec := t.Unix(); {
	case sec > most:
		return math.MaxInt64
	case sec < -most:
		return math.MinInt64
	}
	return t.Add(time.Millisecond - time.Nanosecond).UnixMilli()
}

// present makes an empty value of none, which the driver would send as NULL.
func present(val []byte) []byte {
	if val == nil {
		return []byte{}
	}
	return val
}

// Get implements [store.State].
func (s *Store) Get(ctx context.Context, key string) (val []byte, ok bool, err error) {
	err = s.read(ctx, "get", func() error {
		vals, err := column(s.reads.query(ctx, s.dialect.get, nameOf(key)))
		if ok = len(vals) > 0; ok {
			val = vals[0]
		}
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return val, ok, nil
}

// GetMany implements [store.MultiGetter]: up to 512 keys in one round trip.
func (s *Store) GetMany(ctx context.Context, keys []string) ([][]byte, error) {
	found := make(map[string][]byte, len(keys))
	names := make([][]byte, len(keys))
	for i, key := range keys {
		names[i] = nameOf(key)
	}
	for some := range slices.Chunk(names, mostNames) {
		text, args := s.dialect.getMany(some)
		err := s.read(ctx, "get many", func() error { return collect(found)(s.reads.query(ctx, text, args...)) })
		if err != nil {
			return nil, err
		}
	}
	vals := make([][]byte, len(keys))
	for i, name := range names {
		vals[i] = found[string(name)]
	}
	return vals, nil
}

// Create implements [store.State]. Each eighth one removes up to 16 expired
// entries besides; while that is slow, fewer do, and remove up to 512.
func (s *Store) Create(ctx context.Context, key string, val []byte, expires time.Time) (created bool, err error) {
	name, val := nameOf(key), present(val)
	err = s.write(ctx, "create", func() error {
		created, err = s.dialect.create(ctx, s.writes, name, val, milliseconds(expires))
		return err
	})
	if err != nil {
		return false, err
	}
	s.purgeInPassing(ctx)
	return created, nil
}

// Swap implements [store.State].
func (s *Store) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (swapped bool, err error) {
	text, args := s.dialect.swap(nameOf(key), present(old), present(val), milliseconds(expires))
	n, err := s.change(ctx, "swap", text, args...)
	return n > 0, err
}

// Delete implements [store.State].
func (s *Store) Delete(ctx context.Context, key string) (deleted bool, err error) {
	n, err := s.change(ctx, "delete", s.dialect.remove, nameOf(key))
	return n > 0, err
}

// change runs one statement and returns how many rows it affected.
func (s *Store) change(ctx context.Context, what, text string, args ...any) (n int64, err error) {
	err = s.write(ctx, what, func() error {
		n, err = affected(s.writes.exec(ctx, text, args...))
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func affected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// column returns the one column of all rows.
func column(rows *sql.Rows, err error) (vals [][]byte, _ error) {
	err = each(rows, err, func(rows *sql.Rows) error {
		var val []byte
		err := rows.Scan(&val)
		vals = append(vals, present(val))
		return err
	})
	return vals, err
}

// collect puts names and values into a map.
func collect(found map[string][]byte) func(*sql.Rows, error) error {
	return func(rows *sql.Rows, err error) error {
		return each(rows, err, func(rows *sql.Rows) error {
			var name, val []byte
			err := rows.Scan(&name, &val)
			found[string(name)] = present(val)
			return err
		})
	}
}

func each(rows *sql.Rows, err error, scan func(*sql.Rows) error) error {
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
