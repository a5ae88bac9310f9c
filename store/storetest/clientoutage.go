package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// TestClientOutage checks what a [store.ClientStore] that asks its server at each
// call does while that is cut off, refuses connections, or hangs: each call ends
// within its context with an error that is [store.ErrUnavailable] (or the
// context's, once that has ended), and never with [store.ErrNotFound] for a client
// that is there, which a handler would answer by 401. Within 2 s of the server's
// return the same store works again.
//
// upstream is the host and port of a real server; open returns a new store that
// has the clients, on the server at addr, which is a [Proxy].
func TestClientOutage(
	t *testing.T, upstream string, open func(t *testing.T, addr string, clients ...*store.Client) store.ClientStore,
) {
	c := &store.Client{ID: rand.Text(), Public: true}
	o := &clientOutage{proxy: before(t, upstream), id: c.ID}
	o.s = open(t, o.proxy.Addr(), c)
	t.Run("Cut", o.testCut)
	t.Run("Refuse", o.testRefuse)
	t.Run("Hang", o.testHang)
	t.Run("HangManyCalls", o.testHangManyCalls)
}

// A clientOutage is a store behind a proxy, which has a client of the id.
type clientOutage struct {
	proxy *Proxy
	s     store.ClientStore
	id    string
}

func (o *clientOutage) client(t *testing.T) error {
	t.Helper()
	return call(t, "Client", o.ask)
}

func (o *clientOutage) ask(ctx context.Context) error {
	c, err := o.s.Client(ctx, o.id)
	return answered(c, err, o.id)
}

// recovers expects both to be known again, who is there and who is not.
func (o *clientOutage) recovers(t *testing.T) {
	t.Helper()
	recovers(t, "Client", o.ask)
	if c, err := o.s.Client(t.Context(), o.id+"-absent"); c != nil || !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Client of an absent id after the outage: %v, %v; want store.ErrNotFound", c, err)
	}
}

// testCut: a connection that was cut may cost an error each, which is no other.
func (o *clientOutage) testCut(t *testing.T) {
	o.recovers(t)
	for range 10 {
		o.proxy.Cut()
		if err := o.client(t); err != nil && !unavailable(err) {
			t.Errorf("Client after the connections were cut: %v; want the client or an error that is store.ErrUnavailable", err)
		}
		o.recovers(t)
	}
	cutting := make(chan struct{})
	go func() {
		defer close(cutting)
		for range 10 {
			o.proxy.Cut()
			time.Sleep(2 * time.Millisecond)
		}
	}()
	atOnce(t, func(int) (bool, error) {
		for range 10 {
			if err := o.client(t); err != nil && !unavailable(err) {
				return false, fmt.Errorf("Client while connections are cut: %w; want the client or store.ErrUnavailable", err)
			}
		}
		return true, nil
	})
	<-cutting
	o.recovers(t)
}

func (o *clientOutage) testRefuse(t *testing.T) {
	o.recovers(t)
	o.proxy.Refuse(true)
	defer o.proxy.Refuse(false)
	o.proxy.Cut()
	for range 3 {
		if err := o.client(t); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Client while connections are refused: %v; want an error that is store.ErrUnavailable", err)
		}
	}
	o.proxy.Refuse(false)
	o.recovers(t)
}

func (o *clientOutage) testHang(t *testing.T) {
	o.recovers(t)
	o.proxy.Hang(true)
	defer o.proxy.Hang(false)
	if err := o.client(t); !unavailable(err) {
		t.Errorf("Client while the server hangs: %v; want an error that is store.ErrUnavailable or context.DeadlineExceeded", err)
	}
	o.proxy.Hang(false)
	o.recovers(t)
}

// testHangManyCalls: more calls than any pool has connections.
func (o *clientOutage) testHangManyCalls(t *testing.T) {
	o.recovers(t)
	o.proxy.Hang(true)
	defer o.proxy.Hang(false)
	atOnce(t, func(int) (bool, error) {
		if err := o.client(t); !unavailable(err) {
			return false, fmt.Errorf("one of many calls while the server hangs: %w; want store.ErrUnavailable or context.DeadlineExceeded", err)
		}
		return true, nil
	})
	o.proxy.Hang(false)
	o.recovers(t)
}
