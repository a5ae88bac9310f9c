package tokenbooth

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tokenbooth/tokenbooth/response"
)

var (
	plainForm = newFormParser(response.Conventions{}, nil)
	jsonForm  = newFormParser(response.Conventions{JSON: true}, nil)
	labelled  = newFormParser(response.Conventions{FormLabelledJSON: true}, nil)
	eitherWay = newFormParser(response.Conventions{JSON: true, FormLabelledJSON: true}, nil)
)

func postForm(mediaType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(body))
	r.Header.Set("Content-Type", mediaType)
	return r
}

func mustParse(t testing.TB, p *formParser, r *http.Request) *form {
	t.Helper()
	f, err := p.parse(httptest.NewRecorder(), r)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return f
}

// wantRefused parses r and checks the refusal; no reason expects none.
func wantRefused(t testing.TB, p *formParser, r *http.Request, reason response.Reason, param string) {
	t.Helper()
	f, err := p.parse(httptest.NewRecorder(), r)
	if reason == "" {
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		return
	}
	var fail *response.Failure
	if !errors.As(err, &fail) {
		t.Fatalf("accepted as %v, error %v; want %s", f, err, reason)
	}
	if f != nil {
		t.Error("a refused request has a form")
	}
	if fail.Reason != reason || fail.Param != param {
		t.Errorf("refused for %s %q, want %s %q", fail.Reason, fail.Param, reason, param)
	}
}

func paramMap(f *form) map[string]string {
	m := map[string]string{}
	for _, prm := range f.params {
		m[prm.Name] = prm.Value
	}
	return m
}

func TestH1_NonPost(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "post"} {
		r := postForm(formMediaType, "grant_type=x")
		r.Method = method
		wantRefused(t, plainForm, r, response.MethodNotAllowed, "")
	}
}

func TestP1_MalformedBody(t *testing.T) {
	for _, body := range []string{
		"grant_type=%zz", "grant_type=%", "grant_type=%4", "grant_type=x&unknown=%zz", "unknown%=1&grant_type=x",
		"%=1", "grant_type=x;client_id=y", "unknown=a;b", ";", "client_id=ok&&&z=%0",
	} {
		t.Run(body, func(t *testing.T) {
			wantRefused(t, plainForm, postForm(formMediaType, body), response.BodyMalformed, "")
		})
	}
}

func TestP1_MessagesReflectNothing(t *testing.T) {
	for _, r := range []*http.Request{
		postForm(formMediaType, "grant_type=canary%zz"),
		postForm(formMediaType, "code=canary&code=canary"),
		postForm(formMediaType, "scope=canary%22"),
		postForm(jsonMediaType, `{"canary":canary}`),
		postForm(jsonMediaType, `{"canary":"a","canary":"b"}`),
		postForm("canary/canary; canary", ""),
	} {
		_, err := jsonForm.parse(httptest.NewRecorder(), r)
		var fail *response.Failure
		if !errors.As(err, &fail) {
			t.Fatalf("accepted, error %v", err)
		}
		if strings.Contains(err.Error()+fail.Message+fail.Param, "canary") {
			t.Errorf("reflects the request: %v, %q", err, fail.Message)
		}
	}
}

func TestP2_QueryIsNeverRead(t *testing.T) {
	r := postForm(formMediaType, "grant_type=body")
	r.URL.RawQuery = "grant_type=query&client_id=query&scope=query&%zz"
	f := mustParse(t, plainForm, r)
	if got, want := paramMap(f), map[string]string{"grant_type": "body"}; !maps.Equal(got, want) {
		t.Errorf("params %v, want %v", got, want)
	}
	r = postForm(formMediaType, "grant_type=body")
	r.URL.RawQuery = "client_id=query"
	if err := r.ParseForm(); err != nil {
		t.Fatal(err)
	}
	if got, want := paramMap(mustParse(t, plainForm, r)), map[string]string{"grant_type": "body"}; !maps.Equal(got, want) {
		t.Errorf("after ParseForm: params %v, want %v", got, want)
	}
}

