package response

import (
	"net/http"
	"strconv"

	"github.com/tokenbooth/tokenbooth/internal/jsontext"
)

// Content is the envelope of an event hub: every answer has a code of its own
// and a message, and a token comes with its client or user under "content".
//
//	{"code":200000,"message":"Token generated for client acme","content":{"jwt_token":"eyJh","name":"Acme","description":"","client_id":1,"identifier":"acme","roles":[1,2]}}
//	{"code":400001,"message":"Incorrect client secret"}
//
// It deviates from RFC 6749 and RFC 6750 in this: success is 201 and has none of
// the members of §5.1; there is no refresh_token, id_token or scope; a refusal
// has a number in place of an error code; unknown clients and users are told
// from wrong secrets and passwords, by 404, unless HideUnknown; at the guard a
// missing token is 403. JSON is read. What its document leaves out has the
// status times 1000 as the code.
//
// The zero value is ready to use, also concurrently.
type Content struct {
	// HideUnknown answers to an unknown client or user as to a wrong secret or
	// password, byte by byte. The zero value lets anybody find out which exist,
	// as this system documents.
	HideUnknown bool
	// QueryTokens lets the guard take a token from the query parameter
	// access_token (RFC 6750 §2.3). The zero value does not: URLs end up in
	// logs and histories.
	QueryTokens bool
}

// Conventions returns that the endpoint reads JSON and what QueryTokens says.
func (c Content) Conventions() Conventions {
	return Conventions{JSON: true, QueryToken: c.QueryTokens}
}

// Token formats t with its user, or with its client where there is no user.
func (Content) Token(t *Token) (Reply, error) {
	s, kind, whose, number, id := t.Client, "client ", t.Client.ID, `,"client_id":`, `,"identifier":`
	if t.User != nil {
		s, kind, whose, number, id = t.User, "user ", t.User.Username, `,"user_id":`, `,"username":`
	}
	b := jsontext.AppendText(newBody(t), `{"code":200000,"message":`, "Token generated for "+kind+whose)
	b = appendAccessToken(b, `,"content":{"jwt_token":`, t)
	b = jsontext.AppendText(b, `,"name":`, s.Name)
	b = jsontext.AppendText(b, `,"description":`, s.Description)
	b = jsontext.AppendNumber(b, number, s.Number)
	b = jsontext.AppendText(b, id, whose)
	b = appendRoles(append(b, `,"roles":`...), s.Roles)
	return Reply{Status: http.StatusCreated, Body: append(b, "}}"...)}, nil
}

// appendRoles: the document knows a list only, so that none are [].
func appendRoles(b []byte, roles []int64) []byte {
	b = append(b, '[')
	for i, role := range roles {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, role, 10)
	}
	return append(b, ']')
}

type contentError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Failure formats f by its reason.
func (c Content) Failure(f *Failure) (Reply, error) {
	status, e := contentChoose(c.seen(f.Reason), f)
	return reply(status, &e)
}

// seen returns the reason that the caller may learn.
func (c Content) seen(r Reason) Reason {
	switch {
	case c.HideUnknown && r == ClientUnknown:
		return SecretWrong
	case c.HideUnknown && r == UserUnknown:
		return PasswordWrong
	}
	return r
}

func contentChoose(r Reason, f *Failure) (int, contentError) {
	switch r {
	case GrantUnsupported:
		// Spelt so by the documented system.
		return http.StatusBadRequest, contentError{400400, "Unsupported grand type"}
	case ParameterMissing:
		if f.Param != "" {
			return http.StatusBadRequest, contentError{400000, "Invalid body; " + f.Param + " is required"}
		}
	case SecretWrong:
		return http.StatusUnauthorized, contentError{400001, "Incorrect client secret"}
	case ClientUnknown:
		return http.StatusNotFound, contentError{400004, "Client not found"}
	case UserUnknown:
		return http.StatusNotFound, contentError{400004, "User not found"}
	case PasswordWrong, UserLocked:
		return http.StatusUnauthorized, contentError{400001, "Incorrect user password"}
	case ClientLongLived:
		return http.StatusUnauthorized, contentError{400011, "Client is not able to generate tokens, use your long live token"}
	case ClientDisabled:
		return http.StatusUnauthorized, contentError{401000, "Client is disabled"}
	case Internal:
		return http.StatusInternalServerError, contentError{500000, "Not categorized error"}
	case TokenMissing, ScopeLacking, ReadOnly:
		return http.StatusForbidden, contentError{403100, "Subject not authorized"}
	case TokenInvalid, TokenExpired:
		return http.StatusUnauthorized, contentError{400001, "Incorrect token"}
	}
	return f.Status, contentError{f.Status * 1000, f.Message}
}
