package tokenbooth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
)

// streamedBody is a chunked body of n bytes of one long value.
type streamedBody struct{ n, read int }

func (b *streamedBody) Read(p []byte) (int, error) {
	n := min(len(p), b.n-b.read)
	for i := range p[:n] {
		p[i] = 'a'
	}
	if b.read += n; b.read == b.n {
		return n, io.EOF
	}
	return n, nil
}

func (*streamedBody) Close() error { return nil }

func streamForm(body io.ReadCloser) *http.Request {
	r := postForm(formMediaType, "")
	r.Body, r.ContentLength = body, -1
	return r
}

func TestP6_BodySize(t *testing.T) {
	for _, n := range []int{1, 4095, 4096, 4097, 8192, maxFormBytes - 1, maxFormBytes} {
		wantRefused(t, plainForm, streamForm(&streamedBody{n: n}), "", "")
		wantRefused(t, plainForm, postForm(formMediaType, strings.Repeat("a", n)), "", "")
	}
	for _, n := range []int{maxFormBytes + 1, maxFormBytes + 2, 1 << 30} {
		body := &streamedBody{n: n}
		wantRefused(t, plainForm, streamForm(body), response.BodyTooLarge, "")
		if body.read != maxFormBytes+1 {
			t.Errorf("read %d of %d bytes, want %d", body.read, n, maxFormBytes+1)
		}
	}
	declared := postForm(formMediaType, "")
	body := &streamedBody{n: maxFormBytes + 1}
	declared.Body, declared.ContentLength = body, maxFormBytes+1
	wantRefused(t, plainForm, declared, response.BodyTooLarge, "")
	if body.read != 0 {
		t.Errorf("read %d bytes of a body declared too long", body.read)
	}
}

func TestP6_BodyArrivesWhole(t *testing.T) {
	value := strings.Repeat("0123456789abcdef", 512)
	for _, n := range []int{0, 1, 4000, 4086, 4087, 4096, 5000, 8192} {
		r := postForm(formMediaType, "password="+value[:n])
		want := mustParse(t, plainForm, r).get("password")
		r = streamForm(io.NopCloser(strings.NewReader("password=" + value[:n])))
		if got := mustParse(t, plainForm, r).get("password"); got != want || got != value[:n] {
			t.Errorf("%d bytes arrive as %d and %d", n, len(want), len(got))
		}
	}
}

func TestP6_RefusedAllocation(t *testing.T) {
	w := httptest.NewRecorder()
	const runs = 50
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		r := &http.Request{
			Method: http.MethodPost, Body: &streamedBody{n: 1 << 30}, ContentLength: -1,
			Header: http.Header{"Content-Type": {formMediaType}},
		}
		if _, err := plainForm.parse(w, r); err == nil {
			t.Fatal("accepted")
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / runs; each >= 64<<10 {
		t.Errorf("a refused request allocates %d bytes", each)
	}
}

func TestH3_BufferIsCleared(t *testing.T) {
	mustParse(t, plainForm, postForm(formMediaType, "client_secret=canary"))
	buf := formBuffers.Get().(*[4 << 10]byte)
	defer formBuffers.Put(buf)
	if *buf != [4 << 10]byte{} {
		t.Errorf("the buffer still holds %q", buf[:32])
	}
}

type failingBody struct{ err error }

func (b failingBody) Read([]byte) (int, error) { return 0, b.err }
func (failingBody) Close() error               { return nil }

func TestP1_BodyThatFails(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want response.Reason
	}{
		{io.ErrUnexpectedEOF, response.BodyMalformed},
		{errors.New("malformed chunked encoding"), response.BodyMalformed},
		{nil, response.BodyMalformed}, // a reader that neither reads nor fails
		{&http.MaxBytesError{Limit: 10}, response.BodyTooLarge},
		{fmt.Errorf("reading: %w", context.DeadlineExceeded), response.BodyTimeout},
	} {
		wantRefused(t, plainForm, streamForm(failingBody{tt.err}), tt.want, "")
	}
	// A whole pair before the failure must not count.
	cut := io.MultiReader(strings.NewReader("grant_type=x"), failingBody{io.ErrUnexpectedEOF})
	wantRefused(t, plainForm, streamForm(io.NopCloser(cut)), response.BodyMalformed, "")
}

