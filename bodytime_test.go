package tokenbooth

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A timedWriter notes when its reading was ended.
type timedWriter struct {
	http.ResponseWriter
	ended []time.Time
	fails error
}

func (w *timedWriter) SetReadDeadline(time.Time) error {
	w.ended = append(w.ended, time.Now())
	return w.fails
}

func timedRequest() *http.Request {
	return httptest.NewRequest(http.MethodPost, "/token", strings.NewReader("x"))
}

func TestP10_EachBodyHasItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times bodyTimes
		var all sync.WaitGroup
		for range 500 {
			start := rand.N(20 * time.Second)   //nolint:gosec // any will do
			takes := rand.N(10*time.Second) | 1 //nolint:gosec // never at the very end
			all.Go(func() {
				time.Sleep(start)
				begun, w := time.Now(), new(timedWriter)
				body := bodyTime{lane: anyLane()}
				times.begin(&body, w, timedRequest())
				time.Sleep(takes)
				inTime := body.lift()
				if inTime != (takes < formReadTimeout) || inTime != (len(w.ended) == 0) {
					t.Errorf("%v of %v: in time %v, ended %v", takes, formReadTimeout, inTime, w.ended)
				}
				if !inTime && (len(w.ended) != 1 || w.ended[0].Sub(begun) != formReadTimeout) {
					t.Errorf("ended %v after %v, want %v", w.ended, w.ended[0].Sub(begun), formReadTimeout)
				}
			})
		}
		all.Wait()
		for i := range times {
			if l := &times[i]; l.first != nil || l.last != nil {
				t.Error("a body is left in a list")
			}
		}
	})
}

func TestP10_NothingIsLeftOfABody(t *testing.T) {
	for name, read := range map[string]func([]byte) (int, error){
		"good":    func([]byte) (int, error) { return 0, io.EOF },
		"failing": func([]byte) (int, error) { return 0, errors.New("reset") },
		"panic":   func([]byte) (int, error) { panic("host") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, w := newFormParser(plainForm.conv, nil), &timedWriter{ResponseWriter: httptest.NewRecorder()}
				r := postForm(formMediaType, "x")
				r.Body = io.NopCloser(readerFunc(read))
				func() {
					defer func() { _ = recover() }()
					_, _ = p.parse(w, r)
				}()
				before := slices.Clone(w.ended)
				time.Sleep(time.Minute)
				if !slices.Equal(before, w.ended) {
					t.Error("the writer is used after the request")
				}
			})
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A writer that is stuck, or panics, does not keep another's body from ending.
func TestP10_AStuckWriterStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l bodyList
		stuck := stuckWriter{make(chan struct{})}
		other := new(timedWriter)
		bodies := []*bodyTime{{reader: stuck}, {reader: panickingWriter{}}, {reader: other}}
		for _, b := range bodies {
			l.add(b)
		}
		time.Sleep(formReadTimeout)
		synctest.Wait()
		if len(other.ended) != 1 || bodies[2].lift() || bodies[1].lift() {
			t.Errorf("%v", other.ended)
		}
		lifted := make(chan bool, 1)
		go func() { lifted <- bodies[0].lift() }()
		synctest.Wait()
		if len(lifted) != 0 {
			t.Error("the handler returns while its writer is in use")
		}
		close(stuck.gone)
		if <-lifted {
			t.Error("the first was in time")
		}
	})
}

type panickingWriter struct{}

func (panickingWriter) SetReadDeadline(time.Time) error { panic("host") }

// A body that begins in the instant in which the timer of those before it fires has
// one too.
func TestP10_BegunWhenTheTimerFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times bodyTimes
		r := timedRequest()
		for i := range 500 {
			var before, body bodyTime
			times.begin(&before, new(timedWriter), r)
			before.lift()
			time.Sleep(formReadTimeout + time.Duration(i%3-1))
			begun, w := time.Now(), new(timedWriter)
			times.begin(&body, w, r)
			time.Sleep(formReadTimeout + 1)
			synctest.Wait()
			if body.lift() || w.ended[0].Sub(begun) != formReadTimeout {
				t.Fatalf("ended %v", w.ended)
			}
		}
	})
}

type stuckWriter struct{ gone chan struct{} }

func (w stuckWriter) SetReadDeadline(time.Time) error { <-w.gone; return fmt.Errorf("gone") }
