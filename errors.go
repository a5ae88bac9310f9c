package tokenbooth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

const retryUnavailable = time.Second

// failureOf turns any error into the Failure that is answered. Where the guard
// cannot find something out it is 503: neither a pass nor a refusal (B3).
func failureOf(err error, place response.Place) *response.Failure {
	f := classify(err, place)
	f.Place = place
	if f.RetryAfter <= 0 && (f.Status == http.StatusServiceUnavailable || f.Status == http.StatusTooManyRequests) {
		f.RetryAfter = retryUnavailable
	}
	return f
}

// classify looks into an error of the host's code, whose methods may panic, as
// those of a nil pointer do.
func classify(err error, place response.Place) (f *response.Failure) {
	defer func() {
		if recover() != nil {
			f = because(response.Internal, fmt.Errorf("tokenbooth: an error of type %T that cannot be read", err))
		}
	}()
	var crash *panicError
	switch {
	case errors.As(err, &f):
		f = complete(f)
	case errors.As(err, &crash):
		f = because(response.Internal, err)
	case place == response.Guard || isTemporary(err):
		f = because(response.Unavailable, err)
	default:
		f = because(response.Internal, err)
	}
	return f
}

func because(reason response.Reason, err error) *response.Failure {
	f := response.Fail(reason)
	f.Err = err
	return f
}

// complete copies a Failure that a grant may have made by hand, and fills in
// what it left out.
func complete(of *response.Failure) *response.Failure {
	f := *of
	known := response.Fail(f.Reason)
	if f.Code == "" {
		f.Code = known.Code
	}
	if f.Status < 400 || f.Status > 599 {
		f.Status = known.Status
	}
	if f.Message == "" {
		f.Message = known.Message
	}
	if f.Reason == "" {
		f.Reason = known.Reason
	}
	f.Code, f.Message = printable(f.Code), printable(f.Message)
	return &f
}

// printable keeps to what RFC 6749 §5.2 allows in error and error_description.
func printable(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < 0x20 || c == '"' || c == '\\' || c > 0x7E {
			b[i] = '?'
		}
	}
	return string(b)
}

func isTemporary(err error) bool {
	var timeout net.Error
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled) || errors.As(err, &timeout) && timeout.Timeout()
}

// A panicError is a panic in the host's code: a store, a grant, a formatter.
type panicError struct {
	text  string
	stack []byte
}

func (e *panicError) Error() string { return e.text + "\n" + string(e.stack) }

// recovered turns a panic into an error. Of the value only a runtime error's
// text is kept: another one may hold anything, a password too.
func recovered(err *error) {
	switch v := recover().(type) {
	case nil:
	case runtime.Error:
		*err = &panicError{"panic: " + v.Error(), debug.Stack()}
	case error:
		if v == http.ErrAbortHandler { //nolint:errorlint // as net/http compares; errors.Is would call methods of a stranger
			panic(v)
		}
		*err = &panicError{fmt.Sprintf("panic: %T", v), debug.Stack()}
	default:
		*err = &panicError{fmt.Sprintf("panic: %T", v), debug.Stack()}
	}
}

// format makes the answer to a Failure. Where the formatter itself fails it is
// another Failure, in plain OAuth.
func format(formatter ResponseFormatter, f *response.Failure) (response.Reply, *response.Failure) {
	reply, err := tryFormat(formatter, f)
	if err == nil {
		return reply, f
	}
	failed := because(response.Internal, errors.Join(f.Err, err))
	failed.Place = f.Place
	return response.Reply{
		Status: http.StatusInternalServerError,
		Body:   []byte(`{"error":"server_error","error_description":"The request could not be processed"}`),
	}, failed
}

func tryFormat(formatter ResponseFormatter, f *response.Failure) (reply response.Reply, err error) {
	defer recovered(&err)
	reply, err = formatter.Failure(f)
	if err == nil {
		err = checkReply(reply)
	}
	return reply, err
}

func checkReply(reply response.Reply) error {
	if reply.Status < 200 || reply.Status > 599 {
		return fmt.Errorf("tokenbooth: the formatter answered status %d", reply.Status)
	}
	return nil
}
