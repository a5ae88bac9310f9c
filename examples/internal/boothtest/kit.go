// Package boothtest drives servers made of package booth as clients and browsers
// do. It knows nothing of how they are made, and takes one server or several copies
// of one, to which requests then go in turn.
package boothtest

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TokenPaths are the token endpoints by system.
var TokenPaths = map[string]string{
	"000": "/adminczar/api/v1/oauth2/token",
	"001": "/oauth/access_token",
	"002": "/oauth2/tokens",
	"003": "/v1/auth/token",
	"004": "/auth/token",
}

// Guarded are protected routes by system. That of 002 needs the scope
// customers:read.
var Guarded = map[string]string{
	"000": "/adminczar/api/v1/whoami",
	"001": "/v2/products",
	"002": "/oauth2/whoami",
	"003": "/v1/whoami",
	"004": "/event/whoami",
}

// A Kit is what a test asks servers with. Whatever goes wrong on the way fails the
// test.
type Kit struct {
	*testing.T
	URLs    []string          // of the copies, by turns
	Issuer  string            // that they name
	Secrets map[string]string // of the clients
	Clock   *Clock            // of the copies

	sent atomic.Uint64
}

// A Clock stands until it is moved.
type Clock struct{ now atomic.Pointer[time.Time] }

// NewClock returns a clock that stands at the time given.
func NewClock(at time.Time) *Clock {
	c := new(Clock)
	c.now.Store(&at)
	return c
}

// Now returns the time.
func (c *Clock) Now() time.Time { return *c.now.Load() }

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	now := c.Now().Add(d)
	c.now.Store(&now)
}

// Secrets returns the plain secrets of fixtures by client.
func Secrets(t *testing.T, fixtures []byte) map[string]string {
	t.Helper()
	var file struct{ Clients []struct{ ID, Secret string } }
	if err := json.Unmarshal(fixtures, &file); err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{}
	for _, c := range file.Clients {
		secrets[c.ID] = c.Secret
	}
	return secrets
}

// At returns a Kit for one of the copies.
func (k *Kit) At(i int) *Kit {
	return &Kit{T: k.T, URLs: k.URLs[i : i+1], Issuer: k.Issuer, Secrets: k.Secrets, Clock: k.Clock}
}

// url returns the URL of the copy whose turn it is.
func (k *Kit) url() string {
	return k.URLs[(k.sent.Add(1)-1)%uint64(len(k.URLs))]
}

// An Answer has been read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

func (k *Kit) send(c *http.Client, method, path string, header map[string]string, body string) *Answer {
	k.Helper()
	r, err := http.NewRequestWithContext(k.Context(), method, k.url()+path, strings.NewReader(body))
	if err != nil {
		k.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	response, err := c.Do(r)
	if err != nil {
		k.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		k.Fatal(err)
	}
	return &Answer{response.StatusCode, response.Header, got}
}

// Do sends a request and follows redirects.
func (k *Kit) Do(method, path string, header map[string]string, body string) *Answer {
	k.Helper()
	return k.send(http.DefaultClient, method, path, header, body)
}

// Get asks for a guarded route.
func (k *Kit) Get(path, token string) *Answer {
	k.Helper()
	return k.Do("GET", path, map[string]string{"Authorization": "Bearer " + token}, "")
}

// Token returns what the token endpoint of a system gives for a form.
func (k *Kit) Token(system string, form url.Values) string {
	k.Helper()
	a := k.Do("POST", TokenPaths[system], map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, form.Encode())
	token := TokenIn(a.Body)
	if token == "" {
		k.Fatalf("%s: no token: %d %s", system, a.Status, a.Body)
	}
	return token
}

// ClientToken returns a token that a client gets for itself.
func (k *Kit) ClientToken(system, client, scope string) string {
	k.Helper()
	return k.Token(system, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {k.Secrets[client]}, "scope": {scope},
	})
}

