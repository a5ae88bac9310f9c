package load

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// TestSentAgain has a copy that drops every second guarded request on a connection
// that it kept: the transport sends it again, and the ledger says so.
func TestSentAgain(t *testing.T) {
	var n, dropped atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%2 > 0 {
			return
		}
		dropped.Add(1)
		if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
			_ = conn.Close()
		}
	}))
	defer s.Close()
	var seen int64
	book := ledger.NewWriter(io.Discard, new(ledger.Run), func(op *ledger.Op) {
		if op.Again {
			seen++
		}
	})
	l := New(Config{Copies: []string{s.URL}, Book: book, Rate: 1000, Seed: 1, TokenLife: time.Second})
	a := l.actor("visitor", 1, net.IPv4(127, 0, 1, 1))
	defer a.http.CloseIdleConnections()
	for range 20 {
		a.visit(&accessToken{text: "x", system: users, owner: machine})
	}
	if dropped.Load() == 0 || seen != dropped.Load() {
		t.Errorf("%d dropped, %d written down", dropped.Load(), seen)
	}
}
