package bench

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/auth"
)

// The MCP SDK's RequireBearerToken leaves the verifying to its caller: here, to
// golang-jwt.
func init() {
	bearerGuards = append(bearerGuards, bearerGuard{"mcp-golang-jwt", algs, newMCPGuard})
}

func newMCPGuard(alg string) func(http.Handler) http.Handler {
	parse := newGolangJWTParser(alg)
	verify := func(_ context.Context, raw string, _ *http.Request) (*auth.TokenInfo, error) {
		claims, err := parse(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
		}
		return &auth.TokenInfo{
			Scopes:     strings.Fields(claims.Scope),
			Expiration: claims.ExpiresAt.Time,
			UserID:     claims.Subject,
		}, nil
	}
	return auth.RequireBearerToken(verify, nil)
}
