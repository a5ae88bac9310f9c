package tokenbooth

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tokenbooth/tokenbooth/response"
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
