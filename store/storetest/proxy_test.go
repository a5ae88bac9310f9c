package storetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// echo greets, and then answers each line by itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprintln(conn, "hello")
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().String()
}

func newProxy(t *testing.T, upstream string) *Proxy {
	t.Helper()
	p, err := NewProxy(upstream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// A talk is a connection through the proxy.
type talk struct {
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, p *Proxy) *talk {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &talk{conn, bufio.NewReader(conn)}
}

// hear returns the next line, or what came in its place.
func (c *talk) hear(d time.Duration) string {
	_ = c.SetReadDeadline(time.Now().Add(d))
	line, err := c.in.ReadString('\n')
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "nothing"
	case err != nil:
		return "the end"
	}
	return strings.TrimSpace(line)
}

func (c *talk) say(line string) { fmt.Fprintln(c, line) }

const soonEnough = 5 * time.Second

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s: heard %q, want %q", what, got, want)
	}
}

func TestProxyPasses(t *testing.T) {
	p := newProxy(t, echo(t))
	for range 3 {
		c := dial(t, p)
		expect(t, "greeting", c.hear(soonEnough), "hello")
		for _, line := range []string{"a", strings.Repeat("b", 100_000)} {
			c.say(line)
			expect(t, "echo", c.hear(soonEnough), line)
		}
	}
}

func TestProxyCut(t *testing.T) {
	p := newProxy(t, echo(t))
	a, b := dial(t, p), dial(t, p)
	expect(t, "greeting", a.hear(soonEnough)+b.hear(soonEnough), "hellohello")
	p.Cut()
	expect(t, "first after Cut", a.hear(soonEnough), "the end")
	expect(t, "second after Cut", b.hear(soonEnough), "the end")
	expect(t, "a new one", dial(t, p).hear(soonEnough), "hello")
}

func TestProxyRefuse(t *testing.T) {
	p := newProxy(t, echo(t))
	before := dial(t, p)
	expect(t, "greeting", before.hear(soonEnough), "hello")
	p.Refuse(true)
	expect(t, "refused", dial(t, p).hear(soonEnough), "the end")
	before.say("still")
	expect(t, "one of before", before.hear(soonEnough), "still")
	p.Refuse(false)
	expect(t, "accepted", dial(t, p).hear(soonEnough), "hello")
}

func TestProxyHang(t *testing.T) {
	p := newProxy(t, echo(t))
	before := dial(t, p)
	expect(t, "greeting", before.hear(soonEnough), "hello")
	p.Hang(true)
	p.Hang(true)
	before.say("held")
	during := dial(t, p)
	expect(t, "one of before", before.hear(50*time.Millisecond), "nothing")
	expect(t, "a new one", during.hear(50*time.Millisecond), "nothing")
	p.Hang(false)
	p.Hang(false)
	expect(t, "one of before", before.hear(soonEnough), "held")
	expect(t, "a new one", during.hear(soonEnough), "hello")
	p.Hang(true)
	before.say("held")
	p.Cut()
	expect(t, "cut while it hangs", before.hear(soonEnough), "the end")
}

func TestProxySwallowReply(t *testing.T) {
	p := newProxy(t, echo(t))
	for n := 1; n <= 3; n++ {
		a, b := dial(t, p), dial(t, p)
		expect(t, "greeting", a.hear(soonEnough)+b.hear(soonEnough), "hellohello")
		p.SwallowReply(n)
		for i := 1; i < n; i++ {
			c := []*talk{a, b}[i%2]
			c.say("reply")
			expect(t, "before", c.hear(soonEnough), "reply")
		}
		a.say("lost")
		expect(t, "swallowed", a.hear(soonEnough), "the end")
		b.say("after")
		expect(t, "another connection", b.hear(soonEnough), "after")
		if !p.hasSwallowed() {
			t.Error("the proxy does not know")
		}
	}
	p.SwallowReply(1)
	p.SwallowReply(0)
	c := dial(t, p)
	expect(t, "greeting, which is no reply", c.hear(soonEnough), "hello")
	c.say("a")
	expect(t, "no longer", c.hear(soonEnough), "a")
}

func TestProxyWithoutServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	expect(t, "no server", dial(t, newProxy(t, addr)).hear(soonEnough), "the end")
}

func TestProxyClose(t *testing.T) {
	p := newProxy(t, echo(t))
	c := dial(t, p)
	expect(t, "greeting", c.hear(soonEnough), "hello")
	p.Hang(true)
	c.say("held")
	ended := make(chan error, 1)
	go func() { ended <- p.Close() }() // waits for all its goroutines
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(soonEnough):
		t.Fatal("Close does not return")
	}
	expect(t, "closed", c.hear(soonEnough), "the end")
	if _, err := net.Dial("tcp", p.Addr()); err == nil {
		t.Error("accepts after Close")
	}
}