func TestP3_DuplicateParameter(t *testing.T) {
	p := newFormParser(response.Conventions{}, []string{"session_key", "scope"})
	for _, tt := range []struct{ body, param string }{
		{"client_id=a&client_id=b", "client_id"},
		{"client_id=a&client_id=a", "client_id"},
		{"client_id=a&client_id=", "client_id"},
		{"client_id=&client_id=a", "client_id"},
		{"client_id&client_id", "client_id"},
		{"client_id=a&client%5Fid=b", "client_id"},
		{"scope=a&x=1&sc%6Fpe=b", "scope"},
		{"session_key=a&session_key=b", "session_key"},
		{"password=a&password=b", "password"},
		{"x=1&x=2&y&y", ""},
		{"Client_id=1&client_id=2", ""},
	} {
		t.Run(tt.body, func(t *testing.T) {
			reason := response.ParameterRepeated
			if tt.param == "" {
				reason = ""
			}
			wantRefused(t, p, postForm(formMediaType, tt.body), reason, tt.param)
		})
	}
}

func TestP3_EveryKnownParameter(t *testing.T) {
	for _, field := range formFields {
		wantRefused(t, plainForm, postForm(formMediaType, field.name+"=a&"+field.name+"=a"), response.ParameterRepeated, field.name)
	}
}

func TestP4_EmptyIsOmitted(t *testing.T) {
	f := mustParse(t, plainForm, postForm(formMediaType, "grant_type=&client_id=a&scope=&redirect_uri&unknown=1&&=&="))
	if got, want := paramMap(f), map[string]string{"client_id": "a"}; !maps.Equal(got, want) {
		t.Errorf("params %v, want %v", got, want)
	}
	if f.scopes != nil {
		t.Errorf("scopes %q, want nil", f.scopes)
	}
	if f := mustParse(t, plainForm, postForm(formMediaType, "")); len(f.params) != 0 {
		t.Errorf("params of an empty body: %v", f.params)
	}
}

func TestP4_EmptyClientIDBesideBasic(t *testing.T) {
	r := postForm(formMediaType, "client_id=&client_secret=")
	r.SetBasicAuth("a", "b")
	if f := mustParse(t, plainForm, r); f.basic == nil {
		t.Error("no Basic credentials")
	}
}

func TestFormValues(t *testing.T) {
	p := newFormParser(response.Conventions{}, []string{"assertion"})
	f := mustParse(t, p, postForm(formMediaType,
		"password=correct+horse%26=%C3%A9&username=a%3Bb&assertion=1&grant%5ftype=x=y&code=%2B"))
	want := map[string]string{
		"password": "correct horse&=é", "username": "a;b", "assertion": "1", "grant_type": "x=y", "code": "+",
	}
	if got := paramMap(f); !maps.Equal(got, want) {
		t.Errorf("params %q, want %q", got, want)
	}
	if f.get("password") != want["password"] || f.get("client_id") != "" || f.get("nonsense") != "" {
		t.Error("get differs from params")
	}
}

func TestP5_ContentType(t *testing.T) {
	const form, object = "grant_type=x", `{"grant_type":"x"}`
	for _, tt := range []struct {
		name  string
		p     *formParser
		types []string
		body  string
		want  response.Reason
	}{
		{"form", plainForm, []string{formMediaType}, form, ""},
		{"form with charset", plainForm, []string{formMediaType + "; charset=UTF-8"}, form, ""},
		{"form with quoted charset", plainForm, []string{formMediaType + `;charset="utf-8"`}, form, ""},
		{"form in capitals", plainForm, []string{"Application/X-WWW-Form-URLencoded"}, form, ""},
		{"form with another parameter", plainForm, []string{formMediaType + "; x=y"}, form, ""},
		{"form in latin 1", plainForm, []string{formMediaType + "; charset=iso-8859-1"}, form, response.ContentType},
		{"form with empty charset", plainForm, []string{formMediaType + `; charset=""`}, form, response.ContentType},
		{"form with charset twice", plainForm, []string{formMediaType + "; charset=utf-8; charset=latin1"}, form, response.ContentType},
		{"form with broken parameter", plainForm, []string{formMediaType + "; charset"}, form, response.ContentType},
		{"none", plainForm, nil, form, response.ContentType},
		{"empty", plainForm, []string{""}, form, response.ContentType},
		{"two alike", plainForm, []string{formMediaType, formMediaType}, form, response.ContentType},
		{"two", jsonForm, []string{formMediaType, jsonMediaType}, form, response.ContentType},
		{"joined", plainForm, []string{formMediaType + ", " + formMediaType}, form, response.ContentType},
		{"multipart", plainForm, []string{"multipart/form-data; boundary=x"}, form, response.ContentType},
		{"text", plainForm, []string{"text/plain"}, form, response.ContentType},
		{"prefix", plainForm, []string{formMediaType + "x"}, form, response.ContentType},
		{"json where none is taken", plainForm, []string{jsonMediaType}, object, response.ContentType},
		{"json", jsonForm, []string{jsonMediaType}, object, ""},
		{"json with charset", jsonForm, []string{"application/JSON; charset=utf-8"}, object, ""},
		{"json in latin 1", jsonForm, []string{jsonMediaType + "; charset=latin1"}, object, response.ContentType},
		{"problem+json", jsonForm, []string{"application/problem+json"}, object, response.ContentType},
		{"form where json is taken", jsonForm, []string{formMediaType}, form, ""},
		{"form under the label of json", jsonForm, []string{jsonMediaType}, form, response.BodyMalformed},
		{"labelled form", labelled, []string{jsonMediaType}, form, ""},
		{"form where labels are ignored", labelled, []string{formMediaType}, form, ""},
		{"either: form", eitherWay, []string{jsonMediaType}, form, ""},
		{"either: object", eitherWay, []string{jsonMediaType}, "\r\n\t " + object, ""},
		{"either: broken object", eitherWay, []string{jsonMediaType}, "{" + form, response.BodyMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := postForm("", tt.body)
			r.Header["Content-Type"] = tt.types
			wantRefused(t, tt.p, r, tt.want, "")
			if tt.want != "" {
				return
			}
			r = postForm("", tt.body)
			r.Header["Content-Type"] = tt.types
			if got := mustParse(t, tt.p, r).get("grant_type"); got != "x" {
				t.Errorf("grant_type %q, want x", got)
			}
		})
	}
}

