package tokenbooth

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

const epJSONType = "application/json"

func epWithBody(body io.ReadCloser) func(*http.Request) {
	return func(r *http.Request) { r.Body, r.ContentLength = body, -1 }
}

func TestP1_WholeBodyOrNothing(t *testing.T) {
	const malformed = response.BodyMalformed
	epAnswers(t, "P1", []epCase{
		{name: "bad escape in a known parameter", body: epAcme + "%zz", reason: malformed},
		{name: "bad escape in an unknown parameter", body: epAcme + "&x=%zz", reason: malformed},
		{name: "bad escape in an unknown name", body: epAcme + "&%=1", reason: malformed},
		{name: "escape cut off", body: epAcme + "&x=%4", reason: malformed},
		{name: "semicolon", body: epAcme + ";x=1", reason: malformed},
		{name: "body cut off", body: "", changes: []func(*http.Request){epWithBody(failingBody{io.ErrUnexpectedEOF})}, reason: malformed},
		{name: "nothing at all", body: "", reason: response.ParameterMissing},
	})
}

func TestP2_OnlyTheBody(t *testing.T) {
	query := func(q string) []func(*http.Request) {
		return []func(*http.Request){func(r *http.Request) { r.URL.RawQuery = q }}
	}
	epAnswers(t, "P2", []epCase{
		{name: "everything in the query", changes: query(epAcme), reason: response.ParameterMissing},
		{name: "secret in the query", body: "grant_type=client_credentials&client_id=acme", changes: query("client_secret=" + epSecret), reason: response.ParameterMissing, asks: true},
		{name: "others in the query", body: epAcme, changes: query("grant_type=x&client_id=x&client_secret=x&scope=%22&%zz")},
		{name: "scope in the query", body: epAcme, changes: query("scope=read")},
	})
}

func TestP3_DuplicateParameterInEveryEnvelope(t *testing.T) {
	cases := []epCase{
		{name: "unknown twice", body: epAcme + "&x=1&x=2&resource=a&resource=b"},
		{name: "case-variant is another", body: epAcme + "&SCOPE=read&Grant_Type=x&CLIENT_ID=y"},
	}
	for _, name := range []string{"grant_type", "client_id", "client_secret", "scope", "username", "password", "code", "redirect_uri", "refresh_token", "code_verifier"} {
		base := epAcme
		if !strings.Contains(base, name+"=") {
			base += "&" + name + "=read"
		}
		cases = append(
			cases,
			epCase{name: name + " twice", body: base + "&" + name + "=read", reason: response.ParameterRepeated},
			epCase{name: name + " and an empty one", body: name + "=&" + base, reason: response.ParameterRepeated},
		)
	}
	epAnswers(t, "P3", cases)
}

func TestP4_GrantType(t *testing.T) {
	const rest = "client_id=acme&client_secret=" + epSecret
	missing := map[string]response.Reason{"coded": ""}
	unsupported := response.GrantUnsupported
	epAnswers(t, "P4", []epCase{
		{name: "missing", body: rest, reason: response.ParameterMissing, otherwise: missing},
		{name: "empty", body: rest + "&grant_type=", reason: response.ParameterMissing, otherwise: missing},
		{name: "unknown", body: rest + "&grant_type=urn:x", reason: unsupported},
		{name: "upper case", body: rest + "&grant_type=CLIENT_CREDENTIALS", reason: unsupported},
		{name: "trailing space", body: rest + "&grant_type=client_credentials+", reason: unsupported},
		{name: "leading NUL", body: rest + "&grant_type=%00client_credentials", reason: unsupported},
		{name: "long s", body: rest + "&grant_type=client_credential%C5%BF", reason: unsupported},
		{name: "refresh_token is not there", body: rest + "&grant_type=refresh_token&refresh_token=x", reason: unsupported},
		{name: "empty scope", body: epAcme + "&scope="},
		{name: "empty secret", body: "grant_type=client_credentials&client_id=acme&client_secret=", reason: response.ParameterMissing, asks: true},
		{name: "empty id", body: "grant_type=client_credentials&client_id=&client_secret=" + epSecret, reason: response.ParameterMissing},
		{name: "empty username", body: strings.Replace(epLogin, "admin", "", 1) + "x", reason: response.ParameterMissing, asks: true},
	})
}