func TestP2_FormParsedByMiddleware(t *testing.T) {
	parsed := func(mediaType, body string) *http.Request {
		r := postForm(mediaType, body)
		r.URL.RawQuery = "client_id=query"
		if err := r.ParseForm(); err != nil {
			t.Fatal(err)
		}
		return r
	}
	f := mustParse(t, plainForm, parsed(formMediaType, "grant_type=x&scope=a+b&code=&unknown=1"))
	if f.get("grant_type") != "x" || len(f.scopes) != 2 || len(f.params) != 2 {
		t.Errorf("params %v, scopes %q", f.params, f.scopes)
	}
	wantRefused(t, plainForm, parsed(formMediaType, "code=&code=a"), response.ParameterRepeated, "code")
	wantRefused(t, plainForm, parsed(formMediaType, "x=1&x=2"), "", "")
	wantRefused(t, plainForm, parsed(formMediaType, "&&"), "", "")
	wantRefused(t, plainForm, parsed(formMediaType, strings.Repeat("x&", 65)), response.TooManyParameters, "")
	wantRefused(t, plainForm, parsed(formMediaType, "scope=+"), response.ScopeInvalid, "scope")
	again := newFormParser(response.Conventions{}, []string{"scope", "assertion", "assertion"})
	wantRefused(t, again, parsed(formMediaType, "scope=a&assertion=b"), "", "")
	if f := mustParse(t, jsonForm, parsed(jsonMediaType, `{"code":"a"}`)); f.get("code") != "a" {
		t.Errorf("params of JSON %v", f.params)
	}

	long := streamForm(http.NoBody)
	long.PostForm = url.Values{"x": {strings.Repeat("a", maxFormBytes)}}
	wantRefused(t, plainForm, long, response.BodyTooLarge, "")
}

func TestBodyDrainedByMiddleware(t *testing.T) {
	for _, mediaType := range []string{formMediaType, jsonMediaType} {
		drained := postForm(mediaType, "grant_type=x")
		_, _ = io.Copy(io.Discard, drained.Body)
		wantRefused(t, jsonForm, drained, response.Internal, "")

		closed := postForm(mediaType, "grant_type=x")
		closed.Body = failingBody{http.ErrBodyReadAfterClose}
		wantRefused(t, jsonForm, closed, response.Internal, "")
	}
	drained := postForm(jsonMediaType, `{"code":"a"}`)
	_, _ = io.Copy(io.Discard, drained.Body)
	_ = drained.ParseForm()
	wantRefused(t, jsonForm, drained, response.Internal, "")
	_, err := plainForm.parse(httptest.NewRecorder(), func() *http.Request {
		r := postForm(formMediaType, "grant_type=x")
		_, _ = io.Copy(io.Discard, r.Body)
		return r
	}())
	if !errors.Is(err, errBodyDrained) {
		t.Errorf("error %v does not say that the body was read before", err)
	}
}

// pipeListener hands out one end of pipes, so that a server runs inside a
// bubble where time is free.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { close(l.done); return nil }

func (*pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial(context.Context, string, string) (net.Conn, error) {
	server, client := net.Pipe()
	l.conns <- server
	return client, nil
}

// serveForms serves a parser in the bubble of t; then is called after each request that
// was understood.
func serveForms(t *testing.T, srv *http.Server, then func(*http.Request)) *http.Transport {
	l := &pipeListener{make(chan net.Conn), make(chan struct{})}
	p := newFormParser(plainForm.conv, nil) // its timers are the bubble's
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := p.parse(w, r)
		var fail *response.Failure
		if errors.As(err, &fail) {
			w.WriteHeader(fail.Status)
			return
		}
		then(r)
	})
	go func() { _ = srv.Serve(l) }()
	tr := &http.Transport{DialContext: l.dial, Protocols: srv.Protocols}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = srv.Close()
	})
	return tr
}

func unencryptedHTTP2() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{Protocols: protocols}
}

// stalledBody gives what it has and then nothing, until it is closed.
func stalledBody(have string) (io.Reader, func() error) {
	r, w := io.Pipe()
	return io.MultiReader(strings.NewReader(have), r), w.Close
}

