package stage

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// echo answers each line with itself.
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
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func newTestProxy(t *testing.T) *proxy {
	t.Helper()
	p, err := newProxy(echo(t), postgresWrote)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// A talk is one connection through a proxy.
type talk struct {
	net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, p *proxy) *talk {
	t.Helper()
	conn, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &talk{conn, bufio.NewReader(conn)}
}

func (k *talk) ask(line string, patience time.Duration) (string, error) {
	_ = k.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(k, line+"\n"); err != nil {
		return "", err
	}
	got, err := k.lines.ReadString('\n')
	return strings.TrimSuffix(got, "\n"), err
}

const (
	soon  = 20 * time.Second // is over at once when all is well
	brief = 50 * time.Millisecond
)

func TestProxyPasses(t *testing.T) {
	k := dial(t, newTestProxy(t))
	for range 3 {
		if got, err := k.ask("hello", soon); got != "hello" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestProxyCuts(t *testing.T) {
	p := newTestProxy(t)
	k := dial(t, p)
	if _, err := k.ask("hello", soon); err != nil {
		t.Fatal(err)
	}
	p.cut()
	if _, err := k.ask("hello", soon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the cut: %v", err)
	}
	if got, err := dial(t, p).ask("again", soon); got != "again" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	p.setRefuse(true)
	if _, err := dial(t, p).ask("refused", soon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("refusing: %v", err)
	}
	p.setRefuse(false)
	if got, err := dial(t, p).ask("well", soon); got != "well" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestProxyHangs(t *testing.T) {
	p := newTestProxy(t)
	k := dial(t, p)
	if _, err := k.ask("hello", soon); err != nil {
		t.Fatal(err)
	}
	p.hang(true)
	if _, err := k.ask("held", brief); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("hanging: %v", err)
	}
	p.hang(false)
	if got, err := k.ask("more", soon); got != "held" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	p.hang(true) // closing it hangs not
}

// TestProxyBusy: a server is at work from what it was asked to its reply.
func TestProxyBusy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProxy(l.Addr().String(), postgresWrote)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	k := dial(t, p)
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	becomes := func(want int) {
		t.Helper()
		for until := time.Now().Add(soon); p.busy() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("%d, want %d", p.busy(), want)
			}
		}
	}
	becomes(0)
	for _, answers := range []bool{true, false} {
		if _, err := io.WriteString(k, "question\n"); err != nil {
			t.Fatal(err)
		}
		becomes(1)
		if answers {
			_, err = io.WriteString(server, "answer\n")
		} else {
			err = server.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		becomes(0)
	}
	_ = l.Close()
}

func TestProxySwallows(t *testing.T) {
	p := newTestProxy(t)
	p.swallow(2)
	k := dial(t, p)
	for _, line := range []string{"SELECT 1\x00", "UPDATE 0\x00", "UPDATE 1\x00", "SELECT 1\x00"} {
		if got, err := k.ask(line, soon); got != line || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if got, err := k.ask("INSERT 0 1\x00", soon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q, %v", got, err)
	}
	if n := p.swallow(0); n != 1 {
		t.Errorf("%d swallowed", n)
	}
	k = dial(t, p)
	for range 4 {
		if got, err := k.ask("UPDATE 1\x00", soon); got != "UPDATE 1\x00" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestWrites(t *testing.T) {
	for reply, want := range map[string]bool{":1\r\n": true, ":0\r\n": false, "$-1\r\n": false, "$16\r\n" + strings.Repeat("x", 16) + "\r\n": true, "$24\r\n" + strings.Repeat("x", 24) + "\r\n": false, "+OK\r\n": false} {
		if redisWrote([]byte(reply)) != want {
			t.Errorf("%q", reply)
		}
	}
}

func TestDecisions(t *testing.T) {
	for reply, want := range map[string]bool{"$16\r\n": true, "$24\r\n": true, "$25\r\n": false, ":1\r\n": false, "$-1\r\n": false} {
		if redisDecided([]byte(reply)) != want {
			t.Errorf("%q", reply)
		}
	}
}

func TestClock(t *testing.T) {
	var c Clock
	c.Follow(strings.NewReader("nonsense\n-3600000000000\n"))
	if off := time.Since(c.Now()); off < time.Hour || off > time.Hour+time.Minute {
		t.Errorf("off by %v", off)
	}
}

func TestTail(t *testing.T) {
	var all strings.Builder
	k := &tail{all: &all}
	for range 3 {
		_, _ = k.Write([]byte(strings.Repeat("a", tailSize)))
	}
	_, _ = k.Write([]byte("end"))
	if got := k.String(); len(got) != tailSize || !strings.HasSuffix(got, "aend") || all.Len() != 3*tailSize+3 {
		t.Errorf("%d bytes, %d in all", len(got), all.Len())
	}
}
