package interop_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/store"
)

const (
	issuer = "https://auth.example.com"
	scope  = "reports:read"
)

// A booth is what a router mounts: the token endpoint, the guard, and a handler
// that counts how often it ran.
type booth struct {
	handler *tokenbooth.Handler
	guard   *tokenbooth.Guard
	secrets map[string]string // by client
	log     logBuffer
	ran     atomic.Int64
}

func newBooth(t *testing.T) *booth {
	t.Helper()
	b := &booth{secrets: map[string]string{}}
	var all []*store.Client
	for _, id := range []string{"acme", "ecma"} {
		c, secret := store.NewClient(id, scope, "users:read")
		b.secrets[id] = secret
		all = append(all, c)
	}
	clients, err := store.NewMemory(all...)
	if err != nil {
		t.Fatal(err)
	}
	b.handler, err = tokenbooth.NewHandler(tokenbooth.HandlerConfig{
		Issuer:  issuer,
		Clients: clients,
		Limiter: tokenbooth.Unlimited{},
		Logger:  slog.New(slog.NewTextHandler(&b.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.guard = b.handler.Guard()
	return b
}

// report is the guarded handler: it returns what to answer.
func (b *booth) report(ctx context.Context) string {
	b.ran.Add(1)
	who, ok := tokenbooth.PrincipalFrom(ctx)
	if !ok {
		return "reports for nobody"
	}
	return "reports for " + who.ClientID
}

func (b *booth) reports(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, b.report(r.Context()))
}

// A logBuffer is written by the server and read by the test.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// An answer has been read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

func send(t *testing.T, method, url string, header map[string]string, body string) *answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{response.StatusCode, response.Header, string(got)}
}

func (a *answer) want(t *testing.T, status int, body string) {
	t.Helper()
	if a.status != status || a.body != body {
		t.Errorf("%d %s\nwant %d %s", a.status, a.body, status, body)
	}
}

func (a *answer) wantHeader(t *testing.T, name string, want ...string) {
	t.Helper()
	if got := a.header.Values(name); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

// wantOurs looks for the headers that each answer of tokenbooth has, once.
func (a *answer) wantOurs(t *testing.T) {
	t.Helper()
	a.wantHeader(t, "Content-Type", "application/json")
	a.wantHeader(t, "Cache-Control", "no-store")
	a.wantHeader(t, "Pragma", "no-cache")
	a.wantHeader(t, "X-Content-Type-Options", "nosniff")
	a.wantHeader(t, "Content-Length", fmt.Sprint(len(a.body)))
}
