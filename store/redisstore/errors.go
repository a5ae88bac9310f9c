package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenbooth/tokenbooth/store"
)

// temporary are the codes of answers to commands that were not executed and may
// be later.
var temporary = []string{
	"LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "OOM", "TRYAGAIN", "NOREPLICAS", "MISCONF", "BUSY",
	"MOVED", "ASK", // left after the redirects that are followed
	"ERR max number of clients reached",
}

// absent says whether the answer is that there is nothing. An error with the same
// in it is none: a sentinel that does not know the master answers so too, and a
// revocation would be taken for undone.
func absent(err error) bool {
	return err == redis.Nil //nolint:errorlint // not what wraps it
}

// dialErrors wraps what goes wrong before there is a connection, the answer of a
// sentinel above all, which go-redis passes on bare where the time to connect is
// over.
type dialErrors struct{}

func (dialErrors) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, fmt.Errorf("connecting: %w", err)
		}
		return conn, nil
	}
}

func (dialErrors) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (dialErrors) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ofSentinel says whether a sentinel knows no such master.
func ofSentinel(err error) bool { return !absent(err) && errors.Is(err, redis.Nil) }

// wrap says what failed, with store.ErrUnavailable where it may be well later: all
// that is no answer of the server, and those answers that say so themselves. The
// error of the context is visible where it ended the call.
func wrap(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if ofSentinel(err) {
		if _, ok := errors.AsType[net.Error](err); !ok { // or another, out of reach, may know it
			return fmt.Errorf("redisstore: %s: no sentinel knows the master: set MasterName to what they call it", doing)
		}
	} else if answer, ok := errors.AsType[redis.Error](err); ok {
		text := answer.Error()
		// An answer to an unknown command repeats its arguments.
		text, _, _ = strings.Cut(text, ", with args beginning with")
		if isTemporary(text) {
			return fmt.Errorf("redisstore: %s: %w: %s", doing, store.ErrUnavailable, text)
		}
		return fmt.Errorf("redisstore: %s: %s", doing, text)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("redisstore: %s: %w", doing, err)
	}
	if ended := contextError(ctx, err); ended != nil && !errors.Is(err, ended) {
		return fmt.Errorf("redisstore: %s: %w: %w: %w", doing, store.ErrUnavailable, ended, err)
	}
	return fmt.Errorf("redisstore: %s: %w: %w", doing, store.ErrUnavailable, err)
}

// isTemporary knows also how a script of Redis before 7 passes on what a command
// in it answered.
func isTemporary(text string) bool {
	if i := strings.LastIndex(text, ": -"); i >= 0 && strings.HasPrefix(text, "ERR Error running script") {
		text = text[i+len(": -"):]
	}
	for _, code := range temporary {
		if rest, ok := strings.CutPrefix(text, code); ok && (rest == "" || rest[0] == ' ') {
			return true
		}
	}
	return false
}

// contextError returns the error that the context has, or is about to have where
// the connection noticed its deadline first.
func contextError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	deadline, ok := ctx.Deadline()
	if ok && errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}
