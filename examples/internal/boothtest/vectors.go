package boothtest

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/*.json
var testdata embed.FS

// A vector is one exchange that must go exactly so.
type vector struct {
	Name, System, Basis, Note, Given string
	Request                          struct {
		Method, Path, Body string
		Headers            map[string]string
	}
	Response struct {
		Status  int
		Headers map[string]string
		JSON    json.RawMessage
	}
}

const (
	storeFails = "the client store fails with an unexpected error"
	limitEmpty = "the client's own limit is used up"
)

func readVectors(t *testing.T, file string) (all []vector) {
	t.Helper()
	data, err := testdata.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return all
}

// TestVectors runs every vector, each against servers that open starts for it and
// that have the built-in fixtures: where failing is set, ones whose client store
// fails with an unexpected error. Their clock stands, and may be anywhere.
func TestVectors(t *testing.T, open func(t *testing.T, failing bool) *Kit) {
	for _, file := range []string{"token.json", "guard.json", "failures.json"} {
		for _, v := range readVectors(t, file) {
			t.Run(v.Name, func(t *testing.T) { v.run(open(t, v.Given == storeFails)) })
		}
	}
}

func (v *vector) run(k *Kit) {
	k.Helper()
	header := map[string]string{}
	for name, value := range v.Request.Headers {
		header[name] = k.fill(v, value)
	}
	path := k.fill(v, v.Request.Path)
	request := func() *Answer { return k.Do(v.Request.Method, path, header, v.Request.Body) }
	switch v.Given {
	case "", "nothing", storeFails:
	case limitEmpty:
		k.Throttle(request)
	default:
		k.Fatalf("unknown given: %s", v.Given)
	}
	v.check(k, request())
}

var tokenPlaceholder = regexp.MustCompile(`<(good|expired|implicit): ([^,>]+)(?:, ([^>]+))?>`)

// fill puts tokens for the placeholders of a request.
func (k *Kit) fill(v *vector, s string) string {
	k.Helper()
	return tokenPlaceholder.ReplaceAllStringFunc(s, func(placeholder string) string {
		m := tokenPlaceholder.FindStringSubmatch(placeholder)
		kind, client, how := m[1], m[2], m[3]
		scope, scoped := strings.CutPrefix(how, "scope ")
		if !scoped {
			scope = ""
		}
		switch {
		case kind == "implicit":
			return k.Token(v.System, url.Values{"grant_type": {"implicit"}, "client_id": {client}})
		case how != "" && how != "over its limit" && !scoped:
			k.Fatalf("unknown placeholder %s", placeholder)
		}
		token := k.ClientToken(v.System, client, scope)
		switch {
		case kind == "expired":
			k.Clock.Advance(time.Hour)
		case how == "over its limit":
			k.Throttle(func() *Answer { return k.Get(v.Request.Path, token) })
		}
		return token
	})
}

func (v *vector) check(k *Kit, got *Answer) {
	k.Helper()
	if got.Status != v.Response.Status {
		k.Errorf("status %d, want %d", got.Status, v.Response.Status)
	}
	for name, want := range v.Response.Headers {
		if value := got.Header.Get(name); !k.headerIs(value, want) {
			k.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	var wantJSON, gotJSON any
	if err := json.Unmarshal(v.Response.JSON, &wantJSON); err != nil {
		k.Fatal(err)
	}
	if err := json.Unmarshal(got.Body, &gotJSON); err != nil {
		k.Fatalf("%v: %s", err, got.Body)
	}
	if where := k.differ("", gotJSON, wantJSON); where != "" {
		k.Errorf("%s\n got %s\nwant %s", where, got.Body, v.Response.JSON)
	}
}

func (k *Kit) headerIs(got, want string) bool {
	k.Helper()
	n, err := strconv.ParseInt(got, 10, 64)
	switch want {
	case "<int>":
		return err == nil && n > 0
	case "<int or 0>":
		return err == nil && n >= 0
	case "<epoch seconds>":
		now := k.Clock.Now().Unix()
		return err == nil && now <= n && n <= now+3600
	case "<bearer, no error attribute>":
		return strings.HasPrefix(got, "Bearer ") && !strings.Contains(got, "error")
	case "<bearer error=invalid_token>":
		return strings.HasPrefix(got, "Bearer ") && strings.Contains(got, `error="invalid_token"`)
	}
	if strings.HasPrefix(want, "<") {
		k.Fatalf("unknown placeholder %s", want)
	}
	return got == want
}

// differ says where two JSON values differ, or nothing.
func (k *Kit) differ(path string, got, want any) string {
	k.Helper()
	switch want := want.(type) {
	case map[string]any:
		return k.differObject(path, got, want)
	case []any:
		all, ok := got.([]any)
		if !ok || len(all) != len(want) {
			return path + " differs"
		}
		for i := range want {
			if where := k.differ(fmt.Sprintf("%s[%d]", path, i), all[i], want[i]); where != "" {
				return where
			}
		}
		return ""
	case string:
		if strings.HasPrefix(want, "<") {
			if k.placeholderIs(got, want) {
				return ""
			}
			return path + " is not " + want
		}
	}
	if got != want {
		return path + " differs"
	}
	return ""
}

func (k *Kit) differObject(path string, got any, want map[string]any) string {
	k.Helper()
	members, ok := got.(map[string]any)
	if !ok {
		return path + " is not an object"
	}
	for name := range members {
		if _, wanted := want[name]; !wanted {
			return path + "." + name + " is too much"
		}
	}
	for name := range want {
		value, there := members[name]
		if !there {
			return path + "." + name + " is missing"
		}
		if where := k.differ(path+"."+name, value, want[name]); where != "" {
			return where
		}
	}
	return ""
}

// The forms of tokens.
var (
	CompactJWS = regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]+$`)
	SKHex32    = regexp.MustCompile(`^sk-[0-9a-f]{32}$`)
)

func (k *Kit) placeholderIs(got any, want string) bool {
	k.Helper()
	text, _ := got.(string)
	number, _ := got.(float64)
	whole := number == float64(int64(number))
	switch want {
	case "<string>":
		return text != ""
	case "<jwt>":
		return CompactJWS.MatchString(text)
	case "<sk-hex32>":
		return SKHex32.MatchString(text)
	case "<int>":
		return number > 0 && whole
	case "<now+3600>":
		return whole && int64(number) == k.Clock.Now().Unix()+3600
	}
	k.Fatalf("unknown placeholder %s", want)
	return false
}
