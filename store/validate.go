package store

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxID          = 256
	maxSecrets     = 2
	maxRedirectURI = 2048 // a request with a longer one is refused before it gets to compare
)

// A mistake is one thing wrong with a client.
type mistake struct {
	field string // as in Secrets[0].Hash
	value string // fit to be shown
	mend  string
}

func (m mistake) Error() string { return m.field + ": " + m.value + ": " + m.mend }

type mistakes []mistake

func (ms *mistakes) add(field, value, mend string) {
	*ms = append(*ms, mistake{field, value, mend})
}

func (ms mistakes) join(prefix string) error {
	errs := make([]error, len(ms))
	for i, m := range ms {
		m.field = prefix + m.field
		errs[i] = m
	}
	return errors.Join(errs...)
}

// Validate returns every mistake in the client, joined, or nil. Each names the
// field, its value, and what to do about it; none shows a secret or a hash.
func (c *Client) Validate() error { return c.mistakes().join("") }

func (c *Client) mistakes() (ms mistakes) {
	if c == nil {
		ms.add("Client", "nil", "give a client")
		return ms
	}
	c.checkID(&ms)
	c.checkSecrets(&ms)
	c.checkAuthMethod(&ms)
	c.checkGrants(&ms)
	c.checkScopes(&ms)
	c.checkRedirectURIs(&ms)
	c.checkRate(&ms)
	return ms
}

func (c *Client) checkID(ms *mistakes) {
	switch {
	case c.ID == "":
		ms.add("ID", `""`, "give 1 to 256 bytes")
	case len(c.ID) > maxID:
		ms.add("ID", quote(c.ID), fmt.Sprintf("has %d bytes; shorten it to at most %d", len(c.ID), maxID))
	case !utf8.ValidString(c.ID):
		ms.add("ID", quote(c.ID), "is not UTF-8; encode it so")
	case strings.ContainsFunc(c.ID, unicode.IsControl):
		ms.add("ID", quote(c.ID), "has a control character; remove it")
	}
}

func (c *Client) checkSecrets(ms *mistakes) {
	n := len(c.Secrets)
	switch {
	case c.Public && n > 0:
		ms.add("Secrets", count(n), "a public client keeps none; remove them or make it confidential (RFC 6749 §2.1)")
	case !c.Public && n == 0:
		ms.add("Secrets", "none", "give a confidential client one, as from NewSecret, or make it public")
	case n > maxSecrets:
		ms.add("Secrets", count(n), "keep at most two, the old one and the new one")
	}
	for i := range c.Secrets {
		if mend := hashMend(c.Secrets[i].Hash); mend != "" {
			ms.add(index("Secrets", i)+".Hash", redacted, mend)
		}
	}
}

var emptyHash = HashSecret("").Hash

// hashMend says what is wrong with a hash, or nothing.
func hashMend(hash string) string {
	const mend = "; make it with HashSecret or NewSecret"
	digest, ok := strings.CutPrefix(hash, hashPrefix)
	switch {
	case hash == "":
		return "is empty and matches nothing" + mend
	case hash == emptyHash:
		return "is the hash of an empty secret, which is never accepted" + mend
	case strings.HasPrefix(hash, "$"):
		return "" // for a SecretVerifier to know
	case strings.HasPrefix(hash, pbkdf2Prefix):
		if _, _, _, ok := parsePBKDF2(hash); !ok {
			return "is not pbkdf2-sha256$rounds$salt$sum; make it with HashHumanSecret"
		}
	case !ok || !isDigest(digest):
		return "is not sha256$ and 43 characters of base64url" + mend
	}
	return ""
}

func isDigest(s string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	// The decoder skips line breaks, which the comparison does not.
	return err == nil && len(b) == 32 && len(s) == digestLen
}

func (c *Client) checkAuthMethod(ms *mistakes) {
	v := quote(c.AuthMethod)
	switch c.AuthMethod {
	case "":
	case AuthNone:
		if !c.Public {
			ms.add("AuthMethod", v, "is for public clients; make it public, or name client_secret_basic or client_secret_post")
		}
	case AuthBasic, AuthPost:
		if c.Public {
			ms.add("AuthMethod", v, "needs a secret, which a public client has not; name none, or make it confidential")
		}
	default:
		ms.add("AuthMethod", v, "is unknown; name client_secret_basic, client_secret_post or none, or leave it empty")
	}
}

func (c *Client) checkGrants(ms *mistakes) {
	for i, g := range c.Grants {
		switch first := slices.Index(c.Grants, g); {
		case g == "":
			ms.add(index("Grants", i), `""`, "name a grant type or remove it")
		case first < i:
			ms.add(index("Grants", i), quote(g), "is given twice; remove one")
		}
	}
}

func (c *Client) checkScopes(ms *mistakes) {
	for i, s := range c.Scopes {
		if !isScopeToken(s) {
			ms.add(index("Scopes", i), quote(s),
				`give one or more of the printable ASCII characters except space, " and \ (RFC 6749 §3.3)`)
		}
	}
}

// isScopeToken tells 1*( %x21 / %x23-5B / %x5D-7E ).
func isScopeToken(s string) bool {
	for i := range len(s) {
		if b := s[i]; b <= ' ' || b > '~' || b == '"' || b == '\\' {
			return false
		}
	}
	return s != ""
}

func (c *Client) checkRedirectURIs(ms *mistakes) {
	for i, uri := range c.RedirectURIs {
		if mend := redirectMend(uri); mend != "" {
			ms.add(index("RedirectURIs", i), quote(uri), mend)
		}
	}
}

// redirectMend says what is wrong with a redirection endpoint (RFC 6749
// §3.1.2), or nothing. Schemes of native apps (RFC 8252 §7.1) are well.
func redirectMend(uri string) string {
	if len(uri) > maxRedirectURI {
		return fmt.Sprintf("has %d bytes; shorten it to at most %d", len(uri), maxRedirectURI)
	}
	if strings.Contains(uri, "#") {
		return "has a fragment; remove it (RFC 6749 §3.1.2)"
	}
	u, err := url.Parse(uri)
	if err != nil || strings.Contains(uri, " ") || !u.IsAbs() {
		return "give an absolute URL, as in https://app.example.com/callback (RFC 6749 §3.1.2)"
	}
	switch u.Scheme {
	case "http", "https":
		if u.Hostname() == "" {
			return "has no host; give one"
		}
	case "javascript", "data", "vbscript":
		return "would run what it is given; use another scheme"
	}
	return ""
}

func (c *Client) checkRate(ms *mistakes) {
	if c.Rate == nil {
		return
	}
	if r := c.Rate.PerSecond; math.IsNaN(r) || math.IsInf(r, 0) || r <= 0 {
		ms.add("Rate.PerSecond", strconv.FormatFloat(r, 'g', -1, 64), "give a finite number above 0")
	}
	if b := c.Rate.Burst; b < 1 {
		ms.add("Rate.Burst", strconv.Itoa(b), "give at least 1")
	}
}

func index(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

func count(n int) string { return strconv.Itoa(n) + " given" }

// quote keeps a message short, whatever the value.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
