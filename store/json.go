package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ParseClients reads a JSON array of clients:
//
//	[{
//	  "id": "acme",
//	  "secret": "…",
//	  "number": 1, "name": "Acme", "description": "", "roles": [1, 2],
//	  "grants": ["client_credentials"],
//	  "scopes": ["customers:read"],
//	  "redirect_uris": ["https://acme.example/callback"],
//	  "auth_method": "client_secret_basic",
//	  "rate": {"per_second": 5, "burst": 20},
//	  "audiences": ["https://api.example"], "without_pkce": false,
//	  "public": false, "disabled": false, "long_lived": false
//	}]
//
// A client needs an id and, unless it is public, a secret; all else may be left
// out. Instead of "secret" there may be "secrets", each {"secret": "…"} or
// {"hash": "sha256$…"} with or without "expires" (RFC 3339). Plain secrets are
// hashed by [HashSecret], whose warning holds for them.
//
// Unknown members, names in another case, members given twice, null, values of a
// wrong type and anything after the array are errors, as is whatever
// [Client.Validate] refuses and an id given twice. All of them are reported at
// once, each by its place (clients[2].rate.burst); JSON that does not parse is
// reported alone, by line and column. No error shows the value of a secret or a
// hash.
func ParseClients(data []byte) ([]*Client, error) {
	if err := checkSyntax(data); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	r := &reader{dec: json.NewDecoder(bytes.NewReader(data)), ids: make(map[string]int)}
	r.dec.UseNumber()
	clients := array(r, "clients", (*reader).client)
	if len(r.wrongs) > 0 {
		return nil, fmt.Errorf("store: %w", r.wrongs.join(""))
	}
	return clients, nil
}

// checkSyntax comes first because a Decoder stops at the end of the first
// value, and replaces what is not UTF-8.
func checkSyntax(data []byte) error {
	if i := invalidUTF8(data); i >= 0 {
		return fmt.Errorf("clients: %s: is not UTF-8; encode it so", lineColumn(data, i))
	}
	var raw json.RawMessage
	err := json.Unmarshal(data, &raw)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("clients: %s: is not JSON; give one array of clients", lineColumn(data, int(syntax.Offset)-1))
	}
	return err
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

func lineColumn(data []byte, i int) string {
	before := data[:max(0, min(i, len(data)))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("line %d, column %d", line, column)
}

// A reader walks over tokens of JSON that is known to be well-formed. Its
// methods read exactly one value each.
type reader struct {
	dec    *json.Decoder
	wrongs mistakes
	ids    map[string]int // the first client of each id
	n      int            // the clients so far
}

func (r *reader) fail(path, value, mend string) { r.wrongs.add(path, value, mend) }

func (r *reader) token() json.Token {
	t, err := r.dec.Token()
	if err != nil {
		panic(err) // checkSyntax let it through
	}
	return t
}

// wrong reports a value of a wrong type by its type alone, since it may be a
// secret, and reads to its end.
func (r *reader) wrong(path string, t json.Token, want string) {
	r.fail(path, kind(t), "give "+want)
	r.finish(t)
}

func (r *reader) skip() { r.finish(r.token()) }

func (r *reader) finish(t json.Token) {
	for depth := nesting(t); depth > 0; {
		depth += nesting(r.token())
	}
}

func nesting(t json.Token) int {
	switch t {
	case json.Delim('{'), json.Delim('['):
		return 1
	case json.Delim('}'), json.Delim(']'):
		return -1
	}
	return 0
}

func kind(t json.Token) string {
	switch t := t.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case json.Delim:
		if t == '{' {
			return "an object"
		}
		return "an array"
	}
	return "a number"
}

func (r *reader) text(path string) string {
	t := r.token()
	s, ok := t.(string)
	if !ok {
		r.wrong(path, t, "a string")
	}
	return s
}

func (r *reader) flag(path string) bool {
	t := r.token()
	b, ok := t.(bool)
	if !ok {
		r.wrong(path, t, "true or false")
	}
	return b
}

