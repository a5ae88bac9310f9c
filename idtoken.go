package tokenbooth

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/tokenbooth/tokenbooth/grant"
)

// signsIDTokens says whether one of the grants may come with an id_token.
func signsIDTokens(grants []grant.Grant) bool {
	return slices.ContainsFunc(grants, func(g grant.Grant) bool {
		switch g.(type) {
		case grant.AuthorizationCode, *grant.AuthorizationCode, grant.RefreshToken, *grant.RefreshToken:
			return true
		}
		return false
	})
}

// mintIDToken makes the id_token of an authorization that asked for one, at the
// code's redemption and at each refresh (OpenID Connect Core §3.1.3.3, §12.2).
func (h *Handler) mintIDToken(ctx context.Context, x *exchange, accessToken string) (string, error) {
	if !wantsIDToken(x.issue) {
		return "", nil
	}
	nonce, authTime, _ := x.issue.Authorization.OpenID()
	members, err := h.claimsAbout(ctx, x.token.subject, x.issue.Scopes)
	if err != nil {
		return "", err
	}
	keys := h.keys.set() // one look: a rotation between hash and signature would part them
	maps.Copy(members, map[string]any{
		"iss": h.issuer, "sub": x.token.subject, "aud": x.client.ID, "azp": x.client.ID,
		"iat": x.token.issued.Unix(), "exp": x.token.expires.Unix(), "auth_time": authTime,
		"at_hash": accessTokenHash(keys.algorithm, accessToken),
	})
	if nonce != "" && x.grant.Type() != "refresh_token" { // OpenID Connect Core §12.2
		members["nonce"] = nonce
	}
	payload, err := json.Marshal(members)
	if err != nil {
		return "", err
	}
	return h.keys.signWith(keys.idSigner, payload)
}

// wantsIDToken: the scope may have been narrowed away since it was asked for.
func wantsIDToken(issue *grant.Issue) bool {
	if issue.Authorization == nil {
		return false
	}
	_, _, ok := issue.Authorization.OpenID()
	return ok && slices.Contains(issue.Scopes, "openid")
}

var protocolClaims = []string{
	"iss", "sub", "aud", "azp", "exp", "iat", "nbf", "jti", "auth_time", "nonce", "at_hash", "c_hash", "acr", "amr",
}

// claimsAbout asks the host, and keeps nothing of what only the protocol says, in
// whatever case: encoding/json takes one for the other.
func (h *Handler) claimsAbout(ctx context.Context, subject string, scopes []string) (map[string]any, error) {
	if h.userClaims == nil {
		return map[string]any{}, nil
	}
	told, err := h.userClaims(ctx, subject, scopes)
	members := map[string]any{}
	for name, value := range told {
		if !slices.ContainsFunc(protocolClaims, func(p string) bool { return strings.EqualFold(p, name) }) {
			members[name] = value
		}
	}
	return members, err
}

// accessTokenHash is at_hash: the left half of the hash that the algorithm uses
// (OpenID Connect Core §3.1.3.6); SHA-512 for Ed25519.
func accessTokenHash(algorithm, accessToken string) string {
	if algorithm == "EdDSA" {
		sum := sha512.Sum512([]byte(accessToken))
		return base64.RawURLEncoding.EncodeToString(sum[:32])
	}
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
