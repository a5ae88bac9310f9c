package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A load is everything that comes to the server.
type load struct {
	*server
	*visitor
	requests atomic.Int64
	sample   atomic.Pointer[string] // a JWT that was good

	mu     sync.Mutex
	wrongs []error // the first few
}

func newLoad(s *server) *load { return &load{server: s, visitor: newVisitor(s.base)} }

func (l *load) String() string {
	return fmt.Sprintf("%d requests were answered as they should be", l.requests.Load())
}

func (l *load) complain(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrongs) < 10 {
		l.wrongs = append(l.wrongs, err)
	}
}

func (l *load) wrong() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.wrongs...)
}

// last plays all scenarios, each at its rate, and tells in intervals what lives.
func (l *load) last(ctx context.Context, length, interval time.Duration, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var all sync.WaitGroup
	for _, s := range scenarios {
		all.Go(func() { l.repeat(ctx, &s) })
	}
	start := time.Now()
	for tick := time.NewTicker(interval); ctx.Err() == nil; {
		select {
		case <-tick.C:
			fmt.Fprintf(out, "after %-10v  %v, %d requests\n", time.Since(start).Round(time.Second), l.live(), l.requests.Load())
		case <-ctx.Done():
			tick.Stop()
		}
	}
	all.Wait()
	return l.wrong()
}

func (l *load) repeat(ctx context.Context, s *scenario) {
	tick := time.NewTicker(time.Duration(float64(time.Second) / s.perSecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p := &play{load: l}
		s.act(p)
		if p.err != nil {
			l.complain(fmt.Errorf("%s: %w", s.name, p.err))
		}
	}
}

// What is bounded, and stays when it has expired: the limits of strangers (131,072
// buckets) and the tokens that a guard remembers.
const (
	strangers = 200_000
	tokens    = 60_000
)

// fill brings what is bounded to its bound.
func (l *load) fill(strangers, tokens int) error {
	var all sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for range workers {
		all.Go(func() {
			for range strangers / workers {
				if got := l.direct("/jwt/token", "", strangersForm()); got.Code != http.StatusUnauthorized {
					l.complain(fmt.Errorf("a stranger: status %d", got.Code))
				}
			}
			for range tokens / workers / ofAPerson {
				l.remember()
			}
		})
	}
	all.Wait()
	return l.wrong()
}

// ofAPerson are few enough for the authorization to live on meanwhile.
const ofAPerson = 1000

// remember shows the guards tokens of a person, which are the longest that they
// will see.
func (l *load) remember() {
	p, redeem := &play{load: l}, ""
	for redeem == "" && p.err == nil {
		redeem = p.allow("/jwt", newUser())
	}
	if p.err != nil {
		l.complain(p.err)
		return
	}
	for range ofAPerson {
		a := answer{body: l.direct("/jwt/token", "", redeem).Body.String()}
		for _, path := range []string{"/jwt/resource", "/remote/resource"} {
			if got := l.direct(path, a.member("access_token"), ""); got.Code != http.StatusNoContent {
				l.complain(fmt.Errorf("%s: status %d", path, got.Code))
			}
		}
		redeem = appForm("grant_type", "refresh_token", "refresh_token", a.member("refresh_token"))
	}
}

// direct serves a request without a connection.
func (l *load) direct(path, token, form string) *httptest.ResponseRecorder {
	method := http.MethodPost
	if form == "" {
		method = http.MethodGet
	}
	r := httptest.NewRequest(method, path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = address() + ":4711"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	l.http.Handler.ServeHTTP(w, r)
	return w
}

func strangersForm() string {
	return form("grant_type", "client_credentials", "client_id", fmt.Sprintf("stranger-%x", rand.Uint64()), "client_secret", "x")
}

func machineForm(secret string, pairs ...string) string {
	return form(append(pairs, "client_id", "machine", "client_secret", secret)...)
}

func appForm(pairs ...string) string { return form(append(pairs, "client_id", "app")...) }

func form(pairs ...string) string {
	values := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		values.Set(pair[0], pair[1])
	}
	return values.Encode()
}

// A census is what lives.
type census struct {
	heap       int64 // bytes that the last collection found alive
	goroutines int
}

func (c census) String() string {
	return fmt.Sprintf("heap %6.2f MiB, %d goroutines", float64(c.heap)/(1<<20), c.goroutines)
}

func (l *load) live() census {
	runtime.GC()
	runtime.GC() // what a sync.Pool held
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return census{int64(sample[0].Value.Uint64()), runtime.NumGoroutine()}
}

// settle lets everything expire, has the State collect it, ends the connections,
// and counts what is left.
func (l *load) settle() (census, error) {
	l.stepOn(40 * 24 * time.Hour) // revocations of everything of a user are kept for a month
	issue := machineForm(l.secret, "grant_type", "client_credentials", "scope", "read")
	for range 50_000 { // each collects two, and is collected by one of the next
		if got := l.direct("/opaque/token", "", issue); got.Code != http.StatusOK {
			return census{}, fmt.Errorf("collecting: status %d: %s", got.Code, got.Body)
		}
		l.stepOn(time.Minute)
	}
	n, since := runtime.NumGoroutine(), time.Now()
	for time.Since(since) < 2*time.Second {
		l.client.CloseIdleConnections() // again, for one that was still being dialled
		time.Sleep(50 * time.Millisecond)
		if now := runtime.NumGoroutine(); now != n {
			n, since = now, time.Now()
		}
	}
	return l.live(), nil
}
