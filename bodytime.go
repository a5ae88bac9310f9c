package tokenbooth

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// A bodyTime ends the reading of one body that takes too long. It lies in a list,
// and no deadline is set from the start: setting one and taking it back, or a timer
// of its own, costs most requests more than all of their parsing.
type bodyTime struct {
	lane   uint8 // which list; whoever is used again on the same processor keeps it
	reader readDeadliner
	until  time.Time

	list       *bodyList // nil while nothing is waited for
	prev, next *bodyTime
	ended      chan struct{} // not nil once the time is over; closed when the deadline is set
}

type readDeadliner interface{ SetReadDeadline(time.Time) error }

// deadlinerOf finds what an http.ResponseController finds. That one makes an
// error for each writer that has no deadline, which nobody looks at.
func deadlinerOf(w http.ResponseWriter) readDeadliner {
	for {
		switch t := w.(type) {
		case readDeadliner:
			return t
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return nil
		}
	}
}

// bodyTimes are those of a handler, in several lists for fewer requests to wait for
// a lock at once.
type bodyTimes [lanes]bodyList

const lanes = 8

func anyLane() uint8 { return uint8(rand.IntN(lanes)) } //nolint:gosec // nobody gains by a guess

// begin begins to wait for the body, where there is one and something that could
// end it. A server with a shorter ReadTimeout ends it by itself.
func (b *bodyTimes) begin(t *bodyTime, w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	if t.reader = deadlinerOf(w); t.reader != nil {
		b[t.lane].add(t)
	}
}

// A bodyList holds the bodies that are waited for, by when they end: all have as
// long. One timer stands for all of them: it is not stopped when its body is there,
// but looks whether there are others.
type bodyList struct {
	mu          sync.Mutex
	first, last *bodyTime
	looks       time.Time // when the next timer does
	_           [64]byte  // so that no two lists share a cache line
}

// add reads the clock behind the lock: by an older reading a timer that has fired
// would still be to come.
func (l *bodyList) add(t *bodyTime) {
	l.mu.Lock()
	now := time.Now()
	t.until = now.Add(formReadTimeout)
	t.list, t.prev = l, l.last
	if l.last != nil {
		l.last.next = t
	} else {
		l.first = t
	}
	l.last = t
	l.wait(now)
	l.mu.Unlock()
}

func (l *bodyList) remove(t *bodyTime) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		l.first = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		l.last = t.prev
	}
	t.prev, t.next = nil, nil
}

// wait sees to it that there is a timer in time for the first.
func (l *bodyList) wait(now time.Time) {
	if l.first == nil || l.looks.After(now) && !l.looks.After(l.first.until) {
		return
	}
	l.looks = l.first.until
	time.AfterFunc(l.looks.Sub(now), l.look)
}

// look ends the bodies whose time is over.
func (l *bodyList) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for t := l.first; t != nil && !t.until.After(now); t = l.first {
		l.remove(t)
		t.ended = make(chan struct{})
		go t.end()
	}
	l.wait(now)
}

// end fails the Read that waits. A deadline replaces the one that the server has
// set; this is no later than any.
func (t *bodyTime) end() {
	defer close(t.ended)
	defer func() { _ = recover() }() // a writer of the host's
	_ = t.reader.SetReadDeadline(time.Unix(1, 0))
}

// lift ends the waiting and reports whether the body was there in time. The
// connection keeps the deadline that the server gave it: behind the body net/http
// keeps reading to notice a caller who leaves, and cancels the request's context
// after another.
func (t *bodyTime) lift() bool {
	l := t.list
	if l == nil {
		return true
	}
	t.list = nil
	l.mu.Lock()
	if t.ended == nil {
		l.remove(t)
	}
	l.mu.Unlock()
	if t.ended == nil {
		return true
	}
	<-t.ended // the writer is not to be touched once the handler has returned
	return false
}

// stay bounds what net/http may still read of a body that nobody wants. An error
// means that the connection is gone, which reading will tell.
func (t *bodyTime) stay(r *http.Request) {
	if t.list == nil || !t.lift() {
		return
	}
	timeout := formReadTimeout
	if srv, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && srv.ReadTimeout > 0 {
		timeout = min(timeout, srv.ReadTimeout)
	}
	_ = t.reader.SetReadDeadline(t.until.Add(timeout - formReadTimeout))
}
