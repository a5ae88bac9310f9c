package response

import (
	"net/http"
	"strconv"

	"github.com/tokenbooth/tokenbooth/internal/jsontext"
)

// Data is the envelope of a commerce API: success under "data", refusals as a
// list of errors that know a title and an HTTP status only.
//
//	{"data":{"access_token":"xa35","token_type":"Bearer","identifier":"implicit","expires_in":3600,"expires":1524486008}}
//	{"errors":[{"title":"Unauthorized","status":"401"}]}
//
// It deviates from RFC 6749 in this: the members of §5.1 stand under "data"
// unless Shape says otherwise, beside the grant as "identifier" and the end of
// the token as "expires" in Unix seconds; there is no refresh_token, id_token
// or scope; a refusal has no error code, and a disabled or long-lived client is
// 401. The status is a string at the endpoint and a number at the guard. A form
// that is labelled JSON is read as the form it is; JSON is not read.
//
// The zero value is the documented shape, ready to use, also concurrently.
type Data struct {
	// Shape is where the members of a token stand; zero is [Documented].
	Shape Shape
}

// A Shape is where [Data] puts the members of a token. Refusals have one shape.
type Shape uint8

// The shapes. Any other value is as Documented.
const (
	Documented Shape = iota // under "data" alone
	Flat                    // at the top, where RFC 6749 has them
	Both                    // at the top and under "data", for clients of either kind
)

// Conventions returns that a form may be labelled JSON.
func (Data) Conventions() Conventions { return Conventions{FormLabelledJSON: true} }

// Token formats t in the shape of d.
func (d Data) Token(t *Token) (Reply, error) {
	b := append(newBody(t), '{')
	switch d.Shape {
	case Flat:
		b = appendData(b, t)
	case Both:
		b = append(appendData(b, t), ',')
		fallthrough
	default:
		b = append(appendData(append(b, `"data":{`...), t), '}')
	}
	return Reply{Status: http.StatusOK, Body: append(b, '}')}, nil
}

func appendData(b []byte, t *Token) []byte {
	b = appendAccessToken(b, `"access_token":`, t)
	b = jsontext.AppendText(b, `,"token_type":`, t.Type)
	b = jsontext.AppendText(b, `,"identifier":`, t.GrantType)
	b = jsontext.AppendNumber(b, `,"expires_in":`, int64(t.ExpiresIn))
	return jsontext.AppendNumber(b, `,"expires":`, t.ExpiresAt.Unix())
}

type dataErrors[E any] struct {
	Errors [1]E `json:"errors"`
}

type dataEndpointError struct {
	Title  string `json:"title"`
	Status string `json:"status"`
	Detail string `json:"detail,omitempty"`
}

type dataGuardError struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
}

// Failure formats f by its status; its code and message are not told.
func (Data) Failure(f *Failure) (Reply, error) {
	status, detail := f.Status, ""
	switch f.Reason {
	case ClientDisabled, ClientLongLived:
		status = http.StatusUnauthorized
	}
	if status == http.StatusInternalServerError {
		detail = "there was a problem processing your request"
	}
	title := http.StatusText(status)
	if f.Place != Guard {
		e := dataEndpointError{title, strconv.Itoa(status), detail}
		return reply(status, dataErrors[dataEndpointError]{[1]dataEndpointError{e}})
	}
	if status == http.StatusUnauthorized {
		title = "Unable to validate access token"
	}
	e := dataGuardError{status, title, detail}
	return reply(status, dataErrors[dataGuardError]{[1]dataGuardError{e}})
}