func epTyped(values ...string) []func(*http.Request) {
	return []func(*http.Request){epHeader("Content-Type", values...)}
}

func epEncoded(values ...string) []func(*http.Request) {
	return []func(*http.Request){epHeader("Content-Encoding", values...)}
}

func TestP5_ContentTypeInEveryEnvelope(t *testing.T) {
	const unsupported = response.ContentType
	epAnswers(t, "P5", []epCase{
		{name: "none", body: epAcme, changes: epTyped(), reason: unsupported},
		{name: "text", body: epAcme, changes: epTyped("text/plain"), reason: unsupported},
		{name: "multipart", body: epAcme, changes: epTyped("multipart/form-data; boundary=x"), reason: unsupported},
		{name: "two lines", body: epAcme, changes: epTyped(formMediaType, formMediaType), reason: unsupported},
		{name: "two values", body: epAcme, changes: epTyped(formMediaType + ", text/plain"), reason: unsupported},
		{name: "another charset", body: epAcme, changes: epTyped(formMediaType + "; charset=utf-16"), reason: unsupported},
		{name: "UTF-8", body: epAcme, changes: epTyped("Application/X-WWW-Form-URLEncoded; Charset=UTF-8")},
		{
			name: "JSON", body: `{"grant_type":"client_credentials","client_id":"acme","client_secret":"` + epSecret + `"}`, changes: epTyped(epJSONType),
			otherwise: map[string]response.Reason{"data": response.ParameterMissing, "meta": unsupported, "coded": unsupported},
		},
		{
			name: "a form under the label of JSON", body: epAcme, changes: epTyped(epJSONType), reason: response.BodyMalformed,
			otherwise: map[string]response.Reason{"data": "", "meta": unsupported, "coded": unsupported},
		},
		{name: "gzip", body: epAcme, changes: epEncoded("gzip"), reason: response.ContentEncoding},
		{name: "gzip behind identity", body: epAcme, changes: epEncoded("identity", "gzip"), reason: response.ContentEncoding},
		{name: "gzip in a list", body: epAcme, changes: epEncoded("identity, GZIP"), reason: response.ContentEncoding},
		{name: "identity", body: epAcme, changes: epEncoded("Identity")},
	})
}

func TestP6_LimitsInEveryEnvelope(t *testing.T) {
	const invalid, large = response.ParameterInvalid, response.BodyTooLarge
	pad := func(size int) string { return epAcme + "&x=" + strings.Repeat("a", size-len(epAcme)-3) }
	of := func(name string, n int) string {
		return epAcme + "&" + name + "=" + strings.Repeat("a", n)
	}
	id := func(n int) string {
		return "grant_type=client_credentials&client_secret=x&client_id=" + strings.Repeat("a", n)
	}
	secret := func(n int) string {
		return "grant_type=client_credentials&client_id=acme&client_secret=" + strings.Repeat("a", n)
	}
	streamed := func(r *http.Request) { r.ContentLength = -1 }
	epAnswers(t, "P6", []epCase{
		{name: "32 KiB", body: pad(32 << 10)},
		{name: "a byte more", body: pad(32<<10 + 1), reason: large},
		{name: "a byte more, streamed", body: pad(32<<10 + 1), changes: []func(*http.Request){streamed}, reason: large},
		{name: "1 MiB, streamed", body: pad(1 << 20), changes: []func(*http.Request){streamed}, reason: large},
		{name: "64 parameters", body: epAcme + strings.Repeat("&x=1", 61)},
		{name: "65 parameters", body: epAcme + strings.Repeat("&x=1", 62), reason: response.TooManyParameters},
		{name: "id of 256", body: id(256), reason: response.ClientUnknown, asks: true},
		{name: "id of 257", body: id(257), reason: invalid},
		{name: "secret of 512", body: secret(512), reason: response.SecretWrong, asks: true},
		{name: "secret of 513", body: secret(513), reason: invalid},
		{name: "id of 257 in Basic", body: "grant_type=client_credentials", changes: []func(*http.Request){epBasic(strings.Repeat("a", 257), "x")}, reason: invalid},
		{name: "secret of 513 in Basic", body: "grant_type=client_credentials", changes: []func(*http.Request){epBasic("acme", strings.Repeat("a", 513))}, reason: invalid},
		{name: "redirect_uri of 2049", body: of("redirect_uri", 2049), reason: invalid},
		{name: "scope of 2049", body: of("scope", 2049), reason: response.ScopeInvalid},
		{name: "65 scopes", body: epAcme + "&scope=" + strings.Repeat("a+", 64) + "a", reason: response.ScopeInvalid},
		{name: "code of 513", body: of("code", 513), reason: invalid},
		{name: "refresh_token of 513", body: of("refresh_token", 513), reason: invalid},
	})
}