func TestP5_ObjectWhereOnlyFormsAreTaken(t *testing.T) {
	f := mustParse(t, labelled, postForm(jsonMediaType, `{"grant_type":"x"}`))
	if len(f.params) != 0 {
		t.Errorf("params %v of an object that is read as a form", f.params)
	}
}

func TestP5_ContentEncoding(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   response.Reason
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"identity"}, ""},
		{[]string{" Identity "}, ""},
		{[]string{"gzip"}, response.ContentEncoding},
		{[]string{"identity, gzip"}, response.ContentEncoding},
		{[]string{"identity", "br"}, response.ContentEncoding},
		{[]string{"zstd"}, response.ContentEncoding},
	} {
		r := postForm(formMediaType, "grant_type=x")
		r.Header["Content-Encoding"] = tt.values
		wantRefused(t, plainForm, r, tt.want, "")
	}
}

func TestP6_ParameterCount(t *testing.T) {
	pairs := strings.Repeat("&x=1", maxFormParams)
	wantRefused(t, plainForm, postForm(formMediaType, pairs), "", "")
	wantRefused(t, plainForm, postForm(formMediaType, strings.Repeat("&", 1000)+pairs+"&&"), "", "")
	wantRefused(t, plainForm, postForm(formMediaType, pairs+"&="), response.TooManyParameters, "")
}

func TestP6_FieldCaps(t *testing.T) {
	p := newFormParser(response.Conventions{JSON: true}, []string{"assertion"})
	for _, tt := range []struct {
		name   string
		max    int
		reason response.Reason
	}{
		{"client_id", 256, response.ParameterInvalid},
		{"client_secret", 512, response.ParameterInvalid},
		{"redirect_uri", 2048, response.ParameterInvalid},
		{"scope", 2048, response.ScopeInvalid},
		{"code", 512, response.ParameterInvalid},
		{"refresh_token", 512, response.ParameterInvalid},
		{"code_verifier", 512, response.ParameterInvalid},
		{"code_challenge", 512, response.ParameterInvalid},
		{"assertion", 8192, response.ParameterInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fits, over := strings.Repeat("a", tt.max), strings.Repeat("a", tt.max+1)
			escaped := strings.Repeat("%61", tt.max)
			wantRefused(t, p, postForm(formMediaType, tt.name+"="+fits), "", "")
			wantRefused(t, p, postForm(formMediaType, tt.name+"="+escaped), "", "")
			wantRefused(t, p, postForm(formMediaType, tt.name+"="+over), tt.reason, tt.name)
			wantRefused(t, p, postForm(jsonMediaType, `{"`+tt.name+`":"`+over+`"}`), tt.reason, tt.name)
		})
	}
	// A grant answers these like wrong ones; a refusal here would tell them
	// apart.
	for _, name := range []string{"username", "password"} {
		wantRefused(t, p, postForm(formMediaType, name+"="+strings.Repeat("a", 9000)), "", "")
	}
}

