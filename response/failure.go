package response

import (
	"fmt"
	"net/http"
	"time"
)

// The error codes of RFC 6749 §5.2, RFC 6750 §3.1 and, for what those leave
// out, RFC 6749 §4.1.2.1.
const (
	InvalidRequest          = "invalid_request"
	InvalidClient           = "invalid_client"
	InvalidGrant            = "invalid_grant"
	UnauthorizedClient      = "unauthorized_client"
	UnsupportedGrantType    = "unsupported_grant_type"
	InvalidScope            = "invalid_scope"
	UnsupportedResponseType = "unsupported_response_type"
	InvalidToken            = "invalid_token"
	InsufficientScope       = "insufficient_scope"
	ServerError             = "server_error"
	TemporarilyUnavailable  = "temporarily_unavailable"
)

// A Place is where a request was refused.
type Place string

// The places.
const (
	Endpoint Place = "endpoint" // the token endpoint
	Guard    Place = "guard"    // a protected route
)

// A Failure is a refusal: what RFC 6749 or RFC 6750 would answer, and the Reason
// by which an envelope may choose differently. Make one with [Fail].
//
// A Failure is an error, so that a grant returns it as it is.
type Failure struct {
	Code       string // one of the codes above
	Status     int    // the HTTP status that the RFCs give
	Reason     Reason
	Place      Place         // set by the handler or the guard
	Param      string        // the parameter that is meant, where there is one; the methods allowed, for MethodNotAllowed
	Scope      string        // the scope that is lacking, joined by spaces
	Message    string        // for people; never holds anything from the request
	RetryAfter time.Duration // how long to wait; 0 when waiting does not help
	Subject    string        // whose authorization it is, for the event; never sent
	Err        error         // the cause: logged, never sent
}

