package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// A mapState is a right State, but for its fault.
type mapState struct {
	fault   fault
	mu      sync.Mutex
	entries map[string]item
	closed  bool
}

type item struct {
	val     []byte
	expires time.Time
}

var errOther = errors.New("something else")

// folded is what a faulty store makes of a string.
func folded(f fault, what, s string) string {
	switch {
	case f.is(what + " end at NUL"):
		s, _, _ = strings.Cut(s, "\x00")
	case f.is(what + " without case"):
		s = strings.ToLower(s)
	case f.is(what + " without spaces at their end"):
		s = strings.TrimRight(s, " ")
	case f.is(what + " end after 255 bytes"):
		s = s[:min(len(s), 255)]
	case f.is(what + " end after 65,535 bytes"):
		s = s[:min(len(s), 65535)]
	case f.is(what + " are UTF-8"):
		s = strings.ToValidUTF8(s, "\ufffd")
	case f.is(what + " are patterns"):
		s = strings.ReplaceAll(s, "_", "%")
	}
	return s
}

// begin takes the lock and returns the key as it is kept.
func (s *mapState) begin(ctx context.Context, key string) (string, error) {
	s.mu.Lock()
	err := ctx.Err()
	switch {
	case err != nil && s.fault.is("cancelled is done"):
		err = nil
	case err != nil && s.fault.is("cancelled is something else"):
		err = errOther
	case s.closed && s.fault.is("closed is something else"):
		err = errOther
	case s.closed:
		err = store.ErrUnavailable
	case key == "" && s.fault.is("no empty key"), len(key) > 1000 && s.fault.is("no long keys"):
		err = errOther
	}
	s.collect()
	return folded(s.fault, "keys", key), err
}

// between lets another go first where a fault says so.
func (s *mapState) between(fault string) {
	if s.fault.is(fault) {
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
	}
}

func (s *mapState) collect() {
	now := time.Now()
	for key, it := range s.entries {
		end := it.expires
		switch f := s.fault; {
		case f.is("expires never"), f.is("expires never with the zero time") && end.IsZero():
			continue
		case f.is("expires too early"):
			end = end.Add(-100 * time.Millisecond)
		case f.is("expires by the second"):
			end = end.Truncate(time.Second)
		case f.is("expires by nanoseconds of 64 bits"):
			end = time.Unix(0, end.UnixNano())
		}
		if end.Before(now) {
			delete(s.entries, key)
		}
	}
}

func (s *mapState) kept(val []byte) []byte {
	if s.fault.is("keeps what it was given") {
		return val
	}
	return []byte(folded(s.fault, "values", string(val)))
}

func (s *mapState) equal(a, b []byte) bool {
	if s.fault.is("values compared without spaces at their end") {
		a, b = bytes.TrimRight(a, " "), bytes.TrimRight(b, " ")
	}
	return bytes.Equal(a, b)
}

// keep extends an entry whose value is there already.
func (s *mapState) keep(key string, it item, expires time.Time) {
	switch {
	case s.fault.is("same value, the first expiry"):
		return
	case it.expires.After(expires) && !s.fault.is("same value, the last expiry"):
		return
	}
	it.expires = expires
	s.entries[key] = it
}

func (s *mapState) Get(ctx context.Context, key string) ([]byte, bool, error) {
	key, err := s.begin(ctx, key)
	defer s.mu.Unlock()
	if err != nil {
		return nil, false, err
	}
	it, ok := s.entries[key]
	if s.fault.is("empty is absent") && len(it.val) == 0 {
		ok = false
	}
	return it.val, ok, nil
}

func (s *mapState) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	key, err := s.begin(ctx, key)
	defer s.mu.Unlock()
	if err != nil {
		return false, err
	}
	if s.fault.is("fails with the zero time") && expires.IsZero() {
		return false, errOther
	}
	it, ok := s.entries[key]
	s.between("Create looks, then writes")
	switch {
	case !ok, s.fault.is("Create overwrites"):
		s.entries[key] = item{s.kept(val), expires}
		return true, nil
	case s.equal(it.val, val) && !s.fault.is("Create is not idempotent"):
		s.keep(key, it, expires)
		return true, nil
	case s.fault.is("a refused Create extends"):
		s.keep(key, it, expires)
	}
	return false, nil
}

func (s *mapState) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	key, err := s.begin(ctx, key)
	defer s.mu.Unlock()
	if err != nil {
		return false, err
	}
	it, ok := s.entries[key]
	s.between("Swap looks, then writes")
	fits := ok && s.equal(it.val, old)
	fits = fits || ok && s.fault.is("Swap ignores old")
	fits = fits || ok && s.fault.is("Swap compares the first bytes") && bytes.HasPrefix(it.val, old)
	fits = fits || !ok && s.fault.is("Swap creates")
	if s.fault.is("Swap keeps the expiry") {
		expires = it.expires
	}
	switch {
	case ok && s.equal(it.val, val) && it.expires.Equal(expires) && s.fault.is("Swap reports changed rows"):
		return false, nil
	case ok && s.equal(it.val, val) && !s.fault.is("Swap is not idempotent"):
		s.keep(key, it, expires)
		return true, nil
	case fits:
		s.write(key, it, item{s.kept(val), expires})
	case ok && s.fault.is("a refused Swap extends"):
		s.keep(key, it, expires)
	}
	return fits != s.fault.is("Swap reports the opposite"), nil
}

