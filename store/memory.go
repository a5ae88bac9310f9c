package store

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
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
	_ [48]byte // so that no two shards share a cache line
}

// One seed for all: it is random in each process, and the zero Memory has no
// moment to make its own.
var seed = maphash.MakeSeed()

// shard returns where the key belongs, and its hash within.
func (m *Memory) shard(key string) (*shard, uint32) {
	h := maphash.String(seed, key)
	return &m.shards[h%shardCount], uint32(h >> 32)
}

// Get implements [State]. It allocates nothing.
func (m *Memory) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	s, hash := m.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, e := s.find(hash, key)
	if e == nil {
		return nil, false, nil
	}
	return e.value(), true, nil
}

// Create implements [State]. Where val is there already, it is kept until the
// later of both expiries.
func (m *Memory) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s, hash := m.shard(key)
	fresh := newEntry(hash, key, val, expires)
	now := m.now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, e := s.find(hash, key); e != nil {
		created := e.keep(val, fresh.expires)
		s.collect(now)
		return created, nil
	}
	s.collect(now)
	s.insert(fresh)
	return true, nil
}

// Swap implements [State]. Where val is there already, it is kept until the
// later of both expiries.
func (m *Memory) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s, hash := m.shard(key)
	fresh := newEntry(hash, key, val, expires)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, e := s.find(hash, key)
	if e == nil {
		return false, nil
	}
	if e.keep(val, fresh.expires) {
		return true, nil
	}
	if !bytes.Equal(e.value(), old) {
		return false, nil
	}
	e.data, e.expires = fresh.data, fresh.expires
	return true, nil
}

// Delete implements [State].
func (m *Memory) Delete(ctx context.Context, key string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s, hash := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, e := s.find(hash, key)
	if e == nil {
		return false, nil
	}
	s.remove(i)
	return true, nil
}

func (m *Memory) now() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// newEntry is called outside the lock, since it allocates.
func newEntry(hash uint32, key string, val []byte, expires time.Time) entry {
	data := make([]byte, len(key)+len(val))
	copy(data[copy(data, key):], val)
	return entry{data: data, expires: expires.Unix(), hash: hash, keyLen: uint32(len(key))}
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
