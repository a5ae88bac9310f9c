package store

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	shardCount = 64
	memoryName = "store.Memory"
)

// Memory is a [ClientStore] and a [State] in the memory of one process: what it
// holds is gone with the process and unknown to any other. The zero value is
// empty and ready. It is safe for concurrent use, must not be copied, and starts
// no goroutine.
//
// An opaque token costs about 200 bytes. An entry past its expiry is present
// until it is collected: each Create looks at eight entries and removes up to
// two of them.
type Memory struct {
	// Now is the clock by which entries expire; [time.Now] when nil. It is set
	// before the first use.
	Now func() time.Time

	clients    clientMap
	lastClient atomic.Pointer[Client] // that was stored
	shards     [shardCount]shard
}

var (
	_ ClientStore = (*Memory)(nil)
	_ State       = (*Memory)(nil)
)

type shard struct {
	mu sync.RWMutex
	table
	_ [64]byte // so that no two shards share a cache line
}

// One seed for all: it is random in each process, and the zero Memory has no
// moment to make its own.
var seed = maphash.MakeSeed()

// shard returns where the key belongs, and its hash within.
func (m *Memory) shard(key string) (*shard, uint32) {
	h := maphash.String(seed, key)
	return &m.shards[h%shardCount], uint32(h >> 32)
}

// Get implements [State]. It allocates nothing, but for a value that Swap has
// written: that is a copy, since the next Swap writes over it.
func (m *Memory) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	s, hash := m.shard(key)
	if !s.mayHave(key) {
		return nil, false, nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.find(hash, key)
	if e == nil {
		return nil, false, nil
	}
	if e.about&isOwn != 0 {
		return append([]byte{}, e.value()...), true, nil
	}
	return slices.Clip(e.value()), true, nil
}

// AppendValue is Get, but appends a copy of the value to b.
func (m *Memory) AppendValue(ctx context.Context, key string, b []byte) (val []byte, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	s, hash := m.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.find(hash, key)
	if e == nil {
		return nil, false, nil
	}
	return append(b, e.value()...), true, nil
}

// Create implements [State]. Where val is there already, it is kept until the
// later of both expiries.
func (m *Memory) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s, hash := m.shard(key)
	fresh := newEntry(hash, key, val, expires, 0)
	now := m.now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(hash, key); e != nil {
		created := e.keep(val, fresh.expires)
		s.collect(now)
		return created, nil
	}
	s.collect(now)
	s.insert(&fresh)
	return true, nil
}

// Swap implements [State]. Where val is there already, it is kept until the
// later of both expiries.
func (m *Memory) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s, hash := m.shard(key)
	done, swapped := s.swap(hash, key, old, val, expires.Unix(), nil)
	if !done {
		fresh := newEntry(hash, key, val, expires, swapRoom)
		_, swapped = s.swap(hash, key, old, val, fresh.expires, &fresh)
	}
	return swapped, nil
}

// swap is not done where there is no room for the value. Then it is to be called
// again with a fresh entry of it.
func (s *shard) swap(hash uint32, key string, old, val []byte, expires int64, fresh *entry) (done, swapped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(hash, key)
	switch {
	case e == nil:
		return true, false
	case e.keep(val, expires):
		return true, true
	case !bytes.Equal(e.value(), old):
		return true, false
	case fresh != nil:
		e.data, e.about = fresh.data, e.about|isOwn
	case !e.write(val):
		return false, false
	}
	e.expires = expires
	return true, true
}

// Delete implements [State].
func (m *Memory) Delete(ctx context.Context, key string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s, hash := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(hash, key)
	if e == nil {
		return false, nil
	}
	s.remove(e)
	return true, nil
}

func (m *Memory) now() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// swapRoom is how much longer a value that is swapped may become where it lies.
const swapRoom = 16

// newEntry is called outside the lock, since it allocates.
func newEntry(hash uint32, key string, val []byte, expires time.Time, room int) entry {
	data := append(make([]byte, 0, len(key)+len(val)+room), key...)
	data = append(data, val...)
	return entry{data, expires.Unix(), hash, isThere | uint32(len(key))}
}

// keep reports whether the value is val already; success promises that it is
// there until expires.
func (e *entry) keep(val []byte, expires int64) bool {
	same := bytes.Equal(e.value(), val)
	if same {
		e.expires = max(e.expires, expires)
	}
	return same
}

// Format prints the name of the type and nothing of what it holds.
func (*Memory) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, memoryName) }

// MarshalText returns the name of the type.
func (*Memory) MarshalText() ([]byte, error) { return []byte(memoryName), nil }

// LogValue returns the name of the type.
func (*Memory) LogValue() slog.Value { return slog.StringValue(memoryName) }
