package grant

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/response"
)

// AuthorizationCode redeems the codes of the authorization endpoint
// (RFC 6749 §4.1) with PKCE S256 (RFC 7636). A code is good once, for 60 s, for
// the client and the redirect URI that it was issued for. Presented again by who
// has all that was needed the first time, it ends everything that came of it.
type AuthorizationCode struct{}

// Type returns "authorization_code".
func (AuthorizationCode) Type() string { return "authorization_code" }

// PublicClients returns true: PKCE binds the code to who asked for it.
func (AuthorizationCode) PublicClients() bool { return true }

// Exchange decides about the code. The authorization is changed by Commit, but
// for a failed redemption, which is counted at once.
func (AuthorizationCode) Exchange(ctx context.Context, r *Request) (*Issue, error) {
	code := r.Param("code")
	if code == "" {
		return nil, response.Missing("code")
	}
	family, hash, ok := authz.ParseCode(code)
	if !ok {
		return nil, response.Fail(response.GrantRefused)
	}
	key := authz.Key(family)
	var rec authz.Record
	for range maxRounds {
		raw, err := load(ctx, r, key, &rec)
		if err != nil {
			return nil, err
		}
		next, secret, verdict := rec.Redeem(hash, redeems(r, &rec), r.Conflict, r.Now, r.Lifetimes)
		if verdict == authz.Grant {
			g := issueOf(r, &rec, key, rec.Scope)
			if rec.Offline {
				g.issue.RefreshToken = authz.Token(family, secret, next.MACNonce, next.Gen)
			}
			g.commits(r, raw, next)
			return &g.issue, nil
		}
		if next == nil {
			return nil, response.Fail(response.GrantRefused)
		}
		swapped, err := authz.Swap(ctx, r.State, family, raw, next)
		if err != nil {
			return nil, err
		}
		switch {
		case swapped && verdict == authz.Replayed:
			return nil, alarm(response.CodeReplayed, &rec)
		case swapped:
			return nil, response.Fail(response.GrantRefused)
		}
	}
	return nil, response.Fail(response.Overloaded)
}

// redeems says whether everything beside the code is as it has to be.
func redeems(r *Request, rec *authz.Record) bool {
	return rec.Client == r.Client.ID && rec.Redirect == r.Param("redirect_uri") && proves(r, rec)
}

// proves says whether PKCE is satisfied (RFC 7636 §4.6). A verifier without a
// challenge is refused too: somebody took the challenge out of the authorization
// request (RFC 9700 §2.1.1). For a public client nothing stands in for the
// verifier, whatever was written when the code was issued.
func proves(r *Request, rec *authz.Record) bool {
	verifier, challenge := r.Param("code_verifier"), r.Param("code_challenge")
	if rec.Challenge == "" {
		return verifier == "" && challenge == "" && !r.Client.Public
	}
	if challenge != "" && challenge != rec.Challenge {
		return false
	}
	if verifier == "" {
		return challenge != "" && r.Authenticated && !r.Client.Public && r.ChallengeProves
	}
	sum := sha256.Sum256([]byte(verifier))
	got := base64.RawURLEncoding.EncodeToString(sum[:])
	return isVerifier(verifier) && subtle.ConstantTimeCompare([]byte(got), []byte(rec.Challenge)) == 1
}

// isVerifier is RFC 7636 §4.1: 43 to 128 unreserved characters.
func isVerifier(s string) bool {
	if len(s) < 43 || len(s) > 128 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte("-._~", c) < 0 {
			return false
		}
	}
	return true
}
