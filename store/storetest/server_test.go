package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/store"
)

// A request of a State over TCP, one line of JSON, and its reply, another.
type request struct {
	Op, Key  string
	Old, Val []byte
	Expires  time.Time
	Limit    tokenbooth.Limit
}

type reply struct {
	Val      []byte
	Done     bool
	Decision tokenbooth.Decision
}

// serve answers from a Memory until the test ends.
func serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	m, limits := new(store.Memory), new(tokenbooth.MemoryLimiter)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answer(conn, m, limits)
		}
	}()
	return l.Addr().String()
}

func answer(conn net.Conn, m *store.Memory, limits *tokenbooth.MemoryLimiter) {
	defer conn.Close()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var q request
		if in.Decode(&q) != nil {
			return
		}
		var a reply
		ctx := context.Background()
		switch q.Op {
		case "get":
			a.Val, a.Done, _ = m.Get(ctx, q.Key)
		case "create":
			a.Done, _ = m.Create(ctx, q.Key, q.Val, q.Expires)
		case "swap":
			a.Done, _ = m.Swap(ctx, q.Key, q.Old, q.Val, q.Expires)
		case "take":
			a.Decision, _ = limits.Take(ctx, q.Key, q.Limit)
		default:
			a.Done, _ = m.Delete(ctx, q.Key)
		}
		if out.Encode(a) != nil {
			return
		}
	}
}

// A netState is a right State on a server, but for its fault.
type netState struct {
	fault fault
	addr  string
	mu    sync.Mutex
	idle  []net.Conn
	dead  bool
	turn  sync.Mutex // of a fault
}

func dialState(t *testing.T, f fault, addr string) *netState {
	t.Helper()
	s := &netState{fault: f, addr: addr}
	t.Cleanup(func() {
		for _, conn := range s.idle {
			_ = conn.Close()
		}
	})
	return s
}

func (s *netState) do(ctx context.Context, q request) (reply, error) {
	if s.fault.is("no deadline") {
		ctx = context.WithoutCancel(ctx)
	}
	if s.fault.is("calls wait for their turn") {
		s.turn.Lock()
		defer s.turn.Unlock()
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
		defer cancel()
		ctx = own
	}
	a, err := s.try(ctx, q)
	switch {
	case err == nil:
		return a, nil
	case s.fault.is("unknown is false") && q.Op != "get":
		return reply{}, nil
	case s.fault.is("unknown is true") && q.Op != "get":
		return reply{Done: true}, nil
	case ctx.Err() != nil:
		return a, fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	case s.fault.is("another error"):
		return a, err
	}
	return a, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

func (s *netState) try(ctx context.Context, q request) (a reply, err error) {
	conn, err := s.conn(ctx)
	if err != nil {
		return a, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = json.NewEncoder(conn).Encode(q)
	if err == nil {
		err = json.NewDecoder(conn).Decode(&a)
	}
	if !stop() || err != nil {
		_ = conn.Close()
		s.mu.Lock()
		s.dead = s.fault.is("never dials again")
		s.mu.Unlock()
		return a, errors.Join(err, ctx.Err())
	}
	s.mu.Lock()
	s.idle = append(s.idle, conn)
	s.mu.Unlock()
	return a, nil
}

func (s *netState) conn(ctx context.Context) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return nil, net.ErrClosed
	}
	if n := len(s.idle); n > 0 {
		conn := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return conn, nil
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	var d net.Dialer
	return d.DialContext(ctx, "tcp", s.addr)
}

func (s *netState) Get(ctx context.Context, key string) ([]byte, bool, error) {
	a, err := s.do(ctx, request{Op: "get", Key: key})
	return a.Val, a.Done, err
}

func (s *netState) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	a, err := s.do(ctx, request{Op: "create", Key: key, Val: val, Expires: expires})
	return a.Done, err
}

func (s *netState) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	a, err := s.do(ctx, request{Op: "swap", Key: key, Old: old, Val: val, Expires: expires})
	return a.Done, err
}

func (s *netState) Delete(ctx context.Context, key string) (bool, error) {
	a, err := s.do(ctx, request{Op: "delete", Key: key})
	return a.Done, err
}

// A netClients is a right ClientStore on a server, but for its fault. The server
// knows who is there.
type netClients struct {
	*netState
	clients map[string]*store.Client
}

func dialClients(t *testing.T, f fault, addr string, clients []*store.Client) *netClients {
	t.Helper()
	s := &netClients{dialState(t, f, addr), make(map[string]*store.Client)}
	for _, c := range clients {
		s.clients[c.ID] = c
		check(t, true, "Create")(s.Create(t.Context(), c.ID, nil, later()))
	}
	return s
}

func (s *netClients) Client(ctx context.Context, id string) (*store.Client, error) {
	_, there, err := s.Get(ctx, id)
	if err == nil && there {
		return s.clients[id], nil
	}
	if err == nil || s.fault.is("a failure is not found") {
		return nil, store.ErrNotFound
	}
	return nil, err
}

// A netLimiter is a right Limiter on a server, which limits by itself while that is
// gone, but for its fault.
type netLimiter struct {
	*netState
	local tokenbooth.MemoryLimiter
	alone atomic.Bool // from a failure on, where a fault says so
}

func (l *netLimiter) Take(ctx context.Context, key string, limit tokenbooth.Limit) (tokenbooth.Decision, error) {
	half := tokenbooth.Limit{PerSecond: limit.PerSecond / 2, Burst: limit.Burst / 2}
	if l.fault.is("a half each") || l.alone.Load() {
		return l.local.Take(ctx, key, half)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime/2)
	defer cancel()
	a, err := l.do(ctx, request{Op: "take", Key: key, Limit: limit})
	switch {
	case err == nil:
		return a.Decision, nil
	case l.fault.is("a failure is a refusal"):
		return tokenbooth.Decision{Limit: limit.Burst, RetryAfter: time.Second}, nil
	case l.fault.is("a half each for ever"):
		l.alone.Store(true)
	case !errors.Is(err, store.ErrUnavailable), l.fault != "":
		return tokenbooth.Decision{}, err
	}
	return l.local.Take(ctx, key, half)
}
