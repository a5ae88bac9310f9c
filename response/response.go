// Package response turns the outcome of a request into the bytes that one
// documented system would have sent: its envelope.
//
// A [Formatter] is a pure function from a value to a [Reply]. It sees no
// request and writes nothing; the handler and the guard add the headers that no
// envelope may forget (Cache-Control, Pragma, X-Content-Type-Options,
// WWW-Authenticate, Retry-After, Allow) and write the whole.
//
// Five formatters are here: [OAuth], [Data], [Meta], [Coded] and [Content]. An
// envelope of your own is one type with two methods.
package response

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/jsontext"
)

// A Formatter writes whole answers in one envelope. Its methods are called
// concurrently, must not keep or change their argument, and must not block. An
// error or a panic becomes a 500 answer.
type Formatter interface {
	// Token formats the answer of a token endpoint that issued a token.
	Token(*Token) (Reply, error)
	// Failure formats the answer of a token endpoint or a guard that refuses.
	// The Status and Code of the Failure are what RFC 6749 and RFC 6750 would
	// answer; an envelope whose document says otherwise decides by the Reason.
	Failure(*Failure) (Reply, error)
}

// A Reply is an answer ready to be written.
type Reply struct {
	Status int         // an HTTP status of 200 to 599
	Header http.Header // added to the handler's own headers; may be nil
	Body   []byte      // JSON
}

// A Token is a successful answer of the token endpoint (RFC 6749 §5.1).
type Token struct {
	AccessToken  string
	Type         string    // always "Bearer"
	ExpiresIn    int       // lifetime in seconds, at least 1
	ExpiresAt    time.Time // when the access token ends
	Scope        string    // scopes joined by a space; empty when there are none
	RefreshToken string    // empty when there is none
	IDToken      string    // empty when there is none
	GrantType    string    // the grant that issued it, as in "client_credentials"
	Client       *Subject  // the client that asked, never nil
	User         *Subject  // the user it acts for; nil when it acts for itself
	// Room is the handler's own and nil for everybody else: from it the formatters
	// of this package take the access token, and in it they put the body.
	Room *jsontext.Room `json:"-"`
}

// A Subject is what an envelope may tell about a client or a user.
type Subject struct {
	ID          string // the client's identifier, or the user's subject
	Number      int64
	Name        string
	Description string
	Username    string // of a user
	Roles       []int64
}

// Conventions are what a documented system asks of requests, beside the form of
// its answers. The zero value is RFC 6749 and RFC 6750 without extras.
type Conventions struct {
	// JSON lets the token endpoint read a JSON object of strings as well as a
	// form.
	JSON bool
	// FormLabelledJSON lets the token endpoint read a form that arrives with
	// the content type of JSON.
	FormLabelledJSON bool
	// DefaultGrant is assumed where grant_type is missing; none when empty.
	DefaultGrant string
	// QueryToken lets the guard take a token from the query parameter
	// access_token. A token in a URL ends up in logs and histories.
	QueryToken bool
	// ChallengeProves lets a client that authenticated redeem a code by showing
	// its code_challenge again, in place of the verifier of RFC 7636.
	ChallengeProves bool
	// RateHeader adds what tells the state of the client's limit; the guard
	// calls it for every answer that the limit was asked for. None when nil.
	RateHeader func(h http.Header, limit, remaining int, reset time.Time)
}

// Conventional is implemented by a [Formatter] whose system has [Conventions]
// of its own. It is asked once, when a handler or a guard is made.
type Conventional interface{ Conventions() Conventions }

// ConventionsOf returns the conventions of f, or none.
func ConventionsOf(f Formatter) Conventions {
	if c, ok := f.(Conventional); ok {
		return c.Conventions()
	}
	return Conventions{}
}

// reply marshals body. The encoder escapes <, > and & so that an answer is
// harmless even where a browser guesses its type.
func reply(status int, body any) (Reply, error) {
	b, err := json.Marshal(body)
	return Reply{Status: status, Body: b}, err
}
