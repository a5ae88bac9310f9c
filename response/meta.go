package response

import (
	"net/http"

	"github.com/tokenbooth/tokenbooth/internal/jsontext"
)

// Meta is the envelope of a customer API: success flat, refusals beside the
// pagination that all its answers have.
//
//	{"access_token":"2YotnFZ","expires_in":3600,"scope":"customers:read","token_type":"bearer"}
//	{"meta":{"pagination":{"limit":0,"offset":0,"total_count":0}},"errors":[{"httpcode":403,"message":"Client authentication failed"}]}
//
// It deviates from RFC 6749 and RFC 6750 in this: the token type is written
// "bearer", which §5.1 allows; a refusal has an HTTP status and a message but
// no error code; 403 stands wherever the RFCs have 401, and for a disabled or
// long-lived client.
//
// The zero value is ready to use, also concurrently.
type Meta struct{}

// Token formats t; what is empty is left out.
func (Meta) Token(t *Token) (Reply, error) {
	b := appendAccessToken(newBody(t), `{"access_token":`, t)
	b = jsontext.AppendOptional(b, `,"refresh_token":`, t.RefreshToken)
	b = jsontext.AppendOptional(b, `,"id_token":`, t.IDToken)
	b = jsontext.AppendNumber(b, `,"expires_in":`, int64(t.ExpiresIn))
	b = jsontext.AppendOptional(b, `,"scope":`, t.Scope)
	b = append(b, `,"token_type":"bearer"}`...)
	return Reply{Status: http.StatusOK, Body: b}, nil
}

type metaErrors struct {
	Meta   metaPages    `json:"meta"`
	Errors [1]metaError `json:"errors"`
}

type metaPages struct {
	Pagination struct {
		Limit      int `json:"limit"`
		Offset     int `json:"offset"`
		TotalCount int `json:"total_count"`
	} `json:"pagination"`
}

type metaError struct {
	HTTPCode int    `json:"httpcode"`
	Message  string `json:"message"`
}

// Failure formats f with 403 for every 401.
func (Meta) Failure(f *Failure) (Reply, error) {
	status := f.Status
	switch {
	case f.Reason == ClientDisabled, f.Reason == ClientLongLived, status == http.StatusUnauthorized:
		status = http.StatusForbidden
	}
	return reply(status, &metaErrors{Errors: [1]metaError{{status, f.Message}}})
}

// Conventions has what Meta asks of a code's redemption: a code_challenge.
func (Meta) Conventions() Conventions { return Conventions{ChallengeProves: true} }
