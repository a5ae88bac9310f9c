package tokenbooth

import (
	"context"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// A TokenFormat is the form of the access tokens: [JWT] or [Opaque].
type TokenFormat interface {
	validate() error
	codec(codecConfig) codec
}

// needsKeys says whether tokens of this form are signed.
func needsKeys(t TokenFormat) bool {
	switch t.(type) {
	case JWT, *JWT:
		return true
	}
	return false
}

// A codec makes access tokens and reads them. verify returns what a token says
// whether or not it has expired; that is for the caller to judge, by its clock.
type codec interface {
	mint(ctx context.Context, c *claims) (string, error)
	// verify returns errToken for whatever is not a good token; any other error
	// says that it could not be found out.
	verify(ctx context.Context, token string) (*claims, error)
}

type codecConfig struct {
	issuer, audience string
	keys             *KeyRing
	remote           *remoteKeys // in place of keys
	state            store.State
}

// claims is what an access token says.
type claims struct {
	subject, clientID, username, scope, id string

	issued, notBefore, expires time.Time // notBefore is zero when not said

	readOnly bool

	// family names the authorization that the token belongs to; empty where there
	// is none. The epochs are those that were read when it was authorized.
	family                    string
	subjectEpoch, clientEpoch int64

	watching []string // what watched returns, where it was asked before
}

// A client that acts for itself is its own subject, under a name that no user
// can have (RFC 9068 §5 tells what happens otherwise).
const clientSubjectPrefix = "client:"

// maxToken bounds a token before anything is parsed.
const maxToken = 8 << 10

// isType compares a JOSE typ without case and with the optional prefix
// (RFC 7515 §4.1.9).
func isType(typ, want string) bool {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		typ = typ[len(prefix):]
	}
	return strings.EqualFold(typ, want)
}