func TestP10_SlowBody(t *testing.T) {
	for _, tt := range []struct {
		name   string
		srv    *http.Server
		method string
		have   string
		length int64
		status int
		after  time.Duration
		closes bool
	}{
		{"bare server", &http.Server{}, "POST", "grant_type=", 100, 408, 5 * time.Second, true},
		{"bare server, nothing sent", &http.Server{}, "POST", "", 100, 408, 5 * time.Second, true},
		{"bare server, chunked", &http.Server{}, "POST", "grant_type=", -1, 408, 5 * time.Second, true},
		{"bare server, beyond the first buffer", &http.Server{}, "POST", strings.Repeat("a", 5000), -1, 408, 5 * time.Second, true},
		{"bare server, other method", &http.Server{}, "PUT", "grant_type=", 100, 405, 5 * time.Second, true},
		{"bare server, too large", &http.Server{}, "POST", "grant_type=", 40_000, 413, 0, true},
		{"bare server, HTTP/2", unencryptedHTTP2(), "POST", "grant_type=", 100, 408, 5 * time.Second, false},
		{"shorter ReadTimeout", &http.Server{ReadTimeout: 2 * time.Second}, "POST", "grant_type=", 100, 408, 2 * time.Second, true},
		{"shorter ReadTimeout, other method", &http.Server{ReadTimeout: 2 * time.Second}, "PUT", "grant_type=", 100, 405, 2 * time.Second, true},
		{"longer ReadTimeout, other method", &http.Server{ReadTimeout: time.Minute}, "PUT", "grant_type=", 100, 405, 5 * time.Second, true},
		{"longer ReadTimeout", &http.Server{ReadTimeout: time.Minute}, "POST", "grant_type=", 100, 408, 5 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := serveForms(t, tt.srv, func(*http.Request) { t.Error("the form was understood") })
				body, release := stalledBody(tt.have)
				req, _ := http.NewRequestWithContext(t.Context(), tt.method, "http://x/token", io.NopCloser(body))
				req.ContentLength = tt.length
				req.Header.Set("Content-Type", formMediaType)
				start := time.Now()
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); resp.StatusCode != tt.status || took != tt.after {
					t.Errorf("%d after %v, want %d after %v", resp.StatusCode, took, tt.status, tt.after)
				}
				if resp.Close != tt.closes {
					t.Errorf("connection closed: %v, want %v", resp.Close, tt.closes)
				}
				_ = resp.Body.Close()
				_ = release()
			})
		})
	}
}

// In HTTP/2 a slow body is no reason to end the streams beside it.
func TestP10_HTTP2ConnectionStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := serveForms(t, unencryptedHTTP2(), func(*http.Request) {})
		dial, dials := tr.DialContext, 0
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			return dial(ctx, network, addr)
		}
		stalled, release := stalledBody("grant_type=")
		for _, body := range []io.Reader{stalled, strings.NewReader("grant_type=x")} {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/token", io.NopCloser(body))
			req.Header.Set("Content-Type", formMediaType)
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			synctest.Wait()
		}
		_ = release()
		if dials != 1 {
			t.Errorf("%d connections, want 1", dials)
		}
	})
}

// The deadline must not outlive the body: net/http reads on in the background
// and would cancel the context of a request that takes longer.
func TestP10_ContextOutlivesTheDeadline(t *testing.T) {
	for _, tt := range []struct {
		name string
		srv  *http.Server
		body string
	}{
		{"bare server", &http.Server{}, "grant_type=x"},
		{"bare server, long body", &http.Server{}, strings.Repeat("a", 9000)},
		{"bare server, empty body", &http.Server{}, ""},
		{"bare server, HTTP/2", unencryptedHTTP2(), "grant_type=x"},
		{"longer ReadTimeout", &http.Server{ReadTimeout: time.Minute}, "grant_type=x"},
		{"ReadTimeout, which net/http lifts behind the body", &http.Server{ReadTimeout: 10 * time.Second}, "grant_type=x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := serveForms(t, tt.srv, func(r *http.Request) {
					select {
					case <-r.Context().Done():
						t.Error("the request's context was cancelled")
					case <-time.After(20 * time.Second):
					}
				})
				for range 2 {
					req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/token", strings.NewReader(tt.body))
					req.Header.Set("Content-Type", formMediaType)
					resp, err := tr.RoundTrip(req)
					if err != nil {
						t.Fatal(err)
					}
					_ = resp.Body.Close()
					if resp.StatusCode != http.StatusOK || resp.Close {
						t.Errorf("status %d, closed %v", resp.StatusCode, resp.Close)
					}
				}
			})
		})
	}
}

// A body that comes in the instant in which its time is over is late, and its
// connection is given up: the deadline has been set already.
func TestP10_BodyInTheLastInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := serveForms(t, new(http.Server), func(*http.Request) {})
		for range 20 {
			r, w := io.Pipe()
			go func() {
				time.Sleep(formReadTimeout)
				_, _ = w.Write([]byte("grant_type=x"))
				_ = w.Close()
			}()
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/token", r)
			req.Header.Set("Content-Type", formMediaType)
			resp, err := tr.RoundTrip(req)
			if err != nil {
				continue // it was writing yet when the connection was given up
			}
			_ = resp.Body.Close()
			if late := resp.StatusCode == http.StatusRequestTimeout; late != resp.Close || !late && resp.StatusCode != http.StatusOK {
				t.Errorf("status %d, connection closed: %v", resp.StatusCode, resp.Close)
			}
		}
	})
}

// Other writers cannot set deadlines; that is no reason to refuse.
func TestP10_WriterWithoutDeadline(t *testing.T) {
	wantRefused(t, plainForm, postForm(formMediaType, "grant_type=x"), "", "")
}
