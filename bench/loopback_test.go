package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// overLoopback serves h on a loopback socket and sends it b.N times the same
// request from as many connections as concurrency says, each kept alive. The
// client is in this process and as small as can be: it shares the processors,
// so req/s is what both together do. Allocations count both too.
func overLoopback(b *testing.B, h http.Handler, request string, want, concurrency int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()

	clients := make([]*client, concurrency)
	for i := range clients {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		clients[i] = &client{conn, bufio.NewReaderSize(conn, 4096), []byte(request)}
	}
	if got, err := clients[0].do(); err != nil || got != want {
		b.Fatalf("status %d, want %d: %v", got, want, err)
	}

	latencies := make([]time.Duration, b.N)
	var next atomic.Int64
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	start, before := time.Now(), cpuTime()
	for _, c := range clients {
		all.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(b.N) {
					return
				}
				sent := time.Now()
				got, err := c.do()
				if err != nil || got != want {
					b.Errorf("status %d, want %d: %v", got, want, err)
					return
				}
				latencies[i] = time.Since(sent)
			}
		})
	}
	all.Wait()
	took, cpu := time.Since(start), cpuTime()-before
	b.StopTimer()

	slices.Sort(latencies)
	b.ReportMetric(float64(b.N)/took.Seconds(), "req/s")
	b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(latencies[b.N*99/100].Microseconds()), "p99-us")
}

type client struct {
	conn    net.Conn
	answer  *bufio.Reader
	request []byte
}

// do sends the request and reads the answer to its end.
func (c *client) do() (status int, err error) {
	if _, err := c.conn.Write(c.request); err != nil {
		return 0, err
	}
	line, err := c.answer.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 {
		return 0, fmt.Errorf("answered %q", line)
	}
	status = int(line[9]-'0')*100 + int(line[10]-'0')*10 + int(line[11]-'0')
	length := -1
	for {
		line, err := c.answer.ReadSlice('\n')
		if err != nil {
			return status, err
		}
		if len(line) <= 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return status, err
			}
		}
	}
	if length < 0 && status != http.StatusNoContent {
		return status, fmt.Errorf("an answer of unknown length")
	}
	_, err = c.answer.Discard(max(0, length))
	return status, err
}

// wire is a request as it goes over the socket.
func wire(c *call) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s HTTP/1.1\r\nHost: localhost\r\n", c.template.Method, c.template.URL.Path)
	for name, values := range c.template.Header {
		fmt.Fprintf(&s, "%s: %s\r\n", name, values[0])
	}
	if c.form != "" {
		fmt.Fprintf(&s, "Content-Length: %d\r\n", len(c.form))
	}
	return s.String() + "\r\n" + c.form
}