func (r *reader) integer(path string) int64 {
	const want = "an integer of 64 bits"
	t := r.token()
	num, ok := t.(json.Number)
	if !ok {
		r.wrong(path, t, want)
		return 0
	}
	n, err := strconv.ParseInt(num.String(), 10, 64)
	if err != nil {
		r.fail(path, quote(num.String()), "give "+want)
	}
	return n
}

func (r *reader) small(path string) int {
	n := r.integer(path)
	if int64(int(n)) != n {
		r.fail(path, strconv.FormatInt(n, 10), "give a smaller number")
	}
	return int(n)
}

func (r *reader) float(path string) float64 {
	t := r.token()
	num, ok := t.(json.Number)
	if !ok {
		r.wrong(path, t, "a number")
		return 0
	}
	f, err := num.Float64()
	if err != nil {
		r.fail(path, quote(num.String()), "give a number that a float64 can hold")
	}
	return f
}

func (r *reader) moment(path string) time.Time {
	before := len(r.wrongs)
	s := r.text(path)
	t, err := time.Parse(time.RFC3339, s)
	if len(r.wrongs) == before && (err != nil || t.IsZero()) {
		// Not shown: it stands beside a secret and may have been mixed up with it.
		r.fail(path, redacted, "give a time as in 2030-01-31T00:00:00Z (RFC 3339), or leave it out for never")
	}
	return t
}

func (r *reader) texts(path string) []string { return array(r, path, (*reader).text) }

func (r *reader) integers(path string) []int64 { return array(r, path, (*reader).integer) }

func array[T any](r *reader, path string, read func(*reader, string) T) []T {
	if t := r.token(); t != json.Delim('[') {
		r.wrong(path, t, "an array")
		return nil
	}
	all := []T{}
	for r.dec.More() {
		all = append(all, read(r, index(path, len(all))))
	}
	r.token()
	return all
}

// members says how each member of an object is read into a T.
type members[T any] map[string]func(r *reader, into *T, path string)