func TestP7_ScopeTokens(t *testing.T) {
	cases := []epCase{
		{name: "two", body: epAcme + "&scope=read+write"},
		{name: "one twice", body: epAcme + "&scope=read+read"},
		{name: "every byte that is allowed", body: epAcme + "&scope=%21%23%5B%5D%7E", reason: response.ScopeInvalid, asks: true},
	}
	for _, bad := range []string{"a%22b", "a%5Cb", "a++b", "+a", "a+", "a%09b", "a%0Ab", "a%7Fb", "%C3%A9", "%00", "%FF", "read%0A"} {
		cases = append(cases, epCase{name: bad, body: epAcme + "&scope=" + bad, reason: response.ScopeInvalid})
	}
	epAnswers(t, "P7", cases)
}

// Neither a store nor a hash sees what nobody can be called.
func TestP8_UncleanIsUnknown(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		b := epNew(t, e.formatter)
		b.clients.fail(func(ctx context.Context, id string) (*store.Client, error) {
			if !clean(id) || len(id) > 256 {
				t.Errorf("the store was asked for %q", id)
			}
			return b.clients.find(ctx, id)
		})
		unknown := b.post(epCredentials("nobody", "x"))
		unknownBasic := b.post("grant_type=client_credentials", epBasic("nobody", "x"))
		wrong := b.post(epCredentials("acme", "x"))
		anonymous := b.post("grant_type=implicit&client_id=nobody")
		for _, bad := range []string{"\x00", "acme\x00", "\xff", "ac\xc3me", "a\tb", "a\r\nb", "\x7f", "\u0085", "\xed\xa0\x80", "\x1b[0m"} {
			epSame(t, "an unknown id and "+fmt.Sprintf("%q", bad), unknown, b.post(epCredentials(bad, "x")))
			epSame(t, "an unknown id and, in Basic, "+fmt.Sprintf("%q", bad), unknownBasic, b.post("grant_type=client_credentials", epEscapedBasic(bad, "x")))
			epSame(t, "an unknown id and, raw in Basic, "+fmt.Sprintf("%q", bad), unknownBasic, b.post("grant_type=client_credentials", epBasic(bad, "x")))
			epSame(t, "an unknown id and, alone, "+fmt.Sprintf("%q", bad), anonymous, b.post("grant_type=implicit&client_id="+url.QueryEscape(bad)))
			epSame(t, "a wrong secret and "+fmt.Sprintf("%q", bad), wrong, b.post(epCredentials("acme", bad), epFrom("192.0.2.9:1")))
			epSame(t, "a wrong secret and "+fmt.Sprintf("%q", bad), wrong, b.post(epCredentials("acme", epSecret+bad), epFrom("192.0.2.9:1")))
		}
		b.alive(t)
	})
}

func TestP8_UncleanUsers(t *testing.T) {
	epEach(t, func(t *testing.T, e epEnvelope) {
		b := epNew(t, e.formatter, func(c *HandlerConfig) { c.Limiter = Unlimited{} })
		login := func(user, password string) *httptest.ResponseRecorder {
			return b.post("grant_type=password&client_id=acme&client_secret=" + epSecret + "&username=" + url.QueryEscape(user) + "&password=" + url.QueryEscape(password))
		}
		unknown, wrong := login("nobody", "x"), login("admin", "x")
		for _, bad := range []string{"\x00", "admin\x00", "\xff", "a\nb", strings.Repeat("a", 257), strings.Repeat("\xff", 9000)} {
			epSame(t, fmt.Sprintf("an unknown user and %.20q", bad), unknown, login(bad, "x"))
			epSame(t, fmt.Sprintf("a wrong password and %.20q", bad), wrong, login("admin", bad+strings.Repeat("a", 1024)))
		}
		b.alive(t)
	})
}