var tokenMember = regexp.MustCompile(`"(?:access_token|jwt_token)":"([^"]+)"`)

// TokenIn returns the access token in an answer of any envelope, or nothing.
func TokenIn(body []byte) string {
	if m := tokenMember.FindSubmatch(body); m != nil {
		return string(m[1])
	}
	return ""
}

// Throttle repeats a request until the limit of its client is used up.
func (k *Kit) Throttle(request func() *Answer) {
	k.Helper()
	for range 10 {
		if request().Status == http.StatusTooManyRequests {
			return
		}
	}
	k.Fatal("ten requests at once and no limit")
}

// A Grant is what the token endpoint of 002 answers.
type Grant struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	IDToken      string `json:"id_token"`
	ExpiresIn    int    `json:"expires_in"`
	Scope        string `json:"scope"`
	Type         string `json:"token_type"`
}

// Call posts a form as one of the clients: with Basic where it has a secret.
func (k *Kit) Call(path, client string, form url.Values) *Answer {
	k.Helper()
	header := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	if secret := k.Secrets[client]; secret != "" {
		header["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(client)+":"+url.QueryEscape(secret)))
	} else {
		form = maps.Clone(form)
		form.Set("client_id", client)
	}
	return k.Do("POST", path, header, form.Encode())
}

// Redeem redeems a code of 002. More are names and values of parameters, of which
// an empty one takes the parameter out.
func (k *Kit) Redeem(client, code string, more ...string) *Answer {
	k.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {Callback}, "code_verifier": {Verifier}}
	return k.Call(TokenPaths["002"], client, with(form, more))
}

// Refresh uses a refresh token of 002.
func (k *Kit) Refresh(client, token string, more ...string) *Answer {
	k.Helper()
	return k.Call(TokenPaths["002"], client, with(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}, more))
}

func with(form url.Values, more []string) url.Values {
	for i := 0; i < len(more); i += 2 {
		if form.Set(more[i], more[i+1]); more[i+1] == "" {
			form.Del(more[i])
		}
	}
	return form
}

// Issued expects tokens of 002.
func (k *Kit) Issued(a *Answer) *Grant {
	k.Helper()
	got := new(Grant)
	if err := json.Unmarshal(a.Body, got); err != nil || a.Status != http.StatusOK || got.AccessToken == "" || got.Type != "bearer" || got.ExpiresIn != 3600 {
		k.Fatalf("%d %s, %v", a.Status, a.Body, err)
	}
	return got
}

// Refused expects the envelope of 002.
func (k *Kit) Refused(a *Answer, status int) {
	k.Helper()
	var body struct {
		Errors []struct{ HTTPCode int }
	}
	if err := json.Unmarshal(a.Body, &body); err != nil || a.Status != status || len(body.Errors) != 1 || body.Errors[0].HTTPCode != status {
		k.Errorf("%d %s, want %d", a.Status, a.Body, status)
	}
}

// Object expects 200 and a JSON object.
func (k *Kit) Object(a *Answer) map[string]any {
	k.Helper()
	var members map[string]any
	if err := json.Unmarshal(a.Body, &members); err != nil || a.Status != http.StatusOK {
		k.Fatalf("%d %s, %v", a.Status, a.Body, err)
	}
	return members
}

// SystemsApart expects that each system takes its own tokens and nobody else's.
func (k *Kit) SystemsApart() {
	k.Helper()
	for issuer := range TokenPaths {
		token := k.ClientToken(issuer, "acme", "customers:read") // what 002 asks for
		for system, path := range Guarded {
			want := http.StatusUnauthorized
			switch system {
			case issuer:
				want = http.StatusOK
			case "002": // knows no 401
				want = http.StatusForbidden
			}
			if a := k.Get(path, token); a.Status != want {
				k.Errorf("token of %s at %s: %d %s, want %d", issuer, system, a.Status, a.Body, want)
			}
		}
	}
}
