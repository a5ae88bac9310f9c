package load

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// Hold sends requests to a copy whose bodies it keeps back until release is called:
// a handler that has asked for the body is at work on the request beyond doubt. It
// returns when each has been asked for its body, or after a second.
func (l *Load) Hold(copyNumber, n int) (release func()) {
	asked, open := make(chan struct{}, n), make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		a := l.actor("held", 1000+i, net.IPv4(127, 0, 2, byte(i+1)))
		s := systems[i%2] // whose tokens are JWTs, or kept in the State
		op := &ledger.Op{Kind: ledger.Mint, Copy: copyNumber, Client: machine.ID, Writes: s.opaque}
		form := machine.credentials(url.Values{"grant_type": {"client_credentials"}}).Encode()
		body := &heldBody{asked: asked, open: open, rest: strings.NewReader(form)}
		all.Go(func() {
			defer a.http.CloseIdleConnections()
			var got tokens
			a.send(op, "POST", s.issues, body, http.Header{"Expect": {"100-continue"}}, got.read(op, l.TokenLife))
		})
	}
	timeout := time.After(time.Second)
	for range n {
		select {
		case <-asked:
		case <-timeout:
		}
	}
	return sync.OnceFunc(func() { close(open); all.Wait() })
}

// A heldBody begins when it may. It is read once the server has asked for it.
type heldBody struct {
	asked chan<- struct{}
	open  <-chan struct{}
	rest  io.Reader
	once  sync.Once
}

func (b *heldBody) Read(p []byte) (int, error) {
	b.once.Do(func() { b.asked <- struct{}{} })
	<-b.open
	return b.rest.Read(p)
}
