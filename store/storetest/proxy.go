package storetest

import (
	"errors"
	"net"
	"sync"
	"time"
)

// A Proxy stands between a store and its server and does to their TCP connections
// what networks do. It knows no protocol. Its methods are safe for concurrent
// use.
type Proxy struct {
	upstream string
	listener net.Listener
	running  sync.WaitGroup

	mu        sync.Mutex
	links     map[*link]struct{}
	refuse    bool
	held      chan struct{} // closed when bytes may pass; nil when they may
	swallow   int           // replies until the one to be swallowed
	swallowed int
}

// NewProxy returns a proxy on a free port of the loopback interface, in front of
// the server at upstream (host:port), which need not be there yet.
func NewProxy(upstream string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{upstream: upstream, listener: l, links: make(map[*link]struct{})}
	p.running.Go(p.accept)
	return p, nil
}

// Addr returns the host and port of the proxy.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends the proxy and all its connections.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.Refuse(true) // those that are being made
	p.Cut()
	p.running.Wait()
	return err
}

// Cut closes all connections now. New ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

// Refuse closes new connections at once, until it is called with false.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Hang holds all bytes back in both directions, until it is called with false.
// Connections stay open, and new ones are accepted.
func (p *Proxy) Hang(on bool) {
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

// SwallowReply does not deliver the n-th reply from now on, counted over all
// connections, and cuts its connection after the server has sent it. A reply is
// what the server sends after the client sent something. 1 is the next; 0 ends it.
func (p *Proxy) SwallowReply(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow, p.swallowed = n, 0
}

// hasSwallowed reports whether the reply came.
func (p *Proxy) hasSwallowed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.swallowed > 0
}

func (p *Proxy) accept() {
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

func (p *Proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	if p.refuses() {
		return
	}
	server, err := net.DialTimeout("tcp", p.upstream, 5*time.Second)
	if err != nil {
		return
	}
	l := &link{proxy: p, client: client, server: server, closed: make(chan struct{})}
	if !p.add(l) {
		_ = server.Close()
		return
	}
	defer p.remove(l)
	var both sync.WaitGroup
	both.Go(func() { l.copy(server, client, l.asked) })
	both.Go(func() { l.copy(client, server, l.answered) })
	both.Wait()
}

func (p *Proxy) refuses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refuse
}

func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.refuse {
		p.links[l] = struct{}{}
	}
	return !p.refuse
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// A link is one connection of the store to the server.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	once           sync.Once
	closed         chan struct{}
	waiting        bool // the client has sent something since the last reply; under the proxy's lock
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.closed)
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

// copy goes on until one side ends, and then ends both.
func (l *link) copy(to, from net.Conn, pass func() bool) {
	defer l.close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !l.wait() || !pass() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wait holds bytes back while the proxy hangs. It returns false when the
// connection was cut meanwhile.
func (l *link) wait() bool {
	for {
		l.proxy.mu.Lock()
		held := l.proxy.held
		l.proxy.mu.Unlock()
		if held == nil {
			return true
		}
		select {
		case <-held:
		case <-l.closed:
			return false
		}
	}
}

func (l *link) asked() bool {
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	l.waiting = true
	return true
}

// answered returns false for a reply that is to be swallowed.
func (l *link) answered() bool {
	p := l.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	if !l.waiting {
		return true
	}
	l.waiting = false
	if p.swallow == 0 {
		return true
	}
	p.swallow--
	if p.swallow > 0 {
		return true
	}
	p.swallowed++
	return false
}
