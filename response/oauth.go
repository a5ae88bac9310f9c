package response

import (
	"net/http"

	"github.com/tokenbooth/tokenbooth/internal/jsontext"
)

// OAuth is the envelope of RFC 6749 §5 and RFC 6750 §3: flat members, and an
// error code with a description. It follows an administration API that adds
// nothing to the RFCs but the reading of JSON.
//
//	{"access_token":"2YotnFZ","token_type":"Bearer","expires_in":3600}
//	{"error":"invalid_client","error_description":"Client authentication failed"}
//
// It deviates from the RFCs in this: the endpoint reads a JSON object as well
// as a form, a disabled or long-lived client is told invalid_grant, a guard
// answers with a body, which RFC 6750 leaves open, and 429 and 503 carry the
// code temporarily_unavailable, which RFC 6749 has for authorizations only
// (§4.1.2.1).
//
// The zero value is ready to use, also concurrently.
type OAuth struct{}

// Conventions returns that the endpoint reads JSON.
func (OAuth) Conventions() Conventions { return Conventions{JSON: true} }

// Token formats t as RFC 6749 §5.1 does; what is empty is left out.
func (OAuth) Token(t *Token) (Reply, error) {
	b := appendAccessToken(newBody(t), `{"access_token":`, t)
	b = jsontext.AppendText(b, `,"token_type":`, t.Type)
	b = jsontext.AppendNumber(b, `,"expires_in":`, int64(t.ExpiresIn))
	b = jsontext.AppendOptional(b, `,"refresh_token":`, t.RefreshToken)
	b = jsontext.AppendOptional(b, `,"id_token":`, t.IDToken)
	b = jsontext.AppendOptional(b, `,"scope":`, t.Scope)
	return Reply{Status: http.StatusOK, Body: append(b, '}')}, nil
}

type oauthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// Failure formats f as RFC 6749 §5.2 does, at the guard too.
func (OAuth) Failure(f *Failure) (Reply, error) {
	return reply(f.Status, &oauthError{f.Code, f.Message})
}
