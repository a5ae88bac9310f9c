package stage

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A proxy stands between the copies and one of their servers. Unlike one that
// counts bytes or replies it knows which replies say that something was done, so
// that it can lose just those under load.
type proxy struct {
	upstream string
	listener net.Listener
	matters  func(reply []byte) bool
	running  sync.WaitGroup

	mu     sync.Mutex
	links  map[*link]struct{}
	refuse bool
	held   chan struct{} // closed when bytes may pass; nil when they may

	every     atomic.Int64 // of so many replies that matter one is lost; none when 0
	matter    atomic.Int64
	decisions atomic.Int64 // replies of the limiter
	pending   atomic.Int64 // links whose server owes a reply
	swallowed atomic.Int64
}

func newProxy(upstream string, matters func([]byte) bool) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{upstream: upstream, listener: l, matters: matters, links: map[*link]struct{}{}}
	p.running.Go(p.accept)
	return p, nil
}

// postgresWrote knows the command tags of statements that changed a row
// (CommandComplete).
func postgresWrote(reply []byte) bool {
	return bytes.Contains(reply, []byte("UPDATE 1\x00")) || bytes.Contains(reply, []byte("INSERT 0 1\x00"))
}

// postgresRead knows the command tag of a query that found one row.
func postgresRead(reply []byte) bool { return bytes.Contains(reply, []byte("SELECT 1\x00")) }

// redisWrote knows what scripts that may write answer: a number those of the
// State, 16 bytes that of the limiter where it admits (take.lua; a refusal has 24).
func redisWrote(reply []byte) bool {
	return bytes.HasPrefix(reply, []byte(":1\r\n")) || bytes.HasPrefix(reply, []byte("$16\r\n"))
}

// redisDecided knows what the limiter answers, whether it admits or not.
func redisDecided(reply []byte) bool {
	return bytes.HasPrefix(reply, []byte("$16\r\n")) || bytes.HasPrefix(reply, []byte("$24\r\n"))
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) close() {
	_ = p.listener.Close()
	p.setRefuse(true)
	p.cut()
	p.running.Wait()
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

// setRefuse closes new connections at once.
func (p *proxy) setRefuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// hang holds all bytes back, in both directions.
func (p *proxy) hang(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.held == nil:
		p.held = make(chan struct{})
	case !on && p.held != nil:
		close(p.held)
		p.held = nil
	}
}

// swallow loses each n-th reply that matters, and its connection, until it is called
// with 0. It returns how many were lost before.
func (p *proxy) swallow(n int) int {
	p.every.Store(int64(n))
	return int(p.swallowed.Swap(0))
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // as when there are too many files for a moment
			time.Sleep(10 * time.Millisecond)
			continue
		}
		p.running.Go(func() { p.serve(conn) })
	}
}

func (p *proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	if p.refuses() { // what is refused costs the server nothing
		return
	}
	server, err := net.DialTimeout("tcp", p.upstream, 5*time.Second)
	if err != nil {
		return
	}
	l := &link{client: client, server: server, closed: make(chan struct{})}
	defer l.close()
	if !p.add(l) {
		return
	}
	defer p.remove(l)
	var both sync.WaitGroup
	both.Go(func() {
		p.copy(l, server, client, func([]byte) bool { p.owes(l, true); return true })
	})
	both.Go(func() {
		p.copy(l, client, server, func(reply []byte) bool {
			p.owes(l, false)
			if redisDecided(reply) {
				p.decisions.Add(1)
			}
			return p.delivers(reply)
		})
	})
	both.Wait()
	p.owes(l, false)
}

// owes notes that the server of a link was asked for something, or has replied.
func (p *proxy) owes(l *link, pending bool) {
	if l.pending.Swap(pending) == pending {
		return
	}
	if pending {
		p.pending.Add(1)
	} else {
		p.pending.Add(-1)
	}
}

// busy is how many connections wait for a reply of the server.
func (p *proxy) busy() int { return int(p.pending.Load()) }

func (p *proxy) refuses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refuse
}

func (p *proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.refuse {
		p.links[l] = struct{}{}
	}
	return !p.refuse
}

func (p *proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// delivers says whether the reply is not to be lost.
func (p *proxy) delivers(reply []byte) bool {
	n := p.every.Load()
	if n == 0 || !p.matters(reply) || p.matter.Add(1)%n != 0 {
		return true
	}
	p.swallowed.Add(1)
	return false
}

// copy passes bytes on until either side ends, which ends both.
func (p *proxy) copy(l *link, to, from net.Conn, pass func([]byte) bool) {
	defer l.close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			p.await(l)
			if !pass(buffer[:n]) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// await returns when bytes may pass, or when the link is closed.
func (p *proxy) await(l *link) {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	if held == nil {
		return
	}
	select {
	case <-held:
	case <-l.closed:
	}
}

// A link is one connection on its way through.
type link struct {
	client, server net.Conn
	pending        atomic.Bool // the server owes a reply
	once           sync.Once
	closed         chan struct{}
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.closed)
		_ = l.client.Close()
		_ = l.server.Close()
	})
}