func TestP9_JSONInEveryEnvelope(t *testing.T) {
	const id, secret = `"client_id":"acme"`, `"client_secret":"` + epSecret + `"`
	const most = `"grant_type":"client_credentials",` + id + `,` + secret
	json := func(name, body string, reason response.Reason) epCase {
		return epCase{
			name: name, body: body, changes: epTyped(epJSONType + "; charset=utf-8"), reason: reason,
			otherwise: map[string]response.Reason{"data": response.ParameterMissing, "meta": response.ContentType, "coded": response.ContentType},
		}
	}
	const malformed, repeated = response.BodyMalformed, response.ParameterRepeated
	epAnswers(t, "P9", []epCase{
		json("good", " {"+most+`,"x":"y"}`+"\n", ""),
		json("same twice", "{"+most+","+id+"}", repeated),
		json("same twice, escaped", "{"+most+`,"\u0063lient_id":"x"}`, repeated),
		json("empty and full", `{"client_id":"",`+most+"}", repeated),
		json("unknown twice", "{"+most+`,"x":"1","x":"1"}`, repeated),
		json("case-variant", "{"+most+`,"Client_ID":"x"}`, malformed),
		json("case-variant by folding", "{"+most+`,"client_\u017fecret":"x"}`, malformed),
		json("depth", "{"+most+`,"x":{"y":"z"}}`, malformed),
		json("number", "{"+most+`,"x":1}`, malformed),
		json("null", "{"+most+`,"scope":null}`, malformed),
		json("array of strings", "{"+most+`,"scope":["read"]}`, malformed),
		json("trailing object", "{"+most+"}{}", malformed),
		json("trailing bytes", "{"+most+"}x", malformed),
		json("trailing comma", "{"+most+",}", malformed),
		json("cut off", "{"+most, malformed),
		json("invalid UTF-8", "{"+most+",\"x\":\"\xff\"}", malformed),
	})
	for _, body := range []string{"[]", "null", `"x"`, "", "\ufeff{" + most + "}", "[{" + most + "}]"} {
		b := epNew(t, response.OAuth{})
		w := b.post(body, epTyped(epJSONType)...)
		b.want(t, w, 400, malformed)
		b.alive(t)
	}
}

func TestH1_EveryOtherMethod(t *testing.T) {
	methods := []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "post", "QUERY", "POST "}
	epEach(t, func(t *testing.T, e epEnvelope) {
		b := epNew(t, e.formatter)
		for _, m := range methods {
			w := b.post(epAcme, func(r *http.Request) { r.Method = m })
			b.want(t, w, 405, response.MethodNotAllowed)
			if got := w.Header()["Allow"]; len(got) != 1 || got[0] != "POST" {
				t.Errorf("%s: Allow is %q", m, got)
			}
		}
		if n := b.clients.asked.Load(); n != 0 {
			t.Errorf("the store was asked %d times", n)
		}
		b.alive(t)
	})
}

// The headers of an envelope cannot replace those that every answer must carry.
func TestH1_EnvelopeCannotForgetHeaders(t *testing.T) {
	bad := http.Header{
		"Cache-Control": {"public, max-age=60"}, "pragma": {"x"}, "content-type": {"text/html"}, "X-Content-Type-Options": {},
		"Content-Length": {"1"}, "X-Own": {"kept"},
	}
	f := &epFormatter{
		token: func(x *response.Token) (response.Reply, error) {
			r, err := response.OAuth{}.Token(x)
			r.Header = bad
			return r, err
		},
		failure: func(x *response.Failure) (response.Reply, error) {
			r, err := response.OAuth{}.Failure(x)
			r.Header = bad
			return r, err
		},
	}
	b := epNew(t, f)
	for _, w := range []*httptest.ResponseRecorder{b.post(epAcme), b.post("x"), b.post(epCredentials("acme", "x"))} {
		epHeaders(t, w)
		if w.Header().Get("X-Own") != "kept" {
			t.Errorf("the envelope's own header is lost: %v", w.Header())
		}
	}
}

