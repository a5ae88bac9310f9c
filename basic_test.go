package tokenbooth

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/tokenbooth/tokenbooth/response"
)

func basicLine(userpass string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(userpass))
}

func TestC1_BasicReadings(t *testing.T) {
	long := strings.Repeat("%61", 200)
	for _, tt := range []struct {
		name, line string
		want       basicCredentials
	}{
		{"plain", basicLine("acme:s"), basicCredentials{"acme", "s", true, "acme", "s"}},
		{"case of the scheme", "bAsIc " + basicLine("acme:s")[6:], basicCredentials{"acme", "s", true, "acme", "s"}},
		{"more spaces", "Basic   " + basicLine("acme:s")[6:] + " ", basicCredentials{"acme", "s", true, "acme", "s"}},
		{"first colon splits", basicLine("acme:s:t:"), basicCredentials{"acme", "s:t:", true, "acme", "s:t:"}},
		{"no secret", basicLine("acme:"), basicCredentials{"acme", "", true, "acme", ""}},
		{"escapes", basicLine("a%3Ab:%2B+%C3%A9"), basicCredentials{"a:b", "+ é", true, "a%3Ab", "%2B+%C3%A9"}},
		{"bad escape in the secret", basicLine("a%3Ab:100%"), basicCredentials{"", "", false, "a%3Ab", "100%"}},
		{"bad escape in the id", basicLine("100%:a%3Ab"), basicCredentials{"", "", false, "100%", "a%3Ab"}},
		{"short when decoded", basicLine(long + ":s"), basicCredentials{strings.Repeat("a", 200), "s", true, strings.Repeat("a", 200), "s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := postForm(formMediaType, "grant_type=x")
			r.Header.Set("Authorization", tt.line)
			if f := mustParse(t, plainForm, r); f.basic == nil || *f.basic != tt.want {
				t.Errorf("got %+v, want %+v", f.basic, tt.want)
			}
		})
	}
	if f := mustParse(t, plainForm, postForm(formMediaType, "grant_type=x")); f.basic != nil {
		t.Errorf("credentials without a header: %+v", f.basic)
	}
}

func TestC2_AuthorizationUnusable(t *testing.T) {
	for _, lines := range [][]string{
		{""},
		{"Basic"},
		{"Basic "},
		{"Bearer abc"},
		{"Digest username=a"},
		{"Basicx " + basicLine("a:b")[6:]},
		{"Basic !!!!"},
		{"Basic YTpi="},
		{"Basic YTpiYw"},
		{"Basic YTpi YTpi"},
		{"Basic\t" + basicLine("a:b")[6:]},
		{basicLine("no colon")},
		{basicLine(":secret")},
		{basicLine(":")},
		{basicLine("")},
		{basicLine("a:" + strings.Repeat("b", 4000))},
		{basicLine("a:b"), basicLine("a:b")},
		{basicLine("a:b"), ""},
		{"", basicLine("a:b")},
		{basicLine("a:b") + ", " + basicLine("a:b")},
	} {
		r := postForm(formMediaType, "grant_type=x")
		r.Header["Authorization"] = lines
		t.Run(strings.Join(lines, "|"), func(t *testing.T) {
			wantRefused(t, plainForm, r, response.AuthorizationInvalid, "")
		})
	}
}

func TestP6_BasicCaps(t *testing.T) {
	a := func(n int) string { return strings.Repeat("a", n) }
	e := func(n int) string { return strings.Repeat("%61", n) }
	for _, tt := range []struct{ name, userpass, param string }{
		{"both at the limit", a(256) + ":" + a(512), ""},
		{"both at the limit, all escaped", e(256) + ":" + e(512), ""},
		{"id over", a(257) + ":s", "client_id"},
		{"secret over", "a:" + a(513), "client_secret"},
		{"id over, escaped", e(257) + ":s", "client_id"},
		{"secret over, escaped", "a:" + e(513), "client_secret"},
		{"id over, not decodable", a(257) + "%:s", "client_id"},
		{"secret over, not decodable", "a%:" + a(513), "client_secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := postForm(formMediaType, "")
			r.Header.Set("Authorization", basicLine(tt.userpass))
			reason := response.ParameterInvalid
			if tt.param == "" {
				reason = ""
			}
			wantRefused(t, plainForm, r, reason, tt.param)
		})
	}
}

func TestC2_TwoMechanisms(t *testing.T) {
	for _, tt := range []struct {
		name, userpass, body string
		refused              bool
	}{
		{"secret in both", "acme:s", "client_id=acme&client_secret=s", true},
		{"secret in the body, no id", "acme:s", "client_secret=s", true},
		{"empty secret in the body", "acme:s", "client_id=acme&client_secret=", false},
		{"another id", "acme:s", "client_id=other", true},
		{"id in another case", "acme:s", "client_id=Acme", true},
		{"the same id", "acme:s", "client_id=acme", false},
		{"the decoded id", "a%3Ab:s", "client_id=a%3Ab", false},
		{"the raw id", "a%3Ab:s", "client_id=a%253Ab", false},
		{"neither id", "a%3Ab:s", "client_id=a", true},
		{"the raw id, not decodable", "a%:s", "client_id=a%25", false},
		{"another id, not decodable", "a%:s", "client_id=a", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := postForm(formMediaType, tt.body)
			r.Header.Set("Authorization", basicLine(tt.userpass))
			reason := response.CredentialsTwice
			if !tt.refused {
				reason = ""
			}
			wantRefused(t, plainForm, r, reason, "")
		})
	}
}

func TestC2_BodyIDPicksTheReading(t *testing.T) {
	for _, tt := range []struct {
		body string
		want basicCredentials
	}{
		{"", basicCredentials{"a:b", "s t", true, "a%3Ab", "s+t"}},
		{"client_id=a:b", basicCredentials{"a:b", "s t", true, "a:b", "s t"}},
		{"client_id=a%253Ab", basicCredentials{"", "", false, "a%3Ab", "s+t"}},
	} {
		r := postForm(formMediaType, tt.body)
		r.Header.Set("Authorization", basicLine("a%3Ab:s+t"))
		if f := mustParse(t, plainForm, r); *f.basic != tt.want {
			t.Errorf("%q: got %+v, want %+v", tt.body, *f.basic, tt.want)
		}
	}
	// Where only the secret is escaped both readings remain.
	r := postForm(formMediaType, "client_id=acme")
	r.Header.Set("Authorization", basicLine("acme:s+t"))
	if f := mustParse(t, plainForm, r); *f.basic != (basicCredentials{"acme", "s t", true, "acme", "s+t"}) {
		t.Errorf("got %+v", *f.basic)
	}
}
