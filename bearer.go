package tokenbooth

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/tokenbooth/tokenbooth/response"
)

// bearerToken returns the access token of a request (RFC 6750 §2.1, and §2.3
// where query is set), whatever it is made of: what is no token68 (RFC 9110
// §11.2) no codec takes. Credentials of another scheme are none.
func bearerToken(r *http.Request, query bool) (string, error) {
	lines := r.Header["Authorization"]
	if len(lines) > 1 {
		return "", response.Fail(response.AuthorizationInvalid)
	}
	header, bearer := "", false
	if len(lines) == 1 {
		header, bearer = cutBearer(lines[0])
	}
	if query {
		if token, has, err := queryToken(r); err != nil || has {
			if bearer {
				err = response.Fail(response.CredentialsTwice)
			}
			return token, err
		}
	}
	if !bearer {
		return "", response.Fail(response.TokenMissing)
	}
	return header, nil
}

func cutBearer(line string) (token string, ok bool) {
	const scheme = "bearer"
	if len(line) < len(scheme) || !strings.EqualFold(line[:len(scheme)], scheme) {
		return "", false
	}
	rest := line[len(scheme):]
	if rest == "" {
		return "", true
	}
	token = strings.TrimLeft(rest, " ")
	return token, len(token) < len(rest)
}

// queryToken reads access_token from the URL. Given twice, or in a query that
// does not parse, it is refused.
func queryToken(r *http.Request) (token string, has bool, err error) {
	if r.URL.RawQuery == "" {
		return "", false, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	values := query["access_token"]
	switch {
	case err != nil:
		return "", true, response.Fail(response.CredentialsTwice)
	case len(values) == 0:
		return "", false, nil
	case len(values) > 1:
		return "", true, response.Fail(response.CredentialsTwice)
	}
	return values[0], true, nil
}

// isToken68 is RFC 9110 §11.2.
func isToken68(s string) bool {
	body := strings.TrimRight(s, "=")
	if body == "" {
		return false
	}
	for _, c := range []byte(body) {
		if !isAlphanumeric(c) && strings.IndexByte("-._~+/", c) < 0 {
			return false
		}
	}
	return true
}
