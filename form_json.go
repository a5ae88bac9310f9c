package tokenbooth

import (
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tokenbooth/tokenbooth/response"
)

// looksLikeJSON tells an object from a form where both come under the label of
// JSON. No parameter of a form begins with a brace.
func looksLikeJSON(body string) bool {
	return strings.HasPrefix(strings.TrimLeft(body, " \t\r\n"), "{")
}

// readJSON reads one object of strings, token by token: json.Unmarshal would
// take the last of several members and not care for their case, so that two
// readers of one body could see two clients.
func (p *formParser) readJSON(f *form, body string) *response.Failure {
	malformed := response.BodyMalformed
	if !utf8.ValidString(body) {
		return response.Fail(malformed)
	}
	dec := json.NewDecoder(strings.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return response.Fail(malformed)
	}
	names := make([]string, 0, 8)
	for dec.More() {
		name, value, ok := nextMember(dec)
		if !ok {
			return response.Fail(malformed)
		}
		if len(names) == maxFormParams {
			return response.Fail(response.TooManyParameters)
		}
		if fail := p.checkMember(names, name); fail != nil {
			return fail
		}
		names = append(names, name)
		if fail := p.add(f, name, value); fail != nil {
			return fail
		}
	}
	if _, err := dec.Token(); err != nil {
		return response.Fail(malformed)
	}
	if _, err := dec.Token(); err != io.EOF {
		return response.Fail(malformed)
	}
	return nil
}

// nextMember stops at the first token that is not a string, so that depth costs
// nothing.
func nextMember(dec *json.Decoder) (name, value string, ok bool) {
	if name, ok = nextString(dec); !ok {
		return "", "", false
	}
	value, ok = nextString(dec)
	return name, value, ok
}

func nextString(dec *json.Decoder) (s string, ok bool) {
	t, err := dec.Token()
	if err != nil {
		return "", false
	}
	s, ok = t.(string)
	return s, ok
}

// checkMember refuses a name that is there already, and one that differs from
// another, or from a known parameter, in nothing but case.
func (p *formParser) checkMember(names []string, name string) *response.Failure {
	for i := range p.fields {
		if known := p.fields[i].name; known != name && strings.EqualFold(known, name) {
			return response.Fail(response.BodyMalformed)
		}
	}
	for _, other := range names {
		switch {
		case other == name && p.field(name) != nil:
			return failParam(response.ParameterRepeated, name)
		case other == name:
			return response.Fail(response.ParameterRepeated)
		case strings.EqualFold(other, name):
			return response.Fail(response.BodyMalformed)
		}
	}
	return nil
}