// Error describes the failure for a log.
func (f *Failure) Error() string {
	s := string(f.Reason)
	if f.Param != "" {
		s += " " + f.Param
	}
	if f.Err != nil {
		return fmt.Sprintf("%s: %v", s, f.Err)
	}
	return s
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// A Reason says exactly why a request was refused. The set is closed: [Reasons]
// lists it.
type Reason string

// The reasons of the token endpoint, of the guard, and of both.
const (
	MethodNotAllowed            Reason = "method_not_allowed"
	ContentType                 Reason = "content_type"
	ContentEncoding             Reason = "content_encoding"
	BodyTooLarge                Reason = "body_too_large"
	BodyTimeout                 Reason = "body_timeout"
	BodyMalformed               Reason = "body_malformed"
	TooManyParameters           Reason = "too_many_parameters"
	ParameterRepeated           Reason = "parameter_repeated"
	ParameterMissing            Reason = "parameter_missing"
	ParameterInvalid            Reason = "parameter_invalid"
	AuthorizationInvalid        Reason = "authorization_invalid"
	CredentialsTwice            Reason = "credentials_twice"
	GrantUnsupported            Reason = "grant_unsupported"
	ClientUnknown               Reason = "client_unknown"
	SecretWrong                 Reason = "secret_wrong"
	ClientDisabled              Reason = "client_disabled"
	ClientLongLived             Reason = "client_long_lived"
	GrantNotAllowed             Reason = "grant_not_allowed"
	ScopeInvalid                Reason = "scope_invalid"
	GrantRefused                Reason = "grant_refused"
	ResponseTypeUnsupported     Reason = "response_type_unsupported"
	AuthorizationRequestInvalid Reason = "authorization_request_invalid"
	CodeReplayed                Reason = "code_replayed"
	RefreshReused               Reason = "refresh_reused"
	UserUnknown                 Reason = "user_unknown"
	PasswordWrong               Reason = "password_wrong"
	UserLocked                  Reason = "user_locked"

	TokenMissing Reason = "token_missing"
	TokenInvalid Reason = "token_invalid"
	TokenExpired Reason = "token_expired"
	ScopeLacking Reason = "scope_lacking"
	ReadOnly     Reason = "read_only"

	Throttled   Reason = "throttled"
	Overloaded  Reason = "overloaded"
	Unavailable Reason = "unavailable"
	Internal    Reason = "internal"
)

type rule struct {
	reason  Reason
	code    string
	status  int
	message string
	places  []Place
}

var (
	atEndpoint = []Place{Endpoint}
	atGuard    = []Place{Guard}
	atBoth     = []Place{Endpoint, Guard}
)

const credentialsInvalid = "The provided credentials are invalid"

// The one table of what the RFCs answer to each reason. Unknown client and wrong
// secret, and the three of a user, are alike to the letter: who guesses learns
// nothing.
var rules = []rule{
	{MethodNotAllowed, InvalidRequest, http.StatusMethodNotAllowed, "The request method must be POST", atEndpoint},
	{ContentType, InvalidRequest, http.StatusBadRequest, "The content type is not supported", atEndpoint},
	{ContentEncoding, InvalidRequest, http.StatusUnsupportedMediaType, "The content encoding is not supported", atEndpoint},
	{BodyTooLarge, InvalidRequest, http.StatusRequestEntityTooLarge, "The request body is too large", atEndpoint},
	{BodyTimeout, InvalidRequest, http.StatusRequestTimeout, "The request body took too long", atEndpoint},
	{BodyMalformed, InvalidRequest, http.StatusBadRequest, "The request body is malformed", atEndpoint},
	{TooManyParameters, InvalidRequest, http.StatusBadRequest, "The request has too many parameters", atEndpoint},
	{ParameterRepeated, InvalidRequest, http.StatusBadRequest, "A parameter is given more than once", atEndpoint},
	{ParameterMissing, InvalidRequest, http.StatusBadRequest, "A required parameter is missing", atEndpoint},
	{ParameterInvalid, InvalidRequest, http.StatusBadRequest, "A parameter is invalid", atEndpoint},
	{AuthorizationInvalid, InvalidRequest, http.StatusBadRequest, "The Authorization header is not usable", atBoth},
	{CredentialsTwice, InvalidRequest, http.StatusBadRequest, "Credentials are given in more than one way", atBoth},
	{GrantUnsupported, UnsupportedGrantType, http.StatusBadRequest, "The grant type is not supported", atEndpoint},
	{ClientUnknown, InvalidClient, http.StatusUnauthorized, "Client authentication failed", atEndpoint},
	{SecretWrong, InvalidClient, http.StatusUnauthorized, "Client authentication failed", atEndpoint},
	{ClientDisabled, InvalidGrant, http.StatusBadRequest, credentialsInvalid, atEndpoint},
	{ClientLongLived, InvalidGrant, http.StatusBadRequest, credentialsInvalid, atEndpoint},
	{GrantNotAllowed, UnauthorizedClient, http.StatusBadRequest, "The client may not use this grant type", atEndpoint},
	{ScopeInvalid, InvalidScope, http.StatusBadRequest, "The requested scope is invalid", atEndpoint},
	{GrantRefused, InvalidGrant, http.StatusBadRequest, "The provided grant is invalid", atEndpoint},
	{ResponseTypeUnsupported, UnsupportedResponseType, http.StatusBadRequest, "The response type is not supported", atEndpoint},
	{AuthorizationRequestInvalid, InvalidRequest, http.StatusBadRequest, "The authorization request has ended or belongs to another browser", atEndpoint},
	{CodeReplayed, InvalidGrant, http.StatusBadRequest, "The provided grant is invalid", atEndpoint},
	{RefreshReused, InvalidGrant, http.StatusBadRequest, "The provided grant is invalid", atEndpoint},
	{UserUnknown, InvalidGrant, http.StatusBadRequest, credentialsInvalid, atEndpoint},
	{PasswordWrong, InvalidGrant, http.StatusBadRequest, credentialsInvalid, atEndpoint},
	{UserLocked, InvalidGrant, http.StatusBadRequest, credentialsInvalid, atEndpoint},

	{TokenMissing, InvalidToken, http.StatusUnauthorized, "The access token is missing", atGuard},
	{TokenInvalid, InvalidToken, http.StatusUnauthorized, "The access token is invalid", atGuard},
	{TokenExpired, InvalidToken, http.StatusUnauthorized, "The access token expired", atGuard},
	{ScopeLacking, InsufficientScope, http.StatusForbidden, "The access token lacks a scope", atGuard},
	{ReadOnly, InsufficientScope, http.StatusForbidden, "The access token is read-only", atGuard},

	{Throttled, TemporarilyUnavailable, http.StatusTooManyRequests, "Too many requests", atBoth},
	{Overloaded, TemporarilyUnavailable, http.StatusServiceUnavailable, "The service is busy", atBoth},
	{Unavailable, TemporarilyUnavailable, http.StatusServiceUnavailable, "The service is temporarily unavailable", atBoth},
	{Internal, ServerError, http.StatusInternalServerError, "The request could not be processed", atBoth},
}

var ruleOf = func() map[Reason]*rule {
	m := make(map[Reason]*rule, len(rules))
	for i := range rules {
		m[rules[i].reason] = &rules[i]
	}
	return m
}()

// Fail returns a new Failure for the reason, with the code, the status and the
// message that the RFCs give it. An unknown reason becomes [Internal].
func Fail(reason Reason) *Failure {
	r, ok := ruleOf[reason]
	if !ok {
		r = ruleOf[Internal]
	}
	return &Failure{Code: r.code, Status: r.status, Reason: r.reason, Message: r.message}
}

// Missing returns the Failure of a required parameter that is not there.
func Missing(param string) *Failure {
	f := Fail(ParameterMissing)
	f.Param = param
	f.Message = param + " is required"
	return f
}

// Reasons lists every reason that can occur at the place.
func Reasons(at Place) []Reason {
	var all []Reason
	for _, r := range rules {
		for _, p := range r.places {
			if p == at {
				all = append(all, r.reason)
			}
		}
	}
	return all
}