func TestP6_ScopeTokens(t *testing.T) {
	tokens := make([]string, maxScopeTokens+1)
	for i := range tokens {
		tokens[i] = strconv.Itoa(i)
	}
	fits, over := strings.Join(tokens[1:], "+"), strings.Join(tokens, "+")
	if f := mustParse(t, plainForm, postForm(formMediaType, "scope="+fits)); len(f.scopes) != maxScopeTokens {
		t.Errorf("%d scopes, want %d", len(f.scopes), maxScopeTokens)
	}
	wantRefused(t, plainForm, postForm(formMediaType, "scope="+over), response.ScopeInvalid, "scope")
	repeated := "scope=a" + strings.Repeat("+a", maxScopeTokens)
	wantRefused(t, plainForm, postForm(formMediaType, repeated), response.ScopeInvalid, "scope")
}

func TestP7_ScopeSyntax(t *testing.T) {
	for _, tt := range []struct {
		scope string // as sent
		want  []string
	}{
		{"a", []string{"a"}},
		{"b+a", []string{"b", "a"}},
		{"b%20a+b", []string{"b", "a"}},
		{"customers%3Aread", []string{"customers:read"}},
		{"!%23%5B%5D~", []string{"!#[]~"}},
		{"+a", nil},
		{"a+", nil},
		{"a++b", nil},
		{"+", nil},
		{"a%09b", nil},
		{"a%22", nil},
		{"a%5C", nil},
		{"a%7F", nil},
		{"a%00", nil},
		{"a%0Ab", nil},
		{"%C3%A9", nil},
		{"%FF", nil},
	} {
		t.Run(tt.scope, func(t *testing.T) {
			r := postForm(formMediaType, "scope="+tt.scope)
			if tt.want == nil {
				wantRefused(t, plainForm, r, response.ScopeInvalid, "scope")
				return
			}
			if f := mustParse(t, plainForm, r); !slices.Equal(f.scopes, tt.want) {
				t.Errorf("scopes %q, want %q", f.scopes, tt.want)
			}
		})
	}
}

func TestP7_EveryByte(t *testing.T) {
	for i := range 256 {
		c := byte(i)
		want := c == 0x21 || c >= 0x23 && c <= 0x5B || c >= 0x5D && c <= 0x7E
		if got := isScopeToken(string([]byte{c})); got != want {
			t.Errorf("byte %#x: %v, want %v", c, got, want)
		}
	}
}

func TestP8_UncleanIsNoParseError(t *testing.T) {
	for _, bad := range []string{"%00", "%FF", "a%0Ab", "%7F", "%C2%85", "%ED%A0%80"} {
		for _, name := range []string{"client_id", "client_secret", "username", "password", "code", "refresh_token"} {
			f := mustParse(t, plainForm, postForm(formMediaType, name+"="+bad))
			if clean(f.get(name)) {
				t.Errorf("%s=%s counts as clean", name, bad)
			}
		}
	}
	r := postForm(formMediaType, "")
	r.SetBasicAuth("a\x00", "\xff")
	if f := mustParse(t, plainForm, r); clean(f.basic.id) || clean(f.basic.secret) {
		t.Error("Basic credentials count as clean")
	}
	f := mustParse(t, jsonForm, postForm(jsonMediaType, `{"client_id":"\u0000","client_secret":"\ud800"}`))
	if clean(f.get("client_id")) || f.get("client_secret") != "\uFFFD" {
		t.Errorf("JSON credentials %q", f.params)
	}
}

func TestP8_Clean(t *testing.T) {
	for _, s := range []string{"", "acme", "a b", "é", "\u00a0", "日本", "\uFFFD", "😀", "~"} {
		if !clean(s) {
			t.Errorf("%q is not clean", s)
		}
	}
	for _, s := range []string{"\x00", "a\x1f", "\x7f", "\u0080", "\u009f", "\xff", "a\xc3", "\xed\xa0\x80", "\n", "\t"} {
		if clean(s) {
			t.Errorf("%q is clean", s)
		}
	}
}

