package tokenbooth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// A keeper is a ResponseWriter whose Write fails while what it was given is being
// read yet, as that of HTTP/2 may when its stream is reset.
type keeper struct {
	http.ResponseWriter
	body []byte
}

func (k *keeper) Write(p []byte) (int, error) {
	k.body = p
	return 0, errors.New("stream closed")
}

func TestH2_BodyOfAFailedWriteIsNotUsedAgain(t *testing.T) {
	b := epNew(t, response.OAuth{})
	w := &keeper{ResponseWriter: httptest.NewRecorder()}
	b.ServeHTTP(w, epRequest(epCredentials("probe", "probe-secret")))
	before := string(w.body)
	for range 10 {
		b.alive(t)
	}
	if !strings.HasPrefix(before, "{") || string(w.body) != before {
		t.Errorf("%.40q became %.40q", before, w.body)
	}
}

type panickingBody struct{}

func (panickingBody) Read([]byte) (int, error) { panic("a body of the host's") }

func TestH2_EventOfAPanicHasATime(t *testing.T) {
	b := epNew(t, response.OAuth{})
	r := epRequest("")
	r.Body = io.NopCloser(panickingBody{})
	b.ServeHTTP(httptest.NewRecorder(), r)
	if e := b.last(t); e.Kind != "failed" || e.Time.IsZero() {
		t.Errorf("%+v", e)
	}
}

// A keepingState keeps the values that it is given, as a State in memory of the
// host's may, and never copies.
type keepingState struct {
	store.State
	mu   sync.Mutex
	kept [][]byte
	then []string
}

func (s *keepingState) keep(val []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.then = append(s.kept, val), append(s.then, string(val))
}

func (s *keepingState) Create(ctx context.Context, key string, val []byte, expires time.Time) (bool, error) {
	s.keep(val)
	return s.State.Create(ctx, key, val, expires)
}

func (s *keepingState) Swap(ctx context.Context, key string, old, val []byte, expires time.Time) (bool, error) {
	s.keep(val)
	return s.State.Swap(ctx, key, old, val, expires)
}

func TestG5_WhatAStateWasGivenIsNotUsedAgain(t *testing.T) {
	s := new(keepingState)
	b := azNew(t, func(c *HandlerConfig) { s.State, c.State = c.State, s })
	code, _ := b.authorize(t)
	token := b.good(t, azRedeem(code)).Refresh
	for range 20 {
		token = b.good(t, azRefresh(token)).Refresh
	}
	if len(s.kept) < 20 {
		t.Fatalf("%d writes", len(s.kept))
	}
	for i := range s.kept {
		if string(s.kept[i]) != s.then[i] {
			t.Errorf("value %d is another now", i)
		}
	}
}