// object compares names byte by byte, unlike encoding/json, which takes any
// case and the last of several. It reports whether there was an object at all.
func object[T any](r *reader, path string, known members[T]) (into T, ok bool) {
	if t := r.token(); t != json.Delim('{') {
		r.wrong(path, t, "an object")
		return into, false
	}
	seen := make(map[string]bool)
	for r.dec.More() {
		name, _ := r.token().(string)
		read, ok := known[name]
		switch {
		case !ok:
			r.fail(path, "unknown member "+quote(name),
				"remove it; the members are "+strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			r.skip()
		case seen[name]:
			r.fail(path+"."+name, "given twice", "remove one")
			r.skip()
		default:
			seen[name] = true
			read(r, &into, path+"."+name)
		}
	}
	r.token()
	return into, true
}

// A clientObject remembers which of two exclusive members it saw.
type clientObject struct {
	Client
	secret, secrets bool
}

var clientMembers = members[clientObject]{
	"id":            func(r *reader, c *clientObject, path string) { c.ID = r.text(path) },
	"secret":        readSecret,
	"secrets":       readSecrets,
	"public":        func(r *reader, c *clientObject, path string) { c.Public = r.flag(path) },
	"disabled":      func(r *reader, c *clientObject, path string) { c.Disabled = r.flag(path) },
	"long_lived":    func(r *reader, c *clientObject, path string) { c.LongLived = r.flag(path) },
	"number":        func(r *reader, c *clientObject, path string) { c.Number = r.integer(path) },
	"name":          func(r *reader, c *clientObject, path string) { c.Name = r.text(path) },
	"description":   func(r *reader, c *clientObject, path string) { c.Description = r.text(path) },
	"roles":         func(r *reader, c *clientObject, path string) { c.Roles = r.integers(path) },
	"grants":        func(r *reader, c *clientObject, path string) { c.Grants = r.texts(path) },
	"scopes":        func(r *reader, c *clientObject, path string) { c.Scopes = r.texts(path) },
	"redirect_uris": func(r *reader, c *clientObject, path string) { c.RedirectURIs = r.texts(path) },
	"audiences":     func(r *reader, c *clientObject, path string) { c.Audiences = r.texts(path) },
	"without_pkce":  func(r *reader, c *clientObject, path string) { c.WithoutPKCE = r.flag(path) },
	"auth_method":   func(r *reader, c *clientObject, path string) { c.AuthMethod = r.text(path) },
	"rate": func(r *reader, c *clientObject, path string) {
		rate, _ := object(r, path, rateMembers)
		c.Rate = &rate
	},
}

var rateMembers = members[Rate]{
	"per_second": func(r *reader, rate *Rate, path string) { rate.PerSecond = r.float(path) },
	"burst":      func(r *reader, rate *Rate, path string) { rate.Burst = r.small(path) },
}

// A secretObject remembers which of two exclusive members it saw.
type secretObject struct {
	Secret
	secret, hash bool
}

var secretMembers = members[secretObject]{
	"secret": func(r *reader, s *secretObject, path string) {
		s.secret = true
		s.Hash = r.plain(path)
	},
	"hash": func(r *reader, s *secretObject, path string) {
		s.hash = true
		s.Hash = r.text(path)
	},
	"expires": func(r *reader, s *secretObject, path string) { s.Expires = r.moment(path) },
}

func readSecret(r *reader, c *clientObject, path string) {
	c.secret = true
	c.Secrets = []Secret{{Hash: r.plain(path)}}
	if c.secrets {
		r.fail(path, "given beside secrets", "remove one")
	}
}

func readSecrets(r *reader, c *clientObject, path string) {
	c.secrets = true
	c.Secrets = array(r, path, (*reader).secret)
	if c.secret {
		r.fail(path, "given beside secret", "remove one")
	}
}

func (r *reader) secret(path string) Secret {
	before := len(r.wrongs)
	s, _ := object(r, path, secretMembers)
	if len(r.wrongs) == before && s.secret == s.hash {
		r.fail(path, redacted, "give either secret or hash")
	}
	return s.Secret
}

// plain reads a secret and returns its hash. It refuses what no request could
// present, above all the line break at the end of a file.
func (r *reader) plain(path string) string {
	before := len(r.wrongs)
	s := r.text(path)
	switch {
	case len(r.wrongs) > before:
	case s == "":
		r.fail(path, `""`, "give a secret, or make the client public")
	case len(s) > maxSecret:
		r.fail(path, redacted, fmt.Sprintf("has more than %d bytes; shorten it", maxSecret))
	case strings.ContainsFunc(s, unicode.IsControl):
		r.fail(path, redacted, "has a control character, as a line break is; remove it")
	default:
		return HashSecret(s).Hash
	}
	return ""
}

// client reads and validates one client. A field that could not be read is not
// validated as well.
func (r *reader) client(path string) *Client {
	before := len(r.wrongs)
	c, ok := object(r, path, clientMembers)
	if ok {
		r.validate(&c.Client, path, before)
	}
	r.n++
	return &c.Client
}

// validate leaves out the members that were wrong already, which are those of
// the mistakes since before.
func (r *reader) validate(c *Client, path string, before int) {
	unread := make(map[string]bool)
	for _, m := range r.wrongs[before:] {
		unread[memberOf(m.field, path)] = true
	}
	ms := c.mistakes()
	if c.ID != "" {
		ms.checkUnique(r.ids, c.ID, r.n)
	}
	for _, m := range ms {
		m.field = path + "." + memberNames.Replace(m.field)
		if !unread[memberOf(m.field, path)] {
			r.wrongs = append(r.wrongs, m)
		}
	}
}

// memberOf returns the member of the client at path in which field lies.
func memberOf(field, path string) string {
	name := strings.TrimPrefix(strings.TrimPrefix(field, path), ".")
	if i := strings.IndexAny(name, ".["); i >= 0 {
		name = name[:i]
	}
	if name == "secret" {
		return "secrets"
	}
	return name
}

// memberNames turns fields of a Client into members.
var memberNames = strings.NewReplacer(
	"ID", "id",
	"Secrets", "secrets", ".Hash", ".hash",
	"Audiences", "audiences",
	"AuthMethod", "auth_method",
	"Grants", "grants",
	"Scopes", "scopes",
	"RedirectURIs", "redirect_uris",
	"Rate", "rate", ".PerSecond", ".per_second", ".Burst", ".burst",
)