func TestP9_JSON(t *testing.T) {
	f := mustParse(t, jsonForm, postForm(jsonMediaType,
		" {\"grant_type\": \"x\",\n\"unknown\":\"1\",\"scope\":\"b a b\",\"cod\\u0065\":\"\\u00e9\\n\",\"client_id\":\"\"} \r\n"))
	if got, want := paramMap(f), map[string]string{"grant_type": "x", "scope": "b a b", "code": "é\n"}; !maps.Equal(got, want) {
		t.Errorf("params %q, want %q", got, want)
	}
	if want := []string{"b", "a"}; !slices.Equal(f.scopes, want) {
		t.Errorf("scopes %q, want %q", f.scopes, want)
	}
	wantRefused(t, jsonForm, postForm(jsonMediaType, "{}"), "", "")
}

func TestP9_JSONRefused(t *testing.T) {
	deep := strings.Repeat("[", 10_000)
	for _, tt := range []struct {
		name, body string
		reason     response.Reason
		param      string
	}{
		{"empty", "", response.BodyMalformed, ""},
		{"blank", " ", response.BodyMalformed, ""},
		{"bare word", "{bad", response.BodyMalformed, ""},
		{"array", `["a"]`, response.BodyMalformed, ""},
		{"string", `"a"`, response.BodyMalformed, ""},
		{"null", `null`, response.BodyMalformed, ""},
		{"unclosed", `{"code":"a"`, response.BodyMalformed, ""},
		{"closed by a bracket", `{"code":"a"]`, response.BodyMalformed, ""},
		{"trailing comma", `{"code":"a",}`, response.BodyMalformed, ""},
		{"missing comma", `{"code":"a" "scope":"b"}`, response.BodyMalformed, ""},
		{"missing colon", `{"code" "a"}`, response.BodyMalformed, ""},
		{"number", `{"code":1}`, response.BodyMalformed, ""},
		{"true", `{"code":true}`, response.BodyMalformed, ""},
		{"null value", `{"code":null}`, response.BodyMalformed, ""},
		{"unknown number", `{"unknown":1}`, response.BodyMalformed, ""},
		{"array value", `{"scope":["a"]}`, response.BodyMalformed, ""},
		{"object value", `{"code":{"a":"b"}}`, response.BodyMalformed, ""},
		{"unknown object", `{"unknown":{}}`, response.BodyMalformed, ""},
		{"deep", `{"a":` + deep, response.BodyMalformed, ""},
		{"deep at once", deep, response.BodyMalformed, ""},
		{"trailing object", `{"code":"a"}{}`, response.BodyMalformed, ""},
		{"trailing word", `{"code":"a"} x`, response.BodyMalformed, ""},
		{"trailing brace", `{"code":"a"}}`, response.BodyMalformed, ""},
		{"trailing NUL", "{}\x00", response.BodyMalformed, ""},
		{"byte order mark", "\uFEFF{}", response.BodyMalformed, ""},
		{"invalid UTF-8", "{\"code\":\"\xff\"}", response.BodyMalformed, ""},
		{"invalid UTF-8 in an unknown name", "{\"\xff\":\"a\"}", response.BodyMalformed, ""},
		{"raw control", "{\"code\":\"\n\"}", response.BodyMalformed, ""},
		{"case of a known name", `{"Code":"a"}`, response.BodyMalformed, ""},
		{"case beside a known name", `{"code":"a","CODE":"b"}`, response.BodyMalformed, ""},
		{"folded case", `{"\u017fcope":"a"}`, response.BodyMalformed, ""},
		{"case of an unknown name", `{"x":"a","X":"b"}`, response.BodyMalformed, ""},
		{"duplicate", `{"code":"a","code":"b"}`, response.ParameterRepeated, "code"},
		{"escaped duplicate", `{"code":"a","\u0063ode":"a"}`, response.ParameterRepeated, "code"},
		{"empty duplicate", `{"code":"","code":"b"}`, response.ParameterRepeated, "code"},
		{"unknown duplicate", `{"x":"a","x":"a"}`, response.ParameterRepeated, ""},
		{"scope", `{"scope":"a  b"}`, response.ScopeInvalid, "scope"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantRefused(t, jsonForm, postForm(jsonMediaType, tt.body), tt.reason, tt.param)
		})
	}
}

func TestP9_MemberCount(t *testing.T) {
	var b strings.Builder
	for i := range maxFormParams {
		b.WriteString(`,"x` + strconv.Itoa(i) + `":"1"`)
	}
	members := b.String()[1:]
	wantRefused(t, jsonForm, postForm(jsonMediaType, "{"+members+"}"), "", "")
	wantRefused(t, jsonForm, postForm(jsonMediaType, "{"+members+`,"y":"1"}`), response.TooManyParameters, "")
}