// No answer is chunked, and nothing can be written after a refusal.
func TestH1_EveryBodyIsCounted(t *testing.T) {
	for _, n := range []int{1, 2047, 2048, 2049, 100_000} {
		body := []byte(`"` + strings.Repeat("x", n) + `"`)[:n]
		b := epNew(t, &epFormatter{
			token: func(*response.Token) (response.Reply, error) { return response.Reply{Status: 200, Body: body}, nil },
			failure: func(f *response.Failure) (response.Reply, error) {
				return response.Reply{Status: f.Status, Body: body}, nil
			},
		})
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b.ServeHTTP(w, r)
			if r.URL.Path == "/refused" {
				_, _ = io.WriteString(w, "and more")
			}
		}))
		for path, form := range map[string]string{"/": epAcme, "/refused": epFake} {
			res := epRaw(t, srv.Listener.Addr().String(), fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, formMediaType, len(form), form))
			got, err := io.ReadAll(res.Body)
			if err != nil || len(got) != n || res.ContentLength != int64(n) || res.TransferEncoding != nil {
				t.Errorf("%s: %d bytes come as %d of %d, %q: %v", path, n, len(got), res.ContentLength, res.TransferEncoding, err)
			}
			_ = res.Body.Close()
		}
		srv.Close()
	}
}

// A length that a middleware set is not that of the answer.
func TestH1_OuterLengthIsForgotten(t *testing.T) {
	b := epNew(t, response.OAuth{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		b.ServeHTTP(w, r)
	}))
	defer srv.Close()
	for _, form := range []string{epAcme, epFake} {
		res := epRaw(t, srv.Listener.Addr().String(), fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", formMediaType, len(form), form))
		if got, err := io.ReadAll(res.Body); err != nil || len(got) < 10 || res.ContentLength != int64(len(got)) {
			t.Errorf("%q of %d: %v", got, res.ContentLength, err)
		}
		_ = res.Body.Close()
	}
}

// A wrapper of the writer changes the headers of one answer.
func TestH1_HeadersAreOfOneAnswer(t *testing.T) {
	b := epNew(t, response.OAuth{})
	b.ServeHTTP(headerChanger{httptest.NewRecorder()}, epRequest(epAcme))
	epHeaders(t, b.post(epAcme))
}

type headerChanger struct{ http.ResponseWriter }

func (w headerChanger) WriteHeader(status int) {
	for _, values := range w.Header() {
		values[0] = "changed"
	}
	w.ResponseWriter.WriteHeader(status)
}

// Over a real connection, as it may come.
func TestH1_RawRequests(t *testing.T) {
	b := epNew(t, response.OAuth{})
	srv := httptest.NewServer(b)
	defer srv.Close()
	basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("acme:"+epSecret)) + "\r\n"
	form := "Content-Type: " + formMediaType + "\r\n"
	length := func(s string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(s), s) }
	tests := []struct {
		name, head string
		status     int
	}{
		{"good", "POST / HTTP/1.1\r\nHost: x\r\n" + form + length(epAcme), 200},
		{"good, chunked", "POST / HTTP/1.1\r\nHost: x\r\n" + form + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(epAcme), epAcme), 200},
		{"HTTP/1.0", "POST / HTTP/1.0\r\n" + form + length(epAcme), 200},
		{"lower-case method", "post / HTTP/1.1\r\nHost: x\r\n" + form + length(epAcme), 405},
		{"two Authorization lines", "POST / HTTP/1.1\r\nHost: x\r\n" + form + basic + basic + length("grant_type=client_credentials"), 400},
		{"two Content-Type lines", "POST / HTTP/1.1\r\nHost: x\r\n" + form + form + length(epAcme), 400},
		{"bad chunk", "POST / HTTP/1.1\r\nHost: x\r\n" + form + "Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n", 400},
		{"too large", "POST / HTTP/1.1\r\nHost: x\r\n" + form + "Content-Length: 99999999\r\n\r\nx", 413},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := epRaw(t, srv.Listener.Addr().String(), tt.head)
			defer func() { _ = res.Body.Close() }()
			if res.StatusCode != tt.status || res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Content-Type") != epJSONType {
				t.Errorf("got %d %v", res.StatusCode, res.Header)
			}
			if body, err := io.ReadAll(res.Body); err != nil || res.Header.Get("Content-Length") != strconv.Itoa(len(body)) {
				t.Errorf("Content-Length is %q: %d, %v", res.Header.Get("Content-Length"), len(body), err)
			}
		})
	}
	b.alive(t)
}

