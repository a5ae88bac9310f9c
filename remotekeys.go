package tokenbooth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // minds case and refuses a member given twice
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
	maxRedirects     = 3
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
	turn  chan struct{} // holds one token: whoever has it may fetch, and touch what follows
	tried time.Time     // when the last fetch began, or failed
	fault error         // of the last fetch
}

type fetchedKeys struct {
	verifiers map[string]verifier
	until     time.Time
}

func (k *fetchedKeys) find(id string) (v verifier, ok bool) {
	if k != nil {
		v, ok = k.verifiers[id]
	}
	return v, ok
}

func newRemoteKeys(url string, client *http.Client, now func() time.Time) *remoteKeys {
	if client == nil {
		client = &http.Client{Timeout: fetchTimeout, CheckRedirect: checkRedirect}
	}
	r := &remoteKeys{url: url, client: client, now: now, turn: make(chan struct{}, 1)}
	r.turn <- struct{}{}
	return r
}

// checkRedirect follows only to where GuardConfig.JWKSURL could point itself: who
// can change an answer on its way makes tokens.
func checkRedirect(to *http.Request, via []*http.Request) error {
	local := via[0].URL.Scheme == "http" && to.URL.Scheme == "http" && isLoopback(to.URL.Hostname())
	if to.URL.Scheme != "https" && !local {
		return errors.New("redirected to what is not https")
	}
	if len(via) > maxRedirects {
		return errors.New("redirected too often")
	}
	return nil
}

// find returns the key of this ID; false where the issuer does not publish it.
// An error says that this could not be found out.
func (r *remoteKeys) find(ctx context.Context, id string) (verifier, bool, error) {
	if id == "" {
		return verifier{}, false, nil // nor is a published key without an ID ever taken
	}
	seen := r.known.Load()
	v, ok := seen.find(id)
	if ok && r.now().Before(seen.until) {
		return v, true, nil
	}
	keys, err := r.refresh(ctx, seen, ok)
	if v, ok = keys.find(id); ok {
		return v, true, nil // keys that were good serve on when no newer ones can be had
	}
	return verifier{}, false, err
}

// refresh fetches, unless another one does or the last time is too near. Who
// has a key to go on with does not wait for another's fetch. Beside an error it
// returns the keys that were seen.
func (r *remoteKeys) refresh(ctx context.Context, seen *fetchedKeys, has bool) (*fetchedKeys, error) {
	waiting, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	if !r.takeTurn(waiting, has) {
		return seen, waiting.Err()
	}
	defer func() { r.turn <- struct{}{} }()
	if now := r.known.Load(); now != seen {
		return now, nil // somebody fetched while this one waited
	}
	if err := waiting.Err(); err != nil {
		return seen, err // a select may choose the turn though the caller has gone
	}
	if r.rests(seen, has) {
		return seen, r.fault
	}
	r.tried, r.fault = r.now(), errors.New("tokenbooth: fetching the key set came to no end")
	fresh, err := r.fetch(ctx)
	if err != nil {
		r.tried, r.fault = r.now(), fmt.Errorf("tokenbooth: fetching the key set: %w", err)
		return seen, r.fault
	}
	r.fault = nil
	r.known.Store(fresh)
	return fresh, nil
}

func (r *remoteKeys) takeTurn(ctx context.Context, has bool) bool {
	if has {
		select {
		case <-r.turn:
			return true
		default:
			return false
		}
	}
	select {
	case <-r.turn:
		return true
	case <-ctx.Done():
		return false
	}
}

// rests says whether the last fetch is too near for another one. Who has a key to
// go on with does not wait for a failing issuer every second.
func (r *remoteKeys) rests(seen *fetchedKeys, has bool) bool {
	now, pause := r.now(), fetchPause
	if seen == nil || !now.Before(seen.until) && !has {
		pause = retryPause
	}
	age := now.Sub(r.tried)
	return !r.tried.IsZero() && age >= 0 && age < pause
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
	return &fetchedKeys{verifiers, r.tried.Add(keyAge(answer.Header.Values("Cache-Control")))}, nil
}

// keyAge is the freshness that Cache-Control gives (RFC 9111 §5.2.2), within
// bounds; what it does not say in a form that can be read it does not say.
func keyAge(cacheControl []string) time.Duration {
	age, said := maxKeyAge, false
	for directive := range strings.SplitSeq(strings.Join(cacheControl, ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			age, said = 0, true
		case "max-age":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31) // the largest on ErrRange
			if err == nil || errors.Is(err, strconv.ErrRange) {
				age, said = min(age, time.Duration(seconds)*time.Second), true
			}
		}
	}
	if !said {
		return defaultKeyAge
	}
	return max(age, minKeyAge)
}

// parseJWKS takes the signing keys of a set that this package can verify with.
// Kinds that it does not know are left out; a private or symmetric key is a
// leak, and refuses the whole set.
func parseJWKS(body []byte) (map[string]verifier, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &raw); err != nil || raw.Keys == nil {
		return nil, errors.New("not a JSON Web Key Set")
	}
	if len(raw.Keys) > maxRemoteKeys {
		return nil, fmt.Errorf("%d keys are too many", len(raw.Keys))
	}
	verifiers := make(map[string]verifier, len(raw.Keys))
	for i, one := range raw.Keys {
		if isSecret(one) {
			return nil, fmt.Errorf("key %d is not public", i+1)
		}
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(one); err != nil || !key.IsPublic() {
			continue
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
	if len(raw.Keys) > 0 && len(verifiers) == 0 {
		return nil, errors.New("no key of the set can be used")
	}
	return verifiers, nil
}

// isSecret looks for the members that only private and symmetric keys have
// (RFC 7518 §6), also in keys that cannot be used: a leak is a leak.
func isSecret(key json.RawMessage) bool {
	var has map[string]json.RawMessage
	if json.Unmarshal(key, &has) != nil {
		return false
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, ok := has[name]; ok {
			return true
		}
	}
	return string(has["kty"]) == `"oct"`
}
