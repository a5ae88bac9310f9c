package tokenbooth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// What fetching a key set may cost, and how old one may get.
const (
	maxJWKS          = 1 << 20 // bytes
	fetchTimeout     = 5 * time.Second
	fetchPause       = 10 * time.Second // between fetches for a key that is not known
	retryPause       = time.Second      // after a failed fetch, while there are no keys or only old ones
	minKeyAge        = time.Minute
	maxKeyAge        = 24 * time.Hour
	defaultKeyAge    = 5 * time.Minute
	maxRemoteKeys    = 100
	jwksAcceptHeader = "application/jwk-set+json, application/json"
)

// remoteKeys are the public keys that an issuer publishes (RFC 7517 §5). It has
// no goroutine: the request that finds them too old fetches, one at a time, and
// the others go on with what is known.
type remoteKeys struct {
	url    string
	client *http.Client
	now    func() time.Time

	known atomic.Pointer[fetchedKeys]
	turn  chan struct{} // holds one token: whoever has it may fetch
	mu    sync.Mutex
	tried time.Time // when the last fetch began; guarded by mu
}

type fetchedKeys struct {
	verifiers map[string]verifier
	until     time.Time
}

func newRemoteKeys(url string, client *http.Client, now func() time.Time) *remoteKeys {
	if client == nil {
		client = &http.Client{Timeout: fetchTimeout}
	}
	r := &remoteKeys{url: url, client: client, now: now, turn: make(chan struct{}, 1)}
	r.turn <- struct{}{}
	return r
}

// find returns the key of this ID; false where the issuer does not publish it.
// An error says that no keys were ever fetched.
func (r *remoteKeys) find(ctx context.Context, id string) (verifier, bool, error) {
	keys := r.known.Load()
	if keys != nil && r.now().Before(keys.until) {
		if v, ok := keys.verifiers[id]; ok {
			return v, true, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	keys, err := r.refresh(ctx, keys, id)
	if err != nil {
		return verifier{}, false, err
	}
	v, ok := keys.verifiers[id]
	return v, ok, nil
}

// refresh fetches, unless another one does or the last time is too near. Who
// has a key to go on with does not wait for another's fetch.
func (r *remoteKeys) refresh(ctx context.Context, seen *fetchedKeys, id string) (*fetchedKeys, error) {
	if seen != nil && seen.verifiers[id].public != nil {
		select {
		case <-r.turn:
		default:
			return seen, nil
		}
	} else {
		select {
		case <-r.turn:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer func() { r.turn <- struct{}{} }()
	if now := r.known.Load(); now != seen {
		return now, nil // somebody fetched while this one waited
	}
	if !r.mayFetch(seen) {
		return orUnavailable(seen, errors.New("tokenbooth: the key set could not be fetched a moment ago"))
	}
	fresh, err := r.fetch(ctx)
	if err != nil {
		return orUnavailable(seen, fmt.Errorf("tokenbooth: fetching the key set: %w", err))
	}
	r.known.Store(fresh)
	return fresh, nil
}

// orUnavailable: keys that were good serve on when no newer ones can be had.
func orUnavailable(seen *fetchedKeys, err error) (*fetchedKeys, error) {
	if seen == nil {
		return nil, err
	}
	return seen, nil
}

func (r *remoteKeys) mayFetch(seen *fetchedKeys) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, pause := r.now(), fetchPause
	if seen == nil || !now.Before(seen.until) {
		pause = retryPause
	}
	if age := now.Sub(r.tried); !r.tried.IsZero() && age >= 0 && age < pause {
		return false
	}
	r.tried = now
	return true
}

func (r *remoteKeys) fetch(ctx context.Context) (*fetchedKeys, error) {
	// The keys are for everybody: one caller who hangs up must not lose them.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", jwksAcceptHeader)
	answer, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", answer.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err == nil && !strings.HasSuffix(kind, "json") {
		return nil, errors.New("the answer is not JSON")
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxJWKS+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxJWKS {
		return nil, errors.New("the key set is larger than 1 MiB")
	}
	verifiers, err := parseJWKS(body)
	if err != nil {
		return nil, err
	}
	return &fetchedKeys{verifiers, r.now().Add(keyAge(answer.Header.Get("Cache-Control")))}, nil
}

// keyAge is the max-age of a Cache-Control header, within bounds.
func keyAge(cacheControl string) time.Duration {
	age := defaultKeyAge
	for directive := range strings.SplitSeq(cacheControl, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if !strings.EqualFold(name, "max-age") {
			continue
		}
		if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
			age = time.Duration(seconds) * time.Second
		}
	}
	return min(max(age, minKeyAge), maxKeyAge)
}

// parseJWKS takes the signing keys of a set that this package can verify with.
// Kinds that it does not know are left out; a private or symmetric key is a
// leak, and refuses the whole set.
func parseJWKS(body []byte) (map[string]verifier, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, errors.New("not a JSON Web Key Set")
	}
	if len(raw.Keys) > maxRemoteKeys {
		return nil, fmt.Errorf("%d keys are too many", len(raw.Keys))
	}
	verifiers := make(map[string]verifier, len(raw.Keys))
	for i, one := range raw.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(one); err != nil {
			continue
		}
		if !key.IsPublic() {
			return nil, fmt.Errorf("key %d is not public", i+1)
		}
		public, _, algorithm, err := inspect(key.Key)
		if err != nil || key.KeyID == "" || key.Use != "" && key.Use != "sig" || key.Algorithm != "" && key.Algorithm != algorithm {
			continue
		}
		if _, twice := verifiers[key.KeyID]; twice {
			return nil, fmt.Errorf("key %d repeats a key ID", i+1)
		}
		verifiers[key.KeyID] = verifier{algorithm, public}
	}
	return verifiers, nil
}
