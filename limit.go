package tokenbooth

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authz"
)

// A Limit is the shape of a token bucket: Burst requests at once, and PerSecond
// more each second. The zero value means that none is given: the default of
// whoever holds it applies, and a [Limiter] refuses it with an error.
type Limit struct {
	PerSecond float64 // requests regained each second; above 0 and finite, 1.0/3600 is one an hour
	Burst     int     // requests at once, which is the size of the bucket; at least 1
}

// check returns an error for a Limit that no bucket can have.
func (l Limit) check() error {
	if !(l.PerSecond > 0) || math.IsInf(l.PerSecond, 1) {
		return fmt.Errorf("tokenbooth: Limit.PerSecond is %v: it must be above 0 and finite", l.PerSecond)
	}
	if l.Burst < 1 {
		return fmt.Errorf("tokenbooth: Limit.Burst is %d: it must be at least 1", l.Burst)
	}
	return nil
}

// A Decision is the answer of a [Limiter] to one request.
type Decision struct {
	Allowed   bool
	Limit     int // the Burst that was applied; 0 when there is no limit
	Remaining int // whole requests left at this moment, 0 to Limit
	// RetryAfter is 0 when the request is allowed, else whole seconds from 1 s
	// to 1 h. After it the next request is allowed, as far as the rate is at
	// least one an hour, the bucket is not shared and nobody else took from it.
	RetryAfter time.Duration
	// Reset is when the bucket will be full again, by the clock of the limiter;
	// the zero Time when there is no limit.
	Reset time.Time
}

// A Limiter decides whether a request may go on, and charges it to the key when
// it may; a refused request costs nothing. Implementations are safe for
// concurrent use and answer within 100 ms, whatever the context allows.
//
// An error says that no decision could be made, never that the limit is reached.
//
// Keys are opaque but for one thing: a key that begins with "anon|" was asked
// for before authentication, so that whoever sends requests can make any number
// of them. Its form is
//
//	anon|<address prefix>|<kind>|<id>
//
// where the address prefix and the kind hold no '|' and the id is the rest,
// whatever it holds. A Limiter that keeps its buckets in memory keeps these
// apart and bounded. Every other key is <kind>|<id>, of a client or a user that
// is known. The kinds are a fixed set of words, none of which is "anon" or holds
// a '|', so that no two pairs make the same key.
type Limiter interface {
	Take(ctx context.Context, key string, l Limit) (Decision, error)
}

// Unlimited is the [Limiter] that allows everything, whatever the Limit. Nothing
// defaults to it. The zero value is ready.
type Unlimited struct{}

// Take allows the request and never returns an error.
func (Unlimited) Take(context.Context, string, Limit) (Decision, error) {
	return Decision{Allowed: true}, nil
}

const anonPrefix = "anon|"

// anonKey returns the key of a request that is not authenticated.
func anonKey(prefix netip.Prefix, kind, id string) string {
	b := make([]byte, 0, 512)
	b = append(b, anonPrefix...)
	if prefix.IsValid() {
		b = prefix.AppendTo(b)
	}
	b = append(b, '|')
	b = append(b, kind...)
	b = append(b, '|')
	b = append(b, id...)
	return string(b)
}

// tokenBucket is the kind of a client's own bucket.
const tokenBucket = "token"

// clientNames is what a client is called where it acts for itself.
type clientNames struct{ bucket, subject, epoch string }

func (n *clientNames) areOf(id string) bool {
	return n.bucket != "" && n.bucket[len(tokenBucket)+1:] == id
}

// nameClient makes them once for a client.
func (x *exchange) nameClient(id string) *clientNames {
	if !x.names.areOf(id) {
		x.names = namesOf(id)
	}
	return &x.names
}

// namesOf makes them in one piece, as every token request needs them.
func namesOf(id string) clientNames {
	var room [160]byte // for ids as long as a UUID; longer ones cost another allocation
	b := append(append(append(room[:0], tokenBucket...), '|'), id...)
	subject := len(b)
	b = append(append(b, clientSubjectPrefix...), id...)
	epoch := len(b)
	all := string(authz.AppendClientEpochKey(b, id))
	return clientNames{all[:subject], all[subject:epoch], all[epoch:]}
}

// clientKey returns the key of a client or a user that is known.
func clientKey(kind, id string) string {
	return kind + "|" + id
}

// anonShare returns the part of an "anon|" key up to the end of its address
// prefix, and whether it is such a key.
func anonShare(key string) (string, bool) {
	rest, ok := strings.CutPrefix(key, anonPrefix)
	if !ok {
		return "", false
	}
	if n := strings.IndexByte(rest, '|'); n >= 0 {
		return key[:len(anonPrefix)+n], true
	}
	return key, true
}
