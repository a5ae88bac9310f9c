package booth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	var raw json.RawMessage
	err := json.Unmarshal(data, &raw)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("line %d: %w", 1+bytes.Count(data[:syntax.Offset], []byte("\n")), err)
	}
	return err
}

// An object is a JSON object whose members are taken one by one. Unlike a struct
// of encoding/json it accepts no other case, nothing twice and no null.
type object struct {
	path     string
	members  map[string]json.RawMessage // nil where it was no object
	mistakes []error
}

// readObject reads JSON that is known to be well-formed.
func readObject(path string, data []byte) *object {
	o := &object{path: path}
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		o.mistake("", "want an object")
		return o
	}
	o.members = map[string]json.RawMessage{}
	for d.More() {
		t, _ := d.Token()
		name, _ := t.(string)
		var value json.RawMessage
		_ = d.Decode(&value)
		if _, twice := o.members[name]; twice {
			o.mistake(name, "given twice")
		}
		o.members[name] = value
	}
	return o
}

func (o *object) mistake(member, text string) {
	place := strings.Trim(o.path+"."+member, ".")
	if place == "" {
		place = "fixtures"
	}
	o.mistakes = append(o.mistakes, fmt.Errorf("%s: %s", place, text))
}

// end refuses the members that nobody took.
func (o *object) end() {
	for _, name := range slices.Sorted(maps.Keys(o.members)) {
		o.mistake("", fmt.Sprintf("unknown member %q", name))
	}
}

// need is take for what must be there.
func need[T any](o *object, name string) T {
	if _, ok := o.members[name]; !ok && o.members != nil {
		o.mistake(name, "missing")
	}
	return take[T](o, name)
}

func take[T any](o *object, name string) (v T) {
	raw, ok := o.members[name]
	delete(o.members, name)
	if ok {
		v = decode[T](o, name, raw)
	}
	return v
}

// takeAll returns an empty slice, not nil, where there is no such member: for a
// user's scopes nil would mean all.
func takeAll[T any](o *object, name string) []T {
	all := []T{}
	for i, raw := range take[[]json.RawMessage](o, name) {
		all = append(all, decode[T](o, fmt.Sprintf("%s[%d]", name, i), raw))
	}
	return all
}

func decode[T any](o *object, name string, raw json.RawMessage) T {
	var v, none T
	if err := json.Unmarshal(raw, &v); err != nil || string(raw) == "null" {
		o.mistake(name, "want "+kindOf(v))
		return none
	}
	return v
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer of 64 bits"
	}
	return "an array"
}