func (s *mapState) write(key string, was, it item) {
	if s.fault.is("writes over what it gave") && len(was.val) == len(it.val) {
		copy(was.val, it.val)
		it.val = was.val
	}
	if s.fault.is("Swap deletes, then creates") {
		delete(s.entries, key)
		s.between("Swap deletes, then creates")
	}
	s.entries[key] = it
}

func (s *mapState) Delete(ctx context.Context, key string) (bool, error) {
	key, err := s.begin(ctx, key)
	defer s.mu.Unlock()
	if err != nil {
		return false, err
	}
	_, ok := s.entries[key]
	s.between("Delete looks, then deletes")
	if !s.fault.is("Delete keeps") {
		delete(s.entries, key)
	}
	return ok || s.fault.is("Delete reports true always"), nil
}

func (s *mapState) GetMany(ctx context.Context, keys []string) ([][]byte, error) {
	if len(keys) == 0 && s.fault.is("GetMany of none fails") {
		return nil, errOther
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed && s.fault.is("GetMany of closed is something else") {
		return nil, errOther
	}
	if s.fault.is("GetMany of 64 keys") {
		keys = keys[:min(len(keys), 64)]
	}
	if s.fault.is("GetMany in the order of keys") {
		keys = slices.Sorted(slices.Values(keys))
	}
	vals := make([][]byte, 0, len(keys))
	seen := make(map[string]bool)
	for _, key := range keys {
		val, ok, err := s.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		switch {
		case ok && len(val) == 0 && s.fault.is("GetMany of empty is nil"):
			val = nil
		case ok:
			val = append([]byte{}, val...)
		case s.fault.is("GetMany of absent is empty"):
			val = []byte{}
		case s.fault.is("GetMany without the absent"):
			continue
		}
		if seen[key] && s.fault.is("GetMany of each key once") {
			val = nil
		}
		seen[key] = true
		vals = append(vals, val)
	}
	return vals, nil
}

func (s *mapState) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// A clientsState is a right ClientStore, but for its fault.
type clientsState struct {
	fault fault
	store.ClientStore
	closed bool
}

func (s *clientsState) Close() error {
	s.closed = true
	return nil
}

func (s *clientsState) Client(ctx context.Context, id string) (*store.Client, error) {
	if ctx.Err() != nil && s.fault.is("cancelled is done") {
		ctx = context.WithoutCancel(ctx)
	}
	if ctx.Err() != nil && s.fault.is("cancelled is absent") {
		return nil, store.ErrNotFound
	}
	switch {
	case s.closed && s.fault.is("a failure is not found"):
		return nil, store.ErrNotFound
	case s.closed && s.fault.is("closed is something else"):
		return nil, errOther
	case s.closed:
		return nil, store.ErrUnavailable
	}
	c, err := s.ClientStore.Client(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return s.absent(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	if folded(s.fault, "ids", id) != id { // two are one
		if other, err := s.ClientStore.Client(ctx, folded(s.fault, "ids", id)); err == nil {
			c = other
		}
	}
	return s.spoilt(c), nil
}

// absent finds whom a faulty store takes for the client.
func (s *clientsState) absent(ctx context.Context, id string) (*store.Client, error) {
	for _, as := range []string{folded(s.fault, "ids", id), folded(s.fault, "ids", id) + "-Client"} {
		if c, err := s.ClientStore.Client(ctx, as); as != id && err == nil {
			return c, nil
		}
	}
	switch base := strings.TrimRight(id, "%_"); {
	case s.fault.is("ids without case"):
		// A store in lower case: its one client is found by any case.
		if prefix, ok := strings.CutSuffix(strings.ToUpper(id), "-CLIENT"); ok {
			return s.ClientStore.Client(ctx, prefix+"-Client")
		}
	case s.fault.is("ids are patterns") && base != id:
		return s.ClientStore.Client(ctx, base+"t")
	case s.fault.is("odd ids fail") && strings.Contains(id, "\x00"):
		return nil, errOther
	case s.fault.is("absent is nil"):
		return nil, nil
	case s.fault.is("absent is unavailable"):
		return nil, fmt.Errorf("%w: %w", store.ErrNotFound, store.ErrUnavailable)
	}
	return nil, store.ErrNotFound
}

// spoilt returns the client as a faulty store has it.
func (s *clientsState) spoilt(c *store.Client) *store.Client {
	d := *c
	d.Secrets = slices.Clone(c.Secrets)
	for i := range d.Secrets {
		e := &d.Secrets[i].Expires
		switch {
		case s.fault.is("expiry by the second"):
			*e = e.Truncate(time.Second)
		case s.fault.is("zero expiry is 1970") && e.IsZero():
			*e = time.Unix(0, 0)
		}
	}
	switch {
	case s.fault.is("always a rate") && d.Rate == nil:
		d.Rate = new(store.Rate)
	case s.fault.is("rates of 32 bits") && d.Rate != nil:
		d.Rate = &store.Rate{PerSecond: float64(float32(d.Rate.PerSecond)), Burst: d.Rate.Burst}
	case s.fault.is("numbers of 53 bits"):
		d.Number = int64(math.Min(float64(d.Number), 1<<53))
	case s.fault.is("sorted scopes"):
		d.Scopes = slices.Sorted(slices.Values(d.Scopes))
	case s.fault.is("lists joined by commas"):
		d.Scopes = strings.Split(strings.Join(d.Scopes, ","), ",")
	case s.fault.is("texts of 255 bytes"):
		d.Description = d.Description[:min(len(d.Description), 255)]
	}
	if name, ok := strings.CutPrefix(string(s.fault), "forgets "); ok {
		forget(&d, name)
	}
	return &d
}
