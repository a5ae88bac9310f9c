package tokenbooth

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/tokenbooth/tokenbooth/response"
)

// maxBasic is the length of the longest base64 whose decoded reading may still
// be within the limits of an id and a secret, every byte of them escaped.
const maxBasic = (3*maxClientID + 1 + 3*maxClientSecret + 2) / 3 * 4

// basicCredentials are those of an Authorization header, in two readings: as
// RFC 6749 §2.3.1 wants them, form-encoded before they were joined, and raw, as
// many clients send them (RFC 7617). Where only the form-decoded reading can be
// meant, the raw one equals it.
type basicCredentials struct {
	id, secret       string // form-decoded
	decoded          bool   // whether there is a form-decoded reading
	rawID, rawSecret string
}

// authorize reads the Authorization lines of the request and holds them against
// the credentials in the body: a request uses one way and names one client
// (RFC 6749 §2.3). Whatever is there and cannot be used is a failure, never an
// anonymous request.
func (f *form) authorize(lines []string) *response.Failure {
	if len(lines) == 0 {
		return nil
	}
	if len(lines) > 1 {
		return response.Fail(response.AuthorizationInvalid)
	}
	b, fail := parseBasic(lines[0])
	if fail != nil {
		return fail
	}
	if f.get("client_secret") != "" {
		return response.Fail(response.CredentialsTwice)
	}
	if id := f.get("client_id"); id != "" && !b.narrow(id) {
		return response.Fail(response.CredentialsTwice)
	}
	f.basic = b
	return nil
}

// parseBasic reads one line of scheme Basic.
func parseBasic(line string) (*basicCredentials, *response.Failure) {
	scheme, rest, _ := strings.Cut(line, " ")
	rest = strings.Trim(rest, " ")
	if !strings.EqualFold(scheme, "Basic") || len(rest) > maxBasic {
		return nil, response.Fail(response.AuthorizationInvalid)
	}
	var room [maxBasic / 4 * 3]byte
	n, err := base64.StdEncoding.Decode(room[:], []byte(rest))
	id, secret, found := strings.Cut(string(room[:n]), ":")
	if err != nil || !found || id == "" {
		return nil, response.Fail(response.AuthorizationInvalid)
	}
	b := &basicCredentials{rawID: id, rawSecret: secret}
	b.decode()
	return b, b.limit()
}

func (b *basicCredentials) decode() {
	id, err := url.QueryUnescape(b.rawID)
	if err != nil {
		return
	}
	secret, err := url.QueryUnescape(b.rawSecret)
	if err != nil {
		return
	}
	b.id, b.secret, b.decoded = id, secret, true
}

// limit keeps the readings that are short enough. Decoding never lengthens, so
// that the raw reading is the one to go.
func (b *basicCredentials) limit() *response.Failure {
	param := overlongBasic(b.rawID, b.rawSecret)
	if param == "" {
		return nil
	}
	if b.decoded {
		if param = overlongBasic(b.id, b.secret); param == "" {
			b.dropRaw()
			return nil
		}
	}
	return failParam(response.ParameterInvalid, param)
}

func overlongBasic(id, secret string) (param string) {
	switch {
	case len(id) > maxClientID:
		return "client_id"
	case len(secret) > maxClientSecret:
		return "client_secret"
	}
	return ""
}

// narrow keeps the readings whose id is the one given, and reports whether there
// is any.
func (b *basicCredentials) narrow(id string) bool {
	asDecoded, asRaw := b.decoded && b.id == id, b.rawID == id
	switch {
	case asDecoded && !asRaw:
		b.dropRaw()
	case asRaw && !asDecoded:
		b.id, b.secret, b.decoded = "", "", false
	}
	return asDecoded || asRaw
}

func (b *basicCredentials) dropRaw() { b.rawID, b.rawSecret = b.id, b.secret }
