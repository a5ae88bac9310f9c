package tokenbooth

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json" // minds case and refuses a member given twice
)

// saidClaims are the claims of a token as somebody wrote them. A time is zero
// where it is not said.
type saidClaims struct {
	issuer, subject, clientID, scope, username, id, family string

	audience                  string
	audiences                 []string // where there is an array
	readOnly                  bool
	issued                    time.Time
	expires                   time.Time
	notBefore                 time.Time
	subjectEpoch, clientEpoch int64
}

func (c *saidClaims) names(audience string) bool {
	return c.audience == audience || slices.Contains(c.audiences, audience)
}

// wireClaims are the claims in JSON.
type wireClaims struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	ClientID  string          `json:"client_id"`
	Scope     string          `json:"scope"`
	Username  string          `json:"username"`
	ReadOnly  bool            `json:"read_only"`
	IssuedAt  *float64        `json:"iat"`
	Expires   *float64        `json:"exp"`
	NotBefore *float64        `json:"nbf"`
	ID        string          `json:"jti"`

	Family       string `json:"fam"`
	SubjectEpoch int64  `json:"sep"`
	ClientEpoch  int64  `json:"cep"`
}

// readClaims reads whatever is JSON.
func readClaims(payload []byte) (c saidClaims, ok bool) {
	var w wireClaims
	if json.Unmarshal(payload, &w) != nil {
		return c, false
	}
	c = saidClaims{
		issuer: w.Issuer, subject: w.Subject, clientID: w.ClientID, scope: w.Scope, username: w.Username,
		id: w.ID, family: w.Family, readOnly: w.ReadOnly, subjectEpoch: w.SubjectEpoch, clientEpoch: w.ClientEpoch,
	}
	if json.Unmarshal(w.Audience, &c.audience) != nil && json.Unmarshal(w.Audience, &c.audiences) != nil {
		return c, false
	}
	for _, date := range []struct {
		to   *time.Time
		from *float64
	}{{&c.issued, w.IssuedAt}, {&c.expires, w.Expires}, {&c.notBefore, w.NotBefore}} {
		if date.from == nil {
			continue
		}
		if *date.to, ok = numericDate(*date.from); !ok {
			return c, false
		}
	}
	return c, true
}

const maxDate = 1 << 40 // seconds, which is far from any overflow

func numericDate(n float64) (time.Time, bool) {
	if math.IsNaN(n) || n < 0 || n > maxDate {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(n)
	return time.Unix(int64(whole), int64(fraction*1e9)), true
}

// readPlainClaims reads claims as most issuers write them, this one too: known
// members without spaces, and ASCII without escapes. It takes a tenth of the time
// of readClaims, and says no to whatever that would have to decide.
func readPlainClaims(payload string) (c saidClaims, ok bool) {
	var seen uint32
	rest, ok := strings.CutPrefix(payload, "{")
	for ok {
		var name string
		if name, rest, ok = plainString(rest); !ok {
			break
		}
		if rest, ok = strings.CutPrefix(rest, ":"); !ok {
			break
		}
		var bit uint32
		bit, rest, ok = c.readMember(name, rest)
		if !ok || seen&bit != 0 {
			return c, false
		}
		seen |= bit
		if rest == "}" {
			return c, true
		}
		rest, ok = strings.CutPrefix(rest, ",")
	}
	return c, false
}

// readMember returns a bit for each name.
func (c *saidClaims) readMember(name, from string) (bit uint32, rest string, ok bool) {
	text := func(n int, to *string) {
		bit = 1 << n
		*to, rest, ok = plainString(from)
	}
	number := func(n int, to *int64) {
		bit = 1 << n
		*to, rest, ok = plainNumber(from)
	}
	date := func(n int, to *time.Time) {
		var seconds int64
		number(n, &seconds)
		*to, ok = time.Unix(seconds, 0), ok && seconds <= maxDate
	}
	switch name {
	case "iss":
		text(0, &c.issuer)
	case "sub":
		text(1, &c.subject)
	case "aud":
		text(2, &c.audience)
	case "client_id":
		text(3, &c.clientID)
	case "scope":
		text(4, &c.scope)
	case "username":
		text(5, &c.username)
	case "jti":
		text(6, &c.id)
	case "fam":
		text(7, &c.family)
	case "iat":
		date(8, &c.issued)
	case "exp":
		date(9, &c.expires)
	case "nbf":
		date(10, &c.notBefore)
	case "sep":
		number(11, &c.subjectEpoch)
	case "cep":
		number(12, &c.clientEpoch)
	case "read_only":
		bit, c.readOnly = 1<<13, true
		rest, ok = strings.CutPrefix(from, "true")
	}
	return bit, rest, ok
}

func plainString(from string) (s, rest string, ok bool) {
	if from == "" || from[0] != '"' {
		return "", "", false
	}
	from = from[1:]
	for i := range len(from) {
		switch c := from[i]; {
		case c == '"':
			return from[:i], from[i+1:], true
		case c < 0x20 || c >= 0x80 || c == '\\':
			return "", "", false
		}
	}
	return "", "", false
}

// plainNumber reads a whole number that has no other form.
func plainNumber(from string) (n int64, rest string, ok bool) {
	i := 0
	for ; i < len(from) && i < 16 && from[i] >= '0' && from[i] <= '9'; i++ {
		n = n*10 + int64(from[i]-'0')
	}
	if i == 0 || i == 16 || i > 1 && from[0] == '0' {
		return 0, "", false
	}
	return n, from[i:], true
}