func epRaw(t *testing.T, addr, request string) *http.Response {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err = c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err = io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestH4_StartStopLeaksNoGoroutine(t *testing.T) {
	cycle := func() {
		b := epNew(t, response.OAuth{})
		srv := httptest.NewServer(b)
		defer srv.Close()
		client := srv.Client()
		defer client.CloseIdleConnections()
		for _, body := range []string{epAcme, "x", epCredentials("nobody", "x"), epLogin + "x"} {
			res, err := client.Post(srv.URL, formMediaType, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}
	cycle()
	before := runtime.NumGoroutine()
	for range 100 {
		cycle()
	}
	// Connections end their goroutines after Close returned; wait for that, not
	// for a fixed time.
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if after := runtime.NumGoroutine(); after > before {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines, then %d\n%s", before, after, buf[:runtime.Stack(buf, true)])
	}
}

// Every reason that the endpoint can give is given to a real request.
func TestReasonsOfTheEndpointAllOccur(t *testing.T) {
	fake := epRefusing(response.Fail(response.GrantRefused))
	b := epNew(t, response.OAuth{}, epGrants(fake))
	with := func(f func(*http.Request)) []func(*http.Request) { return []func(*http.Request){f} }
	seen := map[response.Reason]bool{}
	send := func(body string, changes ...func(*http.Request)) {
		b.post(body, changes...)
		seen[b.last(t).Reason] = true
	}
	for _, c := range []epCase{
		{body: epAcme, changes: with(func(r *http.Request) { r.Method = "GET" })},
		{body: epAcme, changes: epTyped("text/plain")},
		{body: epAcme, changes: epEncoded("br")},
		{body: strings.Repeat("a", 32<<10+1)},
		{changes: with(epWithBody(failingBody{os.ErrDeadlineExceeded}))},
		{body: "%"},
		{body: strings.Repeat("x&", 65)},
		{body: "scope=&scope="},
		{body: ""},
		{body: epAcme + "&code=" + strings.Repeat("a", 513)},
		{body: epAcme, changes: with(epHeader("Authorization", "Bearer x"))},
		{body: epAcme, changes: with(epBasic("acme", epSecret))},
		{body: "grant_type=x"},
		{body: epCredentials("nobody", "x")},
		{body: epCredentials("acme", "x")},
		{body: epCredentials("disabled", "disabled-secret")},
		{body: epCredentials("longlived", "longlived-secret")},
		{body: epCredentials("narrow", "narrow-secret")},
		{body: epAcme + "&scope=admin"},
		{body: epFake},
		{body: epFake, reason: response.CodeReplayed},
		{body: epFake, reason: response.RefreshReused},
		{body: epFake, reason: response.ResponseTypeUnsupported},
		{body: epFake, reason: response.AuthorizationRequestInvalid},
		{body: strings.Replace(epLogin, "admin", "nobody", 1) + "x"},
		{body: epLogin + "x"},
		{body: strings.Replace(epLogin, "admin", "locked", 1) + "x"},
	} {
		fake.exchange = epRefusing(response.Fail(cmp.Or(c.reason, response.GrantRefused))).exchange
		send(c.body, c.changes...)
	}
	for range 4 {
		send(epCredentials("slow", "slow-secret"))
	}
	fake.exchange = epRefusing(response.Fail(response.Overloaded)).exchange
	send(epFake)
	b.clients.fail(epFailing(store.ErrUnavailable))
	send(epAcme)
	b.clients.fail(epFailing(io.ErrUnexpectedEOF))
	send(epAcme)
	b.clients.heal()

	delete(seen, "")
	for _, r := range response.Reasons(response.Endpoint) {
		if !seen[r] {
			t.Errorf("%s did not occur", r)
		}
		delete(seen, r)
	}
	for r := range seen {
		t.Errorf("%s is no reason of the endpoint", r)
	}
	b.alive(t)
}
