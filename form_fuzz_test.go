package tokenbooth

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
)

func reasonOf(t testing.TB, err error) response.Reason {
	t.Helper()
	var fail *response.Failure
	if err != nil && !errors.As(err, &fail) {
		t.Fatalf("error %v is no Failure", err)
	}
	if fail == nil {
		return ""
	}
	if fail.Param != "" && plainForm.field(fail.Param) == nil {
		t.Fatalf("Param %q is not a known name", fail.Param)
	}
	return fail.Reason
}

// FuzzForm holds the scanner against url.ParseQuery.
func FuzzForm(f *testing.F) {
	for _, body := range []string{
		"", "&&=&", "grant_type=client_credentials&client_id=a&client_secret=b", "scope=a+b%20c",
		"code=a&code=", "x=1;y=2", "x=%zz", "%63ode=%2B", strings.Repeat("x&", 65),
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > maxFormBytes {
			return
		}
		got, err := plainForm.parse(httptest.NewRecorder(), postForm(formMediaType, body))
		want, queryErr := url.ParseQuery(body)
		reason := reasonOf(t, err)
		if reason == response.BodyMalformed && queryErr == nil {
			t.Fatal("refused what url.ParseQuery takes")
		}
		if reason != "" {
			return
		}
		if queryErr != nil {
			t.Fatalf("accepted what url.ParseQuery refuses: %v", queryErr)
		}
		for _, field := range formFields {
			if len(want[field.name]) > 1 || got.get(field.name) != want.Get(field.name) {
				t.Errorf("%s is %q, want %q", field.name, got.get(field.name), want[field.name])
			}
		}
	})
}

// FuzzJSON holds the token reader against json.Unmarshal.
func FuzzJSON(f *testing.F) {
	for _, body := range []string{
		"{}", `{"grant_type":"x","scope":"a b"}`, `{"code":"a","code":"b"}`, `{"Code":"a"}`, `{"a":["b"]}`,
		`{"a":"b"}{}`, `{"a":"\ud800"}`, `{"code":null}`, "[]", "{\"a\":\"\xff\"}", `{"a":1e999}`, `{"a" "b"}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > maxFormBytes {
			return
		}
		got, err := jsonForm.parse(httptest.NewRecorder(), postForm(jsonMediaType, body))
		if reasonOf(t, err) != "" {
			return
		}
		var want map[string]*string
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			t.Fatalf("accepted what json.Unmarshal refuses: %v", err)
		}
		for name, value := range want {
			if value == nil {
				t.Fatalf("%q is null", name)
			}
			if plainForm.field(name) != nil && got.get(name) != *value {
				t.Errorf("%s is %q, want %q", name, got.get(name), *value)
			}
			delete(want, name)
			for other := range want {
				if strings.EqualFold(name, other) {
					t.Errorf("accepted %q beside %q", name, other)
				}
			}
		}
	})
}

// FuzzBasic holds the header against Request.BasicAuth and both readings against
// each other.
func FuzzBasic(f *testing.F) {
	for _, line := range []string{
		"", "Basic", basicLine("a:b"), basicLine("a%3Ab:c+d"), basicLine("a:100%"), basicLine(":"), "bearer x",
		"basic  YTpi ", basicLine(strings.Repeat("%61", 256) + ":"), "Basic YTpi\n",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		b, fail := parseBasic(line)
		if fail != nil {
			_ = reasonOf(t, fail)
			return
		}
		scheme, rest, _ := strings.Cut(line, " ")
		r := &http.Request{Header: http.Header{"Authorization": {scheme + " " + strings.Trim(rest, " ")}}}
		user, pass, ok := r.BasicAuth()
		if !ok || user == "" {
			t.Fatal("accepted what BasicAuth refuses")
		}
		id, errID := url.QueryUnescape(user)
		secret, errSecret := url.QueryUnescape(pass)
		if decodes := errID == nil && errSecret == nil; b.decoded != decodes {
			t.Fatalf("decoded %v, want %v", b.decoded, decodes)
		}
		if b.decoded && (b.id != id || b.secret != secret) {
			t.Errorf("decoded %q %q, want %q %q", b.id, b.secret, id, secret)
		}
		onlyDecoded := b.decoded && b.rawID == id && b.rawSecret == secret
		if (b.rawID != user || b.rawSecret != pass) && !onlyDecoded {
			t.Errorf("raw %q %q, want %q %q", b.rawID, b.rawSecret, user, pass)
		}
		if len(b.rawID) > maxClientID || len(b.rawSecret) > maxClientSecret || len(b.id) > maxClientID || len(b.secret) > maxClientSecret {
			t.Error("a reading is over the limits")
		}
	})
}

// deadlineWriter is a writer that can set deadlines, as those of net/http can.
type deadlineWriter struct{ http.ResponseWriter }

func (deadlineWriter) SetReadDeadline(time.Time) error { return nil }

type reusedBody struct{ strings.Reader }

func (*reusedBody) Close() error { return nil }

func BenchmarkParse(b *testing.B) {
	const credentials = "client_id=acme&client_secret=acme-secret-7f3c9d1e5b8a2460"
	for _, bb := range []struct{ name, mediaType, body, authorization string }{
		{"form", formMediaType, "grant_type=client_credentials&" + credentials, ""},
		{"form scope", formMediaType, "grant_type=client_credentials&scope=customers%3Aread+customers%3Acreate&" + credentials, ""},
		{"json", jsonMediaType, `{"grant_type":"client_credentials","client_id":"acme","client_secret":"acme-secret-7f3c9d1e5b8a2460"}`, ""},
		{"basic", formMediaType, "grant_type=client_credentials", basicLine("acme:acme-secret-7f3c9d1e5b8a2460")},
	} {
		b.Run(bb.name, func(b *testing.B) {
			body := new(reusedBody)
			r := postForm(bb.mediaType, "")
			r.Body, r.ContentLength = body, int64(len(bb.body))
			if bb.authorization != "" {
				r.Header.Set("Authorization", bb.authorization)
			}
			w := deadlineWriter{httptest.NewRecorder()}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(bb.body)
				if _, err := jsonForm.parse(w, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// FuzzScope holds splitScope against RFC 6749 §3.3 as a pattern.
func FuzzScope(f *testing.F) {
	grammar := regexp.MustCompile(`\A[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*\z`)
	for _, s := range []string{"", "a", "a b", "a  b", " a", "a ", "a b a", `a"b`, `a\b`, "\u00e9", "a\x00", "a\tb", "!#[]~"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, scope string) {
		scopes, ok := splitScope(nil, scope)
		if want := grammar.MatchString(scope) && strings.Count(scope, " ") < maxScopeTokens; ok != want {
			t.Fatalf("%q: taken %v, want %v", scope, ok, want)
		}
		if !ok {
			return
		}
		seen := map[string]bool{}
		for _, s := range scopes {
			if seen[s] || !holds(scope, s) {
				t.Fatalf("%q: %q", scope, scopes)
			}
			seen[s] = true
		}
		for _, s := range strings.Fields(scope) {
			if !seen[s] {
				t.Fatalf("%q lost %q", scope, s)
			}
		}
	})
}
