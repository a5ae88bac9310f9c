package load

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// maxBody is more than any answer has.
const maxBody = 64 << 10

// An answer is what came of a request that was answered.
type answer struct {
	header http.Header
	body   []byte
}

// post sends a form to a copy and writes the request down when the answer has been
// read by the function, which sees only what was granted.
func (a *actor) post(op *ledger.Op, path string, form url.Values, read func(*answer) error) {
	a.send(op, "POST", path, strings.NewReader(form.Encode()), nil, read)
}

// send makes one request of an op whose Copy is chosen. It is sent to its end even
// if the run ends meanwhile: who breaks off leaves doubt.
func (a *actor) send(op *ledger.Op, method, path string, body io.Reader, header http.Header, read func(*answer) error) {
	_ = a.pace.Wait(context.Background()) // fails only for a deadline, which is not there
	s := a.sites[op.Copy]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	t := &trace{actor: a}
	r, err := http.NewRequestWithContext(t.with(ctx), method, s.url+path, body)
	if err != nil {
		panic(err) // of our own making
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if a.turn.Load()%4 == 0 {
			r.Header.Set("Expect", "100-continue") // so that SIGTERM meets requests that are known to be at work
		}
	}
	op.Actor = a.name
	op.Begin = a.Book.Now()
	s.inFlight.Add(1)
	reply, err := a.exchange(r, op)
	s.inFlight.Add(-1)
	op.End = a.Book.Now()
	op.Entered = time.Duration(t.entered.Load())
	op.Again = t.again.Load()
	switch {
	case err != nil:
		t.failed(ctx, op, err)
	case op.Outcome == ledger.OK && read != nil:
		if err := read(reply); err != nil {
			op.Outcome, op.Note = ledger.Wrong, err.Error()
		}
	}
	if op.Outcome == ledger.Broken || op.Outcome == ledger.Truncated {
		s.shunned.Store(int64(op.End + shunned))
	}
	a.Book.Op(op)
}

func (a *actor) exchange(r *http.Request, op *ledger.Op) (*answer, error) {
	response, err := a.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	op.Status = response.StatusCode
	op.Outcome = outcomeOf(response.StatusCode)
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	return &answer{response.Header, body}, err
}

func outcomeOf(status int) ledger.Outcome {
	switch status {
	case http.StatusOK, http.StatusCreated, http.StatusSeeOther:
		return ledger.OK
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return ledger.Refused
	case http.StatusTooManyRequests:
		return ledger.Throttled
	case http.StatusServiceUnavailable:
		return ledger.Unavailable
	}
	return ledger.Wrong
}

// A trace sees how far a request came. The transport tells it from goroutines of
// its own.
type trace struct {
	*actor
	began   atomic.Bool // the answer
	wrote   atomic.Bool
	again   atomic.Bool
	entered atomic.Int64 // when the handler asked for the body
}

// with notes the first byte of an answer, but for one that only asks for the body.
func (t *trace) with(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { // the second time the transport tries again
			t.began.Store(false)
			if t.wrote.Swap(false) {
				t.again.Store(true)
			}
		},
		WroteRequest:         func(i httptrace.WroteRequestInfo) { t.wrote.Store(i.Err == nil) },
		GotFirstResponseByte: func() { t.began.Store(true) },
		Got100Continue: func() {
			t.began.Store(false)
			t.entered.Store(int64(t.Book.Now()))
		},
	})
}

// failed says what became of a request without a whole answer.
func (t *trace) failed(ctx context.Context, op *ledger.Op, err error) {
	op.Note = err.Error()
	switch {
	case ctx.Err() != nil:
		op.Outcome = ledger.Late
	case t.began.Load() || op.Status != 0:
		op.Outcome = ledger.Truncated
	default:
		op.Outcome = ledger.Broken
	}
}

// A tokens is the answer of a token endpoint, whatever its envelope.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Data    struct {
		Access string `json:"access_token"`
	} `json:"data"`
	Content struct {
		Access string `json:"jwt_token"`
	} `json:"content"`
}

var errNoToken = errors.New("no token in the answer")

// read notes what came in the op.
func (t *tokens) read(op *ledger.Op, life time.Duration) func(*answer) error {
	return func(a *answer) error {
		if err := json.Unmarshal(a.body, t); err != nil {
			return err
		}
		for _, other := range []string{t.Data.Access, t.Content.Access} {
			if t.Access == "" {
				t.Access = other
			}
		}
		if t.Access == "" {
			return errNoToken
		}
		op.Got, op.Life = ledger.Hash(t.Access), life
		if t.Refresh != "" {
			op.Next = ledger.Hash(t.Refresh)
		}
		return nil
	}
}
