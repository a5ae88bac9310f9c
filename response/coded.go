package response

import (
	"net/http"
	"strconv"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/jsontext"
)

// Coded is the envelope of an API that numbers its refusals: success under
// "data", refusals under "error" with a code of six digits.
//
//	{"data":{"access_token":"sk-418e","token_type":"Bearer","expires_in":3600}}
//	{"error":{"code":"400013","code_reason":"invalid_request","message":"Missing or invalid parameters"}}
//
// It deviates from RFC 6749 in this: grant_type may be missing and is then
// client_credentials; the members of §5.1 stand under "data", without
// refresh_token, id_token and scope; error and error_description are
// code_reason and message, beside the code; a disabled or long-lived client is
// 403 unauthorized_client. At the guard an unusable token has the code
// invalid_token, and the rate limit is told in X-RateLimit-Limit, -Remaining
// and -Reset. What its document leaves out has the status followed by 000 as
// the code and the OAuth code as the reason.
//
// The zero value is ready to use, also concurrently.
type Coded struct{}

// Conventions returns the default grant and the rate headers.
func (Coded) Conventions() Conventions {
	return Conventions{DefaultGrant: "client_credentials", RateHeader: codedRate}
}

// The reset is rounded up, so that who waits for it is not refused once more.
func codedRate(h http.Header, limit, remaining int, reset time.Time) {
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(remaining))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Add(time.Second-1).Unix(), 10))
}

// Token formats t under "data".
func (Coded) Token(t *Token) (Reply, error) {
	b := appendAccessToken(newBody(t), `{"data":{"access_token":`, t)
	b = jsontext.AppendText(b, `,"token_type":`, t.Type)
	b = jsontext.AppendNumber(b, `,"expires_in":`, int64(t.ExpiresIn))
	return Reply{Status: http.StatusOK, Body: append(b, "}}"...)}, nil
}

type codedError struct {
	Error codedDetail `json:"error"`
}

type codedDetail struct {
	Code    string `json:"code"`
	Reason  string `json:"code_reason"`
	Message string `json:"message"`
	Details string `json:"details,omitempty"`
}

// Failure formats f with the documented code, else with one made of the status.
func (Coded) Failure(f *Failure) (Reply, error) {
	status, d := codedChoose(f)
	return reply(status, &codedError{d})
}

func codedChoose(f *Failure) (int, codedDetail) {
	switch f.Reason {
	case Internal:
		return http.StatusInternalServerError, codedDetail{Code: "500999", Reason: "API_ERROR", Message: "Api Error, please contact customer service"}
	case Throttled:
		return http.StatusTooManyRequests, codedDetail{Code: "rate_limit_exceeded", Reason: "rate_limit_exceeded", Message: f.Message}
	case ClientDisabled, ClientLongLived:
		return http.StatusForbidden, codedDetail{Code: "403000", Reason: UnauthorizedClient, Message: f.Message}
	}
	switch {
	case f.Place == Guard && f.Status == http.StatusUnauthorized:
		return f.Status, codedDetail{InvalidToken, InvalidToken, f.Message, "Please request a new access token"}
	case f.Place != Guard && f.Status == http.StatusBadRequest && f.Code == InvalidRequest:
		return f.Status, codedDetail{Code: "400013", Reason: InvalidRequest, Message: "Missing or invalid parameters"}
	case f.Place != Guard && f.Code == InvalidClient:
		return f.Status, codedDetail{Code: "401021", Reason: InvalidClient, Message: "Invalid client_id, client_secret, or session_key"}
	}
	return f.Status, codedDetail{Code: strconv.Itoa(f.Status) + "000", Reason: f.Code, Message: f.Message}
}
